/* One worker under loads that hoard what it has: those who behave go on as if nothing were, in virtual time.
 *
 * Goodput is answers per second of virtual time on the ring bench's link; a frame takes its time there, so what the
 * hoarders send and are sent is part of the comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "bench/ring/loop.h"
#include "dataplane/worker/impl.h"
#include "tests/support/eal.h"

#define S_NS 1000000000ULL
#define N_ACTIVE 50

static struct rb_loop l;
static bool asking;

static void on_answer(void *owner, struct rb_peer *peer)
{
    if (asking && !peer->stalled)
        rb_peers_ask(&l.peers, peer, 1);
}

static void open_loop(uint32_t mbufs, uint32_t max_connections, uint32_t response_bytes)
{
    const struct rb_loop_config cfg = {
        .proxy = {.mtu = 1500, .cksum = true, .mbufs = mbufs, .rx_desc = 512, .memory_mb = 400,
                  .max_connections = max_connections},
        .peers = {.mtu = 1500, .cksum = true, .max_peers = 2 * max_connections + 64, .request_bytes = 200,
                  .response_bytes = response_bytes, .rx_mbufs = 65536, .port = RB_KAFKA_PORT,
                  .broker_port = RB_KAFKA_PORT, .on_answer = on_answer},
        .burst = 32};
    hr_test_eal_init_mb(1024);
    rb_loop_open(&l, &cfg);
    asking = true;
}

static void close_loop(void)
{
    rb_loop_close(&l); /* every buffer must be back */
}

static void run(uint64_t ns)
{
    for (uint64_t until_ns = l.now_ns + ns; l.now_ns < until_ns;)
        rb_loop_step(&l);
}

static uint64_t answers(uint64_t ns)
{
    uint64_t before = l.peers.n_answers;
    run(ns);
    return l.peers.n_answers - before;
}

static uint64_t drops(enum hr_drop d)
{
    return l.proxy.worker->stats->drops[d];
}

/* Every client that is up and does not stall keeps a request under way. */
static void ask_all(void)
{
    for (uint32_t i = 0; i < l.cfg.peers.max_peers; i++) {
        struct rb_peer *peer = &l.peers.peers[i];
        if (peer->conn && peer->client && peer->in_flight == 0)
            rb_peers_ask(&l.peers, peer, 1);
    }
}

static uint32_t n_active_up(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < l.cfg.peers.max_peers; i++)
        n += l.peers.peers[i].conn && l.peers.peers[i].client && !l.peers.peers[i].stalled;
    return n;
}

/* A thousand consumers ask for 16 KB each, again and again, and never read. Their windows and queues would take more
 * than three times the pool. */
static void test_stalled_consumers(void **state)
{
    open_loop(12000, 1100, 16000);
    rb_loop_connect(&l, N_ACTIVE);
    ask_all();
    run(S_NS / 5);
    uint64_t alone = answers(S_NS / 5);
    rb_loop_connect(&l, 1000);
    for (uint32_t i = 0; i < l.cfg.peers.max_peers; i++) {
        struct rb_peer *peer = &l.peers.peers[i];
        if (peer->conn && peer->client && peer->in_flight == 0) {
            peer->stalled = true;
            rb_peers_ask(&l.peers, peer, 20);
        }
    }
    /* At first there is nothing left for anybody; then those go that have been stalled longest. */
    uint64_t began_ns = l.now_ns, beside = 0;
    while (beside * 100 < alone * 95 && l.now_ns - began_ns < 5 * S_NS)
        beside = answers(S_NS / 5);
    print_message("%lu answers in 0.2 s alone, %lu beside those of 1,000 stalled consumers that were left after %lu ms, "
                  "%lu were ended; %u of 12000 buffers held\n", (unsigned long)alone, (unsigned long)beside,
                  (unsigned long)((l.now_ns - began_ns) / 1000000), (unsigned long)drops(HR_DROP_tcp_stalled),
                  rb_proxy_held(&l.proxy));
    assert_true(beside * 100 >= alone * 95);
    assert_in_range(drops(HR_DROP_tcp_stalled), 1, 999);
    assert_int_equal(n_active_up(), N_ACTIVE);
    asking = false;
    close_loop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stalled_consumers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
