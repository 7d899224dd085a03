/* How a segment is put together: headers, and the payload behind them.
 *
 * The segments of one connection's turn differ in little more than their sequence numbers, so their headers are made
 * once (struct hr_tcp_run) and copied in front of each. They go in front of the payload, in the same buffer, where
 * that may be written (hr_buf_in_place()): then a received buffer leaves as it came. Else they get a small buffer of
 * their own and the payload is chained behind. Where the network has prepared a way, its headers are part of the
 * copy and the frame is complete; else it is given to emit_take().
 *
 * Segments without a connection, SYNs and those with SACK blocks are made one by one. */
#include <rte_mbuf.h>
#include <string.h>

#include "dataplane/tcp/impl.h"
#include "shared/base/vec.h"

/* The TCP header's place in the block. */
#define TCP_AT (sizeof(((struct hr_tcp_run *)0)->block) - HR_TCP_RUN_TCP_MAX)

_Static_assert(TCP_AT + sizeof(struct rte_tcp_hdr) == HR_BUF_FRONT, "without options it ends the first copy");
_Static_assert(HR_BUF_FRONT == 3 * sizeof(hr_vec32), "the first copy");
_Static_assert(HR_BUF_FRONT <= RTE_PKTMBUF_HEADROOM, "a header buffer has the room too");

static struct rte_mbuf *alloc(struct hr_tcp *tcp)
{
    struct rte_mbuf *m = rte_mbuf_raw_alloc(tcp->bufs->hdr_pool);
    if (unlikely(m == NULL)) {
        HR_COUNT(tcp->stats, mbuf_alloc_failed);
        HR_DROP(tcp->stats, tx_nombuf);
        tcp->no_mbuf = true;
    }
    return m;
}

/* ---- one by one ---- */

static struct rte_mbuf *header(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack,
                               uint8_t flags, uint16_t wnd, const struct hr_tcp_opts *opts)
{
    struct rte_mbuf *m = alloc(tcp);
    if (m == NULL)
        return NULL;
    rte_pktmbuf_reset(m);
    struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint32_t len = sizeof(*th) + (opts == NULL ? 0 : hr_tcp_opts_write((uint8_t *)(th + 1), opts));
    *th = (struct rte_tcp_hdr){
        .src_port = rte_cpu_to_be_16(flow->local_port),
        .dst_port = rte_cpu_to_be_16(flow->remote_port),
        .sent_seq = rte_cpu_to_be_32(seq),
        .recv_ack = rte_cpu_to_be_32(ack),
        .data_off = (uint8_t)(len / 4 << 4),
        .tcp_flags = flags,
        .rx_win = rte_cpu_to_be_16(wnd),
    };
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    return m;
}

static void emit(struct hr_tcp *tcp, const struct hr_flow *flow, struct rte_mbuf *m)
{
    HR_COUNT(tcp->stats, tcp_segs_tx);
    tcp->cfg.emit_take(tcp->cfg.owner, flow, m);
}

bool hr_tcp_send_stateless(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack, uint8_t flags,
                           uint16_t wnd, const struct hr_tcp_opts *opts)
{
    struct rte_mbuf *m = header(tcp, flow, seq, ack, flags, wnd, opts);
    if (m == NULL)
        return false;
    emit(tcp, flow, m);
    return true;
}

void hr_tcp_send_rst(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack, bool with_ack)
{
    uint8_t flags = RTE_TCP_RST_FLAG | (with_ack ? RTE_TCP_ACK_FLAG : 0);
    if (hr_tcp_send_stateless(tcp, flow, seq, ack, flags, 0, NULL))
        HR_COUNT(tcp->stats, tcp_rst_tx);
}

void hr_tcp_send_conn_rst(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    hr_tcp_send_rst(tcp, &c->flow, c->snd_nxt, c->rcv_nxt, true);
}

bool hr_tcp_send_options(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint32_t ack, uint8_t flags,
                         uint16_t wnd, struct hr_tcp_opts *opts)
{
    struct rte_mbuf *m = header(tcp, &c->flow, seq, ack, flags, wnd, opts);
    if (m == NULL)
        return false;
    tcp->run.n++;
    tcp->run.bytes += m->pkt_len;
    if (tcp->pace.limited != 0)
        hr_tcp_pace_charge(tcp, c, m->pkt_len);
    emit(tcp, &c->flow, m);
    return true;
}

