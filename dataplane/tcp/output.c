/* What is sent, and in which order. hr_tcp_flush() goes round the dirty connections in deficit round robin: a quantum
 * of bytes each, and what a large segment left of it is added to the next, so that none starves and segment sizes do
 * not matter. What a connection may send goes in one run, down to the limit that is met first.
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

static void timestamps(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, struct hr_tcp_opts *o)
{
    o->has_ts = c->ts_on && (!hr_tcp_synchronized(c) || !HR_MUTANT(NO_TIMESTAMPS_LATER));
    o->tsval = tcp->now_ms + c->ts_offset;
    o->tsecr = c->ts_recent;
}

static void send_syn(struct hr_tcp *tcp, struct hr_tcp_conn *c)
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
    if (!hr_tcp_send_options(tcp, c, c->iss, reply ? c->rcv_nxt : 0,
                             RTE_TCP_SYN_FLAG | (reply ? RTE_TCP_ACK_FLAG : 0), (uint16_t)wnd, &o))
        return;
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
}

/* An acknowledgement, with the news of gaps if there is any. */
static bool send_ack(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->gaps == NULL || !c->sack_on)
        return hr_tcp_send_bare(tcp, c, c->snd_nxt, 0);
    struct hr_tcp_opts o = {0};
    o.n_sack = (uint8_t)hr_tcp_reass_sack(c, o.sack, c->ts_on ? 3 : 4);
    timestamps(tcp, c, &o);
    if (!hr_tcp_send_options(tcp, c, c->snd_nxt, c->rcv_nxt, RTE_TCP_ACK_FLAG, hr_tcp_window_field(c), &o))
        return false;
    hr_tcp_reass_reported(tcp, c);
    hr_tcp_ack_sent(c);
    return true;
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
    uint32_t sent = hr_tcp_send_data(tcp, c, r->start, len, c->smss, fin);

    if (sent == 0)
        return false;
    hr_tcp_xmit_sent_again(&f->xmit, r->start, r->start + sent, tcp->now_us);
    note_sent(tcp, c, sent);
    f->undo_bytes += sent;
    f->rtx_force = false;
    c->retransmits++;
    HR_COUNT(tcp->stats, tcp_retransmit_segs);
    HR_COUNT_N(tcp->stats, tcp_retransmit_bytes, sent);
    struct hr_zone_link *link = hr_tcp_link(tcp, c, !hr_addr_is_v4(&c->flow.remote));
    link->again_packets++;
    link->again_bytes += sent;
    if (f->rto_at == 0 || c->persist)
        hr_tcp_rtx_restart(tcp, c);
    return true;
}

/* len bytes of new data in segments of seg bytes, and the FIN behind them if fin; *ret_sent: the bytes that went. The
 * caller sees to the timers. */
static bool send_new(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len, uint32_t seg, bool fin, uint32_t *ret_sent)
{
    if (c->snd_nxt == c->snd_una && c->recovery == HR_TCP_RECOVERY_NONE)
        hr_tcp_cong_idle(tcp, c);
    if (c->flight == NULL && !hr_tcp_flight_attach(tcp, c)) {
        tcp->no_mbuf = true;
        return false;
    }
    struct hr_tcp_flight *f = c->flight;
    uint32_t sent = hr_tcp_xmit_room(&f->xmit) ? hr_tcp_send_data(tcp, c, c->snd_nxt, len, seg, fin) : 0;
    if (sent == 0) {
        if (c->snd_nxt == c->snd_una)
            hr_tcp_flight_detach(tcp, c);
        return false;
    }
    hr_tcp_xmit_sent(&f->xmit, c->snd_nxt, c->snd_nxt + sent, tcp->now_us);
    note_sent(tcp, c, sent);
    c->snd_nxt += sent;
    *ret_sent = RTE_MIN(sent, len);
    if (sent > *ret_sent)
        c->fin_sent = true;
    HR_COUNT_N(tcp->stats, tcp_bytes_tx, *ret_sent);
    if (f->force_new > 0)
        f->force_new--;
    return true;
}

/* New data left: RFC 6298 5.1, RFC 8985 7.2. */
static void start_timers(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->flight->rto_at == 0 || c->persist) {
        hr_tcp_rtx_restart(tcp, c);
        return;
    }
    hr_tcp_tlp_schedule(tcp, c);
    hr_tcp_rtx_sync(tcp, c);
}

/* How much new data may go now: SND.WND, cwnd and the sender's side of the silly window (RFC 9293
 * 3.8.6.2.1, without Nagle: a small segment goes if it is all there is). A segment, or as many as the turn lets go at
 * once (run bytes). 0: none; *ret_fin: a FIN goes. */
static uint32_t new_data(struct hr_tcp_conn *c, uint32_t pipe, uint32_t run, bool *ret_fin)
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
    run = RTE_MIN(run, RTE_MIN(credit, wnd));
    if (run > len)
        len = unsent <= run ? unsent : run - run % c->smss;
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
        if (!send_new(tcp, c, len, c->smss, fin, &len))
            return false;
        start_timers(tcp, c);
        return true;
    }
    HR_COUNT(tcp->stats, tcp_persist_probe);
    return hr_tcp_send_bare(tcp, c, c->snd_una - 1, 0);
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
    } else if (!send_new(tcp, c, len, c->smss, c->fin_queued && len == hr_tcp_unsent(c) && wnd > len, &len)) {
        return false;
    }
    hr_tcp_tlp_sent(tcp, c, again);
    hr_tcp_rtx_restart(tcp, c); /* no further probe: the timeout is next */
    return true;
}

