/* Logins in mid-session, with the worker's end of the rings, the client and the broker played by the test. */
#include "controlplane/renewals/renewals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/identity.h"
#include "controlplane/auth/realm.h"
#include "controlplane/auth/sasl_frame.h"
#include "controlplane/auth/users.h"
#include "controlplane/conn/mock_dataplane.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"

#define WORKER  1
#define SESSION (1ULL << 56 | 77)

static uint64_t fake_now;
static struct mock_dataplane mock;
static struct hr_loop *loop;
static struct hr_http *http;
static struct hr_realms *realms;
static struct hr_identity *identity;
static struct hr_renewals *renewals;
static struct hr_config *config;
static char folder[] = "/tmp/hr-renew-XXXXXX", users_file[64], secret_file[64];
static bool no_identity;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static bool host(void *owner, int32_t node_id, char ret[HR_POLICY_HOST_MAX])
{
    (void)owner;
    snprintf(ret, HR_POLICY_HOST_MAX, "b3.k.test");
    return node_id == 3;
}

static struct hr_identity *who(void *owner, const char *name, const char *principal, uint16_t *ret_index,
                               char why[HR_LOGIN_WHY_MAX])
{
    (void)owner, (void)name, (void)principal;
    *ret_index = 0;
    snprintf(why, HR_LOGIN_WHY_MAX, "nobody");
    return no_identity ? NULL : identity;
}

static const char *listener(void *owner, uint16_t index)
{
    (void)owner;
    return index == 0 ? "main" : NULL;
}

static const struct hr_renewal_ops ops = {.host = host, .identity = who, .listener = listener};

static int set_up_all(void **state)
{
    char why[HR_USERS_WHY_MAX];
    struct hr_users *users;
    FILE *f;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(users_file, sizeof(users_file), "%s/users", folder);
    snprintf(secret_file, sizeof(secret_file), "%s/secret", folder);
    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_set(users, "alice", "pencil", 6, 4096), 0);
    assert_int_equal(hr_users_set(users, "bob", "rubber", 6, 4096), 0);
    assert_int_equal(hr_users_save(users_file, users, why), 0);
    hr_users_free(users);
    f = fopen(secret_file, "w");
    assert_non_null(f);
    fputs("sesame", f);
    assert_int_equal(fclose(f), 0);
    return chmod(secret_file, 0600);
}

static int tear_down_all(void **state)
{
    char lock[80];

    (void)state;
    snprintf(lock, sizeof(lock), "%s.lock", users_file);
    unlink(users_file);
    unlink(secret_file);
    unlink(lock);
    return rmdir(folder);
}

static int set_up(void **state)
{
    struct hr_config_broker_auth as = {.mechanism = HR_CONFIG_MECH_PLAIN, .username = "us"};

    (void)state;
    no_identity = false;
    fake_now = 1000 * HR_US_PER_S;
    mock_open(&mock);
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_realms_create(loop, http, &realms), 0);
    config = calloc(1, sizeof(*config));
    config->n_listeners = 1;
    config->listeners[0].policy.mode = HR_LISTENER_KAFKA;
    snprintf(config->listeners[0].policy.name, sizeof(config->listeners[0].policy.name), "main");
    config->listeners[0].auth.mode = HR_CONFIG_AUTH_TERMINATE;
    config->listeners[0].auth.mechanisms = 1u << HR_CONFIG_MECH_PLAIN | 1u << HR_CONFIG_MECH_SCRAM_SHA_256;
    snprintf(config->listeners[0].auth.users, sizeof(config->listeners[0].auth.users), "%s", users_file);
    config->listeners[0].auth.session_lifetime_s = 60;
    config->listeners[0].auth.attempts_per_minute = 100;
    hr_realms_configure(realms, config);
    snprintf(as.secret.file, sizeof(as.secret.file), "%s", secret_file);
    assert_int_equal(hr_identity_create(loop, http, &as, NULL, NULL, &identity), 0);
    assert_int_equal(hr_renewals_create(loop, realms, &ops, NULL, &renewals), 0);
    hr_renewals_attached(renewals, MOCK_WORKERS, mock_link, &mock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hr_renewals_destroy(renewals);
    hr_identity_destroy(identity);
    hr_realms_destroy(realms);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_close(&mock);
    free(config);
    return 0;
}