/* ---- in runs ---- */

static struct rte_tcp_hdr *run_tcp(struct hr_tcp_run *r)
{
    return (struct rte_tcp_hdr *)(void *)(r->block + TCP_AT);
}

/* All headers, for segments without payload. */
static void begin(struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    struct hr_tcp_run *r = &tcp->run;
    struct {
        struct rte_tcp_hdr th;
        uint8_t usual[4];
        uint32_t tsval_be, tsecr_be;
    } __attribute__((packed)) *h = (void *)run_tcp(r);
    _Static_assert(sizeof(*h) == HR_TCP_RUN_TCP_MAX, "a header with timestamps");
    bool ts = c->ts_on && !HR_MUTANT(NO_TIMESTAMPS_LATER);

    r->ready = true;
    r->tcp_len = ts ? sizeof(*h) : sizeof(h->th);
    h->th = (struct rte_tcp_hdr){
        .src_port = rte_cpu_to_be_16(c->flow.local_port),
        .dst_port = rte_cpu_to_be_16(c->flow.remote_port),
        .recv_ack = rte_cpu_to_be_32(c->rcv_nxt),
        .data_off = (uint8_t)(r->tcp_len / 4 << 4),
        .rx_win = rte_cpu_to_be_16(hr_tcp_window_field(c)),
    };
    if (ts) {
        const uint8_t usual[4] = {HR_TCP_OPT_NOP, HR_TCP_OPT_NOP, HR_TCP_OPT_TS, 10};
        memcpy(h->usual, usual, sizeof(usual));
        h->tsval_be = rte_cpu_to_be_32(tcp->now_ms + c->ts_offset);
        h->tsecr_be = rte_cpu_to_be_32(c->ts_recent);
    }
    r->way = tcp->cfg.way == NULL ? NULL : tcp->cfg.way(tcp->cfg.owner, &c->flow);
    r->len = 0;
    r->head_len = r->tcp_len;
    r->ol_flags = 0;
    r->tx_offload = 0;
    if (likely(r->way != NULL)) {
        memcpy(r->block + TCP_AT - HR_NET_WAY_HEAD, r->way->head, HR_NET_WAY_HEAD);
        hr_net_way_length(r->way, &h->th, r->tcp_len);
        r->head_len = (uint16_t)(r->tcp_len + r->way->head_len);
        r->ol_flags = r->way->ol_flags;
        r->tx_offload = r->way->tx_offload | rte_mbuf_tx_offload(0, 0, r->tcp_len, 0, 0, 0, 0);
    }
}

/* The way is too narrow for what is to be sent: emit_take() sees to that. */
static void leave_way(struct hr_tcp_run *r)
{
    r->way = NULL;
    r->head_len = r->tcp_len;
    r->ol_flags = 0;
    r->tx_offload = 0;
    run_tcp(r)->cksum = 0;
}

static inline void set_len(struct hr_tcp_run *r, uint32_t len)
{
    if (r->len == len)
        return;
    r->len = len;
    if (r->way != NULL)
        hr_net_way_length(r->way, run_tcp(r), (uint16_t)(r->tcp_len + len));
}

/* Headers into m, in front of offset off in its buffer; payload follows, there or chained. */
static inline void write_head(const struct hr_tcp_run *r, struct rte_mbuf *m, uint32_t off, uint32_t seq, uint8_t flags)
{
    uint8_t *end = (uint8_t *)m->buf_addr + off;
    uint32_t tcp_len = r->tcp_len;
    struct rte_tcp_hdr *th = (struct rte_tcp_hdr *)(void *)(end - tcp_len);
    memcpy(end - HR_BUF_FRONT, r->block + tcp_len - sizeof(*th), HR_BUF_FRONT);
    th->sent_seq = rte_cpu_to_be_32(seq);
    th->tcp_flags = flags;
    m->ol_flags = r->ol_flags;
    m->tx_offload = r->tx_offload;
}

