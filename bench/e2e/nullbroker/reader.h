/* A bounded cursor over one Kafka request that lies contiguously in memory. A read past the end sets `bad`
 * and gives zeros from then on, so that callers check once, at the end. Sizes and counts come back as the
 * classic or the compact encoding has them; both have -1 for null. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shared/kafka/wire.h"

struct nb_reader {
    const uint8_t *at;
    uint32_t left;
    bool flexible; /* compact sizes and tag sections (KIP-482) */
    bool bad;
};

static inline const uint8_t *nb_take(struct nb_reader *r, uint32_t n)
{
    static const uint8_t zeros[16];
    if (r->bad || n > r->left) {
        r->bad = true;
        return n <= sizeof(zeros) ? zeros : NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    r->left -= n;
    return p;
}

static inline int16_t nb_i16(struct nb_reader *r)
{
    return (int16_t)hr_kget16(nb_take(r, 2));
}

static inline int32_t nb_i32(struct nb_reader *r)
{
    return (int32_t)hr_kget32(nb_take(r, 4));
}

static inline int64_t nb_i64(struct nb_reader *r)
{
    const uint8_t *p = nb_take(r, 8);
    return (int64_t)((uint64_t)hr_kget32(p) << 32 | hr_kget32(p + 4));
}

static inline uint32_t nb_varint(struct nb_reader *r)
{
    uint32_t v = 0, n = r->bad ? 0 : hr_kvarint_get(r->at, r->left, &v);
    if (n == 0) {
        r->bad = true;
        return 0;
    }
    r->at += n;
    r->left -= n;
    return v;
}

/* The count of an array, or the size of bytes: -1 is null. */
static inline int32_t nb_count(struct nb_reader *r)
{
    return r->flexible ? (int32_t)nb_varint(r) - 1 : nb_i32(r);
}

/* A string's bytes; a null one has length 0. */
static inline const uint8_t *nb_string(struct nb_reader *r, uint32_t *ret_len)
{
    int32_t n = r->flexible ? (int32_t)nb_varint(r) - 1 : nb_i16(r);
    *ret_len = n < 0 ? 0 : (uint32_t)n;
    return nb_take(r, *ret_len);
}

static inline void nb_skip_tags(struct nb_reader *r)
{
    if (!r->flexible)
        return;
    for (uint32_t n = nb_varint(r); n > 0 && !r->bad; n--) {
        nb_varint(r);
        nb_take(r, nb_varint(r));
    }
}
