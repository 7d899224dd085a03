/* The whole stack against itself: opening, moving bytes, closing, and everything that a bad path does to it.
 * Every test ends with nothing held anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testlink.h"

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

static void test_open_and_close(void **state)
{
    (void)state;
    tl_open(&link_, 1, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    check(A->app.conn->srtt_us >= 10000 && A->app.conn->srtt_us < 12000);
    check(B->app.conn->srtt_us >= 10000 && B->app.conn->srtt_us < 12000);
    check(A->app.conn->ts_on && A->app.conn->sack_on && A->app.conn->wscale_on);
    check(hr_tcp_cookie(B->app.conn) == 9092);
    check(A->app.conn->smss == 1448);
    close_both();
    check(A->app.fin && B->app.fin);
    finish();
}

static void test_bulk_clean(void **state)
{
    (void)state;
    tl_open(&link_, 2, NULL);
    A->app.to_send = 8 << 20;
    B->app.to_send = 3 << 20;
    tl_connect(&link_);
    check(tl_run(&link_, 60 * S, tl_both_done));
    check(!A->app.corrupt && !B->app.corrupt);
    check(A->stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
    check(B->stats.counters[HR_CTR_tcp_retransmit_segs] == 0);
    check(B->stats.counters[HR_CTR_payload_copied_bytes] == 0);
    close_both();
    finish();
}

/* ---- opening ---- */

static void test_syn_loss(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        tl_open(&link_, 10 + (uint64_t)side, NULL);
        link_.drop_next[side] = 1; /* the SYN, or the SYN-ACK */
        uint64_t start = link_.now;
        tl_connect(&link_);
        check(tl_run(&link_, 5 * S, tl_established));
        check(link_.now - start >= 1 * S && link_.now - start < 2 * S);
        check(link_.end[side].app.conn->cwnd == link_.end[side].app.conn->smss); /* RFC 5681 3.1 */
        close_both();
        finish();
    }
}

static bool a_failed(struct tl_link *l)
{
    return l->end[0].app.failed;
}

static void test_refused(void **state)
{
    (void)state;
    tl_open(&link_, 12, NULL);
    B->refuse = true;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_REFUSED);
    check(A->stats.counters[HR_CTR_tcp_connect_failed] == 1);
    finish();
}

