/* Sessions of which a leg, or both, speak TLS: the peers seal and open with OpenSSL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/proxy/impl.h"
#include "tests/support/proxy_rig.h"
#include "tests/support/tls_peer.h"

/* A peer of a leg. */
struct side {
    struct pr_peer *p;
    bool tls;
    struct tp write, read;
    uint32_t decoded;    /* bytes of p->got that have been looked at */
    struct rf_bytes got; /* plain text */
    int alert;           /* the last one, -1: none */
    uint32_t updates, asked;
    uint32_t seed;
};

static struct pr r;
static struct side client, broker;
static uint8_t up[300000], down[500000];

static int setup_as(uint32_t rekey_records, void (*tweak)(struct hr_tcp_config *cfg))
{
    r.rekey_records = rekey_records;
    pr_open(&r, tweak);
    memset(&client, 0, sizeof(client));
    memset(&broker, 0, sizeof(broker));
    for (uint32_t i = 0; i < sizeof(up); i++)
        up[i] = (uint8_t)(i * 31 >> 3);
    for (uint32_t i = 0; i < sizeof(down); i++)
        down[i] = (uint8_t)(i * 17 >> 2);
    return 0;
}

static int setup(void **state)
{
    return setup_as(0, NULL);
}

static int teardown(void **state)
{
    rf_free(&client.got);
    rf_free(&broker.got);
    pr_close(&r);
    return 0;
}