/* A buffer for headers alone, and behind it *len bytes of the queue, or as many as one packet can refer to. */
static struct rte_mbuf *apart(struct hr_tcp *tcp, struct hr_piece_iter *it, uint32_t *len)
{
    struct hr_tcp_run *r = &tcp->run;
    struct rte_mbuf *m = alloc(tcp), *payload;
    if (unlikely(m == NULL))
        return NULL;
    if (*len > 0) {
        payload = hr_buf_attach(tcp->bufs, it, *len, (uint16_t)(tcp->cfg.max_tx_segs - 1), len);
        if (payload == NULL) {
            rte_pktmbuf_free_seg(m);
            tcp->no_mbuf = true;
            return NULL;
        }
        m->next = payload;
        m->nb_segs = (uint16_t)(1 + payload->nb_segs);
    }
    m->data_off = (uint16_t)(RTE_PKTMBUF_HEADROOM - r->head_len);
    m->data_len = r->head_len;
    m->pkt_len = r->head_len + *len;
    return m;
}

bool hr_tcp_send_bare(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint8_t flags)
{
    struct hr_tcp_run *r = &tcp->run;
    uint32_t none = 0;
    if (!r->ready)
        begin(tcp, c);
    struct rte_mbuf *m = apart(tcp, NULL, &none);
    if (unlikely(m == NULL))
        return false;
    set_len(r, 0);
    write_head(r, m, RTE_PKTMBUF_HEADROOM, seq, flags | RTE_TCP_ACK_FLAG);
    hr_tcp_ack_sent(c);
    r->n++;
    HR_COUNT(tcp->stats, tcp_segs_tx);
    r->bytes += r->tcp_len;
    if (unlikely(tcp->pace.limited != 0))
        hr_tcp_pace_charge(tcp, c, r->tcp_len);
    if (likely(r->way != NULL))
        hr_net_txq_put(r->way->q, m);
    else
        tcp->cfg.emit_take(tcp->cfg.owner, &c->flow, m);
    return true;
}

/* An iterator at sequence number seq of the send queue. */
static struct hr_piece_iter *iter_at(struct hr_tcp_conn *c, uint32_t seq)
{
    struct hr_tcp_flight *f = c->flight;

    if (seq == c->snd_nxt) {
        if (f->nxt_it.chunk == NULL)
            hr_piece_iter_at(&f->nxt_it, &c->sndq, seq - c->snd_una);
        return &f->nxt_it;
    }
    if (f->rtx_it.chunk == NULL || hr_seq_gt(f->rtx_it_seq, seq)) {
        hr_piece_iter_at(&f->rtx_it, &c->sndq, seq - c->snd_una);
    } else {
        hr_piece_iter_advance(&f->rtx_it, seq - f->rtx_it_seq);
    }
    f->rtx_it_seq = seq;
    return &f->rtx_it;
}

/* The usual segments of a run: seg bytes each, which are a piece of the queue and all that is in a buffer which may be
 * written. Their headers differ in the sequence number alone; they leave by the way, with ACK as their only flag. At most
 * `bytes` in max segments; lengths in the block are those of seg. Returns how many left; it is behind them. */
