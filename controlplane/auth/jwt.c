#include "controlplane/auth/jwt.h"

#include <math.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/crypto.h"

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_INVALID;
}

static int refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_REFUSED;
}

static const char *const alg_names[HR_JWT_ALG_MAX] = {[HR_JWT_ALG_NONE] = "none",
#define X(name) [HR_JWT_##name] = #name,
                                                      HR_JWT_ALGS(X)
#undef X
};

/* NULL: no base64url of a JSON object. */
static json_t *part(const char *text, size_t len)
{
    uint8_t *data = malloc(len + 1);
    json_t *object = NULL;
    json_error_t error;
    size_t n;

    if (data && hr_base64url_decode(text, len, data, len + 1, &n) == 0)
        object = json_loadb((const char *)data, n, JSON_REJECT_DUPLICATES, &error);
    if (data)
        hr_wipe(data, len + 1);
    free(data);
    if (object && !json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* MSK's tokens for OAUTHBEARER are signed URLs in base64url: only AWS can check them. */
static bool is_msk_token(const char *token, size_t len)
{
    static const char begin[] = "https://kafka.";
    uint8_t head[15];
    size_t n;

    return len >= 20 && hr_base64url_decode(token, 20, head, sizeof(head), &n) == 0 &&
           memcmp(head, begin, sizeof(begin) - 1) == 0;
}

static int take_header(struct hr_jwt *jwt, const char **ret_why)
{
    const char *alg = json_string_value(json_object_get(jwt->header, "alg"));
    const json_t *kid = json_object_get(jwt->header, "kid");

    if (!alg)
        return bad(ret_why, "the token's header names no algorithm");
    for (jwt->alg = HR_JWT_ALG_NONE + 1; jwt->alg < HR_JWT_ALG_MAX; jwt->alg++) {
        if (strcmp(alg, alg_names[jwt->alg]) == 0)
            break;
    }
    if (jwt->alg == HR_JWT_ALG_MAX)
        return bad(ret_why, "the token's algorithm is none of RS256, PS256 and ES256");
    if (json_object_get(jwt->header, "crit"))
        return bad(ret_why, "the token's header demands an extension");
    if (kid && !json_is_string(kid))
        return bad(ret_why, "the token's key id is no text");
    jwt->kid = json_string_value(kid);
    return 0;
}

int hr_jwt_parse(const char *token, size_t len, struct hr_jwt *ret_jwt, const char **ret_why)
{
    const char *dot, *dot2;
    size_t left;
    int err;

    memset(ret_jwt, 0, sizeof(*ret_jwt));
    if (len > HR_JWT_MAX)
        return bad(ret_why, "the token is too long");
    if (is_msk_token(token, len))
        return bad(ret_why, "this is a token of MSK IAM, which is no JWT and which only AWS can check: use passthrough");
    dot = len > 0 ? memchr(token, '.', len) : NULL;
    left = dot ? len - (size_t)(dot + 1 - token) : 0;
    dot2 = left ? memchr(dot + 1, '.', left) : NULL;
    if (!dot2 || memchr(dot2 + 1, '.', len - (size_t)(dot2 + 1 - token)))
        return bad(ret_why, "the token is no JWT (three parts with dots between)");
    ret_jwt->signed_text = token;
    ret_jwt->signed_len = (size_t)(dot2 - token);
    if (hr_base64url_decode(dot2 + 1, len - ret_jwt->signed_len - 1, ret_jwt->signature, sizeof(ret_jwt->signature),
                            &ret_jwt->signature_len) != 0)
        return bad(ret_why, "the token's signature is no base64url, or too long");
    ret_jwt->header = part(token, (size_t)(dot - token));
    ret_jwt->claims = part(dot + 1, (size_t)(dot2 - dot - 1));
    if (!ret_jwt->header || !ret_jwt->claims)
        err = bad(ret_why, "the token's header or claims are no JSON object in base64url");
    else
        err = take_header(ret_jwt, ret_why);
    if (err)
        hr_jwt_end(ret_jwt);
    return err;
}

void hr_jwt_end(struct hr_jwt *jwt)
{
    json_decref(jwt->header);
    json_decref(jwt->claims);
    memset(jwt, 0, sizeof(*jwt));
}

/* RFC 7518 3.4: r and s, 32 bytes each; OpenSSL wants DER. The length, or 0. */
static size_t der_of(const uint8_t raw[64], uint8_t *ret_der, size_t cap)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, 32, NULL), *s = BN_bin2bn(raw + 32, 32, NULL);
    uint8_t *at = ret_der;
    int n = 0;

    if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
        n = i2d_ECDSA_SIG(sig, NULL);
        n = n > 0 && (size_t)n <= cap ? i2d_ECDSA_SIG(sig, &at) : 0;
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

int hr_jwt_verify(const struct hr_jwt *jwt, void *key)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx;
    const uint8_t *signature = jwt->signature;
    size_t len = jwt->signature_len;
    uint8_t der[80];
    bool good = false;

    if (!ctx)
        return HR_E_NOMEM;
    if (EVP_PKEY_is_a(key, jwt->alg == HR_JWT_ES256 ? "EC" : "RSA") != 1 ||
        EVP_DigestVerifyInit(ctx, &key_ctx, EVP_sha256(), NULL, key) != 1)
        goto out;
    if (jwt->alg == HR_JWT_ES256) {
        if (len != 64 || (len = der_of(jwt->signature, der, sizeof(der))) == 0)
            goto out;
        signature = der;
    }
    if (jwt->alg == HR_JWT_PS256 && (EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING) != 1 ||
                                     EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_DIGEST) != 1))
        goto out;
    good = EVP_DigestVerify(ctx, signature, len, (const uint8_t *)jwt->signed_text, jwt->signed_len) == 1;
