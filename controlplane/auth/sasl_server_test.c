/* Logins as clients make them: by our own login (controlplane/auth/login.c), and by frames made of Kafka's schemas
 * (shared/kafka), with the codes and texts that a broker answers with. */
#include "controlplane/auth/sasl_server.h"

#include <jansson.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/crypto.h"
#include "controlplane/auth/http.h"
#include "controlplane/auth/mock_http.h"
#include "controlplane/auth/users.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

static struct hr_users *users;
static struct hr_sasl_realm realm;
static struct hr_sasl_server *server;
static struct hr_plain_cache plain_cache;
static struct hr_attempts attempts;
static struct hr_addr source;
static int n_resumed;
static uint64_t now_us = 1000000;
static const int64_t now_s = 1000;

static const struct hr_sasl_api apis[] = {{3, 0, 12}, {17, 0, 1}, {18, 0, 4}, {36, 0, 2}};

static void on_resumed(void *owner)
{
    (void)owner;
    n_resumed++;
}

static int set_up(void **state)
{
    if (!users) {
        assert_int_equal(hr_users_create(&users), 0);
        assert_int_equal(hr_users_set(users, "alice", "pencil", 6, 4096), 0);
    }
    source = hr_addr_from_v4(htonl(0x0a000001));
    attempts = (struct hr_attempts){.burst = 3, .refill_us = 1000000};
    assert_int_equal(hr_plain_cache_init(&plain_cache), 0);
    realm = (struct hr_sasl_realm){.mechanisms = 1u << HR_MECH_PLAIN | 1u << HR_MECH_SCRAM_SHA_256 |
                                                 1u << HR_MECH_SCRAM_SHA_512,
                                   .lookup = hr_users_lookup,
                                   .lookup_arg = users,
                                   .plain = &plain_cache,
                                   .attempts = &attempts,
                                   .lifetime_ms = 3600000,
                                   .apis = apis,
                                   .n_apis = 4};
    n_resumed = 0;
    assert_int_equal(hr_sasl_server_create(&realm, &source, on_resumed, NULL, &server), 0);
    return 0;
}

static int tear_down(void **state)
{
    hr_sasl_server_destroy(server);
    server = NULL;
    return 0;
}

/* A fresh connection. */
static void again(void)
{
    hr_sasl_server_destroy(server);
    assert_int_equal(hr_sasl_server_create(&realm, &source, on_resumed, NULL, &server), 0);
}

static enum hr_sasl_verdict feed(const void *data, size_t len)
{
    enum hr_sasl_verdict verdict = HR_SASL_MORE;
    size_t used;

    for (size_t i = 0; i < len && verdict == HR_SASL_MORE; i++) { /* a byte at a time */
        verdict = hr_sasl_server_feed(server, now_us, now_s, (const uint8_t *)data + i, 1, &used);
        assert_int_equal(used, 1);
    }
    return verdict;
}

static enum hr_sasl_verdict request(int16_t key, int16_t version, const char *text)
{
    static uint8_t frame[70000];
    json_t *header = json_pack("{s:i, s:i, s:i, s:s}", "RequestApiKey", key, "RequestApiVersion", version,
                               "CorrelationId", 5, "ClientId", "c");
    json_t *body = json_loads(text, 0, NULL);
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t a = 0, b = 0;

    assert_non_null(body);
    if (hr_kjson_encode(&hr_krequest_header, hr_krequest_header_version(key, version), header, frame + 4, 60000, &a,
                        why) != 0 ||
        hr_kjson_encode(hr_krequest_find(key, version), version, body, frame + 4 + a, 60000, &b, why) != 0)
        fail_msg("%s", why);
    for (int i = 0; i < 4; i++)
        frame[i] = (uint8_t)((a + b) >> 8 * (3 - i));
    json_decref(header);
    json_decref(body);
    return feed(frame, 4 + a + b);
}

