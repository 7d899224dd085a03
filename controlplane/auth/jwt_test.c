/* Known answers of RFC 7515 (A.2: RS256, A.3: ES256), keys made on the spot for PS256 and for everything that must be
 * refused, framing, and the source of keys against a mock of an issuer over HTTP. */
#include "controlplane/auth/jwt.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
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
#include "controlplane/auth/oauth.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define RFC_CLAIMS "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

static const char es256_set[] =
    "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a3\","
    "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
static const char es256_token[] =
    "eyJhbGciOiJFUzI1NiJ9." RFC_CLAIMS
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
static const char rs256_set[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"a2\",\"alg\":\"RS256\",\"use\":\"sig\",\"e\":\"AQAB\",\"n\":\""
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
    "pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapH"
    "g665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4F"
    "RWyuXpoQ\"}]}";
static const char rs256_token[] =
    "eyJhbGciOiJSUzI1NiJ9." RFC_CLAIMS
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t"
    "1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jz"
    "DwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe"
    "77Rw";

static struct hr_jwks *set_of(const char *text)
{
    char why[HR_JWKS_WHY_MAX] = "";
    struct hr_jwks *jwks = NULL;

    if (hr_jwks_parse(text, strlen(text), &jwks, why) != 0)
        fail_msg("%s", why);
    return jwks;
}

static void check_vector(const char *set, const char *token, enum hr_jwt_alg alg)
{
    struct hr_jwks *jwks = set_of(set);
    const char *why = "";
    struct hr_jwt jwt;
    char *changed = strdup(token);
    void *key;

    assert_int_equal(hr_jwt_parse(token, strlen(token), &jwt, &why), 0);
    assert_int_equal(jwt.alg, alg);
    key = hr_jwks_find(jwks, NULL, alg);
    assert_non_null(key);
    assert_int_equal(hr_jwt_verify(&jwt, key), 0);
    assert_string_equal(json_string_value(json_object_get(jwt.claims, "iss")), "joe");
    jwt.signature[5] ^= 1;
    assert_int_equal(hr_jwt_verify(&jwt, key), HR_E_REFUSED);
    jwt.signature[5] ^= 1;
    jwt.signature_len--;
    assert_int_equal(hr_jwt_verify(&jwt, key), HR_E_REFUSED);
    hr_jwt_end(&jwt);
    changed[60]++; /* within the claims */
    if (hr_jwt_parse(changed, strlen(changed), &jwt, &why) == 0) {
        assert_int_equal(hr_jwt_verify(&jwt, key), HR_E_REFUSED);
        hr_jwt_end(&jwt);
    }
    free(changed);
    hr_jwks_free(jwks);
}

static void test_rfc7515(void **state)
{
    struct hr_jwks *rsa = set_of(rs256_set);
    const char *why = "";
    struct hr_jwt jwt;

    check_vector(es256_set, es256_token, HR_JWT_ES256);
    check_vector(rs256_set, rs256_token, HR_JWT_RS256);
    /* A key of the other kind is never used, and one that says RS256 not for PS256. */
    assert_null(hr_jwks_find(rsa, "a2", HR_JWT_ES256));
    assert_null(hr_jwks_find(rsa, "a2", HR_JWT_PS256));
    assert_null(hr_jwks_find(rsa, "a1", HR_JWT_RS256));
    assert_int_equal(hr_jwt_parse(es256_token, strlen(es256_token), &jwt, &why), 0);
    assert_int_equal(hr_jwt_verify(&jwt, hr_jwks_find(rsa, "a2", HR_JWT_RS256)), HR_E_REFUSED);
    hr_jwt_end(&jwt);
    hr_jwks_free(rsa);
}

/* -- tokens made here -------------------------------------------------------------------------------------- */

static EVP_PKEY *rsa, *ec;

static char *make(const char *header, const char *claims, EVP_PKEY *key, bool pss)
{
    static char token[8192];
    char a[1024], b[4096], c[2048];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx;
    uint8_t sig[512];
    size_t n = sizeof(sig);

    assert_int_equal(hr_base64url_encode(header, strlen(header), a, sizeof(a)), 0);
    assert_int_equal(hr_base64url_encode(claims, strlen(claims), b, sizeof(b)), 0);
    snprintf(token, sizeof(token), "%s.%s", a, b);
    assert_int_equal(EVP_DigestSignInit(ctx, &key_ctx, EVP_sha256(), NULL, key), 1);
    if (pss) {
        EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_DIGEST);
    }
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (uint8_t *)token, strlen(token)), 1);
    EVP_MD_CTX_free(ctx);
    assert_int_equal(hr_base64url_encode(sig, n, c, sizeof(c)), 0);
    snprintf(token, sizeof(token), "%s.%s.%s", a, b, c);
    return token;
}

