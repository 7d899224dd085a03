/* The arithmetic of congestion control, without a network: the integers against floating point, HyStart++ fed
 * round by round. What the controllers do on a path is seen in path_test.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"

#define SMSS 1448

static struct hr_tcp tcp;
static struct hr_tcp_conn conn;

static void fresh(enum hr_tcp_cong_algorithm algorithm)
{
    memset(&tcp, 0, sizeof(tcp));
    memset(&conn, 0, sizeof(conn));
    tcp.cfg.initial_cwnd_segs = 10;
    tcp.cong = hr_tcp_cong_find(algorithm);
    tcp.now_us = 5000000;
    tcp.now_ms = 5000;
    conn.smss = SMSS;
    conn.sack_on = true;
    conn.srtt_us = 100000;
    conn.rto_us = 300000;
    hr_tcp_cong_init(&tcp, &conn);
}

static void test_cbrt(void **state)
{
    (void)state;
    for (uint64_t a = 0; a < 100000; a++) {
        uint64_t x = hr_tcp_cbrt(a);
        assert_true(x * x * x <= a && (x + 1) * (x + 1) * (x + 1) > a);
    }
    uint64_t a = 1;
    for (int i = 0; i < 200000; i++) {
        a = a * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t b = a >> (1 + i % 60);
        uint64_t x = hr_tcp_cbrt(b);
        assert_true(x * x * x <= b && (x + 1) * (x + 1) * (x + 1) > b);
        assert_true(fabs((double)x - cbrt((double)b)) <= 1.0 + 1e-9 * (double)x);
    }
    for (uint64_t x = 1; x < 2000000; x += 997) /* at the edges */
        assert_true(hr_tcp_cbrt(x * x * x) == x && hr_tcp_cbrt(x * x * x - 1) == x - 1);
}

static void test_cubic_curve(void **state)
{
    static const uint16_t sizes[] = {88, 536, 1448, 8948};
    (void)state;
    for (unsigned k = 0; k < RTE_DIM(sizes); k++) {
        for (int32_t t = -60000; t <= 60000; t += 7) {
            double w_max = 40000.0 * sizes[k];
            double s = t / 1000.0, exact = 0.4 * s * s * s * sizes[k] + w_max;
            exact = fmin(fmax(exact, sizes[k]), INT32_MAX);
            double got = hr_tcp_cubic_window((uint32_t)w_max, t, sizes[k]);
            assert_true(fabs(got - exact) <= 2.0);
        }
    }
}

/* A window's worth of ACKs, a segment each, dt_us apart; the window is in use. */
static void acks(uint32_t n, uint64_t dt_us)
{
    for (uint32_t i = 0; i < n; i++) {
        tcp.now_us += dt_us;
        tcp.now_ms = (uint32_t)(tcp.now_us / 1000);
        conn.snd_una += SMSS;
        conn.snd_nxt = conn.snd_una + conn.cwnd;
        hr_tcp_cong_acked(&tcp, &conn, SMSS, conn.cwnd);
    }
}

/* Time until the window is back at w, ms. */
static uint32_t regain(uint32_t w)
{
    uint32_t start = tcp.now_ms;
    while (conn.cwnd < w && tcp.now_ms - start < 600000)
        acks(1, 100000ULL * SMSS / conn.cwnd); /* the ACK clock at 100 ms */
    return tcp.now_ms - start;
}

/* After a loss the window is where it was after K = cbrt(W_max (1 - beta) / C) seconds, and about flat there. */
static void test_cubic_regains_in_k(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 2000 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.ssthresh, 1400 * SMSS);
    assert_int_equal(conn.cwnd, conn.ssthresh);
    double k = cbrt(2000 * 0.3 / 0.4) * 1000;
    uint32_t at_95 = regain(1990 * SMSS);
    assert_true(at_95 > 0.70 * k && at_95 < 1.02 * k);
    uint32_t more = regain(2000 * SMSS - SMSS / 2);
    assert_true(at_95 + more > 0.85 * k && at_95 + more < 1.05 * k);

    /* Below where it was: fast convergence leaves room to others (4.7). */
    conn.cwnd = 1800 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.cong.cubic.w_max, 1800 * SMSS * 17ULL / 20);
    assert_int_equal(conn.cwnd, 1260 * SMSS);
}

/* Small windows grow as Reno's do with the alpha that goes with beta, then with one segment per round trip. */
static void test_cubic_is_reno_friendly(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.srtt_us = 10000;
    conn.cwnd = 20 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.cwnd, 14 * SMSS);
    uint32_t rounds = 0;
    for (; conn.cwnd < 20 * SMSS && rounds < 100; rounds++)
        acks(conn.cwnd / SMSS, 10000 * SMSS / conn.cwnd);
    assert_in_range(rounds, 10, 14); /* 6 segments at 9/17 */
    uint32_t before = conn.cwnd;
    for (rounds = 0; rounds < 10; rounds++)
        acks(conn.cwnd / SMSS, 10000 * SMSS / conn.cwnd);
    assert_in_range(conn.cwnd, before + 8 * SMSS, before + 11 * SMSS);
}