/* The answer, whose header must name the request. */
static json_t *answer(int16_t key, int16_t version)
{
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t used, body_used;
    json_t *header, *body;
    size_t n;
    const uint8_t *out = hr_sasl_server_output(server, &n);

    assert_non_null(out);
    assert_int_equal((size_t)(out[0] << 24 | out[1] << 16 | out[2] << 8 | out[3]) + 4, n);
    if (hr_kjson_decode(&hr_kresponse_header, hr_kresponse_header_version(key, version), out + 4, (uint32_t)n - 4,
                        &header, &used, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(json_integer_value(json_object_get(header, "CorrelationId")), 5);
    if (hr_kjson_decode(hr_kresponse_find(key, version), version, out + 4 + used, (uint32_t)n - 4 - used, &body,
                        &body_used, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(used + body_used + 4, n);
    json_decref(header);
    hr_sasl_server_sent(server);
    return body;
}

static void expect(int16_t key, int16_t version, int error, const char *member, const char *text)
{
    json_t *body = answer(key, version);
    const char *got = member ? json_string_value(json_object_get(body, member)) : NULL;

    assert_int_equal(json_integer_value(json_object_get(body, "ErrorCode")), error);
    if (member && (!got || strcmp(got, text) != 0))
        fail_msg("%s is %s", member, got ? got : "null");
    json_decref(body);
}

static enum hr_sasl_verdict authenticate(int16_t version, const void *bytes, size_t len)
{
    char hex[4096], text[4200];

    hr_hex_encode(bytes, len, hex);
    snprintf(text, sizeof(text), "{\"AuthBytes\":\"%s\"}", hex);
    return request(36, version, text);
}

/* -- by our own client ------------------------------------------------------------------------------------- */

static enum hr_sasl_verdict by_login(enum hr_mechanism mechanism, const char *user, const char *secret,
                                     enum hr_login_verdict *ret_client, char why[HR_LOGIN_WHY_MAX])
{
    struct hr_login_with with = {.mechanism = mechanism, .user = user, .secret = secret, .secret_len = strlen(secret),
                                 .client_id = "test", .correlation_id = 1};
    enum hr_sasl_verdict verdict = HR_SASL_MORE;
    struct hr_login *login;
    const uint8_t *out;
    size_t n, used;

    again();
    *ret_client = HR_LOGIN_MORE;
    assert_int_equal(hr_login_create(&with, &login), 0);
    while ((out = hr_login_output(login, &n)) && verdict == HR_SASL_MORE) {
        verdict = hr_sasl_server_feed(server, now_us, now_s, out, n, &used);
        assert_int_equal(used, n);
        hr_login_sent(login);
        if ((out = hr_sasl_server_output(server, &n))) {
            *ret_client = hr_login_feed(login, out, n, &used);
            hr_sasl_server_sent(server);
        }
    }
    snprintf(why, HR_LOGIN_WHY_MAX, "%s", hr_login_why(login));
    if (*ret_client == HR_LOGIN_DONE)
        assert_int_equal(hr_login_lifetime_ms(login), 3600000);
    hr_login_destroy(login);
    return verdict;
}

static void test_our_own_client(void **state)
{
    static const enum hr_mechanism mechanisms[] = {HR_MECH_PLAIN, HR_MECH_SCRAM_SHA_256, HR_MECH_SCRAM_SHA_512};
    enum hr_login_verdict client;
    char why[HR_LOGIN_WHY_MAX];

    attempts.burst = 100;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(by_login(mechanisms[i], "alice", "pencil", &client, why), HR_SASL_DONE);
        assert_int_equal(client, HR_LOGIN_DONE);
        assert_string_equal(hr_sasl_server_identity(server)->principal, "alice");
        assert_int_equal(hr_sasl_server_identity(server)->mechanism, mechanisms[i]);
        assert_int_equal(by_login(mechanisms[i], "alice", "Pencil", &client, why), HR_SASL_FAILED);
        assert_int_equal(client, HR_LOGIN_REFUSED);
        assert_non_null(strstr(why, i == 0 ? "Authentication failed: Invalid username or password"
                                           : "Authentication failed during authentication due to invalid credentials"));
        assert_string_equal(hr_sasl_server_claimed(server), "alice");
        assert_int_equal(by_login(mechanisms[i], "nobody", "pencil", &client, why), HR_SASL_FAILED);
        assert_string_equal(hr_sasl_server_why(server), "wrong password, or no such user");
    }
    assert_int_equal(by_login(HR_MECH_OAUTHBEARER, "", "a.b.c", &client, why), HR_SASL_FAILED);
    assert_string_equal(why, "the broker does not offer OAUTHBEARER; it offers PLAIN, SCRAM-SHA-256, SCRAM-SHA-512");
}

/* -- by frames --------------------------------------------------------------------------------------------- */

static void test_every_version(void **state)
{
    for (int16_t version = 0; version <= 2; version++) {
        json_t *body;

        again();
        assert_int_equal(request(18, version == 2 ? 3 : 0,
                                 version == 2 ? "{\"ClientSoftwareName\":\"a-b.c\",\"ClientSoftwareVersion\":\"1\"}"
                                              : "{}"), HR_SASL_MORE);
        body = answer(18, version == 2 ? 3 : 0);
        assert_int_equal(json_integer_value(json_object_get(body, "ErrorCode")), 0);
        assert_int_equal(json_array_size(json_object_get(body, "ApiKeys")), 4);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(body, "ApiKeys"), 0),
                                                            "MaxVersion")), 12);
        json_decref(body);
        assert_int_equal(request(17, 1, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
        body = answer(17, 1);
        assert_int_equal(json_integer_value(json_object_get(body, "ErrorCode")), 0);
        assert_int_equal(json_array_size(json_object_get(body, "Mechanisms")), 3);
        json_decref(body);
        assert_int_equal(authenticate(version, "\0alice\0pencil", 13), HR_SASL_DONE);
        body = answer(36, version);
        assert_int_equal(json_integer_value(json_object_get(body, "ErrorCode")), 0);
        if (version > 0)
            assert_int_equal(json_integer_value(json_object_get(body, "SessionLifetimeMs")), 3600000);
        json_decref(body);
        again();
        assert_int_equal(request(17, 1, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
        expect(17, 1, 0, NULL, NULL);
        now_us += 10000000;
        assert_int_equal(authenticate(version, "\0alice\0pencils", 14), HR_SASL_FAILED);
        expect(36, version, 58, "ErrorMessage", "Authentication failed: Invalid username or password");
    }
}

static void test_raw_tokens(void **state)
{
    const uint8_t *out;
    size_t n;

    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 0, 0, NULL, NULL);
    assert_int_equal(feed("\0\0\0\x0d\0alice\0pencil", 17), HR_SASL_DONE);
    out = hr_sasl_server_output(server, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(out, "\0\0\0\0", 4);
    again();
    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 0, 0, NULL, NULL);
    assert_int_equal(feed("\0\0\0\x0d\0alice\0penciL", 17), HR_SASL_CLOSE); /* without an answer */
    assert_null(hr_sasl_server_output(server, &n));
    again();
    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 0, 0, NULL, NULL);
    assert_int_equal(feed("\0\x08\0\x01", 4), HR_SASL_CLOSE); /* 524289 */
    again();
    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 0, 0, NULL, NULL);
    assert_int_equal(feed("\0\x08\0\0", 4), HR_SASL_MORE); /* 524288 */
    again();
    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 0, 0, NULL, NULL);
    assert_int_equal(feed("\0\0\0\0", 4), HR_SASL_CLOSE); /* an empty token */
}

