/* The whole stack against itself over a path that loses, and at its own pace. Every test ends with nothing held
 * anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testlink.h"
#include "tests/support/family.h"

static struct tl_link link_;
#define A (&link_.end[0])
#define B (&link_.end[1])

#define S 1000000ULL

/* assert that names the seed */
#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            print_error("seed %lu: %s\n", (unsigned long)link_.seed, #cond);                                 \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static void finish(void)
{
    const char *wrong = tl_close(&link_);
    if (wrong != NULL) {
        print_error("seed %lu: %s\n", (unsigned long)link_.seed, wrong);
        fail();
    }
}

/* So that one failed test does not fail those behind it. */
static int clean_up(void **state)
{
    (void)state;
    tl_close(&link_);
    return 0;
}

/* Both sides close and TIME-WAIT passes. */
static void close_both(void)
{
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    check(tl_run(&link_, 600 * S, tl_both_closed));
    check(A->app.closed && B->app.closed);
    tl_run(&link_, 61 * S, tl_never);
}

static bool a_failed(struct tl_link *l)
{
    return l->end[0].app.failed;
}

static bool b_failed(struct tl_link *l)
{
    return l->end[1].app.failed;
}

/* ---- loss ---- */

static unsigned n_seen, drop_from, drop_n;

/* Drops data segments [drop_from, drop_from+drop_n) of end 0, counted from its first; not retransmissions. */
static bool drop_data(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    (void)l;
    (void)th;
    if (from != 0 || payload == 0)
        return false;
    n_seen++;
    return n_seen >= drop_from && n_seen < drop_from + drop_n;
}

static void lossy_run(uint64_t seed, bool sack, unsigned from, unsigned n)
{
    tl_open(&link_, seed, NULL);
    link_.gap_us = 12;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    tl_run(&link_, 10000, tl_never);
    if (!sack)
        A->app.conn->sack_on = B->app.conn->sack_on = false;
    n_seen = 0;
    drop_from = from;
    drop_n = n;
    link_.filter = drop_data;
    A->app.to_send = 600000;
    check(tl_run(&link_, 30 * S, tl_both_done));
    check(!B->app.corrupt);
    link_.filter = NULL;
}

static void test_fast_retransmit(void **state)
{
    (void)state;
    for (int sack = 0; sack < 2; sack++) {
        lossy_run(40, sack, 60, 1);
        check(A->stats.counters[HR_CTR_tcp_rto] == 0);
        check(A->stats.counters[HR_CTR_tcp_fast_recovery] == 1);
        check(A->stats.counters[HR_CTR_tcp_retransmit_segs] == 1);
        check(A->app.conn->ssthresh < 1 << 20); /* halved from what was in flight */
        check(B->stats.counters[HR_CTR_tcp_ooo_rx] > 0);
        close_both();
        finish();
    }
}

static void test_burst_loss(void **state)
{
    (void)state;
    lossy_run(41, true, 60, 12); /* one round trip with SACK, and nothing twice */
    check(A->stats.counters[HR_CTR_tcp_rto] == 0);
    check(A->stats.counters[HR_CTR_tcp_retransmit_segs] == 12);
    check(A->stats.counters[HR_CTR_tcp_fast_recovery] == 1);
    close_both();
    finish();

    lossy_run(42, false, 60, 6); /* NewReno: one segment each round trip */
    check(A->stats.counters[HR_CTR_tcp_rto] == 0);
    check(A->stats.counters[HR_CTR_tcp_retransmit_segs] == 6);
    check(A->stats.counters[HR_CTR_tcp_fast_recovery] == 1);
    close_both();
    finish();
}

