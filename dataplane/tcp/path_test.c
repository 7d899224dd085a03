/* Congestion control on a path, in virtual time: how large windows are at a given loss, how flows share a queue,
 * how much of a link one flow uses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpath.h"

#define S 1000000ULL
#define FOR_EVER UINT64_MAX

static struct tp_path path;

#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            print_error("seed %lu: %s\n", (unsigned long)path.seed, #cond);                                  \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static void finish(void)
{
    const char *wrong = tp_close(&path);
    if (wrong != NULL) {
        print_error("seed %lu: %s\n", (unsigned long)path.seed, wrong);
        fail();
    }
}

static int clean_up(void **state)
{
    (void)state;
    tp_close(&path);
    return 0;
}

static void reno(int end, struct hr_tcp_config *cfg)
{
    cfg->cong = HR_TCP_CONG_RENO;
}

/* ---- the response function ---- */

/* RFC 9438 5.1 and 5.2: mean windows in segments at loss p. */
static double reno_window(double p)
{
    return sqrt(1.5 / p);
}

static double cubic_window(double p, double rtt)
{
    return pow(0.4 * 3.7 / 1.2, 0.25) * pow(rtt, 0.75) / pow(p, 0.75);
}

static void start_sampling(struct tp_flow *f, uint32_t us)
{
    path.sample_us = us;
    path.next_sample = path.now;
    f->cwnd_sum = f->cwnd_max = 0;
    f->cwnd_samples = 0;
}

static void near_the_model(struct tp_flow *f, const char *what, double model)
{
    double mean = tp_mean_cwnd(f);
    print_message("%s: mean window %.1f segments, model %.1f (%.2f), largest %.0f\n", what, mean, model,
                  mean / model, f->cwnd_max);
    check(mean >= 0.7 * model && mean <= 1.3 * model);
}

static void reno_region(uint64_t seed, void (*tweak)(int end, struct hr_tcp_config *cfg), const char *what)
{
    tp_open(&path, seed, tweak);
    path.loss = 0.01;
    struct tp_flow *f = tp_add_flow(&path, 0, FOR_EVER);
    tp_run(&path, 5 * S);
    start_sampling(f, 1000);
    tp_run(&path, 100 * S);
    near_the_model(f, what, reno_window(0.01));
    check(f->cwnd_max < 10 * reno_window(0.01));
    finish();
}

static void test_mean_window_in_the_reno_region(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++)
        reno_region(seed, NULL, "CUBIC at 1e-2, 10 ms");
    reno_region(4, reno, "Reno at 1e-2, 10 ms");
}

static void test_mean_window_in_the_cubic_region(void **state)
{
    (void)state;
    tp_open(&path, 11, NULL);
    path.rtt_us = 100000;
    path.loss_every = 100000;
    struct tp_flow *f = tp_add_flow(&path, 0, FOR_EVER);
    tp_run(&path, 40 * S);
    uint64_t lost = path.lost;
    start_sampling(f, 10000);
    tp_run(&path, 80 * S);
    check(path.lost - lost >= 6);
    near_the_model(f, "CUBIC at 1e-5, 100 ms", cubic_window(1e-5, 0.1));
    check(f->cwnd_max < 1.6 * cubic_window(1e-5, 0.1)); /* W_max is 4 / (3 + beta) of the mean */
    finish();
}

/* What arrives at 1 % of loss is what the model's window carries, however the ACKs are bunched: one by one, each
 * second, or by the receiver's batch. Nothing is sent twice that was not lost. */
static void test_goodput_under_loss(void **state)
{
    static const uint32_t batches[] = {1, 2, 32};
    const double model = reno_window(0.01) * 1448 * 8 / 10000; /* Mbit/s */
    (void)state;
    for (unsigned i = 0; i < RTE_DIM(batches); i++) {
        double sum = 0;
        uint64_t again = 0, lost = 0;
        for (uint64_t seed = 51; seed <= 54; seed++) {
            tp_open(&path, seed, NULL);
            path.loss = 0.01;
            path.batch = batches[i];
            struct tp_flow *f = tp_add_flow(&path, 0, FOR_EVER);
            tp_run(&path, 60 * S);
            sum += (double)f->received * 8 / 60e6;
            lost += path.lost;
            again += path.end[0].stats.counters[HR_CTR_tcp_retransmit_segs];
            finish();
        }
        print_message("batches of %u: %.2f Mbit/s, model %.2f; %lu lost, %lu sent again\n", batches[i], sum / 4, model,
                      (unsigned long)lost, (unsigned long)again);
        check(sum / 4 >= 0.9 * model);
        check((double)again <= 1.01 * (double)lost);
    }
}

/* ---- a queue ---- */

static void roomy(int end, struct hr_tcp_config *cfg)
{
    cfg->rcv_wnd_initial = cfg->snd_buf_max = 16 << 20;
}

