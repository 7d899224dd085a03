/* Time: idle sessions, requests that do not complete, drain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

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

static void timeouts(uint32_t idle_ms, uint32_t request_ms)
{
    struct hr_policy *p = pr_next_policy(&r);
    for (uint32_t i = 0; i < p->n_listeners; i++) {
        p->listeners[i].idle_timeout_ms = idle_ms;
        if (p->listeners[i].mode == HR_LISTENER_KAFKA)
            p->listeners[i].request_timeout_ms = request_ms;
    }
    pr_adopt(&r);
}

static void open_session(uint16_t port, uint32_t broker_ip)
{
    client = pr_connect(&r, port);
    pr_run(&r, 20 * PR_MS);
    broker = pr_accepted_at(&r, broker_ip);
    assert_non_null(broker);
    assert_true(client->connected);
}

static void heartbeat(struct rf_bytes *b, int32_t id)
{
    rf_request(b, 12, 3, id, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
}

static void send_request(int32_t id)
{
    struct rf_bytes b = {0};
    heartbeat(&b, id);
    pr_send(&r, client, b.p, b.len);
    rf_free(&b);
}

/* All of a response but its last `less` bytes. */
static void send_response(int32_t id, uint32_t less)
{
    struct rf_bytes b = {0};
    rf_response(&b, 12, 3, id, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    pr_send(&r, broker, b.p, b.len - less);
    rf_free(&b);
}

static void test_idle(void **state)
{
    timeouts(2000, 0);
    open_session(9203, PR_BROKER_IP(1));
    for (int i = 0; i < 4; i++) {
        pr_run(&r, PR_S);
        send_request(i);
        pr_run(&r, 10 * PR_MS);
        send_response(i, 0);
    }
    pr_run(&r, 1800 * PR_MS);
    assert_false(client->fin);
    pr_run(&r, 600 * PR_MS);
    assert_true(client->fin && broker->fin && !client->failed && !broker->failed);
    assert_int_equal(PR_DROPS(&r, idle_timeout), 1);
    finish();
}

/* A frame that was cut off must not look complete. */
static void test_idle_in_response(void **state)
{
    timeouts(2000, 0);
    open_session(9203, PR_BROKER_IP(1));
    send_request(1);
    pr_run(&r, 10 * PR_MS);
    send_response(1, 2);
    pr_run(&r, 3 * PR_S);
    assert_int_equal(PR_DROPS(&r, idle_timeout), 1);
    assert_true(client->failed);
    finish();
}

static void test_idle_opaque(void **state)
{
    timeouts(2000, 0);
    open_session(5201, PR_TARGET_IP);
    pr_run(&r, 3 * PR_S);
    assert_true(client->fin && broker->fin);
    assert_int_equal(PR_DROPS(&r, idle_timeout), 1);
    finish();
}

static void test_request_stall(void **state)
{
    struct rf_bytes b = {0};
    timeouts(0, 1000);
    open_session(9203, PR_BROKER_IP(1));
    heartbeat(&b, 1);
    for (uint32_t i = 0; i + 1 < b.len && !client->fin; i++) { /* byte by byte is no progress */
        pr_send(&r, client, b.p + i, 1);
        pr_run(&r, 100 * PR_MS);
    }
    rf_free(&b);
    assert_true(client->fin);
    assert_true(broker->failed || pr_n_accepted(&r) == 1);
    assert_int_equal(PR_DROPS(&r, kafka_request_stall), 1);
    finish();
}

/* Frame after frame without a pause, so that there is always one under way: each has its own time. */
static void test_stream_of_requests(void **state)
{
    struct rf_bytes b = {0};
    timeouts(0, 1000);
    open_session(9203, PR_BROKER_IP(1));
    for (int i = 0; i < 20; i++)
        heartbeat(&b, i);
    uint32_t frame = b.len / 20, at = frame / 2;
    pr_send(&r, client, b.p, at);
    for (int i = 0; i < 19; i++) {
        pr_run(&r, 200 * PR_MS);
        assert_false(client->fin);
        pr_send(&r, client, b.p + at, frame);
        at += frame;
        pr_run(&r, 10 * PR_MS);
        send_response(i, 0);
    }
    rf_free(&b);
    assert_int_equal(PR_DROPS(&r, kafka_request_stall), 0);
    assert_int_equal(hr_proxy_sessions(r.proxy), 1);
    finish();
}

static void test_drain(void **state)
{
    struct pr_peer *idle, *busy, *busy_broker;
    open_session(9201, PR_BROKER_IP(0));
    idle = client;
    open_session(9203, PR_BROKER_IP(1));
    busy = client;
    busy_broker = broker;
    send_request(1);
    pr_run(&r, 10 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 5 * PR_S);
    pr_run(&r, 500 * PR_MS);
    assert_true(idle->fin && !idle->failed);
    assert_false(busy->fin);
    send_request(2); /* not any more */
    pr_run(&r, 500 * PR_MS);
    uint32_t forwarded = busy_broker->got.len;
    struct pr_peer *late = pr_connect(&r, 9092);
    pr_run(&r, 100 * PR_MS);
    assert_true(late->failed);
    assert_int_equal(PR_DROPS(&r, draining), 1);
    send_response(1, 0);
    pr_run(&r, 500 * PR_MS);
    assert_int_equal(busy_broker->got.len, forwarded);
    assert_true(busy->got.len > 0 && busy->fin && !busy->failed);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_int_equal(PR_DROPS(&r, drain_deadline), 0);
    assert_int_equal(r.n_logs[HR_LOGEV_DRAIN_DONE], 1);
    assert_int_equal(r.last_log[HR_LOGEV_DRAIN_DONE].u.log.a, 0);
    finish();
}

/* The session is over when its last response is queued; the process must not go before it is delivered. */
static void test_drain_to_slow_client(void **state)
{
    static uint8_t response[100000];
    open_session(9203, PR_BROKER_IP(1));
    send_request(1);
    pr_run(&r, 10 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 60 * PR_S);
    client->paused = true;
    hr_kput32(response, sizeof(response) - 4);
    hr_kput32(response + 4, 1);
    pr_send(&r, broker, response, sizeof(response));
    pr_run(&r, 2 * PR_S);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_int_equal(hr_tcp_lingering(r.in.tcp), 1);
    client->paused = false;
    pr_run(&r, PR_S);
    assert_int_equal(client->got.len, sizeof(response));
    assert_true(client->fin && !client->failed);
    assert_int_equal(hr_tcp_lingering(r.in.tcp), 0);
    finish();
}

static void test_drain_deadline(void **state)
{
    open_session(9203, PR_BROKER_IP(1));
    send_request(1);
    struct pr_peer *opaque = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 5 * PR_S);
    pr_run(&r, 4900 * PR_MS);
    assert_int_equal(hr_proxy_sessions(r.proxy), 2);
    pr_run(&r, 400 * PR_MS);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_true(client->failed && broker->failed && opaque->failed);
    assert_int_equal(PR_DROPS(&r, drain_deadline), 2);
    assert_int_equal(r.n_logs[HR_LOGEV_DRAIN_DONE], 1);
    assert_int_equal(r.last_log[HR_LOGEV_DRAIN_DONE].u.log.a, 2);
    finish();
}