/* 4.8: one segment, ssthresh by beta, and no memory of the former window. */
static void test_timeout(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 100 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_timeout(&tcp, &conn);
    assert_int_equal(conn.cwnd, SMSS);
    assert_int_equal(conn.ssthresh, 70 * SMSS);
    conn.retries = 1; /* the same segment again (RFC 5681 3.1) */
    conn.snd_nxt = conn.snd_una + SMSS;
    hr_tcp_cong_timeout(&tcp, &conn);
    assert_int_equal(conn.ssthresh, 70 * SMSS);
    conn.retries = 0;
    acks(70, 1000);
    uint32_t at = conn.cwnd;
    assert_in_range(at, 70 * SMSS, 72 * SMSS);
    acks(200, 1000);
    assert_in_range(conn.cong.cubic.w_max, 70 * SMSS, 72 * SMSS);
}

/* 4.9 */
static void test_undo(void **state)
{
    struct hr_tcp_cong_saved saved;
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 2000 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    regain(1900 * SMSS);
    uint32_t cwnd = conn.cwnd, ssthresh = conn.ssthresh, w_max = conn.cong.cubic.w_max;
    hr_tcp_cong_save(&conn, &saved);
    hr_tcp_cong_timeout(&tcp, &conn);
    assert_true(conn.cwnd == SMSS && conn.cong.cubic.w_max == 0);
    acks(20, 1000);
    hr_tcp_cong_undo(&conn, &saved);
    assert_true(conn.cwnd == cwnd && conn.ssthresh == ssthresh && conn.cong.cubic.w_max == w_max);
    acks(cwnd / SMSS, 100000ULL * SMSS / cwnd); /* and it goes on from there, without a jump */
    assert_in_range(conn.cwnd, cwnd, cwnd + 30 * SMSS);
}

/* A window that is not in use does not grow, and the time does not count (5.8). */
static void test_application_limited(void **state)
{
    static const enum hr_tcp_cong_algorithm algorithms[] = {HR_TCP_CONG_CUBIC, HR_TCP_CONG_RENO};
    (void)state;
    for (unsigned i = 0; i < RTE_DIM(algorithms); i++) {
        fresh(algorithms[i]);
        conn.cwnd = 2000 * SMSS;
        conn.snd_nxt = conn.snd_una + conn.cwnd;
        hr_tcp_cong_loss(&tcp, &conn, 0);
        acks(3 * 1400, 100);
        uint32_t before = conn.cwnd;
        for (int k = 0; k < 3000; k++) { /* five minutes of a trickle */
            tcp.now_us += 100000;
            tcp.now_ms += 100;
            conn.snd_una += 100;
            hr_tcp_cong_acked(&tcp, &conn, 100, 100);
        }
        assert_int_equal(conn.cwnd, before);
        acks(conn.cwnd / SMSS, 100000ULL * SMSS / conn.cwnd);
        assert_in_range(conn.cwnd, before, before + 60 * SMSS);
    }
    fresh(HR_TCP_CONG_CUBIC); /* slow start: half of it must have been in use */
    uint32_t iw = conn.cwnd;
    assert_int_equal(iw, 10 * SMSS);
    hr_tcp_cong_acked(&tcp, &conn, SMSS, iw / 2 - 1);
    assert_int_equal(conn.cwnd, iw);
    hr_tcp_cong_acked(&tcp, &conn, SMSS, iw / 2 + 1);
    assert_int_equal(conn.cwnd, iw + SMSS);
}

static void test_idle(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 400 * SMSS;
    conn.ssthresh = 100 * SMSS;
    conn.last_tx_us = tcp.now_us - conn.rto_us;
    hr_tcp_cong_idle(&tcp, &conn);
    assert_int_equal(conn.cwnd, 400 * SMSS);
    conn.last_tx_us--;
    hr_tcp_cong_idle(&tcp, &conn);
    assert_int_equal(conn.cwnd, 10 * SMSS);
    assert_int_equal(conn.ssthresh, 300 * SMSS);
    conn.cwnd = 4 * SMSS; /* never up */
    hr_tcp_cong_idle(&tcp, &conn);
    assert_int_equal(conn.cwnd, 4 * SMSS);
}

/* ---- HyStart++ ---- */

/* One round: a window is sent and acknowledged segment by segment, each with this RTT. */
static void round_of(uint32_t rtt_us)
{
    uint32_t n = conn.cwnd / SMSS;
    conn.snd_nxt = conn.snd_una + n * SMSS;
    if (conn.cong.phase != HR_TCP_CONG_LATER)
        conn.cong.start.round_end = conn.snd_nxt; /* nothing was sent since the round before ended */
    for (uint32_t i = 0; i < n; i++) {
        conn.snd_una += SMSS;
        hr_tcp_cong_rtt(&conn, rtt_us);
        hr_tcp_cong_acked(&tcp, &conn, SMSS, n * SMSS);
    }
}