static void rsa_jwk(char *out, size_t cap, const char *kid)
{
    BIGNUM *n = NULL;
    uint8_t bytes[512];
    char text[1024];

    assert_int_equal(EVP_PKEY_get_bn_param(rsa, OSSL_PKEY_PARAM_RSA_N, &n), 1);
    assert_int_equal(hr_base64url_encode(bytes, (size_t)BN_bn2bin(n, bytes), text, sizeof(text)), 0);
    snprintf(out, cap, "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"%s\",\"e\":\"AQAB\",\"n\":\"%s\"}]}", kid, text);
    BN_free(n);
}

static void test_ps256_and_confusion(void **state)
{
    const char *claims = "{\"sub\":\"alice\",\"exp\":2000}", *why = "";
    char jwk[2048];
    struct hr_jwks *jwks;
    struct hr_jwt jwt;
    char *token;

    rsa_jwk(jwk, sizeof(jwk), "k");
    jwks = set_of(jwk);
    token = make("{\"alg\":\"PS256\",\"kid\":\"k\"}", claims, rsa, true);
    assert_int_equal(hr_jwt_parse(token, strlen(token), &jwt, &why), 0);
    assert_int_equal(hr_jwt_verify(&jwt, hr_jwks_find(jwks, jwt.kid, jwt.alg)), 0);
    hr_jwt_end(&jwt);
    /* The padding is the algorithm's, not the signature's. */
    token = make("{\"alg\":\"RS256\",\"kid\":\"k\"}", claims, rsa, true);
    assert_int_equal(hr_jwt_parse(token, strlen(token), &jwt, &why), 0);
    assert_int_equal(hr_jwt_verify(&jwt, hr_jwks_find(jwks, jwt.kid, jwt.alg)), HR_E_REFUSED);
    hr_jwt_end(&jwt);
    hr_jwks_free(jwks);
}

static void test_refused_headers(void **state)
{
    static const struct {
        const char *header, *why;
    } table[] = {
        {"{\"alg\":\"none\"}", "the token's algorithm is none of RS256, PS256 and ES256"},
        {"{\"alg\":\"HS256\"}", "the token's algorithm is none of RS256, PS256 and ES256"},
        {"{\"alg\":\"RS512\"}", "the token's algorithm is none of RS256, PS256 and ES256"},
        {"{\"alg\":7}", "the token's header names no algorithm"},
        {"{}", "the token's header names no algorithm"},
        {"{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"b64\":false}", "the token's header demands an extension"},
        {"{\"alg\":\"RS256\",\"kid\":1}", "the token's key id is no text"},
        {"[]", "the token's header or claims are no JSON object in base64url"},
        {"{\"alg\":\"RS256\",\"alg\":\"none\"}", "the token's header or claims are no JSON object in base64url"},
    };
    struct hr_jwt jwt;
    const char *why;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char *token = make(table[i].header, "{}", rsa, false);

        why = "";
        assert_int_equal(hr_jwt_parse(token, strlen(token), &jwt, &why), HR_E_INVALID);
        assert_string_equal(why, table[i].why);
    }
    assert_int_equal(hr_jwt_parse("a.b", 3, &jwt, &why), HR_E_INVALID);
    assert_int_equal(hr_jwt_parse("a.b.c.d", 7, &jwt, &why), HR_E_INVALID);
    assert_int_equal(hr_jwt_parse("", 0, &jwt, &why), HR_E_INVALID);
    assert_int_equal(hr_jwt_parse("aHR0cHM6Ly9rYWZrYS51cy1lYXN0LTEuYW1hem9uYXdzLmNvbS8", 51, &jwt, &why), HR_E_INVALID);
    assert_string_equal(why,
                        "this is a token of MSK IAM, which is no JWT and which only AWS can check: use passthrough");
}

static int claims(const char *text, const struct hr_jwt_rules *rules, int64_t now, const char **why,
                  struct hr_jwt_identity *who)
{
    char *token = make("{\"alg\":\"ES256\"}", text, ec, false);
    struct hr_jwt jwt;
    int err;

    *why = "";
    assert_int_equal(hr_jwt_parse(token, strlen(token), &jwt, why), 0);
    err = hr_jwt_check(&jwt, rules, now, who, why);
    hr_jwt_end(&jwt);
    return err;
}

