/* Floods and scarcity: each is counted, memory stays within what was configured, and a connection that behaves
 * keeps working through it. */
#include <rte_cycles.h>
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"
#include "tests/support/family.h"

#define FLOOD 100000u /* segments, in one second */

static uint64_t rng;

static uint32_t draw(void)
{
    rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(rng >> 32);
}

static uint32_t mbufs_in_use(void)
{
    return rte_mempool_in_use_count(bufs.rx_pool) + rte_mempool_in_use_count(bufs.hdr_pool);
}

/* One exchange on the connection that behaves: ten bytes in, ten out. */
static void exchange(void)
{
    n_out = 0;
    feed(seq, ack, ACK | PSH, 10);
    seq += 10;
    check_rcvq(seq - 10, 10);
    hr_pieceq_drop(&bufs, hr_tcp_rcvq(conn), 10);
    hr_tcp_consumed(tcp, conn, 10, 0, 0);
    queue(10);
    struct out *o = said();
    assert_non_null(o);
    assert_int_equal(o->len, 10);
    assert_int_equal(o->seq, ack);
    assert_int_equal(o->ack, seq);
    ack += 10;
    feed(seq, ack, ACK, 0);
    flush();
    assert_int_equal(hr_tcp_send_bytes(conn), 0);
}

/* So many segments from one() in a second, and an exchange every hundredth of it. */
static void flood(void (*one)(uint32_t i))
{
    for (uint32_t i = 0; i < FLOOD; i++) {
        n_out = 0;
        one(i);
        if (i % 100 == 99) {
            pass(1000);
            if (i % 1000 == 999)
                exchange();
        }
    }
    n_out = 0;
}

/* ---- SYN ---- */

static uint64_t syn_cycles;

static void one_syn(uint32_t i)
{
    struct hr_addr was = peer;
    uint16_t port = peer_port;
    struct hr_tcp_opts had = opts;
    peer = hr_test_addr(0x0b000000 + (draw() & 0xffffff));
    peer_port = (uint16_t)draw();
    opts = (struct hr_tcp_opts){.has_mss = true, .mss = 1460, .has_ts = i & 1, .tsval = i, .sack_ok = true,
                                .has_wscale = true, .wscale = 7};
    uint64_t start = rte_rdtsc();
    feed(draw(), 0, SYN, 0);
    syn_cycles += rte_rdtsc() - start;
    peer = was;
    peer_port = port;
    opts = had;
}

static void test_syn_flood(void **state)
{
    (void)state;
    rng = 1;
    establish(true, true, true);
    syn_cycles = 0;
    flood(one_syn);
    uint64_t syns = stats.counters[HR_CTR_tcp_syn_rx];
    assert_in_range(syns, FLOOD, FLOOD + 1);
    assert_int_equal(tcp->n_half_open, cfg.max_half_open);
    assert_int_equal(tcp->n_conns, cfg.max_half_open + 1);
    assert_in_range(stats.counters[HR_CTR_tcp_syn_cookie_tx], FLOOD - 2 * cfg.max_half_open, FLOOD);
    assert_int_equal(stats.counters[HR_CTR_tcp_syn_cookie_ok], 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_accepted], 1);
    print_message("%.0f cycles per SYN, its frame and the answer included\n", (double)syn_cycles / FLOOD);

    peer_port++; /* who comes meanwhile is served, with all options */
    opts = (struct hr_tcp_opts){.has_mss = true, .mss = 1460, .has_ts = true, .tsval = 1, .sack_ok = true};
    n_out = 0;
    feed(seq, 0, SYN, 0);
    struct out o = out[0];
    events_of(NULL);
    opts = (struct hr_tcp_opts){.has_ts = true, .tsval = 2, .tsecr = o.opts.tsval};
    feed(++seq, ack = o.seq + 1, ACK, 0);
    uint32_t events;
    conn = hr_tcp_next_event(tcp, &events);
    assert_non_null(conn);
    assert_true(conn->sack_on);
    exchange();
    assert_int_equal(stats.counters[HR_CTR_tcp_syn_cookie_ok], 1);
    peer_port--;
    flush();
    assert_in_range(mbufs_in_use(), 0, 64);
}

