#include "dataplane/tls/hkdf.h"

#include <string.h>

#define BLOCK_MAX 128 /* of SHA-384 */
#define MESSAGE_MAX 32

/* HMAC (RFC 2104) with a key no longer than a block over a short message. */
static void hmac(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *key, const uint8_t *message, uint32_t len,
                 uint8_t *ret_mac)
{
    uint32_t block = hash_len == 32 ? 64 : BLOCK_MAX;
    uint8_t buf[BLOCK_MAX + HR_TLS_SECRET_MAX + MESSAGE_MAX];

    memset(buf, 0x36, block);
    for (uint32_t i = 0; i < hash_len; i++)
        buf[i] ^= key[i];
    memcpy(buf + block, message, len);
    uint8_t inner[HR_TLS_SECRET_MAX];
    hr_aead_hash(lib, hash_len, buf, block + len, inner);
    memset(buf, 0x5c, block);
    for (uint32_t i = 0; i < hash_len; i++)
        buf[i] ^= key[i];
    memcpy(buf + block, inner, hash_len);
    hr_aead_hash(lib, hash_len, buf, block + hash_len, ret_mac);
    hr_wipe(buf, sizeof(buf));
    hr_wipe(inner, sizeof(inner));
}

void hr_hkdf_expand_label(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *secret, const char *label,
                          uint8_t *out, uint32_t out_len)
{
    /* struct HkdfLabel, then the counter of HKDF-Expand's first block. */
    uint8_t message[MESSAGE_MAX], mac[HR_TLS_SECRET_MAX];
    uint32_t n = 0, label_len = (uint32_t)strlen(label);

    message[n++] = (uint8_t)(out_len >> 8);
    message[n++] = (uint8_t)out_len;
    message[n++] = (uint8_t)(6 + label_len);
    memcpy(message + n, "tls13 ", 6);
    n += 6;
    memcpy(message + n, label, label_len);
    n += label_len;
    message[n++] = 0; /* no context */
    message[n++] = 1;
    hmac(lib, hash_len, secret, message, n, mac);
    memcpy(out, mac, out_len);
    hr_wipe(mac, sizeof(mac));
}
