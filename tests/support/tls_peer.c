#include "tests/support/tls_peer.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "tls_peer: OpenSSL says no\n");
        abort();
    }
}

void tp_expand_label(uint8_t suite, const uint8_t *secret, const char *label, uint8_t *out, uint32_t len)
{
    const EVP_MD *md = hr_tls_hash_len(suite) == 48 ? EVP_sha384() : EVP_sha256();
    uint8_t info[64], mac[64];
    unsigned mac_len;
    int n = snprintf((char *)info, sizeof(info), "%c%c%ctls13 %s", 0, (int)len, (int)(6 + strlen(label)), label);
    info[n++] = 0;
    info[n++] = 1;
    must(HMAC(md, secret, (int)hr_tls_hash_len(suite), info, (size_t)n, mac, &mac_len) != NULL);
    memcpy(out, mac, len);
}

static void derive(struct tp *tp)
{
    tp_expand_label(tp->suite, tp->secret, "key", tp->key, hr_tls_key_len(tp->suite));
    tp_expand_label(tp->suite, tp->secret, "iv", tp->iv, 12);
}

void tp_init(struct tp *tp, uint8_t version, uint8_t suite, const struct hr_tls_direction *d)
{
    memset(tp, 0, sizeof(*tp));
    tp->version = version;
    tp->suite = suite;
    tp->seq = d->seq;
    tp->explicit_nonce = d->explicit_nonce;
    if (version == HR_TLS_1_3) {
        memcpy(tp->secret, d->traffic_secret, sizeof(tp->secret));
        derive(tp);
    } else {
        memcpy(tp->key, d->key, sizeof(tp->key));
        memcpy(tp->iv, d->fixed_iv, 4);
    }
}

void tp_update(struct tp *tp)
{
    uint8_t next[48];
    tp_expand_label(tp->suite, tp->secret, "traffic upd", next, hr_tls_hash_len(tp->suite));
    memcpy(tp->secret, next, hr_tls_hash_len(tp->suite));
    tp->seq = 0;
    derive(tp);
}

static EVP_CIPHER_CTX *start(struct tp *tp, bool seal, const uint8_t *header, const uint8_t *nonce, uint32_t content)
{
    const EVP_CIPHER *cipher = tp->suite == HR_TLS_AES_128_GCM_SHA256   ? EVP_aes_128_gcm()
                               : tp->suite == HR_TLS_AES_256_GCM_SHA384 ? EVP_aes_256_gcm()
                                                                        : EVP_chacha20_poly1305();
    uint8_t iv[12], aad[13];
    int n;
    memcpy(iv, tp->iv, 12);
    if (tp->version == HR_TLS_1_2)
        memcpy(iv + 4, nonce, 8);
    for (int i = 0; i < 8; i++) {
        aad[i] = (uint8_t)(tp->seq >> (56 - 8 * i));
        if (tp->version == HR_TLS_1_3)
            iv[4 + i] ^= aad[i];
    }
    memcpy(aad + 8, header, 3);
    aad[11] = (uint8_t)(content >> 8);
    aad[12] = (uint8_t)content;
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    must(c && EVP_CipherInit_ex(c, cipher, NULL, tp->key, iv, seal) == 1);
    must(EVP_CipherUpdate(c, NULL, &n, tp->version == HR_TLS_1_3 ? header : aad, tp->version == HR_TLS_1_3 ? 5 : 13));
    return c;
}

uint32_t tp_seal(struct tp *tp, uint8_t type, const uint8_t *content, uint32_t len, uint32_t padding, uint8_t *out)
{
    bool v13 = tp->version == HR_TLS_1_3;
    uint32_t head = v13 ? 5 : 13, inner = v13 ? len + 1 + padding : len, length = head - 5 + inner + 16;
    uint8_t *plain = calloc(1, inner + 1);
    int n, m;

    must(plain != NULL);
    if (len > 0)
        memcpy(plain, content, len);
    if (v13)
        plain[len] = type;
    out[0] = v13 ? 23 : type;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)(length >> 8);
    out[4] = (uint8_t)length;
    if (!v13) {
        for (int i = 0; i < 8; i++)
            out[5 + i] = (uint8_t)(tp->explicit_nonce >> (56 - 8 * i));
        tp->explicit_nonce++;
    }
    EVP_CIPHER_CTX *c = start(tp, true, out, out + 5, len);
    must(EVP_CipherUpdate(c, out + head, &n, plain, (int)inner) == 1);
    must(EVP_CipherFinal_ex(c, out + head + n, &m) == 1);
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, 16, out + head + inner) == 1);
    EVP_CIPHER_CTX_free(c);
    free(plain);
    tp->seq++;
    return 5 + length;
}

int tp_open(struct tp *tp, const uint8_t *in, uint32_t in_len, uint8_t *ret_type, uint8_t *ret_content,
            uint32_t *ret_len)
{
    bool v13 = tp->version == HR_TLS_1_3;
    uint32_t head = v13 ? 5 : 13;
    int n, m;

    if (in_len < 5)
        return 0;
    uint32_t length = (uint32_t)in[3] << 8 | in[4];
    if (in_len < 5 + length)
        return 0;
    if (5 + length < head + 16 + v13)
        return -1;
    uint32_t inner = 5 + length - head - 16;
    uint8_t tag[16];
    memcpy(tag, in + head + inner, 16);
    EVP_CIPHER_CTX *c = start(tp, false, in, in + 5, inner);
    must(EVP_CipherUpdate(c, ret_content, &n, in + head, (int)inner) == 1);
    must(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1);
    bool ok = EVP_CipherFinal_ex(c, ret_content + n, &m) == 1;
    EVP_CIPHER_CTX_free(c);
    if (!ok)
        return -1;
    tp->seq++;
    *ret_type = in[0];
    if (v13) {
        while (inner > 0 && ret_content[inner - 1] == 0)
            inner--;
        if (inner == 0)
            return -1;
        *ret_type = ret_content[--inner];
    }
    *ret_len = inner;
    return (int)(5 + length);
}

struct hr_tls_secrets tp_secrets(uint8_t version, uint8_t suite, uint8_t role, uint32_t seed)
{
    struct hr_tls_secrets s = {.version = version, .suite = suite, .role = role, .fragment_max = 16384};
    struct hr_tls_direction *d[] = {&s.read, &s.write};
    for (int i = 0; i < 2; i++) {
        uint32_t n = version == HR_TLS_1_3 ? hr_tls_hash_len(suite) : hr_tls_key_len(suite);
        for (uint32_t j = 0; j < n; j++)
            d[i]->traffic_secret[j] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        if (version == HR_TLS_1_2) {
            for (uint32_t j = 0; j < HR_TLS_FIXED_IV_LEN; j++)
                d[i]->fixed_iv[j] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
            d[i]->seq = 1;
        }
    }
    if (version == HR_TLS_1_2)
        s.write.explicit_nonce = UINT64_MAX - 2; /* OpenSSL starts anywhere */
    return s;
}
