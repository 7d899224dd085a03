/* A queue of pieces: an unrolled list. Pushes go to the last chunk's tail, drops to the first chunk's head;
 * a chunk is returned to its pool when its last piece leaves, so an empty queue holds nothing.
 *
 * Whatever may fail takes what it needs (chunks, buffers) first and changes the queue after. */
#include "dataplane/buf/buf.h"

#include <rte_memcpy.h>
#include <string.h>

#include "dataplane/buf/impl.h"
#include "shared/base/wipe.h"

static struct hr_piece_chunk *chunk_get(struct hr_buf_ctx *ctx)
{
    void *obj;
    if (rte_mempool_get(ctx->chunk_pool, &obj) != 0)
        return NULL;
    struct hr_piece_chunk *c = obj;
    c->next = NULL;
    c->head = c->tail = 0;
    return c;
}

static void chunk_put(struct hr_buf_ctx *ctx, struct hr_piece_chunk *c)
{
    rte_mempool_put(ctx->chunk_pool, c);
}

void hr_pieceq_init(struct hr_pieceq *q)
{
    memset(q, 0, sizeof(*q));
}

static struct hr_piece *last_piece(const struct hr_pieceq *q)
{
    return q->last == NULL ? NULL : &q->last->piece[q->last->tail - 1];
}

static void held_add(struct hr_buf_ctx *ctx, uint32_t n)
{
    ctx->held += n;
    if (ctx->held > ctx->held_peak)
        ctx->held_peak = ctx->held;
}

/* Free bytes behind the last piece that are ours to write. */
static uint32_t tail_room(const struct hr_pieceq *q)
{
    const struct hr_piece *p = last_piece(q);
    if (p == NULL || !hr_buf_writable(p->mbuf))
        return 0;
    return p->mbuf->buf_len - p->off - p->len;
}

/* Appends bytes into the last piece's buffer; the caller has checked tail_room(). */
static void tail_copy(struct hr_pieceq *q, const void *data, uint32_t len)
{
    struct hr_piece *p = last_piece(q);
    memcpy(hr_piece_data(p) + p->len, data, len);
    p->len = (uint16_t)(p->len + len);
    p->mbuf->data_off = p->off;
    p->mbuf->data_len = p->len;
    p->mbuf->pkt_len = p->len;
    q->bytes += len;
}

/* Joins the piece to the last one if that needs no slot: neighbours in one buffer, or small enough to copy. */
static inline __attribute__((always_inline)) bool merge_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, const struct hr_piece *piece)
{
    struct hr_piece *last = last_piece(q);
    if (last == NULL || (piece->len >= HR_COPY_BREAK && last->mbuf != piece->mbuf))
        return false;
    if (last->mbuf == piece->mbuf && (uint32_t)last->off + last->len == piece->off) {
        last->len = (uint16_t)(last->len + piece->len);
        q->bytes += piece->len;
        rte_pktmbuf_free_seg(piece->mbuf); /* the piece's reference; the last one's stays */
        return true;
    }
    if (piece->len < HR_COPY_BREAK && piece->len <= tail_room(q)) {
        tail_copy(q, hr_piece_data(piece), piece->len);
        HR_COUNT_N(ctx->stats, coalesced_bytes, piece->len);
        rte_pktmbuf_free_seg(piece->mbuf);
        return true;
    }
    return false;
}

static bool needs_chunk(const struct hr_pieceq *q)
{
    return q->last == NULL || q->last->tail == HR_PIECE_CHUNK_N;
}

static void link_chunk(struct hr_pieceq *q, struct hr_piece_chunk *c)
{
    if (q->last == NULL)
        q->first = c;
    else
        q->last->next = c;
    q->last = c;
}

static bool add_chunk(struct hr_buf_ctx *ctx, struct hr_pieceq *q)
{
    struct hr_piece_chunk *c = chunk_get(ctx);
    if (c != NULL)
        link_chunk(q, c);
    return c != NULL;
}

/* There is a slot. */
static void append(struct hr_pieceq *q, const struct hr_piece *piece)
{
    q->last->piece[q->last->tail++] = *piece;
    q->n_pieces++;
    q->bytes += piece->len;
}