/* -- the worker ------------------------------------------------------------------------------------------- */

static struct hr_msg answer; /* the last command; type 0: none */
static uint8_t bytes[65536];
static uint32_t n_bytes;

static void control_plane_runs(void)
{
    struct hr_msg msgs[64];
    int n;

    while ((n = hr_link_recv(mock_link(&mock, WORKER), msgs, 64)) > 0) {
        for (int i = 0; i < n; i++) {
            if (msgs[i].type == HR_EV_SLOT_FREE)
                assert_int_equal(hr_link_slot_returned(mock_link(&mock, WORKER), msgs[i].u.data.slot), 0);
            else
                assert_int_equal(hr_renewals_event(renewals, WORKER, &msgs[i]), 0);
        }
    }
    hr_loop_turn(loop, 0);
}

/* What the worker is told: whole. */
static void hear(void)
{
    struct hr_msg msg;

    control_plane_runs();
    answer.type = 0;
    n_bytes = 0;
    while ((msg = mock_command(&mock, WORKER)).type != 0) {
        assert_int_equal(msg.type, HR_CMD_SESSION_AUTH);
        assert_int_equal(msg.id, SESSION);
        answer = msg;
        if (msg.u.auth.len > 0)
            n_bytes += mock_take_data(&mock, WORKER, &msg, bytes + n_bytes);
    }
    if (answer.type)
        assert_int_equal(answer.u.auth.more, 0);
}

static void event(uint16_t type, enum hr_auth_leg leg, const void *data, uint32_t len)
{
    struct hr_msg msg = {.type = type, .id = SESSION};

    msg.u.auth.leg = leg;
    mock_event(&mock, WORKER, msg, data, len);
}

static struct hr_session_auth_begin begin_of(void)
{
    struct hr_session_auth_begin b;

    memset(&b, 0, sizeof(b));
    b.login.mechanism = b.login.broker_mechanism = HR_MECH_PLAIN;
    b.login.terminates = 1;
    strcpy(b.login.principal, "alice");
    strcpy(b.login.identity_name, "us");
    b.client = hr_addr_from_v4(htonl(0x0a000064));
    b.node_id = 3;
    return b;
}

static void begin_with(enum hr_auth_leg leg, const struct hr_session_auth_begin *b)
{
    event(HR_EV_SESSION_AUTH_BEGIN, leg, b, sizeof(*b));
    hear();
}

static void assert_over(enum hr_auth_leg leg, enum hr_auth_over over)
{
    assert_int_equal(answer.type, HR_CMD_SESSION_AUTH);
    assert_int_equal(answer.u.auth.leg, leg);
    assert_int_equal(answer.u.auth.over, over);
}

/* -- frames ----------------------------------------------------------------------------------------------- */

static void client_says(int16_t key, int16_t version, const void *text, size_t len)
{
    uint8_t buf[4096];
    struct hr_sasl_writer w = {buf, sizeof(buf), 0, false};

    hr_sasl_put_i32(&w, 0);
    hr_sasl_put_i16(&w, key);
    hr_sasl_put_i16(&w, version);
    hr_sasl_put_i32(&w, 9);
    hr_sasl_put_string(&w, "test");
    if (key == HR_KAPI_SASL_HANDSHAKE) {
        hr_sasl_put_string(&w, text);
    } else {
        hr_sasl_put_uvarint(&w, 0);
        hr_sasl_put_compact(&w, text, len);
        hr_sasl_put_uvarint(&w, 0);
    }
    hr_sasl_put_size(&w);
    event(HR_EV_SESSION_AUTH, HR_AUTH_LEG_CLIENT, buf, (uint32_t)w.len);
    hear();
}