/* A lone segment is lost, and so are the probe and the retransmission that follow. */
static void test_timeout(void **state)
{
    (void)state;
    tl_open(&link_, 43, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    tl_run(&link_, 10000, tl_never);
    link_.drop_next[0] = 3; /* and the first retransmissions */
    A->app.to_send = 100;
    uint64_t start = link_.now;
    check(tl_run(&link_, 30 * S, tl_both_done));
    check(A->stats.counters[HR_CTR_tcp_tlp_probe] == 1); /* first, when the timeout would come: RFC 8985 7.2 */
    check(A->stats.counters[HR_CTR_tcp_rto] == 2);
    check(link_.now - start >= (200 + 200 + 400) * 1000 && link_.now - start < 900000); /* backoff */
    check(A->app.conn->cwnd <= 2u * A->app.conn->smss);
    close_both();
    finish();
}

static void impatient(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->user_timeout_us = 30 * S;
}

static void test_retries_end(void **state)
{
    (void)state;
    tl_open(&link_, 44, impatient);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    link_.loss[0] = link_.loss[1] = 1;
    A->app.to_send = 5000;
    uint64_t start = link_.now;
    check(tl_run(&link_, 3600 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_TIMEOUT && A->stats.drops[HR_DROP_tcp_user_timeout] == 1);
    check(link_.now - start >= 30 * S - 1000 && link_.now - start < 30 * S + 10000);
    check(A->stats.counters[HR_CTR_tcp_rto] == 7); /* 0.2 s to 25.6 s */
    check(tl_run(&link_, 3600 * S, b_failed)); /* keepalive */
    finish();
}

static void test_keepalive(void **state)
{
    (void)state;
    tl_open(&link_, 45, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    tl_run(&link_, 1000 * S, tl_never);
    check(A->app.conn != NULL && B->app.conn != NULL); /* the peer answers */
    check(A->stats.counters[HR_CTR_tcp_keepalive_tx] + B->stats.counters[HR_CTR_tcp_keepalive_tx] >= 3);
    link_.loss[0] = link_.loss[1] = 1;
    uint64_t start = link_.now;
    check(tl_run(&link_, 400 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_KEEPALIVE && link_.now - start <= (240 + 5 * 15) * S);
    check(tl_run(&link_, 400 * S, b_failed));
    finish();
}

/* ---- pace ---- */

static bool a_all_acked(struct tl_link *l)
{
    return l->end[0].app.conn->snd_una == l->end[0].app.conn->snd_nxt;
}

static void test_delayed_ack(void **state)
{
    (void)state;
    tl_open(&link_, 50, NULL);
    A->app.to_send = 200000;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, tl_both_done)); /* quick ACKs are used up */
    tl_run(&link_, 1 * S, tl_never);
    uint64_t delayed = B->stats.counters[HR_CTR_tcp_delayed_ack];
    uint64_t start = link_.now;
    for (int i = 0; i < 16; i++) { /* after the idle time they are quick again */
        A->app.to_send += 100;
        check(tl_run(&link_, 1 * S, tl_both_done));
        check(tl_run(&link_, 1 * S, a_all_acked));
    }
    check(link_.now - start >= 16 * 10000 && link_.now - start < 16 * 10100);
    check(B->stats.counters[HR_CTR_tcp_delayed_ack] == delayed);
    A->app.to_send += 100;
    start = link_.now;
    check(tl_run(&link_, 1 * S, tl_both_done));
    check(tl_run(&link_, 1 * S, a_all_acked));
    check(link_.now - start >= 14000 && link_.now - start <= 15000); /* 5 there, 4 waiting, 5 back */
    check(B->stats.counters[HR_CTR_tcp_delayed_ack] == delayed + 1);
    close_both();
    finish();
}

static void test_idle_restart_and_app_limit(void **state)
{
    (void)state;
    tl_open(&link_, 51, NULL);
    A->app.to_send = 2 << 20;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, tl_both_done));
    uint32_t grown = A->app.conn->cwnd;
    check(grown > 100000);
    tl_run(&link_, 10 * S, tl_never);
    A->app.to_send += 100;
    check(tl_run(&link_, 1 * S, tl_both_done));
    check(A->app.conn->cwnd <= 14600 + 100); /* RFC 5681 4.1 */
    uint32_t cwnd = A->app.conn->cwnd;
    for (int i = 0; i < 200; i++) { /* a trickle proves nothing about the path */
        A->app.to_send += 100;
        check(tl_run(&link_, 1 * S, tl_both_done));
        tl_run(&link_, 60000, tl_never);
    }
    check(A->app.conn->cwnd <= cwnd + 1448);
    close_both();
    finish();
}