static void test_claims(void **state)
{
    struct hr_jwt_rules all = {.issuer = "https://i", .audience = "kafka", .scopes = {"read", "write"}, .skew_s = 30};
    struct hr_jwt_rules none = {.skew_s = 30};
    static const struct {
        const char *text, *why;
    } table[] = {
        {"{\"sub\":\"a\"}", "the token does not say when it expires"},
        {"{\"sub\":\"a\",\"exp\":\"2000\"}", "the token does not say when it expires"},
        {"{\"sub\":\"a\",\"exp\":970}", "the token has expired, or clocks differ"},
        {"{\"sub\":\"a\",\"exp\":2000,\"nbf\":1031}", "the token is not valid yet, or clocks differ"},
        {"{\"sub\":\"a\",\"exp\":2000,\"nbf\":\"x\"}", "the token is not valid yet, or clocks differ"},
        {"{\"exp\":2000}", "the token does not say whose it is"},
        {"{\"sub\":\"\",\"exp\":2000}", "the token does not say whose it is"},
        {"{\"sub\":7,\"exp\":2000}", "the token does not say whose it is"},
        {"{\"sub\":\"a\\nb\",\"exp\":2000}", "the token's subject holds control characters"},
    };
    struct hr_jwt_identity who;
    const char *why;

    assert_int_equal(claims("{\"sub\":\"a\",\"exp\":971}", &none, 1000, &why, &who), 0);
    assert_int_equal(claims("{\"sub\":\"a\",\"exp\":2000.5,\"nbf\":1030}", &none, 1000, &why, &who), 0);
    assert_string_equal(who.principal, "a");
    assert_int_equal(who.expires_s, 2000);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(claims(table[i].text, &none, 1000, &why, &who), HR_E_REFUSED);
        assert_string_equal(why, table[i].why);
    }
#define IDENTITY "\"sub\":\"a\",\"exp\":2000,"
    assert_int_equal(claims("{" IDENTITY "\"iss\":\"https://i\",\"aud\":\"kafka\",\"scope\":\"x write read\"}", &all, 1000,
                            &why, &who), 0);
    assert_int_equal(claims("{" IDENTITY "\"iss\":\"https://i\",\"aud\":[\"x\",\"kafka\"],\"scp\":[\"read\",\"write\"]}",
                            &all, 1000, &why, &who), 0);
    assert_int_equal(claims("{" IDENTITY "\"iss\":\"https://j\",\"aud\":\"kafka\",\"scope\":\"write read\"}", &all, 1000,
                            &why, &who), HR_E_REFUSED);
    assert_string_equal(why, "the token is of another issuer");
    assert_int_equal(claims("{" IDENTITY "\"iss\":\"https://i\",\"aud\":\"a kafka\",\"scope\":\"write read\"}", &all, 1000,
                            &why, &who), HR_E_REFUSED);
    assert_string_equal(why, "the token is for another audience");
    assert_int_equal(claims("{" IDENTITY "\"iss\":\"https://i\",\"aud\":\"kafka\",\"scope\":\"writer read\"}", &all, 1000,
                            &why, &who), HR_E_REFUSED);
    assert_string_equal(why, "the token lacks a scope");
}

static void test_sets(void **state)
{
    static const char *const bad[] = {
        "", "[]", "{}", "{\"keys\":[]}", "{\"keys\":{}}", "{\"keys\":[7,null,{}]}",
        /* symmetric, too short, another curve, a point that is not on the curve, for encryption */
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTY\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a4\"}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"enc\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
        "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
    };
    char why[HR_JWKS_WHY_MAX];
    struct hr_jwks *jwks;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hr_jwks_parse(bad[i], strlen(bad[i]), &jwks, why), HR_E_INVALID);
}

