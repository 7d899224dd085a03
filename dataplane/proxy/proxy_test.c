/* Who may open a session, which broker it gets, and what a reload, a kill or an adoption does to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/proxy/impl.h"
#include "tests/support/proxy_rig.h"

static struct pr r;

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

static uint64_t first_id(void)
{
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
    return info.id;
}

/* ---- connecting -------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    pr_host(&r, PR_TARGET_IP)->refuse = true;
    struct pr_peer *client = pr_connect(&r, 5201);
    pr_run(&r, PR_S);
    assert_true(client->failed);
    assert_int_equal(client->failure, HR_TCP_FAIL_RESET);
    assert_int_equal(PR_DROPS(&r, broker_refused), 1);
    assert_int_equal(r.n_logs[HR_LOGEV_SESSION_OPEN_FAILED], 1);
    finish();
}

static void test_unanswered(void **state)
{
    pr_host(&r, PR_TARGET_IP)->silent = true;
    struct pr_peer *client = pr_connect(&r, 5201);
    pr_run(&r, 2900 * PR_MS);
    assert_false(client->failed);
    pr_run(&r, 200 * PR_MS);
    assert_true(client->failed);
    assert_int_equal(PR_DROPS(&r, broker_timeout), 1);
    finish();
}

static void test_bootstrap_prefers_zone(void **state)
{
    for (int i = 0; i < 4; i++) {
        struct pr_peer *client = pr_connect(&r, 9092);
        pr_run(&r, 20 * PR_MS);
        assert_true(client->connected);
    }
    assert_non_null(pr_accepted_at(&r, PR_BROKER_IP(0)));
    assert_null(pr_accepted_at(&r, PR_BROKER_IP(1)));
    assert_null(pr_accepted_at(&r, PR_BROKER_IP(2)));
    finish();
}

static void test_bootstrap_tries_another(void **state)
{
    pr_host(&r, PR_BROKER_IP(0))->refuse = true;
    struct pr_peer *client = pr_connect(&r, 9092);
    pr_run(&r, 100 * PR_MS);
    assert_true(client->connected && !client->failed);
    assert_int_equal(pr_n_accepted(&r), 1);
    assert_true(pr_accepted_at(&r, PR_BROKER_IP(1)) || pr_accepted_at(&r, PR_BROKER_IP(2)));
    assert_int_equal(r.hint_node, 1);
    /* The next one does not even try it. */
    uint64_t tries = PR_COUNT(&r, tcp_connect);
    pr_connect(&r, 9092);
    pr_run(&r, 100 * PR_MS);
    assert_int_equal(PR_COUNT(&r, tcp_connect), tries + 1);
    finish();
}

/* One that does not answer must leave time for another. */
static void test_bootstrap_silent_broker(void **state)
{
    pr_host(&r, PR_BROKER_IP(0))->silent = true;
    struct pr_peer *client = pr_connect(&r, 9092);
    pr_run(&r, 2900 * PR_MS);
    assert_true(client->connected && !client->failed);
    assert_int_equal(pr_n_accepted(&r), 1);
    finish();
}

static void test_bootstrap_gives_up(void **state)
{
    for (unsigned i = 0; i < 3; i++)
        pr_host(&r, PR_BROKER_IP(i))->refuse = true;
    struct pr_peer *client = pr_connect(&r, 9092);
    pr_run(&r, 500 * PR_MS);
    assert_true(client->failed);
    assert_int_equal(PR_DROPS(&r, broker_refused), 1);
    assert_int_equal(PR_COUNT(&r, tcp_connect), 3);
    finish();
}

static void test_client_leaves_while_connecting(void **state)
{
    pr_host(&r, PR_BROKER_IP(1))->silent = true;
    struct pr_peer *a = pr_connect(&r, 9203), *b = pr_connect(&r, 9203);
    pr_run(&r, 100 * PR_MS);
    pr_shutdown(&r, a);
    pr_reset(&r, b);
    pr_run(&r, 100 * PR_MS);
    assert_true(a->closed);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_int_equal(PR_DROPS(&r, client_reset), 1);
    finish();
}

static void few_conns(struct hr_tcp_config *cfg)
{
    cfg->max_conns = 3;
}

