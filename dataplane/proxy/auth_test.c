/* Logins in mid-session in virtual time: the test is the control plane, at the other end of the worker's rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <rte_mempool.h>

#include "dataplane/control/control.h"
#include "dataplane/proxy/impl.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/link.h"
#include "shared/kafka/wire.h"
#include "tests/support/proxy_rig.h"

#define WORKER 2 /* as in the rig */
#define SECRET "correct-horse-battery-staple-17"

static struct pr r;
static int memfd, ring_fd, wait_fd;
static struct hr_region *region;
static struct hr_link up; /* the control plane's end */
static struct pr_peer *client, *broker;
static struct rf_bytes asked, said; /* what the client has sent up to now, and the broker */

/* What the control plane has heard, by leg. */
static struct {
    uint32_t begun[HR_AUTH_LEG_MAX], frames[HR_AUTH_LEG_MAX];
    struct hr_session_auth_begin begin;
    struct rf_bytes frame[HR_AUTH_LEG_MAX]; /* the newest, as far as it is there */
    bool complete[HR_AUTH_LEG_MAX];
    bool deaf; /* it is dead */
} heard;

static void take(const struct hr_msg *m)
{
    unsigned leg = m->u.auth.leg;
    const uint8_t *p;

    if (m->type == HR_EV_SLOT_FREE)
        assert_int_equal(hr_link_slot_returned(&up, m->u.data.slot), 0);
    if (m->type != HR_EV_SESSION_AUTH_BEGIN && m->type != HR_EV_SESSION_AUTH)
        return;
    assert_int_equal(hr_link_slot_read(&up, m->u.auth.slot, m->u.auth.len, &p), 0);
    if (m->type == HR_EV_SESSION_AUTH_BEGIN) {
        assert_int_equal(m->u.auth.len, sizeof(heard.begin));
        memcpy(&heard.begin, p, sizeof(heard.begin));
        heard.begun[leg]++;
    } else {
        if (heard.complete[leg])
            rf_free(&heard.frame[leg]);
        rf_append(&heard.frame[leg], p, m->u.auth.len);
        heard.complete[leg] = !m->u.auth.more;
        heard.frames[leg] += !m->u.auth.more;
    }
    assert_int_equal(hr_link_slot_done(&up, m->u.auth.slot, HR_CMD_SLOT_FREE), 0);
}

static void run(uint64_t us)
{
    struct hr_msg msgs[64];

    for (uint64_t until = r.now_us + us; r.now_us < until;) {
        pr_run(&r, until - r.now_us < 10 * PR_MS ? until - r.now_us : 10 * PR_MS);
        for (int n; !heard.deaf && (n = hr_link_recv(&up, msgs, 64)) > 0;)
            for (int i = 0; i < n; i++)
                take(&msgs[i]);
        hr_link_flush(&up);
    }
}

static void relink(uint32_t session)
{
    hr_control_relink(r.control, session);
    assert_int_equal(hr_link_init_control(&up, region, WORKER, session, -1), 0);
    for (unsigned leg = 0; leg < HR_AUTH_LEG_MAX; leg++) { /* a new one knows nothing */
        rf_free(&heard.frame[leg]);
        heard.complete[leg] = false;
        heard.begun[leg] = heard.frames[leg] = 0;
    }
    heard.deaf = false;
}

static void roomy(struct hr_tcp_config *cfg)
{
    cfg->user_timeout_us = 300 * PR_S;
}

static int setup(void **state)
{
    const uint32_t lcores[HR_MAX_WORKERS] = {0};

    pr_open(&r, roomy);
    memset(&heard, 0, sizeof(heard));
    assert_int_equal(hr_region_create(WORKER + 1, lcores, "test", &memfd, &region), 0);
    assert_int_equal(hr_doorbell_create(&ring_fd, &wait_fd), 0);
    const struct hr_control_config cfg = {.worker_id = WORKER, .socket_id = SOCKET_ID_ANY, .region = region,
                                          .doorbell_fd = ring_fd, .bufs = &r.in.bufs, .tcp = r.in.tcp,
                                          .proxy = r.proxy, .stats = &r.in.stats};
    assert_int_equal(hr_control_create(&cfg, &r.control), 0);
    relink(1);
    return 0;
}

