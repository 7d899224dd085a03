/* Bounded work: what a segment costs with ten thousand holes against what it costs with one, on both sides of a
 * connection: SACK blocks about what was sent, and pieces that arrive out of order. The test counts the nodes
 * that are looked at; run with arguments, this program feeds the same segments for an instruction counter:
 *
 *   valgrind --tool=callgrind --collect-atstart=no --toggle-collect=measured test-tcp-work blocks|pieces HOLES */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

#define HOLES 10000u
#define ROUNDS 1000u

static struct hr_tcp_slab kept;

static void roomy(struct hr_tcp_config *c)
{
    c->ooo_max_pieces = 60000;
    c->conn_bufs_max = 60000;
    c->rcv_wnd_initial = c->rcv_wnd_max = 1 << 20;
}

/* Pools in which ten thousand holes have room; the product's limits stop a peer sooner (xmit.h, ooo_max_pieces). */
static int setup_roomy(void **state)
{
    if (setup_with(state, 16384, roomy) != 0)
        return -1;
    kept = tcp->xmit_slab;
    tcp->xmit_slab = (struct hr_tcp_slab){.n = 64 * HOLES, .mem = calloc(64 * HOLES, sizeof(struct hr_txrec))};
    for (uint32_t i = 0; i < tcp->xmit_slab.n; i++)
        hr_tcp_slab_put(&tcp->xmit_slab, (struct hr_txrec *)tcp->xmit_slab.mem + i);
    /* And islands for each of them. */
    struct hr_tcp_slab *s = &tcp->island_slab;
    static struct hr_tcp_island more[HOLES + 100];
    for (uint32_t i = 0; i < RTE_DIM(more); i++, s->n++)
        hr_tcp_slab_put(s, &more[i]);
    return 0;
}

static int teardown_roomy(void **state)
{
    for (uint32_t i = 0; i < cfg.max_conns; i++) {
        if (tcp->conns[i].in_use)
            hr_tcp_conn_free(tcp, &tcp->conns[i]);
    }
    int bad = tcp->xmit_slab.n_free != tcp->xmit_slab.n;
    free(tcp->xmit_slab.mem);
    tcp->xmit_slab = kept;
    return teardown(state) + bad;
}

/* One segment in, and whatever it causes out. */
__attribute__((noinline)) static void measured(struct rte_mbuf *m)
{
    hr_inject_take(tcp, &peer, &us, m);
    hr_tcp_flush(tcp, 64);
}

static bool counting; /* else the holes are being made */

static void segment(uint32_t s, uint32_t len)
{
    struct rte_mbuf *m = make(s, ack, ACK, len, 65535);
    n_out = 0;
    if (counting) {
        measured(m);
    } else {
        hr_inject_take(tcp, &peer, &us, m);
        flush();
    }
}

/* i-th of n in an order of the peer's choice. */
static uint32_t shuffled(uint32_t i, uint32_t n)
{
    return (uint32_t)((uint64_t)i * 7919u % n);
}

/* ---- SACK blocks ---- */

/* The peer holds every fourth byte of the first 4 * holes. */
static void many_blocks(uint32_t holes)
{
    establish(false, true, true);
    conn->snd_wnd = conn->snd_wnd_max = 1 << 20;
    conn->cwnd = 1 << 20;
    for (uint32_t i = 0; i < 30; i++)
        queue(1460);
    while (said() != NULL)
        ;
    conn->min_rtt_us = conn->srtt_us = 1u << 30; /* RACK does not interfere: it would end what is to be measured */
    conn->rack_reordering = true;
    opts.n_sack = 1;
    for (uint32_t i = 0; i < holes; i++) {
        uint32_t k = holes == 1 ? 0 : shuffled(i, holes);
        opts.sack[0] = (struct hr_tcp_range){ack + 4 * k + 1, ack + 4 * k + 2};
        segment(seq, 0);
    }
    assert_int_equal(conn->flight->xmit.n_sacked, holes);
}

/* Three blocks each time, which are no news, and then one that is. */
static void blocks(uint32_t holes, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        opts.n_sack = 3;
        for (uint32_t b = 0; b < 3; b++) {
            uint32_t k = holes == 1 ? 0 : shuffled(3 * i + b, holes);
            opts.sack[b] = (struct hr_tcp_range){ack + 4 * k + 1, ack + 4 * k + 2};
        }
        if (i % 2)
            opts.sack[0].end++; /* one byte more */
        segment(seq, 0);
    }
    opts.n_sack = 0;
}

