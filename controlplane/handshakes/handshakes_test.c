/* Clients' connections until they are sessions: TLS, names, what is handed to the worker, and ends of all kinds. */
#include "controlplane/handshakes/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void a_client_becomes_a_session(void **state)
{
    SSL *peer = rig_peer(false, NULL);
    uint32_t sent;

    (void)state;
    rig_accept(rig_conn(5), 9207); /* node 7's port */
    sent = rig_talk(rig_conn(5), peer);
    assert_int_equal(SSL_is_init_finished(peer), 1);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &rig.heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->id, rig_conn(5));
    assert_int_equal(start->u.start.node_id, 7);
    assert_int_equal(start->u.start.broker, 0);
    assert_int_equal(start->u.start.client_skip, sent);
    assert_int_equal(rig.heard.start.client_tls, 1);
    assert_int_equal(rig.heard.start.broker_tls, 0);
    assert_int_equal(hr_tls_secrets_check(&rig.heard.start.client), 0);
    assert_int_equal(rig.heard.start.client.role, HR_TLS_SERVER);
    assert_int_equal(rig.heard.start.client.write.seq, 2);
    /* More of the client's is the worker's. */
    assert_int_equal(SSL_write(peer, "x", 1), 1);
    rig_talk(rig_conn(5), peer);
    rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
    assert_int_equal(rig.heard.n[HR_CMD_CONN_ABORT], 0);
    assert_int_equal(hr_tls_store_counters(rig.store, HR_TLS_CLIENTS)->done, 1);
    SSL_free(peer);
}

static void the_name_says_which_node(void **state)
{
    static const struct {
        const char *name;
        int node;
    } cases[] = {{"k.test", -1}, {"b0.k.test", 0}, {"b9.k.test", 9}};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        SSL *peer = rig_peer(false, cases[i].name);

        rig_accept(rig_conn(i), 9093);
        rig_talk(rig_conn(i), peer);
        assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], i + 1);
        assert_int_equal(rig.heard.last[HR_CMD_SESSION_START].u.start.node_id, cases[i].node);
        rig_event(HR_EV_SESSION_STARTED, rig_conn(i));
        SSL_free(peer);
    }
    SSL *peer = rig_peer(false, "b10.k.test");
    rig_accept(rig_conn(9), 9093);
    rig_talk(rig_conn(9), peer);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 3);
    assert_int_equal(hr_tls_store_counters(rig.store, HR_TLS_CLIENTS)->failed[HR_TLS_REASON_unrecognized_name], 1);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 1); /* behind the alert */
    rig_event(HR_EV_CONN_CLOSED, rig_conn(9));
    SSL_free(peer);
}

static void ends_of_all_kinds(void **state)
{
    const struct hr_tls_counters *c = hr_tls_store_counters(rig.store, HR_TLS_CLIENTS);
    SSL *peer;

    (void)state;
    rig_accept(rig_conn(1), 9092); /* silence */
    rig.now_us += 10 * HR_US_PER_S;
    rig_runs();
    assert_int_equal(c->failed[HR_TLS_REASON_timeout], 1);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    rig.now_us += 2 * HR_US_PER_S; /* and it does not close either */
    rig_runs();
    assert_int_equal(rig.heard.n[HR_CMD_CONN_ABORT], 1);

    rig_accept(rig_conn(1), 9092);
    rig_event(HR_EV_CONN_EOF, rig_conn(1));
    rig_event(HR_EV_CONN_CLOSED, rig_conn(1));
    assert_int_equal(c->failed[HR_TLS_REASON_closed], 1);

    rig_accept(rig_conn(1), 9092);
    rig_event(HR_EV_CONN_FAILED, rig_conn(1)); /* reset */
    assert_int_equal(c->failed[HR_TLS_REASON_closed], 2);

    rig_accept(rig_conn(1), 9092);
    mock_event(&rig.mock, RIG_WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = rig_conn(1)}, "\0\0\0\x20kafka", 9);
    rig_control_plane_runs();
    assert_int_equal(c->failed[HR_TLS_REASON_not_tls], 1);
    rig_event(HR_EV_CONN_CLOSED, rig_conn(1));

    rig_accept(rig_conn(1), 4711); /* no listener of ours */
    rig_worker_runs(0, NULL);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_ABORT], 2);

    peer = rig_peer(false, NULL); /* the worker cannot make a session of it */
    rig_accept(rig_conn(1), 9092);
    rig_talk(rig_conn(1), peer);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    rig_event(HR_EV_CONN_FAILED, rig_conn(1));
    SSL_free(peer);

    rig_accept(rig_conn(1), 9092); /* the dataplane goes away */
    hr_conns_detached(rig.conns);
}

static void a_flood_of_half_handshakes(void **state)
{
    struct hr_handshakes_info info;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++)
        rig_accept(rig_conn(i), 9092);
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.under_way, 1000);
    /* One that means it gets through among them. */
    SSL *peer = rig_peer(false, NULL);
    rig_accept(rig_conn(1001), 9092);
    rig_talk(rig_conn(1001), peer);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    rig_event(HR_EV_SESSION_STARTED, rig_conn(1001));
    SSL_free(peer);
    hr_conns_detached(rig.conns);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_client_becomes_a_session),
        T(the_name_says_which_node),
        T(ends_of_all_kinds),
        T(a_flood_of_half_handshakes),
    };

    return cmocka_run_group_tests(tests, rig_set_up_all, rig_tear_down_all);
}