/* error code of the answer to the client, behind its header */
static int16_t error_code(bool authenticate)
{
    struct hr_sasl_reader r = {bytes, n_bytes, false};

    assert_int_equal(hr_sasl_get_i32(&r), n_bytes - 4);
    assert_int_equal(hr_sasl_get_i32(&r), 9);
    if (authenticate)
        hr_sasl_skip_tags(&r);
    return hr_sasl_get_i16(&r);
}

static void broker_says(bool authenticate, int16_t error, int64_t lifetime_ms)
{
    uint8_t buf[512];
    struct hr_sasl_writer w = {buf, sizeof(buf), 0, false};
    struct hr_sasl_reader r = {bytes + 8, 4, false}; /* the correlation id that it was asked with */

    hr_sasl_put_i32(&w, 0);
    hr_sasl_put_i32(&w, hr_sasl_get_i32(&r));
    if (authenticate) {
        hr_sasl_put_uvarint(&w, 0);
        hr_sasl_put_i16(&w, error);
        hr_sasl_put_compact(&w, error ? "no" : NULL, 2);
        hr_sasl_put_compact(&w, "", 0);
        hr_sasl_put_i64(&w, lifetime_ms);
        hr_sasl_put_uvarint(&w, 0);
    } else {
        hr_sasl_put_i16(&w, error);
        hr_sasl_put_i32(&w, 1);
        hr_sasl_put_string(&w, "PLAIN");
    }
    hr_sasl_put_size(&w);
    event(HR_EV_SESSION_AUTH, HR_AUTH_LEG_BROKER, buf, (uint32_t)w.len);
    hear();
}

/* -- tests ------------------------------------------------------------------------------------------------ */

static void test_broker(void **state)
{
    struct hr_session_auth_begin b = begin_of();
    struct hr_renewals_info info;

    (void)state;
    begin_with(HR_AUTH_LEG_BROKER, &b);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT);
    assert_int_equal(bytes[5], HR_KAPI_SASL_HANDSHAKE);
    broker_says(false, 0, 0);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT);
    assert_int_equal(bytes[5], HR_KAPI_SASL_AUTHENTICATE);
    assert_non_null(memmem(bytes, n_bytes, "us\0sesame", 9));
    uint64_t asked = fake_now;
    fake_now += 2 * HR_US_PER_S; /* it thinks: its lifetime may have begun at once */
    broker_says(true, 0, 100000);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_DONE);
    assert_int_equal(n_bytes, 0);
    assert_int_equal(answer.u.auth.due_us, asked + 85 * HR_US_PER_S);
    assert_int_equal(answer.u.auth.expires_us, asked + 100 * HR_US_PER_S);
    hr_renewals_get_info(renewals, &info);
    assert_int_equal(info.brokers, 1);
    assert_int_equal(info.under_way, 0);
}

static void test_broker_refuses(void **state)
{
    struct hr_session_auth_begin b = begin_of();
    struct hr_renewals_info info;

    (void)state;
    begin_with(HR_AUTH_LEG_BROKER, &b);
    broker_says(false, 0, 0);
    broker_says(true, 58, 0);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_FAILED);
    strcpy(b.login.identity_name, "them"); /* by a reload since */
    begin_with(HR_AUTH_LEG_BROKER, &b);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_FAILED);
    hr_renewals_get_info(renewals, &info);
    assert_int_equal(info.brokers_failed, 2);
    assert_int_equal(info.under_way, 0);
}

/* Nothing to log in with, or no such broker: tried again, the session is left alone. */
static void test_broker_waits(void **state)
{
    struct hr_session_auth_begin b = begin_of();

    (void)state;
    no_identity = true;
    begin_with(HR_AUTH_LEG_BROKER, &b);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(answer.type, 0);
        fake_now += 2 * HR_US_PER_S;
        hear();
    }
    no_identity = false;
    fake_now += 2 * HR_US_PER_S;
    hear();
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT);
    /* The worker asks anew, as after a restart: the first is forgotten. */
    begin_with(HR_AUTH_LEG_BROKER, &b);
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_NEXT);
    /* Nobody answers any more. */
    fake_now += 1801 * HR_US_PER_S;
    hear();
    assert_over(HR_AUTH_LEG_BROKER, HR_AUTH_FAILED);
}

