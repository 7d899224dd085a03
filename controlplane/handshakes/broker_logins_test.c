/* Headrace logs in at brokers: for a session, at a pace, and again where a broker has too many. */
#include "controlplane/handshakes/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void not_resumed(void *owner)
{
    (void)owner;
    fail_msg("a login by password waits for nobody");
}

/* Nobody asks who the client is; the broker asks who we are. */
static void a_login_at_the_broker(void **state)
{
    struct hr_addr source = hr_addr_from_v4(htonl(0x0a000005));
    struct hr_sasl_server *broker;
    struct hr_handshakes_info info;

    (void)state;
    for (int round = 0; round < 2; round++) {
        uint32_t answered = 0, starts = rig.heard.n[HR_CMD_SESSION_START];
        enum hr_sasl_verdict verdict = HR_SASL_MORE;

        if (round == 1)
            rig_write_file(rig.secret_file, "another\n");
        rig_let_log_in(SCRAM512, false); /* the broker uses it as well, by its realm */
        const struct hr_sasl_realm *realm = hr_realm_sasl(hr_realms_find(rig.realms, "ports"));
        assert_int_equal(hr_sasl_server_create(realm, &source, not_resumed, NULL, &broker), 0);
        rig_log_in_at_brokers(HR_CONFIG_MECH_SCRAM_SHA_512);
        rig_accept(rig_conn(5), 9093);
        rig_worker_runs(0, NULL);
        rig.sent_id = rig_conn(6);
        rig.heard.n_sent = 0;
        rig_opened(rig_conn(6));
        rig_runs();
        while (verdict == HR_SASL_MORE && rig.heard.n_sent > 0) {
            size_t used, n;

            verdict = hr_sasl_server_feed(broker, rig.now_us, 0, rig.heard.sent, rig.heard.n_sent, &used);
            const uint8_t *out = hr_sasl_server_output(broker, &n);
            rig.heard.n_sent = 0;
            answered += (uint32_t)n;
            rig_input(rig_conn(6), out, (uint32_t)n);
            hr_sasl_server_sent(broker);
        }
        hr_sasl_server_destroy(broker);
        rig.sent_id = 0;
        hr_handshakes_get_info(rig.handshakes, &info);
        if (round == 1) {
            assert_int_equal(verdict, HR_SASL_FAILED);
            assert_int_equal(info.login_failed[HR_LOGIN_REASON_broker_refused], 1);
            assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], starts);
            rig_event(HR_EV_CONN_CLOSED, rig_conn(5));
            continue;
        }
        assert_int_equal(verdict, HR_SASL_DONE);
        assert_int_equal(info.broker_logins[HR_MECH_SCRAM_SHA_512], 1);
        assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
        const struct hr_msg *start = &rig.heard.last[HR_CMD_SESSION_START];
        assert_int_equal(start->u.start.broker, rig_conn(6));
        assert_int_equal(start->u.start.broker_skip, answered);
        assert_int_equal(start->u.start.client_skip, 0);
        assert_string_equal(rig.heard.start.login.principal, "ANONYMOUS");
        assert_string_equal(rig.heard.start.login.identity_name, "alice");
        assert_int_equal(rig.heard.start.login.terminates, 1); /* no login of a client's goes where we have logged in */
        assert_int_equal(rig.heard.start.login.broker_mechanism, HR_MECH_SCRAM_SHA_512);
        assert_int_equal(rig.heard.start.login.broker_expires_us, rig.now_us + 60 * HR_US_PER_S);
        assert_int_equal(rig.heard.start.login.broker_due_us, rig.now_us + 51 * HR_US_PER_S);
        rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
    }
    rig_write_file(rig.secret_file, "pencil\n");
}

/* Ten clients at once, two connections in a second: each has its moment, and who would be too late is told so. */
static void connections_are_paced(void **state)
{
    struct hr_handshakes_info info;
    uint64_t opened_at[32];
    uint32_t n = 0;

    (void)state;
    rig_let_log_in(SCRAM512, false);
    rig.config->pacing.rate = 4;
    rig.config->pacing.instances = 2;
    rig_log_in_at_brokers(HR_CONFIG_MECH_SCRAM_SHA_512);
    for (uint32_t i = 0; i < 30; i++)
        rig_accept(rig_conn(30 + i), 9093);
    hr_handshakes_get_info(rig.handshakes, &info);
    /* The last that can have its turn within ten seconds; the others hear of it at once. */
    assert_int_equal(info.login_failed[HR_LOGIN_REASON_timeout], 9);
    assert_int_equal(info.paced_now, 20);
    for (uint64_t begun = rig.now_us; rig.now_us < begun + 9950 * HR_US_PER_MS; rig.now_us += 10 * HR_US_PER_MS) {
        uint32_t before = rig.heard.n[HR_CMD_CONN_OPEN];

        rig_runs();
        for (uint32_t k = before; k < rig.heard.n[HR_CMD_CONN_OPEN]; k++)
            opened_at[n++] = rig.now_us;
    }
    assert_int_equal(n, 21);
    for (uint32_t i = 1; i < n; i++) /* and a tenth of a second may come early */
        assert_in_range(opened_at[i] - opened_at[i - 1], (i == 1 ? 390 : 490) * HR_US_PER_MS, 510 * HR_US_PER_MS);
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.paced_now, 0);
    assert_int_equal(info.paced, 20);
    assert_in_range(info.paced_ms, 90000, 110000);
    hr_conns_detached(rig.conns); /* the dataplane goes away with all of them */
    hr_conns_attached(rig.conns, MOCK_WORKERS, mock_link, &rig.mock);
}

/* What a broker of MSK's says above its limits: the client waits, and gets its session. */
static void a_broker_has_too_many(void **state)
{
    static const char no[] = "\0\0\0\x23\0\0\0\2\0\0\x3a\x12Too many connects\1\0\0\0\0\0\0\0\0\0";
    static const char yes[] = "\0\0\0\x11\0\0\0\1\0\0\0\0\0\1\0\5PLAIN";
    static const char welcome[] = "\0\0\0\x12\0\0\0\2\0\0\0\0\1\0\0\0\0\0\0\0\0\0";
    struct hr_handshakes_info info;

    (void)state;
    rig_let_log_in(SCRAM512, false);
    rig_log_in_at_brokers(HR_CONFIG_MECH_PLAIN);
    rig_accept(rig_conn(5), 9093);
    for (uint32_t round = 0; round < 3; round++) {
        for (int i = 0; i < 100 && rig.heard.n[HR_CMD_CONN_OPEN] == round; i++, rig.now_us += 50 * HR_US_PER_MS) {
            rig_runs();
        }
        assert_int_equal(rig.heard.n[HR_CMD_CONN_OPEN], round + 1);
        rig_opened(rig_conn(6 + round));
        rig_runs();
        rig_input(rig_conn(6 + round), yes, sizeof(yes) - 1);
        rig_input(rig_conn(6 + round), round < 2 ? no : welcome, round < 2 ? sizeof(no) - 1 : sizeof(welcome) - 1);
    }
    hr_handshakes_get_info(rig.handshakes, &info);
    assert_int_equal(info.backed_off, 2);
    assert_int_equal(info.paced, 2);
    assert_int_equal(info.failed, 0);
    assert_int_equal(rig.heard.n[HR_CMD_SESSION_START], 1);
    rig_event(HR_EV_SESSION_STARTED, rig_conn(5));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_login_at_the_broker),
        T(connections_are_paced),
        T(a_broker_has_too_many),
    };

    return cmocka_run_group_tests(tests, rig_set_up_all, rig_tear_down_all);
}
