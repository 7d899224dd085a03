/* The ciphers over OpenSSL, where intel-ipsec-mb is not packaged. Every context is made in advance with its cipher,
 * so that setting a key or a nonce calls no heap. */
#define OPENSSL_SUPPRESS_DEPRECATED /* the digests that work without a heap are the old ones */
#include "dataplane/tls/aead.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

struct hr_aead {
    const EVP_CIPHER *cipher[HR_TLS_SUITE_MAX];
};

int hr_aead_create(struct hr_aead **ret_lib)
{
    struct hr_aead *lib = calloc(1, sizeof(*lib));
    if (!lib)
        return HR_E_NOMEM;
    lib->cipher[HR_TLS_AES_128_GCM_SHA256] = EVP_aes_128_gcm();
    lib->cipher[HR_TLS_AES_256_GCM_SHA384] = EVP_aes_256_gcm();
    lib->cipher[HR_TLS_CHACHA20_POLY1305_SHA256] = EVP_chacha20_poly1305();
    *ret_lib = lib;
    return 0;
}

void hr_aead_destroy(struct hr_aead *lib)
{
    free(lib);
}

int hr_aead_key_init(const struct hr_aead *lib, struct hr_aead_key *key)
{
    memset(key, 0, sizeof(*key));
    for (int i = HR_TLS_AES_128_GCM_SHA256; i < HR_TLS_SUITE_MAX; i++) {
        key->of_suite[i] = EVP_CIPHER_CTX_new();
        if (!key->of_suite[i] || EVP_CipherInit_ex(key->of_suite[i], lib->cipher[i], NULL, NULL, NULL, 1) != 1) {
            hr_aead_key_fini(key);
            return HR_E_NOMEM;
        }
    }
    return 0;
}

void hr_aead_key_fini(struct hr_aead_key *key)
{
    for (int i = HR_TLS_AES_128_GCM_SHA256; i < HR_TLS_SUITE_MAX; i++)
        EVP_CIPHER_CTX_free(key->of_suite[i]);
    memset(key, 0, sizeof(*key));
}

void hr_aead_key_set(const struct hr_aead *lib, struct hr_aead_key *key, uint8_t suite, const uint8_t *raw, bool seal)
{
    (void)lib;
    key->ctx = key->of_suite[suite];
    (void)EVP_CipherInit_ex(key->ctx, NULL, NULL, raw, NULL, seal);
}

void hr_aead_key_wipe(struct hr_aead_key *key)
{
    static const uint8_t zero[HR_TLS_KEY_MAX];
    if (key->ctx)
        (void)EVP_CipherInit_ex(key->ctx, NULL, NULL, zero, zero, -1);
}

void hr_aead_begin(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                   const uint8_t iv[HR_AEAD_IV_LEN], const uint8_t *aad, uint32_t aad_len)
{
    int n;
    (void)lib, (void)op;
    (void)EVP_CipherInit_ex(key->ctx, NULL, NULL, NULL, iv, -1);
    (void)EVP_CipherUpdate(key->ctx, NULL, &n, aad, (int)aad_len);
}

void hr_aead_seal(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len)
{
    int n;
    (void)lib, (void)op;
    (void)EVP_CipherUpdate(key->ctx, data, &n, data, (int)len);
}

void hr_aead_open(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len)
{
    hr_aead_seal(lib, key, op, data, len);
}

void hr_aead_seal_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                      uint8_t tag[HR_AEAD_TAG_LEN])
{
    uint8_t none[16];
    int n;
    (void)lib, (void)op;
    (void)EVP_CipherFinal_ex(key->ctx, none, &n);
    (void)EVP_CIPHER_CTX_ctrl(key->ctx, EVP_CTRL_AEAD_GET_TAG, HR_AEAD_TAG_LEN, tag);
}

bool hr_aead_open_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                      const uint8_t tag[HR_AEAD_TAG_LEN])
{
    uint8_t none[16];
    int n;
    (void)lib, (void)op;
    (void)EVP_CIPHER_CTX_ctrl(key->ctx, EVP_CTRL_AEAD_SET_TAG, HR_AEAD_TAG_LEN, (void *)(uintptr_t)tag);
    return EVP_CipherFinal_ex(key->ctx, none, &n) == 1;
}

void hr_aead_hash(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *data, uint32_t len, uint8_t *ret_hash)
{
    (void)lib;
    if (hash_len == 32) {
        SHA256_CTX c;
        SHA256_Init(&c);
        SHA256_Update(&c, data, len);
        SHA256_Final(ret_hash, &c);
    } else {
        SHA512_CTX c;
        SHA384_Init(&c);
        SHA384_Update(&c, data, len);
        SHA384_Final(ret_hash, &c);
    }
}