static void test_connect_unanswered(void **state)
{
    (void)state;
    tl_open(&link_, 13, NULL);
    link_.loss[0] = 1;
    uint64_t start = link_.now;
    tl_connect(&link_);
    check(tl_run(&link_, 300 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_TIMEOUT);
    check(link_.now - start > 60 * S); /* 1 + 2 + 4 + 8 + 16 + 32 s */
    check(A->segs_out == 6);
    finish();

    tl_open(&link_, 14, NULL); /* bounded by the caller */
    link_.loss[0] = 1;
    struct hr_flow flow = {A->addr, B->addr, 30000, 9092};
    start = link_.now;
    assert_int_equal(hr_tcp_connect(A->tcp, &flow, 3000000, &A->app.conn), 0);
    check(hr_tcp_flow_exists(A->tcp, &flow));
    check(tl_run(&link_, 300 * S, a_failed));
    check(link_.now - start >= 3 * S && link_.now - start < 3 * S + 10000);
    check(!hr_tcp_flow_exists(A->tcp, &flow));
    finish();
}

static bool both_connected(struct tl_link *l)
{
    return l->end[0].app.connected && l->end[1].app.connected;
}

static void test_simultaneous_open(void **state)
{
    (void)state;
    tl_open(&link_, 15, NULL);
    struct hr_flow there = {A->addr, B->addr, 4000, 5000}, back = {B->addr, A->addr, 5000, 4000};
    A->app.to_send = 100000;
    B->app.to_send = 50000;
    assert_int_equal(hr_tcp_connect(A->tcp, &there, 0, &A->app.conn), 0);
    assert_int_equal(hr_tcp_connect(B->tcp, &back, 0, &B->app.conn), 0);
    check(tl_run(&link_, 10 * S, both_connected));
    check(tl_run(&link_, 10 * S, tl_both_done));
    check(!A->app.corrupt && !B->app.corrupt);
    close_both();
    finish();
}

/* ---- closing ---- */

static bool b_got_fin(struct tl_link *l)
{
    return l->end[1].app.fin;
}

static void test_half_close(void **state)
{
    (void)state;
    tl_open(&link_, 20, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    A->app.to_send = 1000;
    A->app.shutdown_when_sent = true;
    check(tl_run(&link_, 1 * S, b_got_fin));
    check(B->app.received == 1000);
    tl_run(&link_, 90 * S, tl_never); /* longer than fin_wait_2_us: the owner still reads */
    check(A->app.conn != NULL && A->app.conn->state == HR_TCP_FIN_WAIT_2);
    check(B->app.conn->state == HR_TCP_CLOSE_WAIT);
    B->app.to_send = 300000;
    check(tl_run(&link_, 10 * S, tl_both_done));
    check(!A->app.corrupt);
    check(hr_tcp_send_bytes_copy(A->tcp, A->app.conn, "x", 1) == HR_E_CLOSED);
    close_both();
    finish();
}

static void test_simultaneous_close(void **state)
{
    (void)state;
    tl_open(&link_, 21, NULL);
    A->app.to_send = B->app.to_send = 5000;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    check(tl_run(&link_, 1 * S, tl_both_done));
    hr_tcp_shutdown(A->tcp, A->app.conn);
    hr_tcp_shutdown(B->tcp, B->app.conn);
    check(tl_run(&link_, 1 * S, tl_both_closed));
    check(A->app.closed && B->app.closed && A->tcp->n_time_wait == 1 && B->tcp->n_time_wait == 1);
    tl_run(&link_, 61 * S, tl_never);
    finish();
}

static bool b_failed(struct tl_link *l)
{
    return l->end[1].app.failed;
}

static void test_abort(void **state)
{
    (void)state;
    tl_open(&link_, 22, NULL);
    B->app.to_send = 100000;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    hr_tcp_abort(A->tcp, A->app.conn);
    A->app.conn = NULL;
    check(tl_run(&link_, 1 * S, b_failed));
    check(B->app.failure == HR_TCP_FAIL_RESET);
    tl_run(&link_, 1 * S, tl_never);
    finish();
}

/* The owner leaves at once; the connection ends by itself. */
static void test_release_early(void **state)
{
    (void)state;
    tl_open(&link_, 23, NULL);
    A->app.to_send = 100000;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    while (A->app.sent < A->app.to_send)
        tl_turn(&link_, link_.now + S);
    hr_tcp_release(A->tcp, A->app.conn);
    A->app.conn = NULL;
    check(tl_run(&link_, 10 * S, b_got_fin));
    check(B->app.received == 100000 && !B->app.corrupt); /* what was queued still arrives */
    tl_run(&link_, 50 * S, tl_never);
    check(A->tcp->n_conns == 1); /* the peer does not close */
    tl_run(&link_, 11 * S, tl_never);
    check(A->tcp->n_conns == 0 && A->stats.drops[HR_DROP_tcp_fin_wait] == 1);
    B->app.to_send = 10; /* finds nobody */
    check(tl_run(&link_, 1 * S, b_failed));
    finish();

    tl_open(&link_, 24, NULL); /* data for an owner who has left */
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    hr_tcp_release(A->tcp, A->app.conn);
    A->app.conn = NULL;
    B->app.to_send = 100;
    check(tl_run(&link_, 1 * S, b_failed));
    check(B->app.failure == HR_TCP_FAIL_RESET);
    finish();
}

static void reconnect(uint16_t port)
{
    struct hr_flow flow = {A->addr, B->addr, port, 9092};
    memset(&A->app, 0, sizeof(A->app));
    memset(&B->app, 0, sizeof(B->app));
    A->app.salt = B->app.expect_salt = 1;
    B->app.salt = A->app.expect_salt = 2;
    assert_int_equal(hr_tcp_connect(A->tcp, &flow, 0, &A->app.conn), 0);
}

/* RFC 6191, on both sides. */
static void test_time_wait_reuse(void **state)
{
    (void)state;
    for (int closer = 0; closer < 2; closer++) {
        tl_open(&link_, 25 + (uint64_t)closer, NULL);
        reconnect(7000);
        check(tl_run(&link_, 1 * S, tl_established));
        link_.end[closer].app.shutdown_when_sent = true;
        tl_run(&link_, 1 * S, closer == 0 ? b_got_fin : tl_never);
        link_.end[!closer].app.shutdown_when_sent = true;
        check(tl_run(&link_, 1 * S, tl_both_closed));
        tl_run(&link_, 100000, tl_never);
        check(link_.end[closer].tcp->n_time_wait == 1 && link_.end[!closer].tcp->n_conns == 0);
        reconnect(7000);
        A->app.to_send = 10000;
        check(tl_run(&link_, 1 * S, tl_established));
        check(tl_run(&link_, 1 * S, tl_both_done));
        check(link_.end[closer].stats.counters[HR_CTR_tcp_time_wait_reused] == 1);
        close_both();
        finish();
    }
}

static void few_conns(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->max_conns = 2;
}

/* A full table takes the oldest entry in TIME-WAIT. */
static void test_time_wait_recycled(void **state)
{
    (void)state;
    tl_open(&link_, 27, few_conns);
    for (uint16_t port = 7000; port < 7010; port++) {
        reconnect(port);
        check(tl_run(&link_, 1 * S, tl_established));
        A->app.shutdown_when_sent = true;
        check(tl_run(&link_, 1 * S, b_got_fin));
        B->app.shutdown_when_sent = true;
        check(tl_run(&link_, 1 * S, tl_both_closed));
        check(A->tcp->n_conns <= 2);
    }
    tl_run(&link_, 61 * S, tl_never);
    finish();
}

/* ---- windows ---- */

static bool a_stuck(struct tl_link *l)
{
    struct hr_tcp_conn *c = l->end[0].app.conn;
    return c != NULL && c->persist;
}

static void test_zero_window(void **state)
{
    (void)state;
    tl_open(&link_, 30, NULL);
    A->app.to_send = 400000;
    B->app.read_paused = true;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, a_stuck));
    tl_run(&link_, 120 * S, tl_never);
    check(A->app.conn != NULL && B->app.conn != NULL); /* probing, not failing */
    check(A->stats.counters[HR_CTR_tcp_persist_probe] >= 5);
    check(B->app.conn->rcvq.bytes <= 65536 && B->app.conn->rcvq.bytes > 60000);
    check(A->stats.counters[HR_CTR_tcp_rto] == 0);
    uint64_t segs = B->segs_out;
    B->app.read_paused = false;
    link_.drop_next[1] = 1; /* the window update is lost: a probe finds out */
    check(tl_run(&link_, 70 * S, tl_both_done));
    check(!B->app.corrupt && B->segs_out > segs);
    close_both();
    finish();
}

