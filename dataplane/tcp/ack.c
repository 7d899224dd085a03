/* What an acknowledgement does, in this order: notes what the peer holds (SACK blocks, then SND.UNA) and collects
 * what of it is news in struct hr_tcp_delivered; updates the send window; lets those look at the news who want
 * to: the round trip, RACK, the congestion window, loss recovery; sets the timers (RFC 9293 3.10.7.4, fifth).
 *
 * Nearly every ACK moves SND.UNA over what was sent once while nothing is lost; then most of that is known
 * beforehand, and take_plain() does the rest. */
#include "dataplane/tcp/impl.h"

/* Bytes up to seg->ack are with the peer; the transmit records are the caller's. */
static inline void release(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t bytes = RTE_MIN(seg->ack - c->snd_una, c->sndq.bytes); /* the rest is the FIN */

    hr_pieceq_drop_into(tcp->bufs, &c->sndq, bytes, &tcp->bin);
    c->snd_una = seg->ack;
    HR_COUNT_N(tcp->stats, tcp_bytes_acked, bytes);
    /* An iterator that does not stand above SND.UNA may stand in a released piece. */
    if (f->rtx_it.chunk != NULL && hr_seq_geq(c->snd_una, f->rtx_it_seq))
        f->rtx_it.chunk = NULL;
    if (c->snd_una == c->snd_nxt)
        f->nxt_it.chunk = NULL;
    if (f->mtu_probe_on || c->retries > 0)
        hr_tcp_pmtu_acked(tcp, c);
    if (!HR_MUTANT(BACKOFF_KEPT))
        c->backoff = 0;
    c->retries = 0;
    c->stalled_since_ms = tcp->now_ms;
    if (c->acked_asked && hr_seq_geq(c->snd_una, c->acked_mark)) {
        c->acked_asked = false;
        hr_tcp_post(tcp, c, HR_TCP_EV_ACKED);
    }
    if (hr_tcp_waits(c)) /* there may be room for it now */
        hr_tcp_mark_dirty(tcp, c);
}

static void new_window(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t wnd)
{
    bool opened = wnd > c->snd_wnd;

    c->snd_wnd = wnd;
    c->snd_wnd_max = RTE_MAX(c->snd_wnd_max, wnd);
    if (opened && c->persist) {
        c->persist = false;
        c->backoff = 0;
        c->rtx_at = 0;
        hr_tcp_rtx_restart(tcp, c);
    }
    if (opened && hr_tcp_waits(c) && !HR_MUTANT(WINDOW_UPDATE_DEAF))
        hr_tcp_mark_dirty(tcp, c);
}

static inline void update_window(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    uint32_t wnd = seg->wnd << c->snd_wscale;

    if (!(hr_seq_lt(c->snd_wl1, seg->seq) || (c->snd_wl1 == seg->seq && hr_seq_leq(c->snd_wl2, seg->ack))))
        return;
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    if (wnd != c->snd_wnd)
        new_window(tcp, c, wnd);
}

/* SND.UNA moved. False: c is gone. */
static inline bool advanced(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool plain)
{
    if (c->snd_una == c->snd_nxt)
        hr_tcp_flight_detach(tcp, c);
    if (plain && c->flight != NULL && !c->persist)
        hr_tcp_rtx_plain(tcp, c);
    else
        hr_tcp_rtx_restart(tcp, c);
    if (c->reset_at_end && c->sndq.bytes == 0) {
        hr_tcp_abort(tcp, c);
        return false;
    }
    return true;
}

/* Does nothing that is being watched depend on this ACK, which advances SND.UNA? */
static inline bool is_plain(const struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    const struct hr_tcp_flight *f = c->flight;
    return f != NULL && seg->opts.n_sack == 0 && c->recovery == HR_TCP_RECOVERY_NONE && !c->tlp_out && c->backoff == 0 &&
           (f->xmit.sacked_bytes | f->xmit.lost_bytes) == 0 && hr_tcp_xmit_plain(&f->xmit, seg->ack);
}

static inline bool take_plain(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, bool old)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t acked = seg->ack - c->snd_una, flight = c->snd_nxt - c->snd_una;
    uint64_t oldest_us = hr_txrec_of(f->xmit.tree.first)->xmit_us;
    uint64_t newest_us = hr_tcp_xmit_drop_plain(&f->xmit, seg->ack);

    release(tcp, c, seg);
    if (!old)
        update_window(tcp, c, seg);
    f->rack_xmit_us = newest_us;
    f->rack_rtt_us = hr_tcp_rtt_since(tcp, newest_us);
    f->rack_end = c->snd_una;
    f->fack = hr_seq_max(f->fack, c->snd_una);
    f->recover = hr_seq_max(f->recover, c->snd_una);
    c->dupacks = 0;
    hr_tcp_rtt_plain(tcp, c, oldest_us, f->rack_rtt_us);
    hr_tcp_cong_acked(tcp, c, acked, flight);
    return advanced(tcp, c, true);
}

