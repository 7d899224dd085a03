/* The whole stack against itself: opening, closing, moving bytes, windows. Every test ends with nothing held
 * anywhere. */
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
    for (unsigned i = 0; i < 3; i++) { /* who still sends is waited for */
        tl_run(&link_, 50 * S, tl_never);
        B->app.to_send += 10;
    }
    check(A->app.conn != NULL && A->app.conn->state == HR_TCP_FIN_WAIT_2);
    check(B->app.conn->state == HR_TCP_CLOSE_WAIT);
    B->app.to_send = 300000;
    check(tl_run(&link_, 10 * S, tl_both_done));
    check(!A->app.corrupt);
    check(hr_tcp_send_bytes_copy(A->tcp, A->app.conn, "x", 1) == HR_E_CLOSED);
    close_both();
    finish();
}

/* A peer that neither closes nor sends, towards an owner who still listens. */
static void test_half_close_timeout(void **state)
{
    (void)state;
    tl_open(&link_, 28, NULL);
    A->app.shutdown_when_sent = true;
    tl_connect(&link_);
    check(tl_run(&link_, 1 * S, b_got_fin));
    B->app.to_send = 10;
    tl_run(&link_, 59 * S, tl_never);
    check(A->app.received == 10 && A->app.conn != NULL);
    tl_run(&link_, 2 * S, tl_never);
    check(A->app.failed && A->app.failure == HR_TCP_FAIL_HALF_CLOSE && B->app.failed);
    check(A->stats.drops[HR_DROP_tcp_fin_wait] == 1);
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
    cfg->max_time_wait = 2;
}

/* The oldest entry in TIME-WAIT gives way, and none of them takes a connection's place. */
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
        check(A->tcp->n_conns == 0 && A->tcp->n_time_wait <= 2);
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

/* RFC 9293 3.8.6.2.2: a reader of crumbs does not make a sender of crumbs. */
static void test_silly_window(void **state)
{
    (void)state;
    tl_open(&link_, 38, NULL);
    A->app.to_send = 400000;
    B->app.read_paused = true;
    tl_connect(&link_);
    check(tl_run(&link_, 10 * S, a_stuck));
    uint32_t edge = B->app.conn->rcv_adv, taken = 0;
    for (; taken < 1400; taken += 100) {
        hr_pieceq_drop(&B->bufs, hr_tcp_rcvq(B->app.conn), 100);
        hr_tcp_consumed(B->tcp, B->app.conn, 100, 0, 0);
        tl_run(&link_, 2 * S, tl_never); /* a probe is answered meanwhile */
        check(B->app.conn->rcv_adv == edge);
    }
    hr_pieceq_drop(&B->bufs, hr_tcp_rcvq(B->app.conn), 100);
    hr_tcp_consumed(B->tcp, B->app.conn, 100, 0, 0);
    tl_run(&link_, 2 * S, tl_never);
    check(hr_seq_geq(B->app.conn->rcv_adv, edge + 1460));
    hr_tcp_abort(A->tcp, A->app.conn);
    A->app.conn = NULL;
    tl_run(&link_, 1 * S, tl_never);
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

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, clean_up)
    const struct CMUnitTest tests[] = {
        T(test_open_and_close),
        T(test_bulk_clean),
        T(test_syn_loss),
        T(test_refused),
        T(test_connect_unanswered),
        T(test_simultaneous_open),
        T(test_half_close),
        T(test_half_close_timeout),
        T(test_simultaneous_close),
        T(test_abort),
        T(test_release_early),
        T(test_time_wait_reuse),
        T(test_time_wait_recycled),
        T(test_zero_window),
        T(test_silly_window),
        T(test_persist_gives_up),
        T(test_want),
        T(test_downstream),
        T(test_window_grows),
    };
    tl_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
