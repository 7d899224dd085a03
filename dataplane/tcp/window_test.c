/* The receive window over the life of a relayed connection: small until somebody takes the bytes, then as large as
 * the other leg drains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define MSS 1460

static uint32_t irs1, edge; /* the first byte; the right edge that the peer has seen */
static uint32_t down;       /* bytes in the other leg's send queue */

/* An edge never moves back. */
static void look(void)
{
    for (unsigned i = 0; i < n_out; i++) {
        uint32_t e = out[i].ack + ((uint32_t)out[i].wnd << conn->rcv_wscale);
        assert_true(hr_seq_geq(e + (1u << conn->rcv_wscale) - 1, edge));
        edge = hr_seq_max(edge, e);
    }
}

static void begin(void)
{
    establish(true, true, true);
    irs1 = edge = seq;
    edge += 65535;
    down = 0;
}

/* The peer sends what the window takes, at most n bytes; without a word from the owner. */
static void send_all(uint32_t n)
{
    while (n > 0 && hr_seq_lt(seq, edge)) {
        uint32_t len = RTE_MIN(RTE_MIN(n, (uint32_t)MSS), edge - seq);
        feed(seq, ack, ACK, len);
        seq += len;
        n -= len;
        said();
        look();
    }
}

/* The owner moves everything on; the other leg's peer takes gone bytes. */
static void relay(uint32_t gone)
{
    uint32_t n = hr_tcp_rcvq(conn)->bytes;
    hr_pieceq_drop(&bufs, hr_tcp_rcvq(conn), n);
    down += n;
    assert_true(gone <= down);
    down -= gone;
    hr_tcp_consumed(tcp, conn, n, down, 0);
    said();
    look();
}

static void test_64k_until_the_other_leg_is_up(void **state)
{
    (void)state;
    tcp->cfg.rcv_wnd_initial = 1 << 20;
    begin();
    for (int i = 0; i < 10; i++) {
        send_all(3000);
        pass(10000);
        look();
    }
    assert_true(edge - irs1 <= 65536);
    send_all(1 << 20);
    pass(1000000);
    look();
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, edge - irs1);
    assert_in_range(edge - irs1, 60000, 65536);
    relay(0); /* it is up: what waits counts against the window that was asked for */
    assert_in_range(edge - irs1, 1000000, 1 << 20);
}

/* Moved but not taken by the other leg's peer: the window closes and does not grow, however long it lasts. */
static void test_what_waits_downstream_is_not_drained(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 1000; i++) {
        send_all(1 << 20);
        pass(1100);
        relay(0);
        pass(900);
        look();
    }
    assert_in_range(down, 60000, 65536);
    assert_int_equal(conn->rcv_target, 65536);
    for (int i = 0; i < 1000; i++) { /* a slow consumer: 1 KB per round trip */
        relay(1000);
        send_all(1 << 20);
        pass(1000);
        look();
    }
    assert_int_equal(conn->rcv_target, 65536);
    assert_true(down <= 65536);
}

/* By what is drained, while that is much of it. */
static void test_grows_with_what_is_drained(void **state)
{
    (void)state;
    begin();
    pass(1000);
    uint32_t before = conn->rcv_target;
    int rounds = 0;
    for (; conn->rcv_target < cfg.rcv_wnd_max / 4 && rounds < 50; rounds++) {
        send_all(1 << 20);
        pass(500);
        look();
        relay(hr_tcp_rcvq(conn)->bytes + down);
        pass(600);
        look();
        assert_true(conn->rcv_target <= 2 * before + MSS);
        before = conn->rcv_target;
    }
    assert_in_range(rounds, 4, 10); /* doubles: 64 KB to 1 MB */
    before = conn->rcv_target;
    for (int i = 0; i < 50; i++) { /* long round trips with the same bytes grow nothing */
        send_all(20000);
        relay(hr_tcp_rcvq(conn)->bytes + down);
        pass(50000);
        look();
    }
    assert_in_range(conn->rcv_target, before, before + 40000); /* the first two tell */
}

/* The edge moves when the connection has its turn, whatever gave it one: a peer that waits for it is told. Here the
 * pool has room again, and the turn is that of data that the peer's closed window holds back. */
static void test_an_edge_that_moves_is_told(void **state)
{
    (void)state;
    begin();
    tcp->pool_free = cfg.rx_pool_reserve; /* too few to offer more */
    while (edge != seq) {
        uint32_t n = RTE_MIN((uint32_t)MSS, edge - seq);
        feed_wnd(seq, ack, ACK, n, 0);
        seq += n;
        hr_pieceq_drop(&bufs, hr_tcp_rcvq(conn), hr_tcp_rcvq(conn)->bytes);
        hr_tcp_consumed(tcp, conn, n, 0, 0);
        said();
        look();
    }
    assert_int_equal(conn->rcv_adv, conn->rcv_nxt);
    hr_tcp_set_now(tcp, now); /* the pool is asked again */
    queue(1);
    struct out *o = said();
    assert_non_null(o);
    assert_int_equal(o->len, 0);
    look();
    assert_true(edge - seq >= MSS);
    assert_int_equal(edge, conn->rcv_adv);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_64k_until_the_other_leg_is_up),
        T(test_what_waits_downstream_is_not_drained),
        T(test_grows_with_what_is_drained),
        T(test_an_edge_that_moves_is_told),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
