/* Packet buffers as connections hold them: pieces, queues of pieces, and the pools they come from.
 *
 * Glossary
 *   buffer   an rte_mbuf with its data room (one segment; chains are cut into single mbufs on reception)
 *   piece    a byte range of one buffer plus one reference on it
 *   queue    a FIFO of pieces, kept in fixed-size chunks from a pool, so that it costs memory only while
 *            used. It is never a chain through the mbufs' own next pointer: a queued mbuf may be on the
 *            wire (referenced by the port's transmit ring) at the same time.
 *
 * Ownership: payload has one owner, the queue it stands in. Moving a piece between queues moves the
 * reference. A transmission takes a further reference through hr_buf_in_place() (a whole piece:
 * hr_buf_piece_in_place()) or hr_buf_attach(), the only places that do. A buffer may be written only while its reference count is 1 and it is direct (hr_buf_writable()).
 *
 * The bytes in front of a piece belong to whoever holds the buffer's only reference: nobody else has a range of it,
 * and no transmit ring reads it. The headers that the packet was received with stood there, so those that it leaves
 * with fit, and most payload needs no second buffer on its way out. While a ring holds the reference that this took
 * (the count is 2), the mbuf's fields and those bytes stay as they are.
 *
 * Threads: a context belongs to one worker. Counters go to the worker's hr_stats. */
#pragma once

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/counters.h"
#include "shared/base/error.h"

/* Pieces shorter than this are coalesced by copying into a neighbour: cheaper than one more reference, and
 * it stops one byte from pinning a whole buffer. Counted as coalesced_bytes. */
#define HR_COPY_BREAK 256

/* A byte range of one buffer. off counts from mbuf->buf_addr, not from the data pointer, so that it stays
 * right when headers in front of the data are trimmed. */
struct hr_piece {
    struct rte_mbuf *mbuf;
    uint16_t off;
    uint16_t len;
    uint32_t reserved;
};

#define HR_PIECE_CHUNK_N 31
struct hr_piece_chunk {
    struct hr_piece_chunk *next;
    uint16_t head, tail; /* pieces [head, tail) are in use */
    uint32_t reserved;
    struct hr_piece piece[HR_PIECE_CHUNK_N];
};

struct hr_pieceq {
    struct hr_piece_chunk *first, *last;
    uint32_t n_pieces;
    uint32_t bytes;
};

/* Pools of one worker. */
struct hr_buf_ctx {
    struct rte_mempool *rx_pool;       /* data room as the ports need; payload arrives here */
    struct rte_mempool *hdr_pool;      /* small data room: headers, pure ACKs, bytes made by Headrace */
    struct rte_mempool *indirect_pool; /* no data room: references on parts of a buffer */
    struct rte_mempool *chunk_pool;    /* struct hr_piece_chunk */
    struct hr_stats *stats;
    uint32_t held;      /* pieces in all queues of this worker */
    uint32_t held_peak; /* highest value of held */
};

struct hr_buf_config {
    unsigned worker_id;   /* names the pools */
    int socket_id;        /* NUMA node */
    uint32_t rx_mbufs;    /* buffers in rx_pool */
    uint32_t rx_data_room; /* bytes, headroom included */
    uint32_t hdr_mbufs;
    uint32_t chunks;
};

/* Creates the pools; needs the EAL. NOMEM when memory is short (the caller says what to do about it). */
HR_MUST_CHECK int hr_buf_ctx_init(struct hr_buf_ctx *ctx, const struct hr_buf_config *cfg,
                                  struct hr_stats *stats);
void hr_buf_ctx_fini(struct hr_buf_ctx *ctx);

/* Free objects of a pool as this lcore may take them: without other lcores' caches, so a low estimate, and
 * cheap enough for every turn. */
uint32_t hr_buf_pool_free(const struct rte_mempool *pool);

static inline uint8_t *hr_piece_data(const struct hr_piece *p)
{
    return (uint8_t *)p->mbuf->buf_addr + p->off;
}

static inline bool hr_buf_writable(const struct rte_mbuf *m)
{
    return RTE_MBUF_DIRECT(m) && rte_mbuf_refcnt_read(m) == 1;
}

void hr_pieceq_init(struct hr_pieceq *q);

/* Appends the data of m (its data_off, data_len; one segment), and owns m from now on, even on failure
 * (then m is freed). Below HR_COPY_BREAK the bytes are copied into the tail buffer where that is writable
 * and has room. NOMEM when no chunk is free. */
