/* Reno: RFC 5681 with appropriate byte counting (RFC 3465). */
#include "dataplane/tcp/impl.h"

static void reno_acked(struct hr_tcp_conn *c, uint32_t acked)
{
    if (c->cwnd < c->ssthresh) {
        /* After a timeout at most two segments per ACK: it may cover what had arrived before (RFC 3465 2.3). */
        if (c->recovery == HR_TCP_RECOVERY_RTO)
            acked = RTE_MIN(acked, 2u * c->smss);
        c->cwnd += acked;
        return;
    }
    c->cong_acked += acked;
    if (c->cong_acked >= c->cwnd) {
        c->cong_acked -= c->cwnd;
        c->cwnd += c->smss;
    }
}

static uint32_t reno_ssthresh(const struct hr_tcp_conn *c, uint32_t flight)
{
    return RTE_MAX(flight / 2, 2u * c->smss); /* RFC 5681 equation (4) */
}

const struct hr_tcp_cong_ops hr_tcp_cong_reno = {
    .name = "reno",
    .acked = reno_acked,
    .ssthresh = reno_ssthresh,
};
