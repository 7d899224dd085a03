/* Logins against a broker that is played by the test: its requests are decoded, and its answers encoded, by the codec
 * that knows Kafka's schemas (shared/kafka), which the login itself does not use. */
#include "controlplane/auth/login.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/crypto.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

static struct hr_login *login;
static struct hr_login_with with;

static int set_up(void **state)
{
    with = (struct hr_login_with){.user = "alice", .secret = "pencil", .secret_len = 6, .client_id = "headrace",
                                  .correlation_id = 7};
    return 0;
}

static int tear_down(void **state)
{
    hr_login_destroy(login);
    login = NULL;
    return 0;
}

/* The request that is to be sent: key and body. */
static json_t *sent(int16_t key, int16_t version, int32_t correlation_id)
{
    size_t n;
    const uint8_t *out = hr_login_output(login, &n);
    json_t *header, *body;
    uint32_t used, body_used;
    char why[HR_KJSON_WHY_MAX] = "";

    assert_non_null(out);
    assert_int_equal((size_t)(out[0] << 24 | out[1] << 16 | out[2] << 8 | out[3]) + 4, n);
    assert_int_equal(out[4] << 8 | out[5], key);
    assert_int_equal(out[6] << 8 | out[7], version);
    if (hr_kjson_decode(&hr_krequest_header, hr_krequest_header_version(key, version), out + 4, (uint32_t)n - 4,
                        &header, &used, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(json_integer_value(json_object_get(header, "CorrelationId")), correlation_id);
    assert_string_equal(json_string_value(json_object_get(header, "ClientId")), "headrace");
    if (hr_kjson_decode(hr_krequest_find(key, version), version, out + 4 + used, (uint32_t)n - 4 - used, &body,
                        &body_used, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(used + body_used + 4, n);
    json_decref(header);
    hr_login_sent(login);
    assert_null(hr_login_output(login, &n));
    return body;
}

static void expect_handshake(const char *mechanism)
{
    json_t *body = sent(17, 1, 7);

    assert_string_equal(json_string_value(json_object_get(body, "Mechanism")), mechanism);
    json_decref(body);
}

/* The mechanism's bytes of the SaslAuthenticate that is to be sent. */
static size_t expect_authenticate(int32_t correlation_id, char out[4096])
{
    json_t *body = sent(36, 2, correlation_id);
    const char *hex = json_string_value(json_object_get(body, "AuthBytes"));
    size_t n = strlen(hex) / 2;

    assert_true(n < 4096);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;

        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (char)byte;
    }
    out[n] = '\0';
    json_decref(body);
    return n;
}

/* The broker's answer, a byte at a time. */
static enum hr_login_verdict answer(int16_t key, int16_t version, int32_t correlation_id, const json_t *body)
{
    static uint8_t frame[65536];
    json_t *header = json_pack("{s:i}", "CorrelationId", correlation_id);
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t a = 0, b = 0;
    size_t used;

    if (hr_kjson_encode(&hr_kresponse_header, hr_kresponse_header_version(key, version), header, frame + 4, 60000, &a,
                        why) != 0 ||
        hr_kjson_encode(hr_kresponse_find(key, version), version, body, frame + 4 + a, 60000 - a, &b, why) != 0)
        fail_msg("%s", why);
    json_decref(header);
    for (int i = 0; i < 4; i++)
        frame[i] = (uint8_t)((a + b) >> 8 * (3 - i));
    for (uint32_t i = 0; i < 4 + a + b; i++) {
        assert_int_equal(verdict, HR_LOGIN_MORE);
        verdict = hr_login_feed(login, frame + i, 1, &used);
        assert_int_equal(used, 1);
    }
    return verdict;
}

static enum hr_login_verdict answer_handshake(int error)
{
    json_t *body = json_pack("{s:i, s:[s,s]}", "ErrorCode", error, "Mechanisms", "PLAIN", "GSSAPI");
    enum hr_login_verdict verdict = answer(17, 1, 7, body);

    json_decref(body);
    return verdict;
}

static enum hr_login_verdict answer_bytes(int32_t correlation_id, int error, const char *text, const char *bytes,
                                          json_int_t lifetime)
{
    char hex[4096];
    enum hr_login_verdict verdict;
    json_t *body;

    hr_hex_encode(bytes, strlen(bytes), hex);
    body = json_pack("{s:i, s:s?, s:s, s:I}", "ErrorCode", error, "ErrorMessage", text, "AuthBytes", hex,
                     "SessionLifetimeMs", lifetime);
    verdict = answer(36, 2, correlation_id, body);
    json_decref(body);
    return verdict;
}

static void start(enum hr_mechanism mechanism)
{
    with.mechanism = mechanism;
    assert_int_equal(hr_login_create(&with, &login), 0);
    expect_handshake(hr_mechanism_name(mechanism));
}

static void test_plain(void **state)
{
    char out[4096];
    size_t used;

    start(HR_MECH_PLAIN);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    assert_int_equal(expect_authenticate(8, out), 13);
    assert_memory_equal(out, "\0alice\0pencil", 13);
    assert_int_equal(answer_bytes(8, 0, NULL, "", 3600000), HR_LOGIN_DONE);
    assert_int_equal(hr_login_lifetime_ms(login), 3600000);
    /* What comes now is not the login's. */
    assert_int_equal(hr_login_feed(login, (const uint8_t *)"x", 1, &used), HR_LOGIN_DONE);
    assert_int_equal(used, 0);
}

static void test_plain_refused(void **state)
{
    char out[4096];

    start(HR_MECH_PLAIN);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    assert_int_equal(answer_bytes(8, 58, "Authentication failed:\nInvalid", "", 0), HR_LOGIN_REFUSED);
    assert_string_equal(hr_login_why(login),
                        "the broker refused the login (error 58): Authentication failed:\\x0aInvalid");
}

static void test_mechanism_not_offered(void **state)
{
    start(HR_MECH_SCRAM_SHA_512);
    assert_int_equal(answer_handshake(33), HR_LOGIN_REFUSED);
    assert_string_equal(hr_login_why(login), "the broker does not offer SCRAM-SHA-512; it offers PLAIN, GSSAPI");
}

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    assert_string_equal(user, "alice");
    return hr_scram_derive(hash, arg, strlen(arg), (const uint8_t *)"salt", 4, 4096, ret) == 0;
}

static enum hr_login_verdict scram(enum hr_mechanism mechanism, const char *known_password)
{
    enum hr_digest hash = mechanism == HR_MECH_SCRAM_SHA_256 ? HR_SHA256 : HR_SHA512;
    struct hr_scram_server server;
    const char *why = "";
    char in[4096], out[1024];
    size_t n, n_out;

    start(mechanism);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    n = expect_authenticate(8, in);
    assert_int_equal(hr_scram_server_first(&server, hash, lookup, (void *)known_password, NULL, (uint8_t *)in, n, out,
                                           sizeof(out), &n_out, &why), 0);
    assert_int_equal(answer_bytes(8, 0, NULL, out, 0), HR_LOGIN_MORE);
    n = expect_authenticate(9, in);
    if (hr_scram_server_final(&server, (uint8_t *)in, n, out, sizeof(out), &n_out, &why) != 0)
        return answer_bytes(9, 58, "wrong", "", 0);
    return answer_bytes(9, 0, NULL, out, 12000);
}

static void test_scram(void **state)
{
    struct hr_scram_cache cache = {0};

    with.cache = &cache;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(scram(i % 2 ? HR_MECH_SCRAM_SHA_256 : HR_MECH_SCRAM_SHA_512, "pencil"), HR_LOGIN_DONE);
        assert_int_equal(hr_login_lifetime_ms(login), 12000);
        hr_login_destroy(login);
    }
    assert_int_equal(scram(HR_MECH_SCRAM_SHA_256, "Pencil"), HR_LOGIN_REFUSED);
    hr_login_destroy(login);
    /* A broker that does not know the password, and says yes all the same. */
    start(HR_MECH_SCRAM_SHA_256);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    {
        char in[4096], first[512];

        expect_authenticate(8, in);
        snprintf(first, sizeof(first), "r=%sx,s=c2FsdA==,i=4096", strstr(in, "r=") + 2);
        assert_int_equal(answer_bytes(8, 0, NULL, first, 0), HR_LOGIN_MORE);
        expect_authenticate(9, in);
        assert_int_equal(answer_bytes(9, 0, NULL, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", 0),
                         HR_LOGIN_BROKEN);
    }
}

static void test_oauth(void **state)
{
    char out[4096];

    with.secret = "a.b.c";
    with.secret_len = 5;
    start(HR_MECH_OAUTHBEARER);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    assert_string_equal(out, "n,,\x01" "auth=Bearer a.b.c\x01\x01");
    assert_int_equal(answer_bytes(8, 0, NULL, "", 0), HR_LOGIN_DONE);
    hr_login_destroy(login);
    start(HR_MECH_OAUTHBEARER);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    assert_int_equal(answer_bytes(8, 0, NULL, "{\"status\":\"invalid_token\"}", 0), HR_LOGIN_MORE);
    assert_int_equal(expect_authenticate(9, out), 1);
    assert_string_equal(out, "\x01");
    assert_int_equal(answer_bytes(9, 58, "no", "", 0), HR_LOGIN_REFUSED);
    assert_string_equal(hr_login_why(login),
                        "the broker refused the token: {\\x22status\\x22:\\x22invalid_token\\x22}");
}

static void test_iam(void **state)
{
    struct hr_aws_keys keys = {.id = "ACCESS_KEY", .secret = "SECRET_KEY", .token = "T"};
    char out[4096];
    json_t *json;

    with.keys = &keys;
    with.region = "us-east-1";
    with.host = "b-1.example";
    with.now_s = 1634216700;
    start(HR_MECH_AWS_MSK_IAM);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    json = json_loads(out, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "host")), "b-1.example");
    assert_string_equal(json_string_value(json_object_get(json, "x-amz-expires")), "900");
    assert_null(strstr(out, "SECRET_KEY"));
    json_decref(json);
    assert_int_equal(answer_bytes(8, 0, NULL, "{\"version\":\"2020_10_22\"}", 1000), HR_LOGIN_DONE);
    hr_login_destroy(login);
    start(HR_MECH_AWS_MSK_IAM);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    assert_int_equal(answer_bytes(8, 0, NULL, "{\"version\":\"2\"}", 1000), HR_LOGIN_BROKEN);
    hr_login_destroy(login);
    /* MSK's own token goes by OAUTHBEARER. */
    with.secret = NULL;
    with.secret_len = 0;
    start(HR_MECH_OAUTHBEARER);
    assert_int_equal(answer_handshake(0), HR_LOGIN_MORE);
    expect_authenticate(8, out);
    assert_memory_equal(out, "n,,\x01" "auth=Bearer aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEu", 40);
}

