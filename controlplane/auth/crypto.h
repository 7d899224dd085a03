/* What the authentication mechanisms share of cryptography and of its texts: digests and HMAC by OpenSSL, base64
 * and hex, comparing.
 *
 * Lengths of digests are those of enum hr_digest; every output buffer of a digest holds HR_DIGEST_MAX bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/base/wipe.h"

#define HR_DIGEST_MAX 64

enum hr_digest { HR_DIGEST_NONE = 0, HR_SHA256, HR_SHA512, HR_DIGEST_KINDS };

/* 32 or 64. */
uint32_t hr_digest_len(enum hr_digest kind);
/* SYSTEM when OpenSSL fails, which is memory running out. */
HR_MUST_CHECK int hr_digest(enum hr_digest kind, const void *data, size_t len, uint8_t ret_out[HR_DIGEST_MAX]);
HR_MUST_CHECK int hr_hmac(enum hr_digest kind, const void *key, size_t key_len, const void *data, size_t len,
                          uint8_t ret_out[HR_DIGEST_MAX]);
HR_MUST_CHECK int hr_pbkdf2(enum hr_digest kind, const void *password, size_t password_len, const uint8_t *salt,
                            uint32_t salt_len, uint32_t iterations, uint8_t ret_out[HR_DIGEST_MAX]);
HR_MUST_CHECK int hr_random(void *ret_out, size_t len);

/* In time that depends on len alone. */
bool hr_equal_secret(const void *a, const void *b, size_t len);

/* Standard alphabet with padding. cap counts the NUL; TOO_LARGE otherwise. */
HR_MUST_CHECK int hr_base64_encode(const void *data, size_t len, char *ret_text, size_t cap);
/* Strict: no white space, padding complete, unused bits 0. INVALID, TOO_LARGE. */
HR_MUST_CHECK int hr_base64_decode(const char *text, size_t len, uint8_t *ret_data, size_t cap, size_t *ret_len);
/* RFC 4648 5 without padding, as JOSE writes it. */
HR_MUST_CHECK int hr_base64url_encode(const void *data, size_t len, char *ret_text, size_t cap);
HR_MUST_CHECK int hr_base64url_decode(const char *text, size_t len, uint8_t *ret_data, size_t cap, size_t *ret_len);
/* Lower case; ret_text holds 2 * len + 1. */
void hr_hex_encode(const void *data, size_t len, char *ret_text);