static int teardown(void **state)
{
    pr_close(&r);
    hr_region_unmap(region, hr_region_size(WORKER + 1));
    close(memfd);
    close(ring_fd);
    close(wait_fd);
    for (unsigned leg = 0; leg < HR_AUTH_LEG_MAX; leg++)
        rf_free(&heard.frame[leg]);
    rf_free(&asked);
    rf_free(&said);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static struct hr_session *session(void)
{
    for (uint32_t i = 0; i < PR_SESSIONS; i++)
        if (r.proxy->sessions[i].state != HR_SESSION_FREE)
            return &r.proxy->sessions[i];
    return NULL;
}

/* Times from now on, in seconds; 0: never. */
static void open_session(bool terminates, unsigned client_expires_s, unsigned broker_due_s, unsigned broker_expires_s)
{
    struct hr_session_login login = {.mechanism = 1, .broker_mechanism = 2, .terminates = terminates,
                                     .principal = "alice", .identity_name = "us"};

    client = pr_connect(&r, 9203);
    run(20 * PR_MS);
    broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    assert_true(client->connected && broker && broker->connected);
    login.expires_us = client_expires_s ? r.now_us + client_expires_s * PR_S : 0;
    login.broker_due_us = broker_due_s ? r.now_us + broker_due_s * PR_S : 0;
    login.broker_expires_us = broker_expires_s ? r.now_us + broker_expires_s * PR_S : 0;
    session()->login = hr_logins_take(r.proxy, session(), &login);
    assert_int_not_equal(session()->login, 0);
}

/* -- frames ------------------------------------------------------------------------------------------------- */

static void send_both(struct pr_peer *from, struct rf_bytes *all, struct rf_bytes *b)
{
    pr_send(&r, from, b->p, b->len);
    if (all)
        rf_append(all, b->p, b->len);
    rf_free(b);
}

/* ours: the other side is to see it as it is. */
static void heartbeat(int32_t id)
{
    struct rf_bytes b = {0};
    rf_request(&b, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    send_both(client, &asked, &b);
}

static void heartbeat_answer(int32_t id)
{
    struct rf_bytes b = {0};
    rf_response(&b, 12, 3, id, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    send_both(broker, &said, &b);
}

static void handshake(struct rf_bytes *b, int32_t id)
{
    rf_request(b, 17, 1, id, "{'Mechanism':'PLAIN'}");
}

static void handshake_answer(struct rf_bytes *b, int32_t id)
{
    rf_response(b, 17, 1, id, "{'ErrorCode':0,'Mechanisms':['PLAIN']}");
}

/* Long enough not to be copied into a neighbour, and not. */
static void authenticate(struct rf_bytes *b, int32_t id, uint32_t padding)
{
    char json[3000] = "{'AuthBytes':'", *p = json + strlen(json);

    for (const char *c = SECRET; *c; c++)
        p += sprintf(p, "%02x", *c);
    for (uint32_t i = 0; i < padding; i++)
        p += sprintf(p, "00");
    strcpy(p, "'}");
    rf_request(b, 36, 2, id, json);
}

static void authenticate_answer(struct rf_bytes *b, int32_t id)
{
    rf_response(b, 36, 2, id, "{'ErrorCode':0,'ErrorMessage':null,'AuthBytes':'','SessionLifetimeMs':60000}");
}

static void auth_parts(enum hr_auth_leg leg, enum hr_auth_over over, const uint8_t *p, uint32_t len, uint32_t piece,
                       uint64_t due_us, uint64_t expires_us)
{
    do {
        struct hr_msg m = {.type = HR_CMD_SESSION_AUTH, .id = hr_session_id(r.proxy, session())};
        uint32_t n = len < piece ? len : piece;
        uint8_t *data;

        if (n > 0) {
            assert_int_equal(hr_link_slot_alloc(&up, &m.u.auth.slot, &data), 0);
            memcpy(data, p, n);
        }
        m.u.auth.len = n;
        m.u.auth.leg = leg;
        m.u.auth.more = n < len;
        m.u.auth.over = over;
        m.u.auth.due_us = due_us;
        m.u.auth.expires_us = expires_us;
        assert_int_equal(hr_link_send(&up, &m), 0);
        if (n > 0)
            hr_link_slot_sent(&up, m.u.auth.slot);
        len -= n;
        if (len > 0)
            p += n;
    } while (len > 0);
}

static void auth(enum hr_auth_leg leg, enum hr_auth_over over, struct rf_bytes *b)
{
    auth_parts(leg, over, b->p, b->len, HR_SLOT_SIZE, 0, 0);
    rf_free(b);
}

static void assert_heard(enum hr_auth_leg leg, const struct rf_bytes *want)
{
    assert_true(heard.complete[leg]);
    assert_int_equal(heard.frame[leg].len, want->len);
    assert_memory_equal(heard.frame[leg].p, want->p, want->len);
}

/* The other side has all of what was sent, in order, and these bytes of ours behind it. */
static void assert_broker_got(const struct rf_bytes *ours)
{
    uint32_t n = ours ? ours->len : 0;
    assert_int_equal(broker->got.len, asked.len + n);
    assert_memory_equal(broker->got.p, asked.p, asked.len);
    if (n > 0)
        assert_memory_equal(broker->got.p + asked.len, ours->p, n);
}

static void assert_client_got(void)
{
    assert_int_equal(client->got.len, said.len);
    if (said.len > 0)
        assert_memory_equal(client->got.p, said.p, said.len);
}

/* Both rounds with the broker from the point on where our SaslHandshake is under way; the client sees none of it. */
static void broker_rounds(int32_t id, uint32_t padding)
{
    struct rf_bytes b = {0}, sent = {0};

    handshake_answer(&b, id);
    rf_append(&sent, b.p, b.len);
    send_both(broker, NULL, &b);
    run(30 * PR_MS);
    assert_heard(HR_AUTH_LEG_BROKER, &sent);
    rf_free(&sent);
    authenticate(&b, id, padding);
    rf_append(&asked, b.p, b.len);
    auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &b);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    authenticate_answer(&b, id);
    rf_append(&sent, b.p, b.len);
    send_both(broker, NULL, &b);
    run(30 * PR_MS);
    assert_heard(HR_AUTH_LEG_BROKER, &sent);
    rf_free(&sent);
    assert_client_got();
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_DONE, NULL, 0, 1, r.now_us + 51 * PR_S, r.now_us + 60 * PR_S);
    run(30 * PR_MS);
    assert_int_equal(PR_COUNT(&r, auth_brokers), 1);
}

static void our_handshake(int32_t id)
{
    struct rf_bytes b = {0};
    handshake(&b, id);
    rf_append(&asked, b.p, b.len);
    auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &b);
}