static void test_client(void **state)
{
    struct hr_session_auth_begin b = begin_of();

    (void)state;
    begin_with(HR_AUTH_LEG_CLIENT, &b);
    assert_int_equal(answer.type, 0);
    client_says(HR_KAPI_SASL_HANDSHAKE, 1, "PLAIN", 0);
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_NEXT);
    assert_int_equal(error_code(false), 0);
    client_says(HR_KAPI_SASL_AUTHENTICATE, 2, "\0alice\0pencil", 13);
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_DONE);
    assert_int_equal(error_code(true), 0);
    assert_int_equal(answer.u.auth.expires_us, fake_now + 60 * HR_US_PER_S);
    /* The lifetime is told: the last field but the tags. */
    struct hr_sasl_reader r = {bytes + n_bytes - 9, 8, false};
    assert_int_equal(hr_sasl_get_i64(&r), 60000);
}

static void refused(const char *mechanism, const char *plain, size_t len, int16_t at_handshake)
{
    struct hr_session_auth_begin b = begin_of();

    begin_with(HR_AUTH_LEG_CLIENT, &b);
    client_says(HR_KAPI_SASL_HANDSHAKE, 1, mechanism, 0);
    if (!at_handshake)
        client_says(HR_KAPI_SASL_AUTHENTICATE, 2, plain, len);
    assert_int_equal(answer.type, 0); /* not at once */
    fake_now += 200 * HR_US_PER_MS;
    hear();
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_FAILED);
    assert_int_equal(error_code(!at_handshake), at_handshake ? at_handshake : 58);
}

static void test_client_refused(void **state)
{
    struct hr_renewals_info info;

    (void)state;
    refused("PLAIN", "\0alice\0eraser", 13, 0);
    refused("PLAIN", "\0bob\0rubber", 11, 0); /* good, but somebody else */
    refused("SCRAM-SHA-256", NULL, 0, 33);      /* offered, but not what the session began with */
    hr_renewals_get_info(renewals, &info);
    assert_int_equal(info.clients_failed, 3);
    assert_int_equal(info.clients, 0);
    assert_int_equal(info.under_way, 0);
}

static void test_strays(void **state)
{
    struct hr_session_auth_begin b = begin_of();
    struct hr_msg msg = {.type = HR_EV_SESSION_AUTH, .id = SESSION};

    (void)state;
    client_says(HR_KAPI_SASL_HANDSHAKE, 1, "PLAIN", 0); /* of a login that another control plane had begun */
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_FAILED);
    assert_int_equal(n_bytes, 0);
    b.listener = 7;
    begin_with(HR_AUTH_LEG_CLIENT, &b);
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_FAILED);
    b = begin_of();
    memset(b.login.principal, 'x', sizeof(b.login.principal)); /* no end */
    begin_with(HR_AUTH_LEG_CLIENT, &b);
    assert_over(HR_AUTH_LEG_CLIENT, HR_AUTH_FAILED);
    msg.u.auth.leg = HR_AUTH_LEG_MAX;
    assert_int_equal(hr_renewals_event(renewals, WORKER, &msg), HR_E_INVALID);
    msg.u.auth.leg = 0;
    msg.u.auth.len = 5;
    msg.u.auth.slot = HR_SLOTS;
    assert_int_equal(hr_renewals_event(renewals, WORKER, &msg), HR_E_INVALID);
    assert_int_equal(hr_renewals_event(renewals, MOCK_WORKERS, &msg), HR_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_broker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broker_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_broker_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_client, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_client_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_strays, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
