/* The round trip: the retransmission timeout (RFC 6298), and the smallest one of late (RFC 8985 6.2 step 1).
 * Samples come from the transmit records, one per window; where a segment was sent more than once, only if the
 * echoed timestamp tells which copy arrived (RFC 6298 3, RFC 7323 4). */
#include "dataplane/tcp/impl.h"

/* Clock granularity G: of the timestamps; the clock that segments are stamped by, and the timer wheel, are finer. */
#define GRANULARITY_US 1000
/* A path may have changed since. */
#define MIN_RTT_VALID_MS (300u * 1000)

static void note_min(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t rtt_us)
{
    if (c->min_rtt_us != 0 && rtt_us > c->min_rtt_us && tcp->now_ms - c->min_rtt_ms <= MIN_RTT_VALID_MS)
        return;
    c->min_rtt_us = rtt_us;
    c->min_rtt_ms = tcp->now_ms;
}

void hr_tcp_rtt_sample(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t rtt_us)
{
    uint32_t r = RTE_MAX(1u, RTE_MIN(rtt_us, tcp->cfg.rto_max_us));

    c->rtt_fresh = true;
    note_min(tcp, c, r);
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
    rto = RTE_MAX(rto, HR_MUTANT(NO_RTO_MINIMUM) ? 0 : (uint64_t)tcp->cfg.rto_min_us);
    c->rto_us = (uint32_t)RTE_MIN(rto, (uint64_t)tcp->cfg.rto_max_us);
}

void hr_tcp_rtt_plain(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint64_t oldest_us, uint32_t newest_rtt_us)
{
    struct hr_tcp_flight *f = c->flight;

    note_min(tcp, c, newest_rtt_us);
    hr_tcp_cong_rtt(c, newest_rtt_us);
    if (hr_seq_lt(c->snd_una, f->rtt_seq))
        return;
    f->rtt_seq = c->snd_nxt;
    hr_tcp_rtt_sample(tcp, c, hr_tcp_rtt_since(tcp, oldest_us));
}

void hr_tcp_rtt_acked(const struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d)
{
    if (d->acked > 0 && (!d->ambiguous || HR_MUTANT(NO_KARN))) {
        hr_tcp_rtt_plain(tcp, c, d->oldest_us, hr_tcp_rtt_since(tcp, d->xmit_us));
        return;
    }
    if (d->xmit_us != 0)
        note_min(tcp, c, hr_tcp_rtt_since(tcp, d->xmit_us));
    if (d->acked == 0)
        return;
    if (d->has_echo) {
        uint32_t ms = tcp->now_ms - d->echo_ms;
        if (d->xmit_us != 0) /* the last copy, and by our finer clock */
            hr_tcp_rtt_sample(tcp, c, hr_tcp_rtt_since(tcp, d->xmit_us));
        else if (ms <= tcp->cfg.rto_max_us / 1000)
            hr_tcp_rtt_sample(tcp, c, RTE_MAX(1u, ms) * 1000);
    }
}

uint32_t hr_tcp_rto(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint64_t rto = (uint64_t)c->rto_us << RTE_MIN(c->backoff, 16);
    return (uint32_t)RTE_MIN(rto, (uint64_t)tcp->cfg.rto_max_us);
}
