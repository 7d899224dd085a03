/* Proportional rate reduction (RFC 9937): in fast recovery the window goes down to ssthresh in step with what
 * the peer receives, and never sends faster than that. Where the peer sends SACK; NewReno inflates its window
 * instead. */
#include "dataplane/tcp/impl.h"

/* RFC 9937 6.1; ssthresh has been set, and the ACK that d tells of has been taken. */
void hr_tcp_prr_begin(struct hr_tcp_prr *p, uint32_t flight, uint32_t sacked, const struct hr_tcp_delivered *d)
{
    p->delivered = p->out = 0;
    p->recover_fs = RTE_MAX(1u, flight - (sacked - d->sacked) + d->acked);
}

/* RFC 9937 6.2: the congestion window after an ACK. safe: SND.UNA moved and no further loss was found. */
uint32_t hr_tcp_prr_cwnd(struct hr_tcp_prr *p, uint32_t pipe, uint32_t ssthresh, uint32_t smss,
                         uint32_t delivered, bool safe)
{
    int64_t count;

    p->delivered += delivered;
    if (pipe > ssthresh) {
        uint64_t out = ((uint64_t)p->delivered * ssthresh + p->recover_fs - 1) / p->recover_fs;
        count = (int64_t)out - p->out;
    } else {
        count = RTE_MAX((int64_t)p->delivered - p->out, (int64_t)delivered); /* conservative bound */
        if (safe)
            count += smss; /* slow start bound */
        count = RTE_MIN(count, (int64_t)ssthresh - pipe);
    }
    if (p->out == 0 && count <= 0)
        count = smss; /* the fast retransmission */
    /* With nothing in flight one segment may go: only the timer would move things otherwise. */
    return RTE_MAX(pipe + (uint32_t)RTE_MAX(count, 0), smss);
}
