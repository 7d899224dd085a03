/* What one connection still has to send: small bytes of its own, and references to memory that never changes
 * (record batches), gathered into one writev(). Answers are frames: begin, put, end. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "shared/kafka/wire.h"

#define NB_OUT_SMALL 32768u
#define NB_OUT_IOV 512u
#define NB_ANSWER_REFS 100u /* that an answer may need */

struct nb_outq {
    uint8_t small[NB_OUT_SMALL];
    uint32_t used;
    uint32_t first, n; /* of iov */
    uint32_t frame;    /* where the frame being written has its size */
    uint32_t frame_bytes;
    bool flexible;
    bool overflow;
    struct iovec iov[NB_OUT_IOV];
};

static inline bool nb_out_empty(const struct nb_outq *q)
{
    return q->first == q->n;
}

/* May a frame with this many small bytes and references be begun? */
static inline bool nb_out_room(const struct nb_outq *q, uint32_t bytes, uint32_t refs)
{
    return q->used + bytes <= NB_OUT_SMALL && q->n + 2 * refs + 2 <= NB_OUT_IOV;
}

static inline uint8_t *nb_put(struct nb_outq *q, uint32_t n)
{
    static uint8_t nowhere[NB_OUT_SMALL];
    if (n > NB_OUT_SMALL - q->used || q->n == NB_OUT_IOV) {
        q->overflow = true;
        return nowhere;
    }
    uint8_t *p = q->small + q->used;
    struct iovec *last = q->n > q->first ? &q->iov[q->n - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == p)
        last->iov_len += n;
    else
        q->iov[q->n++] = (struct iovec){.iov_base = p, .iov_len = n};
    q->used += n;
    q->frame_bytes += n;
    return p;
}

static inline void nb_put_ref(struct nb_outq *q, const void *data, uint32_t n)
{
    if (q->n == NB_OUT_IOV) {
        q->overflow = true;
        return;
    }
    q->iov[q->n++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = n};
    q->frame_bytes += n;
}

static inline void nb_put8(struct nb_outq *q, int8_t v)
{
    *nb_put(q, 1) = (uint8_t)v;
}

static inline void nb_put16(struct nb_outq *q, int16_t v)
{
    hr_kput16(nb_put(q, 2), (uint16_t)v);
}

static inline void nb_put32(struct nb_outq *q, int32_t v)
{
    hr_kput32(nb_put(q, 4), (uint32_t)v);
}

static inline void nb_put64(struct nb_outq *q, int64_t v)
{
    uint8_t *p = nb_put(q, 8);
    hr_kput32(p, (uint32_t)((uint64_t)v >> 32));
    hr_kput32(p + 4, (uint32_t)v);
}

static inline void nb_put_varint(struct nb_outq *q, uint32_t v)
{
    hr_kvarint_put(nb_put(q, hr_kvarint_len(v)), v);
}

static inline void nb_put_count(struct nb_outq *q, int32_t n)
{
    if (q->flexible)
        nb_put_varint(q, (uint32_t)(n + 1));
    else
        nb_put32(q, n);
}

static inline void nb_put_string(struct nb_outq *q, const uint8_t *s, uint32_t n)
{
    if (q->flexible)
        nb_put_varint(q, n + 1);
    else
        nb_put16(q, (int16_t)n);
    memcpy(nb_put(q, n), s, n);
}

static inline void nb_put_tags(struct nb_outq *q)
{
    if (q->flexible)
        nb_put8(q, 0);
}

/* Size, correlation id and, where the response header has one, its empty tag section. */
static inline void nb_frame_begin(struct nb_outq *q, int32_t correlation_id, int16_t header_version, bool flexible)
{
    q->frame = q->used;
    nb_put(q, 4);
    q->frame_bytes = 0;
    nb_put32(q, correlation_id);
    if (header_version >= 1)
        nb_put8(q, 0);
    q->flexible = flexible;
}

static inline void nb_frame_end(struct nb_outq *q)
{
    if (!q->overflow)
        hr_kput32(q->small + q->frame, q->frame_bytes);
}