/* Nothing of a secret is left in any buffer of the worker's. */
static uint32_t found;
/* Buffers in their pool, too, which a sanitizer lets nobody read. */
__attribute__((no_sanitize("address"))) static void look_for(struct rte_mempool *pool, void *arg, void *obj,
                                                             unsigned index)
{
    const struct rte_mbuf *m = obj;
    const volatile char *p = m->buf_addr;
    for (uint32_t at = 0, n; at + strlen(SECRET) <= m->buf_len; at++) {
        for (n = 0; n < strlen(SECRET) && p[at + n] == SECRET[n]; n++)
            ;
        found += n == strlen(SECRET);
    }
}

static void assert_wiped(void)
{
    found = 0;
    rte_mempool_obj_iter(r.in.bufs.rx_pool, look_for, NULL);
    rte_mempool_obj_iter(r.in.bufs.hdr_pool, look_for, NULL);
    assert_int_equal(found, 0);
    assert_null(memmem(region, hr_region_size(WORKER + 1), SECRET, strlen(SECRET)));
}

__attribute__((no_sanitize("address"))) static void wipe_pools(struct rte_mempool *pool, void *arg, void *obj,
                                                               unsigned index)
{
    const struct rte_mbuf *m = obj;
    volatile char *p = m->buf_addr;
    for (uint32_t i = 0; i < m->buf_len; i++)
        p[i] = 0;
}

/* -- towards the broker ------------------------------------------------------------------------------------- */

