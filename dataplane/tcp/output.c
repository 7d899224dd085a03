/* Segments out. hr_tcp_flush() goes round the dirty connections in deficit round robin: a quantum of bytes each,
 * and what a large segment left of it is added to the next, so that none starves and segment sizes do not matter.
 *
 * A connection sends in this order: its SYN; what is lost; what is new and fits both windows; probes; and an
 * ACK alone if nothing carried it. Whatever is sent carries the newest acknowledgement and window. */
#include <rte_mbuf.h>
#include <string.h>

#include "dataplane/tcp/impl.h"

/* Bytes of one connection in a row: larger than any segment, so that each turn sends something. */
#define QUANTUM 32768

void hr_tcp_mark_dirty(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->dirty = true;
    if (c->dirty_queued)
        return;
    c->dirty_queued = true;
    hr_tcp_fifo_push(tcp, &tcp->fifo[HR_TCP_FIFO_DIRTY], HR_TCP_FIFO_DIRTY, c);
}

void hr_tcp_unmark_dirty(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->dirty = false;
}

/* A header mbuf with ports, numbers and options; the payload is chained behind by the caller. */
static struct rte_mbuf *header(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, uint32_t ack,
                               uint8_t flags, uint16_t wnd, const struct hr_tcp_opts *opts)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(tcp->bufs->hdr_pool);
    if (m == NULL) {
        HR_COUNT(tcp->stats, mbuf_alloc_failed);
        HR_DROP(tcp->stats, tx_nombuf);
        tcp->no_mbuf = true;
        return NULL;
    }
    struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint32_t len = sizeof(*th) + (opts == NULL ? 0 : hr_tcp_opts_write((uint8_t *)(th + 1), opts));
    th->src_port = rte_cpu_to_be_16(flow->local_port);
    th->dst_port = rte_cpu_to_be_16(flow->remote_port);
    th->sent_seq = rte_cpu_to_be_32(seq);
    th->recv_ack = rte_cpu_to_be_32(ack);
    th->data_off = (uint8_t)(len / 4 << 4);
    th->tcp_flags = flags;
    th->rx_win = rte_cpu_to_be_16(wnd);
    th->cksum = 0;
    th->tcp_urp = 0;
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    m->l4_len = len;
    return m;
}

/* The usual header of a connection's segment: timestamps or no option. Everything but SYNs and SACK blocks. */
static struct rte_mbuf *conn_header(struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t seq, uint8_t flags)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(tcp->bufs->hdr_pool);
    if (unlikely(m == NULL)) {
        HR_COUNT(tcp->stats, mbuf_alloc_failed);
        HR_DROP(tcp->stats, tx_nombuf);
        tcp->no_mbuf = true;
        return NULL;
    }
    struct {
        struct rte_tcp_hdr th;
        uint8_t usual[4];
        uint32_t tsval_be, tsecr_be;
    } __attribute__((packed)) *h = rte_pktmbuf_mtod(m, void *);
    bool ts = c->ts_on && !HR_MUTANT(NO_TIMESTAMPS_LATER);
    uint32_t len = ts ? sizeof(*h) : sizeof(h->th);
    uint32_t wnd = hr_seq_gt(c->rcv_adv, c->rcv_nxt) ? (c->rcv_adv - c->rcv_nxt) >> c->rcv_wscale : 0;
    h->th.src_port = rte_cpu_to_be_16(c->flow.local_port);
    h->th.dst_port = rte_cpu_to_be_16(c->flow.remote_port);
    h->th.sent_seq = rte_cpu_to_be_32(seq);
    h->th.recv_ack = rte_cpu_to_be_32(c->rcv_nxt);
    h->th.data_off = (uint8_t)(len / 4 << 4);
    h->th.tcp_flags = flags;
    h->th.rx_win = rte_cpu_to_be_16((uint16_t)RTE_MIN(wnd, 65535u));
    h->th.cksum = 0;
    h->th.tcp_urp = 0;
    if (ts) {
        const uint8_t usual[4] = {HR_TCP_OPT_NOP, HR_TCP_OPT_NOP, HR_TCP_OPT_TS, 10};
        memcpy(h->usual, usual, sizeof(usual));
        h->tsval_be = rte_cpu_to_be_32(tcp->now_ms + c->ts_offset);
        h->tsecr_be = rte_cpu_to_be_32(c->ts_recent);
    }
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

