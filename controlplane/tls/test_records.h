/* A record layer by hand, for tests of what is handed off. */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/tls/secrets.h"

struct peer;

/* Of one direction. */
struct record_keys {
    const EVP_CIPHER *cipher;
    uint8_t key[32], iv[12];
    uint64_t seq, nonce;
    bool tls13;
};

void record_keys_open(struct record_keys *h, const struct hr_tls_secrets *s, const struct hr_tls_direction *d);
/* Returns the record's bytes. */
uint32_t record_seal(struct record_keys *h, const char *text, uint8_t *out);
/* Opens one record; returns its content type, -1 when the tag is wrong. */
int record_unseal(struct record_keys *h, const uint8_t *record, char *text, uint32_t *ret_len);
/* Both directions after the hand-off. `leftover`: bytes of the peer that our OpenSSL has not had. Returns how many
 * records came before the first with data (tickets, towards a client). */
int records_go_on(struct peer *p, const struct hr_tls_secrets *s, const uint8_t *leftover, uint32_t n);
