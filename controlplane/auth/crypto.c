#include "controlplane/auth/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

static const EVP_MD *md_of(enum hr_digest kind)
{
    return kind == HR_SHA512 ? EVP_sha512() : EVP_sha256();
}

uint32_t hr_digest_len(enum hr_digest kind)
{
    return kind == HR_SHA512 ? 64 : 32;
}

int hr_digest(enum hr_digest kind, const void *data, size_t len, uint8_t ret_out[HR_DIGEST_MAX])
{
    return EVP_Digest(data, len, ret_out, NULL, md_of(kind), NULL) == 1 ? 0 : HR_E_SYSTEM;
}

int hr_hmac(enum hr_digest kind, const void *key, size_t key_len, const void *data, size_t len,
            uint8_t ret_out[HR_DIGEST_MAX])
{
    return HMAC(md_of(kind), key, (int)key_len, data, len, ret_out, NULL) ? 0 : HR_E_SYSTEM;
}

int hr_pbkdf2(enum hr_digest kind, const void *password, size_t password_len, const uint8_t *salt,
              uint32_t salt_len, uint32_t iterations, uint8_t ret_out[HR_DIGEST_MAX])
{
    return PKCS5_PBKDF2_HMAC(password, (int)password_len, salt, (int)salt_len, (int)iterations, md_of(kind),
                             (int)hr_digest_len(kind), ret_out) == 1
               ? 0
               : HR_E_SYSTEM;
}

int hr_random(void *ret_out, size_t len)
{
    return RAND_bytes(ret_out, (int)len) == 1 ? 0 : HR_E_SYSTEM;
}

bool hr_equal_secret(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int encode64(const uint8_t *in, size_t len, const char *digits, bool pad, char *out, size_t cap)
{
    size_t need = pad ? (len + 2) / 3 * 4 : (len * 4 + 2) / 3;

    if (need + 1 > cap)
        return HR_E_TOO_LARGE;
    for (size_t i = 0; i < len; i += 3) {
        size_t n = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16 | (n > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (n > 2 ? in[i + 2] : 0);

        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        if (n > 1)
            *out++ = digits[bits >> 6 & 63];
        else if (pad)
            *out++ = '=';
        if (n > 2)
            *out++ = digits[bits & 63];
        else if (pad)
            *out++ = '=';
    }
    *out = '\0';
    return 0;
}

static int value64(char c, const char *digits)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == digits[62] ? 62 : c == digits[63] ? 63 : -1;
}

/* len without padding. */
static int decode64(const char *text, size_t len, const char *digits, uint8_t *out, size_t cap, size_t *ret_len)
{
    size_t n_out = len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0), at = 0;
    uint32_t bits = 0;

    if (len % 4 == 1)
        return HR_E_INVALID;
    if (n_out > cap)
        return HR_E_TOO_LARGE;
    for (size_t i = 0; i < len; i++) {
        int value = value64(text[i], digits);

        if (value < 0)
            return HR_E_INVALID;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0)
            out[at++] = (uint8_t)(bits >> (i % 4 == 1 ? 4 : i % 4 == 2 ? 2 : 0));
    }
    if ((len % 4 == 2 && (bits & 15)) || (len % 4 == 3 && (bits & 3)))
        return HR_E_INVALID; /* two texts for the same bytes */
    *ret_len = n_out;
    return 0;
}

int hr_base64_encode(const void *data, size_t len, char *ret_text, size_t cap)
{
    return encode64(data, len, alphabet, true, ret_text, cap);
}

int hr_base64url_encode(const void *data, size_t len, char *ret_text, size_t cap)
{
    return encode64(data, len, url_alphabet, false, ret_text, cap);
}

int hr_base64_decode(const char *text, size_t len, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    size_t pad = 0;

    if (len % 4 != 0)
        return HR_E_INVALID;
    while (pad < 2 && len > 0 && text[len - 1 - pad] == '=')
        pad++;
    return decode64(text, len - pad, alphabet, ret_data, cap, ret_len);
}

int hr_base64url_decode(const char *text, size_t len, uint8_t *ret_data, size_t cap, size_t *ret_len)
{
    return decode64(text, len, url_alphabet, ret_data, cap, ret_len);
}

void hr_hex_encode(const void *data, size_t len, char *ret_text)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;

    for (size_t i = 0; i < len; i++) {
        *ret_text++ = digits[in[i] >> 4];
        *ret_text++ = digits[in[i] & 15];
    }
    *ret_text = '\0';
}