static inline uint32_t send_whole(const struct hr_tcp_run *r, struct hr_piece_iter *it, uint32_t seq, uint32_t seg,
                                  uint32_t bytes, uint32_t max)
{
    struct hr_net_txq *q = r->way->q;
    const struct hr_piece_chunk *c = it->chunk;
    uint32_t tcp_len = r->tcp_len, i = it->index, n = 0;
    uint16_t head_len = r->head_len;
    uint64_t ol_flags = r->ol_flags, tx_offload = r->tx_offload;

    if (unlikely(c == NULL))
        return 0;
    i += it->off == (uint32_t)c->piece[i].off + c->piece[i].len; /* used up */
    if (i >= c->tail || (i == it->index && it->off != c->piece[i].off))
        return 0;
    max = RTE_MIN(max, RTE_MIN((uint32_t)HR_NET_TX_BURST - q->n, (uint32_t)c->tail - i));

    const hr_vec32_at *from = (const hr_vec32_at *)(r->block + tcp_len - sizeof(struct rte_tcp_hdr));
    const hr_vec32 head[] = {from[0], from[1], from[2]};
    struct rte_mbuf **to = q->pkts + q->n;
    const struct hr_piece *p = &c->piece[i];
    for (; n < max && seg <= bytes && p->len == seg; n++, p++) {
        struct rte_mbuf *m = hr_buf_piece_in_place(p, seg, head_len);
        if (unlikely(m == NULL))
            break;
        uint8_t *end = (uint8_t *)m->buf_addr + p->off;
        struct rte_tcp_hdr *th = (struct rte_tcp_hdr *)(void *)(end - tcp_len);
        hr_vec32_at *front = (hr_vec32_at *)(end - HR_BUF_FRONT);
        front[0] = head[0];
        front[1] = head[1];
        front[2] = head[2];
        th->sent_seq = rte_cpu_to_be_32(seq);
        th->tcp_flags = RTE_TCP_ACK_FLAG;
        m->ol_flags = ol_flags;
        m->tx_offload = tx_offload;
        to[n] = m;
        seq += seg;
        bytes -= seg;
    }
    if (n == 0)
        return 0;
    it->index = (uint16_t)(p - c->piece - 1);
    it->off = (uint16_t)(p[-1].off + seg);
    q->bytes += n * (head_len + seg);
    q->n = (uint16_t)(q->n + n);
    if (unlikely(q->n == HR_NET_TX_BURST))
        q->flush(q);
    return n;
}

uint32_t hr_tcp_send_data(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint32_t len, uint32_t seg, bool fin)
{
    struct hr_tcp_run *r = &tcp->run;
    uint32_t at = seq, end = seq + len, n = 0, max = r->n < r->budget ? r->budget - r->n : 1;
    uint32_t queue_end = HR_MUTANT(NO_PSH) ? c->snd_una : c->snd_una + c->sndq.bytes;
    struct hr_piece_iter *it = iter_at(c, seq), pos = *it; /* a copy, which no store can be taken to change */

    if (!r->ready)
        begin(tcp, c);
    if (r->way != NULL && seg + r->tcp_len + r->way->ip_len > r->way->mtu)
        leave_way(r);
    struct hr_net_txq *q = r->way != NULL ? r->way->q : NULL;
    uint16_t head_len = r->head_len;
    bool alike = q != NULL && tcp->pace.limited == 0;
    uint32_t special = fin || end == queue_end; /* the last segment has another flag */
    do {
        if (likely(alike && end - at >= seg + special)) {
            set_len(r, seg);
            uint32_t k = send_whole(r, &pos, at, seg, end - at - special, max - n);
            n += k;
            at += k * seg;
            if (at == end || n == max)
                break;
        }
        uint32_t size = RTE_MIN(end - at, seg), off = RTE_PKTMBUF_HEADROOM;
        uint8_t flags = RTE_TCP_ACK_FLAG;
        struct rte_mbuf *m = likely(size > 0) ? hr_buf_in_place(&pos, size, head_len) : NULL;
        if (likely(m != NULL)) {
            off = pos.off - size;
        } else {
            struct hr_piece_iter from = pos;
            m = apart(tcp, &from, &size);
            if (unlikely(m == NULL))
                break;
            pos = from;
        }
        at += size;
        if (at == queue_end && size > 0)
            flags |= RTE_TCP_PSH_FLAG;
        if (at == end && fin)
            flags |= RTE_TCP_FIN_FLAG;
        set_len(r, size);
        write_head(r, m, off, at - size, flags);
        n++;
        if (unlikely(tcp->pace.limited != 0))
            hr_tcp_pace_charge(tcp, c, r->tcp_len + size);
        if (likely(q != NULL))
            hr_net_txq_put(q, m);
        else
            tcp->cfg.emit_take(tcp->cfg.owner, &c->flow, m);
    } while (at != end && n < max);

    if (n == 0)
        return 0;
    *it = pos;
    if (it == &c->flight->rtx_it)
        c->flight->rtx_it_seq = at;
    hr_tcp_ack_sent(c);
    c->last_tx_us = tcp->now_us;
    r->n += n;
    HR_COUNT_N(tcp->stats, tcp_segs_tx, n);
    r->bytes += n * r->tcp_len + (at - seq);
    return at - seq + (fin && at == end);
}
