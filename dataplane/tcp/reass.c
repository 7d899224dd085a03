/* Payload into the receive queue. What is out of order waits in islands, the contiguous ranges that SACK blocks
 * report: a set by sequence number (seqtree.h), so that ten thousand gaps do not slow a segment, and a list by
 * the time of their last change, which is the order of the blocks (RFC 2018 4). An island holds its pieces in a
 * list that is only ever extended at its ends. At most ooo_max_pieces wait per connection; what arrived first
 * wins where bytes overlap. */
#include <string.h>

#include "dataplane/tcp/impl.h"

/* Duplicate ACKs per turn, for peers that count them. With SACK one tells all. */
#define DUP_ACKS_MAX 16

struct rte_mbuf *hr_tcp_trim_head(struct rte_mbuf *m, uint32_t n)
{
    uint16_t segs = m != NULL ? m->nb_segs : 0;
    while (m != NULL && n >= m->data_len) {
        struct rte_mbuf *next = m->next;
        n -= m->data_len;
        segs--;
        m->next = NULL;
        m->nb_segs = 1;
        rte_pktmbuf_free_seg(m);
        m = next;
    }
    if (m != NULL) {
        m->nb_segs = segs; /* only the head of a chain knows */
        m->data_off = (uint16_t)(m->data_off + n);
        m->data_len = (uint16_t)(m->data_len - n);
    }
    return m;
}

struct rte_mbuf *hr_tcp_trim_to(struct rte_mbuf *m, uint32_t len)
{
    struct rte_mbuf *head = m;

    if (len == 0 || m == NULL) {
        rte_pktmbuf_free(m);
        return NULL;
    }
    while (m->data_len < len && m->next != NULL) {
        len -= m->data_len;
        m = m->next;
    }
    rte_pktmbuf_free(m->next);
    m->next = NULL;
    if (m->data_len > len)
        m->data_len = (uint16_t)len;
    return head;
}

static uint32_t bufs_held(const struct hr_tcp_conn *c)
{
    return c->rcvq.n_pieces + hr_tcp_reass_pieces(c) + c->down_bufs;
}

uint32_t hr_tcp_reass_room(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint32_t held = bufs_held(c), max = 2 * tcp->cfg.conn_bufs_max;
    return c->want > 0 ? UINT32_MAX : held < max ? max - held : 0;
}

/* Is there room for the segment in the budgets? */
static bool admit(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool in_order)
{
    uint32_t reserve = tcp->cfg.rx_pool_reserve;

    /* Near the end of the pool only what moves a connection forward is kept. */
    if ((tcp->pool_free < (in_order ? reserve / 4 : reserve) && !HR_MUTANT(NO_POOL_RESERVE)) ||
        hr_tcp_reass_room(tcp, c) == 0) {
        HR_DROP(tcp->stats, tcp_rcv_pool);
        return false;
    }
    if (!in_order && hr_tcp_reass_pieces(c) >= tcp->cfg.ooo_max_pieces && !HR_MUTANT(GAPS_WITHOUT_LIMIT)) {
        HR_DROP(tcp->stats, tcp_ooo_limit);
        return false;
    }
    return true;
}

/* Sizes of what arrives, for turning buffers into bytes: n segments with so many bytes, beside the mean of what came
 * before. Crumbs coalesce, so they do not count as one. */
static void note_size(struct hr_tcp_conn *c, uint32_t n, uint32_t bytes)
{
    uint32_t size = RTE_MIN(n == 1 ? bytes : bytes / n, (uint32_t)c->adv_mss), weight = RTE_MIN(n, 8u);
    c->rcv_seg = (uint16_t)(((8 - weight) * c->rcv_seg + weight * RTE_MAX(size, (uint32_t)HR_COPY_BREAK)) / 8);
}

static struct hr_tcp_gaps *gaps_attach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps == NULL) {
        c->gaps = hr_tcp_slab_get(&tcp->gaps_slab);
        if (c->gaps != NULL) {
            memset(c->gaps, 0, sizeof(*c->gaps));
            hr_seqtree_init(&c->gaps->tree, c->hash + (uint32_t)tcp->now_us); /* keyed: see recovery.c */
            TAILQ_INIT(&c->gaps->recent);
        }
    }
    return c->gaps;
}