static void test_idle_needs_none(void **state)
{
    open_session(false, 0, 10, 12);
    run(60 * PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 0);
    /* Before the first request after it: expired long ago, so that goes behind the login. */
    heartbeat(7);
    struct rf_bytes waits = asked;
    asked = (struct rf_bytes){0};
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    assert_string_equal(heard.begin.login.identity_name, "us");
    assert_int_equal(heard.begin.node_id, 3);
    assert_int_equal(broker->got.len, 0);
    our_handshake(7); /* the same correlation id as the client's */
    run(30 * PR_MS);
    assert_broker_got(NULL);
    broker_rounds(7, 0);
    rf_append(&asked, waits.p, waits.len);
    rf_free(&waits);
    assert_broker_got(NULL);
    heartbeat_answer(7);
    run(30 * PR_MS);
    assert_client_got();
    assert_int_equal(PR_COUNT(&r, kafka_own_requests), 2);
    finish();
}

/* Due, and not expired: who asks waits for the login, or else a broker that is slow to answer would come to it when the
 * login has expired. */
static void test_due_comes_first(void **state)
{
    open_session(false, 0, 1, 1000);
    run(2 * PR_S);
    heartbeat(7);
    struct rf_bytes waits = asked;
    asked = (struct rf_bytes){0};
    run(100 * PR_MS);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    assert_int_equal(broker->got.len, 0);
    our_handshake(1);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    broker_rounds(1, 0);
    rf_append(&asked, waits.p, waits.len);
    rf_free(&waits);
    assert_broker_got(NULL);
    heartbeat_answer(7);
    run(30 * PR_MS);
    assert_client_got();
    /* The next one falls due, and there is nobody to begin it: half a second, once. */
    run(52 * PR_S);
    heard.deaf = true;
    heartbeat(8);
    run(PR_S);
    assert_broker_got(NULL);
    heartbeat(9);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    finish();
}

/* Due in time: requests that have waited go on until our frame is there, and from then on wait. */
static void test_frame_boundary(void **state)
{
    static uint8_t zeros[1 << 16];
    const uint32_t total = 40u << 20;
    struct rf_bytes head = {0};

    open_session(false, 0, 1, 1000);
    run(2 * PR_S);
    heartbeat(1);
    run(PR_S); /* it has waited long enough */
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    assert_broker_got(NULL);
    /* A Produce of 40 MB, in the midst of which our frame comes; behind it one more request. */
    rf_request(&head, 0, 3, 2, "{'TransactionalId':null,'Acks':1,'TimeoutMs':1000,'TopicData':[]}");
    hr_kput32(head.p, total - 4);
    uint32_t left = total - head.len;
    send_both(client, &asked, &head);
    for (bool given = false; left > 0;) {
        uint32_t n = left < sizeof(zeros) ? left : (uint32_t)sizeof(zeros);
        pr_send(&r, client, zeros, n);
        rf_append(&asked, zeros, n);
        left -= n;
        run(10 * PR_MS);
        if (!given && left < total / 2) {
            given = true;
            struct rf_bytes b = {0};
            handshake(&b, 3);
            auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &b);
        }
    }
    struct rf_bytes ours = {0}, next = {0};
    handshake(&ours, 3);
    rf_append(&asked, ours.p, ours.len);
    rf_free(&ours);
    rf_request(&next, 12, 3, 3, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, client, next.p, next.len);
    run(PR_S);
    assert_broker_got(NULL);
    heartbeat_answer(1);
    struct rf_bytes b = {0};
    rf_response(&b, 0, 3, 2, "{'Responses':[],'ThrottleTimeMs':0}");
    send_both(broker, &said, &b);
    run(30 * PR_MS);
    assert_client_got();
    broker_rounds(3, 1000);
    rf_append(&asked, next.p, next.len);
    rf_free(&next);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    heartbeat_answer(3);
    run(30 * PR_MS);
    assert_client_got();
    finish();
}

