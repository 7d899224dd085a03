/* Payload into the receive queue. Out of order it waits in a sorted list of pieces without overlap, at most
 * ooo_max_pieces per connection; what arrived first wins where bytes overlap. */
#include <string.h>

#include "dataplane/tcp/impl.h"

/* Duplicate ACKs per turn, for peers that count them. With SACK one tells all. */
#define DUP_ACKS_MAX 16

struct rte_mbuf *hr_tcp_trim_head(struct rte_mbuf *m, uint32_t n)
{
    while (m != NULL && n >= m->data_len) {
        struct rte_mbuf *next = m->next;
        n -= m->data_len;
        m->next = NULL;
        m->nb_segs = 1;
        rte_pktmbuf_free_seg(m);
        m = next;
    }
    if (m != NULL) {
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

/* Is there room for the segment in the budgets? Counted if not. */
static bool admit(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    bool in_order = seg->seq == c->rcv_nxt;
    uint32_t reserve = tcp->cfg.rx_pool_reserve;

    /* Near the end of the pool only what moves a connection forward is kept. */
    if (tcp->pool_free < (in_order ? reserve / 4 : reserve) ||
        (bufs_held(c) >= 2 * tcp->cfg.conn_bufs_max && c->want == 0)) {
        HR_DROP(tcp->stats, tcp_rcv_pool);
        return false;
    }
    if (!in_order && hr_tcp_reass_pieces(c) >= tcp->cfg.ooo_max_pieces) {
        HR_DROP(tcp->stats, tcp_ooo_limit);
        return false;
    }
    return true;
}

static struct hr_tcp_gaps *gaps_attach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps == NULL) {
        c->gaps = hr_tcp_slab_get(&tcp->gaps_slab);
        if (c->gaps != NULL)
            memset(c->gaps, 0, sizeof(*c->gaps));
    }
    return c->gaps;
}

static void gaps_detach_idle(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps == NULL || c->gaps->first != NULL || c->gaps->dsack_due)
        return;
    hr_tcp_slab_put(&tcp->gaps_slab, c->gaps);
    c->gaps = NULL;
}