out:
    EVP_MD_CTX_free(ctx);
    return good ? 0 : HR_E_REFUSED;
}

/* "a b c", or ["a", "b"]: does it hold the word? */
static bool holds(const json_t *claim, const char *word)
{
    const json_t *item;
    size_t i, n = strlen(word);

    if (json_is_array(claim)) {
        json_array_foreach(claim, i, item)
        {
            if (json_is_string(item) && strcmp(json_string_value(item), word) == 0)
                return true;
        }
        return false;
    }
    for (const char *at = json_string_value(claim); at && *at;) {
        size_t len = strcspn(at, " ");

        if (len == n && memcmp(at, word, n) == 0)
            return true;
        at += len + (at[len] != '\0');
    }
    return false;
}

/* A NumericDate may have a fraction, and may be absurd. */
static bool date_of(const json_t *claims, const char *name, double *ret)
{
    const json_t *value = json_object_get(claims, name);

    *ret = json_number_value(value);
    return json_is_number(value) && isfinite(*ret) && *ret >= 0 && *ret < 1e12;
}

static int check_dates(const struct hr_jwt *jwt, const struct hr_jwt_rules *rules, int64_t now_s, double *ret_exp,
                       const char **ret_why)
{
    double nbf;

    if (!date_of(jwt->claims, "exp", ret_exp))
        return refuse(ret_why, "the token does not say when it expires");
    if ((double)(now_s - rules->skew_s) >= *ret_exp)
        return refuse(ret_why, "the token has expired, or clocks differ");
    if (json_object_get(jwt->claims, "nbf") &&
        (!date_of(jwt->claims, "nbf", &nbf) || (double)(now_s + rules->skew_s) < nbf))
        return refuse(ret_why, "the token is not valid yet, or clocks differ");
    return 0;
}

int hr_jwt_check(const struct hr_jwt *jwt, const struct hr_jwt_rules *rules, int64_t now_s,
                 struct hr_jwt_identity *ret_identity, const char **ret_why)
{
    const json_t *claims = jwt->claims, *aud = json_object_get(claims, "aud"), *scope = json_object_get(claims, "scope");
    const json_t *who = json_object_get(claims, rules->principal_claim ? rules->principal_claim : "sub");
    const char *issuer = json_string_value(json_object_get(claims, "iss"));
    double exp;
    int err;

    if ((err = check_dates(jwt, rules, now_s, &exp, ret_why)))
        return err;
    if (rules->issuer && (!issuer || strcmp(issuer, rules->issuer) != 0))
        return refuse(ret_why, "the token is of another issuer");
    if (rules->audience && !(json_is_string(aud) ? strcmp(json_string_value(aud), rules->audience) == 0
                                                 : json_is_array(aud) && holds(aud, rules->audience)))
        return refuse(ret_why, "the token is for another audience");
    for (int i = 0; i < HR_JWT_SCOPES && rules->scopes[i]; i++) {
        if (!holds(scope ? scope : json_object_get(claims, "scp"), rules->scopes[i]))
            return refuse(ret_why, "the token lacks a scope");
    }
    if (!json_is_string(who) || json_string_length(who) == 0 || json_string_length(who) >= HR_PRINCIPAL_MAX)
        return refuse(ret_why, "the token does not say whose it is");
    for (const char *c = json_string_value(who); *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return refuse(ret_why, "the token's subject holds control characters");
    }
    memcpy(ret_identity->principal, json_string_value(who), json_string_length(who) + 1);
    ret_identity->expires_s = (int64_t)exp;
    return 0;
}