static void one_mbuf(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->max_tx_segs = 2;
}

/* A port that takes two mbufs per packet: segments end where buffers do. */
static void test_segment_limit(void **state)
{
    (void)state;
    tl_open(&link_, 52, one_mbuf);
    A->app.to_send = B->app.to_send = 500000;
    link_.loss[0] = 0.02;
    tl_connect(&link_);
    check(tl_run(&link_, 600 * S, tl_both_done));
    check(!A->app.corrupt && !B->app.corrupt);
    close_both();
    finish();
}

static void few_ooo(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->ooo_max_pieces = 4;
}

static void test_ooo_limit(void **state)
{
    (void)state;
    tl_open(&link_, 53, few_ooo);
    A->app.to_send = 2000000;
    link_.loss[0] = 0.03;
    tl_connect(&link_);
    check(tl_run(&link_, 600 * S, tl_both_done));
    check(!B->app.corrupt);
    check(B->stats.drops[HR_DROP_tcp_ooo_limit] > 0);
    close_both();
    finish();
}

static uint32_t told_seq;
static bool told;

/* A router on the way takes 1000 bytes only. */
#define IP_TCP (hr_test_ipv6() ? 60u : 40u) /* headers without options */

static bool small_hop(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    (void)l;
    if (from != 0 || payload + IP_TCP + 12 <= 1300)
        return false;
    told_seq = rte_be_to_cpu_32(th->sent_seq);
    told = true;
    return true;
}

static void test_path_mtu(void **state)
{
    (void)state;
    tl_open(&link_, 54, NULL);
    link_.filter = small_hop;
    A->app.to_send = 100000;
    B->app.to_send = 1;
    tl_connect(&link_);
    for (uint64_t end = link_.now + 5 * S; tl_turn(&link_, end);) {
        if (told) /* the router's answer */
            hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), told_seq, true, 1300);
        told = false;
    }
    check(tl_both_done(&link_) && !B->app.corrupt);
    check(A->app.conn->smss == 1300 - IP_TCP - 12);
    check(A->stats.counters[HR_CTR_tcp_rto] == 0);
    hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), A->app.conn->snd_nxt, true, 500);
    check(A->app.conn->smss == 1300 - IP_TCP - 12); /* not about anything in flight */
    close_both();
    finish();
}

/* ---- everything ---- */

static void patient(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->half_close_us = 600 * S; /* a storm can be silent for a minute */
}

static void plain(int end, struct hr_tcp_config *cfg)
{
    patient(end, cfg);
    cfg->rcv_wnd_max = 60000; /* no scale needed: one shift less to hide behind */
}

static void scarce(int end, struct hr_tcp_config *cfg)
{
    patient(end, cfg);
    cfg->allowance[0] = (struct hr_tcp_allowance){.bytes_per_s = 500000, .packets_per_s = 2000, .burst_us = 5000};
}

static bool storm_over(struct tl_link *l)
{
    return tl_both_closed(l) || (l->end[0].app.released && l->end[1].tcp->n_conns == 0);
}

