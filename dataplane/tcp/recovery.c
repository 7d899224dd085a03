/* Loss recovery: what an ACK or a timer means for what is in flight.
 *
 * Where the peer sends SACK, RACK says what is lost (rack.c), PRR how fast the window falls (prr.c), and a probe
 * saves the tail (tlp.c). Without, three duplicate ACKs say that the first segment is lost, a partial ACK that
 * the next one is, and the window is inflated by duplicate ACKs (RFC 6582). The timeout is the last resort, and
 * may turn out to have been premature (undo.c).
 *
 * The transmit records (xmit.c) hold what is lost; a segment of it leaves where pipe allows (output.c). */
#include <string.h>

#include "dataplane/tcp/impl.h"

#define DUP_THRESH 3

bool hr_tcp_flight_attach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = hr_tcp_slab_get(&tcp->flight_slab);
    if (f == NULL)
        return false;
    memset(f, 0, offsetof(struct hr_tcp_flight, xmit));
    /* The hash is keyed: no peer can guess the shape of the set. */
    hr_tcp_xmit_init(&f->xmit, &tcp->xmit_slab, c->hash + (uint32_t)tcp->now_us);
    f->recover = f->fack = f->rtt_seq = c->snd_una;
    f->burst_max = hr_tcp_pace_initial(tcp, c);
    c->flight = f;
    c->stalled_since_ms = tcp->now_ms;
    return true;
}

void hr_tcp_flight_detach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    if (f == NULL)
        return;
    hr_tcp_xmit_clear(&f->xmit);
    hr_tcp_slab_put(&tcp->flight_slab, f);
    c->flight = NULL;
}

/* The first segment is presumed lost, and goes whatever the window says. */
static void lose_first(struct hr_tcp_conn *c)
{
    hr_tcp_xmit_lose_first(&c->flight->xmit, c->smss);
    c->flight->rtx_force = true;
}

static void enter_fast(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d)
{
    struct hr_tcp_flight *f = c->flight;

    HR_COUNT(tcp->stats, tcp_fast_recovery);
    hr_tcp_undo_mark(c);
    f->undo_timeout = false;
    c->recovery = HR_TCP_RECOVERY_FAST;
    c->tlp_out = false; /* the loss is being reacted to */
    f->pto_at = 0;
    f->recover = c->snd_nxt;
    f->rtx_force = true;
    hr_tcp_cong_loss(tcp, c, d->acked);
    if (c->sack_on)
        hr_tcp_prr_begin(&f->prr, c->snd_nxt - c->snd_una, f->xmit.sacked_bytes, d);
    else
        lose_first(c);
}

static void set_prr_cwnd(struct hr_tcp_conn *c, const struct hr_tcp_delivered *d, bool safe)
{
    struct hr_tcp_flight *f = c->flight;
    c->cwnd = hr_tcp_prr_cwnd(&f->prr, hr_tcp_recovery_pipe(c), c->ssthresh, c->smss, d->acked + d->sacked, safe);
}

/* The recovery point is reached. */
static void leave(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    if (c->recovery == HR_TCP_RECOVERY_FAST)
        hr_tcp_cong_recovered(c);
    c->recovery = HR_TCP_RECOVERY_NONE;
    c->dupacks = 0;
    f->rtx_force = false;
    f->frto = HR_TCP_FRTO_OFF;
    f->force_new = 0;
    hr_tcp_rack_recovered(c);
}

/* RFC 6582 3.2 step 3, partial ACK: the next segment is lost too, and the window is deflated. */
static void partial_ack(struct hr_tcp_conn *c, uint32_t acked)
{
    if (!HR_MUTANT(NO_PARTIAL_ACK))
        lose_first(c);
    c->cwnd -= RTE_MIN(acked, c->cwnd);
    if (acked >= c->smss)
        c->cwnd += c->smss;
    c->cwnd = RTE_MAX(c->cwnd, (uint32_t)c->smss);
}

/* Without SACK, outside of recovery. */
static void count_dupacks(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d,
                          bool advanced, bool dup)
{
    struct hr_tcp_flight *f = c->flight;

    if (advanced) {
        c->dupacks = 0;
        /* RFC 6582 3.2 step 2: not again for losses of the window that was recovered last. */
        f->recover = hr_seq_max(f->recover, c->snd_una);
    }
    if (!dup)
        return;
    if (c->dupacks < UINT8_MAX)
        c->dupacks++;
    if (!HR_MUTANT(NO_FAST_RETRANSMIT) && c->dupacks >= DUP_THRESH && hr_seq_geq(c->snd_una, f->recover))
        enter_fast(tcp, c, d);
    hr_tcp_mark_dirty(tcp, c); /* limited transmit (RFC 3042) */
}

