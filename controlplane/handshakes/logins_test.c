/* Clients that log in to Headrace. */
#include "controlplane/handshakes/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void a_login_on_plain_text(void **state)
{
    struct hr_handshakes_info info;
    struct hr_login *login;
    uint32_t n;

    (void)state;
    rig_let_log_in(SCRAM512 | PLAIN, false);
    for (enum hr_mechanism m = HR_MECH_PLAIN; m <= HR_MECH_SCRAM_SHA_512; m += 2) {
        uint32_t starts = rig.heard.n[HR_CMD_SESSION_START];

        rig_accept(rig_conn(m), 9204);
        login = rig_login(m, "alice", "pencil");
        n = rig_log_in(rig_conn(m), login, HR_LOGIN_DONE);
        assert_int_equal(hr_login_lifetime_ms(login), 60000);
        hr_login_destroy(login);
        assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], starts + 1);
        const struct hr_msg *start = &rig.heard.last[HR_CMD_SESSION_START];
        assert_int_equal(start->u.start.client_skip, n);
        assert_int_equal(start->u.start.unread_len, 0);
        assert_int_equal(start->u.start.node_id, 4);
        assert_int_equal(rig.heard.start.login.mechanism, m);
        assert_int_equal(rig.heard.start.login.terminates, 1);
        assert_string_equal(rig.heard.start.login.principal, "alice");
        assert_int_equal(rig.heard.start.login.expires_us, rig.now_us + 60 * HR_US_PER_S);
        rig_input(rig_conn(m), "request", 7); /* the worker has it */
        rig_event(HR_EV_SESSION_STARTED, rig_conn(m));
    }
    assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 0);
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.logins[HR_MECH_PLAIN], 1);
    assert_int_equal(info.logins[HR_MECH_SCRAM_SHA_512], 1);
}

static void logins_that_fail(void **state)
{
    static const struct {
        enum hr_mechanism mechanism;
        const char *user, *password;
        enum hr_sasl_reason reason;
    } cases[] = {
        {HR_MECH_PLAIN, "alice", "wrong", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_512, "alice", "wrong", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_512, "nobody", "pencil", HR_SASL_REASON_bad_credentials},
        {HR_MECH_SCRAM_SHA_256, "alice", "pencil", HR_SASL_REASON_bad_mechanism},
        {HR_MECH_PLAIN, "bob", "rubber", HR_SASL_REASON_not_allowed},
        {HR_MECH_SCRAM_SHA_512, "bob", "rubber", HR_SASL_REASON_not_allowed},
    };
    struct hr_handshakes_info info;

    (void)state;
    rig.config->listeners[0].auth.n_allow = 1;
    snprintf(rig.config->listeners[0].auth.allow[0], HR_CONFIG_ALLOW_TEXT, "al*");
    rig_let_log_in(SCRAM512 | PLAIN, false);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hr_login *login = rig_login(cases[i].mechanism, cases[i].user, cases[i].password);
        uint64_t before;

        hr_handshakes_get_info(rig.handshakes, &info);
        before = info.login_failed[cases[i].reason];
        rig_accept(rig_conn(i), 9092);
        rig_log_in(rig_conn(i), login, HR_LOGIN_REFUSED);
        hr_login_destroy(login);
        hr_handshakes_get_info(rig.handshakes, &info);
        assert_int_equal(info.login_failed[cases[i].reason], before + 1);
        assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], i + 1);
        rig_event(HR_EV_CONN_CLOSED, rig_conn(i));
    }
    /* No login at all, none in time, and none to the end. */
    rig_accept(rig_conn(20), 9092);
    rig_input(rig_conn(20), "\0\0\0\x0a\0\3\0\0\0\0\0\0\0\0", 14);
    rig_event(HR_EV_CONN_CLOSED, rig_conn(20));
    rig_accept(rig_conn(21), 9092);
    rig.now_us += 10 * HR_US_PER_S;
    rig_control_plane_runs();
    rig_event(HR_EV_CONN_CLOSED, rig_conn(21));
    rig_accept(rig_conn(22), 9092);
    rig_event(HR_EV_CONN_EOF, rig_conn(22));
    rig_event(HR_EV_CONN_CLOSED, rig_conn(22));
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.login_failed[HR_SASL_REASON_bad_frame], 1);
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_timeout], 1);
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_closed], 1);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 0);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 0);
}

/* In its TLS session, and what stands behind the login in the same record comes along. */
static void a_login_inside_tls(void **state)
{
    SSL *peer = rig_peer(false, NULL);
    struct hr_login *login = rig_login(HR_MECH_PLAIN, "alice", "pencil");
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    static uint8_t bytes[16384];
    uint32_t sent, early = 0;

    (void)state;
    rig_let_log_in(PLAIN, true);
    rig_accept(rig_conn(5), 9207);
    sent = rig_talk(rig_conn(5), peer);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 0);
    while (verdict == HR_LOGIN_MORE) {
        size_t n, used;
        const uint8_t *out = hr_login_output(login, &n);
        bool last = rig.heard.n[HR_CMD_CONN_DATA] > 2;
        int got;

        memset(bytes, 'e', sizeof(bytes));
        memcpy(bytes, out, n);
        early = last ? 10000 : 0;
        hr_login_sent(login);
        assert_int_equal(SSL_write(peer, bytes, (int)(n + early)), n + early);
        if (last)
            assert_int_equal(SSL_write(peer, "in a record of its own", 22), 22);
        sent += rig_talk(rig_conn(5), peer);
        got = SSL_read(peer, bytes, sizeof(bytes));
        assert_true(got > 0);
        verdict = hr_login_feed(login, bytes, (size_t)got, &used);
    }
    assert_int_equal(verdict, HR_LOGIN_DONE);
    hr_login_destroy(login);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    const struct hr_msg *start = &rig.heard.last[HR_CMD_SESSION_START];
    assert_int_equal(start->u.start.unread_len, early);
    for (uint32_t i = 0; i < early; i++)
        assert_int_equal(rig.heard.unread[i], 'e');
    /* The other record is the worker's: header, type and tag of TLS 1.3 around its bytes. */
    assert_int_equal(start->u.start.client_skip, sent - (5 + 22 + 1 + 16));
    assert_int_equal(rig.heard.start.client_tls, 1);
    assert_int_equal(hr_tls_secrets_check(&rig.heard.start.client), 0);
    assert_string_equal(rig.heard.start.login.principal, "alice");
    rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
    SSL_free(peer);
}

static void a_removed_user_under_way(void **state)
{
    struct hr_login *login = rig_login(HR_MECH_PLAIN, "alice", "pencil");

    (void)state;
    rig_let_log_in(PLAIN, false);
    rig.config->listeners[0].policy.broker_login = 1;
    hr_handshakes_configure(rig.handshakes, rig.config);
    rig_accept(rig_conn(5), 9092);
    rig_log_in(rig_conn(5), login, HR_LOGIN_DONE);
    hr_login_destroy(login);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], 1);
    assert_int_equal(hr_handshakes_end_principal(rig.handshakes, "alic"), 0);
    assert_int_equal(hr_handshakes_end_principal(rig.handshakes, "alice"), 1);
    rig_worker_runs(0, NULL);
    assert_int_equal(rig.heard.n[HR_CMD_CONN_SHUTDOWN], 1);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 0);
    rig_event(HR_EV_CONN_CLOSED, rig_conn(5));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_login_on_plain_text),
        T(logins_that_fail),
        T(a_login_inside_tls),
        T(a_removed_user_under_way),
    };

    return cmocka_run_group_tests(tests, rig_set_up_all, rig_tear_down_all);
}
