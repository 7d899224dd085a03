/* What each end of one leg means for the other: a table of everything that can befall a leg, in the three situations
 * in which it matters, in virtual time.
 *
 * The situations are seen from the leg that it befalls: idle; in the middle of a frame that it was sending; with
 * data queued (for FIN and RST: what it had sent and the other has not read; else: what the other sent and it has not
 * acknowledged). Every row names what the other leg sees and what is counted. A client leg is never opened by us, so
 * refusal and timeout of the opening concern the broker leg alone; there the situations are what the client had
 * already sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/proxy/impl.h"
#include "shared/kafka/wire.h"
#include "tests/support/proxy_rig.h"

enum event { FIN, RST, SILENCE, ZERO_WINDOW, ICMP_ERROR, CONNECT_REFUSED, CONNECT_TIMEOUT };
enum leg { CLIENT, BROKER };
enum situation { IDLE, MID_FRAME, QUEUED };
enum outcome { LIVES, SEES_FIN, SEES_RST };

static const char *const event_names[] = {"FIN",        "RST",          "silence",        "zero window",
                                          "ICMP error", "refused", "connect timeout"};
static const char *const situation_names[] = {"idle", "in a frame", "data queued"};

struct row {
    enum event event;
    enum leg leg;
    enum situation situation;
    enum outcome other;
    enum hr_drop counted; /* HR_DROP_MAX: nothing is */
    uint64_t within_us;
};

#define M (60 * PR_S)
static const struct row rows[] = {
    {FIN, CLIENT, IDLE, SEES_FIN, HR_DROP_MAX, PR_S},
    {FIN, CLIENT, MID_FRAME, SEES_RST, HR_DROP_kafka_partial_frame, PR_S},
    {FIN, CLIENT, QUEUED, SEES_FIN, HR_DROP_MAX, 20 * PR_S},
    {FIN, BROKER, IDLE, SEES_FIN, HR_DROP_broker_closed, PR_S},
    {FIN, BROKER, MID_FRAME, SEES_RST, HR_DROP_kafka_partial_frame, PR_S},
    {FIN, BROKER, QUEUED, SEES_FIN, HR_DROP_broker_closed, 20 * PR_S},

    {RST, CLIENT, IDLE, SEES_FIN, HR_DROP_client_reset, PR_S},
    {RST, CLIENT, MID_FRAME, SEES_RST, HR_DROP_client_reset, PR_S},
    {RST, CLIENT, QUEUED, SEES_FIN, HR_DROP_client_reset, 20 * PR_S},
    {RST, BROKER, IDLE, SEES_FIN, HR_DROP_broker_closed, PR_S},
    {RST, BROKER, MID_FRAME, SEES_RST, HR_DROP_broker_closed, PR_S},
    {RST, BROKER, QUEUED, SEES_FIN, HR_DROP_broker_closed, 20 * PR_S},

    {SILENCE, CLIENT, IDLE, SEES_FIN, HR_DROP_tcp_keepalive, 6 * M},
    {SILENCE, CLIENT, MID_FRAME, SEES_RST, HR_DROP_tcp_keepalive, 6 * M},
    {SILENCE, CLIENT, QUEUED, SEES_FIN, HR_DROP_tcp_user_timeout, 20 * M},
    {SILENCE, BROKER, IDLE, SEES_FIN, HR_DROP_tcp_keepalive, 6 * M},
    {SILENCE, BROKER, MID_FRAME, SEES_RST, HR_DROP_tcp_keepalive, 6 * M},
    {SILENCE, BROKER, QUEUED, SEES_FIN, HR_DROP_tcp_user_timeout, 20 * M},

    {ZERO_WINDOW, CLIENT, IDLE, LIVES, HR_DROP_MAX, 20 * M},
    {ZERO_WINDOW, CLIENT, MID_FRAME, LIVES, HR_DROP_MAX, 20 * M},
    {ZERO_WINDOW, CLIENT, QUEUED, SEES_FIN, HR_DROP_tcp_persist, 20 * M},
    {ZERO_WINDOW, BROKER, IDLE, LIVES, HR_DROP_MAX, 20 * M},
    {ZERO_WINDOW, BROKER, MID_FRAME, LIVES, HR_DROP_MAX, 20 * M},
    {ZERO_WINDOW, BROKER, QUEUED, SEES_FIN, HR_DROP_tcp_persist, 20 * M},

    {ICMP_ERROR, CLIENT, IDLE, LIVES, HR_DROP_icmp_ignored, PR_S},
    {ICMP_ERROR, CLIENT, MID_FRAME, LIVES, HR_DROP_icmp_ignored, PR_S},
    {ICMP_ERROR, CLIENT, QUEUED, LIVES, HR_DROP_MAX, PR_S},
    {ICMP_ERROR, BROKER, IDLE, LIVES, HR_DROP_icmp_ignored, PR_S},
    {ICMP_ERROR, BROKER, MID_FRAME, LIVES, HR_DROP_icmp_ignored, PR_S},
    {ICMP_ERROR, BROKER, QUEUED, LIVES, HR_DROP_MAX, PR_S},

    {CONNECT_REFUSED, BROKER, IDLE, SEES_RST, HR_DROP_broker_refused, PR_S},
    {CONNECT_REFUSED, BROKER, MID_FRAME, SEES_RST, HR_DROP_broker_refused, PR_S},
    {CONNECT_REFUSED, BROKER, QUEUED, SEES_RST, HR_DROP_broker_refused, PR_S},
    {CONNECT_TIMEOUT, BROKER, IDLE, SEES_RST, HR_DROP_broker_timeout, M},
    {CONNECT_TIMEOUT, BROKER, MID_FRAME, SEES_RST, HR_DROP_broker_timeout, M},
    {CONNECT_TIMEOUT, BROKER, QUEUED, SEES_RST, HR_DROP_broker_timeout, M},
};

