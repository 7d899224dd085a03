/* Loss recovery end to end, in virtual time: two stacks over a path of 10 ms round trip on which something goes
 * wrong, and how long it takes, how often a byte was sent, what is left of the window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testlink.h"

static struct tl_link link_;
#define A (&link_.end[0])
#define B (&link_.end[1])

#define S 1000000ULL
#define RTT 10000ULL

#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            print_error("seed %lu: %s\n", (unsigned long)link_.seed, #cond);                                 \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

#define counted(e, name) ((e)->stats.counters[HR_CTR_##name])

static int clean_up(void **state)
{
    (void)state;
    tl_close(&link_);
    return 0;
}

static void finish(void)
{
    link_.filter = NULL;
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    check(tl_run(&link_, 600 * S, tl_both_closed));
    tl_run(&link_, 61 * S, tl_never);
    const char *wrong = tl_close(&link_);
    if (wrong != NULL) {
        print_error("seed %lu: %s\n", (unsigned long)link_.seed, wrong);
        fail();
    }
}

/* Connected, warmed up with bytes bytes. */
static void begin(uint64_t seed, uint64_t bytes)
{
    tl_open(&link_, seed, NULL);
    link_.gap_us = 12;
    A->app.to_send = bytes;
    tl_connect(&link_);
    check(tl_run(&link_, 60 * S, tl_both_done));
    tl_run(&link_, 100000, tl_never);
}

static uint32_t lose_from, lose_to; /* sequence numbers of A: the first copy of each is lost */
static uint32_t lost_upto;
static unsigned n_lost;

static bool lose_once(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    uint32_t seq = rte_be_to_cpu_32(th->sent_seq);
    (void)l;
    if (from != 0 || payload == 0 || hr_seq_lt(seq, lose_from) || hr_seq_geq(seq, lose_to) ||
        hr_seq_lt(seq, lost_upto))
        return false;
    lost_upto = seq + payload;
    n_lost++;
    return true;
}

/* Of the next bytes, the segments in [from, to) are lost once. */
static void lose(uint32_t from, uint32_t to)
{
    lost_upto = A->app.conn->snd_nxt;
    lose_from = lost_upto + from;
    lose_to = lost_upto + to;
    n_lost = 0;
    link_.filter = lose_once;
}

/* RFC 8985 7: the last segments of a request are lost; the probe finds out after two round trips, and no
 * timeout takes the window. */
static void test_tail_loss(void **state)
{
    (void)state;
    for (unsigned tail = 1; tail <= 5; tail++) {
        begin(70 + tail, 100000);
        uint64_t start = link_.now;
        lose(14480 - tail * 1448, 14480);
        A->app.to_send += 14480;
        check(tl_run(&link_, 10 * S, tl_both_done));
        uint64_t took = link_.now - start;
        check(n_lost == tail);
        check(!B->app.corrupt);
        check(counted(A, tcp_rto) == 0);
        check(counted(A, tcp_tlp_probe) == 1);
        check(counted(A, tcp_retransmit_segs) == tail);
        /* A round trip and two of silence, the probe's, RACK's answer and what PRR makes of it. A lone segment's
         * ACK may be delayed, which the probe waits for. */
        check(took <= (tail == 1 ? 240000 : 15 * RTT / 2 + 3000));
        finish();
    }
}

/* Bulk, half of a window is lost at random: nothing is sent more than once in vain, and no timeout. */
static bool half(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    if (!lose_once(l, from, th, payload))
        return false;
    if (tl_random(l) & 1) {
        n_lost--;
        return false;
    }
    return true;
}

static void test_heavy_loss_in_a_window(void **state)
{
    (void)state;
    for (uint64_t seed = 80; seed < 120; seed++) {
        begin(seed, 400000);
        lose(100000, 250000);
        link_.filter = half;
        A->app.to_send += 2000000;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(!B->app.corrupt);
        check(n_lost > 20);
        check(counted(A, tcp_rto) == 0);
        check(counted(A, tcp_retransmit_segs) <= n_lost + 2);
        finish();
    }
}

/* The path holds everything for 400 ms, then goes on: a timeout, but no loss. */
static void test_delay_spike(void **state)
{
    (void)state;
    for (uint64_t seed = 120; seed < 140; seed++) {
        begin(seed, 400000);
        A->app.to_send += 20000000;
        tl_run(&link_, 200000, tl_never);
        uint32_t cwnd = A->app.conn->cwnd, ssthresh = A->app.conn->ssthresh;
        uint64_t again = counted(A, tcp_retransmit_segs);
        link_.free_at[0] = link_.now + 400000;
        tl_run(&link_, 400000 + 3 * RTT, tl_never);
        check(counted(A, tcp_rto) + counted(A, tcp_tlp_probe) >= 1);
        check(counted(A, tcp_rto) == counted(A, tcp_spurious_rto));
        check(A->app.conn->recovery == HR_TCP_RECOVERY_NONE);
        check(A->app.conn->cwnd >= cwnd && A->app.conn->ssthresh >= ssthresh);
        check(counted(A, tcp_retransmit_segs) - again <= 3);
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(!B->app.corrupt);
        finish();
    }
}

/* Segments overtake each other by up to a third of the round trip, none is lost: hardly any is sent twice, and
 * the window does not suffer for long. */
static void test_reordering(void **state)
{
    (void)state;
    for (uint64_t seed = 140; seed < 150; seed++) {
        begin(seed, 100000);
        link_.gap_us = 1;
        link_.jitter_us = 3300;
        A->app.to_send += 20000000;
        uint64_t start = link_.now;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(!B->app.corrupt);
        check(counted(A, tcp_rto) == 0);
        check(counted(A, tcp_retransmit_bytes) < 20000000 / 100);
        check(counted(B, tcp_ooo_rx) > 1000);
        check(link_.now - start < 5 * S);
        finish();
    }
}

/* Random loss of 1 % both ways: no timeout is needed in bulk, and repetition stays near what was lost. */
static void test_random_loss(void **state)
{
    (void)state;
    for (uint64_t seed = 150; seed < 160; seed++) {
        begin(seed, 100000);
        uint64_t lost = link_.lost;
        link_.loss[0] = link_.loss[1] = 0.01;
        A->app.to_send += 20000000;
        check(tl_run(&link_, 600 * S, tl_both_done));
        check(!B->app.corrupt);
        check(counted(A, tcp_rto) <= 1);
        check(counted(A, tcp_retransmit_segs) <= (link_.lost - lost) * 11 / 10 + 2);
        link_.loss[0] = link_.loss[1] = 0;
        finish();
    }
}

int main(void)
{
    tl_global_init();
#define T(f) cmocka_unit_test_teardown(f, clean_up)
    const struct CMUnitTest tests[] = {
        T(test_tail_loss),   T(test_heavy_loss_in_a_window), T(test_delay_spike),
        T(test_reordering), T(test_random_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
