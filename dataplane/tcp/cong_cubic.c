/* CUBIC (RFC 9438), in integers: windows in bytes, time in milliseconds.
 *
 *   W_cubic(t) = C (t - K)^3 + W_max      C = 0.4 segments/s^3
 *
 * t - K is the time since the curve's inflection, where it stands at W_max. That moment is all that is kept of
 * both t and K: it is computed when a stage of congestion avoidance begins, such that the curve passes through
 * the present window now. A flow that pauses, or leaves its window unused, does the same when it goes on, which
 * takes that time out of t (RFC 9438 5.8). */
#include "dataplane/tcp/impl.h"

/* beta_cubic 0.7; alpha_cubic = 3 (1 - beta) / (1 + beta) = 9/17 (RFC 9438 4.3); fast convergence leaves
 * (1 + beta) / 2 = 17/20 of a window (4.7). */
#define BETA(w) ((uint32_t)((uint64_t)(w) * 7 / 10))
#define ALPHA_NUM 9
#define ALPHA_DEN 17
#define FAST_CONVERGENCE(w) ((uint32_t)((uint64_t)(w) * 17 / 20))

/* Four minutes from the inflection the curve has long left any window that is allowed. */
#define T_MAX_MS (1 << 18)

uint32_t hr_tcp_cbrt(uint64_t a)
{
    /* Cube roots of 8..63 times 64, rounded: a seed good to seven bits. */
    static const uint8_t seed[56] = {
        128, 133, 138, 142, 147, 150, 154, 158, 161, 165, 168, 171, 174, 177, 179, 182, 185, 187, 190,
        192, 194, 197, 199, 201, 203, 205, 207, 209, 211, 213, 215, 217, 219, 221, 222, 224, 226, 228,
        229, 231, 233, 234, 236, 237, 239, 240, 242, 243, 245, 246, 248, 249, 251, 252, 253, 255};

    if (a < 8)
        return a > 0;
    unsigned shift = (unsigned)(63 - __builtin_clzll(a)) / 3 - 1; /* a >> 3 shift lies in 8..63 */
    uint64_t x = ((uint64_t)seed[(a >> 3 * shift) - 8] << shift) / 64;
    for (int i = 0; i < 2; i++) /* Newton doubles the bits */
        x = (2 * x + a / (x * x)) / 3;
    while (x * x * x > a)
        x--;
    while ((x + 1) * (x + 1) * (x + 1) <= a)
        x++;
    return (uint32_t)x;
}

uint32_t hr_tcp_cubic_window(uint32_t w_max, int32_t t_ms, uint16_t smss)
{
    int64_t t = RTE_MAX(-T_MAX_MS, RTE_MIN(t_ms, T_MAX_MS));
    int64_t w = w_max + t * t * t / 1000 * smss * 2 / 5 / 1000000;
    return (uint32_t)RTE_MAX((int64_t)smss, RTE_MIN(w, (int64_t)INT32_MAX));
}

/* The time between the inflection and the point where the curve is so far from W_max. */
static uint32_t time_ms(uint32_t bytes, uint16_t smss)
{
    return hr_tcp_cbrt((uint64_t)bytes * 2500000000 / smss);
}

static void begin(const struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_cong *g = &c->cong;

    if (g->cubic.w_max == 0) /* slow start ended without loss, or there was a timeout: 4.10, 4.8 */
        g->cubic.w_max = c->cwnd;
    if (g->cubic.w_est == 0)
        g->cubic.w_est = c->cwnd;
    if (c->cwnd <= g->cubic.w_max)
        g->cubic.inflection_ms = tcp->now_ms + time_ms(g->cubic.w_max - c->cwnd, c->smss);
    else
        g->cubic.inflection_ms = tcp->now_ms - time_ms(c->cwnd - g->cubic.w_max, c->smss);
    g->running = true;
}

static void avoid(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked)
{
    struct hr_tcp_cong *g = &c->cong;

    if (!g->running)
        begin(tcp, c);
    /* What Reno would have: 4.3. */
    uint32_t more = (uint32_t)((uint64_t)acked * c->smss / c->cwnd);
    if (g->cubic.w_est < g->cubic.cwnd_prior)
        more = more * ALPHA_NUM / ALPHA_DEN;
    g->cubic.w_est += more;

    int32_t t_ms = (int32_t)(tcp->now_ms - g->cubic.inflection_ms);
    if (hr_tcp_cubic_window(g->cubic.w_max, t_ms, c->smss) < g->cubic.w_est && !HR_MUTANT(CUBIC_WITHOUT_RENO)) {
        c->cwnd = RTE_MAX(c->cwnd, g->cubic.w_est);
        return;
    }
    /* 4.4, 4.5: where the curve will be a round trip from now, at most half as much again. */
    uint32_t target = hr_tcp_cubic_window(g->cubic.w_max, t_ms + (int32_t)(c->srtt_us / 1000), c->smss);
    target = RTE_MIN(target, c->cwnd + c->cwnd / 2);
    if (target > c->cwnd)
        c->cwnd += (uint32_t)((uint64_t)(target - c->cwnd) * acked / c->cwnd);
}

static uint32_t reduce(struct hr_tcp_conn *c, uint32_t flight, bool timeout)
{
    struct hr_tcp_cong *g = &c->cong;

    g->cubic.cwnd_prior = c->cwnd;
    if (timeout)
        g->cubic.w_max = 0;
    else
        g->cubic.w_max = c->cwnd < g->cubic.w_max && !HR_MUTANT(NO_FAST_CONVERGENCE) ? FAST_CONVERGENCE(c->cwnd) : c->cwnd;
    g->cubic.w_est = 0;
    return BETA(flight);
}

const struct hr_tcp_cong_ops hr_tcp_cong_cubic = {
    .name = "cubic",
    .avoid = avoid,
    .reduce = reduce,
};