static void test_framing(void **state)
{
    static const struct {
        const char *msg, *why;
    } table[] = {
        {"n,,\x01" "auth=Bearer abc\x01", "the message does not end in ^A^A"},
        {"n,,auth=Bearer abc\x01\x01", "the message is not framed by ^A"},
        {"y,,\x01" "auth=Bearer abc\x01\x01", "the message does not begin with n,,"},
        {"n,,\x01" "auth=Basic abc\x01\x01", "the message is not of scheme Bearer"},
        {"n,,\x01" "auth=Bearer a b\x01\x01", "the token holds characters that none may have"},
        {"n,,\x01" "auth=Bearer =\x01\x01", "the token holds characters that none may have"},
        {"n,,\x01" "auth=Bearer a\x01" "auth=Bearer b\x01\x01", "the message has two tokens"},
        {"n,,\x01" "k1=v\x01\x01", "a key may hold letters alone"},
        {"n,,\x01" "kv\x01\x01", "the message holds something that is not key=value"},
        {"n,,\x01\x01", "the message has no token"},
        {"n,,\x01", "the message is not framed by ^A"},
        {"n,a=,\x01" "auth=Bearer a\x01\x01", "the authorization id is malformed"},
        {"", "the message does not begin with n,,"},
    };
    struct hr_oauth_message message;
    const char *why = "";
    char out[64];
    size_t n;

    assert_int_equal(hr_oauth_format("aB-._~+/1==", 11, out, sizeof(out), &n), 0);
    assert_int_equal(hr_oauth_parse((uint8_t *)out, n, &message, &why), 0);
    assert_int_equal(message.token_len, 11);
    assert_memory_equal(message.token, "aB-._~+/1==", 11);
    assert_string_equal(message.authzid, "");
    assert_int_equal(hr_oauth_format("a\x01", 2, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_oauth_format("aaa", 3, out, 18, &n), HR_E_TOO_LARGE);
    assert_int_equal(hr_oauth_parse((const uint8_t *)"n,a=bob,\x01host=h\x01" "auth=bearer  x\x01port=9092\x01\x01", 42,
                                    &message, &why), 0);
    assert_string_equal(message.authzid, "bob");
    assert_int_equal(message.token_len, 1);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(hr_oauth_parse((const uint8_t *)table[i].msg, strlen(table[i].msg), &message, &why),
                         HR_E_INVALID);
        assert_string_equal(why, table[i].why);
    }
}

/* -- the source of keys, against a mock of an issuer -------------------------------------------------------- */

static char served[4096];
static unsigned served_status;
static int n_asked;

static void answer(const struct mock_request *request, struct mock_reply *reply)
{
    n_asked++;
    reply->status = strcmp(request->path, "/keys") == 0 ? served_status : 404;
    snprintf(reply->body, sizeof(reply->body), "%s", served);
}

static int done_err, n_done;

static void on_done(struct hr_oauth_check *check, int err)
{
    (void)check;
    n_done++;
    done_err = err;
}

/* The verdict, whether at once or later. */
static int verdict(struct hr_loop *loop, struct hr_jwks_source *source, const char *token, const char **why)
{
    static const struct hr_jwt_rules rules = {.issuer = "i", .skew_s = 1};
    struct hr_oauth_check check;
    uint64_t give_up = hr_now_us() + 20 * HR_US_PER_S;
    int err;

    n_done = 0;
    err = hr_oauth_check_start(&check, source, &rules, 1000, token, strlen(token), on_done);
    if (err == HR_E_AGAIN) {
        while (n_done == 0 && hr_now_us() < give_up)
            hr_loop_turn(loop, 100000);
        assert_int_equal(n_done, 1);
        err = done_err;
    }
    *why = check.why;
    if (err == 0)
        assert_string_equal(check.identity.principal, "alice");
    hr_oauth_check_end(&check);
    return err;
}

static void test_source(void **state)
{
    char url[64], token[4096];
    struct hr_jwks_config config = {
        .url = url, .refresh_us = 3600 * HR_US_PER_S, .refetch_us = 3600 * HR_US_PER_S, .keep_us = 1, .timeout_ms = 10000};
    struct hr_jwks_source *source;
    struct hr_jwks_info info;
    struct hr_http *http;
    struct hr_loop *loop;
    const char *why;

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/keys", mock_http_start(answer));
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    rsa_jwk(served, sizeof(served), "k1");
    served_status = 200;
    snprintf(token, sizeof(token), "%s",
             make("{\"alg\":\"RS256\",\"kid\":\"k1\"}", "{\"sub\":\"alice\",\"iss\":\"i\",\"exp\":2000}", rsa, false));
    assert_int_equal(hr_jwks_source_create(loop, http, &config, &source), 0);
    assert_int_equal(verdict(loop, source, token, &why), 0); /* waited for the first fetch */
    assert_int_equal(verdict(loop, source, token, &why), 0);
    assert_int_equal(n_asked, 1); /* kept */
    /* Made-up keys do not reach the issuer within refetch_us. */
    assert_int_equal(verdict(loop, source, make("{\"alg\":\"RS256\",\"kid\":\"k2\"}", "{}", rsa, false), &why),
                     HR_E_REFUSED);
    assert_string_equal(why, "the issuer has no such key");
    assert_int_equal(n_asked, 1);
    assert_int_equal(verdict(loop, source, make("{\"alg\":\"RS256\",\"kid\":\"k1\"}", "{}", ec, false), &why),
                     HR_E_REFUSED);
    assert_string_equal(why, "the token's signature is wrong");
    hr_jwks_source_destroy(source);

    /* The issuer rotates: an unknown key is looked for once the time has passed. */
    config.refetch_us = 0;
    assert_int_equal(hr_jwks_source_create(loop, http, &config, &source), 0);
    assert_int_equal(verdict(loop, source, token, &why), 0);
    rsa_jwk(served, sizeof(served), "k2");
    snprintf(token, sizeof(token), "%s",
             make("{\"alg\":\"RS256\",\"kid\":\"k2\"}", "{\"sub\":\"alice\",\"iss\":\"i\",\"exp\":2000}", rsa, false));
    assert_int_equal(verdict(loop, source, token, &why), 0);
    assert_int_equal(n_asked, 3);
    hr_jwks_source_destroy(source);

    /* An issuer that answers nonsense. */
    config.refetch_us = 3600 * HR_US_PER_S;
    served_status = 500;
    assert_int_equal(hr_jwks_source_create(loop, http, &config, &source), 0);
    assert_int_equal(verdict(loop, source, token, &why), HR_E_REFUSED);
    assert_string_equal(why, "the key set cannot be fetched: HTTP status 500");
    hr_jwks_source_get_info(source, &info);
    assert_int_equal(info.failures, 1);
    assert_int_equal(info.keys, 0);
    hr_jwks_source_destroy(source);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
}