/* The connection table is full: that is not a lack of source ports. */
static void test_table_full(void **state)
{
    pr_close(&r);
    pr_open(&r, few_conns);
    struct pr_peer *a = pr_connect(&r, 5201);
    pr_run(&r, 100 * PR_MS);
    struct pr_peer *b = pr_connect(&r, 5201);
    pr_run(&r, 100 * PR_MS);
    assert_false(a->failed);
    assert_true(b->failed);
    assert_int_equal(PR_DROPS(&r, tcp_conn_limit), 1);
    assert_int_equal(PR_DROPS(&r, no_source_port), 0);
    finish();
}

/* ---- accepting --------------------------------------------------------------------------------------- */

static void test_refused_by_policy(void **state)
{
    struct pr_peer *unknown_port = pr_connect(&r, 1234), *unknown_node = pr_connect(&r, 9202);
    pr_run(&r, 100 * PR_MS);
    assert_true(unknown_port->failed && unknown_node->failed);
    assert_int_equal(PR_DROPS(&r, tcp_no_listener), 1);
    assert_int_equal(PR_DROPS(&r, unknown_node), 1);
    assert_int_equal(r.n_hints, 1);
    assert_int_equal(r.hint_node, 2);

    struct hr_policy *p = pr_next_policy(&r);
    p->brokers[1].flags |= HR_BROKER_DRAINING;
    p->listeners[1].target_valid = 0;
    pr_adopt(&r);
    struct pr_peer *drained = pr_connect(&r, 9203), *unresolved = pr_connect(&r, 5201);
    pr_run(&r, 100 * PR_MS);
    assert_true(drained->failed && unresolved->failed);
    assert_int_equal(PR_DROPS(&r, draining), 1);
    assert_int_equal(PR_DROPS(&r, no_broker), 1);
    finish();
}

static void limits(uint32_t sessions, uint32_t of_listener)
{
    struct hr_policy *p = pr_next_policy(&r);
    p->max_sessions = sessions;
    p->listeners[1].max_connections = of_listener;
    pr_adopt(&r);
}

static void test_listener_limit(void **state)
{
    limits(1000, 2);
    struct pr_peer *a = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    struct pr_peer *c = pr_connect(&r, 5201), *other = pr_connect(&r, 9201);
    pr_run(&r, 20 * PR_MS);
    assert_true(c->failed && !other->failed);
    assert_int_equal(PR_DROPS(&r, listener_limit), 1);
    pr_reset(&r, a);
    pr_run(&r, 20 * PR_MS);
    struct pr_peer *d = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    assert_false(d->failed);
    finish();
}

/* All SYNs are answered before the first handshake is done. */
static void test_limits_hold_in_a_burst(void **state)
{
    limits(1000, 2);
    for (int i = 0; i < 5; i++)
        pr_connect(&r, 5201);
    pr_run(&r, 100 * PR_MS);
    assert_int_equal(hr_proxy_sessions(r.proxy), 2);
    assert_int_equal(PR_DROPS(&r, listener_limit), 3);

    limits(4, 1000);
    for (int i = 0; i < 5; i++)
        pr_connect(&r, 5201);
    pr_run(&r, 100 * PR_MS);
    assert_int_equal(hr_proxy_sessions(r.proxy), 4);
    assert_int_equal(PR_DROPS(&r, session_limit), 3);
    finish();
}

/* Limits are those of the instance: what other workers have open counts. */
static void test_limits_over_workers(void **state)
{
    limits(10, 5);
    atomic_store(&r.counts[0].of_listener[1], 2);
    atomic_store(&r.counts[3].of_listener[1], 2);
    pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    assert_int_equal(atomic_load(&r.counts[2].sessions), 1);
    assert_int_equal(atomic_load(&r.counts[2].of_listener[1]), 1);
    struct pr_peer *one_more = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    assert_true(one_more->failed);
    assert_int_equal(PR_DROPS(&r, listener_limit), 1);
    atomic_store(&r.counts[0].sessions, 9);
    struct pr_peer *other = pr_connect(&r, 9201);
    pr_run(&r, 20 * PR_MS);
    assert_true(other->failed);
    assert_int_equal(PR_DROPS(&r, session_limit), 1);
    finish();
}

