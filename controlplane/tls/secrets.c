#include "controlplane/tls/secrets.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

static bool derive(const char *name, const OSSL_PARAM *params, uint8_t *out, size_t out_len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, name, NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    bool ok = ctx && EVP_KDF_derive(ctx, out, out_len, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

bool hr_tls_expand_label(const EVP_MD *md, const uint8_t *secret, size_t secret_len, const char *label, uint8_t *out,
                         size_t out_len)
{
    uint8_t info[2 + 1 + 32 + 1];
    size_t n = strlen(label) + 6;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;

    if (n > 32 || out_len > 255)
        return false;
    info[0] = 0;
    info[1] = (uint8_t)out_len;
    info[2] = (uint8_t)n;
    memcpy(info + 3, "tls13 ", 6);
    memcpy(info + 9, label, n - 6);
    info[3 + n] = 0; /* no context */

    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, 4 + n),
        OSSL_PARAM_construct_end(),
    };

    return derive("HKDF", params, out, out_len);
}

bool hr_tls_key_block(const EVP_MD *md, const uint8_t *master, size_t master_len, const uint8_t server_random[32],
                      const uint8_t client_random[32], uint8_t *out, size_t out_len)
{
    uint8_t seed[13 + 64];

    memcpy(seed, "key expansion", 13);
    memcpy(seed + 13, server_random, 32);
    memcpy(seed + 45, client_random, 32);

    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)master, master_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed)),
        OSSL_PARAM_construct_end(),
    };

    return derive("TLS1-PRF", params, out, out_len);
}