/* SYNs while no header buffer is left: counted, and over when there are some again. */
static void test_syn_flood_without_buffers(void **state)
{
    struct rte_mbuf *held[1024];
    unsigned n = 0;
    (void)state;
    rng = 2;
    establish(true, true, true);
    while (n < 1024 && (held[n] = rte_pktmbuf_alloc(bufs.hdr_pool)) != NULL)
        n++;
    n_out = 0;
    for (uint32_t i = 0; i < 1000; i++)
        one_syn(i);
    assert_int_equal(n_out, 0);
    assert_in_range(stats.drops[HR_DROP_tx_nombuf], 1000 - cfg.max_half_open, 1000);
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
    flush();
    exchange();
}

/* ---- ACK, RST, FIN, data ---- */

static uint8_t blind_flags;

static void one_stranger(uint32_t i)
{
    uint16_t port = peer_port;
    peer_port = (uint16_t)(50000 + draw() % 10000);
    feed(draw(), draw(), blind_flags, i % 3);
    assert_int_equal(n_out, blind_flags & RST ? 0 : 1); /* a reset, or nothing: never more than came */
    peer_port = port;
}

static void test_floods_of_strangers(void **state)
{
    static const uint8_t kinds[] = {ACK, RST, RST | ACK, FIN, FIN | ACK, 0, SYN | ACK, SYN | FIN};
    (void)state;
    rng = 3;
    establish(true, true, true);
    for (unsigned k = 0; k < RTE_DIM(kinds); k++) {
        uint64_t before = stats.drops[HR_DROP_tcp_no_conn];
        blind_flags = kinds[k];
        flood(one_stranger);
        assert_int_equal(stats.drops[HR_DROP_tcp_no_conn] - before, FLOOD);
        assert_int_equal(tcp->n_conns, 1);
    }
    assert_in_range(mbufs_in_use(), 0, 8);
}

/* The attacker knows addresses and ports, and guesses numbers. */
static uint64_t answers;

static void one_blind(uint32_t i)
{
    uint32_t s = blind_flags & RST ? seq + 1 + draw() % 60000 : draw();
    uint32_t a = ack + 1 + draw() % 0x7ff00000; /* of what was never sent */
    struct hr_tcp_opts had = opts;
    (void)i;
    opts.has_ts = false;
    feed(s, a, blind_flags, blind_flags & RST ? 0 : 5);
    flush();
    answers += n_out;
    opts = had;
}

static void test_blind_segments(void **state)
{
    static const uint8_t kinds[] = {RST, RST | ACK, ACK, FIN | ACK, SYN, SYN | ACK, 0};
    (void)state;
    rng = 4;
    for (unsigned k = 0; k < RTE_DIM(kinds); k++) {
        establish(false, true, true);
        answers = 0;
        blind_flags = kinds[k];
        flood(one_blind);
        assert_int_equal(conn->state, HR_TCP_ESTABLISHED);
        assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
        assert_null(conn->gaps);
        /* Ten challenges a second; and what lies within 2 MiB behind RCV.NXT, of 4 GiB, is answered as a duplicate. */
        assert_in_range(answers, 0, 20 + 2 * FLOOD / 2048);
        exchange();
        hr_tcp_abort(tcp, conn);
    }
    assert_true(stats.counters[HR_CTR_tcp_challenge_ack] > 0);
}

/* The limit is each connection's own: what one of them has used up is not seen on another (CVE-2016-5696). */
static void test_challenges_are_not_shared(void **state)
{
    (void)state;
    for (uint16_t port = 100; port < 140; port++) {
        peer_port = port;
        establish(false, true, true);
        unsigned n = 0;
        for (unsigned i = 0; i < 50; i++) {
            feed(seq + 1, 0, RST, 0);
            n += said() != NULL;
        }
        assert_int_equal(n, 10);
    }
    peer_port = 40000;
}

/* Who spends the challenges does not keep a peer's probes from being answered: its connection would die of it. */
static void test_probes_are_answered(void **state)
{
    (void)state;
    establish(false, true, true);
    for (unsigned i = 0; i < 100; i++) {
        feed(seq + 100000000, ack, ACK, 0);
        flush();
    }
    n_out = 0;
    feed(seq - 1, ack, ACK, 0);
    assert_non_null(said());
    unsigned n = 1;
    for (unsigned i = 0; i < 100; i++) { /* but not without end: two stacks must not answer each other for ever */
        feed(seq - 1, ack, ACK, 0);
        n += said() != NULL;
    }
    assert_int_equal(n, 10);
}

