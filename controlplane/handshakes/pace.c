/* Sessions' connections to one broker are opened no faster than it lets clients of its listener in: MSK refuses IAM logins
 * above 100 in a second (4 on kafka.t3.small), over all clients, and says "Too many connects". Each connection has its
 * moment, one after the other for each broker, in the order in which clients came; a tenth of a second's worth may come
 * at once. What a client sees of it is latency: who would have to wait beyond its deadline fails at once, and takes
 * nobody's place. How many wait is bounded as handshakes are. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/auth/identity.h"
#include "controlplane/handshakes/impl.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"

#define RATE_IAM   80 /* per second; MSK's limit is 100 */
#define RATE_SMALL 4  /* of kafka.t3.small */
#define BURST_US   (HR_US_PER_S / 10)
#define BACK_OFF_US HR_US_PER_S /* AWS advises reconnect.backoff.ms of at least 1000 */

void hr_pace_configure(struct hr_handshakes *h, const struct hr_config *config)
{
    const struct hr_config_pacing *pacing = &config->pacing;
    uint64_t rate = pacing->rate;

    if (rate == 0 && config->broker_auth.mechanism == HR_CONFIG_MECH_AWS_MSK_IAM)
        rate = strcmp(pacing->broker_type, "kafka.t3.small") == 0 ? RATE_SMALL : RATE_IAM;
    h->pace_us = rate > 0 ? HR_US_PER_S * (pacing->instances > 0 ? pacing->instances : 1) / rate : 0;
}

static struct broker_pace *pace_of(struct hr_handshakes *h, int32_t node_id)
{
    struct broker_pace *oldest = &h->paces[0];

    for (uint32_t i = 0; i < h->n_paces; i++) {
        if (h->paces[i].node_id == node_id)
            return &h->paces[i];
        if (h->paces[i].theoretical_us < oldest->theoretical_us)
            oldest = &h->paces[i];
    }
    if (h->n_paces < BROKER_PACES)
        oldest = &h->paces[h->n_paces++];
    *oldest = (struct broker_pace){.node_id = node_id};
    return oldest;
}

void hr_shake_turn_over(struct shake *s)
{
    struct hr_handshakes *h = s->all;

    hr_timer_cancel(h->loop, &s->turn);
    if (!s->waits_since_us)
        return;
    h->info.paced_now--;
    h->info.paced++;
    h->info.paced_ms += (hr_loop_now(h->loop) - s->waits_since_us) / HR_US_PER_MS;
    s->waits_since_us = 0;
}

static void on_turn(struct hr_timer *timer)
{
    struct shake *s = timer->arg;

    hr_shake_turn_over(s);
    hr_shake_connect_broker(s);
}

/* Not before that. */
static void wait_from(struct shake *s, uint64_t earliest_us)
{
    struct hr_handshakes *h = s->all;
    uint64_t now = hr_loop_now(h->loop);
    struct broker_pace *pace = pace_of(h, s->to.node_id);
    uint64_t due = pace->theoretical_us > earliest_us ? pace->theoretical_us : earliest_us;
    uint64_t at = due > earliest_us + BURST_US ? due - BURST_US : earliest_us;

    if (at >= s->deadline_us) {
        hr_shake_fail_login(s, HR_LOGIN_REASON_timeout, "its turn at the broker would come too late");
        return;
    }
    pace->theoretical_us = due + h->pace_us;
    if (at <= now) {
        hr_shake_connect_broker(s);
        return;
    }
    s->waits_since_us = now;
    h->info.paced_now++;
    s->turn = (struct hr_timer){.fn = on_turn, .arg = s};
    hr_timer_set(h->loop, &s->turn, at);
}

void hr_shake_await_turn(struct shake *s)
{
    struct hr_handshakes *h = s->all;

    if (h->pace_us == 0 || !s->broker_login)
        hr_shake_connect_broker(s);
    else
        wait_from(s, hr_loop_now(h->loop));
}

bool hr_shake_back_off(struct shake *s, const char *why)
{
    struct hr_handshakes *h = s->all;
    uint64_t now = hr_loop_now(h->loop), wait_us = BACK_OFF_US << (s->backed_off < 4 ? s->backed_off : 4);

    if (!strcasestr(why, "too many connects") || now + wait_us >= s->deadline_us)
        return false;
    s->backed_off++;
    h->info.backed_off++;
    hr_conn_release(s->broker);
    hr_tls_free(s->broker_session);
    hr_login_destroy(s->broker_sasl);
    s->broker = NULL;
    s->broker_session = NULL;
    s->broker_sasl = NULL;
    s->broker_used = 0;
    hr_identity_release(s->identity);
    s->identity = NULL;
    s->state = SHAKE_BROKER; /* the one step back that there is */
    wait_from(s, now + wait_us + (uint64_t)random() % BACK_OFF_US); /* not all of them at once */
    return true;
}