static void gaps_detach_idle(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps == NULL || c->gaps->tree.n > 0 || c->gaps->dsack_due)
        return;
    hr_tcp_slab_put(&tcp->gaps_slab, c->gaps);
    c->gaps = NULL;
}

void hr_tcp_reass_duplicate(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t start, uint32_t end)
{
    if (!c->sack_on || start == end || HR_MUTANT(NO_DSACK))
        return;
    struct hr_tcp_gaps *g = gaps_attach(tcp, c);
    if (g == NULL)
        return; /* the report is a courtesy */
    g->dsack = (struct hr_tcp_range){start, end};
    g->dsack_due = true;
}

void hr_tcp_reass_reported(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps != NULL)
        c->gaps->dsack_due = false;
    gaps_detach_idle(tcp, c);
}

static struct hr_tcp_island *island_of(struct hr_seqnode *node)
{
    return (struct hr_tcp_island *)(void *)node;
}

/* It changed last. */
static void touch(struct hr_tcp_gaps *g, struct hr_tcp_island *i)
{
    if (HR_MUTANT(SACK_ORDER))
        return;
    TAILQ_REMOVE(&g->recent, i, link);
    TAILQ_INSERT_HEAD(&g->recent, i, link);
}

static void island_free(struct hr_tcp *tcp, struct hr_tcp_gaps *g, struct hr_tcp_island *i)
{
    TAILQ_REMOVE(&g->recent, i, link);
    hr_seqtree_remove(&g->tree, &i->node);
    hr_tcp_slab_put(&tcp->island_slab, i);
}

/* Takes the first piece off an island; its buffer goes elsewhere. The island may be gone then. */
static struct hr_piece pop(struct hr_tcp *tcp, struct hr_tcp_gaps *g, struct hr_tcp_island *i)
{
    struct hr_tcp_ooo *p = i->first;
    struct hr_piece piece = {.mbuf = p->mbuf, .off = p->off, .len = p->len};

    i->first = p->next;
    i->node.seq += p->len;
    g->n--;
    hr_tcp_slab_put(&tcp->ooo_slab, p);
    if (i->first == NULL)
        island_free(tcp, g, i);
    return piece;
}

/* Crumbs go into the buffer of the piece that they continue, where that is ours and has room. */
static bool coalesce(struct hr_tcp *tcp, struct hr_tcp_ooo *prev, const struct rte_mbuf *m, uint16_t off,
                     uint16_t len)
{
    if (len >= HR_COPY_BREAK || !hr_buf_writable(prev->mbuf) ||
        prev->off + prev->len + len > prev->mbuf->buf_len)
        return false;
    memcpy((uint8_t *)prev->mbuf->buf_addr + prev->off + prev->len, (const uint8_t *)m->buf_addr + off, len);
    prev->len = (uint16_t)(prev->len + len);
    HR_COUNT_N(tcp->stats, coalesced_bytes, len);
    return true;
}

/* Keeps a piece of m that stands at seq, behind at and before next (either may be NULL) and overlaps neither.
 * Returns its island; NULL: a limit stopped it. */
static struct hr_tcp_island *keep(struct hr_tcp *tcp, struct hr_tcp_gaps *g, struct hr_tcp_island *at,
                                  struct hr_tcp_island *next, struct rte_mbuf *m, uint32_t seq, uint16_t off,
                                  uint16_t len)
{
    bool joins_next = next != NULL && seq + len == next->node.seq;
    bool joins_at = at != NULL && at->end == seq;

    if (!joins_at || !coalesce(tcp, at->last, m, off, len)) {
        bool room = g->n < tcp->cfg.ooo_max_pieces || HR_MUTANT(GAPS_WITHOUT_LIMIT);
        struct hr_tcp_ooo *p = room ? hr_tcp_slab_get(&tcp->ooo_slab) : NULL;
        if (p == NULL)
            return NULL;
        *p = (struct hr_tcp_ooo){.mbuf = m, .off = off, .len = len};
        if (joins_at) {
            at->last->next = p;
            at->last = p;
        } else if (joins_next) {
            p->next = next->first;
            next->first = p;
            next->node.seq = seq;
            at = next;
        } else {
            struct hr_tcp_island *i = hr_tcp_slab_get(&tcp->island_slab);
            if (i == NULL) {
                hr_tcp_slab_put(&tcp->ooo_slab, p);
                return NULL;
            }
            i->node.seq = seq;
            i->end = seq + len;
            i->first = i->last = p;
            hr_seqtree_insert(&g->tree, at == NULL ? NULL : &at->node, &i->node);
            TAILQ_INSERT_HEAD(&g->recent, i, link);
            at = i;
        }
        rte_mbuf_refcnt_update(m, 1);
        g->n++;
    }
    if (joins_at) {
        at->end += len;
        if (joins_next) {
            at->last->next = next->first;
            at->last = next->last;
            at->end = next->end;
            island_free(tcp, g, next);
        }
    }
    return at;
}