static void test_persist_gives_up(void **state)
{
    (void)state;
    tl_open(&link_, 31, NULL);
    A->app.to_send = 400000;
    B->app.read_paused = true;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, a_stuck));
    uint64_t start = link_.now;
    check(tl_run(&link_, 2000 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_PERSIST);
    check(link_.now - start >= 600 * S && link_.now - start < 700 * S);
    tl_run(&link_, 1 * S, tl_never);
    check(B->app.failed);
    finish();
}

/* A frame of 200 KB is held: the window must open for it although nothing is consumed. */
static void test_want(void **state)
{
    (void)state;
    tl_open(&link_, 32, NULL);
    A->app.to_send = 200000;
    B->app.read_paused = true;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, a_stuck));
    uint32_t have = B->app.conn->rcvq.bytes;
    check(have < 200000);
    hr_tcp_want(B->tcp, B->app.conn, 200000 - have);
    tl_run(&link_, 5 * S, tl_never);
    check(B->app.conn->rcvq.bytes == 200000);
    hr_tcp_want(B->tcp, B->app.conn, 0);
    B->app.read_paused = false;
    check(tl_run(&link_, 5 * S, tl_both_done));
    close_both();
    finish();
}

static void test_pause(void **state)
{
    (void)state;
    tl_open(&link_, 33, NULL);
    A->app.to_send = 500000;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    hr_tcp_pause(B->tcp, B->app.conn, true);
    uint32_t edge = B->app.conn->rcv_adv;
    tl_run(&link_, 10 * S, tl_never);
    check(B->app.conn->rcv_adv == edge);
    uint32_t offered = edge - B->app.conn->irs - 1; /* what the scale cannot say is not used */
    check(B->app.received <= offered && B->app.received + 16 > offered);
    check(B->app.received < 100000);
    hr_tcp_pause(B->tcp, B->app.conn, false);
    check(tl_run(&link_, 20 * S, tl_both_done));
    close_both();
    finish();
}