static void test_out_of_order(void **state)
{
    /* A mechanism that is not there, or that nobody but AWS can check. */
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"AWS_MSK_IAM\"}"), HR_SASL_FAILED);
    expect(17, 1, 33, NULL, NULL);
    again();
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"plain\"}"), HR_SASL_FAILED);
    expect(17, 1, 33, NULL, NULL);
    again();
    assert_int_equal(authenticate(2, "x", 1), HR_SASL_FAILED);
    expect(36, 2, 34, "ErrorMessage", "SaslAuthenticate request received without a prior SaslHandshake");
    again();
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    expect(17, 1, 0, NULL, NULL);
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_FAILED);
    expect(17, 1, 34, NULL, NULL);
    again();
    assert_int_equal(request(18, 0, "{}"), HR_SASL_MORE);
    expect(18, 0, 0, NULL, NULL);
    assert_int_equal(request(18, 0, "{}"), HR_SASL_CLOSE);
    again();
    assert_int_equal(request(3, 1, "{\"Topics\":null}"), HR_SASL_CLOSE);
    assert_string_equal(hr_sasl_server_why(server), "another request before the login");
    again();
    assert_int_equal(request(18, 3, "{\"ClientSoftwareName\":\"-a\",\"ClientSoftwareVersion\":\"1\"}"), HR_SASL_CLOSE);
}

