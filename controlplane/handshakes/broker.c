/* The broker's connection: opened on the worker that has the client's, its handshake, and our login there. */
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/auth/identity.h"
#include "controlplane/handshakes/impl.h"
#include "shared/base/clock.h"

#define PIECE       4096
#define TRIES_MAX   3 /* brokers, for who asked for none in particular; as dataplane/proxy has it */
#define CHOICES     8
#define KNOWN_US    (20 * HR_US_PER_MS) /* until brokers are asked for again that a new control plane does not know */

/* -- our login ---------------------------------------------------------------------------------------------------- */

static void send_login(struct shake *s)
{
    size_t len;
    const uint8_t *out = hr_login_output(s->broker_sasl, &len);

    if (!out)
        return;
    hr_shake_send(s->broker, s->broker_session, out, len);
    hr_login_sent(s->broker_sasl);
}

static void begin_login(struct shake *s)
{
    struct hr_handshakes *h = s->all;
    char why[HR_LOGIN_WHY_MAX] = "";
    struct hr_identity_info info;
    struct hr_identity *identity = h->ops->identity(h->owner, s->listener, s->login.principal, &s->login.identity, why);

    hr_shake_set_state(s, SHAKE_BROKER_LOGIN);
    if (!identity) {
        hr_shake_fail_login(s, HR_LOGIN_REASON_no_credentials, why);
        return;
    }
    s->identity = hr_identity_ref(identity);
    hr_identity_get_info(identity, &info);
    snprintf(s->login.identity_name, sizeof(s->login.identity_name), "%s", info.name);
    memset(s->login.identity_name + strlen(s->login.identity_name), 0,
           sizeof(s->login.identity_name) - strlen(s->login.identity_name));
    s->login.broker_mechanism = (uint8_t)info.mechanism;
    if (hr_identity_login(identity, s->to.host, &s->broker_sasl, why) != 0)
        hr_shake_fail_login(s, HR_LOGIN_REASON_no_credentials, why);
    else
        send_login(s);
}

static void logged_in(struct shake *s)
{
    uint64_t lifetime_us = hr_login_lifetime_ms(s->broker_sasl) * HR_US_PER_MS, now = hr_loop_now(s->all->loop);

    if (lifetime_us) {
        s->login.broker_due_us = now + hr_login_due(lifetime_us);
        s->login.broker_expires_us = now + lifetime_us;
    }
    s->all->info.broker_logins[s->login.broker_mechanism]++;
    hr_login_destroy(s->broker_sasl);
    s->broker_sasl = NULL;
    hr_shake_broker_ready(s);
}

/* Bytes of the broker's answers; how many were the login's. */
static size_t take_answer(struct shake *s, const uint8_t *data, uint32_t len)
{
    size_t used = 0;

    switch (hr_login_feed(s->broker_sasl, data, len, &used)) {
    case HR_LOGIN_MORE:
        send_login(s);
        break;
    case HR_LOGIN_DONE:
        /* Nobody has asked for more; decrypted it could not be handed over. */
        if (s->broker_session && (used < len || hr_tls_pending(s->broker_session) > 0))
            hr_shake_fail_login(s, HR_LOGIN_REASON_broker_broken, "it says more than the login asked for");
        else
            s->broker_used += s->broker_session ? 0 : (uint32_t)used, logged_in(s);
        return used;
    case HR_LOGIN_REFUSED:
        if (hr_shake_back_off(s, hr_login_why(s->broker_sasl)))
            return len; /* of a connection that has gone */
        hr_identity_refused(s->identity);
        hr_shake_fail_login(s, HR_LOGIN_REASON_broker_refused, hr_login_why(s->broker_sasl));
        return used;
    case HR_LOGIN_BROKEN:
        hr_shake_fail_login(s, HR_LOGIN_REASON_broker_broken, hr_login_why(s->broker_sasl));
        return used;
    }
    s->broker_used += s->broker_session ? 0 : (uint32_t)used;
    return used;
}

/* What its TLS session has for us, as long as it is a login's answer. */
static void read_answers(struct shake *s)
{
    uint8_t plain[PIECE];
    uint32_t n = 0;
    int err = 0;

    while (s->state == SHAKE_BROKER_LOGIN && (err = hr_tls_read(s->broker_session, plain, sizeof(plain), &n)) == 0 && n > 0)
        take_answer(s, plain, n);
    OPENSSL_cleanse(plain, sizeof(plain));
    if (s->state != SHAKE_BROKER_LOGIN)
        return;
    hr_shake_flush(s->broker, s->broker_session);
    if (err == HR_E_CLOSED)
        hr_shake_fail_login(s, HR_LOGIN_REASON_broker_broken, "it closed the connection");
    else if (err)
        hr_shake_fail_tls(s, HR_TLS_BROKERS, hr_tls_get_reason(s->broker_session), hr_tls_detail(s->broker_session));
}