static double jain(const double *x, unsigned n)
{
    double sum = 0, squares = 0;
    for (unsigned i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    return sum * sum / (n * squares);
}

/* The second flow comes when the first has the link to itself. */
static void test_two_flows_share_a_queue(void **state)
{
    (void)state;
    for (uint64_t seed = 21; seed <= 23; seed++) {
        tp_open(&path, seed, NULL);
        path.rate_bps = 50000000;
        path.rtt_us = 20000;
        path.queue_bytes = 125000; /* the path's own 20 ms */
        struct tp_flow *a = tp_add_flow(&path, 0, FOR_EVER), *b = tp_add_flow(&path, 4 * S + seed * 1000, FOR_EVER);
        tp_run(&path, 20 * S);
        uint64_t from[2] = {a->received, b->received};
        tp_run(&path, 40 * S);
        double got[2] = {(double)(a->received - from[0]), (double)(b->received - from[1])};
        double share = (got[0] + got[1]) * 8 / 40 / 50e6 * (1448 + 66) / 1448;
        print_message("two flows: %.1f and %.1f Mbit/s, Jain %.4f, link %.3f full\n", got[0] * 8 / 40e6,
                      got[1] * 8 / 40e6, jain(got, 2), share);
        check(jain(got, 2) >= 0.95);
        check(share >= 0.95);
        check(path.queue_max <= 125000);
        finish();
    }
}

/* A flow and another host's through one queue: what the first got, divided by the other's, from five seconds on. One of
 * them begins so much later. ours: it is ours, else the model itself. */
static double share(uint32_t rtt_us, int64_t later_us, bool ours)
{
    static struct tr_rival other[2];
    memset(other, 0, sizeof(other));
    tp_open(&path, 71, roomy);
    path.rate_bps = 200000000;
    path.rtt_us = rtt_us;
    path.queue_bytes = 1250000; /* 50 ms */
    path.ack_second = true;
    path.rival[0] = &other[0];
    other[0].start_us = later_us > 0 ? 0 : (uint64_t)-later_us;
    other[1].start_us = later_us > 0 ? (uint64_t)later_us : 0;
    struct tp_flow *f = ours ? tp_add_flow(&path, other[1].start_us, FOR_EVER) : NULL;
    if (!ours)
        path.rival[1] = &other[1];
    tp_run(&path, 5 * S);
    uint64_t first = ours ? f->received / 1448 : other[1].delivered, second = other[0].delivered;
    tp_run(&path, 12 * S);
    first = (ours ? f->received / 1448 : other[1].delivered) - first;
    second = other[0].delivered - second;
    check((double)(first + second) * 1514 * 8 >= 0.95 * 12 * 200e6);
    finish();
    return (double)first / (double)second;
}

/* Beside CUBIC as Linux has it, on a path whose queue is much longer than itself: slow start is what decides, since the
 * windows need half a minute to forget it. Who is first, and by how much, is another thing that equals differ by. */
static void test_beside_another_cubic(void **state)
{
    static const int64_t later_us[] = {-50000, 0, 50000};
    static const uint32_t rtt_us[] = {200, 1000};
    (void)state;
    for (unsigned i = 0; i < RTE_DIM(rtt_us); i++) {
        for (unsigned k = 0; k < RTE_DIM(later_us); k++) {
            double mine = share(rtt_us[i], later_us[k], true), its = share(rtt_us[i], later_us[k], false);
            print_message("%u us, %ld us later: %.2f times another's, which to itself is %.2f\n", rtt_us[i],
                          (long)later_us[k], mine, its);
            check(mine >= 0.5 && mine <= 2);
            check(its >= 0.5 && its <= 2); /* the model is sound */
        }
    }
}

/* Nothing is ever lost: the queue takes all. */
static void test_one_flow_fills_the_link(void **state)
{
    (void)state;
    tp_open(&path, 31, NULL);
    path.rate_bps = 400000000;
    struct tp_flow *f = tp_add_flow(&path, 0, FOR_EVER);
    tp_run(&path, 1 * S);
    uint64_t from = f->received;
    tp_run(&path, 5 * S);
    double share = (double)(f->received - from) * 8 / 5 / 400e6 * (1448 + 66) / 1448;
    print_message("one flow: link %.4f full, queue at most %u bytes, window %u\n", share, path.queue_max,
                  f->conn[0]->cwnd);
    check(share >= 0.95);
    check(path.lost + path.dropped == 0);
    check(path.end[0].stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
    finish();
}

/* HyStart++ sees the queue build up: the first slow start turns conservative within two round trips behind the point
 * where the path is full, and ends five rounds later without a loss. */
static void test_slow_start_ends_without_loss(void **state)
{
    const uint32_t bdp = 625000;
    (void)state;
    for (uint64_t seed = 41; seed <= 43; seed++) {
        uint32_t at_css = 0;
        tp_open(&path, seed, roomy);
        path.rate_bps = 100000000;
        path.rtt_us = 50000;
        struct tp_flow *f = tp_add_flow(&path, 0, FOR_EVER);
        while (f->conn[0] == NULL || f->conn[0]->cong.phase != HR_TCP_CONG_LATER) {
            tp_run(&path, 1000);
            check(path.now - path.begin < 5 * S);
            if (at_css == 0 && f->conn[0]->cong.phase == HR_TCP_CONG_CSS)
                at_css = f->conn[0]->cwnd;
        }
        print_message("conservative at %u bytes, %.1f times the path; over after %lu ms at %u\n", at_css,
                      (double)at_css / bdp, (unsigned long)(path.now - path.begin) / 1000, f->conn[0]->cwnd);
        check(at_css >= bdp && at_css <= 4 * bdp);
        check(f->conn[0]->cwnd <= 3.2 * at_css);
        check(path.dropped == 0 && path.end[0].stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
        finish();
    }
}

int main(void)
{
    tp_global_init();
#define T(f) cmocka_unit_test_teardown(f, clean_up)
    const struct CMUnitTest tests[] = {
        T(test_mean_window_in_the_reno_region),
        T(test_mean_window_in_the_cubic_region),
        T(test_goodput_under_loss),
        T(test_two_flows_share_a_queue),
        T(test_beside_another_cubic),
        T(test_one_flow_fills_the_link),
        T(test_slow_start_ends_without_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