/* Any other; out of line, or the usual way pays for it. */
static __attribute__((noinline)) bool take(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, bool old)
{
    /* RFC 5961 5.2: an ACK of what was never sent, or far in the past, is not believed. */
    if (hr_seq_gt(seg->ack, c->snd_nxt) ||
        hr_seq_lt(seg->ack, c->snd_una - RTE_MAX(c->snd_wnd_max, 65535u))) {
        HR_DROP(tcp->stats, tcp_bad_ack);
        if (!HR_MUTANT(ACK_OF_NOTHING))
            hr_tcp_challenge_ack(tcp, c);
        return false;
    }

    struct hr_tcp_flight *f = c->flight;
    bool advances = f != NULL && hr_seq_gt(seg->ack, c->snd_una);
    if (!advances && seg->opts.n_sack == 0 && (f == NULL || c->sack_on) && !c->tlp_out) { /* no news */
        if (!old)
            update_window(tcp, c, seg);
        if (c->snd_wnd == 0 && c->persist)
            c->retries = 0; /* the peer lives */
        return true;
    }

    struct hr_tcp_delivered d;
    struct hr_tcp_range dsack;
    bool has_sack = c->sack_on && seg->opts.n_sack > 0;
    /* RFC 5681 2: nothing but the acknowledgement, and that is not new. */
    bool dup = seg->ack == c->snd_una && seg->len == 0 && !(seg->flags & RTE_TCP_FIN_FLAG) && !old &&
               seg->wnd << c->snd_wscale == c->snd_wnd && c->snd_wnd > 0;
    uint32_t una = c->snd_una, flight = c->snd_nxt - una;

    if (f != NULL) {
        d = (struct hr_tcp_delivered){
            .now_us = tcp->now_us,
            .min_rtt_us = c->min_rtt_us,
            .fack = f->fack,
            .recover = f->recover,
            .has_echo = c->ts_on && seg->opts.has_ts && seg->opts.tsecr != 0,
            .echo_ms = seg->opts.tsecr - c->ts_offset,
            .highest = f->fack,
        };
    }
    bool has_dsack = has_sack && hr_tcp_sack_take(c, seg, f == NULL ? NULL : &d, &dsack);
    bool probed = c->tlp_out && hr_tcp_tlp_acked(tcp, c, seg->ack, has_dsack ? &dsack : NULL, dup && !has_sack);
    if (advances) {
        release(tcp, c, seg);
        hr_tcp_xmit_acked(&f->xmit, c->snd_una, &d);
        d.highest = hr_seq_max(d.highest, c->snd_una);
    }
    if (!old)
        update_window(tcp, c, seg);
    if (c->snd_wnd == 0 && c->persist)
        c->retries = 0; /* the peer lives */

    if (has_dsack) {
        HR_COUNT(tcp->stats, tcp_dsack_rx);
        if (!probed)
            hr_tcp_rack_dsack(c);
    }
    if (f == NULL)
        return true;
    if (advances || d.sacked > 0)
        hr_tcp_rtt_acked(tcp, c, &d);
    if (c->sack_on)
        hr_tcp_rack_delivered(tcp, c, &d);
    if (advances)
        hr_tcp_cong_acked(tcp, c, c->snd_una - una, flight);
    /* RFC 6675 2: with SACK a duplicate is what brings news. */
    dup = !advances && (c->sack_on ? d.sacked > 0 : dup);
    if (dup)
        HR_COUNT(tcp->stats, tcp_dupack_rx);
    hr_tcp_recovery_acked(tcp, c, &d, c->snd_una - una, dup);
    if (has_dsack && !probed)
        hr_tcp_undo_dsack(tcp, c, &dsack);
    if (advances)
        return advanced(tcp, c, false);
    if (d.sacked > 0) {
        f->pto_at = 0; /* RFC 8985 7.2: RACK has the word */
        hr_tcp_rtx_sync(tcp, c);
    }
    return true;
}

bool hr_tcp_ack_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, bool old)
{
    bool advances = seg->ack - c->snd_una - 1 < c->snd_nxt - c->snd_una; /* SND.UNA < SEG.ACK =< SND.NXT */
    return likely(advances) && is_plain(c, seg) ? take_plain(tcp, c, seg, old) : take(tcp, c, seg, old);
}