/* Keeps bytes [seq, seq+len) of one mbuf where they are new; *dup grows by the first that are not, in a row.
 * Takes m; false when a limit stopped it. */
static bool insert_mbuf(struct hr_tcp *tcp, struct hr_tcp_gaps *g, struct rte_mbuf *m, uint32_t seq,
                        struct hr_tcp_range *dup)
{
    const uint32_t base = seq, end = seq + m->data_len;
    struct hr_tcp_island *at = island_of(hr_seqtree_floor(&g->tree, seq));
    bool all = true;

    while (hr_seq_lt(seq, end)) {
        if (at != NULL && hr_seq_gt(at->end, seq)) {
            uint32_t again = hr_seq_min(at->end, end);
            if (dup->start == dup->end)
                dup->start = seq;
            if (dup->start == seq || dup->end == seq)
                dup->end = again;
            seq = again;
            continue;
        }
        struct hr_tcp_island *next = island_of(at == NULL ? g->tree.first : hr_seqtree_next(&at->node));
        uint32_t stop = next == NULL ? end : hr_seq_min(end, next->node.seq);
        if (seq == stop) {
            at = next;
            continue;
        }
        at = keep(tcp, g, at, next, m, seq, (uint16_t)(m->data_off + (seq - base)), (uint16_t)(stop - seq));
        if (at == NULL) {
            HR_DROP(tcp->stats, tcp_ooo_limit);
            all = false;
            break;
        }
        seq = stop;
    }
    if (at != NULL)
        touch(g, at);
    rte_pktmbuf_free_seg(m); /* the reference that came in */
    return all;
}

static void insert_ooo(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    struct rte_mbuf *m = seg->m;
    uint32_t seq = seg->seq;
    struct hr_tcp_range dup = {0, 0};

    HR_COUNT(tcp->stats, tcp_ooo_rx);
    struct hr_tcp_gaps *g = gaps_attach(tcp, c);
    if (g == NULL) {
        HR_DROP(tcp->stats, tcp_ooo_limit);
        return;
    }
    seg->m = NULL;
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        uint16_t len = m->data_len;
        m->next = NULL;
        m->nb_segs = 1;
        if (!insert_mbuf(tcp, g, m, seq, &dup)) {
            rte_pktmbuf_free(next);
            break;
        }
        seq += len;
        m = next;
    }
    hr_tcp_reass_duplicate(tcp, c, dup.start, dup.end); /* RFC 2883 4.1: above a gap too */
    gaps_detach_idle(tcp, c);
}

/* Appends in-order bytes of one mbuf. Takes it; false: no chunk, nothing appended. */
static bool deliver(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_piece piece)
{
    uint16_t len = piece.len;
    if (hr_pieceq_push_take(tcp->bufs, &c->rcvq, piece) != 0) {
        HR_DROP(tcp->stats, tcp_rcv_pool);
        return false;
    }
    c->rcv_nxt += len;
    HR_COUNT_N(tcp->stats, tcp_bytes_rx, len);
    return true;
}

/* What waited for this moves over. */
static void deliver_ooo(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_gaps *g = c->gaps;
    struct hr_seqnode *first;
    bool ok = true;

    while (ok && (first = g->tree.first) != NULL && hr_seq_leq(first->seq, c->rcv_nxt)) {
        uint32_t skip = c->rcv_nxt - first->seq; /* received again meanwhile */
        struct hr_piece piece = pop(tcp, g, island_of(first));
        if (skip >= piece.len) {
            rte_pktmbuf_free_seg(piece.mbuf);
        } else {
            piece.off = (uint16_t)(piece.off + skip);
            piece.len = (uint16_t)(piece.len - skip);
            ok = deliver(tcp, c, piece);
        }
    }
    gaps_detach_idle(tcp, c);
}