/* Answers that are too large, and a port where nobody listens. */
static struct hr_http_reply last;
static char last_why[256];

static void on_reply(void *arg, const struct hr_http_reply *reply)
{
    (void)arg;
    last = *reply;
    snprintf(last_why, sizeof(last_why), "%s", reply->why);
    n_done++;
}

static void ask(struct hr_loop *loop, struct hr_http *http, const struct hr_http_request *request)
{
    struct hr_http_call *call;

    n_done = 0;
    assert_int_equal(hr_http_send(http, request, on_reply, NULL, &call), 0);
    assert_int_equal(n_done, 0);
    while (n_done == 0)
        hr_loop_turn(loop, 100000);
}

static void test_http_bounds(void **state)
{
    char url[64];
    uint16_t port = mock_http_start(answer);
    struct hr_http *http;
    struct hr_http_call *call;
    struct hr_loop *loop;

    snprintf(url, sizeof(url), "http://127.0.0.1:%u/keys", port);
    memset(served, 'x', 2000);
    served[2000] = '\0';
    served_status = 200;
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    ask(loop, http, &(struct hr_http_request){.url = url, .timeout_ms = 10000, .max_bytes = 2000});
    assert_int_equal(last.err, 0);
    assert_int_equal(last.len, 2000);
    assert_true(last.date_s > 1700000000);
    ask(loop, http, &(struct hr_http_request){.url = url, .timeout_ms = 10000, .max_bytes = 1999});
    assert_int_equal(last.err, HR_E_TOO_LARGE);
    ask(loop, http, &(struct hr_http_request){.url = "file:///etc/passwd", .timeout_ms = 10000, .max_bytes = 1999});
    assert_int_equal(last.err, HR_E_INVALID);
    /* Given up without a callback, in both ways. */
    n_done = 0;
    assert_int_equal(hr_http_send(http, &(struct hr_http_request){.url = url, .timeout_ms = 10000, .max_bytes = 1999},
                                  on_reply, NULL, &call), 0);
    hr_http_cancel(call);
    assert_int_equal(hr_http_send(http, &(struct hr_http_request){.url = url, .timeout_ms = 10000, .max_bytes = 1999},
                                  on_reply, NULL, &call), 0);
    hr_loop_turn(loop, 0);
    mock_http_stop();
    hr_http_destroy(http);
    assert_int_equal(n_done, 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    ask(loop, http, &(struct hr_http_request){.url = url, .timeout_ms = 10000, .max_bytes = 1999});
    assert_int_equal(last.err, HR_E_REFUSED);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7515),    cmocka_unit_test(test_ps256_and_confusion),
        cmocka_unit_test(test_refused_headers), cmocka_unit_test(test_claims),
        cmocka_unit_test(test_sets),       cmocka_unit_test(test_framing),
        cmocka_unit_test(test_source),     cmocka_unit_test(test_http_bounds),
    };
    int ret;

    hr_log_set_level(HR_LOG_NONE);
    rsa = EVP_RSA_gen(2048);
    ec = EVP_EC_gen("P-256");
    ret = cmocka_run_group_tests(tests, NULL, NULL);
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    return ret;
}
