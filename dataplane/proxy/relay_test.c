/* Bytes through both legs of a session, and what the end of one leg means for the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <rte_mempool.h>

#include "dataplane/proxy/impl.h"
#include "shared/kafka/wire.h"
#include "tests/support/proxy_rig.h"

static struct pr r;
static struct pr_peer *client, *broker;

static int setup(void **state)
{
    pr_open(&r, NULL);
    return 0;
}

static int teardown(void **state)
{
    pr_close(&r);
    return 0;
}

static void finish(void)
{
    const char *wrong = pr_close(&r);
    if (wrong)
        fail_msg("%s", wrong);
}

static void open_tcp_session(void)
{
    client = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    broker = pr_accepted_at(&r, PR_TARGET_IP);
    assert_non_null(broker);
    assert_true(client->connected && broker->connected);
}

/* To the broker with node id 3. */
static void open_kafka_session(void)
{
    client = pr_connect(&r, 9203);
    pr_run(&r, 20 * PR_MS);
    broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    assert_non_null(broker);
    assert_true(client->connected && broker->connected);
}

static void send_frame(struct pr_peer *p, struct rf_bytes *b)
{
    pr_send(&r, p, b->p, b->len);
    rf_free(b);
}

static void metadata_request(int32_t id)
{
    struct rf_bytes b = {0};
    rf_request(&b, 3, 9, id,
               "{'Topics':[],'AllowAutoTopicCreation':false,'IncludeClusterAuthorizedOperations':false,"
               "'IncludeTopicAuthorizedOperations':false}");
    send_frame(client, &b);
}

/* A frame that streams through: Heartbeat. */
static void heartbeat_response(struct rf_bytes *b, int32_t id)
{
    rf_response(b, 12, 3, id, "{'ThrottleTimeMs':0,'ErrorCode':0}");
}

