#include "controlplane/tls/test_records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "controlplane/tls/secrets.h"
#include "controlplane/tls/test_peer.h"

void record_keys_open(struct record_keys *h, const struct hr_tls_secrets *s, const struct hr_tls_direction *d)
{
    const EVP_MD *md = s->suite == HR_TLS_AES_256_GCM_SHA384 ? EVP_sha384() : EVP_sha256();

    memset(h, 0, sizeof(*h));
    h->tls13 = s->version == HR_TLS_1_3;
    h->cipher = s->suite == HR_TLS_AES_128_GCM_SHA256   ? EVP_aes_128_gcm()
                : s->suite == HR_TLS_AES_256_GCM_SHA384 ? EVP_aes_256_gcm()
                                                        : EVP_chacha20_poly1305();
    h->seq = d->seq;
    h->nonce = d->explicit_nonce;
    if (h->tls13) {
        assert_true(hr_tls_expand_label(md, d->traffic_secret, hr_tls_hash_len(s->suite), "key", h->key,
                                        hr_tls_key_len(s->suite)));
        assert_true(hr_tls_expand_label(md, d->traffic_secret, hr_tls_hash_len(s->suite), "iv", h->iv, 12));
    } else {
        memcpy(h->key, d->key, 32);
        memcpy(h->iv, d->fixed_iv, 4);
    }
}

static void nonce_of(const struct record_keys *h, uint64_t number, uint8_t nonce[12])
{
    memcpy(nonce, h->iv, 12);
    for (int i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)(number >> (56 - 8 * i));

        nonce[4 + i] = h->tls13 ? nonce[4 + i] ^ byte : byte;
    }
}

static void aad_of(const struct record_keys *h, uint8_t type, uint32_t len, uint8_t aad[13], int *ret_len)
{
    if (h->tls13) {
        memcpy(aad, (uint8_t[]){23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
        *ret_len = 5;
        return;
    }
    for (int i = 0; i < 8; i++)
        aad[i] = (uint8_t)(h->seq >> (56 - 8 * i));
    memcpy(aad + 8, (uint8_t[]){type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    *ret_len = 13;
}

uint32_t record_seal(struct record_keys *h, const char *text, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t plain[256], nonce[12], aad[13];
    uint32_t n = (uint32_t)strlen(text), explicit = h->tls13 ? 0 : 8, len;
    int aad_len, got;

    memcpy(plain, text, n);
    if (h->tls13)
        plain[n++] = 23;
    len = explicit + n + 16;
    nonce_of(h, h->tls13 ? h->seq : h->nonce, nonce);
    aad_of(h, 23, h->tls13 ? len : n, aad, &aad_len);
    memcpy(out, (uint8_t[]){23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    if (explicit)
        memcpy(out + 5, nonce + 4, 8);
    assert_int_equal(EVP_EncryptInit_ex(ctx, h->cipher, NULL, h->key, nonce), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &got, aad, aad_len), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, out + 5 + explicit, &got, plain, (int)n), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, out + 5 + explicit + n, &got), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, out + 5 + explicit + n), 1);
    EVP_CIPHER_CTX_free(ctx);
    h->seq++;
    h->nonce++;
    return 5 + len;
}

int record_unseal(struct record_keys *h, const uint8_t *record, char *text, uint32_t *ret_len)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t nonce[12], aad[13];
    uint32_t len = (uint32_t)(record[3] << 8 | record[4]), explicit = h->tls13 ? 0 : 8, n = len - explicit - 16;
    uint64_t number = h->seq;
    int aad_len, got, ok, type = record[0];

    if (explicit) {
        number = 0;
        for (int i = 0; i < 8; i++)
            number = number << 8 | record[5 + i];
    }
    nonce_of(h, number, nonce);
    aad_of(h, record[0], h->tls13 ? len : n, aad, &aad_len);
    EVP_DecryptInit_ex(ctx, h->cipher, NULL, h->key, nonce);
    EVP_DecryptUpdate(ctx, NULL, &got, aad, aad_len);
    EVP_DecryptUpdate(ctx, (uint8_t *)text, &got, record + 5 + explicit, (int)n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, (void *)(record + 5 + explicit + n));
    ok = EVP_DecryptFinal_ex(ctx, (uint8_t *)text + n, &got);
    EVP_CIPHER_CTX_free(ctx);
    h->seq++;
    if (ok != 1)
        return -1;
    if (h->tls13) {
        while (n > 0 && text[n - 1] == 0)
            n--;
        type = text[--n];
    }
    text[n] = '\0';
    *ret_len = n;
    return type;
}

int records_go_on(struct peer *p, const struct hr_tls_secrets *s, const uint8_t *leftover, uint32_t n)
{
    struct record_keys rd, wr;
    uint8_t bytes[8192], record[1024];
    char text[4096], got[256];
    uint32_t len, at = 0;
    int tickets = 0;

    record_keys_open(&rd, s, &s->read);
    record_keys_open(&wr, s, &s->write);
    for (int round = 0; round < 3; round++) {
        len = record_seal(&wr, "from the worker", record);
        assert_int_equal(BIO_write(SSL_get_rbio(p->ssl), record, (int)len), len);
        ERR_clear_error();
        int read = SSL_read(p->ssl, got, sizeof(got));
        if (read != 15)
            fail_msg("the peer does not understand record %d: %s", round, ERR_reason_error_string(ERR_peek_error()));
        assert_memory_equal(got, "from the worker", 15);
    }
    if (n > 0)
        memcpy(bytes, leftover, n);
    for (int i = 0; i < 3; i++)
        assert_int_equal(SSL_write(p->ssl, "from the peer", 13), 13);
    n += (uint32_t)BIO_read(SSL_get_wbio(p->ssl), bytes + n, (int)(sizeof(bytes) - n));
    for (int seen = 0; seen < 3;) {
        assert_true(at + 5 <= n);
        int type = record_unseal(&rd, bytes + at, text, &len);

        if (type == 22) {
            tickets++;
        } else {
            assert_int_equal(type, 23);
            assert_string_equal(text, "from the peer");
            seen++;
        }
        at += 5 + (uint32_t)(bytes[at + 3] << 8 | bytes[at + 4]);
    }
    assert_int_equal(at, n);
    return tickets;
}