static void finish(void)
{
    rf_free(&client.got);
    rf_free(&broker.got);
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static void speak_tls(struct side *side, struct hr_leg *leg, uint8_t version, uint8_t suite)
{
    struct hr_rec_leg *tls;
    uint8_t role = leg->kind == HR_LEG_CLIENT ? HR_TLS_SERVER : HR_TLS_CLIENT;
    struct hr_tls_secrets s = tp_secrets(version, suite, role, 5u + leg->kind);
    assert_int_equal(hr_rec_leg_open(r.rec, &s, &tls), 0);
    leg->tls = hr_rec_leg_place(r.rec, tls);
    side->tls = true;
    tp_init(&side->write, version, suite, &s.read);
    tp_init(&side->read, version, suite, &s.write);
}

static struct hr_session *session(void)
{
    for (uint32_t i = 0; i < PR_SESSIONS; i++)
        if (r.proxy->sessions[i].state != HR_SESSION_FREE)
            return &r.proxy->sessions[i];
    fail_msg("no session");
    return NULL;
}

/* As after a hand-off: both connections are up, nothing has been said. */
static void open_session(bool kafka, bool client_tls, bool broker_tls, uint8_t version, uint8_t suite)
{
    client = (struct side){.p = pr_connect(&r, kafka ? 9203 : 5201), .alert = -1, .seed = 1};
    pr_run(&r, 20 * PR_MS);
    broker = (struct side){.p = pr_accepted_at(&r, kafka ? PR_BROKER_IP(1) : PR_TARGET_IP), .alert = -1, .seed = 2};
    assert_true(broker.p && client.p->connected && broker.p->connected);
    if (client_tls)
        speak_tls(&client, &session()->client, version, suite);
    if (broker_tls)
        speak_tls(&broker, &session()->broker, version, suite);
}

static void send_record(struct side *side, uint8_t type, const void *content, uint32_t len)
{
    static uint8_t record[TP_RECORD_MAX];
    uint32_t n = tp_seal(&side->write, type, content, len, 0, record);
    pr_send(&r, side->p, record, n);
}

static void send_plain(struct side *side, const void *data, uint32_t len)
{
    const uint8_t *p = data;
    if (!side->tls) {
        pr_send(&r, side->p, data, len);
        return;
    }
    while (len > 0) { /* records of all sizes */
        side->seed = side->seed * 1664525 + 1013904223;
        uint32_t n = side->seed >> 31 ? 16384 : (side->seed >> 16) % 3000 + 1;
        n = n < len ? n : len;
        send_record(side, 23, p, n);
        p += n;
        len -= n;
    }
}

static void decode(struct side *side)
{
    static uint8_t content[TP_RECORD_MAX];
    const struct rf_bytes *raw = &side->p->got;
    while (side->decoded < raw->len) {
        uint32_t len = raw->len - side->decoded;
        if (!side->tls) {
            rf_append(&side->got, raw->p + side->decoded, len);
            side->decoded += len;
            break;
        }
        uint8_t type;
        int n = tp_open(&side->read, raw->p + side->decoded, len, &type, content, &len);
        assert_true(n >= 0);
        if (n == 0)
            break;
        side->decoded += (uint32_t)n;
        if (type == 23) {
            rf_append(&side->got, content, len);
        } else if (type == 21) {
            assert_int_equal(len, 2);
            side->alert = content[1];
        } else {
            assert_int_equal(type, 22);
            assert_int_equal(len, 5);
            tp_update(&side->read);
            side->updates++;
            if (content[4] == 1) { /* as RFC 8446 4.6.3 wants it */
                static const uint8_t answer[] = {24, 0, 0, 1, 0};
                side->asked++;
                if (side->p->conn) {
                    send_record(side, 22, answer, sizeof(answer));
                    tp_update(&side->write);
                }
            }
        }
    }
}

static void run(uint64_t us)
{
    for (uint64_t until = r.now_us + us; r.now_us < until;) {
        pr_run(&r, 10 * PR_MS);
        decode(&client);
        decode(&broker);
    }
}

static void assert_got(const struct side *side, const uint8_t *expected, uint32_t len)
{
    assert_int_equal(side->got.len, len);
    assert_memory_equal(side->got.p, expected, len);
}

/* All four combinations, with every version and cipher, byte for byte; orderly ends pass through. */
static void test_streams(void **state)
{
    static const struct {
        uint8_t version, suite;
    } kinds[] = {{HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256},
                 {HR_TLS_1_3, HR_TLS_AES_256_GCM_SHA384},
                 {HR_TLS_1_3, HR_TLS_CHACHA20_POLY1305_SHA256},
                 {HR_TLS_1_2, HR_TLS_AES_128_GCM_SHA256},
                 {HR_TLS_1_2, HR_TLS_AES_256_GCM_SHA384}};
    static const uint8_t close_notify[] = {1, 0};
    for (unsigned legs = 0; legs < 4; legs++)
        for (unsigned k = 0; k < (legs ? sizeof(kinds) / sizeof(kinds[0]) : 1); k++) {
            open_session(false, legs & 1, legs & 2, kinds[k].version, kinds[k].suite);
            send_plain(&client, up, sizeof(up));
            send_plain(&broker, down, sizeof(down));
            run(3 * PR_S);
            assert_got(&broker, up, sizeof(up));
            assert_got(&client, down, sizeof(down));

            if (client.tls)
                send_record(&client, 21, close_notify, 2);
            pr_shutdown(&r, client.p);
            run(100 * PR_MS);
            assert_true(broker.p->fin);
            assert_int_equal(broker.alert, broker.tls ? 0 : -1);
            send_plain(&broker, down, 1000); /* half-closed */
            run(100 * PR_MS);
            assert_int_equal(client.got.len, sizeof(down) + 1000);
            if (broker.tls)
                send_record(&broker, 21, close_notify, 2);
            pr_shutdown(&r, broker.p);
            run(100 * PR_MS);
            assert_true(client.p->closed && broker.p->closed);
            assert_int_equal(client.alert, client.tls ? 0 : -1);
            assert_int_equal(PR_COUNT(&r, tls_fin_bare), 0);
            rf_free(&client.got);
            rf_free(&broker.got);
        }
    finish();
}

static void small_windows(struct hr_tcp_config *cfg)
{
    cfg->rcv_wnd_initial = 4096;
    cfg->rcv_wnd_max = 8192;
    cfg->snd_buf_max = 8192;
}

static int setup_small_windows(void **state)
{
    return setup_as(0, small_windows);
}

/* A record is larger than the window: the offer grows for it. Readers that stop hold senders back. */
static void test_records_larger_than_windows(void **state)
{
    for (unsigned legs = 1; legs < 4; legs++) {
        open_session(false, legs & 1, legs & 2, HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256);
        client.p->paused = true;
        send_plain(&client, up, 200000);
        send_plain(&broker, down, 200000);
        run(2 * PR_S);
        assert_got(&broker, up, 200000);
        uint32_t held = hr_tcp_send_bytes(session()->client.conn) + hr_leg_unread(r.proxy, &session()->broker);
        assert_true(held < 8192 + 2 * 17000); /* not all of it is with us */
        client.p->paused = false;
        run(20 * PR_S);
        assert_got(&client, down, 200000);
        pr_reset(&r, client.p);
        run(100 * PR_MS);
        rf_free(&client.got);
        rf_free(&broker.got);
    }
    finish();
}

static int setup_low_limit(void **state)
{
    return setup_as(1, NULL);
}

/* Both directions' keys change all the time, asked for and on our own. */
static void test_key_updates_under_load(void **state)
{
    static const uint8_t ask[] = {24, 0, 0, 1, 1};
    open_session(false, true, true, HR_TLS_1_3, HR_TLS_AES_256_GCM_SHA384);
    for (int i = 0; i < 20; i++) {
        send_plain(&client, up + 10000 * i, 10000);
        send_record(&client, 22, ask, sizeof(ask));
        tp_update(&client.write);
        send_plain(&broker, down + 20000 * i, 20000);
        send_record(&broker, 22, ask, sizeof(ask));
        tp_update(&broker.write);
        run(50 * PR_MS);
    }
    run(1 * PR_S);
    assert_got(&broker, up, 200000);
    assert_got(&client, down, 400000);
    assert_true(client.updates > 20 && broker.updates > 10);
    assert_true(PR_COUNT(&r, tls_key_updates_rx) >= 40);
    pr_shutdown(&r, client.p);
    pr_shutdown(&r, broker.p);
    run(100 * PR_MS);
    assert_int_equal(PR_COUNT(&r, tls_fin_bare), 2);
    finish();
}

/* TLS 1.2 cannot do that: the session ends. */
static void test_worn_out_key_ends_the_session(void **state)
{
    open_session(false, true, false, HR_TLS_1_2, HR_TLS_AES_128_GCM_SHA256);
    send_plain(&client, up, 50000);
    run(2 * PR_S);
    assert_int_equal(PR_DROPS(&r, tls_key_limit), 1);
    assert_int_equal(client.alert, 0);
    assert_int_equal(r.in.stats.gauges[HR_GAUGE_sessions], 0);
    pr_reset(&r, client.p);
    finish();
}

static void metadata(struct rf_bytes *request, struct rf_bytes *response, int32_t id)
{
    rf_request(request, 3, 9, id,
               "{'Topics':[],'AllowAutoTopicCreation':false,'IncludeClusterAuthorizedOperations':false,"
               "'IncludeTopicAuthorizedOperations':false}");
    rf_response(response, 3, 9, id,
                "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'b3','Port':9092,'Rack':null}],'ClusterId':'c',"
                "'ControllerId':3,'Topics':[],'ClusterAuthorizedOperations':0}");
}

/* Frames are read and rewritten inside TLS as they are outside. */
static void test_frames(void **state)
{
    struct rf_bytes plain = {0};
    for (unsigned legs = 0; legs < 4; legs++) {
        open_session(true, legs & 1, legs & 2, HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256);
        struct rf_bytes request = {0}, response = {0};
        metadata(&request, &response, 7);
        send_plain(&client, request.p, request.len);
        run(50 * PR_MS);
        assert_got(&broker, request.p, request.len);
        send_plain(&broker, response.p, response.len);
        run(50 * PR_MS);
        assert_true(client.got.len > response.len); /* the name is longer */
        if (legs == 0)
            rf_append(&plain, client.got.p, client.got.len);
        assert_got(&client, plain.p, plain.len);
        rf_free(&request);
        rf_free(&response);
        pr_shutdown(&r, client.p); /* at a frame boundary, close_notify or not: an end */
        run(50 * PR_MS);
        assert_true(broker.p->fin);
        pr_shutdown(&r, broker.p);
        run(50 * PR_MS);
        rf_free(&client.got);
        rf_free(&broker.got);
    }
    assert_int_equal(PR_COUNT(&r, tls_fin_bare), 4);
    rf_free(&plain);
    finish();
}

/* Of listener 0, and of the brokers. */
static void want_tls(bool listener, bool cluster)
{
    struct hr_policy *policy = pr_next_policy(&r);
    policy->cluster_tls = cluster;
    for (uint32_t i = 0; i < policy->n_listeners; i++) {
        struct hr_policy_listener *l = &policy->listeners[i];
        l->tls = listener && i == 0;
        l->handshake_timeout_ms = 2000;
        l->max_handshakes = l->handshake_rate = 100;
    }
    pr_adopt(&r);
}

/* A connection that somebody else had: its handshake stands in front of the first record. */
static void test_join(void **state)
{
    const struct hr_session_login login = {.mechanism = 2, .expires_us = UINT64_MAX, .principal = "alice", .identity_name = "us"};
    for (uint8_t version = HR_TLS_1_2; version <= HR_TLS_1_3; version++) {
        static const uint8_t handshake[300] = {22, 3, 3};
        struct rf_bytes request = {0}, response = {0};
        struct hr_tcp_conn *conn;
        uint64_t id;
        want_tls(false, false);
        open_session(true, false, false, version, HR_TLS_AES_128_GCM_SHA256);
        assert_int_equal(hr_proxy_detach_client(r.proxy, hr_session_id(r.proxy, session()), &conn), 0);
        run(50 * PR_MS);
        pr_shutdown(&r, broker.p);
        want_tls(true, false);
        struct hr_tls_secrets s = tp_secrets(version, HR_TLS_AES_128_GCM_SHA256, HR_TLS_SERVER, 77);
        client.tls = true;
        tp_init(&client.write, s.version, s.suite, &s.read);
        tp_init(&client.read, s.version, s.suite, &s.write);
        metadata(&request, &response, 3);
        pr_send(&r, client.p, handshake, sizeof(handshake));
        const uint32_t early = 11; /* bytes behind the login, in the same record */
        send_plain(&client, request.p + early, request.len - early);
        run(50 * PR_MS);

        const struct hr_join_leg none = {0};
        struct hr_join_leg leg = {.conn = conn, .secrets = &s, .skip = hr_tcp_rcvq(conn)->bytes + 1};
        uint32_t before = hr_tcp_rcvq(conn)->bytes;
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        leg.skip = sizeof(handshake);
        s.role = HR_TLS_CLIENT;
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        s.role = HR_TLS_SERVER;
        s.suite = HR_TLS_SUITE_MAX;
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        s.suite = HR_TLS_AES_128_GCM_SHA256;
        assert_int_equal(hr_proxy_join(r.proxy, HR_POLICY_MAX_LISTENERS, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        /* A reload has come between: the session would be another than is wanted now. */
        want_tls(false, false);
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        want_tls(true, true);
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        want_tls(true, false);
        leg.secrets = NULL;
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        leg.secrets = &s;
        assert_int_equal(hr_tcp_rcvq(conn)->bytes, before); /* a refusal leaves it as it was */
        struct hr_pieceq unread;
        hr_pieceq_init(&unread);
        assert_int_equal(hr_pieceq_push_bytes(&r.in.bufs, &unread, request.p, early), 0);
        leg.unread = &unread;
        leg.secrets = NULL; /* of a plaintext leg all is in its queue */
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, NULL, r.now_us, &id), HR_E_INVALID);
        leg.secrets = &s;
        assert_int_equal(hr_proxy_join(r.proxy, 0, 3, &leg, &none, &login, r.now_us, &id), 0);
        assert_int_equal(unread.bytes, 0);
        struct hr_session_info info;
        uint32_t next;
        assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
        assert_memory_equal(&info.login, &login, sizeof(login));
        assert_int_equal(info.client_version, version);
        assert_int_equal(info.client_suite, HR_TLS_AES_128_GCM_SHA256);
        assert_int_equal(info.broker_version | info.broker_suite, 0);
        assert_int_equal(info.asked_node_id, 3);
        run(50 * PR_MS);
        broker = (struct side){.p = pr_accepted_at(&r, PR_BROKER_IP(1)), .alert = -1, .seed = 2};
        decode(&broker);
        assert_got(&broker, request.p, request.len);
        send_plain(&broker, response.p, response.len);
        run(50 * PR_MS);
        assert_true(client.got.len > response.len);
        rf_free(&request);
        rf_free(&response);
        pr_shutdown(&r, client.p);
        run(50 * PR_MS);
        pr_shutdown(&r, broker.p);
        run(50 * PR_MS);
        rf_free(&client.got);
        rf_free(&broker.got);
    }
    finish();
}

/* Ends in the middle of a frame, and of a record. */
static void test_ends_inside(void **state)
{
    static const uint8_t close_notify[] = {1, 0};
    for (unsigned how = 0; how < 3; how++) {
        struct rf_bytes request = {0}, response = {0};
        open_session(true, true, true, HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256);
        metadata(&request, &response, 7);
        if (how == 0) { /* half a record */
            static uint8_t record[TP_RECORD_MAX];
            tp_seal(&client.write, 23, request.p, request.len, 0, record);
            pr_send(&r, client.p, record, 20);
        } else { /* half a frame, with and without close_notify */
            send_plain(&client, request.p, request.len / 2);
        }
        if (how == 2)
            send_record(&client, 21, close_notify, 2);
        pr_shutdown(&r, client.p);
        run(100 * PR_MS);
        assert_true(broker.p->failed);
        assert_int_equal(broker.p->failure, HR_TCP_FAIL_RESET);
        assert_int_equal(broker.alert, -1);
        rf_free(&request);
        rf_free(&response);
    }
    assert_int_equal(PR_DROPS(&r, tls_truncated), 1);
    assert_int_equal(PR_DROPS(&r, kafka_partial_frame), 2);
    finish();
}

/* A record that is not right: its sender is told, the other end is cut, nothing of it goes on. */
static void test_forged_records(void **state)
{
    for (unsigned from_broker = 0; from_broker < 2; from_broker++) {
        static uint8_t record[TP_RECORD_MAX];
        open_session(false, true, true, HR_TLS_1_3, HR_TLS_AES_128_GCM_SHA256);
        struct side *bad = from_broker ? &broker : &client, *other = from_broker ? &client : &broker;
        send_plain(bad, up, 100);
        uint32_t n = tp_seal(&bad->write, 23, up, 5000, 0, record);
        record[2500] ^= 4;
        pr_send(&r, bad->p, record, n);
        run(100 * PR_MS);
        assert_got(other, up, 100);
        assert_true(other->p->failed);
        assert_int_equal(bad->alert, 20);
        rf_free(&client.got);
        rf_free(&broker.got);
    }
    assert_int_equal(PR_DROPS(&r, tls_bad_record_mac), 2);
    finish();
}

/* Loss between the peers and us: what is sent again is the same record, sealed once. */
static void test_retransmissions_are_not_sealed_again(void **state)
{
    open_session(false, true, true, HR_TLS_1_3, HR_TLS_CHACHA20_POLY1305_SHA256);
    send_plain(&broker, down, 100000);
    for (int i = 0; i < 10; i++) {
        pr_host(&r, PR_CLIENT_IP)->silent = i % 2 == 0;
        run(30 * PR_MS);
    }
    pr_host(&r, PR_CLIENT_IP)->silent = false;
    run(20 * PR_S);
    assert_got(&client, down, 100000);
    assert_true(PR_COUNT(&r, tcp_retransmit_segs) > 0);
    pr_reset(&r, client.p);
    run(100 * PR_MS);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_records_larger_than_windows, setup_small_windows, teardown),
        cmocka_unit_test_setup_teardown(test_key_updates_under_load, setup_low_limit, teardown),
        cmocka_unit_test_setup_teardown(test_worn_out_key_ends_the_session, setup_low_limit, teardown),
        cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_join, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends_inside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_records, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retransmissions_are_not_sealed_again, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