/* A long-poll Fetch and a JoinGroup of 60 s are under way; their answers come first. */
static void test_behind_waiting_requests(void **state)
{
    struct rf_bytes b = {0};

    open_session(false, 0, 1, 5);
    run(2 * PR_S);
    rf_request(&b, 1, 4, 1, "{'ReplicaId':-1,'MaxWaitMs':3000,'MinBytes':1,'MaxBytes':1000,'IsolationLevel':0,"
                            "'Topics':[]}");
    send_both(client, &asked, &b);
    rf_request(&b, 11, 2, 2, "{'GroupId':'g','SessionTimeoutMs':60000,'RebalanceTimeoutMs':60000,'MemberId':'',"
                             "'ProtocolType':'consumer','Protocols':[]}");
    send_both(client, &asked, &b);
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    our_handshake(2);
    run(30 * PR_MS);
    rf_request(&b, 12, 3, 3, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, client, b.p, b.len);
    run(3 * PR_S);
    assert_broker_got(NULL);
    struct rf_bytes fetched = {0};
    rf_response(&fetched, 1, 4, 1, "{'ThrottleTimeMs':0,'Responses':[]}");
    send_both(broker, &said, &fetched);
    run(57 * PR_S);
    assert_broker_got(NULL);
    assert_client_got();
    rf_response(&fetched, 11, 2, 2, "{'ThrottleTimeMs':0,'ErrorCode':0,'GenerationId':1,'ProtocolName':'','Leader':'m',"
                                    "'MemberId':'m','Members':[]}");
    send_both(broker, &said, &fetched);
    run(30 * PR_MS);
    assert_client_got();
    broker_rounds(2, 0);
    rf_append(&asked, b.p, b.len);
    rf_free(&b);
    assert_broker_got(NULL);
    heartbeat_answer(3);
    run(30 * PR_MS);
    assert_client_got();
    assert_non_null(session());
    finish();
}

static void test_broker_refuses(void **state)
{
    open_session(false, 0, 1, 5);
    run(2 * PR_S);
    heartbeat(1);
    run(PR_S); /* it has waited long enough */
    our_handshake(2);
    run(30 * PR_MS);
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_FAILED, NULL, 0, 1, 0, 0);
    run(PR_S);
    assert_null(session());
    assert_true(client->fin);
    assert_int_equal(PR_DROPS(&r, auth_failed), 1);
    finish();
}

/* An answer to something else than what we asked. */
static void test_broker_confuses(void **state)
{
    open_session(false, 0, 1, 5);
    run(2 * PR_S);
    heartbeat(1);
    run(PR_S); /* it has waited long enough */
    heartbeat_answer(1);
    our_handshake(2);
    run(30 * PR_MS);
    heartbeat_answer(3);
    run(PR_S);
    assert_null(session());
    assert_int_equal(PR_DROPS(&r, kafka_correlation), 1);
    finish();
}

/* -- from the client ---------------------------------------------------------------------------------------- */

/* One frame of the client's, and its answer in one piece or more. */
static void client_round(struct rf_bytes *frame, struct rf_bytes *answer, enum hr_auth_over over, uint32_t piece,
                         uint64_t expires_us)
{
    pr_send(&r, client, frame->p, frame->len);
    run(30 * PR_MS);
    assert_heard(HR_AUTH_LEG_CLIENT, frame);
    rf_free(frame);
    rf_append(&said, answer->p, answer->len);
    auth_parts(HR_AUTH_LEG_CLIENT, over, answer->p, answer->len, piece, 0, expires_us);
    rf_free(answer);
    run(30 * PR_MS);
}

static void client_login(int32_t id, uint32_t padding, uint64_t expires_us)
{
    struct rf_bytes f = {0}, a = {0};

    handshake(&f, id);
    handshake_answer(&a, id);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    authenticate(&f, id + 1, padding);
    authenticate_answer(&a, id + 1);
    client_round(&f, &a, HR_AUTH_DONE, 5, expires_us);
}