static void heartbeat_request(struct rf_bytes *b, int32_t id)
{
    rf_request(b, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
}

/* ---- opaque ------------------------------------------------------------------------------------------ */

static void test_tcp_both_ways(void **state)
{
    static uint8_t up[300000], down[500000];
    for (uint32_t i = 0; i < sizeof(up); i++)
        up[i] = (uint8_t)(i * 31 >> 3);
    for (uint32_t i = 0; i < sizeof(down); i++)
        down[i] = (uint8_t)(i * 17 >> 2);
    open_tcp_session();
    pr_send(&r, client, up, sizeof(up));
    pr_send(&r, broker, down, sizeof(down));
    pr_run(&r, 5 * PR_S);
    assert_int_equal(broker->got.len, sizeof(up));
    assert_memory_equal(broker->got.p, up, sizeof(up));
    assert_int_equal(client->got.len, sizeof(down));
    assert_memory_equal(client->got.p, down, sizeof(down));
    assert_int_equal(PR_COUNT(&r, relay_bytes_up), sizeof(up));
    assert_int_equal(PR_COUNT(&r, relay_bytes_down), sizeof(down));
    assert_int_equal(PR_COUNT(&r, payload_copied_bytes), 0);
    finish();
}

/* A reader that stops closes the window of the writer; when it reads again everything flows on. */
static void test_tcp_slow_reader(void **state)
{
    static uint8_t data[3000000];
    open_tcp_session();
    client->paused = true;
    pr_send(&r, broker, data, 1000000);
    pr_run(&r, 20 * PR_S);
    uint64_t held = r.in.bufs.held;
    assert_true(r.in.stats.counters[HR_CTR_relay_bytes_down] < 1000000);
    pr_run(&r, 20 * PR_S);
    assert_int_equal(r.in.bufs.held, held);
    client->paused = false;
    pr_run(&r, 60 * PR_S);
    assert_int_equal(client->got.len, 1000000);
    finish();
}

static void test_tcp_half_close(void **state)
{
    open_tcp_session();
    pr_send(&r, client, "question", 8);
    pr_shutdown(&r, client);
    pr_run(&r, PR_S);
    assert_true(broker->fin);
    assert_int_equal(broker->got.len, 8);
    assert_false(client->fin);
    pr_send(&r, broker, "answer", 6);
    pr_run(&r, PR_S);
    assert_int_equal(client->got.len, 6);
    assert_int_equal(hr_proxy_sessions(r.proxy), 1);
    pr_shutdown(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->fin && client->closed && broker->closed);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_int_equal(r.in.stats.gauges[HR_GAUGE_tcp_conns], 0);
    finish();
}

static void test_tcp_broker_half_close(void **state)
{
    open_tcp_session();
    pr_shutdown(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->fin && !broker->fin);
    pr_send(&r, client, "still here", 10);
    pr_shutdown(&r, client);
    pr_run(&r, PR_S);
    assert_int_equal(broker->got.len, 10);
    assert_true(broker->fin && broker->closed && client->closed);
    finish();
}

static void test_tcp_resets(void **state)
{
    open_tcp_session();
    pr_reset(&r, client);
    pr_run(&r, PR_S);
    assert_true(broker->failed);
    assert_int_equal(broker->failure, HR_TCP_FAIL_RESET);
    assert_int_equal(PR_DROPS(&r, client_reset), 1);

    open_tcp_session();
    pr_reset(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->failed);
    assert_int_equal(PR_DROPS(&r, broker_closed), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* Bytes and FIN that arrive before the broker leg is up are delivered when it is. */
static void test_early_bytes(void **state)
{
    client = pr_connect(&r, 5201);
    pr_run(&r, 2 * PR_MS);
    assert_true(client->connected);
    pr_send(&r, client, "early", 5);
    pr_shutdown(&r, client);
    pr_run(&r, PR_S);
    broker = pr_accepted_at(&r, PR_TARGET_IP);
    assert_non_null(broker);
    assert_int_equal(broker->got.len, 5);
    assert_true(broker->fin);
    finish();
}

/* ---- Kafka ------------------------------------------------------------------------------------------- */

static void test_kafka_both_ways(void **state)
{
    struct rf_bytes b = {0}, want = {0};
    open_kafka_session();
    metadata_request(7);
    pr_run(&r, 50 * PR_MS);
    assert_true(broker->got.len > 12);
    assert_int_equal(hr_kget32(broker->got.p + 8), 7);
    rf_response(&b, 3, 9, 7,
                "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'k3','Port':9092,'Rack':'zone-b'}],"
                "'ClusterId':'c','ControllerId':3,'Topics':[],'ClusterAuthorizedOperations':0}");
    rf_response(&want, 3, 9, 7,
                "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'b3.example.com','Port':19203,"
                "'Rack':'zone-b'}],'ClusterId':'c','ControllerId':3,'Topics':[],"
                "'ClusterAuthorizedOperations':0}");
    send_frame(broker, &b);
    pr_run(&r, 50 * PR_MS);
    assert_int_equal(client->got.len, want.len);
    assert_memory_equal(client->got.p, want.p, want.len);
    rf_free(&want);
    pr_shutdown(&r, client);
    pr_run(&r, 50 * PR_MS);
    assert_true(broker->fin);
    pr_shutdown(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->fin && client->closed);
    assert_int_equal(PR_DROPS(&r, broker_closed), 0);
    finish();
}

/* A rewritten answer finds no buffer: it leaves in the turn after there is one again, whenever that is. (The sweep
 * looks at each session about ten times a second: it may be by it once or twice.) */
static void test_kafka_goes_on_with_memory(void **state)
{
    static void *taken[8192];
    struct rte_mempool *pool = r.in.bufs.hdr_pool;
    struct rf_bytes b = {0};
    rf_response(&b, 3, 9, 0,
                "{'ThrottleTimeMs':0,'Brokers':[{'NodeId':3,'Host':'k3','Port':9092,'Rack':'zone-b'}],"
                "'ClusterId':'c','ControllerId':3,'Topics':[],'ClusterAuthorizedOperations':0}");
    open_kafka_session();
    for (int32_t i = 0; i < 8; i++) {
        uint32_t n = 0, before = client->got.len;
        metadata_request(i);
        pr_run(&r, 20 * PR_MS);
        while (hr_buf_pool_free(pool) > pool->size / 8 && rte_mempool_get(pool, &taken[n]) == 0)
            n++;
        hr_kput32(b.p + 4, (uint32_t)i);
        pr_send(&r, broker, b.p, b.len);
        pr_run(&r, (uint64_t)(10 + 13 * i) * PR_MS);
        assert_int_equal(client->got.len, before);
        assert_true(PR_COUNT(&r, mbuf_alloc_failed) > 0);
        rte_mempool_put_bulk(pool, taken, n);
        pr_run(&r, 2 * PR_MS);
        if (client->got.len == before)
            fail_msg("answer %d still waits", i);
    }
    rf_free(&b);
    finish();
}

static void test_broker_fin_at_boundary(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    heartbeat_request(&b, 1);
    send_frame(client, &b);
    pr_run(&r, 50 * PR_MS);
    heartbeat_response(&b, 1);
    send_frame(broker, &b);
    pr_shutdown(&r, broker);
    pr_run(&r, 50 * PR_MS);
    assert_true(client->got.len > 0 && client->fin && !client->failed);
    assert_int_equal(PR_DROPS(&r, broker_closed), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

static void test_broker_fin_in_frame(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    heartbeat_request(&b, 1);
    send_frame(client, &b);
    pr_run(&r, 50 * PR_MS);
    heartbeat_response(&b, 1);
    pr_send(&r, broker, b.p, b.len - 2);
    rf_free(&b);
    pr_shutdown(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->failed);
    assert_int_equal(client->failure, HR_TCP_FAIL_RESET);
    assert_int_equal(PR_DROPS(&r, kafka_partial_frame), 1);
    finish();
}

/* Wherever the broker stops, the end is passed on: also inside fields that the relay walks over. */
static void test_broker_fin_anywhere(void **state)
{
    struct rf_bytes b = {0};
    uint64_t partial = 0;
    rf_response(&b, 1, 12, 1,
                "{'ThrottleTimeMs':0,'ErrorCode':0,'SessionId':0,'Responses':[{'Topic':'t','Partitions':"
                "[{'PartitionIndex':0,'ErrorCode':0,'HighWatermark':0,'LastStableOffset':0,'LogStartOffset':0,"
                "'AbortedTransactions':[{'ProducerId':1,'FirstOffset':2}],'PreferredReadReplica':-1,"
                "'Records':null}]}]}");
    for (uint32_t cut = 1; cut < b.len; cut++) {
        struct rf_bytes request = {0};
        open_kafka_session();
        rf_bare_request(&request, 1, 12, 1);
        send_frame(client, &request);
        pr_run(&r, 10 * PR_MS);
        pr_send(&r, broker, b.p, cut);
        pr_run(&r, 10 * PR_MS);
        pr_shutdown(&r, broker);
        pr_run(&r, 500 * PR_MS);
        if (hr_proxy_sessions(r.proxy) != 0)
            fail_msg("cut at byte %u: the session hangs", cut);
        /* Half a frame is never followed by an orderly end. */
        if (client->got.len == 0 ? !client->fin : !client->failed || client->fin)
            fail_msg("cut at byte %u: %u bytes passed on, fin %d, failed %d", cut, client->got.len, client->fin,
                     client->failed);
        partial += client->got.len > 0;
        rf_free(&client->got);
        if (client->conn)
            pr_reset(&r, client);
        assert_null(broker->conn);
        rf_free(&broker->got);
        r.n_peers = 0;
    }
    rf_free(&b);
    assert_true(partial > 40);
    assert_int_equal(PR_DROPS(&r, kafka_partial_frame), partial);
    finish();
}

static void test_client_fin_in_frame(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    heartbeat_request(&b, 1);
    pr_send(&r, client, b.p, b.len - 2);
    rf_free(&b);
    pr_shutdown(&r, client);
    pr_run(&r, PR_S);
    assert_true(broker->failed);
    assert_int_equal(PR_DROPS(&r, kafka_partial_frame), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

static void test_broker_reset(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    pr_reset(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->fin && !client->failed); /* between two frames */

    open_kafka_session();
    heartbeat_request(&b, 1);
    send_frame(client, &b);
    pr_run(&r, 50 * PR_MS);
    heartbeat_response(&b, 1);
    pr_send(&r, broker, b.p, b.len - 2);
    rf_free(&b);
    pr_run(&r, 50 * PR_MS);
    pr_reset(&r, broker);
    pr_run(&r, PR_S);
    assert_true(client->failed); /* inside one */
    assert_int_equal(PR_DROPS(&r, broker_closed), 2);
    finish();
}

static void test_client_reset(void **state)
{
    open_kafka_session();
    pr_reset(&r, client);
    pr_run(&r, PR_S);
    assert_true(broker->fin && !broker->failed); /* between two frames */
    assert_int_equal(PR_DROPS(&r, client_reset), 1);
    finish();
}

/* Nonsense ends the session; the log says which API it was. */
static void test_bad_request(void **state)
{
    uint8_t bad[14];
    open_kafka_session();
    hr_kput32(bad, 10);
    hr_kput16(bad + 4, 999);
    hr_kput16(bad + 6, 5);
    hr_kput32(bad + 8, 1);
    hr_kput16(bad + 12, 0);
    pr_send(&r, client, bad, sizeof(bad));
    pr_run(&r, PR_S);
    assert_true(broker->failed);
    assert_true(client->fin && !client->failed);
    assert_int_equal(PR_DROPS(&r, kafka_unknown_api), 1);
    assert_int_equal(r.n_logs[HR_LOGEV_BAD_INPUT], 1);
    assert_int_equal(r.last_log[HR_LOGEV_BAD_INPUT].u.log.a, 999);
    assert_int_equal(r.last_log[HR_LOGEV_BAD_INPUT].u.log.b, 5);
    finish();
}

/* The same while a response is on its way: the client must not take its half for the whole. */
static void test_bad_request_in_response(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    heartbeat_request(&b, 1);
    send_frame(client, &b);
    pr_run(&r, 50 * PR_MS);
    heartbeat_response(&b, 1);
    pr_send(&r, broker, b.p, b.len - 2);
    rf_free(&b);
    pr_run(&r, 50 * PR_MS);
    pr_send(&r, client, "\xff\xff\xff\xff....", 8);
    pr_run(&r, PR_S);
    assert_int_equal(PR_DROPS(&r, kafka_frame_size), 1);
    assert_true(client->failed);
    finish();
}

/* A response is completed in the turn in which the client's reset arrives: the reset is what is counted. */
static void test_reset_meets_response(void **state)
{
    struct rf_bytes b = {0};
    open_kafka_session();
    rf_request(&b, 18, 0, 1, "{}");
    send_frame(client, &b);
    pr_run(&r, 50 * PR_MS);
    rf_response(&b, 18, 0, 1, "{'ErrorCode':0,'ApiKeys':[{'ApiKey':3,'MinVersion':0,'MaxVersion':999}]}");
    pr_send(&r, broker, b.p, b.len - 2);
    pr_run(&r, 50 * PR_MS);
    pr_send(&r, broker, b.p + b.len - 2, 2);
    rf_free(&b);
    hr_tcp_flush(r.out.tcp, 8); /* the bytes first, then the reset, at the same moment */
    pr_reset(&r, client);
    pr_run(&r, PR_S);
    assert_int_equal(PR_DROPS(&r, tx_nombuf), 0);
    assert_int_equal(PR_COUNT(&r, mbuf_alloc_failed), 0);
    assert_int_equal(PR_DROPS(&r, client_reset), 1);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* More sessions one after the other than there are places. */
static void test_many_sessions(void **state)
{
    for (int i = 0; i < 3 * PR_SESSIONS; i++) {
        open_kafka_session();
        metadata_request(i);
        pr_run(&r, 20 * PR_MS);
        if (i % 3 == 0)
            pr_reset(&r, client);
        else
            pr_shutdown(&r, i % 3 == 1 ? client : broker);
        pr_run(&r, 20 * PR_MS);
        if (i % 3 == 1)
            pr_shutdown(&r, broker);
        pr_run(&r, 500 * PR_MS);
        assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    }
    assert_int_equal(PR_COUNT(&r, sessions_opened), 3 * PR_SESSIONS);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_tcp_both_ways),
        T(test_tcp_slow_reader),
        T(test_tcp_half_close),
        T(test_tcp_broker_half_close),
        T(test_tcp_resets),
        T(test_early_bytes),
        T(test_kafka_both_ways),
        T(test_kafka_goes_on_with_memory),
        T(test_broker_fin_at_boundary),
        T(test_broker_fin_in_frame),
        T(test_broker_fin_anywhere),
        T(test_client_fin_in_frame),
        T(test_broker_reset),
        T(test_client_reset),
        T(test_bad_request),
        T(test_bad_request_in_response),
        T(test_reset_meets_response),
        T(test_many_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
