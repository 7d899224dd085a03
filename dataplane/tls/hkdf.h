/* Key derivation of TLS 1.3 as a worker needs it: from a traffic secret to what it stands for. No heap. */
#pragma once

#include "dataplane/tls/aead.h"

/* HKDF-Expand-Label(secret, label, "", out_len), RFC 8446 7.1. secret has hash_len bytes; out_len <= hash_len, so
 * one block of HKDF-Expand (RFC 5869 2.3) is enough. label without "tls13 ", at most 12 bytes. out may be secret. */
void hr_hkdf_expand_label(const struct hr_aead *lib, uint32_t hash_len, const uint8_t *secret, const char *label,
                          uint8_t *out, uint32_t out_len);