static void test_client(void **state)
{
    open_session(true, 10, 0, 0);
    heartbeat(1); /* is not answered before the login */
    run(30 * PR_MS);
    struct rf_bytes f = {0}, a = {0}, before = {0};
    handshake(&f, 2);
    handshake_answer(&a, 2);
    rf_response(&before, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    rf_append(&said, before.p, before.len);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    assert_int_equal(client->got.len, 0); /* it waits for its turn */
    assert_string_equal(heard.begin.login.principal, "alice");
    assert_int_equal(heard.begun[HR_AUTH_LEG_CLIENT], 1);
    pr_send(&r, broker, before.p, before.len);
    rf_free(&before);
    run(30 * PR_MS);
    assert_client_got();
    authenticate(&f, 3, 1000);
    authenticate_answer(&a, 3);
    client_round(&f, &a, HR_AUTH_DONE, 5, r.now_us + 20 * PR_S);
    assert_client_got();
    assert_int_equal(heard.begun[HR_AUTH_LEG_CLIENT], 1);
    assert_int_equal(PR_COUNT(&r, auth_clients), 1);
    assert_broker_got(NULL); /* none of it */
    run(15 * PR_S); /* beyond the first lifetime */
    heartbeat(4);
    run(30 * PR_MS);
    heartbeat_answer(4);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    assert_client_got();
    run(10 * PR_S); /* and beyond the second: only a login */
    client_login(5, 0, 0);
    assert_client_got();
    heartbeat(7);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    heartbeat_answer(7);
    run(30 * PR_MS);
    assert_client_got();
    finish();
}

static void test_client_expires(void **state)
{
    open_session(true, 10, 0, 0);
    run(11 * PR_S);
    heartbeat(1);
    run(30 * PR_MS);
    assert_int_equal(broker->got.len, 0);
    assert_true(client->fin);
    assert_int_equal(PR_DROPS(&r, auth_expired), 1);
    finish();
}

static void test_client_out_of_sequence(void **state)
{
    struct rf_bytes f = {0}, a = {0};

    open_session(true, 10, 0, 0);
    handshake(&f, 1);
    handshake_answer(&a, 1);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    heartbeat(2);
    run(30 * PR_MS);
    assert_int_equal(broker->got.len, 0);
    assert_true(client->fin);
    assert_client_got();
    assert_int_equal(PR_DROPS(&r, auth_sequence), 1);
    finish();
}

static void test_client_refused(void **state)
{
    struct rf_bytes f = {0}, a = {0};

    open_session(true, 10, 0, 0);
    handshake(&f, 1);
    handshake_answer(&a, 1);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    authenticate(&f, 2, 0);
    rf_response(&a, 36, 2, 2, "{'ErrorCode':58,'ErrorMessage':'no','AuthBytes':'','SessionLifetimeMs':0}");
    client_round(&f, &a, HR_AUTH_FAILED, HR_SLOT_SIZE, 0);
    assert_client_got();
    assert_true(client->fin);
    assert_int_equal(PR_DROPS(&r, auth_failed), 1);
    assert_wiped();
    finish();
}

/* A frame of the largest size that a broker takes, over more slots than one. */
static void test_client_large(void **state)
{
    struct rf_bytes f = {0}, a = {0};
    static uint8_t token[300000];

    open_session(true, 10, 0, 0);
    handshake(&f, 1);
    handshake_answer(&a, 1);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    authenticate(&f, 2, 0);
    rf_append(&f, token, sizeof(token)); /* nobody looks into it here */
    hr_kput32(f.p, f.len - 4);
    pr_send(&r, client, f.p, f.len);
    run(3 * PR_S);
    assert_heard(HR_AUTH_LEG_CLIENT, &f);
    hr_kput32(f.p, HR_REAUTH_CLIENT_MAX); /* one byte too much */
    authenticate_answer(&a, 2);
    rf_append(&said, a.p, a.len);
    auth(HR_AUTH_LEG_CLIENT, HR_AUTH_DONE, &a);
    run(30 * PR_MS);
    assert_client_got();
    pr_send(&r, client, f.p, 100);
    run(30 * PR_MS);
    assert_null(session());
    assert_int_equal(PR_DROPS(&r, kafka_frame_size), 1);
    rf_free(&f);
    finish();
}

/* -- both, and without a control plane ---------------------------------------------------------------------- */

static void test_both_at_once(void **state)
{
    struct rf_bytes f = {0}, a = {0};

    open_session(true, 10, 1, 20);
    run(2 * PR_S);
    heartbeat(1);
    run(PR_S); /* it has waited long enough */
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    /* The client's frame is up, ours goes out behind its record; all have one correlation id. */
    handshake(&f, 5);
    pr_send(&r, client, f.p, f.len);
    run(30 * PR_MS);
    assert_heard(HR_AUTH_LEG_CLIENT, &f);
    rf_free(&f);
    our_handshake(5);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    heartbeat_answer(1);
    handshake_answer(&a, 5);
    struct rf_bytes to_us = {0};
    rf_append(&to_us, a.p, a.len);
    send_both(broker, NULL, &a); /* before the client has its answer */
    run(30 * PR_MS);
    assert_client_got();
    assert_int_equal(heard.frames[HR_AUTH_LEG_BROKER], 0);
    handshake_answer(&a, 5);
    rf_append(&said, a.p, a.len);
    auth(HR_AUTH_LEG_CLIENT, HR_AUTH_NEXT, &a);
    run(30 * PR_MS);
    assert_client_got();
    assert_heard(HR_AUTH_LEG_BROKER, &to_us);
    rf_free(&to_us);
    /* The client's second frame waits for ours to be done, and then goes up. */
    authenticate(&f, 5, 0);
    pr_send(&r, client, f.p, f.len);
    run(30 * PR_MS);
    assert_int_equal(heard.frames[HR_AUTH_LEG_CLIENT], 1);
    authenticate(&a, 5, 20);
    rf_append(&asked, a.p, a.len);
    auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &a);
    run(30 * PR_MS);
    authenticate_answer(&a, 5);
    send_both(broker, NULL, &a);
    run(30 * PR_MS);
    assert_int_equal(heard.frames[HR_AUTH_LEG_BROKER], 2);
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_DONE, NULL, 0, 1, 0, 0);
    run(30 * PR_MS);
    assert_heard(HR_AUTH_LEG_CLIENT, &f);
    rf_free(&f);
    authenticate_answer(&a, 5);
    rf_append(&said, a.p, a.len);
    auth(HR_AUTH_LEG_CLIENT, HR_AUTH_DONE, &a);
    run(30 * PR_MS);
    assert_client_got();
    heartbeat(6);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    finish();
}