void hr_tcp_reass_clear(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_gaps *g = c->gaps;

    if (g == NULL)
        return;
    while (g->tree.first != NULL)
        rte_pktmbuf_free_seg(pop(tcp, g, island_of(g->tree.first)).mbuf);
    gaps_detach_idle(tcp, c);
}

uint32_t hr_tcp_reass_end(const struct hr_tcp_conn *c)
{
    const struct hr_tcp_gaps *g = c->gaps;
    return g == NULL || g->tree.last == NULL ? c->rcv_nxt : island_of(g->tree.last)->end;
}

/* In-order payload of n segments, behind skip bytes each. False: not all of it, or nothing, found a chunk. */
static bool deliver_segments(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct rte_mbuf **segs, uint32_t n,
                             uint32_t skip)
{
    uint32_t before = c->rcvq.bytes;
    uint32_t taken = hr_pieceq_push_packets_take(tcp->bufs, &c->rcvq, segs, n, skip);
    uint32_t bytes = c->rcvq.bytes - before;

    HR_DROP_N(tcp->stats, tcp_rcv_pool, n - taken);
    c->rcv_nxt += bytes;
    HR_COUNT_N(tcp->stats, tcp_bytes_rx, bytes);
    if (bytes > 0)
        hr_tcp_post(tcp, c, HR_TCP_EV_READABLE);
    return taken == n;
}

void hr_tcp_reass_row(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct rte_mbuf **segs, uint32_t n, uint32_t hdr_len,
                      uint32_t bytes)
{
    if (!admit(tcp, c, true)) {
        HR_DROP_N(tcp->stats, tcp_rcv_pool, n - 1);
        rte_pktmbuf_free_bulk(segs, n);
        hr_tcp_ack_soon(tcp, c);
        return;
    }
    note_size(c, n, bytes);
    bool all = deliver_segments(tcp, c, segs, n, hdr_len);
    if (all)
        hr_tcp_ack_received(tcp, c, n);
    else
        hr_tcp_ack_soon(tcp, c); /* no chunk to keep it in */
}

void hr_tcp_reass_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    if (seg->seq == c->rcv_nxt && hr_tcp_reass_pieces(c) == 0) {
        hr_tcp_reass_row(tcp, c, &seg->m, 1, 0, seg->len);
        seg->m = NULL;
        return;
    }
    if (!admit(tcp, c, seg->seq == c->rcv_nxt)) {
        hr_tcp_ack_soon(tcp, c);
        return;
    }
    note_size(c, 1, seg->len);
    if (seg->seq != c->rcv_nxt) {
        insert_ooo(tcp, c, seg);
        if (!c->sack_on && c->dup_due < DUP_ACKS_MAX)
            c->dup_due++;
        hr_tcp_ack_soon(tcp, c); /* a duplicate ACK tells the sender of the gap (RFC 5681 4.2) */
        return;
    }
    deliver_segments(tcp, c, &seg->m, 1, 0);
    seg->m = NULL;
    deliver_ooo(tcp, c);
    hr_tcp_ack_quick(c); /* at once (RFC 5681 4.2) */
    hr_tcp_ack_soon(tcp, c);
}

uint32_t hr_tcp_reass_sack(const struct hr_tcp_conn *c, struct hr_tcp_range *ret, uint32_t max)
{
    const struct hr_tcp_gaps *g = c->gaps;
    const struct hr_tcp_island *i;
    uint32_t n = 0;

    if (g == NULL || HR_MUTANT(NO_SACK_BLOCKS))
        return 0;
    if (g->dsack_due && max > 0)
        ret[n++] = g->dsack; /* RFC 2883 4: it comes first */
    TAILQ_FOREACH(i, &g->recent, link) {
        if (n == max)
            break;
        ret[n++] = (struct hr_tcp_range){i->node.seq, i->end};
    }
    return n;
}