int hr_pieceq_push_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece piece)
{
    if (piece.len == 0) {
        rte_pktmbuf_free_seg(piece.mbuf);
        return 0;
    }
    if (merge_take(ctx, q, &piece))
        return 0;
    if (needs_chunk(q) && !add_chunk(ctx, q)) {
        rte_pktmbuf_free_seg(piece.mbuf);
        return HR_E_NOMEM;
    }
    append(q, &piece);
    held_add(ctx, 1);
    return 0;
}

int hr_pieceq_push_mbuf_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct rte_mbuf *m)
{
    if (hr_buf_writable(m)) {
        m->next = NULL;
        m->nb_segs = 1;
        m->pkt_len = m->data_len;
    }
    return hr_pieceq_push_take(ctx, q,
                               (struct hr_piece){.mbuf = m, .off = m->data_off, .len = m->data_len});
}

/* False: no chunk; what was not appended is freed. */
static bool push_chain_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct rte_mbuf *m)
{
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        m->next = NULL;
        m->nb_segs = 1;
        m->pkt_len = m->data_len;
        if (hr_pieceq_push_take(ctx, q, (struct hr_piece){.mbuf = m, .off = m->data_off, .len = m->data_len}) != 0) {
            rte_pktmbuf_free(next);
            return false;
        }
        m = next;
    }
    return true;
}

static bool is_plain(const struct rte_mbuf *m, uint32_t skip)
{
    return m->nb_segs == 1 && m->data_len >= HR_COPY_BREAK + skip;
}

/* Plain packets into the slots of the last chunk, where there is one at least; returns how many went in. */
static uint32_t fill_chunk(struct hr_pieceq *q, struct rte_mbuf **pkts, uint32_t n, uint32_t skip)
{
    struct hr_piece_chunk *c = q->last;
    struct hr_piece *slot = &c->piece[c->tail];
    uint32_t max = RTE_MIN(n, (uint32_t)HR_PIECE_CHUNK_N - c->tail), bytes = 0, i;

    for (i = 0; i < max && is_plain(pkts[i], skip); i++, slot++) {
        struct rte_mbuf *m = pkts[i];
        uint32_t off = m->data_off + skip, len = m->data_len - skip;
        m->data_off = slot->off = (uint16_t)off;
        m->data_len = slot->len = (uint16_t)len;
        m->pkt_len = len;
        slot->mbuf = m;
        bytes += len;
    }
    c->tail = (uint16_t)(c->tail + i);
    q->n_pieces += i;
    q->bytes += bytes;
    return i;
}

uint32_t hr_pieceq_push_packets_take(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct rte_mbuf **pkts, uint32_t n,
                                     uint32_t skip)
{
    uint32_t i = 0;

    while (i < n) {
        struct rte_mbuf *m = pkts[i];
        if (is_plain(m, skip)) {
            if (needs_chunk(q) && !add_chunk(ctx, q)) {
                rte_pktmbuf_free(m);
                break;
            }
            uint32_t k = fill_chunk(q, pkts + i, n - i, skip);
            held_add(ctx, k);
            i += k;
        } else {
            m->data_off = (uint16_t)(m->data_off + skip);
            m->data_len = (uint16_t)(m->data_len - skip);
            m->pkt_len -= skip;
            if (!push_chain_take(ctx, q, m))
                break;
            i++;
        }
    }
    if (i < n)
        rte_pktmbuf_free_bulk(pkts + i + 1, n - i - 1);
    return i;
}

