/* The ciphers over intel-ipsec-mb's direct calls. */
#include "dataplane/tls/aead.h"

#include <stdlib.h>
#include <string.h>

struct hr_aead {
    IMB_MGR *mgr; /* function pointers for this processor; its job queues are not used */
};

int hr_aead_create(struct hr_aead **ret_lib)
{
    struct hr_aead *lib = calloc(1, sizeof(*lib));
    if (!lib)
        return HR_E_NOMEM;
    lib->mgr = alloc_mb_mgr(0);
    if (!lib->mgr) {
        free(lib);
        return HR_E_NOMEM;
    }
    IMB_ARCH arch;
    init_mb_mgr_auto(lib->mgr, &arch);
    if (imb_get_errno(lib->mgr) != 0) {
        hr_aead_destroy(lib);
        return HR_E_UNSUPPORTED;
    }
    *ret_lib = lib;
    return 0;
}

void hr_aead_destroy(struct hr_aead *lib)
{
    if (!lib)
        return;
    free_mb_mgr(lib->mgr);
    free(lib);
}

int hr_aead_key_init(const struct hr_aead *lib, struct hr_aead_key *key)
{
    (void)lib;
    memset(key, 0, sizeof(*key));
    return 0;
}

void hr_aead_key_fini(struct hr_aead_key *key)
{
    hr_aead_key_wipe(key);
}

void hr_aead_key_set(const struct hr_aead *lib, struct hr_aead_key *key, uint8_t suite, const uint8_t *raw, bool seal)
{
    (void)seal; /* counter mode: the same key either way */
    key->suite = suite;
    switch (suite) {
    case HR_TLS_AES_128_GCM_SHA256:
        IMB_AES128_GCM_PRE(lib->mgr, raw, &key->gcm);
        break;
    case HR_TLS_AES_256_GCM_SHA384:
        IMB_AES256_GCM_PRE(lib->mgr, raw, &key->gcm);
        break;
    default:
        memcpy(key->chacha, raw, sizeof(key->chacha));
        break;
    }
}

void hr_aead_key_wipe(struct hr_aead_key *key)
{
    hr_wipe(key, sizeof(*key));
}

void hr_aead_begin(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                   const uint8_t iv[HR_AEAD_IV_LEN], const uint8_t *aad, uint32_t aad_len)
{
    if (key->suite == HR_TLS_AES_128_GCM_SHA256)
        IMB_AES128_GCM_INIT(lib->mgr, &key->gcm, &op->gcm, iv, aad, aad_len);
    else if (key->suite == HR_TLS_AES_256_GCM_SHA384)
        IMB_AES256_GCM_INIT(lib->mgr, &key->gcm, &op->gcm, iv, aad, aad_len);
    else
        IMB_CHACHA20_POLY1305_INIT(lib->mgr, key->chacha, &op->chacha, iv, aad, aad_len);
}

void hr_aead_seal(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len)
{
    if (key->suite == HR_TLS_AES_128_GCM_SHA256)
        IMB_AES128_GCM_ENC_UPDATE(lib->mgr, &key->gcm, &op->gcm, data, data, len);
    else if (key->suite == HR_TLS_AES_256_GCM_SHA384)
        IMB_AES256_GCM_ENC_UPDATE(lib->mgr, &key->gcm, &op->gcm, data, data, len);
    else
        IMB_CHACHA20_POLY1305_ENC_UPDATE(lib->mgr, key->chacha, &op->chacha, data, data, len);
}

void hr_aead_open(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op, uint8_t *data,
                  uint32_t len)
{
    if (key->suite == HR_TLS_AES_128_GCM_SHA256)
        IMB_AES128_GCM_DEC_UPDATE(lib->mgr, &key->gcm, &op->gcm, data, data, len);
    else if (key->suite == HR_TLS_AES_256_GCM_SHA384)
        IMB_AES256_GCM_DEC_UPDATE(lib->mgr, &key->gcm, &op->gcm, data, data, len);
    else
        IMB_CHACHA20_POLY1305_DEC_UPDATE(lib->mgr, key->chacha, &op->chacha, data, data, len);
}

void hr_aead_seal_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                      uint8_t tag[HR_AEAD_TAG_LEN])
{
    if (key->suite == HR_TLS_AES_128_GCM_SHA256)
        IMB_AES128_GCM_ENC_FINALIZE(lib->mgr, &key->gcm, &op->gcm, tag, HR_AEAD_TAG_LEN);
    else if (key->suite == HR_TLS_AES_256_GCM_SHA384)
        IMB_AES256_GCM_ENC_FINALIZE(lib->mgr, &key->gcm, &op->gcm, tag, HR_AEAD_TAG_LEN);
    else
        IMB_CHACHA20_POLY1305_ENC_FINALIZE(lib->mgr, &op->chacha, tag, HR_AEAD_TAG_LEN);
}

bool hr_aead_open_end(const struct hr_aead *lib, struct hr_aead_key *key, struct hr_aead_op *op,
                      const uint8_t tag[HR_AEAD_TAG_LEN])
{
    uint8_t own[HR_AEAD_TAG_LEN], differs = 0;

    if (key->suite == HR_TLS_AES_128_GCM_SHA256)
        IMB_AES128_GCM_DEC_FINALIZE(lib->mgr, &key->gcm, &op->gcm, own, HR_AEAD_TAG_LEN);
    else if (key->suite == HR_TLS_AES_256_GCM_SHA384)
        IMB_AES256_GCM_DEC_FINALIZE(lib->mgr, &key->gcm, &op->gcm, own, HR_AEAD_TAG_LEN);
    else
        IMB_CHACHA20_POLY1305_DEC_FINALIZE(lib->mgr, &op->chacha, own, HR_AEAD_TAG_LEN);
    for (uint32_t i = 0; i < HR_AEAD_TAG_LEN; i++)
        differs |= own[i] ^ tag[i];
    return differs == 0;
}

void hr_aead_hash(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *data, uint32_t len, uint8_t *ret_hash)
{
    if (hash_len == 32)
        IMB_SHA256(lib->mgr, data, len, ret_hash);
    else
        IMB_SHA384(lib->mgr, data, len, ret_hash);
}
