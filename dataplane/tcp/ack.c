/* What an acknowledgement does: releases the send queue, times the path, updates the scoreboard and the
 * send window, drives loss recovery and the congestion window (RFC 9293 3.10.7.4, fifth). */
#include "dataplane/tcp/impl.h"

static uint32_t take_sack(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_opts *opts)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t news = 0;

    if (f == NULL)
        return 0;
    for (uint32_t i = 0; i < opts->n_sack; i++) {
        struct hr_tcp_range r = opts->sack[i];
        /* What is not in flight says nothing (a duplicate reported by RFC 2883, an old or forged block). */
        if (!hr_seq_lt(r.start, r.end) || hr_seq_lt(r.start, c->snd_una) || hr_seq_gt(r.end, c->snd_nxt) ||
            r.start == c->snd_una)
            continue;
        if (f->sb == NULL) {
            f->sb = hr_tcp_slab_get(&tcp->sb_slab);
            if (f->sb == NULL)
                return news; /* recovery goes by duplicate ACKs alone */
            f->sb->n = f->sb->bytes = 0;
        }
        news += hr_tcp_sack_add(f->sb, r.start, r.end);
    }
    return news;
}

static void take_rtt(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    struct hr_tcp_flight *f = c->flight;

    if (f->rtt_pending) {
        if (hr_seq_lt(seg->ack, f->rtt_seq))
            return;
        f->rtt_pending = false;
        uint32_t rtt_us = (uint32_t)RTE_MIN(tcp->now_us - f->rtt_start_us, (uint64_t)UINT32_MAX);
        hr_tcp_rtt_sample(tcp, c, rtt_us);
        hr_tcp_cong_rtt(c, rtt_us);
    } else if (c->recovery != HR_TCP_RECOVERY_NONE && c->ts_on && seg->opts.has_ts && seg->opts.tsecr != 0) {
        /* Nothing is timed among retransmissions, but the echo tells which copy arrived. */
        uint32_t ms = tcp->now_ms + c->ts_offset - seg->opts.tsecr;
        if (ms <= tcp->cfg.rto_max_us / 1000)
            hr_tcp_rtt_sample(tcp, c, RTE_MAX(1u, ms) * 1000);
    }
}

/* Bytes up to seg->ack are with the peer. */
static void release(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t acked = seg->ack - c->snd_una;
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t bytes = RTE_MIN(acked, c->sndq.bytes); /* the rest is the FIN */

    hr_pieceq_drop(tcp->bufs, &c->sndq, bytes);
    c->snd_una = seg->ack;
    HR_COUNT_N(tcp->stats, tcp_bytes_acked, bytes);
    /* An iterator that does not stand above SND.UNA may stand in a released piece. */
    if (hr_seq_geq(c->snd_una, c->snd_nxt))
        f->nxt_it.chunk = NULL;
    if (hr_seq_geq(c->snd_una, f->rtx_it_seq))
        f->rtx_it.chunk = NULL;
    if (f->sb != NULL) {
        hr_tcp_sack_trim(f->sb, c->snd_una);
        if (f->sb->n == 0) {
            hr_tcp_slab_put(&tcp->sb_slab, f->sb);
            f->sb = NULL;
        }
    }

    take_rtt(tcp, c, seg);
    c->backoff = 0;
    c->retries = 0;
    hr_tcp_cong_acked(tcp, c, acked, flight);
    hr_tcp_recovery_acked(tcp, c, acked);
    if (c->snd_una == c->snd_nxt)
        hr_tcp_flight_detach(tcp, c);
    hr_tcp_rtx_restart(tcp, c);
    if (bytes > 0)
        hr_tcp_post(tcp, c, HR_TCP_EV_ACKED);
    hr_tcp_mark_dirty(tcp, c);
}

static void update_window(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    if (!(hr_seq_lt(c->snd_wl1, seg->seq) || (c->snd_wl1 == seg->seq && hr_seq_leq(c->snd_wl2, seg->ack))))
        return;
    uint32_t wnd = seg->wnd << c->snd_wscale;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    if (wnd == c->snd_wnd)
        return;
    bool opened = wnd > c->snd_wnd;
    c->snd_wnd = wnd;
    c->snd_wnd_max = RTE_MAX(c->snd_wnd_max, wnd);
    if (opened && c->persist) {
        c->persist = false;
        c->backoff = 0;
        c->rtx_at = 0;
        hr_tcp_rtx_restart(tcp, c);
    }
    if (opened)
        hr_tcp_mark_dirty(tcp, c);
}

bool hr_tcp_ack_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, bool old)
{
    /* RFC 5961 5.2: an ACK of what was never sent, or far in the past, is not believed. */
    if (hr_seq_gt(seg->ack, c->snd_nxt) ||
        hr_seq_lt(seg->ack, c->snd_una - RTE_MAX(c->snd_wnd_max, 65535u))) {
        HR_DROP(tcp->stats, tcp_bad_ack);
        hr_tcp_challenge_ack(tcp, c);
        return false;
    }

    uint32_t sacked = c->sack_on && seg->opts.n_sack > 0 ? take_sack(tcp, c, &seg->opts) : 0;
    if (hr_seq_gt(seg->ack, c->snd_una)) {
        release(tcp, c, seg);
        if (c->reset_at_end && c->sndq.bytes == 0) {
            hr_tcp_abort(tcp, c);
            return false;
        }
        if (sacked > 0 && c->flight != NULL && c->recovery != HR_TCP_RECOVERY_RTO)
            hr_tcp_recovery_sacked(tcp, c);
    } else if (seg->ack == c->snd_una && c->snd_nxt != c->snd_una) {
        /* RFC 5681 2 and, with SACK, RFC 6675 2. */
        bool dup = c->sack_on ? sacked > 0
                              : seg->len == 0 && !(seg->flags & RTE_TCP_FIN_FLAG) && !old &&
                                    seg->wnd << c->snd_wscale == c->snd_wnd && c->snd_wnd > 0;
        if (dup) {
            HR_COUNT(tcp->stats, tcp_dupack_rx);
            hr_tcp_recovery_dupack(tcp, c);
        }
    }
    if (!old)
        update_window(tcp, c, seg);
    if (c->snd_wnd == 0 && c->persist)
        c->retries = 0; /* the peer lives */
    return true;
}