int hr_pieceq_push_bytes(struct hr_buf_ctx *ctx, struct hr_pieceq *q, const void *data, uint32_t len)
{
    const uint8_t *src = data;
    uint32_t room = tail_room(q);
    uint32_t into_tail = RTE_MIN(room, len);
    uint32_t rest = len - into_tail;
    struct hr_pieceq fresh; /* the new buffers, joined to q once all of them are there */

    hr_pieceq_init(&fresh);
    for (const uint8_t *p = src + into_tail; rest > 0;) {
        struct rte_mbuf *m = hr_buf_alloc_payload(ctx);
        if (m == NULL)
            goto nomem;
        uint32_t n = RTE_MIN(rest, (uint32_t)m->buf_len);
        m->data_off = 0;
        m->data_len = (uint16_t)n;
        memcpy(m->buf_addr, p, n);
        if (hr_pieceq_push_mbuf_take(ctx, &fresh, m) != 0)
            goto nomem;
        p += n;
        rest -= n;
    }
    if (into_tail > 0) {
        tail_copy(q, src, into_tail);
        /* Nothing can go wrong any more only if the move needs no chunk that is not there: undo if so. */
        if (hr_pieceq_move(ctx, q, &fresh, fresh.bytes) != 0) {
            struct hr_piece *last = last_piece(q);
            last->len = (uint16_t)(last->len - into_tail);
            last->mbuf->data_len = last->len;
            last->mbuf->pkt_len = last->len;
            q->bytes -= into_tail;
            goto nomem;
        }
        return 0;
    }
    if (hr_pieceq_move(ctx, q, &fresh, fresh.bytes) != 0)
        goto nomem;
    return 0;
nomem:
    hr_pieceq_clear(ctx, &fresh);
    return HR_E_NOMEM;
}

/* Takes the first piece's slot away; the reference has gone elsewhere. */
static void pop_slot(struct hr_buf_ctx *ctx, struct hr_pieceq *q)
{
    struct hr_piece_chunk *c = q->first;
    q->n_pieces--;
    if (++c->head < c->tail)
        return;
    q->first = c->next;
    if (q->first == NULL)
        q->last = NULL;
    chunk_put(ctx, c);
}

/* Pieces that the first len bytes stand in. */
static uint32_t pieces_in(const struct hr_pieceq *q, uint32_t len)
{
    uint32_t n = 0;
    if (len == q->bytes)
        return q->n_pieces;
    for (const struct hr_piece_chunk *c = q->first; c != NULL && len > 0; c = c->next) {
        for (uint32_t i = c->head; i < c->tail && len > 0; i++, n++)
            len -= RTE_MIN(len, (uint32_t)c->piece[i].len);
    }
    return n;
}

/* Moves whole pieces that merge with nothing, as long as they stand in one chunk and find slots in one; dst has pieces.
 * Returns how many bytes. */
static inline uint32_t move_run(struct hr_buf_ctx *ctx, struct hr_pieceq *dst, struct hr_pieceq *src, uint32_t len)
{
    struct hr_piece_chunk *from = src->first, *to = dst->last;
    const struct hr_piece *p = &from->piece[from->head];
    struct hr_piece *slot = &to->piece[to->tail];
    uint32_t max = RTE_MIN((uint32_t)from->tail - from->head, (uint32_t)HR_PIECE_CHUNK_N - to->tail), n = 0, moved = 0;

    for (const struct rte_mbuf *last = slot[-1].mbuf; n < max; n++, p++, slot++) {
        if (p->len < HR_COPY_BREAK || p->len > len - moved || p->mbuf == last)
            break;
        *slot = *p;
        last = p->mbuf;
        moved += p->len;
    }
    if (n == 0)
        return 0;
    dst->n_pieces += n;
    dst->bytes += moved;
    to->tail = (uint16_t)(to->tail + n);
    src->bytes -= moved;
    src->n_pieces -= n - 1; /* pop_slot() counts the last */
    from->head = (uint16_t)(from->head + n - 1);
    pop_slot(ctx, src);
    return moved;
}