/* -- the connection ----------------------------------------------------------------------------------------------- */

/* Connected, and its handshake is done. */
static void broker_open(struct shake *s)
{
    if (s->broker_login)
        begin_login(s);
    else
        hr_shake_broker_ready(s);
}

static void on_opened(void *owner)
{
    struct shake *s = owner;
    struct hr_tls_client *client = s->broker_tls ? hr_tls_store_client(s->all->store) : NULL;

    if (s->state != SHAKE_BROKER)
        return;
    if (!s->broker_tls) {
        broker_open(s);
        return;
    }
    if (!client || hr_tls_connect(client, s->to.host, s->to.port, s->deadline_us, &s->broker_session) != 0) {
        hr_shake_fail_tls(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "its files could not be loaded, see the log");
        return;
    }
    hr_shake_flush(s->broker, s->broker_session);
}

static void on_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct shake *s = owner;
    bool shaking = s->state == SHAKE_BROKER;
    int err;

    if (!shaking && s->state != SHAKE_BROKER_LOGIN)
        return; /* the worker keeps it for the session */
    if (!s->broker_session) {
        for (size_t used = 0; s->state == SHAKE_BROKER_LOGIN && used < len;)
            used += take_answer(s, data + used, len - (uint32_t)used);
        return;
    }
    err = hr_tls_input(s->broker_session, data, len);
    hr_shake_flush(s->broker, s->broker_session);
    if (err) {
        hr_shake_fail_tls(s, HR_TLS_BROKERS, hr_tls_get_reason(s->broker_session), hr_tls_detail(s->broker_session));
        return;
    }
    if (shaking && hr_tls_get_state(s->broker_session) == HR_TLS_OPEN) {
        hr_tls_store_count(s->all->store, HR_TLS_BROKERS, s->broker_session);
        broker_open(s);
    }
    if (s->state == SHAKE_BROKER_LOGIN)
        read_answers(s);
}

/* Who asked for no broker in particular gets another one than that which did not accept. */
static bool another(struct shake *s)
{
    if (s->node_id >= 0 || s->tries == TRIES_MAX || s->broker_session)
        return false;
    hr_conn_release(s->broker);
    s->broker = NULL;
    hr_shake_open_broker(s);
    return true;
}

static void ended(struct shake *s, const char *why)
{
    if (s->state == SHAKE_BROKER && !another(s))
        hr_shake_fail_tls(s, HR_TLS_BROKERS, HR_TLS_REASON_closed, why);
    else if (s->state == SHAKE_BROKER_LOGIN)
        hr_shake_fail_login(s, HR_LOGIN_REASON_broker_broken, *why ? why : "it closed the connection");
}

static void on_eof(void *owner)
{
    ended(owner, "");
}

static void on_closed(void *owner, int err, const char *why)
{
    (void)err;
    ended(owner, why);
}

static const struct hr_conn_ops broker_ops = {.opened = on_opened, .data = on_data, .eof = on_eof, .closed = on_closed};

void hr_shake_open_broker(struct shake *s)
{
    uint64_t now = hr_loop_now(s->all->loop);
    int32_t last = s->tries > 0 ? s->to.node_id : -1;
    int err = HR_E_NOT_FOUND;

    /* One is chosen at random; the last one again only if there is hardly another. */
    for (int i = 0; i < CHOICES && (err != 0 || s->to.node_id == last); i++)
        err = s->all->ops->broker(s->all->owner, s->node_id, &s->to);
    if (err == HR_E_AGAIN && now < s->deadline_us) {
        hr_timer_in(s->all->loop, &s->timer, KNOWN_US);
        return;
    }
    hr_timer_set(s->all->loop, &s->timer, s->deadline_us);
    if (err != 0) {
        hr_shake_fail_tls(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "no broker serves that it could go to");
        return;
    }
    s->tries++;
    hr_shake_await_turn(s);
}

void hr_shake_connect_broker(struct shake *s)
{
    uint64_t now = hr_loop_now(s->all->loop);
    uint64_t left_ms = s->deadline_us > now ? (s->deadline_us - now) / HR_US_PER_MS + 1 : 1;

    if (s->connect_timeout_ms && s->connect_timeout_ms < left_ms)
        left_ms = s->connect_timeout_ms;
    if (hr_conn_open_beside(s->client, &s->to.addr, s->to.port, (uint32_t)left_ms, &broker_ops, s, &s->broker) != 0)
        hr_shake_fail_tls(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "no connection to the broker could be begun");
}
