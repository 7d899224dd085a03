/* The few wire types that SaslHandshake and SaslAuthenticate need, read and written within bounds. Both ways a cursor
 * that has overrun stays so and yields zeros; its owner asks once, at the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shared/kafka/schema.h"

#define HR_SASL_UNSUPPORTED_MECHANISM 33
#define HR_SASL_ILLEGAL_STATE         34
#define HR_SASL_UNSUPPORTED_VERSION   35
#define HR_SASL_AUTHENTICATION_FAILED 58

struct hr_sasl_reader {
    const uint8_t *at;
    size_t left;
    bool overrun;
};

static inline const uint8_t *hr_sasl_take(struct hr_sasl_reader *r, size_t len)
{
    const uint8_t *at = r->at;

    if (r->overrun || len > r->left) {
        r->overrun = true;
        return NULL;
    }
    r->at += len;
    r->left -= len;
    return at;
}

static inline int64_t hr_sasl_get_int(struct hr_sasl_reader *r, size_t bytes)
{
    const uint8_t *at = hr_sasl_take(r, bytes);
    uint64_t value = 0;

    for (size_t i = 0; at && i < bytes; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

static inline int16_t hr_sasl_get_i16(struct hr_sasl_reader *r)
{
    return (int16_t)hr_sasl_get_int(r, 2);
}

static inline int32_t hr_sasl_get_i32(struct hr_sasl_reader *r)
{
    return (int32_t)hr_sasl_get_int(r, 4);
}

static inline int64_t hr_sasl_get_i64(struct hr_sasl_reader *r)
{
    return hr_sasl_get_int(r, 8);
}

static inline uint32_t hr_sasl_get_uvarint(struct hr_sasl_reader *r)
{
    uint64_t value = 0;

    for (int shift = 0; shift < 35; shift += 7) {
        const uint8_t *at = hr_sasl_take(r, 1);

        if (!at)
            return 0;
        value |= (uint64_t)(*at & 0x7f) << shift;
        if (!(*at & 0x80)) {
            if (value > UINT32_MAX)
                break;
            return (uint32_t)value;
        }
    }
    r->overrun = true;
    return 0;
}

/* NULL with length 0 for null, and when it overruns. */
static inline const uint8_t *hr_sasl_get_string(struct hr_sasl_reader *r, size_t *ret_len)
{
    int16_t len = hr_sasl_get_i16(r);

    *ret_len = len > 0 ? (size_t)len : 0;
    if (len < 0 || r->overrun)
        return NULL;
    return hr_sasl_take(r, (size_t)len);
}

/* Compact string or bytes. */
static inline const uint8_t *hr_sasl_get_compact(struct hr_sasl_reader *r, size_t *ret_len)
{
    uint32_t n = hr_sasl_get_uvarint(r);
    const uint8_t *at = n > 0 ? hr_sasl_take(r, n - 1) : NULL;

    *ret_len = at ? n - 1 : 0;
    return at;
}

/* Bytes with a length of four; NULL as above. */
static inline const uint8_t *hr_sasl_get_bytes(struct hr_sasl_reader *r, size_t *ret_len)
{
    int32_t len = hr_sasl_get_i32(r);

    *ret_len = len > 0 ? (size_t)len : 0;
    if (len < 0 || r->overrun)
        return NULL;
    return hr_sasl_take(r, (size_t)len);
}

static inline void hr_sasl_skip_tags(struct hr_sasl_reader *r)
{
    uint32_t n = hr_sasl_get_uvarint(r);

    while (n-- > 0 && !r->overrun) {
        (void)hr_sasl_get_uvarint(r);
        (void)hr_sasl_take(r, hr_sasl_get_uvarint(r));
    }
}

struct hr_sasl_writer {
    uint8_t *buf;
    size_t cap, len;
    bool overrun;
};

static inline void hr_sasl_put(struct hr_sasl_writer *w, const void *data, size_t len)
{
    if (w->overrun || len > w->cap - w->len) {
        w->overrun = true;
        return;
    }
    if (len > 0)
        memcpy(w->buf + w->len, data, len);
    w->len += len;
}

static inline void hr_sasl_put_int(struct hr_sasl_writer *w, uint64_t value, size_t bytes)
{
    uint8_t out[8];

    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    hr_sasl_put(w, out, bytes);
}

static inline void hr_sasl_put_i16(struct hr_sasl_writer *w, int16_t value)
{
    hr_sasl_put_int(w, (uint16_t)value, 2);
}

static inline void hr_sasl_put_i32(struct hr_sasl_writer *w, int32_t value)
{
    hr_sasl_put_int(w, (uint32_t)value, 4);
}

static inline void hr_sasl_put_i64(struct hr_sasl_writer *w, int64_t value)
{
    hr_sasl_put_int(w, (uint64_t)value, 8);
}

static inline void hr_sasl_put_uvarint(struct hr_sasl_writer *w, uint32_t value)
{
    while (value >= 0x80) {
        uint8_t b = (uint8_t)(value | 0x80);

        hr_sasl_put(w, &b, 1);
        value >>= 7;
    }
    hr_sasl_put(w, &(uint8_t){(uint8_t)value}, 1);
}

/* NULL is null. */
static inline void hr_sasl_put_string(struct hr_sasl_writer *w, const char *text)
{
    size_t len = text ? strlen(text) : 0;

    if (len > INT16_MAX) {
        w->overrun = true;
        return;
    }
    hr_sasl_put_i16(w, text ? (int16_t)len : -1);
    hr_sasl_put(w, text, len);
}

/* Compact string or bytes; data NULL is null. */
static inline void hr_sasl_put_compact(struct hr_sasl_writer *w, const void *data, size_t len)
{
    hr_sasl_put_uvarint(w, data ? (uint32_t)len + 1 : 0);
    hr_sasl_put(w, data, data ? len : 0);
}

/* The frame's size into its first four bytes, which the writer has left for it. */
static inline void hr_sasl_put_size(struct hr_sasl_writer *w)
{
    size_t size = w->len - 4;

    for (int i = 0; i < 4; i++)
        w->buf[i] = (uint8_t)(size >> 8 * (3 - i));
}