static void emit_conn(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct rte_mbuf *m)
{
    if (tcp->pace.limited != 0)
        hr_tcp_pace_charge(tcp, c, m->pkt_len);
    emit(tcp, &c->flow, m);
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

/* What every segment of a connection says about its receiving half. */
static uint16_t window_field(const struct hr_tcp_conn *c)
{
    uint32_t wnd = hr_seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
    return (uint16_t)RTE_MIN(wnd >> c->rcv_wscale, 65535u);
}

static void timestamps(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, struct hr_tcp_opts *o)
{
    o->has_ts = c->ts_on && (!hr_tcp_synchronized(c) || !HR_MUTANT(NO_TIMESTAMPS_LATER));
    o->tsval = tcp->now_ms + c->ts_offset;
    o->tsecr = c->ts_recent;
}

static bool send_syn(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    bool reply = c->state == HR_TCP_SYN_RECEIVED;
    struct hr_tcp_opts o = {
        .has_mss = true,
        .mss = c->adv_mss,
        .has_wscale = c->wscale_on,
        .wscale = c->rcv_wscale,
        .sack_ok = c->sack_on,
    };
    timestamps(tcp, c, &o);
    if (!reply)
        o.tsecr = 0;
    uint32_t wnd = RTE_MIN(c->rcv_adv - c->rcv_nxt, 65535u); /* not scaled (RFC 7323 2.2) */
    if (HR_MUTANT(SYN_WINDOW_SCALED))
        wnd >>= c->rcv_wscale;
    struct rte_mbuf *m = header(tcp, &c->flow, c->iss, reply ? c->rcv_nxt : 0,
                                RTE_TCP_SYN_FLAG | (reply ? RTE_TCP_ACK_FLAG : 0), (uint16_t)wnd, &o);
    if (m == NULL)
        return false;
    c->syn_due = false;
    if (reply)
        hr_tcp_ack_sent(c);
    if (c->snd_nxt == c->iss) {
        c->snd_nxt = c->iss + 1;
        c->last_tx_us = tcp->now_us;
    }
    if (c->rtx_at == 0) {
        c->rtx_at = tcp->now_us + hr_tcp_rto(tcp, c);
        hr_tcp_timer_arm(tcp, c);
    }
    emit_conn(tcp, c, m);
    return true;
}

/* A segment without payload at seq. */
static bool send_bare(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint8_t flags, bool with_sack)
{
    struct rte_mbuf *m;
    if (with_sack && c->gaps != NULL) {
        struct hr_tcp_opts o = {0};
        o.n_sack = (uint8_t)hr_tcp_reass_sack(c, o.sack, c->ts_on ? 3 : 4);
        timestamps(tcp, c, &o);
        m = header(tcp, &c->flow, seq, c->rcv_nxt, flags | RTE_TCP_ACK_FLAG, window_field(c), &o);
    } else {
        m = conn_header(tcp, c, seq, flags | RTE_TCP_ACK_FLAG);
    }
    if (m == NULL)
        return false;
    if (with_sack)
        hr_tcp_reass_reported(tcp, c);
    hr_tcp_ack_sent(c);
    emit_conn(tcp, c, m);
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

/* Sends len bytes of the queue from seq on, and the FIN behind them if fin. Returns the bytes that went (the
 * port's segment limit may cut), the FIN counted; 0 when buffers are short. */
static uint32_t send_data(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t seq, uint32_t len, bool fin)
{
    uint32_t queue_end = c->snd_una + c->sndq.bytes;
    struct rte_mbuf *payload = NULL;
    uint32_t sent = 0;

    if (len > 0) {
        struct hr_piece_iter *it = iter_at(c, seq);
        struct hr_piece_iter before = *it;
        payload = hr_buf_attach(tcp->bufs, it, len, (uint16_t)(tcp->cfg.max_tx_segs - 1), &sent);
        if (payload == NULL || sent == 0) {
            *it = before;
            tcp->no_mbuf = true;
            return 0;
        }
        if (it == &c->flight->rtx_it)
            c->flight->rtx_it_seq = seq + sent;
    }
    uint8_t flags = RTE_TCP_ACK_FLAG;
    if (fin && sent == len)
        flags |= RTE_TCP_FIN_FLAG;
    if (sent > 0 && seq + sent == queue_end && !HR_MUTANT(NO_PSH))
        flags |= RTE_TCP_PSH_FLAG;
    struct rte_mbuf *m = conn_header(tcp, c, seq, flags);
    if (m == NULL) {
        rte_pktmbuf_free(payload);
        c->flight->nxt_it.chunk = NULL;
        c->flight->rtx_it.chunk = NULL;
        return 0;
    }
    if (payload != NULL) {
        m->next = payload;
        m->nb_segs = (uint16_t)(1 + payload->nb_segs);
        m->pkt_len += sent;
    }
    hr_tcp_ack_sent(c);
    c->last_tx_us = tcp->now_us;
    emit_conn(tcp, c, m);
    return sent + !!(flags & RTE_TCP_FIN_FLAG);
}

/* What leaves counts against the burst, and against what recovery grants (RFC 9937 6.3). */
static void note_sent(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t bytes)
{
    struct hr_tcp_flight *f = c->flight;

    if (f->burst == 0)
        f->burst_us = (uint32_t)tcp->now_us;
    f->burst += bytes;
    if (c->recovery == HR_TCP_RECOVERY_FAST)
        f->prr.out += bytes;
}

static bool send_again(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_range *r)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t queue_end = c->snd_una + c->sndq.bytes;
    bool fin = c->fin_sent && r->end == c->snd_nxt && !HR_MUTANT(FIN_LOST_ONCE);
    uint32_t len = hr_seq_min(r->end, queue_end) - r->start;
    uint32_t sent = send_data(tcp, c, r->start, len, fin);

    if (sent == 0)
        return false;
    hr_tcp_xmit_sent_again(&f->xmit, r->start, r->start + sent, tcp->now_us);
    note_sent(tcp, c, sent);
    f->undo_bytes += sent;
    f->rtx_force = false;
    c->retransmits++;
    HR_COUNT(tcp->stats, tcp_retransmit_segs);
    HR_COUNT_N(tcp->stats, tcp_retransmit_bytes, sent);
    if (f->rto_at == 0 || c->persist)
        hr_tcp_rtx_restart(tcp, c);
    return true;
}

static bool send_new(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len, bool fin)
{
    if (c->snd_nxt == c->snd_una && c->recovery == HR_TCP_RECOVERY_NONE)
        hr_tcp_cong_idle(tcp, c);
    if (c->flight == NULL && !hr_tcp_flight_attach(tcp, c)) {
        tcp->no_mbuf = true;
        return false;
    }
    struct hr_tcp_flight *f = c->flight;
    uint32_t sent = hr_tcp_xmit_room(&f->xmit) ? send_data(tcp, c, c->snd_nxt, len, fin) : 0;
    if (sent == 0) {
        if (c->snd_nxt == c->snd_una)
            hr_tcp_flight_detach(tcp, c);
        return false;
    }
    hr_tcp_xmit_sent(&f->xmit, c->snd_nxt, c->snd_nxt + sent, tcp->now_us);
    note_sent(tcp, c, sent);
    c->snd_nxt += sent;
    uint32_t bytes = RTE_MIN(sent, len);
    if (sent > bytes)
        c->fin_sent = true;
    HR_COUNT_N(tcp->stats, tcp_bytes_tx, bytes);
    if (f->force_new > 0)
        f->force_new--;
    if (f->rto_at == 0 || c->persist)
        hr_tcp_rtx_restart(tcp, c);
    return true;
}

/* How much new data may go now: SND.WND, cwnd and the sender's side of the silly window (RFC 9293
 * 3.8.6.2.1, without Nagle: a small segment goes if it is all there is). 0: none; *ret_fin: a FIN goes. */
static uint32_t new_data(struct hr_tcp_conn *c, uint32_t pipe, bool *ret_fin)
{
    uint32_t unsent = hr_tcp_unsent(c);
    uint32_t wnd_end = c->snd_una + c->snd_wnd;
    uint32_t wnd = hr_seq_gt(wnd_end, c->snd_nxt) ? wnd_end - c->snd_nxt : 0;
    uint32_t cwnd = c->cwnd;

    *ret_fin = false;
    if (c->recovery == HR_TCP_RECOVERY_NONE && !c->sack_on && !HR_MUTANT(NO_LIMITED_TRANSMIT))
        cwnd += RTE_MIN(c->dupacks, 2u) * c->smss; /* limited transmit, RFC 3042; with SACK pipe shrinks */
    uint32_t credit = cwnd > pipe ? cwnd - pipe : 0;
    uint32_t len = RTE_MIN(unsent, (uint32_t)c->smss);
    if (c->flight != NULL && c->flight->force_new > 0)
        credit = len;

    if (len > credit && !HR_MUTANT(CWND_IGNORED)) {
        c->cwnd_limited = true;
        return 0;
    }
    if (len > wnd && !HR_MUTANT(WINDOW_IGNORED)) {
        if (wnd == 0 || (wnd < c->snd_wnd_max / 2 && !HR_MUTANT(SILLY_SENDER)))
            return 0;
        return wnd;
    }
    *ret_fin = c->fin_queued && !c->fin_sent && len == unsent && wnd > len;
    return len;
}

/* Nothing is in flight and yet something waits: the window is closed or too small. */
static void arm_persist(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (!hr_tcp_waits(c) || c->snd_nxt != c->snd_una || c->persist || HR_MUTANT(NO_PERSIST))
        return;
    c->persist = true;
    c->backoff = 0;
    c->stalled_since_ms = tcp->now_ms;
    c->rtx_at = tcp->now_us + hr_tcp_rto(tcp, c);
    hr_tcp_timer_arm(tcp, c);
}

/* The persist timer fired: what fits the window goes although it is small; into a closed window goes a
 * segment without data below SND.UNA, which has to be answered. RFC 9293 3.8.6.1 asks for an octet of new
 * data; this asks the same question without a byte in flight that the peer has no room for. */
static bool send_probe(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t len = RTE_MIN(hr_tcp_unsent(c), RTE_MIN(c->snd_wnd, (uint32_t)c->smss));
    c->probe_due = false;
    if (c->snd_nxt == c->snd_una && (len > 0 || (c->snd_wnd > 0 && hr_tcp_unsent(c) == 0))) {
        bool fin = c->fin_queued && !c->fin_sent && len == hr_tcp_unsent(c) && c->snd_wnd > len;
        return send_new(tcp, c, len, fin);
    }
    HR_COUNT(tcp->stats, tcp_persist_probe);
    return send_bare(tcp, c, c->snd_una - 1, 0, false);
}

/* The tail loss probe (RFC 8985 7.3): new data if there is any and the peer has room, else the last segment
 * again. The congestion window is not asked. */
static bool send_loss_probe(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t wnd_end = c->snd_una + c->snd_wnd;
    uint32_t wnd = hr_seq_gt(wnd_end, c->snd_nxt) ? wnd_end - c->snd_nxt : 0;
    uint32_t len = RTE_MIN(RTE_MIN(hr_tcp_unsent(c), (uint32_t)c->smss), wnd);
    const struct hr_txrec *last = hr_txrec_of(f->xmit.tree.last);

    if (c->recovery != HR_TCP_RECOVERY_NONE || last->state != HR_TXREC_IN_FLIGHT) { /* not needed any more */
        f->tlp_due = false;
        return false;
    }
    bool again = len == 0;
    if (again) {
        uint32_t start = c->snd_nxt - c->smss - c->fin_sent;
        struct hr_tcp_range r = {hr_seq_max(start, last->node.seq), c->snd_nxt};
        if (!send_again(tcp, c, &r))
            return false;
    } else if (!send_new(tcp, c, len, c->fin_queued && len == hr_tcp_unsent(c) && wnd > len)) {
        return false;
    }
    hr_tcp_tlp_sent(tcp, c, again);
    hr_tcp_rtx_restart(tcp, c); /* no further probe: the timeout is next */
    return true;
}

/* May len bytes leave in this turn, of which *credit is left? Else c waits for its pace or its port, or
 * (*ret_more) for its next turn. */
static bool may_leave(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len, uint32_t *credit, bool *ret_more)
{
    const struct hr_tcp_flight *f = c->flight;

    if (len > *credit) {
        *ret_more = true;
        return false;
    }
    if (f != NULL && f->burst + len > f->burst_max && !hr_tcp_pace_burst(tcp, c, len))
        return false;
    if (tcp->pace.limited != 0 && !hr_tcp_pace_port(tcp, c))
        return false;
    *credit -= len;
    return true;
}

/* A turn that ended for want of credit adds what it left to the next; one that was cut short goes on. */
static int16_t next_deficit(const struct hr_tcp_conn *c, uint32_t credit, bool more)
{
    int32_t left = more ? (int32_t)credit : c->waiting ? (int32_t)credit - QUANTUM : 0;
    return (int16_t)RTE_MIN(left, INT16_MAX);
}

/* Sends up to budget segments; returns how many. *ret_more: the budget or the quantum was the limit. */
static uint32_t output(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t budget, bool *ret_more)
{
    uint32_t n = 0;

    *ret_more = false;
    if (c->state == HR_TCP_CLOSED)
        return 0;
    if (!hr_tcp_synchronized(c)) {
        if (c->syn_due && send_syn(tcp, c))
            n++;
        c->ack_now = false;
        return n;
    }
    hr_tcp_window_advance(tcp, c);
    /* News of gaps goes by itself: SACK blocks would not fit beside a full segment. */
    if (c->ack_now && c->sack_on && c->gaps != NULL) {
        if (!send_bare(tcp, c, c->snd_nxt, 0, true))
            return n;
        n++;
    }
    bool may_send = c->state != HR_TCP_FIN_WAIT_2 && !c->waiting;
    uint32_t credit = (uint32_t)(QUANTUM + c->deficit);
    uint32_t pipe = may_send ? hr_tcp_recovery_pipe(c) : 0;
    if (may_send)
        c->cwnd_limited = false;
    bool fresh = false;
    while (may_send && !tcp->no_mbuf) {
        struct hr_tcp_range r;
        bool fin;
        uint32_t len;
        if (n >= budget) {
            *ret_more = true;
            break;
        }
        if (c->flight != NULL && c->flight->xmit.lost_bytes > 0 && hr_tcp_recovery_lost(c, &r)) {
            if (!c->flight->rtx_force && pipe + (r.end - r.start) > c->cwnd) {
                c->cwnd_limited = true;
                break;
            }
            if (!may_leave(tcp, c, r.end - r.start, &credit, ret_more) || !send_again(tcp, c, &r))
                break;
            pipe += r.end - r.start;
        } else if (c->mss_full != 0 && (len = hr_tcp_pmtu_probe(tcp, c, pipe)) > 0) {
            if (!send_new(tcp, c, len, false))
                break;
            hr_tcp_pmtu_probe_sent(c);
            pipe += len;
            fresh = true;
        } else if ((len = new_data(c, pipe, &fin)) > 0 || fin) {
            if (!may_leave(tcp, c, len, &credit, ret_more) || !send_new(tcp, c, len, fin))
                break;
            pipe += len;
            fresh = true;
        } else {
            break;
        }
        n++;
    }
    if (may_send)
        c->deficit = next_deficit(c, credit, *ret_more);
    if (fresh) { /* RFC 8985 7.2 */
        hr_tcp_tlp_schedule(tcp, c);
        hr_tcp_rtx_sync(tcp, c);
    }
    if (*ret_more)
        return n;
    if (c->flight != NULL && c->flight->tlp_due && send_loss_probe(tcp, c))
        n++;
    if (c->probe_due && send_probe(tcp, c))
        n++;
    if (c->ka_due) {
        c->ka_due = false;
        HR_COUNT(tcp->stats, tcp_keepalive_tx);
        if (send_bare(tcp, c, c->snd_una - 1, 0, false))
            n++;
    }
    for (; c->dup_due > 1 && send_bare(tcp, c, c->snd_nxt, 0, false); c->dup_due--)
        n++;
    if (c->dup_due > 0)
        c->ack_now = true;
    c->dup_due = 0;
    if (c->ack_now && send_bare(tcp, c, c->snd_nxt, 0, c->sack_on))
        n++;
    if (may_send && !c->waiting && !tcp->no_mbuf)
        arm_persist(tcp, c);
    return n;
}

bool hr_tcp_flush(struct hr_tcp *tcp, uint32_t max_segments)
{
    uint32_t sent = 0;

    tcp->no_mbuf = false;
    if (tcp->pace.limited != 0)
        hr_tcp_pace_refill(tcp);
    while (sent < max_segments) {
        struct hr_tcp_conn *c = hr_tcp_fifo_pop(tcp, &tcp->fifo[HR_TCP_FIFO_DIRTY], HR_TCP_FIFO_DIRTY);
        bool more;
        tcp->pace.turn_of = NULL;
        if (c != NULL) {
            c->dirty_queued = false;
            if (!c->dirty)
                continue;
            c->dirty = false;
        } else if (tcp->pace.limited != 0 && (c = hr_tcp_pace_next(tcp)) != NULL) {
            tcp->pace.turn_of = c;
        } else {
            return false;
        }
        sent += output(tcp, c, max_segments - sent, &more);
        if (tcp->no_mbuf) { /* the port will give buffers back: first in line then */
            c->dirty = c->dirty_queued = true;
            hr_tcp_fifo_push_front(tcp, &tcp->fifo[HR_TCP_FIFO_DIRTY], HR_TCP_FIFO_DIRTY, c);
            return true;
        }
        if (more)
            hr_tcp_pace_again(tcp, c);
    }
    return tcp->fifo[HR_TCP_FIFO_DIRTY].first != 0 || (tcp->pace.limited != 0 && hr_tcp_pace_ready(tcp));
}
