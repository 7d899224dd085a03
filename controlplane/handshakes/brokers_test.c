/* The broker's side of a handshake: which broker, TLS with it, and what becomes of clients when there is none. */
#include "controlplane/handshakes/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void brokers_speak_tls(void **state)
{
    SSL *peer = rig_peer(false, NULL), *broker = rig_peer(true, NULL);
    uint32_t sent;

    (void)state;
    rig.config->cluster.tls.on = true;
    rig_configure();
    rig_accept(rig_conn(5), 9092);
    rig_talk(rig_conn(5), peer);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 0);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 1);
    assert_int_equal(rig.heard.last[HR_CMD_CONN_OPEN].u.open.port, 9094);
    assert_int_equal(rig.heard.last[HR_CMD_CONN_OPEN].u.open.hold, 1);
    rig_opened(rig_conn(6));
    rig_control_plane_runs();
    rig_worker_runs(rig_conn(6), broker);
    sent = rig_talk(rig_conn(6), broker);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &rig.heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->id, rig_conn(5));
    assert_int_equal(start->u.start.broker, rig_conn(6));
    assert_int_equal(start->u.start.node_id, 3);
    assert_true(start->u.start.broker_skip < sent); /* its tickets are left for the worker */
    assert_int_equal(rig.heard.start.broker_tls, 1);
    assert_int_equal(rig.heard.start.broker.role, HR_TLS_CLIENT);
    assert_int_equal(hr_tls_secrets_check(&rig.heard.start.broker), 0);
    assert_string_equal(SSL_get_servername(broker, TLSEXT_NAMETYPE_host_name), "b3.k.test");
    rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
    assert_int_equal(rig.heard.n[HR_CMD_CONN_ABORT], 0);
    SSL_free(peer);
    SSL_free(broker);
}

static void plaintext_clients_of_tls_brokers(void **state)
{
    SSL *broker = rig_peer(true, NULL);

    (void)state;
    rig.config->cluster.tls.on = true;
    rig.config->listeners[0].policy.tls = 0;
    rig_configure();
    rig_accept(rig_conn(5), 9203);
    rig_worker_runs(0, NULL);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 1);
    rig_opened(rig_conn(6));
    mock_event(&rig.mock, RIG_WORKER, (struct hr_msg){.type = HR_EV_CONN_DATA, .id = rig_conn(5)}, "request", 7);
    rig_control_plane_runs();
    rig_worker_runs(rig_conn(6), broker);
    rig_talk(rig_conn(6), broker);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    assert_int_equal(rig.heard.start.client_tls, 0);
    assert_int_equal(rig.heard.last[HR_CMD_SESSION_START].u.start.client_skip, 0);
    rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
    SSL_free(broker);
}

static void no_broker_serves(void **state)
{
    SSL *peer = rig_peer(false, NULL);

    (void)state;
    rig.no_broker = HR_E_NOT_FOUND;
    rig.config->cluster.tls.on = true;
    rig_configure();
    rig_accept(rig_conn(5), 9092);
    rig_talk(rig_conn(5), peer);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    rig_event(HR_EV_CONN_CLOSED, rig_conn(5));
    SSL_free(peer);
}

/* A control plane that has just begun does not know the brokers at once. */
static void brokers_become_known(void **state)
{
    SSL *peer = rig_peer(false, NULL);

    (void)state;
    rig.config->cluster.tls.on = true;
    rig_configure();
    for (uint64_t id = 5; id < 7; id++) {
        rig.no_broker = HR_E_AGAIN;
        rig_accept(rig_conn(id), 9092);
        rig_talk(rig_conn(id), peer);
        rig.now_us += HR_US_PER_S;
        rig_runs();
        assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 0);
        if (id == 5) { /* in time */
            rig.no_broker = 0;
            rig.now_us += HR_US_PER_S;
            rig_runs();
            assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 1);
        } else { /* or not */
            rig.now_us += 10 * HR_US_PER_S;
            rig_runs();
            assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 1);
            assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 1);
        }
        rig_event(HR_EV_CONN_CLOSED, rig_conn(id));
        SSL_free(peer);
        peer = rig_peer(false, NULL);
    }
    SSL_free(peer);
}

/* Who asked for no node in particular is tried elsewhere. */
static void a_broker_that_does_not_accept(void **state)
{
    struct hr_msg failed = {.type = HR_EV_CONN_FAILED};

    (void)state;
    rig.config->cluster.tls.on = true;
    rig.config->listeners[0].policy.tls = 0;
    rig_configure();
    for (int asks = 0; asks < 2; asks++) {
        uint32_t opened = rig.heard.n[HR_CMD_CONN_OPEN], ends = rig.heard.n[HR_CMD_CONN_SHUTDOWN];
        uint32_t tries = asks ? 1 : 3;

        rig_accept(rig_conn(5), asks ? 9203 : 9092);
        rig_worker_runs(0, NULL);
        for (uint32_t i = 0; i < tries; i++) {
            assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], opened + i + 1);
            assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], ends);
            failed.id = rig.heard.last[HR_CMD_CONN_OPEN].id;
            mock_event(&rig.mock, RIG_WORKER, failed, NULL, 0);
            rig_runs();
        }
        assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], opened + tries);
        assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], ends + 1);
        rig_event(HR_EV_CONN_CLOSED, rig_conn(5));
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(brokers_speak_tls),
        T(plaintext_clients_of_tls_brokers),
        T(no_broker_serves),
        T(brokers_become_known),
        T(a_broker_that_does_not_accept),
    };

    return cmocka_run_group_tests(tests, rig_set_up_all, rig_tear_down_all);
}