/* ---- scarcity ---- */

static void test_out_of_connections(void **state)
{
    uint32_t events;
    (void)state;
    establish(true, true, true);
    struct hr_tcp_conn *good = conn;
    uint32_t good_seq = seq, good_ack = ack;
    struct hr_tcp_opts good_opts = opts;
    for (peer_port = 2000; tcp->n_conns < cfg.max_conns; peer_port++)
        establish(true, true, true);
    for (unsigned i = 0; i < 50; i++, peer_port++) {
        opts = (struct hr_tcp_opts){.has_mss = true, .mss = 1460};
        feed(1, 0, SYN, 0);
        assert_null(said());
    }
    assert_int_equal(stats.drops[HR_DROP_tcp_conn_limit], 50);
    assert_int_equal(tcp->n_conns, cfg.max_conns);
    hr_tcp_abort(tcp, conn); /* one goes, one may come */
    establish(true, true, true);
    while (hr_tcp_next_event(tcp, &events) != NULL)
        ;
    conn = good, seq = good_seq, ack = good_ack, opts = good_opts;
    peer_port = 40000;
    exchange();
}

/* Receive buffers down to half of the reserve: what is in order is taken, the rest is dropped and counted. */
static void test_out_of_receive_buffers(void **state)
{
    static struct rte_mbuf *held[2048];
    unsigned n = 0;
    (void)state;
    establish(true, true, true);
    while (rte_mempool_avail_count(bufs.rx_pool) > cfg.rx_pool_reserve / 2)
        assert_non_null(held[n++] = rte_pktmbuf_alloc(bufs.rx_pool));
    pass(1000);
    for (unsigned i = 0; i < 100; i++) {
        feed(seq + 1000, ack, ACK, 100);
        exchange();
    }
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 100);
    assert_null(conn->gaps);
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
    pass(1000);
    feed(seq + 1000, ack, ACK, 100);
    assert_non_null(conn->gaps);
}

static struct hr_tcp_conn *hoard(uint16_t port, unsigned n_bufs)
{
    struct hr_pieceq q;
    peer_port = port;
    establish(false, true, true);
    feed_wnd(seq, ack, ACK, 0, 0);
    hr_pieceq_init(&q);
    for (unsigned i = 0; i < n_bufs; i++) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        assert_non_null(m);
        memset(rte_pktmbuf_append(m, 1400), 0, 1400);
        assert_int_equal(hr_pieceq_push_mbuf_take(&bufs, &q, m), 0);
    }
    assert_int_equal(hr_tcp_send_move(tcp, conn, &q, q.bytes), 0);
    flush();
    assert_true(conn->persist);
    return conn;
}

/* Readers that stop hold buffers for ten minutes at most, and for less when they run short: the oldest goes first. */
static void test_zero_window_hoarding(void **state)
{
    struct hr_tcp_conn *hoarder[8];
    (void)state;
    establish(true, true, true);
    struct hr_tcp_conn *good = conn;
    uint32_t good_seq = seq, good_ack = ack;
    struct hr_tcp_opts good_opts = opts;
    for (unsigned i = 0; i < 8; i++) {
        hoarder[i] = hoard((uint16_t)(3000 + i), 200);
        for (unsigned k = 0; k < 10; k++)
            pass(1000000);
    }
    assert_int_equal(stats.drops[HR_DROP_tcp_stalled], 0); /* 448 are free, the reserve is 64 */
    hoarder[7] = hoard(3100, 390);
    for (unsigned i = 0; i < 200; i++)
        pass(10000);
    assert_int_equal(stats.drops[HR_DROP_tcp_stalled], 1);
    assert_int_equal(hoarder[0]->state, HR_TCP_CLOSED);
    assert_int_equal(hoarder[0]->failure, HR_TCP_FAIL_PERSIST);
    assert_int_equal(hoarder[1]->state, HR_TCP_ESTABLISHED);
    conn = good, seq = good_seq, ack = good_ack, opts = good_opts;
    peer_port = 40000;
    exchange();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_syn_flood),
        T(test_syn_flood_without_buffers),
        T(test_floods_of_strangers),
        T(test_blind_segments),
        T(test_challenges_are_not_shared),
        T(test_probes_are_answered),
        T(test_out_of_connections),
        T(test_out_of_receive_buffers),
        T(test_zero_window_hoarding),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
