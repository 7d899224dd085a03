/* The SACK option as it arrives: which blocks say what the peer holds (RFC 2018 4), and whether the first one
 * reports a duplicate (RFC 2883 4). What the peer holds is kept in the transmit records. */
#include "dataplane/tcp/impl.h"

/* RFC 2883 4.1, 4.2: at or below the cumulative acknowledgement, or inside the second block. */
static bool is_duplicate(const struct hr_tcp_opts *o, uint32_t ack)
{
    const struct hr_tcp_range *r = o->sack;
    return hr_seq_leq(r[0].end, ack) ||
           (o->n_sack > 1 && hr_seq_geq(r[0].start, r[1].start) && hr_seq_leq(r[0].end, r[1].end));
}

bool hr_tcp_sack_take(struct hr_tcp_conn *c, const struct hr_tcp_seg *seg, struct hr_tcp_delivered *d,
                      struct hr_tcp_range *ret_dsack)
{
    const struct hr_tcp_opts *o = &seg->opts;
    uint32_t base = hr_seq_max(c->snd_una, seg->ack);
    bool dsack = false;

    for (uint32_t i = 0; i < o->n_sack; i++) {
        struct hr_tcp_range r = o->sack[i];
        if (!hr_seq_lt(r.start, r.end))
            continue;
        if (i == 0 && is_duplicate(o, seg->ack) && !HR_MUTANT(DSACK_AS_SACK)) {
            /* Of what was sent, and not long ago. */
            dsack = hr_seq_leq(r.end, c->snd_nxt) && hr_seq_diff(c->snd_nxt, r.start) < (1 << 30);
            *ret_dsack = r;
            continue;
        }
        /* What is not in flight says nothing (an old or forged block); nor does one that begins where the peer
         * says that it has a gap. */
        if (d == NULL || hr_seq_leq(r.start, base) || (hr_seq_gt(r.end, c->snd_nxt) && !HR_MUTANT(SACK_BEYOND)))
            continue;
        hr_tcp_xmit_sacked(&c->flight->xmit, r.start, r.end, d);
        d->highest = hr_seq_max(d->highest, r.end);
    }
    return dsack;
}