static void test_session_table_full(void **state)
{
    struct pr_peer *last = NULL;
    for (int i = 0; i < PR_SESSIONS + 1; i++) {
        last = pr_connect(&r, 5201);
        pr_run(&r, 20 * PR_MS);
    }
    assert_true(last->failed);
    assert_int_equal(hr_proxy_sessions(r.proxy), PR_SESSIONS);
    assert_int_equal(PR_DROPS(&r, session_limit), 1);
    finish();
}

/* ---- reload ------------------------------------------------------------------------------------------ */

static void swap_listeners(struct hr_policy *p)
{
    struct hr_policy_listener l = p->listeners[0];
    p->listeners[0] = p->listeners[1];
    p->listeners[1] = l;
}

static void test_reload_moves_listener(void **state)
{
    struct pr_peer *client = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    swap_listeners(pr_next_policy(&r));
    pr_adopt(&r);
    pr_send(&r, client, "hello", 5);
    pr_run(&r, 500 * PR_MS);
    assert_int_equal(pr_accepted_at(&r, PR_TARGET_IP)->got.len, 5);
    struct hr_session_info info;
    uint32_t next;
    assert_int_equal(hr_proxy_list(r.proxy, 0, &info, 1, &next), 1);
    assert_int_equal(info.listener, 0);
    struct hr_policy *p = pr_next_policy(&r);
    p->listeners[0].max_connections = 1;
    pr_adopt(&r);
    struct pr_peer *second = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    assert_true(second->failed); /* it is counted where it is now */
    finish();
}

static void test_reload_removes_listener(void **state)
{
    struct pr_peer *client = pr_connect(&r, 9203);
    struct rf_bytes b = {0};
    pr_run(&r, 20 * PR_MS);
    struct pr_peer *broker = pr_accepted_at(&r, PR_BROKER_IP(1)), *kept = pr_connect(&r, 5201);
    struct pr_peer *idle = pr_connect(&r, 9201);
    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, client, b.p, b.len);
    pr_run(&r, 20 * PR_MS);
    b.len = 0;
    rf_response(&b, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    pr_send(&r, broker, b.p, b.len - 2);
    pr_run(&r, 20 * PR_MS);
    rf_free(&b);

    struct hr_policy *p = pr_next_policy(&r);
    p->listeners[0] = p->listeners[1];
    p->n_listeners = 1;
    pr_adopt(&r);
    pr_run(&r, 500 * PR_MS);
    assert_true(client->failed);            /* inside a frame */
    assert_true(idle->fin && !idle->failed); /* between two */
    assert_false(kept->fin || kept->failed);
    assert_int_equal(PR_DROPS(&r, listener_removed), 2);
    assert_int_equal(hr_proxy_sessions(r.proxy), 1);
    finish();
}

/* Its sessions would be read as something else. */
static void test_reload_changes_mode(void **state)
{
    struct pr_peer *client = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    struct hr_policy *p = pr_next_policy(&r);
    struct hr_policy_listener l = p->listeners[0];
    p->listeners[0] = p->listeners[1];
    p->listeners[1] = l;
    memcpy(p->listeners[0].name, "kafka", 6);
    memcpy(p->listeners[1].name, "tcp", 4);
    pr_adopt(&r);
    pr_run(&r, 500 * PR_MS);
    assert_true(client->fin || client->failed);
    assert_int_equal(PR_DROPS(&r, listener_removed), 1);
    finish();
}

/* ---- from above -------------------------------------------------------------------------------------- */

static void test_kill(void **state)
{
    struct pr_peer *client = pr_connect(&r, 5201);
    pr_run(&r, 20 * PR_MS);
    uint64_t id = first_id();
    assert_int_equal(hr_proxy_kill(r.proxy, id), 0);
    assert_int_equal(hr_proxy_kill(r.proxy, id), HR_E_NOT_FOUND);
    pr_run(&r, 20 * PR_MS);
    assert_true(client->failed && pr_accepted_at(&r, PR_TARGET_IP)->failed);
    assert_int_equal(PR_DROPS(&r, killed), 1);
    pr_connect(&r, 5201); /* takes the same place */
    pr_run(&r, 20 * PR_MS);
    assert_int_equal(hr_proxy_kill(r.proxy, id), HR_E_NOT_FOUND);
    assert_int_not_equal(first_id(), id);
    finish();
}