/* Bytes that nothing but the windows keeps from leaving at once: what the turn's credit and budget hold, and the
 * connection's burst. Less than a segment (as for ports with an allowance): may_leave() is asked for each. */
static uint32_t run_bytes(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t credit)
{
    const struct hr_tcp_flight *f = c->flight;
    uint32_t run = RTE_MIN(credit, (tcp->run.budget - tcp->run.n) * c->smss);
    uint32_t burst = f == NULL ? hr_tcp_pace_initial(tcp, c) : f->burst < f->burst_max ? f->burst_max - f->burst : 0;

    return tcp->pace.limited != 0 || c->mss_full != 0 ? 0 : RTE_MIN(run, burst);
}

/* May len bytes leave in this turn, of which credit is left? Else c waits for its pace or its port, or
 * (*ret_more) for its next turn. */
static bool may_leave(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len, uint32_t credit, bool *ret_more)
{
    const struct hr_tcp_flight *f = c->flight;

    if (len > credit) {
        *ret_more = true;
        return false;
    }
    if (f != NULL && f->burst + len > f->burst_max && !hr_tcp_pace_burst(tcp, c, len))
        return false;
    return tcp->pace.limited == 0 || hr_tcp_pace_port(tcp, c);
}

/* A turn that ended for want of credit adds what it left to the next; one that was cut short goes on. */
static int16_t next_deficit(const struct hr_tcp_conn *c, uint32_t credit, bool more)
{
    int32_t left = more ? (int32_t)credit : c->waiting ? (int32_t)credit - QUANTUM : 0;
    return (int16_t)RTE_MIN(left, INT16_MAX);
}

/* What is lost and what is new, as far as windows, pace and credit let it. *ret_more: the budget or the quantum was
 * the limit. */
static void send_stream(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool *ret_more)
{
    const struct hr_tcp_run *run = &tcp->run;
    uint32_t credit = (uint32_t)(QUANTUM + c->deficit);
    uint32_t pipe = hr_tcp_recovery_pipe(c);
    bool fresh = false;

    c->cwnd_limited = false;
    while (!tcp->no_mbuf) {
        struct hr_tcp_range r;
        bool fin;
        uint32_t len;
        if (run->n >= run->budget) {
            *ret_more = true;
            break;
        }
        if (c->flight != NULL && c->flight->xmit.lost_bytes > 0 && hr_tcp_recovery_lost(c, &r)) {
            len = r.end - r.start;
            if (!c->flight->rtx_force && pipe + len > c->cwnd) {
                c->cwnd_limited = true;
                break;
            }
            if (!may_leave(tcp, c, len, credit, ret_more) || !send_again(tcp, c, &r))
                break;
            credit -= len;
        } else if (c->mss_full != 0 && (len = hr_tcp_pmtu_probe(tcp, c, pipe)) > 0) {
            if (!send_new(tcp, c, len, len, false, &len))
                break;
            hr_tcp_pmtu_probe_sent(c);
            fresh = true;
        } else if ((len = new_data(c, pipe, run_bytes(tcp, c, credit), &fin)) > 0 || fin) {
            if (!may_leave(tcp, c, len, credit, ret_more) || !send_new(tcp, c, len, c->smss, fin, &len))
                break;
            credit -= len;
            fresh = true;
        } else {
            break;
        }
        pipe += len;
    }
    c->deficit = next_deficit(c, credit, *ret_more);
    if (fresh)
        start_timers(tcp, c);
}

/* A connection's turn. *ret_more: it has more to send. */
static void output(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool *ret_more)
{
    *ret_more = false;
    if (c->state == HR_TCP_CLOSED)
        return;
    if (!hr_tcp_synchronized(c)) {
        if (c->syn_due)
            send_syn(tcp, c);
        c->ack_now = false;
        return;
    }
    hr_tcp_window_advance(tcp, c);
    /* News of gaps goes by itself: SACK blocks would not fit beside a full segment. */
    if (c->ack_now && c->sack_on && c->gaps != NULL && !send_ack(tcp, c))
        return;
    bool may_send = c->state != HR_TCP_FIN_WAIT_2 && !c->waiting;
    if (may_send)
        send_stream(tcp, c, ret_more);
    if (*ret_more)
        return;
    if (c->flight != NULL && c->flight->tlp_due)
        send_loss_probe(tcp, c);
    if (c->probe_due)
        send_probe(tcp, c);
    if (c->ka_due) {
        c->ka_due = false;
        HR_COUNT(tcp->stats, tcp_keepalive_tx);
        hr_tcp_send_bare(tcp, c, c->snd_una - 1, 0);
    }
    while (c->dup_due > 1 && hr_tcp_send_bare(tcp, c, c->snd_nxt, 0))
        c->dup_due--;
    if (c->dup_due > 0)
        c->ack_now = true;
    c->dup_due = 0;
    if (c->ack_now)
        send_ack(tcp, c);
    if (may_send && !c->waiting && !tcp->no_mbuf)
        arm_persist(tcp, c);
}

bool hr_tcp_flush(struct hr_tcp *tcp, uint32_t max_segments)
{
    struct hr_tcp_run *run = &tcp->run;

    tcp->no_mbuf = false;
    run->n = 0;
    run->budget = max_segments;
    if (tcp->pace.limited != 0)
        hr_tcp_pace_refill(tcp);
    while (run->n < run->budget) {
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
        run->ready = false;
        run->bytes = 0;
        uint32_t before = run->n;
        output(tcp, c, &more);
        if (run->n != before) {
            struct hr_zone_link *link = hr_tcp_link(tcp, c, !hr_addr_is_v4(&c->flow.remote));
            link->tx_packets += run->n - before;
            link->tx_bytes += run->bytes;
        }
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
