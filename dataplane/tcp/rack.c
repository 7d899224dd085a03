/* RACK (RFC 8985 6): a segment is lost when one that was sent later has been delivered and a reordering window
 * has passed since. In use where the peer sends SACK.
 *
 * The records in flight stand in the order of transmission, so detection looks at what it declares lost and at
 * one record more. What has been learnt of the path (smallest round trip, reordering, the width of the window)
 * outlives the flight and stands in the connection. */
#include "dataplane/tcp/impl.h"

#define DUP_THRESH 3
#define REO_WND_PERSIST 16
#define REO_WND_MULT_MAX 64

/* RFC 8985 6.2 steps 2 and 3. */
void hr_tcp_rack_delivered(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d)
{
    struct hr_tcp_flight *f = c->flight;

    c->rack_reordering |= d->reordered;
    f->fack = hr_seq_max(f->fack, d->highest);
    if (d->xmit_us == 0)
        return;
    f->rack_rtt_us = hr_tcp_rtt_since(tcp, d->xmit_us);
    if (hr_txrec_sent_after(d->xmit_us, d->end, f->rack_xmit_us, f->rack_end)) {
        f->rack_xmit_us = d->xmit_us;
        f->rack_end = d->end;
    }
}

/* Step 4: once per round trip that reports a duplicate, the window gets wider. */
void hr_tcp_rack_dsack(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    c->rack_persist = REO_WND_PERSIST;
    if (f != NULL && f->dsack_round_on && hr_seq_lt(c->snd_una, f->dsack_round))
        return;
    if (f != NULL) {
        f->dsack_round_on = true;
        f->dsack_round = c->snd_nxt;
    }
    if (c->rack_mult < REO_WND_MULT_MAX)
        c->rack_mult++;
}

/* Step 4: and narrow again after so many recoveries without. */
void hr_tcp_rack_recovered(struct hr_tcp_conn *c)
{
    if (c->rack_persist > 0 && --c->rack_persist == 0)
        c->rack_mult = 0;
}

/* RACK_reo_wnd(); rack_mult counts from 0. */
static uint32_t reo_wnd(const struct hr_tcp_conn *c)
{
    const struct hr_tcp_xmit *x = &c->flight->xmit;

    if (!c->rack_reordering) {
        if (c->recovery != HR_TCP_RECOVERY_NONE)
            return 0;
        if (x->n_sacked >= DUP_THRESH || x->sacked_bytes > (DUP_THRESH - 1) * (uint32_t)c->smss)
            return 0;
    }
    uint64_t wnd = (uint64_t)(c->min_rtt_us / 4) * (c->rack_mult + 1u);
    return HR_MUTANT(NO_REORDERING_WINDOW) ? 0 : (uint32_t)RTE_MIN(wnd, (uint64_t)c->srtt_us);
}

/* Step 5. The timer is set for the time at which all that was sent before the newest delivered segment is due. */
bool hr_tcp_rack_detect(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    struct hr_txrec *r;
    bool any = false;

    f->reo_at = 0;
    if (f->rack_xmit_us == 0 || HR_MUTANT(NO_RACK))
        return false;
    uint64_t after = (uint64_t)f->rack_rtt_us + reo_wnd(c);
    while ((r = TAILQ_FIRST(&f->xmit.in_time)) != NULL &&
           hr_txrec_sent_after(f->rack_xmit_us, f->rack_end, r->xmit_us, r->end)) {
        if (r->xmit_us + after > tcp->now_us) {
            f->reo_at = f->rack_xmit_us + after;
            break;
        }
        hr_tcp_xmit_lose(&f->xmit, r);
        any = true;
    }
    return any;
}

/* RFC 8985 6.3: after a timeout the first segment is lost, and all that is overdue by now. */
void hr_tcp_rack_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    uint64_t after = (uint64_t)(f->rack_rtt_us != 0 ? f->rack_rtt_us : c->srtt_us) + reo_wnd(c);
    struct hr_txrec *r, *next;

    hr_tcp_xmit_lose_first(&f->xmit, c->smss);
    for (r = TAILQ_FIRST(&f->xmit.in_time); r != NULL; r = next) {
        next = TAILQ_NEXT(r, link);
        if (r->xmit_us + after <= tcp->now_us)
            hr_tcp_xmit_lose(&f->xmit, r);
    }
}