/* Everything at once, by seed: bytes both ways arrive exactly, and both sides come to an end. */
static void storm(uint64_t seed)
{
    static const uint16_t sizes[] = {88, 89, 100, 536, 1220, 1448, 4000, 8960};
    tl_open(&link_, seed, seed % 5 == 0 ? plain : seed % 5 == 1 ? scarce : patient);
#define ONE_IN(n) (tl_random(&link_) % (n) == 0)
    if (ONE_IN(3))
        tl_ipv6(&link_);
    double level = tl_uniform(&link_);
    link_.loss[0] = level * 0.3 * tl_uniform(&link_);
    link_.loss[1] = level * 0.3 * tl_uniform(&link_);
    if (ONE_IN(12))
        link_.loss[0] = link_.loss[1] = 0.3;
    link_.dup = ONE_IN(3) ? 0.05 : 0;
    link_.reorder = ONE_IN(3) ? 0.1 : 0;
    link_.corrupt = ONE_IN(3) ? 0.03 : 0;
    link_.window_zero = ONE_IN(6) ? 0.1 : 0;
    link_.window_shrunk = ONE_IN(6) ? 0.2 : 0;
    link_.clock_jump = ONE_IN(6) ? 0.01 : 0;
    link_.read_pause = ONE_IN(4) ? 0.02 : 0;
    link_.delay_us = (uint32_t)(tl_random(&link_) % 20000) + 10;
    link_.jitter_us = (uint32_t)(ONE_IN(3) ? tl_random(&link_) % 5000 : 0);
    for (int i = 0; i < 2; i++)
        link_.end[i].path_mss = ONE_IN(2) ? 1460 : sizes[tl_random(&link_) % RTE_DIM(sizes)];
    if (ONE_IN(20))
        link_.mss_option = (uint16_t)(1 + tl_random(&link_) % 87); /* counts as 88 */
    bool small = link_.mss_option != 0 || link_.loss[0] + link_.loss[1] > 0.4 || RTE_MIN(A->path_mss, B->path_mss) < 200;
    A->app.to_send = tl_random(&link_) % (small ? 40000 : 400000);
    B->app.to_send = tl_random(&link_) % (small ? 40000 : 400000);
    A->app.write_max = ONE_IN(2) ? 3000 : 0;
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    link_.gap_us = (uint32_t)(tl_random(&link_) % 20);
    if (ONE_IN(3))
        link_.strip = (uint32_t)tl_random(&link_); /* any of MSS, window scale, SACK, timestamps */
    if (ONE_IN(3))
        tl_wrap_soon(&link_, (int)(seed & 1), (uint32_t)(tl_random(&link_) % 100000));
#undef ONE_IN
    tl_connect(&link_);
    check(tl_run(&link_, 4 * 3600 * S, storm_over));
    if (A->app.failed || B->app.failed)
        print_message("seed %lu: %s, %s\n", (unsigned long)seed, hr_tcp_failure_text(A->app.failure),
                      hr_tcp_failure_text(B->app.failure));
    if (!(A->app.failed && A->app.failure == HR_TCP_FAIL_TIMEOUT)) { /* 30 % loss may beat the handshake */
        check(A->app.received == B->app.to_send);
        check(B->app.received == A->app.to_send);
        /* TIME-WAIT may end before the last ACK gets through: then nobody is left to acknowledge that FIN. */
        check(!A->app.failed || (B->app.closed && A->app.failure == HR_TCP_FAIL_RESET));
        check(!B->app.failed || (A->app.closed && B->app.failure == HR_TCP_FAIL_RESET));
    }
    check(!A->app.corrupt && !B->app.corrupt);
    link_.loss[0] = link_.loss[1] = link_.clock_jump = 0;
    tl_run(&link_, 200 * S, tl_never);
    finish();
}

/* How many, unless HR_TCP_STORMS says: sanitizers take ten times as long. */
#ifdef HR_MBUF_DEBUG /* which goes with them */
#define STORMS 800
#else
#define STORMS 5000
#endif

static void test_storms(void **state)
{
    (void)state;
    const char *n = getenv("HR_TCP_STORMS");
    for (uint64_t seed = 1000, end = seed + (n != NULL ? strtoull(n, NULL, 10) : STORMS); seed < end; seed++)
        storm(seed);
}

int main(int argc, char **argv)
{
    tl_global_init();
    if (argc > 1) { /* one storm, to look at; or from one seed to another */
        uint64_t from = strtoull(argv[1], NULL, 10), to = argc > 2 ? strtoull(argv[2], NULL, 10) : from;
        for (; from <= to; from++)
            storm(from);
        return 0;
    }
#define T(f) cmocka_unit_test_teardown(f, clean_up)
    const struct CMUnitTest tests[] = {
        T(test_fast_retransmit),
        T(test_burst_loss),
        T(test_timeout),
        T(test_retries_end),
        T(test_keepalive),
        T(test_delayed_ack),
        T(test_idle_restart_and_app_limit),
        T(test_segment_limit),
        T(test_ooo_limit),
        T(test_path_mtu),
        T(test_storms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