static uint64_t visits(const struct hr_seqtree *t, void (*run)(uint32_t, uint32_t), uint32_t holes)
{
    uint64_t before = t->visited;
    run(holes, ROUNDS);
    return t->visited - before;
}

static void test_sack_storm(void **state)
{
    (void)state;
    many_blocks(1);
    uint64_t few = visits(&conn->flight->xmit.tree, blocks, 1);
    hr_tcp_abort(tcp, conn);
    peer_port++;
    many_blocks(HOLES);
    uint64_t many = visits(&conn->flight->xmit.tree, blocks, HOLES);
    /* Three look-ups of some twenty steps each. */
    assert_true(many / ROUNDS < 3 * 25);
    assert_true(few / ROUNDS >= 3);
    hr_tcp_abort(tcp, conn);
}

/* A peer that SACKs and forgets: each timeout looks at every record once, and each ACK at none of them. */
static void test_reneging_storm(void **state)
{
    (void)state;
    many_blocks(HOLES);
    conn->min_rtt_us = conn->srtt_us = 20000;
    uint64_t before = conn->flight->xmit.tree.visited;
    pass(250000);
    pass(250000);
    assert_true(stats.counters[HR_CTR_tcp_rto] + stats.counters[HR_CTR_tcp_tlp_probe] >= 1);
    assert_true(conn->flight->xmit.tree.visited - before < 8 * 2 * HOLES);
    before = conn->flight->xmit.tree.visited;
    for (uint32_t i = 0; i < ROUNDS; i++)
        segment(seq, 0);
    assert_true(conn->flight->xmit.tree.visited - before < 40 * ROUNDS);
    hr_tcp_abort(tcp, conn);
}

/* ---- pieces ---- */

static void many_pieces(uint32_t holes)
{
    establish(false, true, true);
    conn->rcv_adv = conn->rcv_nxt + (1 << 19);
    for (uint32_t i = 0; i < holes; i++)
        segment(seq + 8 * (holes == 1 ? 0 : shuffled(i, holes)) + 2, 1);
    assert_int_equal(conn->gaps->tree.n, holes);
}

/* A byte that an island grows by, then one that was there. */
static void pieces(uint32_t holes, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t k = holes == 1 ? 0 : shuffled(i / 2, holes);
        segment(seq + 8 * k + 2 + (i % 2 == 0), 1);
    }
}

static void test_piece_storm(void **state)
{
    (void)state;
    many_pieces(1);
    uint64_t few = visits(&conn->gaps->tree, pieces, 1);
    hr_tcp_abort(tcp, conn);
    peer_port++;
    many_pieces(HOLES);
    uint64_t many = visits(&conn->gaps->tree, pieces, HOLES);
    assert_true(many / ROUNDS < 25);
    assert_true(few / ROUNDS >= 1);
    assert_int_equal(out[n_out - 1].opts.n_sack, 4);
    hr_tcp_abort(tcp, conn);
}

/* An ACK of what was never sent costs a challenge, ten a second at most, and changes nothing (RFC 5961 5.2). */
static void test_optimistic_acks(void **state)
{
    (void)state;
    establish(false, true, true);
    queue(14600);
    said();
    uint32_t cwnd = conn->cwnd, una = conn->snd_una;
    for (uint32_t i = 1; i <= ROUNDS; i++) {
        measured(make(seq, conn->snd_nxt + 1460 * i, ACK, 0, 65535));
        n_out = 0;
    }
    assert_int_equal(conn->cwnd, cwnd);
    assert_int_equal(conn->snd_una, una);
    assert_int_equal(stats.drops[HR_DROP_tcp_bad_ack], ROUNDS);
    assert_true(stats.counters[HR_CTR_tcp_challenge_ack] <= 10);
    hr_tcp_abort(tcp, conn);
}

int main(int argc, char **argv)
{
    hr_test_eal_init();
    if (argc == 3) {
        uint32_t holes = (uint32_t)atoi(argv[2]);
        bool of_blocks = strcmp(argv[1], "blocks") == 0;
        void *state = NULL;
        if (holes == 0 || holes > HOLES || setup_roomy(&state) != 0)
            return 2;
        (of_blocks ? many_blocks : many_pieces)(holes);
        counting = true;
        (of_blocks ? blocks : pieces)(holes, ROUNDS);
        printf("%u segments\n", ROUNDS);
        return teardown_roomy(&state);
    }
#define T(f) cmocka_unit_test_setup_teardown(f, setup_roomy, teardown_roomy)
    const struct CMUnitTest tests[] = {
        T(test_sack_storm),
        T(test_reneging_storm),
        T(test_piece_storm),
        T(test_optimistic_acks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
