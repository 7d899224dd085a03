/* Key derivation as the hand-off needs it: RFC 8446 7.1 and RFC 5246 6.3. Private to this folder and its tests. */
#pragma once

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* HKDF-Expand-Label(secret, label, "", out_len). */
bool hr_tls_expand_label(const EVP_MD *md, const uint8_t *secret, size_t secret_len, const char *label, uint8_t *out,
                         size_t out_len);
/* key_block of TLS 1.2: PRF(master, "key expansion", server_random + client_random). */
bool hr_tls_key_block(const EVP_MD *md, const uint8_t *master, size_t master_len, const uint8_t server_random[32],
                      const uint8_t client_random[32], uint8_t *out, size_t out_len);