int hr_pieceq_move(struct hr_buf_ctx *ctx, struct hr_pieceq *dst, struct hr_pieceq *src, uint32_t len)
{
    if (len == 0)
        return 0;
    if (dst->bytes == 0 && len == src->bytes) { /* an empty queue holds no chunk */
        *dst = *src;
        hr_pieceq_init(src);
        return 0;
    }

    /* Reserve the chunks for the worst case, where nothing merges. */
    uint32_t slots = needs_chunk(dst) ? 0 : HR_PIECE_CHUNK_N - dst->last->tail;
    uint32_t n = slots >= src->n_pieces ? 0 : pieces_in(src, len);
    struct hr_piece_chunk *spare = NULL;
    for (uint32_t have = slots; have < n; have += HR_PIECE_CHUNK_N) {
        struct hr_piece_chunk *c = chunk_get(ctx);
        if (c == NULL) {
            while (spare != NULL) {
                c = spare;
                spare = c->next;
                chunk_put(ctx, c);
            }
            return HR_E_NOMEM;
        }
        c->next = spare;
        spare = c;
    }

    while (len > 0) {
        uint32_t run = needs_chunk(dst) ? 0 : move_run(ctx, dst, src, len);
        len -= run;
        if (run > 0)
            continue;
        struct hr_piece *p = &src->first->piece[src->first->head];
        struct hr_piece moved = *p;
        bool whole = p->len <= len;
        if (!whole) {
            moved.len = (uint16_t)len;
            p->off = (uint16_t)(p->off + len);
            p->len = (uint16_t)(p->len - len);
            rte_mbuf_refcnt_update(p->mbuf, 1);
        } else {
            pop_slot(ctx, src);
        }
        src->bytes -= moved.len;
        len -= moved.len;
        if (merge_take(ctx, dst, &moved)) {
            ctx->held -= whole;
            continue;
        }
        if (needs_chunk(dst)) {
            struct hr_piece_chunk *c = spare;
            spare = c->next;
            c->next = NULL;
            link_chunk(dst, c);
        }
        append(dst, &moved);
        if (!whole)
            held_add(ctx, 1);
    }
    while (spare != NULL) {
        struct hr_piece_chunk *c = spare;
        spare = c->next;
        chunk_put(ctx, c);
    }
    return 0;
}

/* Every piece has a place of its own in dst: what is merged by copying would not be referred to. */
int hr_pieceq_refer(struct hr_buf_ctx *ctx, struct hr_pieceq *dst, const struct hr_pieceq *src, uint32_t off,
                    uint32_t len)
{
    for (const struct hr_piece_chunk *c = src->first; c != NULL && len > 0; c = c->next)
        for (uint32_t i = c->head; i < c->tail && len > 0; i++) {
            struct hr_piece p = c->piece[i];
            if (off >= p.len) {
                off -= p.len;
                continue;
            }
            p.off = (uint16_t)(p.off + off);
            p.len = (uint16_t)(p.len - off < len ? p.len - off : len);
            off = 0;
            len -= p.len;
            if (needs_chunk(dst) && !add_chunk(ctx, dst))
                return HR_E_NOMEM;
            rte_mbuf_refcnt_update(p.mbuf, 1);
            append(dst, &p);
            held_add(ctx, 1);
        }
    return 0;
}

void hr_buf_bin_empty(struct hr_buf_bin *bin)
{
    if (bin->n > 0)
        rte_mempool_put_bulk(bin->pool, (void **)bin->m, bin->n);
    bin->n = 0;
}

void hr_buf_give_up_shared(struct rte_mbuf *m)
{
    rte_pktmbuf_free_seg(m);
}

void hr_buf_bin_change(struct hr_buf_bin *bin, struct rte_mempool *pool)
{
    hr_buf_bin_empty(bin);
    bin->pool = pool;
}

void hr_pieceq_drop_into(struct hr_buf_ctx *ctx, struct hr_pieceq *q, uint32_t len, struct hr_buf_bin *bin)
{
    q->bytes -= len;
    while (len > 0) {
        struct hr_piece_chunk *c = q->first;
        const struct hr_piece *p = &c->piece[c->head], *end = &c->piece[c->tail];
        for (; p < end && len >= p->len; p++) {
            len -= p->len;
            hr_buf_bin_add(bin, p->mbuf);
        }
        uint32_t i = (uint32_t)(p - c->piece);
        ctx->held -= i - c->head;
        q->n_pieces -= i - c->head;
        if (p < end) {
            c->head = (uint16_t)i;
            c->piece[i].off = (uint16_t)(c->piece[i].off + len);
            c->piece[i].len = (uint16_t)(c->piece[i].len - len);
            return;
        }
        q->first = c->next;
        if (q->first == NULL)
            q->last = NULL;
        chunk_put(ctx, c);
    }
}

void hr_pieceq_drop(struct hr_buf_ctx *ctx, struct hr_pieceq *q, uint32_t len)
{
    struct hr_buf_bin bin;

    bin.n = 0;
    bin.pool = NULL;
    hr_pieceq_drop_into(ctx, q, len, &bin);
    hr_buf_bin_empty(&bin);
}

