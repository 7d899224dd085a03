/* When the congestion window may change. It doubles per round trip below ssthresh (the first time under the
 * eyes of HyStart++, hystart.c) and above grows as the algorithm behind struct hr_tcp_cong_ops says. It grows
 * only while it is what holds the sender back: a window that was not in use has proven nothing about the path
 * (RFC 9438 5.8, RFC 7661 1). A relay's leg is mostly in that state, or idle. */
#include "dataplane/tcp/impl.h"

/* No window is larger: sequence arithmetic and send queues end well below. */
#define CWND_MAX (256u << 20)

const struct hr_tcp_cong_ops *hr_tcp_cong_find(enum hr_tcp_cong_algorithm algorithm)
{
    static const struct hr_tcp_cong_ops *const all[HR_TCP_CONG_MAX] = {
        [HR_TCP_CONG_CUBIC] = &hr_tcp_cong_cubic,
        [HR_TCP_CONG_RENO] = &hr_tcp_cong_reno,
    };
    return all[algorithm];
}

static uint32_t initial_cwnd(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    /* RFC 6928 2: ten segments, and at most 14600 bytes or two segments where those are larger. */
    uint32_t limit = RTE_MAX(2u * c->smss, 1460u * tcp->cfg.initial_cwnd_segs);
    return RTE_MIN(tcp->cfg.initial_cwnd_segs * (uint32_t)c->smss, limit) * (HR_MUTANT(LARGE_INITIAL_WINDOW) ? 10 : 1);
}

void hr_tcp_cong_init(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->cwnd = c->syn_lost ? c->smss : initial_cwnd(tcp, c); /* RFC 5681 3.1 */
    c->ssthresh = CWND_MAX;
    hr_tcp_hystart_init(c);
}

static void slow_start(struct hr_tcp_conn *c, uint32_t acked)
{
    /* After a timeout at most two segments per ACK: it may cover what had arrived before (RFC 3465 2.3). Else
     * without limit (RFC 9406 4.2: L is infinite where bursts are paced). */
    if (c->recovery == HR_TCP_RECOVERY_RTO)
        acked = RTE_MIN(acked, 2u * c->smss);
    c->cwnd += acked >> (c->cong.phase == HR_TCP_CONG_CSS ? HR_TCP_CSS_GROWTH_SHIFT : 0);
    c->cwnd = RTE_MIN(c->cwnd, CWND_MAX);
}

void hr_tcp_cong_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked, uint32_t flight_before)
{
    if (c->recovery == HR_TCP_RECOVERY_FAST)
        return;
    bool in_use = HR_MUTANT(GROWTH_UNUSED) || c->cwnd_limited || c->recovery == HR_TCP_RECOVERY_RTO;

    if (c->cwnd < c->ssthresh) {
        if (c->cong.phase != HR_TCP_CONG_LATER)
            hr_tcp_hystart_acked(c);
        /* Half of it must have been in use, since it doubles each round trip. */
        if (in_use || 2 * (uint64_t)flight_before >= c->cwnd)
            slow_start(c, acked);
        return;
    }
    if (!in_use && flight_before + c->smss < c->cwnd) {
        c->cong.running &= HR_MUTANT(PAUSE_COUNTS); /* this time does not count (RFC 9438 5.8) */
        return;
    }
    hr_tcp_cong_leave_start(c);
    /* In steps of a sixteenth of the window: what is computed per step is not computed per ACK, and its
     * rounding stays below a percent. */
    c->cong.acked += acked;
    if (c->cong.acked < c->cwnd / 16)
        return;
    tcp->cong->avoid(tcp, c, RTE_MIN(c->cong.acked, c->cwnd));
    c->cong.acked = 0;
    c->cwnd = RTE_MIN(c->cwnd, CWND_MAX);
}

void hr_tcp_cong_rtt(struct hr_tcp_conn *c, uint32_t rtt_us)
{
    if (c->cong.phase != HR_TCP_CONG_LATER)
        hr_tcp_hystart_rtt(c, rtt_us);
}

void hr_tcp_cong_leave_start(struct hr_tcp_conn *c)
{
    if (c->cong.phase == HR_TCP_CONG_LATER)
        return;
    c->cong = (struct hr_tcp_cong){.phase = HR_TCP_CONG_LATER};
}

static uint32_t reduce(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t flight, bool timeout)
{
    /* RFC 5681 3.1 takes FlightSize, which may be far below a window that an application did not fill, and without
     * what limited transmit added. A window that was in use counts whole (RFC 9438 4.6): what a segment did not fit
     * into has been earned too. */
    if (flight + c->smss > c->cwnd && !HR_MUTANT(ROUNDED_REDUCTION))
        flight = c->cwnd;

    hr_tcp_cong_leave_start(c);
    c->cong.acked = 0;
    c->cong.running = false;
    if (HR_MUTANT(NO_REDUCTION))
        return c->cwnd;
    return RTE_MAX(tcp->cong->reduce(c, flight, timeout), 2u * c->smss);
}

void hr_tcp_cong_loss(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked)
{
    c->ssthresh = reduce(tcp, c, c->snd_nxt - c->snd_una + acked, false);
    c->cwnd = c->ssthresh;
    if (!c->sack_on)
        c->cwnd += 3u * c->smss; /* the three that caused the duplicate ACKs have left (RFC 6582 3.2) */
}

void hr_tcp_cong_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->retries == 0) /* not again for a retransmission of the same segment (RFC 5681 3.1) */
        c->ssthresh = reduce(tcp, c, c->snd_nxt - c->snd_una, true);
    if (!HR_MUTANT(NO_COLLAPSE))
        c->cwnd = c->smss;
    c->cong.acked = 0;
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

void hr_tcp_cong_save(const struct hr_tcp_conn *c, struct hr_tcp_cong_saved *ret)
{
    *ret = (struct hr_tcp_cong_saved){.cwnd = c->cwnd, .ssthresh = c->ssthresh, .cong = c->cong};
}

void hr_tcp_cong_undo(struct hr_tcp_conn *c, const struct hr_tcp_cong_saved *saved)
{
    c->cwnd = RTE_MAX(c->cwnd, saved->cwnd);
    c->ssthresh = saved->ssthresh;
    c->cong = saved->cong;
    c->cong.running = false; /* the curve goes on from here, now */
}

void hr_tcp_cong_idle(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    /* RFC 5681 4.1: after a pause of an RTO the ACK clock is gone. What was reached is the place to be careful
     * from again (RFC 2861 3.2). */
    if (tcp->now_us - c->last_tx_us <= c->rto_us || HR_MUTANT(NO_IDLE_RESTART))
        return;
    uint32_t restart = initial_cwnd(tcp, c);
    c->cong.running = false;
    if (c->cwnd <= restart)
        return;
    c->ssthresh = RTE_MAX(c->ssthresh, c->cwnd - c->cwnd / 4);
    c->cwnd = restart;
}
