/* Payload in every order, and the limits on keeping it. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

/* Islands stand in order without touching, their pieces fill them, and each is in the list of changes once. */
static void check_islands(void)
{
    const struct hr_tcp_gaps *g = conn->gaps;
    uint32_t end = conn->rcv_nxt, pieces = 0, listed = 0;

    if (g == NULL)
        return;
    for (const struct hr_seqnode *n = g->tree.first; n != NULL; n = hr_seqtree_next(n)) {
        const struct hr_tcp_island *i = (const struct hr_tcp_island *)(const void *)n;
        uint32_t at = n->seq;
        assert_true(hr_seq_gt(at, end));
        for (const struct hr_tcp_ooo *p = i->first; p != NULL; p = p->next) {
            at += p->len;
            pieces++;
            assert_true(p->next != NULL || p == i->last);
        }
        assert_int_equal(at, i->end);
        end = at;
    }
    const struct hr_tcp_island *i;
    TAILQ_FOREACH(i, &g->recent, link)
        listed++;
    assert_int_equal(listed, g->tree.n);
    assert_int_equal(pieces, g->n);
    assert_int_equal(hr_tcp_reass_end(conn), end);
}

static void test_out_of_order(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq + 100, ack, ACK, 100);
    struct out *o = said();
    assert_int_equal(o->ack, seq);
    assert_int_equal(o->opts.n_sack, 1);
    assert_int_equal(o->opts.sack[0].start, seq + 100);
    assert_int_equal(o->opts.sack[0].end, seq + 200);
    feed(seq + 300, ack, ACK, 100);
    feed(seq + 500, ack, ACK, 100);
    o = said();
    assert_int_equal(o->opts.n_sack, 3);
    assert_int_equal(o->opts.sack[0].start, seq + 500); /* newest first */
    assert_int_equal(o->opts.sack[1].start, seq + 300);
    feed(seq + 150, ack, ACK, 400); /* covers the gaps, overlaps the pieces */
    o = said();
    assert_int_equal(o->opts.n_sack, 2);
    assert_int_equal(o->opts.sack[0].start, seq + 150); /* RFC 2883 4.2: what was there before */
    assert_int_equal(o->opts.sack[0].end, seq + 200);
    assert_int_equal(o->opts.sack[1].start, seq + 100);
    assert_int_equal(o->opts.sack[1].end, seq + 600);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
    feed(seq, ack, ACK, 120);
    o = said();
    assert_int_equal(o->ack, seq + 600);
    assert_int_equal(o->opts.n_sack, 0);
    check_rcvq(seq, 600);
    assert_int_equal(hr_tcp_reass_pieces(conn), 0);
    assert_int_equal(events_of(conn), HR_TCP_EV_READABLE);
}

/* Random pieces in random order, with duplicates, across the wrap; the FIN among them. */
static void test_reassembly_random(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        srand(round);
        peer_port = (uint16_t)(10000 + round);
        establish(false, round % 2, true);
        conn->rcv_nxt = conn->last_ack_sent = seq = 0u - 2000; /* as if a lot had come before */
        conn->rcv_adv = seq + 65535;
        conn->snd_wl1 = seq;
        uint32_t total = 4000;
        for (unsigned step = 0; step < 4000 && conn->rcv_nxt != seq + total + 1; step++) {
            uint32_t at = (uint32_t)rand() % total, len = 1 + (uint32_t)rand() % (rand() % 3 ? 60 : 900);
            if (step > 300)
                at = conn->rcv_nxt - seq;
            len = RTE_MIN(len, total - at);
            feed(seq + at, ack, ACK | (at + len == total ? FIN : 0), len);
            said();
            assert_true(hr_tcp_reass_pieces(conn) <= cfg.ooo_max_pieces);
            check_islands();
        }
        check_rcvq(seq, total);
        assert_int_equal(conn->state, HR_TCP_CLOSE_WAIT);
        assert_true(events_of(conn) & HR_TCP_EV_FIN);
        hr_tcp_abort(tcp, conn);
    }
    peer_port = 40000;
}

static void test_duplicate_is_reported(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq, ack, ACK, 100);
    said();
    feed(seq, ack, ACK, 60);
    struct out *o = said();
    assert_int_equal(o->ack, seq + 100);
    assert_int_equal(o->opts.n_sack, 1); /* RFC 2883 */
    assert_int_equal(o->opts.sack[0].start, seq);
    assert_int_equal(o->opts.sack[0].end, seq + 60);
    assert_int_equal(stats.counters[HR_CTR_tcp_dup_rx], 1);
    feed(seq + 50, ack, ACK, 100); /* half of it is new */
    said();
    check_rcvq(seq, 150);
}

static void test_beyond_the_window(void **state)
{
    (void)state;
    establish(false, true, true);
    uint32_t edge = conn->rcv_adv;
    feed(edge - 10, ack, ACK, 100); /* cut at the edge */
    assert_int_equal(hr_tcp_reass_pieces(conn), 1);
    assert_int_equal(hr_tcp_reass_end(conn), edge);
    check_islands();
    feed(edge + 1, ack, ACK, 100);
    assert_int_equal(hr_tcp_reass_pieces(conn), 1);
    assert_int_equal(stats.drops[HR_DROP_tcp_out_of_window], 1);
    assert_int_equal(said()->ack, seq);
}

static void test_pool_reserve(void **state)
{
    struct rte_mbuf *held[2048];
    unsigned n = 0;
    (void)state;
    establish(false, true, true);
    while (rte_mempool_avail_count(bufs.rx_pool) > 40)
        held[n++] = rte_pktmbuf_alloc(bufs.rx_pool);
    hr_tcp_set_now(tcp, now);
    uint32_t edge = conn->rcv_adv;
    feed(seq + 500, ack, ACK, 100); /* below the reserve: not kept */
    assert_int_equal(hr_tcp_reass_pieces(conn), 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 1);
    feed(seq, ack, ACK, 100); /* the next in line is */
    check_rcvq(seq, 100);
    said();
    assert_int_equal(conn->rcv_adv, edge); /* and no further window */
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
}

/* One byte a segment does not pin a buffer each. */
static void test_byte_drip(void **state)
{
    (void)state;
    establish(false, true, true);
    for (uint32_t i = 0; i < 1500; i++) {
        feed(seq + i, ack, ACK, 1);
        said();
    }
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 1500);
    assert_true(hr_tcp_rcvq(conn)->n_pieces <= 2);
    check_rcvq(seq, 1500);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_out_of_order),
        T(test_reassembly_random),
        T(test_duplicate_is_reported),
        T(test_beyond_the_window),
        T(test_pool_reserve),
        T(test_byte_drip),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
