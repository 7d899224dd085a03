#include "dataplane/tcp/testrival.h"

#include <math.h>

#include "dataplane/tcp/testpath.h"

#define INITIAL 10
#define BETA (717.0 / 1024)
#define C 0.4
#define HYSTART_LOW 16 /* packets, below which it does not look */
#define HYSTART_SAMPLES 8
#define RTO_US 300000

/* ---- HyStart ---- */

static void hystart(struct tr_rival *r, uint64_t now, uint64_t number, double rtt_us)
{
    if (number >= r->round_end) {
        r->round_end = r->next;
        r->round_at = r->last_ack_at = now;
        r->round_rtt_us = INFINITY;
        r->samples = 0;
    }
    if (r->cwnd < HYSTART_LOW)
        return;
    bool found = false;
    if (now - r->last_ack_at <= 2000) { /* a train of ACKs as long as half of the path */
        r->last_ack_at = now;
        found = (double)(now - r->round_at) > (r->delay_min_us + 1000) / 2;
    }
    r->round_rtt_us = fmin(r->round_rtt_us, rtt_us);
    if (r->samples < HYSTART_SAMPLES)
        r->samples++;
    else
        found |= r->round_rtt_us > r->delay_min_us + fmin(fmax(r->delay_min_us / 8, 4000), 16000);
    if (found)
        r->ssthresh = r->cwnd;
}

/* ---- CUBIC ---- */

static void grow(struct tr_rival *r, uint64_t now, double acked)
{
    if (r->epoch_at == 0) {
        r->epoch_at = now;
        r->ack_cnt = 0;
        r->w_tcp = r->cwnd;
        r->k_s = r->w_max > r->cwnd ? cbrt((r->w_max - r->cwnd) / C) : 0;
        r->origin = fmax(r->w_max, r->cwnd);
    }
    double t = ((double)(now - r->epoch_at) + r->delay_min_us) / 1e6 - r->k_s;
    double target = r->origin + C * t * t * t;
    double cnt = target > r->cwnd ? r->cwnd / (target - r->cwnd) : 100 * r->cwnd;
    if (r->w_max == 0)
        cnt = fmin(cnt, 20);
    r->ack_cnt += acked;
    double per_step = r->cwnd * 15 / 8;
    r->w_tcp += floor(r->ack_cnt / per_step);
    r->ack_cnt = fmod(r->ack_cnt, per_step);
    if (r->w_tcp > r->cwnd)
        cnt = fmin(cnt, r->cwnd / (r->w_tcp - r->cwnd));
    r->cwnd += acked / fmax(cnt, 2);
}

static void reduce(struct tr_rival *r)
{
    r->reductions++;
    r->epoch_at = 0;
    r->w_max = r->cwnd < r->w_max ? r->cwnd * (1 + BETA) / 2 : r->cwnd;
    r->ssthresh = fmax(r->cwnd * BETA, 2);
}

/* ---- packets ---- */

static void send_all(struct tr_rival *r, struct tp_path *p)
{
    while (r->pipe + 1 <= r->cwnd && r->next - r->oldest < TR_RING) {
        r->sent_at[r->next % TR_RING] = p->now;
        r->back_at[r->next % TR_RING] = tp_queue(p, p->mss - HR_TCP_TS_OPT_BYTES);
        if (r->back_at[r->next % TR_RING] != 0)
            r->back_at[r->next % TR_RING] += p->rtt_us;
        r->next++;
        r->pipe++;
        r->prr_out++;
    }
}

/* RFC 6937, as Linux has it. */
static void prr(struct tr_rival *r, double acked)
{
    r->prr_delivered += acked;
    double n = r->pipe > r->ssthresh ? ceil(r->prr_delivered * r->ssthresh / r->prior) - r->prr_out
                                     : fmin(r->ssthresh - r->pipe, fmax(r->prr_delivered - r->prr_out, acked) + 1);
    r->cwnd = r->pipe + fmax(n, r->prr_out == 0 ? 1 : 0);
}

/* An ACK for so many packets, the last of which is this one. */
static void acked(struct tr_rival *r, struct tp_path *p, uint64_t number, double n)
{
    double rtt_us = (double)(p->now - r->sent_at[number % TR_RING]), lost = 0;

    r->progress_at = p->now;
    r->delay_min_us = r->delay_min_us == 0 ? rtt_us : fmin(r->delay_min_us, rtt_us);
    for (; r->oldest + 3 <= number; r->oldest++)
        lost += r->back_at[r->oldest % TR_RING] == 0;
    r->pipe -= n + lost;
    if (r->recovering && number >= r->recover) {
        r->recovering = false;
        r->cwnd = r->ssthresh;
    }
    if (!r->recovering && lost > 0) {
        r->recovering = true;
        r->recover = r->next;
        r->prior = r->cwnd;
        r->prr_delivered = r->prr_out = 0;
        reduce(r);
    }
    if (r->recovering) {
        prr(r, n);
    } else if (r->cwnd < r->ssthresh) {
        hystart(r, p->now, number, rtt_us);
        r->cwnd = fmin(r->cwnd + n, fmax(r->ssthresh, r->cwnd));
    } else {
        grow(r, p->now, n);
    }
}

static void timeout(struct tr_rival *r, struct tp_path *p)
{
    reduce(r);
    r->cwnd = 1;
    r->pipe = 0;
    r->unacked = 0;
    r->recovering = false;
    r->arrived = r->next;
    for (; r->oldest < r->next; r->oldest++)
        r->back_at[r->oldest % TR_RING] = 0;
    r->progress_at = p->now;
}

uint64_t tr_turn(struct tr_rival *r, struct tp_path *p)
{
    if (p->now < p->begin + r->start_us)
        return p->begin + r->start_us;
    if (r->cwnd == 0) {
        r->cwnd = INITIAL;
        r->ssthresh = INFINITY;
        r->round_end = 0;
        r->progress_at = p->now;
    }
    if (p->now >= r->progress_at + RTO_US)
        timeout(r, p);
    /* The path keeps the order, so do ACKs; every second packet has one, and those around a gap. */
    bool gap = false;
    for (; r->arrived < r->next; r->arrived++) {
        uint64_t at = r->back_at[r->arrived % TR_RING];
        if (at > p->now)
            break;
        if (at == 0) {
            gap = true;
            continue;
        }
        r->delivered++;
        if (++r->unacked < 2 && !gap && !r->recovering && r->pipe > 3)
            continue;
        acked(r, p, r->arrived, r->unacked);
        r->unacked = 0;
        gap = false;
        send_all(r, p);
    }
    send_all(r, p);
    return RTE_MIN(r->arrived < r->next ? r->back_at[r->arrived % TR_RING] : UINT64_MAX, r->progress_at + RTO_US);
}