/* Due on each leg while the control plane is dead: they wait, and go on with the next one. */
static void test_control_plane_dead(void **state)
{
    struct rf_bytes f = {0}, a = {0};

    open_session(true, 100, 1, 200);
    run(2 * PR_S);
    heard.deaf = true;
    heartbeat(1); /* goes on: due, not expired */
    handshake(&f, 2);
    pr_send(&r, client, f.p, f.len);
    run(30 * PR_S);
    assert_broker_got(NULL);
    heartbeat_answer(1);
    run(30 * PR_MS);
    assert_client_got();
    assert_non_null(session());
    relink(2);
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_CLIENT], 1);
    assert_heard(HR_AUTH_LEG_CLIENT, &f);
    rf_free(&f);
    handshake_answer(&a, 2);
    rf_append(&said, a.p, a.len);
    auth(HR_AUTH_LEG_CLIENT, HR_AUTH_NEXT, &a);
    run(30 * PR_MS);
    authenticate(&f, 3, 300);
    authenticate_answer(&a, 3);
    client_round(&f, &a, HR_AUTH_DONE, HR_SLOT_SIZE, r.now_us + 100 * PR_S);
    assert_client_got();
    heartbeat(4);
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    assert_broker_got(NULL);
    heartbeat_answer(4);
    our_handshake(4);
    run(30 * PR_MS);
    broker_rounds(4, 0);
    /* Expired at the broker as well: nothing goes out, and then everything does. */
    heard.deaf = true;
    run(61 * PR_S);
    heartbeat(5);
    struct rf_bytes late = {0};
    rf_request(&late, 12, 3, 5, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    asked.len -= late.len;
    run(10 * PR_S);
    assert_broker_got(NULL);
    relink(3);
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    our_handshake(5);
    run(30 * PR_MS);
    assert_broker_got(NULL);
    handshake_answer(&a, 5);
    send_both(broker, NULL, &a);
    run(30 * PR_MS);
    authenticate(&a, 5, 0);
    rf_append(&asked, a.p, a.len);
    auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &a);
    run(30 * PR_MS);
    authenticate_answer(&a, 5);
    send_both(broker, NULL, &a);
    run(30 * PR_MS);
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_DONE, NULL, 0, 1, 0, 0);
    run(30 * PR_MS);
    rf_append(&asked, late.p, late.len);
    rf_free(&late);
    assert_broker_got(NULL);
    finish();
}