/* What the owner holds downstream closes the window, in bytes and in buffers. */
static void test_downstream(void **state)
{
    (void)state;
    for (int bufs = 0; bufs < 2; bufs++) {
        tl_open(&link_, 34 + (uint64_t)bufs, NULL);
        A->app.to_send = 300000;
        tl_connect(&link_);
        check(tl_run(&link_, 1 * S, tl_established));
        B->app.read_paused = true;
        for (int i = 0; i < 2000; i++) {
            struct hr_pieceq *q = hr_tcp_rcvq(B->app.conn);
            uint32_t n = q->bytes;
            B->app.received += n;
            hr_pieceq_drop(&B->bufs, q, n);
            hr_tcp_consumed(B->tcp, B->app.conn, n, bufs ? 0 : (uint32_t)B->app.received,
                            bufs ? B->cfg.conn_bufs_max : 0);
            tl_turn(&link_, link_.now + 1000);
        }
        check(B->app.received < 300000 && B->app.received >= 60000);
        hr_tcp_consumed(B->tcp, B->app.conn, 0, 0, 0);
        uint64_t so_far = B->app.received;
        tl_run(&link_, 1 * S, tl_never);
        check(hr_tcp_rcvq(B->app.conn)->bytes > 0 && so_far < 300000);
        hr_tcp_abort(B->tcp, B->app.conn);
        B->app.conn = NULL;
        tl_run(&link_, 1 * S, tl_never);
        finish();
    }
}

static void test_window_grows(void **state)
{
    (void)state;
    tl_open(&link_, 36, NULL);
    link_.delay_us = 20000;
    A->app.to_send = 20 << 20;
    tl_connect(&link_);
    check(tl_run(&link_, 20 * S, tl_both_done)); /* 64 KB per 40 ms would take 13 s, 512 KB well below */
    check(B->app.conn->rcv_target == 512 << 10);
    close_both();
    finish();
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
        /* The window ends before the news comes, so a rescue retransmission may follow (NextSeg rule 4). */
        check(A->stats.counters[HR_CTR_tcp_retransmit_segs] <= 2);
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
    check(A->stats.counters[HR_CTR_tcp_retransmit_segs] <= 12 + 1);
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

/* Two segments in flight, the first lost: limited transmit does not help, there is nothing more to send. */
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
    check(A->stats.counters[HR_CTR_tcp_rto] == 3);
    check(link_.now - start >= (200 + 400 + 800) * 1000 && link_.now - start < 1500000); /* backoff */
    check(A->app.conn->cwnd <= 2u * A->app.conn->smss);
    close_both();
    finish();
}

static void test_retries_end(void **state)
{
    (void)state;
    tl_open(&link_, 44, NULL);
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, tl_established));
    link_.loss[0] = link_.loss[1] = 1;
    A->app.to_send = 5000;
    check(tl_run(&link_, 3600 * S, a_failed));
    check(A->app.failure == HR_TCP_FAIL_TIMEOUT && A->stats.drops[HR_DROP_tcp_retries] == 1);
    check(A->stats.counters[HR_CTR_tcp_rto] == 12);
    check(B->app.failed); /* keepalive found out first */
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
    A->app.to_send += 100;
    uint64_t start = link_.now;
    check(tl_run(&link_, 1 * S, tl_both_done));
    check(tl_run(&link_, 1 * S, a_all_acked));
    check(link_.now - start >= 50000 && link_.now - start < 52000); /* 5 there, 40 waiting, 5 back */
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
static bool small_hop(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    (void)l;
    if (from != 0 || payload + 52 <= 1000)
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
            hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), told_seq, true, 1000);
        told = false;
    }
    check(tl_both_done(&link_) && !B->app.corrupt);
    check(A->app.conn->smss == 1000 - 40 - 12);
    check(A->stats.counters[HR_CTR_tcp_rto] == 0);
    hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), A->app.conn->snd_nxt, true, 500);
    check(A->app.conn->smss == 1000 - 40 - 12); /* not about anything in flight */
    close_both();
    finish();
}