HR_MUST_CHECK int hr_pieceq_push_mbuf_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct rte_mbuf *m);

/* Appends a piece, its reference included; frees it on failure. Adjacent ranges of the same buffer merge
 * into one piece (one reference is given back). */
HR_MUST_CHECK int hr_pieceq_push_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece piece);

/* Appends the data of n packets, behind the first skip bytes of each (no more than its first mbuf holds). They come from
 * a port: no queue holds them yet. Chains are cut into their mbufs. Takes them all; returns how many were appended whole
 * before there was no chunk. */
HR_MUST_CHECK uint32_t hr_pieceq_push_packets_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q,
                                                   struct rte_mbuf **pkts, uint32_t n, uint32_t skip);

/* Appends len bytes made by Headrace itself, copied into buffers of hdr_pool. An eighth of that pool is kept
 * for headers: payload that waits for a slow reader must not stop everybody's ACKs. */
HR_MUST_CHECK int hr_pieceq_push_bytes(struct hr_buf_ctx *ctx, struct hr_pieceq *q, const void *data,
                                       uint32_t len);

/* Moves the first len bytes of src to the end of dst. Where len ends inside a piece, both queues hold a
 * reference on its buffer, on disjoint ranges. On NOMEM nothing has moved. len <= src->bytes. */
HR_MUST_CHECK int hr_pieceq_move(struct hr_buf_ctx *ctx, struct hr_pieceq *dst, struct hr_pieceq *src,
                                 uint32_t len);

/* Drops the first len bytes; a piece is released when its last byte is dropped. len <= q->bytes. */
void hr_pieceq_drop(struct hr_buf_ctx *ctx, struct hr_pieceq *q, uint32_t len);

/* Buffers on their way back to a pool: they go back together, when the bin is full or is emptied. Empty it before
 * the turn ends. n = 0: empty. */
#define HR_BUF_BIN_N 64
struct hr_buf_bin {
    uint32_t n;
    struct rte_mempool *pool; /* of all that are in it */
    struct rte_mbuf *m[HR_BUF_BIN_N];
};
void hr_buf_bin_empty(struct hr_buf_bin *bin);
/* From now on, buffers of this pool. */
void hr_buf_bin_change(struct hr_buf_bin *bin, struct rte_mempool *pool);
/* Gives up a reference that others share. */
void hr_buf_give_up_shared(struct rte_mbuf *m);
/* Gives up a reference on a buffer that is no chain. */
static inline void hr_buf_bin_add(struct hr_buf_bin *bin, struct rte_mbuf *m)
{
    if (unlikely(!hr_buf_writable(m))) {
        hr_buf_give_up_shared(m);
        return;
    }
    if (unlikely(bin->n == HR_BUF_BIN_N || bin->pool != m->pool))
        hr_buf_bin_change(bin, m->pool);
    bin->m[bin->n++] = m;
}
/* The same as hr_pieceq_drop(), with buffers that nobody else holds going into the bin. */
void hr_pieceq_drop_into(struct hr_buf_ctx *ctx, struct hr_pieceq *q, uint32_t len, struct hr_buf_bin *bin);

/* Overwrites the first len bytes, which no other queue holds: a secret is not left in a buffer. len <= q->bytes. */
void hr_pieceq_wipe(struct hr_pieceq *q, uint32_t len);

/* Releases everything. */
void hr_pieceq_clear(struct hr_buf_ctx *ctx, struct hr_pieceq *q);

/* Appends a reference to every piece of src's bytes [off, off + len) to dst, which is never sent: for who has to reach
 * the bytes once more when they have gone on. NOMEM: dst holds some of them. */
HR_MUST_CHECK int hr_pieceq_refer(struct hr_buf_ctx *ctx, struct hr_pieceq *dst, const struct hr_pieceq *src,
                                  uint32_t off, uint32_t len);

/* Copies len bytes at byte offset off to dst, without consuming. For headers and held frames, not payload.
 * off + len <= q->bytes. */
void hr_pieceq_peek(const struct hr_pieceq *q, uint32_t off, void *dst, uint32_t len);

/* A position inside a queue, for walking without consuming. Any push or move at the end keeps it valid; a
 * drop at the front of bytes before it keeps it valid too (unless its own piece is released); everything
 * else invalidates it. */
