#include "bench/ring/frames.h"

#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/wire.h"

#define PIECE_MAX 32768u
#define API_VERSION 11
#define CORRELATION 7
#define REQUEST_TOPIC "orders"

struct out {
    uint8_t *p;
    uint32_t n;
};

static void put(struct out *o, uint64_t v, unsigned bytes)
{
    for (unsigned i = bytes; i-- > 0;)
        o->p[o->n++] = (uint8_t)(v >> (8 * i));
}

/* An unsigned varint of always `bytes` bytes, so that what it counts can be computed backwards. */
static void put_varint(struct out *o, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, v >>= 7)
        o->p[o->n++] = (uint8_t)((v & 0x7f) | (i + 1 < bytes ? 0x80 : 0));
}

static void put_text(struct out *o, const char *text)
{
    put_varint(o, (uint32_t)strlen(text) + 1, 1);
    memcpy(o->p + o->n, text, strlen(text));
    o->n += (uint32_t)strlen(text);
}

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

/* The bytes in buffers that are never written again, and never freed while a reference stands. */
static void finish(struct rb_frame *f, const char *name)
{
    f->n = (f->len + PIECE_MAX - 1) / PIECE_MAX;
    if (f->n > RB_FRAME_PIECES)
        die("the frame is too long");
    f->pool = rte_pktmbuf_pool_create(name, RB_FRAME_PIECES, 0, 0, PIECE_MAX + RTE_PKTMBUF_HEADROOM,
                                      SOCKET_ID_ANY);
    if (!f->pool)
        die("no memory for frames");
    for (uint32_t i = 0; i < f->n; i++) {
        uint32_t at = i * PIECE_MAX, n = f->len - at < PIECE_MAX ? f->len - at : PIECE_MAX;
        struct rte_mbuf *m = rte_pktmbuf_alloc(f->pool);
        if (!m)
            die("no buffer for a frame");
        memcpy(rte_pktmbuf_append(m, (uint16_t)n), f->bytes + at, n);
        f->piece[i] = (struct hr_piece){.mbuf = m, .off = m->data_off, .len = (uint16_t)n};
    }
}

static struct out begin(struct rb_frame *f, uint32_t total)
{
    *f = (struct rb_frame){.len = total, .bytes = calloc(1, total)};
    if (!f->bytes)
        die("no memory for frames");
    for (uint32_t i = 0; i < total; i++)
        f->bytes[i] = (uint8_t)(i * 2654435761u >> 13);
    struct out o = {f->bytes, 0};
    put(&o, total - 4, 4);
    return o;
}

void rb_frame_request(struct rb_frame *f, uint32_t total)
{
    struct out o = begin(f, total);
    put(&o, 0, 2); /* Produce */
    put(&o, API_VERSION, 2);
    put(&o, CORRELATION, 4);
    put(&o, 5, 2);
    memcpy(o.p + o.n, "bench", 5);
    o.n += 5;
    put_varint(&o, 0, 1); /* header tags */
    put_varint(&o, 0, 1); /* transactional id: null */
    put(&o, 0xffff, 2);   /* acks */
    put(&o, 30000, 4);
    put_varint(&o, 2, 1);
    put_text(&o, REQUEST_TOPIC);
    put_varint(&o, 2, 1);
    put(&o, 0, 4); /* partition */
    uint32_t records = total - o.n - 4 /* their length */ - 3 /* tags behind */;
    put_varint(&o, records + 1, 4);
    o.n += records;
    put_varint(&o, 0, 1);
    put_varint(&o, 0, 1);
    put_varint(&o, 0, 1);
    if (o.n != total)
        die("a request of another size than planned");
    finish(f, "rb_request");
}

void rb_frame_response(struct rb_frame *f, uint32_t total)
{
    struct out o = begin(f, total);
    put(&o, CORRELATION, 4);
    put_varint(&o, 0, 1);
    put_varint(&o, 2, 1);
    /* What follows the name: partition array, index, error, three offsets, errors, message, tags, throttle. */
    uint32_t behind = 1 + 4 + 2 + 3 * 8 + 1 + 1 + 1 + 1 + 4 + 1;
    uint32_t name = total - o.n - 2 - behind;
    put_varint(&o, name + 1, 2);
    memset(o.p + o.n, 't', name);
    o.n += name;
    put_varint(&o, 2, 1);
    put(&o, 0, 4);
    put(&o, 0, 2);
    put(&o, 4711, 8);
    put(&o, UINT64_MAX, 8);
    put(&o, 0, 8);
    put_varint(&o, 1, 1); /* record errors: none */
    put_varint(&o, 0, 1); /* error message: null */
    put_varint(&o, 0, 1);
    put_varint(&o, 0, 1);
    put(&o, 0, 4);
    put_varint(&o, 0, 1);
    if (o.n != total)
        die("a response of another size than planned");
    finish(f, "rb_response");
}

void rb_frame_free(struct rb_frame *f)
{
    for (uint32_t i = 0; i < f->n; i++) {
        if (rte_mbuf_refcnt_read(f->piece[i].mbuf) != 1)
            die("a frame is still referenced at the end");
        rte_pktmbuf_free(f->piece[i].mbuf);
    }
    rte_mempool_free(f->pool);
    free(f->bytes);
}

bool rb_frame_append(const struct rb_frame *f, struct hr_buf_ctx *bufs, struct hr_pieceq *q)
{
    for (uint32_t i = 0; i < f->n; i++) {
        rte_mbuf_refcnt_update(f->piece[i].mbuf, 1);
        if (hr_pieceq_push_take(bufs, q, f->piece[i]) != 0)
            return false;
    }
    return true;
}

bool rb_frame_equal(const struct rb_frame *f, uint32_t at, const struct hr_pieceq *q, uint32_t n)
{
    struct hr_piece_iter it;
    hr_piece_iter_at(&it, q, 0);
    while (n > 0) {
        uint32_t part;
        const uint8_t *p = hr_piece_iter_peek(&it, &part);
        at %= f->len;
        part = RTE_MIN(RTE_MIN(part, n), f->len - at);
        if (part == 0 || memcmp(p, f->bytes + at, part) != 0)
            return false;
        hr_piece_iter_advance(&it, part);
        at += part;
        n -= part;
    }
    return true;
}