/* What had been begun with the old one is over. */
static void test_interrupted(void **state)
{
    struct rf_bytes f = {0}, a = {0};

    open_session(true, 100, 0, 0);
    handshake(&f, 1);
    handshake_answer(&a, 1);
    client_round(&f, &a, HR_AUTH_NEXT, HR_SLOT_SIZE, 0);
    relink(2);
    run(PR_S);
    assert_null(session());
    assert_int_equal(PR_DROPS(&r, auth_interrupted), 1);
    rf_free(&asked);
    rf_free(&said);

    open_session(false, 0, 1, 100);
    run(2 * PR_S);
    heartbeat(1);
    run(PR_S); /* it has waited long enough */
    our_handshake(2);
    run(30 * PR_MS);
    relink(3);
    run(PR_S);
    assert_null(session());
    assert_int_equal(PR_DROPS(&r, auth_interrupted), 2);
    finish();
}

/* Passwords go through on plain legs; whatever becomes of the session, none stays in a buffer or a slot. */
static void test_wiped(void **state)
{
    for (uint32_t padding = 0; padding <= 1000; padding += 1000) {
        struct rf_bytes f = {0};

        rte_mempool_obj_iter(r.in.bufs.rx_pool, wipe_pools, NULL);
        rte_mempool_obj_iter(r.in.bufs.hdr_pool, wipe_pools, NULL);
        open_session(true, 100, 1, 200);
        run(2 * PR_S);
        heartbeat(1);
        run(PR_S);
        heartbeat_answer(1);
        our_handshake(2);
        run(30 * PR_MS);
        broker_rounds(2, padding);
        client_login(3, padding, 0);
        assert_client_got();
        assert_wiped();
        /* One that is never answered: the client goes away meanwhile. */
        handshake(&f, 5);
        pr_send(&r, client, f.p, f.len);
        rf_free(&f);
        authenticate(&f, 6, padding);
        pr_send(&r, client, f.p, f.len);
        rf_free(&f);
        run(30 * PR_MS);
        pr_reset(&r, client);
        run(30 * PR_MS);
        hr_proxy_end_all(r.proxy);
        r.in.stats.counters[HR_CTR_auth_brokers] = 0;
        run(PR_S);
        assert_wiped();
        rf_free(&asked);
        rf_free(&said);
    }
    finish();
}

/* Commands that make no sense change nothing. */
static void test_nonsense(void **state)
{
    struct rf_bytes b = {0};

    open_session(true, 100, 1, 200);
    heartbeat_answer(1);
    said.len = 0;
    run(PR_S / 2);
    assert_null(session()); /* a response that nothing asked for: as ever */
    open_session(true, 100, 1, 200);
    uint64_t before = PR_DROPS(&r, ipc_invalid);
    handshake(&b, 1);
    auth_parts(HR_AUTH_LEG_CLIENT, HR_AUTH_NEXT, b.p, b.len, HR_SLOT_SIZE, 0, 0); /* nobody asked */
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, b.p, b.len, HR_SLOT_SIZE, 0, 0);
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_DONE, NULL, 0, 1, 0, 0);
    auth_parts(HR_AUTH_LEG_BROKER, HR_AUTH_FAILED, NULL, 0, 1, 0, 0);
    auth_parts(HR_AUTH_LEG_MAX, HR_AUTH_NEXT, b.p, b.len, HR_SLOT_SIZE, 0, 0);
    auth_parts(HR_AUTH_LEG_CLIENT, HR_AUTH_OVER_MAX, b.p, b.len, HR_SLOT_SIZE, 0, 0);
    run(30 * PR_MS);
    assert_int_equal(PR_DROPS(&r, ipc_invalid), before + 6);
    assert_non_null(session());
    heartbeat(1);
    run(2 * PR_S);
    heartbeat(2);
    run(PR_S);
    assert_int_equal(heard.begun[HR_AUTH_LEG_BROKER], 1);
    /* Something else than SaslHandshake would go out as ours: the session ends instead. */
    rf_free(&b);
    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    auth(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT, &b);
    run(30 * PR_MS);
    assert_null(session());
    assert_broker_got(NULL);
    assert_int_equal(PR_DROPS(&r, ipc_invalid), before + 7);
    finish();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_idle_needs_none), T(test_due_comes_first), T(test_frame_boundary), T(test_behind_waiting_requests),
        T(test_broker_refuses), T(test_broker_confuses), T(test_client), T(test_client_expires), T(test_client_out_of_sequence),
        T(test_client_refused), T(test_client_large), T(test_both_at_once), T(test_control_plane_dead),
        T(test_interrupted), T(test_wiped), T(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