static void test_nonsense(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *why;
    } table[] = {
        {"\xff\xff\xff\xff", 4, "the size of the broker's answer is out of bounds"},
        {"\0\0\0\5", 4, "the size of the broker's answer is out of bounds"},
        {"\0\1\0\1", 4, "the size of the broker's answer is out of bounds"},
        {"\0\0\0\6\0\0\0\x09\0\0", 10, "the broker answered another request than the login's"},
        {"\0\0\0\6\0\0\0\7\0\0", 10, "the broker's answer to SaslHandshake is malformed"},
        {"\0\0\0\x0a\0\0\0\7\0\0\x7f\xff\xff\xff", 14, "the broker's answer to SaslHandshake is malformed"},
        {"\0\0\0\x0a\0\0\0\7\0\0\xff\xff\xff\xff", 14, "the broker's answer to SaslHandshake is malformed"},
        {"\0\0\0\x0b\0\0\0\7\0\0\0\0\0\0\0", 15, "the broker's answer to SaslHandshake is malformed"},
    };
    size_t used;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        start(HR_MECH_PLAIN);
        assert_int_equal(hr_login_feed(login, (const uint8_t *)table[i].bytes, table[i].len, &used), HR_LOGIN_BROKEN);
        assert_string_equal(hr_login_why(login), table[i].why);
        hr_login_destroy(login);
    }
    /* An answer to what was not sent yet. */
    with.mechanism = HR_MECH_PLAIN;
    assert_int_equal(hr_login_create(&with, &login), 0);
    assert_int_equal(hr_login_feed(login, (const uint8_t *)"\0", 1, &used), HR_LOGIN_BROKEN);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_plain), T(test_plain_refused), T(test_mechanism_not_offered), T(test_scram),
        T(test_oauth), T(test_iam),           T(test_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