static void test_detach(void **state)
{
    struct pr_peer *client = pr_connect(&r, 9203);
    struct hr_tcp_conn *conn;
    struct rf_bytes b = {0};
    pr_run(&r, 20 * PR_MS);
    struct pr_peer *broker = pr_accepted_at(&r, PR_BROKER_IP(1));
    uint64_t id = first_id();
    rf_request(&b, 12, 3, 1, "{'GroupId':'g','GenerationId':1,'MemberId':'m','GroupInstanceId':null}");
    pr_send(&r, client, b.p, b.len);
    pr_run(&r, 20 * PR_MS);
    rf_free(&b);
    assert_int_equal(hr_proxy_detach_client(r.proxy, id, &conn), HR_E_BUSY); /* its answer is owed */
    rf_response(&b, 12, 3, 1, "{'ThrottleTimeMs':0,'ErrorCode':0}");
    pr_send(&r, broker, b.p, b.len);
    rf_free(&b);
    pr_run(&r, 20 * PR_MS);
    assert_int_equal(hr_proxy_detach_client(r.proxy, id, &conn), 0);
    assert_null(hr_tcp_user(conn));
    pr_run(&r, 20 * PR_MS);
    assert_true(broker->fin && !client->fin && !client->failed);
    assert_int_equal(hr_proxy_sessions(r.proxy), 0);
    assert_int_equal(hr_proxy_detach_client(r.proxy, id, &conn), HR_E_NOT_FOUND);
    pr_send(&r, client, "x", 1);
    pr_run(&r, 20 * PR_MS);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 1);
    hr_tcp_abort(r.in.tcp, conn);
    finish();
}

static void test_list(void **state)
{
    for (int i = 0; i < 5; i++) {
        pr_connect(&r, i % 2 ? 5201 : 9203);
        pr_run(&r, 20 * PR_MS);
    }
    uint32_t from = 0, seen = 0;
    do {
        struct hr_session_info info[2];
        uint32_t n = hr_proxy_list(r.proxy, from, info, 2, &from);
        for (uint32_t i = 0; i < n; i++, seen++) {
            assert_int_equal(info[i].state, HR_SESSION_RELAYING);
            assert_int_equal(info[i].id >> 56, 2);
            assert_int_equal(info[i].node_id, info[i].mode == HR_LISTENER_KAFKA ? 3 : -1);
            assert_int_equal(hr_addr_v4_be(&info[i].client), htonl(PR_CLIENT_IP));
        }
    } while (from);
    assert_int_equal(seen, 5);
    finish();
}

/* A large table is walked in steps. */
static void test_list_is_bounded(void **state)
{
    struct hr_proxy_config cfg = r.proxy->cfg;
    struct hr_proxy *big;
    struct hr_session_info info;
    uint32_t from = 0, calls = 0;
    cfg.max_sessions = 50000;
    assert_int_equal(hr_proxy_create(&cfg, r.now_us, &big), 0);
    do {
        uint32_t before = from;
        assert_int_equal(hr_proxy_list(big, from, &info, 1, &from), 0);
        assert_true(from == 0 || from - before <= 4096);
        calls++;
    } while (from);
    assert_true(calls > 1);
    hr_proxy_destroy(big);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_refused),
        T(test_unanswered),
        T(test_bootstrap_prefers_zone),
        T(test_bootstrap_tries_another),
        T(test_bootstrap_silent_broker),
        T(test_bootstrap_gives_up),
        T(test_client_leaves_while_connecting),
        T(test_table_full),
        T(test_refused_by_policy),
        T(test_listener_limit),
        T(test_limits_hold_in_a_burst),
        T(test_limits_over_workers),
        T(test_session_table_full),
        T(test_reload_moves_listener),
        T(test_reload_removes_listener),
        T(test_reload_changes_mode),
        T(test_kill),
        T(test_detach),
        T(test_list),
        T(test_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