void hr_tcp_recovery_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d,
                           uint32_t acked, bool dup)
{
    struct hr_tcp_flight *f = c->flight;
    bool lost = false;

    if (c->recovery != HR_TCP_RECOVERY_NONE && hr_seq_geq(c->snd_una, f->recover)) {
        leave(c);
        if (f->xmit.lost_bytes > 0) /* of what was sent in recovery: another event */
            lost = true;
    }
    if (c->sack_on)
        lost |= hr_tcp_rack_detect(tcp, c);

    switch ((enum hr_tcp_recovery)c->recovery) {
    case HR_TCP_RECOVERY_NONE:
        if (!c->sack_on) {
            count_dupacks(tcp, c, d, acked > 0, dup);
        } else if (lost) {
            enter_fast(tcp, c, d);
            set_prr_cwnd(c, d, false);
        }
        break;
    case HR_TCP_RECOVERY_FAST:
        if (c->sack_on)
            set_prr_cwnd(c, d, acked > 0 && !lost);
        else if (acked > 0)
            partial_ack(c, acked);
        else if (dup)
            c->cwnd += c->smss;
        break;
    case HR_TCP_RECOVERY_RTO:
        hr_tcp_frto_acked(tcp, c, d, acked > 0, dup || d->sacked > 0);
        break;
    }
    if (acked > 0 || d->sacked > 0 || dup)
        hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_recovery_reo_timer(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    const struct hr_tcp_delivered nothing = {0};

    if (!hr_tcp_rack_detect(tcp, c))
        return;
    if (c->recovery == HR_TCP_RECOVERY_NONE)
        enter_fast(tcp, c, &nothing);
    if (c->recovery == HR_TCP_RECOVERY_FAST)
        set_prr_cwnd(c, &nothing, false);
    hr_tcp_mark_dirty(tcp, c);
}

/* What is in flight after a timeout is lost: with SACK what is overdue (RFC 8985 6.3), else all. */
void hr_tcp_recovery_lose_rest(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->sack_on)
        hr_tcp_rack_timeout(tcp, c);
    else
        hr_tcp_xmit_lose_all(&c->flight->xmit);
}

static void resend(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    c->recovery = HR_TCP_RECOVERY_RTO;
    c->dupacks = 0;
    c->tlp_out = false;
    f->recover = c->snd_nxt;
    f->rtx_force = true;
    f->pto_at = f->reo_at = 0;
    f->tlp_due = false;
    f->force_new = 0;
}

void hr_tcp_recovery_resend(struct hr_tcp_conn *c)
{
    resend(c);
    c->flight->frto = HR_TCP_FRTO_OFF;
    c->flight->undo_on = false;
    hr_tcp_xmit_lose_all(&c->flight->xmit);
}

void hr_tcp_recovery_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    const struct hr_txrec *first = hr_txrec_of(f->xmit.tree.first);
    bool fresh = c->recovery == HR_TCP_RECOVERY_NONE;

    if (fresh)
        hr_tcp_undo_mark(c);
    f->undo_timeout = true;
    hr_tcp_cong_timeout(tcp, c);
    /* RFC 2018 8: the peer may throw away what it has SACKed. A gap never ends up at SND.UNA while it keeps it. */
    if (first->state == HR_TXREC_SACKED)
        HR_COUNT(tcp->stats, tcp_reneged);
    if (!HR_MUTANT(NO_UNSACK))
        hr_tcp_xmit_unsack(&f->xmit);
    resend(c);
    /* RFC 5682 step 1: not where losses are being repaired already. */
    f->frto = fresh && !HR_MUTANT(NO_FRTO) ? HR_TCP_FRTO_FIRST : HR_TCP_FRTO_OFF;
    if (fresh)
        hr_tcp_xmit_lose_first(&f->xmit, c->smss);
    else
        hr_tcp_recovery_lose_rest(tcp, c);
}

uint32_t hr_tcp_recovery_pipe(const struct hr_tcp_conn *c)
{
    return c->flight == NULL ? 0 : hr_tcp_xmit_pipe(&c->flight->xmit, c->snd_una, c->snd_nxt);
}

bool hr_tcp_recovery_lost(const struct hr_tcp_conn *c, struct hr_tcp_range *ret)
{
    const struct hr_tcp_flight *f = c->flight;

    if (!hr_tcp_xmit_next_lost(&f->xmit, ret))
        return false;
    if (f->frto != HR_TCP_FRTO_OFF && !f->rtx_force)
        return false;
    /* The FIN takes a sequence number but no room in the segment. */
    uint32_t max = c->smss + (c->fin_sent && ret->end == c->snd_nxt);
    if (ret->end - ret->start > max)
        ret->end = ret->start + c->smss;
    return true;
}