static struct pr r;
static const struct row *row;
static struct pr_peer *client, *broker, *this, *other;
static uint32_t sent_whole; /* bytes of whole frames that `this` sent and the other shall get */

#define check(what)                                                                                          \
    do {                                                                                                     \
        if (!(what))                                                                                         \
            fail_msg("%s of the %s, %s: not so: %s", event_names[row->event],                                \
                     row->leg == CLIENT ? "client" : "broker", situation_names[row->situation], #what);      \
    } while (0)

static void request(struct rf_bytes *b, int32_t id)
{
    rf_request(b, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
}

static void response(struct rf_bytes *b, int32_t id)
{
    rf_response(b, 12, 3, id, "{'ThrottleTimeMs':0,'ErrorCode':0}");
}

static void open_session(void)
{
    client = pr_connect(&r, 9203); /* of the broker with node id 3 */
    pr_run(&r, 20 * PR_MS);
    broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    check(broker && client->connected && broker->connected);
    this = row->leg == CLIENT ? client : broker;
    other = row->leg == CLIENT ? broker : client;
}

/* n requests and, where the broker is to send, as many responses; the last `less` bytes of the last are left out.
 * In steps, so that a response finds its request. */
static void exchange(enum leg sender, int n, uint32_t less)
{
    struct rf_bytes b = {0};
    sent_whole = 0;
    for (int i = 0; i < n; i++) {
        request(&b, i);
        bool last = i + 1 == n;
        sent_whole += sender == CLIENT && !(last && less) ? b.len : 0;
        pr_send(&r, client, b.p, b.len - (sender == CLIENT && last ? less : 0));
        rf_free(&b);
        if (sender == CLIENT)
            continue;
        if (i % 8 == 7 || last)
            pr_run(&r, 5 * PR_MS);
        response(&b, i);
        sent_whole += !(last && less) ? b.len : 0;
        pr_send(&r, broker, b.p, b.len - (last ? less : 0));
        rf_free(&b);
    }
    pr_run(&r, 50 * PR_MS);
}

/* One frame of many bytes, streamed through: it fills every window and queue up to a reader that stopped. Silenced, if
 * given, hears nothing of it. */
static void send_large(enum leg sender, uint32_t bytes, struct pr_host *silenced)
{
    static uint8_t zeros[1 << 16];
    uint8_t head[64];
    struct rf_bytes b = {0};
    uint32_t left;
    request(&b, 1);
    if (sender == BROKER) {
        pr_send(&r, client, b.p, b.len);
        pr_run(&r, 20 * PR_MS);
        if (silenced)
            silenced->silent = true;
        hr_kput32(head, bytes - 4);
        hr_kput32(head + 4, 1);
        pr_send(&r, broker, head, 8);
        left = bytes - 8;
    } else {
        if (silenced)
            silenced->silent = true;
        hr_kput32(b.p, bytes - 4);
        pr_send(&r, client, b.p, b.len);
        left = bytes - b.len;
    }
    rf_free(&b);
    for (uint32_t n; left > 0; left -= n) {
        n = left < sizeof(zeros) ? left : (uint32_t)sizeof(zeros);
        pr_send(&r, sender == CLIENT ? client : broker, zeros, n);
    }
    sent_whole += bytes;
    pr_run(&r, 2 * PR_S);
}

static struct pr_host *host_of(const struct pr_peer *p)
{
    return pr_host(&r, ntohl(hr_addr_v4_be(&p->flow.local)));
}

static void prepare(void)
{
    bool from_this = row->event == FIN || row->event == RST;
    enum leg that = row->leg == CLIENT ? BROKER : CLIENT;
    exchange(BROKER, 1, 0);
    pr_run(&r, 100 * PR_MS);
    switch (row->situation) {
    case IDLE:
        break;
    case MID_FRAME:
        exchange(row->leg, 1, 2);
        sent_whole = 0; /* was read already, by the exchange before */
        break;
    case QUEUED:
        if (from_this)
            other->paused = true;
        else if (row->event == ZERO_WINDOW)
            this->paused = true;
        other->got.len = sent_whole = 0;
        /* All of it gets to us; more than a reader that stopped has room for, or less than an initial window of
         * ours where nothing is acknowledged. */
        if (row->event == SILENCE || row->event == ICMP_ERROR)
            send_large(that, 30000, host_of(this));
        else
            send_large(from_this ? row->leg : that, 90000, NULL);
        break;
    }
}

static void befall(void)
{
    switch (row->event) {
    case FIN:
        pr_shutdown(&r, this);
        break;
    case RST:
        pr_reset(&r, this);
        break;
    case SILENCE:
        host_of(this)->silent = true;
        break;
    case ZERO_WINDOW:
        this->paused = true;
        break;
    case ICMP_ERROR:
        pr_icmp_error(&r, this, true);
        host_of(this)->silent = false;
        break;
    case CONNECT_REFUSED:
    case CONNECT_TIMEOUT:
        break;
    }
}

static void check_outcome(void)
{
    pr_run(&r, 500 * PR_MS);
    if (row->situation == QUEUED && (row->event == FIN || row->event == RST)) {
        check(!other->fin && !other->failed); /* not before it has read what is queued */
        other->paused = false;
    }
    for (uint64_t us = 0; us < row->within_us && !other->fin && !other->failed; us += 100 * PR_MS)
        pr_run(&r, 100 * PR_MS);
    bool live = hr_proxy_sessions(r.proxy) == 1;
    switch (row->other) {
    case LIVES:
        check(!other->fin && !other->failed && live);
        break;
    case SEES_FIN:
        check(other->fin && !other->failed);
        pr_shutdown(&r, other); /* as anybody does who sees a FIN */
        pr_run(&r, 5 * PR_S);
        break;
    case SEES_RST:
        check(other->failed && other->failure == HR_TCP_FAIL_RESET);
        break;
    }
    if (row->situation == QUEUED && (row->event == FIN || row->event == RST))
        check(other->got.len == sent_whole);
    for (enum hr_drop d = 0; d < HR_DROP_MAX; d++)
        if (d == row->counted)
            check(r.in.stats.drops[d] == 1);
    if (row->counted == HR_DROP_MAX)
        for (enum hr_drop d = 0; d < HR_DROP_MAX; d++)
            check(r.in.stats.drops[d] == 0);
    if (row->other != LIVES)
        check(hr_proxy_sessions(r.proxy) == 0);
}

static void run_connect(void)
{
    struct rf_bytes b = {0};
    struct pr_host *host = pr_host(&r, PR_BROKER_IP(1));
    host->refuse = row->event == CONNECT_REFUSED;
    host->silent = row->event == CONNECT_TIMEOUT;
    client = other = pr_connect(&r, 9203);
    request(&b, 1);
    if (row->situation != IDLE)
        pr_send(&r, client, b.p, b.len - (row->situation == MID_FRAME ? 2 : 0));
    rf_free(&b);
    check_outcome();
}

static void test_matrix(void **state)
{
    for (row = rows; row < rows + sizeof(rows) / sizeof(rows[0]); row++) {
        pr_open(&r, NULL);
        sent_whole = 0;
        if (row->event == CONNECT_REFUSED || row->event == CONNECT_TIMEOUT) {
            run_connect();
        } else {
            open_session();
            prepare();
            befall();
            check_outcome();
        }
        const char *wrong = pr_close(&r);
        if (wrong)
            fail_msg("%s of the %s, %s: %s", event_names[row->event], row->leg == CLIENT ? "client" : "broker",
                     situation_names[row->situation], wrong);
    }
}

/* Every combination has its row; a client leg is never opened by us. */
static void test_matrix_is_complete(void **state)
{
    for (int e = FIN; e <= CONNECT_TIMEOUT; e++)
        for (int leg = CLIENT; leg <= BROKER; leg++)
            for (int s = IDLE; s <= QUEUED; s++) {
                uint32_t n = 0;
                for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                    n += (int)rows[i].event == e && (int)rows[i].leg == leg && (int)rows[i].situation == s;
                assert_int_equal(n, e < CONNECT_REFUSED || leg == BROKER ? 1 : 0);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix_is_complete),
        cmocka_unit_test(test_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
