/* Kafka's primitive encodings: big-endian integers and the unsigned varints of KIP-482. For code that holds
 * contiguous bytes and has checked their length; walk.h reads what arrives in pieces. */
#pragma once

#include <stdint.h>

#define HR_KVARINT_MAX 5 /* bytes of the longest 32-bit varint */

static inline uint16_t hr_kget16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}

static inline uint32_t hr_kget32(const uint8_t *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline void hr_kput16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void hr_kput32(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

/* Bytes of v's shortest encoding: 1-5. */
static inline uint32_t hr_kvarint_len(uint32_t v)
{
    uint32_t n = 1;

    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

/* Writes the shortest encoding; returns its length. p has room for HR_KVARINT_MAX bytes. */
static inline uint32_t hr_kvarint_put(uint8_t *p, uint32_t v)
{
    uint32_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    p[n++] = (uint8_t)v;
    return n;
}

/* Reads one from p[0..avail): returns its length, 0 when it is cut off, longer than five bytes or does not
 * fit 32 bits. */
static inline uint32_t hr_kvarint_get(const uint8_t *p, uint32_t avail, uint32_t *ret_v)
{
    uint32_t v = 0;

    for (uint32_t i = 0; i < avail && i < HR_KVARINT_MAX; i++) {
        if (i == HR_KVARINT_MAX - 1 && p[i] > 0x0f)
            return 0;
        v |= (uint32_t)(p[i] & 0x7f) << (7 * i);
        if (!(p[i] & 0x80)) {
            *ret_v = v;
            return i + 1;
        }
    }
    return 0;
}

/* Width of a fixed-size type, 0 for the others. */
uint32_t hr_ktype_width(uint8_t type);
