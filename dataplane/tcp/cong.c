/* When the congestion window may change. By how much is said by the algorithm behind struct
 * hr_tcp_cong_ops. */
#include "dataplane/tcp/impl.h"

/* No window is larger: sequence arithmetic and send queues end well below. */
#define CWND_MAX (256u << 20)

static const struct hr_tcp_cong_ops *const ops = &hr_tcp_cong_reno;

static uint32_t initial_cwnd(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    /* RFC 6928 2: ten segments, and at most 14600 bytes or two segments where those are larger. */
    uint32_t limit = RTE_MAX(2u * c->smss, 1460u * tcp->cfg.initial_cwnd_segs);
    return RTE_MIN(tcp->cfg.initial_cwnd_segs * (uint32_t)c->smss, limit);
}

void hr_tcp_cong_init(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->cwnd = c->syn_lost ? c->smss : initial_cwnd(tcp, c); /* RFC 5681 3.1 */
    c->ssthresh = CWND_MAX;
    c->cong_acked = 0;
}

void hr_tcp_cong_acked(struct hr_tcp_conn *c, uint32_t acked, uint32_t flight_before)
{
    if (c->recovery == HR_TCP_RECOVERY_FAST)
        return;
    /* A window that was not in use has proven nothing (RFC 7661 1): in slow start half of it must have been,
     * since it doubles each round trip. */
    bool in_use = c->cwnd_limited || flight_before + c->smss >= c->cwnd ||
                  (c->cwnd < c->ssthresh && 2 * (uint64_t)flight_before >= c->cwnd);
    if (in_use || c->recovery == HR_TCP_RECOVERY_RTO)
        ops->acked(c, acked);
    c->cwnd = RTE_MIN(c->cwnd, CWND_MAX);
}

void hr_tcp_cong_loss(struct hr_tcp_conn *c)
{
    c->ssthresh = ops->ssthresh(c, c->snd_nxt - c->snd_una);
    c->cwnd = c->ssthresh;
    if (!c->sack_on)
        c->cwnd += 3u * c->smss; /* the three that caused the duplicate ACKs have left (RFC 6582 3.2) */
    c->cong_acked = 0;
}

void hr_tcp_cong_timeout(struct hr_tcp_conn *c)
{
    if (c->retries == 0) /* not again for a retransmission of the same segment (RFC 5681 3.1) */
        c->ssthresh = ops->ssthresh(c, c->snd_nxt - c->snd_una);
    c->cwnd = c->smss;
    c->cong_acked = 0;
}

void hr_tcp_cong_recovered(struct hr_tcp_conn *c)
{
    if (c->sack_on) {
        c->cwnd = c->ssthresh;
    } else { /* RFC 6582 3.2 step 3, option 1: no burst */
        uint32_t flight = c->snd_nxt - c->snd_una;
        c->cwnd = RTE_MIN(c->ssthresh, RTE_MAX(flight, (uint32_t)c->smss) + c->smss);
    }
}

void hr_tcp_cong_idle(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    /* RFC 5681 4.1: after a pause of an RTO the ACK clock is gone. */
    if (tcp->now_us - c->last_tx_us > c->rto_us)
        c->cwnd = RTE_MIN(c->cwnd, initial_cwnd(tcp, c));
}