void hr_tcp_reass_duplicate(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t start, uint32_t end)
{
    if (!c->sack_on || start == end)
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

static void ooo_put(struct hr_tcp_gaps *g, struct hr_tcp_ooo *prev, struct hr_tcp_ooo *n)
{
    struct hr_tcp_ooo **link = prev == NULL ? &g->first : &prev->next;
    n->next = *link;
    *link = n;
    if (n->next == NULL)
        g->last = n;
    g->n++;
}

/* Takes the first piece off the list; its buffer has gone elsewhere. */
static void ooo_pop(struct hr_tcp *tcp, struct hr_tcp_gaps *g)
{
    struct hr_tcp_ooo *n = g->first;
    g->first = n->next;
    if (g->first == NULL)
        g->last = NULL;
    g->n--;
    hr_tcp_slab_put(&tcp->ooo_slab, n);
}

/* Crumbs go into the buffer of the piece that they continue, where that is ours and has room. */
static bool ooo_coalesce(struct hr_tcp *tcp, struct hr_tcp_ooo *prev, const struct rte_mbuf *m, uint32_t seq,
                         uint16_t off, uint16_t len)
{
    if (prev == NULL || len >= HR_COPY_BREAK || prev->seq + prev->len != seq ||
        !hr_buf_writable(prev->mbuf) || prev->off + prev->len + len > prev->mbuf->buf_len)
        return false;
    memcpy((uint8_t *)prev->mbuf->buf_addr + prev->off + prev->len, (const uint8_t *)m->buf_addr + off, len);
    prev->len = (uint16_t)(prev->len + len);
    HR_COUNT_N(tcp->stats, coalesced_bytes, len);
    return true;
}

/* Keeps bytes [seq, seq+len) of one mbuf where they are new; *dup grows by the first that are not, in a row.
 * Takes m; false when a limit stopped it. */
static bool ooo_insert_mbuf(struct hr_tcp *tcp, struct hr_tcp_gaps *g, struct rte_mbuf *m, uint32_t seq,
                            struct hr_tcp_range *dup)
{
    uint32_t end = seq + m->data_len;
    uint16_t base = m->data_off;
    uint32_t base_seq = seq;
    struct hr_tcp_ooo *prev = NULL, *next = g->first;
    bool all = true;

    if (g->last != NULL && hr_seq_leq(g->last->seq, seq)) { /* the usual place is the end */
        prev = g->last;
        next = NULL;
    }
    while (next != NULL && hr_seq_leq(next->seq, seq)) {
        prev = next;
        next = next->next;
    }
    /* Walk the gaps that the range covers; each gets a piece of its own. */
    while (hr_seq_lt(seq, end)) {
        if (prev != NULL && hr_seq_gt(prev->seq + prev->len, seq)) {
            uint32_t again = hr_seq_min(prev->seq + prev->len, end);
            if (dup->start == dup->end)
                dup->start = seq;
            if (dup->start == seq || dup->end == seq)
                dup->end = again;
            seq = again;
            if (seq == end)
                break;
        }
        uint32_t stop = next == NULL ? end : hr_seq_min(end, next->seq);
        if (hr_seq_lt(seq, stop)) {
            uint16_t off = (uint16_t)(base + (seq - base_seq)), len = (uint16_t)(stop - seq);
            if (!ooo_coalesce(tcp, prev, m, seq, off, len)) {
                struct hr_tcp_ooo *n =
                    g->n < tcp->cfg.ooo_max_pieces ? hr_tcp_slab_get(&tcp->ooo_slab) : NULL;
                if (n == NULL) {
                    HR_DROP(tcp->stats, tcp_ooo_limit);
                    all = false;
                    break;
                }
                *n = (struct hr_tcp_ooo){.mbuf = m, .seq = seq, .off = off, .len = len};
                rte_mbuf_refcnt_update(m, 1);
                ooo_put(g, prev, n);
                prev = n;
            }
            seq = stop;
        }
        if (next == NULL)
            break;
        prev = next;
        next = next->next;
    }
    rte_pktmbuf_free_seg(m); /* the reference that came in */
    return all;
}

/* Remembers which piece arrived last, for the order of SACK blocks (RFC 2018 4). */
static void note_recent(struct hr_tcp_gaps *g, uint32_t seq)
{
    memmove(&g->recent[1], &g->recent[0], sizeof(g->recent) - sizeof(g->recent[0]));
    g->recent[0] = seq;
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
    note_recent(g, seq);
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        uint16_t len = m->data_len;
        m->next = NULL;
        m->nb_segs = 1;
        if (!ooo_insert_mbuf(tcp, g, m, seq, &dup)) {
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
    struct hr_tcp_ooo *n;

    while ((n = g->first) != NULL && hr_seq_leq(n->seq, c->rcv_nxt)) {
        uint32_t skip = c->rcv_nxt - n->seq; /* received again meanwhile */
        struct hr_piece piece = {.mbuf = n->mbuf};
        bool ok = true;
        if (skip >= n->len) {
            rte_pktmbuf_free_seg(n->mbuf);
        } else {
            piece.off = (uint16_t)(n->off + skip);
            piece.len = (uint16_t)(n->len - skip);
            ok = deliver(tcp, c, piece);
        }
        ooo_pop(tcp, g);
        if (!ok)
            break;
    }
    gaps_detach_idle(tcp, c);
}

void hr_tcp_reass_clear(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_gaps *g = c->gaps;
    if (g == NULL)
        return;
    while (g->first != NULL) {
        rte_pktmbuf_free_seg(g->first->mbuf);
        ooo_pop(tcp, g);
    }
    gaps_detach_idle(tcp, c);
}

static void deliver_segment(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    struct rte_mbuf *m = seg->m;

    seg->m = NULL;
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        m->next = NULL;
        m->nb_segs = 1;
        m->pkt_len = m->data_len;
        if (m->data_len == 0) {
            rte_pktmbuf_free_seg(m);
        } else if (!deliver(tcp, c, (struct hr_piece){.mbuf = m, .off = m->data_off, .len = m->data_len})) {
            rte_pktmbuf_free(next);
            return;
        }
        m = next;
    }
}

void hr_tcp_reass_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    uint32_t before = c->rcv_nxt;

    if (!admit(tcp, c, seg)) {
        hr_tcp_ack_soon(tcp, c);
        return;
    }
    /* Sizes of what arrives, for turning buffers into bytes. Crumbs coalesce, so they do not count as one. */
    uint16_t size = (uint16_t)RTE_MIN(seg->len, (uint32_t)c->adv_mss);
    c->rcv_seg_max = RTE_MAX(c->rcv_seg_max, size);
    c->rcv_seg = (uint16_t)((7u * c->rcv_seg + RTE_MAX(size, (uint16_t)HR_COPY_BREAK)) / 8);

    if (seg->seq != c->rcv_nxt) {
        insert_ooo(tcp, c, seg);
        if (!c->sack_on && c->dup_due < DUP_ACKS_MAX)
            c->dup_due++;
        hr_tcp_ack_soon(tcp, c); /* a duplicate ACK tells the sender of the gap (RFC 5681 4.2) */
        return;
    }
    bool filled = hr_tcp_reass_pieces(c) > 0;
    deliver_segment(tcp, c, seg);
    if (filled)
        deliver_ooo(tcp, c);
    if (c->rcv_nxt != before)
        hr_tcp_post(tcp, c, HR_TCP_EV_READABLE);
    hr_tcp_window_account(tcp, c);

    if (filled) { /* at once (RFC 5681 4.2) */
        hr_tcp_ack_quick(c);
        hr_tcp_ack_soon(tcp, c);
    } else if (c->rcv_nxt == before) {
        hr_tcp_ack_soon(tcp, c); /* no buffer to keep it in */
    } else {
        hr_tcp_ack_received(tcp, c);
    }
}

