/* The other end of a TLS connection after its handshake, over OpenSSL's EVP: an implementation of the record layer
 * that shares no code with ours. For tests. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/tls/secrets.h"

#define TP_RECORD_MAX (5 + 16384 + 2048)

/* One direction. */
struct tp {
    uint8_t version, suite;
    uint8_t secret[48], key[32], iv[12];
    uint64_t seq, explicit_nonce;
};

void tp_init(struct tp *tp, uint8_t version, uint8_t suite, const struct hr_tls_direction *d);
/* TLS 1.3: the next generation. */
void tp_update(struct tp *tp);
/* HKDF-Expand-Label with an empty context. */
void tp_expand_label(uint8_t suite, const uint8_t *secret, const char *label, uint8_t *out, uint32_t len);

/* A whole record to out; padding is TLS 1.3's. Returns its length. */
uint32_t tp_seal(struct tp *tp, uint8_t type, const uint8_t *content, uint32_t len, uint32_t padding, uint8_t *out);
/* The first record of in: returns its length, 0 where it is not all there, -1 where its tag is wrong. */
int tp_open(struct tp *tp, const uint8_t *in, uint32_t in_len, uint8_t *ret_type, uint8_t *ret_content,
            uint32_t *ret_len);

/* Secrets of a connection, made up from a seed; fragment_max 16384, all numbers 0 (TLS 1.2: sequences 1). */
struct hr_tls_secrets tp_secrets(uint8_t version, uint8_t suite, uint8_t role, uint32_t seed);