/* KIP-511: an unknown version is answered in version 0, and asked again. */
static void test_newer_api_versions(void **state)
{
    json_t *body;

    assert_int_equal(feed("\0\0\0\x0b\0\x12\0\x63\0\0\0\5\0\1c", 15), HR_SASL_MORE);
    body = answer(18, 0);
    assert_int_equal(json_integer_value(json_object_get(body, "ErrorCode")), 35);
    assert_int_equal(json_array_size(json_object_get(body, "ApiKeys")), 1);
    json_decref(body);
    assert_int_equal(request(18, 3, "{\"ClientSoftwareName\":\"a\",\"ClientSoftwareVersion\":\"1\"}"), HR_SASL_MORE);
    expect(18, 3, 0, NULL, NULL);
}

static void test_sizes(void **state)
{
    assert_int_equal(feed("\0\0\0\x09", 4), HR_SASL_CLOSE);
    again();
    assert_int_equal(feed("\xff\xff\xff\xff", 4), HR_SASL_CLOSE);
    again();
    assert_int_equal(feed("GET / HTTP/1.1\r\n", 4), HR_SASL_CLOSE);
    again();
    assert_int_equal(feed("\0\x08\0\0", 4), HR_SASL_MORE);
}

static void test_attempts_are_bounded(void **state)
{
    now_us += 10000000;
    for (int i = 0; i < 4; i++) {
        again();
        assert_int_equal(request(17, 1, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
        expect(17, 1, 0, NULL, NULL);
        assert_int_equal(authenticate(2, "\0alice\0x", 8), HR_SASL_FAILED);
        assert_string_equal(hr_sasl_server_why(server),
                            i < 3 ? "wrong password, or no such user" : "too many attempts from this address");
    }
}

/* What a client sends behind its login stays for whoever takes the connection over. */
static void test_nothing_is_taken_behind_the_login(void **state)
{
    static const char rest[] = "\0\0\0\x0d\0alice\0pencil\0\0\0\x10more";
    size_t used, n;

    assert_int_equal(request(17, 0, "{\"Mechanism\":\"PLAIN\"}"), HR_SASL_MORE);
    /* Not before the answer has gone. */
    assert_int_equal(hr_sasl_server_feed(server, now_us, now_s, (const uint8_t *)rest, 24, &used), HR_SASL_MORE);
    assert_int_equal(used, 0);
    hr_sasl_server_sent(server);
    assert_int_equal(hr_sasl_server_feed(server, now_us, now_s, (const uint8_t *)rest, 24, &used), HR_SASL_DONE);
    assert_int_equal(used, 17);
    assert_non_null(hr_sasl_server_output(server, &n));
}

/* -- OAUTHBEARER against a mock of an issuer ---------------------------------------------------------------- */

static EVP_PKEY *key;
static char key_set[512];

static void issue(const struct mock_request *asked, struct mock_reply *reply)
{
    (void)asked;
    reply->status = 200;
    snprintf(reply->body, sizeof(reply->body), "%s", key_set);
}

/* ES256; the signature is made of DER by hand. */
static void make_token(const char *claims, char *token, size_t cap)
{
    char a[64], b[512], c[128];
    uint8_t der[80], raw[64] = {0};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = sizeof(der);
    const uint8_t *at = der + 2;

    assert_int_equal(hr_base64url_encode("{\"alg\":\"ES256\"}", 15, a, sizeof(a)), 0);
    assert_int_equal(hr_base64url_encode(claims, strlen(claims), b, sizeof(b)), 0);
    snprintf(token, cap, "%s.%s", a, b);
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &n, (uint8_t *)token, strlen(token)), 1);
    EVP_MD_CTX_free(ctx);
    for (int i = 0; i < 2; i++) { /* INTEGER: up to 33 bytes, leading zeros left out */
        size_t len = at[1], skip = len > 32 ? len - 32 : 0;

        memcpy(raw + 32 * i + 32 - (len - skip), at + 2 + skip, len - skip);
        at += 2 + len;
    }
    assert_int_equal(hr_base64url_encode(raw, 64, c, sizeof(c)), 0);
    snprintf(token, cap, "%s.%s.%s", a, b, c);
}