/* The contiguous range around seq, if any piece holds it. */
static bool range_around(const struct hr_tcp_conn *c, uint32_t seq, struct hr_tcp_range *ret)
{
    for (const struct hr_tcp_ooo *n = c->gaps->first; n != NULL;) {
        struct hr_tcp_range r = {n->seq, n->seq + n->len};
        for (n = n->next; n != NULL && n->seq == r.end; n = n->next)
            r.end += n->len;
        if (hr_seq_leq(r.start, seq) && hr_seq_lt(seq, r.end)) {
            *ret = r;
            return true;
        }
        if (hr_seq_gt(r.start, seq))
            return false;
    }
    return false;
}

static bool listed(const struct hr_tcp_range *list, uint32_t n, uint32_t start)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i].start == start)
            return true;
    }
    return false;
}

uint32_t hr_tcp_reass_sack(const struct hr_tcp_conn *c, struct hr_tcp_range *ret, uint32_t max)
{
    const struct hr_tcp_gaps *g = c->gaps;
    uint32_t n = 0, first;
    struct hr_tcp_range r;

    if (g == NULL)
        return 0;
    if (g->dsack_due && max > 0)
        ret[n++] = g->dsack; /* RFC 2883 4: it comes first */
    first = n;
    for (uint32_t i = 0; i < RTE_DIM(g->recent) && n < max; i++) {
        if (range_around(c, g->recent[i], &r) && !listed(ret + first, n - first, r.start))
            ret[n++] = r;
    }
    /* Fill up with the lowest. */
    for (const struct hr_tcp_ooo *o = g->first; o != NULL && n < max;) {
        r = (struct hr_tcp_range){o->seq, o->seq + o->len};
        for (o = o->next; o != NULL && o->seq == r.end; o = o->next)
            r.end += o->len;
        if (!listed(ret + first, n - first, r.start))
            ret[n++] = r;
    }
    return n;
}
