#include "controlplane/auth/jwks.h"

#include <errno.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/crypto.h"

#define RSA_BITS_MIN  2048
#define RSA_BYTES_MAX 1024
#define KID_MAX       256

struct key {
    char *kid; /* NULL: none */
    bool algs[HR_JWT_ALG_MAX];
    EVP_PKEY *pkey;
};

struct hr_jwks {
    uint32_t n;
    struct key keys[HR_JWKS_KEYS_MAX];
};

static const char *text_of(const json_t *jwk, const char *member)
{
    const char *text = json_string_value(json_object_get(jwk, member));

    return text ? text : "";
}

static bool bytes_of(const json_t *jwk, const char *member, uint8_t *ret, size_t cap, size_t *ret_len)
{
    const json_t *value = json_object_get(jwk, member);

    return json_is_string(value) && hr_base64url_decode(json_string_value(value), json_string_length(value), ret, cap,
                                                        ret_len) == 0 && *ret_len > 0;
}

static EVP_PKEY *make(const char *type, OSSL_PARAM_BLD *build)
{
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;

    if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static EVP_PKEY *rsa_key(const json_t *jwk)
{
    uint8_t n[RSA_BYTES_MAX], e[8];
    size_t n_len, e_len;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BIGNUM *bn_n = NULL, *bn_e = NULL;
    EVP_PKEY *pkey = NULL;

    if (build && bytes_of(jwk, "n", n, sizeof(n), &n_len) && bytes_of(jwk, "e", e, sizeof(e), &e_len)) {
        bn_n = BN_bin2bn(n, (int)n_len, NULL);
        bn_e = BN_bin2bn(e, (int)e_len, NULL);
        if (bn_n && bn_e && BN_num_bits(bn_n) >= RSA_BITS_MIN && BN_is_odd(bn_n) && BN_is_odd(bn_e) &&
            !BN_is_one(bn_e) && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn_n) &&
            OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, bn_e))
            pkey = make("RSA", build);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(bn_n);
    BN_free(bn_e);
    return pkey;
}

static EVP_PKEY *p256_key(const json_t *jwk)
{
    uint8_t point[65] = {4}; /* uncompressed */
    size_t x_len, y_len;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY *pkey = NULL;

    /* RFC 7518 6.2.1.2: coordinates of full length. OpenSSL checks that the point is on the curve. */
    if (build && strcmp(text_of(jwk, "crv"), "P-256") == 0 && bytes_of(jwk, "x", point + 1, 32, &x_len) &&
        bytes_of(jwk, "y", point + 33, 32, &y_len) && x_len == 32 && y_len == 32 &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)))
        pkey = make("EC", build);
    OSSL_PARAM_BLD_free(build);
    return pkey;
}

/* False: a key that is of no use here, which is no error. */
static bool take_key(const json_t *jwk, struct key *key)
{
    const char *kty = text_of(jwk, "kty"), *alg = text_of(jwk, "alg"), *use = text_of(jwk, "use");
    const json_t *kid = json_object_get(jwk, "kid");
    bool any = false;

    if ((*use && strcmp(use, "sig") != 0) || (kid && (!json_is_string(kid) || json_string_length(kid) > KID_MAX)))
        return false;
    if (strcmp(kty, "RSA") == 0) {
        key->algs[HR_JWT_RS256] = !*alg || strcmp(alg, "RS256") == 0;
        key->algs[HR_JWT_PS256] = !*alg || strcmp(alg, "PS256") == 0;
    } else if (strcmp(kty, "EC") == 0) {
        key->algs[HR_JWT_ES256] = !*alg || strcmp(alg, "ES256") == 0;
    }
    for (int i = 0; i < HR_JWT_ALG_MAX; i++)
        any = any || key->algs[i];
    if (!any || !(key->pkey = key->algs[HR_JWT_ES256] ? p256_key(jwk) : rsa_key(jwk)))
        return false;
    key->kid = kid ? strdup(json_string_value(kid)) : NULL;
    return true;
}

int hr_jwks_parse(const char *text, size_t len, struct hr_jwks **ret_jwks, char why[HR_JWKS_WHY_MAX])
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *jwk;
    struct hr_jwks *jwks = NULL;
    size_t i;

    if (!root) {
        snprintf(why, HR_JWKS_WHY_MAX, "the key set is no JSON: line %d", error.line);
        return HR_E_INVALID;
    }
    if (!json_is_array(json_object_get(root, "keys"))) {
        snprintf(why, HR_JWKS_WHY_MAX, "the key set has no list \"keys\"");
        json_decref(root);
        return HR_E_INVALID;
    }
    jwks = calloc(1, sizeof(*jwks));
    json_array_foreach(json_object_get(root, "keys"), i, jwk)
    {
        if (jwks && jwks->n < HR_JWKS_KEYS_MAX) {
            jwks->keys[jwks->n] = (struct key){0};
            jwks->n += take_key(jwk, &jwks->keys[jwks->n]);
        }
    }
    json_decref(root);
    if (!jwks || jwks->n == 0) {
        snprintf(why, HR_JWKS_WHY_MAX, "the key set has no RSA key of 2048 bits or more and no P-256 key");
        free(jwks);
        return HR_E_INVALID;
    }
    *ret_jwks = jwks;
    return 0;
}

int hr_jwks_load(const char *path, struct hr_jwks **ret_jwks, char why[HR_JWKS_WHY_MAX])
{
    FILE *file = fopen(path, "re");
    char *text = file ? malloc(HR_JWKS_BYTES_MAX) : NULL;
    size_t len = text ? fread(text, 1, HR_JWKS_BYTES_MAX, file) : 0;
    int err = HR_E_INVALID;

    if (!file)
        snprintf(why, HR_JWKS_WHY_MAX, "cannot be opened: %s", strerror(errno));
    else if (len == 0 || len == HR_JWKS_BYTES_MAX)
        snprintf(why, HR_JWKS_WHY_MAX, "is empty, or too large");
    else
        err = hr_jwks_parse(text, len, ret_jwks, why);
    free(text);
    if (file)
        fclose(file);
    return err;
}

void hr_jwks_free(struct hr_jwks *jwks)
{
    for (uint32_t i = 0; jwks && i < jwks->n; i++) {
        free(jwks->keys[i].kid);
        EVP_PKEY_free(jwks->keys[i].pkey);
    }
    free(jwks);
}

uint32_t hr_jwks_count(const struct hr_jwks *jwks)
{
    return jwks->n;
}

void *hr_jwks_find(const struct hr_jwks *jwks, const char *kid, enum hr_jwt_alg alg)
{
    void *only = NULL;

    for (uint32_t i = 0; i < jwks->n; i++) {
        const struct key *key = &jwks->keys[i];

        if (!key->algs[alg])
            continue;
        if (kid && key->kid && strcmp(kid, key->kid) == 0)
            return key->pkey;
        if (!kid && only)
            return NULL; /* several: nothing says which */
        if (!kid)
            only = key->pkey;
    }
    return only;
}