/* ---- everything ---- */

static void plain(int end, struct hr_tcp_config *cfg)
{
    (void)end;
    cfg->rcv_wnd_max = 60000; /* no scale needed: one shift less to hide behind */
}

static bool storm_over(struct tl_link *l)
{
    return tl_both_closed(l) || (l->end[0].app.released && l->end[1].tcp->n_conns == 0);
}

/* Everything at once, by seed: bytes both ways arrive exactly, and both sides come to an end. */
static void storm(uint64_t seed)
{
    tl_open(&link_, seed, seed % 5 == 0 ? plain : NULL);
    double level = tl_uniform(&link_);
    link_.loss[0] = level * 0.3 * tl_uniform(&link_);
    link_.loss[1] = level * 0.3 * tl_uniform(&link_);
    link_.dup = tl_random(&link_) % 3 == 0 ? 0.05 : 0;
    link_.reorder = tl_random(&link_) % 3 == 0 ? 0.1 : 0;
    link_.delay_us = (uint32_t)(tl_random(&link_) % 20000) + 10;
    link_.jitter_us = (uint32_t)(tl_random(&link_) % 3 == 0 ? tl_random(&link_) % 5000 : 0);
    A->path_mss = (uint16_t)(tl_random(&link_) % 4 == 0 ? 536 : 1460);
    A->app.to_send = tl_random(&link_) % 400000;
    B->app.to_send = tl_random(&link_) % 400000;
    A->app.write_max = tl_random(&link_) % 2 ? 3000 : 0;
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    link_.gap_us = (uint32_t)(tl_random(&link_) % 20);
    if (tl_random(&link_) % 3 == 0)
        link_.strip = (uint32_t)tl_random(&link_); /* any of MSS, window scale, SACK, timestamps */
    tl_connect(&link_);
    check(tl_run(&link_, 3600 * S, storm_over));
    if (!(A->app.failed && A->app.failure == HR_TCP_FAIL_TIMEOUT)) { /* 30 % loss may beat the handshake */
        check(A->app.received == B->app.to_send);
        check(B->app.received == A->app.to_send);
        if (A->app.failed || B->app.failed)
            print_error("%s %s\n", hr_tcp_failure_text(A->app.failure), hr_tcp_failure_text(B->app.failure));
        check(!A->app.failed && !B->app.failed);
    }
    check(!A->app.corrupt && !B->app.corrupt);
    link_.loss[0] = link_.loss[1] = 0;
    tl_run(&link_, 200 * S, tl_never);
    finish();
}

static void test_storms(void **state)
{
    (void)state;
    for (uint64_t seed = 1000; seed < 1600; seed++)
        storm(seed);
}

int main(int argc, char **argv)
{
    if (argc > 1) { /* one storm, to look at */
        tl_global_init();
        storm(strtoull(argv[1], NULL, 10));
        return 0;
    }
#define T(f) cmocka_unit_test_teardown(f, clean_up)
    const struct CMUnitTest tests[] = {
        T(test_open_and_close),
        T(test_bulk_clean),
        T(test_syn_loss),
        T(test_refused),
        T(test_connect_unanswered),
        T(test_simultaneous_open),
        T(test_half_close),
        T(test_simultaneous_close),
        T(test_abort),
        T(test_release_early),
        T(test_time_wait_reuse),
        T(test_time_wait_recycled),
        T(test_zero_window),
        T(test_persist_gives_up),
        T(test_want),
        T(test_pause),
        T(test_downstream),
        T(test_window_grows),
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
    tl_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