static void test_oauth(void **state)
{
    struct hr_jwt_rules rules = {.issuer = "i", .skew_s = 1};
    struct hr_jwks_config config = {.refresh_us = 1u << 30, .refetch_us = 1u << 30, .keep_us = 1, .timeout_ms = 10000};
    char url[64], token[1024], message[1100], x[64], y[64];
    uint8_t point[65];
    struct hr_loop *loop;
    struct hr_http *http;
    json_t *body;
    size_t n;

    key = EVP_EC_gen("P-256");
    assert_int_equal(EVP_PKEY_get_octet_string_param(key, "pub", point, sizeof(point), &n), 1);
    assert_int_equal(hr_base64url_encode(point + 1, 32, x, sizeof(x)), 0);
    assert_int_equal(hr_base64url_encode(point + 33, 32, y, sizeof(y)), 0);
    snprintf(key_set, sizeof(key_set), "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}]}", x, y);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", mock_http_start(issue));
    config.url = url;
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_jwks_source_create(loop, http, &config, &realm.keys), 0);
    realm.mechanisms = 1u << HR_MECH_OAUTHBEARER;
    realm.rules = &rules;

    /* The first login waits for the keys; the token's end is nearer than the realm's. */
    again();
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"OAUTHBEARER\"}"), HR_SASL_MORE);
    expect(17, 1, 0, NULL, NULL);
    make_token("{\"sub\":\"svc\",\"iss\":\"i\",\"exp\":1600}", token, sizeof(token));
    n = (size_t)snprintf(message, sizeof(message), "n,,\x01" "auth=Bearer %s\x01\x01", token);
    assert_int_equal(authenticate(2, message, n), HR_SASL_WAIT);
    assert_int_equal(hr_sasl_server_feed(server, now_us, now_s, NULL, 0, &n), HR_SASL_WAIT);
    while (n_resumed == 0)
        hr_loop_turn(loop, 100000);
    assert_int_equal(hr_sasl_server_feed(server, now_us, now_s, NULL, 0, &n), HR_SASL_DONE);
    assert_string_equal(hr_sasl_server_identity(server)->principal, "svc");
    body = answer(36, 2);
    assert_int_equal(json_integer_value(json_object_get(body, "SessionLifetimeMs")), 600000);
    json_decref(body);

    /* Refused by JSON first, then by the error. */
    again();
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"OAUTHBEARER\"}"), HR_SASL_MORE);
    expect(17, 1, 0, NULL, NULL);
    make_token("{\"sub\":\"svc\",\"iss\":\"j\",\"exp\":1600}", token, sizeof(token));
    n = (size_t)snprintf(message, sizeof(message), "n,,\x01" "auth=Bearer %s\x01\x01", token);
    assert_int_equal(authenticate(2, message, n), HR_SASL_MORE);
    expect(36, 2, 0, "AuthBytes", "7b22737461747573223a22696e76616c69645f746f6b656e227d");
    assert_int_equal(authenticate(2, "\x01", 1), HR_SASL_FAILED);
    expect(36, 2, 58, "ErrorMessage", "{\"status\":\"invalid_token\"}");
    assert_string_equal(hr_sasl_server_why(server), "the token is of another issuer");

    /* A client that vanishes while it waits leaves nothing behind. */
    hr_jwks_source_destroy(realm.keys);
    assert_int_equal(hr_jwks_source_create(loop, http, &config, &realm.keys), 0);
    again();
    assert_int_equal(request(17, 1, "{\"Mechanism\":\"OAUTHBEARER\"}"), HR_SASL_MORE);
    expect(17, 1, 0, NULL, NULL);
    assert_int_equal(authenticate(2, message, n), HR_SASL_WAIT);
    again();
    hr_jwks_source_destroy(realm.keys);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
    EVP_PKEY_free(key);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_our_own_client), T(test_every_version),  T(test_raw_tokens),
        T(test_out_of_order),   T(test_newer_api_versions), T(test_sizes),
        T(test_attempts_are_bounded), T(test_nothing_is_taken_behind_the_login), T(test_oauth),
    };
    int ret;

    hr_log_init("test", HR_LOG_ERROR, HR_LOG_TEXT);
    ret = cmocka_run_group_tests(tests, NULL, NULL);
    hr_users_free(users);
    return ret;
}