void hr_pieceq_clear(struct hr_buf_ctx *ctx, struct hr_pieceq *q)
{
    hr_pieceq_drop(ctx, q, q->bytes);
}

void hr_pieceq_peek(const struct hr_pieceq *q, uint32_t off, void *dst, uint32_t len)
{
    struct hr_piece_iter it;
    uint8_t *out = dst;

    hr_piece_iter_at(&it, q, off);
    while (len > 0) {
        uint32_t have;
        const uint8_t *p = hr_piece_iter_peek(&it, &have);
        if (p == NULL)
            return;
        uint32_t n = RTE_MIN(have, len);
        memcpy(out, p, n);
        out += n;
        len -= n;
        hr_piece_iter_advance(&it, n);
    }
}

void hr_pieceq_wipe(struct hr_pieceq *q, uint32_t len)
{
    struct hr_piece_iter it;

    hr_piece_iter_at(&it, q, 0);
    while (len > 0) {
        uint32_t have;
        const uint8_t *p = hr_piece_iter_peek(&it, &have);
        if (p == NULL)
            return;
        uint32_t n = RTE_MIN(have, len);
        hr_wipe((void *)(uintptr_t)p, n);
        len -= n;
        hr_piece_iter_advance(&it, n);
    }
}

/* Makes room for one more slot behind slot index of chunk c. */
static int insert_slot(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece_chunk *c, uint32_t index)
{
    uint32_t behind = c->tail - index - 1;
    if (c->tail == HR_PIECE_CHUNK_N) {
        struct hr_piece_chunk *fresh = chunk_get(ctx);
        if (fresh == NULL)
            return HR_E_NOMEM;
        /* What stands behind moves to a chunk of its own; the new slot opens at this one's end, or, if
         * nothing stands behind, at the fresh one's start. */
        memcpy(&fresh->piece[1], &c->piece[index + 1], behind * sizeof(c->piece[0]));
        fresh->tail = (uint16_t)(behind + 1);
        fresh->next = c->next;
        c->next = fresh;
        c->tail = (uint16_t)(index + 1);
        if (q->last == c)
            q->last = fresh;
    } else {
        memmove(&c->piece[index + 2], &c->piece[index + 1], behind * sizeof(c->piece[0]));
        c->tail++;
    }
    q->n_pieces++;
    held_add(ctx, 1);
    return 0;
}

/* The slot that follows slot *index of *c. */
static void next_slot(struct hr_piece_chunk **c, uint32_t *index)
{
    if (++*index == (*c)->tail) {
        *c = (*c)->next;
        *index = (*c)->head;
    }
}

/* Cuts a piece in two at byte at; both keep a reference. */
static int split(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece_chunk *c, uint32_t index,
                 uint32_t at)
{
    int err = insert_slot(ctx, q, c, index);
    if (err != 0)
        return err;
    struct hr_piece *a = &c->piece[index];
    next_slot(&c, &index);
    struct hr_piece *b = &c->piece[index];
    *b = *a;
    b->off = (uint16_t)(a->off + at);
    b->len = (uint16_t)(a->len - at);
    a->len = (uint16_t)at;
    rte_mbuf_refcnt_update(a->mbuf, 1);
    return 0;
}

void hr_piece_iter_at(struct hr_piece_iter *it, const struct hr_pieceq *q, uint32_t off)
{
    it->chunk = q->first;
    if (q->first == NULL) {
        it->index = it->off = 0;
        return;
    }
    it->index = q->first->head;
    it->off = q->first->piece[it->index].off;
    hr_piece_iter_advance(it, off);
}

/* Steps over pieces that are used up; stays behind the last one, so that a later push continues there. */
static bool settle(struct hr_piece_iter *it)
{
    for (;;) {
        const struct hr_piece *p = &it->chunk->piece[it->index];
        if (it->off < (uint32_t)p->off + p->len)
            return true;
        if (it->index + 1 < it->chunk->tail) {
            it->index++;
        } else if (it->chunk->next != NULL) {
            it->chunk = it->chunk->next;
            it->index = it->chunk->head;
        } else {
            return false;
        }
        it->off = it->chunk->piece[it->index].off;
    }
}