struct hr_piece_iter {
    const struct hr_piece_chunk *chunk; /* NULL: at the end of an empty queue */
    uint16_t index;
    uint16_t off; /* position in the current buffer, from buf_addr as in struct hr_piece */
};

/* Positions it at byte off of q (off <= q->bytes). */
void hr_piece_iter_at(struct hr_piece_iter *it, const struct hr_pieceq *q, uint32_t off);

/* The contiguous bytes from the position to the end of the current piece; *ret_len 0 at the end. */
const uint8_t *hr_piece_iter_peek(struct hr_piece_iter *it, uint32_t *ret_len);

/* Advances by n bytes, n <= bytes left in the queue from here. */
void hr_piece_iter_advance(struct hr_piece_iter *it, uint32_t n);

/* Makes len bytes at the position, for the caller to fill in, and returns them; the position is behind them then.
 * They stand in the buffer of the piece before, behind it, where that has room that nobody else refers to; with
 * in_front they may also stand in front of the piece that follows, in its buffer; else in a buffer of hdr_pool. A
 * piece is cut where the position is inside it. Positions before this one stay valid. len is at most
 * HR_PIECE_GAP_MAX, the queue is not empty. NULL: no memory, the bytes are what they were. */
#define HR_PIECE_GAP_MAX 64
uint8_t *hr_pieceq_gap(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece_iter *it, uint32_t len,
                       bool in_front);

/* Builds the packet tail that carries q's bytes [off, off+len), by reference: the buffer itself where the
 * range is the whole data of one buffer, indirect mbufs otherwise. The result is a chain (next, nb_segs,
 * pkt_len set) that the caller links behind a header mbuf. At most max_segs mbufs; *ret_len tells how many
 * bytes fitted (< len when max_segs was the limit). it is advanced past them. NULL: pool empty. */
struct rte_mbuf *hr_buf_attach(struct hr_buf_ctx *ctx, struct hr_piece_iter *it, uint32_t len,
                               uint16_t max_segs, uint32_t *ret_len);

/* Room in front of a piece for which hr_buf_in_place() is willing: Ethernet, IPv6 and TCP with timestamps, and as much
 * as copying the headers in one go may touch. */
#define HR_BUF_FRONT 96

/* The first len bytes of a piece as a packet in their own buffer, likewise: see the next function. */
static inline struct rte_mbuf *hr_buf_piece_in_place(const struct hr_piece *p, uint32_t len, uint16_t head_len)
{
    struct rte_mbuf *m = p->mbuf;
    uint32_t off = p->off;
    if (len > p->len || off < HR_BUF_FRONT || !hr_buf_writable(m))
        return NULL;
#ifdef HR_MBUF_DEBUG
    RTE_VERIFY(m->next == NULL && m->nb_segs == 1 && off + len <= m->buf_len);
#endif
    rte_mbuf_refcnt_set(m, 2);
    m->data_off = (uint16_t)(off - head_len);
    m->data_len = (uint16_t)(head_len + len);
    m->pkt_len = head_len + len;
    return m;
}

/* The next len bytes as a packet in their own buffer, with head_len bytes (at most HR_BUF_FRONT) in front of them that
 * the caller now writes, with ol_flags and tx_offload. NULL, and nothing has changed, where these bytes are not the
 * beginning of a piece that is its buffer's only one, or there is no room: hr_buf_attach() then. it is advanced. */
static inline struct rte_mbuf *hr_buf_in_place(struct hr_piece_iter *it, uint32_t len, uint16_t head_len)
{
    const struct hr_piece_chunk *c = it->chunk;
    uint16_t index = it->index;
    if (unlikely(c == NULL))
        return NULL;
    const struct hr_piece *p = &c->piece[index];
    uint32_t off = it->off;
    if (off == (uint32_t)p->off + p->len) { /* used up */
        if (likely(index + 1 < c->tail)) {
            index++;
        } else if (c->next != NULL) {
            c = c->next;
            index = c->head;
        } else {
            return NULL;
        }
        p = &c->piece[index];
        off = p->off;
    }
    struct rte_mbuf *m = off == p->off ? hr_buf_piece_in_place(p, len, head_len) : NULL;
    if (m == NULL)
        return NULL;
    it->chunk = c;
    it->index = index;
    it->off = (uint16_t)(off + len);
    return m;
}
