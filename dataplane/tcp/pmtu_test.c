/* The path's MTU: a hop that drops what is large, with and without a word; what the next connection knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testlink.h"

#define S 1000000ULL
#define JUMBO 8960

static struct tl_link link_;
static struct tl_end *const A = &link_.end[0], *const B = &link_.end[1];
static uint32_t hop_mtu;       /* of the narrowest hop; IPv4 */
static bool told;
static uint32_t told_seq;

#define check(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "seed %lu: %s\n", (unsigned long)link_.seed, #cond);                             \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static bool hop(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload)
{
    if (payload + (th->data_off >> 4) * 4u + 20 <= hop_mtu)
        return false;
    if (from == 0) {
        told = true;
        told_seq = rte_be_to_cpu_32(th->sent_seq);
    }
    (void)l;
    return true;
}

static void open_link(uint64_t seed)
{
    tl_open(&link_, seed, NULL);
    link_.filter = hop;
    A->path_mss = B->path_mss = JUMBO;
    hop_mtu = 9001;
    told = false;
}

static void reconnect(uint16_t port)
{
    struct hr_flow flow = {A->addr, B->addr, port, 9092};
    memset(&A->app, 0, sizeof(A->app));
    memset(&B->app, 0, sizeof(B->app));
    A->app.salt = B->app.expect_salt = 1;
    B->app.salt = A->app.expect_salt = 2;
    assert_int_equal(hr_tcp_connect(A->tcp, &flow, 0, &A->app.conn), 0);
    check(tl_run(&link_, 1 * S, tl_established));
}

static void close_both(void)
{
    A->app.shutdown_when_sent = B->app.shutdown_when_sent = true;
    check(tl_run(&link_, 60 * S, tl_both_closed));
    check(!A->app.corrupt && !B->app.corrupt);
}

static int finish(void **state)
{
    (void)state;
    if (!link_.open)
        return 0;
    tl_run(&link_, 61 * S, tl_never);
    const char *wrong = tl_close(&link_);
    if (wrong != NULL)
        fprintf(stderr, "%s\n", wrong);
    return wrong != NULL;
}

static uint64_t rtos(void)
{
    return A->stats.counters[HR_CTR_tcp_rto];
}

/* 9001 becomes 1500 in mid-transfer and nobody says so. By many seeds: the cut comes anywhere. */
static void test_black_hole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        open_link(seed);
        reconnect(7000);
        check(A->app.conn->mss == JUMBO);
        A->app.to_send = 4000000;
        for (uint64_t n = 300000 + tl_random(&link_) % 1000000; B->app.received < n;)
            tl_turn(&link_, link_.now + S);
        check(rtos() == 0);
        hop_mtu = 1500;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(rtos() <= 4 && !B->app.corrupt); /* re-segmented, byte by byte the same */
        check(A->app.conn->mss == 1460 && A->app.conn->mss_full == JUMBO);
        check(A->stats.counters[HR_CTR_tcp_pmtu_restored] == 0);
        uint64_t before = rtos();
        close_both();

        reconnect(7001); /* starts small: nothing is lost */
        check(A->app.conn->mss == 1460 && A->app.conn->adv_mss == JUMBO);
        uint64_t again = A->stats.counters[HR_CTR_tcp_retransmit_segs];
        A->app.to_send = 300000;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(rtos() == before && A->stats.counters[HR_CTR_tcp_retransmit_segs] == again);
        close_both();

        tl_run(&link_, 601 * S, tl_never); /* what is known gets old */
        hop_mtu = 9001;
        reconnect(7002);
        check(A->app.conn->mss == JUMBO);
        close_both();
        assert_int_equal(finish(NULL), 0);
    }
}

/* A connection that lives on finds the large size again when the cache has forgotten, and loses one segment
 * where the hop is still narrow. */
static void test_tried_again(void **state)
{
    (void)state;
    for (int repaired = 0; repaired < 2; repaired++) {
        open_link(30 + (uint64_t)repaired);
        hop_mtu = 1500;
        reconnect(7000);
        A->app.to_send = 200000;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(A->app.conn->mss == 1460);
        uint64_t before = rtos();
        tl_run(&link_, 610 * S, tl_never);
        hop_mtu = repaired ? 9001 : 1500;
        A->app.to_send = 3000000;
        check(tl_run(&link_, 60 * S, tl_both_done));
        check(A->app.conn->mss == (repaired ? JUMBO : 1460));
        check(A->stats.counters[HR_CTR_tcp_pmtu_restored] == (unsigned)repaired);
        check(rtos() == before && !B->app.corrupt);
        close_both();
        if (!repaired)
            assert_int_equal(finish(NULL), 0);
    }
}

/* An outage looks the same at first. The size comes back with the path, and nothing is remembered. */
static void test_outage(void **state)
{
    (void)state;
    open_link(40);
    reconnect(7000);
    A->app.to_send = 20000000;
    while (B->app.received < 500000)
        tl_turn(&link_, link_.now + S);
    link_.loss[0] = link_.loss[1] = 1;
    tl_run(&link_, 4 * S, tl_never);
    check(A->app.conn->mss == HR_TCP_MSS_DEFAULT);
    link_.loss[0] = link_.loss[1] = 0;
    check(tl_run(&link_, 60 * S, tl_both_done));
    check(A->app.conn->mss == JUMBO && A->app.conn->mss_full == 0);
    close_both();
    reconnect(7001);
    check(A->app.conn->mss == JUMBO);
    close_both();
}

/* A router that speaks: no timeout, and the next connection knows. */
static void test_told(void **state)
{
    (void)state;
    open_link(50);
    hop_mtu = 1500;
    reconnect(7000);
    A->app.to_send = 500000;
    for (uint64_t end = link_.now + 10 * S; !tl_both_done(&link_) && link_.now < end;) {
        tl_turn(&link_, end);
        if (told)
            hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), told_seq, true, 1500);
        told = false;
    }
    check(tl_both_done(&link_) && rtos() == 0 && A->app.conn->mss == 1460);
    check(A->stats.counters[HR_CTR_tcp_pmtu_told] == 1);
    /* What is not in flight, and what would make it larger, is not believed (RFC 5927). */
    hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), A->app.conn->snd_nxt, true, 600);
    A->app.to_send += 20000;
    tl_turn(&link_, link_.now + 1);
    check(A->app.conn->flight != NULL);
    hr_tcp_icmp_error(A->tcp, hr_tcp_flow(A->app.conn), A->app.conn->snd_una, true, 4000);
    check(A->app.conn->mss == 1460 && A->stats.counters[HR_CTR_tcp_pmtu_told] == 1);
    check(tl_run(&link_, 10 * S, tl_both_done));
    close_both();
    reconnect(7001);
    check(A->app.conn->mss == 1460);
    close_both();
}

int main(void)
{
    tl_global_init();
#define T(f) cmocka_unit_test_teardown(f, finish)
    const struct CMUnitTest tests[] = {T(test_black_hole), T(test_tried_again), T(test_outage), T(test_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
