/* The retransmission timeout (RFC 6298). Samples come from one timed segment per round trip, and from
 * timestamps where that segment was retransmitted (RFC 7323 4). */
#include "dataplane/tcp/impl.h"

/* Clock granularity G, and the tick of the timer wheel. */
#define GRANULARITY_US 1000

void hr_tcp_rtt_sample(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t rtt_us)
{
    uint32_t r = RTE_MAX(1u, RTE_MIN(rtt_us, tcp->cfg.rto_max_us));

    if (c->srtt_us == 0) { /* RFC 6298 2.2 */
        c->srtt_us = r;
        c->rttvar_us = r / 2;
    } else { /* 2.3 */
        uint32_t delta = c->srtt_us > r ? c->srtt_us - r : r - c->srtt_us;
        c->rttvar_us = (uint32_t)((3ULL * c->rttvar_us + delta) / 4);
        c->srtt_us = (uint32_t)((7ULL * c->srtt_us + r) / 8);
        if (c->srtt_us == 0)
            c->srtt_us = 1;
    }
    uint64_t rto = c->srtt_us + RTE_MAX((uint64_t)GRANULARITY_US, 4ULL * c->rttvar_us);
    rto = RTE_MAX(rto, (uint64_t)tcp->cfg.rto_min_us);
    c->rto_us = (uint32_t)RTE_MIN(rto, (uint64_t)tcp->cfg.rto_max_us);
}

uint32_t hr_tcp_rto(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint64_t rto = (uint64_t)c->rto_us << RTE_MIN(c->backoff, 16);
    return (uint32_t)RTE_MIN(rto, (uint64_t)tcp->cfg.rto_max_us);
}