static void test_hystart_leaves(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    for (int i = 0; i < 3; i++)
        round_of(40000);
    uint32_t before = conn.cwnd;
    assert_in_range(before, 70 * SMSS, 80 * SMSS); /* doubles */
    round_of(44000);                                /* less than an eighth more: not a rise */
    assert_in_range(conn.cwnd, 2 * before - 4 * SMSS, 2 * before);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_START);
    before = conn.cwnd;
    round_of(50000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_CSS);
    assert_in_range(conn.cwnd, before + before / 4, before + before / 4 + 12 * SMSS);
    int rounds = 1;
    for (; conn.cwnd < conn.ssthresh && rounds < 20; rounds++) {
        before = conn.cwnd;
        round_of(50000);
        assert_in_range(conn.cwnd, before, before + before / 4 + SMSS);
    }
    assert_in_range(rounds, 5, 6); /* CSS_ROUNDS, the partial one counted */
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_LATER);
    assert_true(conn.ssthresh <= conn.cwnd);
}

/* A second rise confirms the first: no further round. */
static void test_hystart_confirmed(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    for (int i = 0; i < 3; i++)
        round_of(40000);
    round_of(50000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_CSS);
    round_of(56000); /* less than an eighth more */
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_CSS);
    uint32_t before = conn.cwnd;
    round_of(56250);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_LATER);
    assert_in_range(conn.ssthresh, before, before + 2 * SMSS); /* eight samples are enough */
    assert_in_range(conn.cwnd, before, before + before / 20);
}

static void test_hystart_returns(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    for (int i = 0; i < 3; i++)
        round_of(40000);
    round_of(50000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_CSS);
    round_of(49000); /* below where CSS began: a false alarm */
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_START);
    uint32_t before = conn.cwnd;
    round_of(50000);
    assert_true(conn.cwnd >= 2 * before - 10 * SMSS);
    hr_tcp_cong_loss(&tcp, &conn, 0); /* loss ends it for good */
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_LATER);
    round_of(40000);
    round_of(90000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_LATER);
}

/* Seven samples are not enough to judge a round (N_RTT_SAMPLE). */
static void test_hystart_needs_samples(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    round_of(40000);
    round_of(40000);
    for (int i = 0; i < 7; i++)
        hr_tcp_cong_rtt(&conn, 90000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_START);
    hr_tcp_cong_rtt(&conn, 90000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_CSS);
}

/* Without a loss and without HyStart++'s verdict: avoidance begins at what is (RFC 9438 4.10). */
static void test_ssthresh_ends_the_start(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = conn.ssthresh = 100 * SMSS;
    acks(100, 1000);
    assert_int_equal(conn.cong.phase, HR_TCP_CONG_LATER);
    assert_in_range(conn.cwnd, 100 * SMSS, 102 * SMSS);
}

static void test_reno(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_RENO);
    conn.cwnd = 40 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.cwnd, 20 * SMSS);
    acks(20, 5000);
    assert_in_range(conn.cwnd, 20 * SMSS + SMSS * 9 / 10, 21 * SMSS);
    conn.cwnd = 3 * SMSS;
    conn.snd_nxt = conn.snd_una + conn.cwnd;
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.cwnd, 2 * SMSS); /* never below */
}

/* What is reduced is what was in flight when the ACK came, and a window in use counts whole (RFC 9438 4.6). */
static void test_reduction_counts_the_flight(void **state)
{
    (void)state;
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 20 * SMSS + SMSS / 2;
    conn.snd_nxt = conn.snd_una + 12 * SMSS; /* of 20; the ACK that tells of a gap has taken 8 */
    hr_tcp_cong_loss(&tcp, &conn, 8 * SMSS);
    assert_int_equal(conn.ssthresh, (20 * SMSS + SMSS / 2) * 7 / 10);
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 20 * SMSS;
    conn.snd_nxt = conn.snd_una + 4 * SMSS; /* nobody filled it */
    hr_tcp_cong_loss(&tcp, &conn, 6 * SMSS);
    assert_int_equal(conn.ssthresh, 7 * SMSS);
    fresh(HR_TCP_CONG_CUBIC);
    conn.cwnd = 20 * SMSS;
    conn.snd_nxt = conn.snd_una + 22 * SMSS; /* two by limited transmit */
    hr_tcp_cong_loss(&tcp, &conn, 0);
    assert_int_equal(conn.ssthresh, 14 * SMSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cbrt),
        cmocka_unit_test(test_cubic_curve),
        cmocka_unit_test(test_cubic_regains_in_k),
        cmocka_unit_test(test_cubic_is_reno_friendly),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_application_limited),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_hystart_leaves),
        cmocka_unit_test(test_hystart_confirmed),
        cmocka_unit_test(test_hystart_returns),
        cmocka_unit_test(test_hystart_needs_samples),
        cmocka_unit_test(test_ssthresh_ends_the_start),
        cmocka_unit_test(test_reno),
        cmocka_unit_test(test_reduction_counts_the_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