const uint8_t *hr_piece_iter_peek(struct hr_piece_iter *it, uint32_t *ret_len)
{
    *ret_len = 0;
    if (it->chunk == NULL || !settle(it))
        return NULL;
    const struct hr_piece *p = &it->chunk->piece[it->index];
    *ret_len = (uint32_t)p->off + p->len - it->off;
    return (const uint8_t *)p->mbuf->buf_addr + it->off;
}

void hr_piece_iter_advance(struct hr_piece_iter *it, uint32_t n)
{
    while (n > 0 && it->chunk != NULL && settle(it)) {
        const struct hr_piece *p = &it->chunk->piece[it->index];
        uint32_t step = RTE_MIN(n, (uint32_t)p->off + p->len - it->off);
        it->off = (uint16_t)(it->off + step);
        n -= step;
    }
}

/* Room in front of a piece that is ours to write. */
static uint32_t front_room(const struct hr_piece *p)
{
    return hr_buf_writable(p->mbuf) ? p->off : 0;
}

static uint32_t back_room(const struct hr_piece *p)
{
    return hr_buf_writable(p->mbuf) ? (uint32_t)p->mbuf->buf_len - p->off - p->len : 0;
}

static uint8_t *grow_back(struct hr_pieceq *q, struct hr_piece *p, uint32_t len)
{
    uint8_t *at = hr_piece_data(p) + p->len;
    p->len = (uint16_t)(p->len + len);
    q->bytes += len;
    return at;
}

static uint8_t *grow_front(struct hr_pieceq *q, struct hr_piece *p, uint32_t len)
{
    p->off = (uint16_t)(p->off - len);
    p->len = (uint16_t)(p->len + len);
    q->bytes += len;
    return hr_piece_data(p);
}

/* A small buffer of its own in the slot behind slot index of c; its position goes to *it. */
static uint8_t *insert_small(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece_iter *it,
                             struct hr_piece_chunk *c, uint32_t index, bool before, uint32_t len)
{
    struct rte_mbuf *m = hr_buf_alloc_payload(ctx);
    if (m == NULL)
        return NULL;
    if (insert_slot(ctx, q, c, index) != 0) {
        rte_pktmbuf_free_seg(m);
        return NULL;
    }
    struct hr_piece_chunk *behind = c;
    uint32_t behind_index = index;
    next_slot(&behind, &behind_index);
    struct hr_piece *p = &behind->piece[behind_index];
    if (before) { /* what stood here goes into the new slot */
        *p = c->piece[index];
        p = &c->piece[index];
        behind = c;
        behind_index = index;
    }
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    *p = (struct hr_piece){.mbuf = m, .off = m->data_off, .len = (uint16_t)len};
    q->bytes += len;
    it->chunk = behind;
    it->index = (uint16_t)behind_index;
    it->off = (uint16_t)(p->off + len);
    return hr_piece_data(p);
}

uint8_t *hr_pieceq_gap(struct hr_buf_ctx *ctx, struct hr_pieceq *q, struct hr_piece_iter *it, uint32_t len,
                       bool in_front)
{
    struct hr_piece_chunk *c = (struct hr_piece_chunk *)(uintptr_t)it->chunk;
    struct hr_piece *p = &c->piece[it->index];

    if (it->off == p->off) {
        if (in_front && front_room(p) >= len)
            return grow_front(q, p, len); /* it->off is where it was: behind the new bytes */
        if (it->index > c->head && back_room(p - 1) >= len)
            return grow_back(q, p - 1, len);
        return insert_small(ctx, q, it, c, it->index, true, len);
    }
    if (it->off == (uint32_t)p->off + p->len) {
        struct hr_piece_iter behind = *it;
        if (in_front && settle(&behind)) {
            struct hr_piece *next = (struct hr_piece *)(uintptr_t)&behind.chunk->piece[behind.index];
            if (front_room(next) >= len) {
                *it = behind;
                return grow_front(q, next, len);
            }
        }
        if (back_room(p) >= len) {
            it->off = (uint16_t)(it->off + len);
            return grow_back(q, p, len);
        }
        return insert_small(ctx, q, it, c, it->index, false, len);
    }
    /* The cut may stay where the small buffer fails: the bytes are the same. */
    if (split(ctx, q, c, it->index, it->off - p->off) != 0)
        return NULL;
    return insert_small(ctx, q, it, c, it->index, false, len);
}