/* A client that has closed its half and has all its answers does not hold up a drain. */
static void test_drain_half_closed(void **state)
{
    open_session(9203, PR_BROKER_IP(1));
    pr_shutdown(&r, client);
    pr_run(&r, 20 * PR_MS);
    assert_true(broker->fin);
    hr_proxy_drain(r.proxy, r.now_us + 60 * PR_S);
    pr_run(&r, PR_S);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* Nor is the answer lost that is still owed when it closes behind a request that the drain holds back. */
static void test_drain_owes_answer(void **state)
{
    open_session(9203, PR_BROKER_IP(1));
    send_request(1);
    pr_run(&r, 20 * PR_MS);
    hr_proxy_drain(r.proxy, r.now_us + 60 * PR_S);
    send_request(2);
    pr_shutdown(&r, client);
    pr_run(&r, PR_S);
    send_response(1, 0);
    pr_run(&r, PR_S);
    assert_true(client->got.len > 0 && client->fin && !client->failed);
    assert_int_equal(PR_DROPS(&r, kafka_partial_frame), 0);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    finish();
}

/* While a drain holds back the next request, its time does not run. */
static void test_drain_is_no_stall(void **state)
{
    timeouts(0, 1000);
    open_session(9203, PR_BROKER_IP(1));
    send_request(1);
    pr_run(&r, 20 * PR_MS);
    struct hr_policy *p = pr_next_policy(&r);
    p->listeners[0].draining = 1;
    pr_adopt(&r);
    send_request(2);
    pr_run(&r, 3 * PR_S);
    assert_int_equal(PR_DROPS(&r, kafka_request_stall), 0);
    send_response(1, 0);
    pr_run(&r, PR_S);
    assert_true(client->got.len > 0 && client->fin && !client->failed);
    finish();
}

/* Every session is looked at in good time, whatever the size of the table; a call's work is bounded. */
static void test_sweep_is_bounded(void **state)
{
    struct hr_proxy_config cfg = r.proxy->cfg;
    struct hr_proxy *big;
    cfg.max_sessions = 50000;
    assert_int_equal(hr_proxy_create(&cfg, r.now_us, &big), 0);
    big->n_open = 1;
    uint64_t now_us = r.now_us, round = 0, step = 0;
    do {
        uint32_t before = big->sweep_index;
        uint64_t next_us = hr_proxy_advance(big, now_us);
        uint32_t looked_at = (big->sweep_index + cfg.max_sessions - before) % cfg.max_sessions;
        assert_in_range(looked_at, 1, HR_SWEEP_TURN_PLACES);
        round += looked_at;
        step += looked_at;
        assert_in_range(step, 1, HR_SWEEP_MAX);
        if (next_us > now_us)
            step = 0;
        now_us = next_us;
    } while (round < cfg.max_sessions);
    assert_in_range(now_us - r.now_us, HR_SWEEP_US / 2, 2 * HR_SWEEP_US);
    big->n_open = 0;
    hr_proxy_destroy(big);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_idle),
        T(test_idle_in_response),
        T(test_idle_opaque),
        T(test_request_stall),
        T(test_stream_of_requests),
        T(test_drain),
        T(test_drain_to_slow_client),
        T(test_drain_deadline),
        T(test_drain_half_closed),
        T(test_drain_owes_answer),
        T(test_drain_is_no_stall),
        T(test_sweep_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
