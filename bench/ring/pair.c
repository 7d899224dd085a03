/* What two cores are worth to each other at this moment, without any proxy: the time of a pointer's way through one ring
 * and back through another; a frame's way through a net_ring port, an empty forwarder and back; and how long a thread
 * that only looks at the clock is kept from doing so. */
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/ring/report.h"
#include "bench/ring/rings.h"
#include "bench/ring/scenario.h"

#define TRIPS 20000u
#define FRAMES 200000u
#define BURST 32u
#define SPIN_S 1
#define GAP_NS 1000 /* shorter ones are the loop itself */

struct pair {
    struct rte_ring *to, *from;
    uint16_t port_id;
    _Atomic bool stop;
    double ns_per_cycle;
    struct hr_hist gaps, trips;
};

static struct pair pair;

static int echo(void *arg)
{
    void *p;
    while (!atomic_load_explicit(&pair.stop, memory_order_relaxed))
        if (rte_ring_sc_dequeue(pair.to, &p) == 0)
            while (rte_ring_sp_enqueue(pair.from, p) != 0)
                ;
    return 0;
}

static int forward(void *arg)
{
    struct rte_mbuf *pkts[BURST];
    while (!atomic_load_explicit(&pair.stop, memory_order_relaxed)) {
        uint16_t n = rte_eth_rx_burst(pair.port_id, 0, pkts, BURST), sent = 0;
        while (sent < n)
            sent = (uint16_t)(sent + rte_eth_tx_burst(pair.port_id, 0, pkts + sent, (uint16_t)(n - sent)));
    }
    return 0;
}

static int spin(void *arg)
{
    uint64_t last = rte_rdtsc(), end = last + SPIN_S * rte_get_tsc_hz();
    while (last < end) {
        uint64_t now = rte_rdtsc();
        uint64_t ns = (uint64_t)((double)(now - last) * pair.ns_per_cycle);
        if (ns >= GAP_NS)
            hr_hist_record(&pair.gaps, ns);
        last = now;
    }
    return 0;
}

static void launch(int (*f)(void *arg))
{
    atomic_store(&pair.stop, false);
    if (rte_eal_remote_launch(f, NULL, rte_get_next_lcore(-1, 1, 0)) != 0) {
        fprintf(stderr, "ring bench: this needs --two-cores\n");
        exit(1);
    }
}

static void join(void)
{
    atomic_store(&pair.stop, true);
    rte_eal_mp_wait_lcore();
}

/* Median of single trips, in nanoseconds. */
static double trips(void)
{
    void *p = &pair;
    hr_hist_reset(&pair.trips);
    for (uint32_t i = 0; i < TRIPS; i++) {
        uint64_t begun = rte_rdtsc();
        rte_ring_sp_enqueue(pair.to, p);
        while (rte_ring_sc_dequeue(pair.from, &p) != 0)
            ;
        hr_hist_record(&pair.trips, (uint64_t)((double)(rte_rdtsc() - begun) * pair.ns_per_cycle));
    }
    return (double)hr_hist_percentile(&pair.trips, 50);
}

/* Nanoseconds per frame, with as many on their way as rings take in bursts. */
static double frames(struct rte_mempool *pool)
{
    struct rte_mbuf *pkts[BURST];
    uint32_t sent = 0, back = 0;
    uint64_t begun = rte_rdtsc();
    while (back < FRAMES) {
        if (sent < FRAMES && sent - back < RB_RING / 2 && rte_pktmbuf_alloc_bulk(pool, pkts, BURST) == 0) {
            for (uint32_t i = 0; i < BURST; i++)
                rte_pktmbuf_append(pkts[i], 64);
            rte_ring_sp_enqueue_bulk(pair.to, (void **)pkts, BURST, NULL);
            sent += BURST;
        }
        unsigned n = rte_ring_sc_dequeue_burst(pair.from, (void **)pkts, BURST, NULL);
        rte_pktmbuf_free_bulk(pkts, n);
        back += n;
    }
    return (double)(rte_rdtsc() - begun) * pair.ns_per_cycle / FRAMES;
}

void rb_scenario_pair(const struct rb_options *o)
{
    struct rb_metric trip = {"ring_round_trip", "ns", "a pointer to the other core and back, median of single trips"};
    struct rb_metric frame = {"empty_forwarder", "ns", "per frame through a net_ring port and back, bursts of 32"};
    struct rb_metric worst = {"spinner_gap_max", "ns", "longest pause of a thread that only reads the clock, 1 s"};
    struct rb_metric share = {"spinner_gaps_above_50us", "gaps", "pauses of more than 50 us in 1 s"};
    struct rte_mempool *pool = rte_pktmbuf_pool_create("rb_pair", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (!pool) {
        fprintf(stderr, "ring bench: no memory\n");
        exit(1);
    }
    pair.ns_per_cycle = 1e9 / (double)rte_get_tsc_hz();
    pair.port_id = rb_rings_open(&pair.to, &pair.from, pool);
    for (uint32_t i = 0; i < o->rounds; i++) {
        launch(echo);
        rb_metric_add(&trip, trips());
        join();
        launch(forward);
        rb_metric_add(&frame, frames(pool));
        join();
    }
    launch(spin);
    join();
    rb_metric_add(&worst, pair.gaps.n ? (double)pair.gaps.max : 0);
    uint64_t many = 0;
    for (uint32_t i = hr_hist_next(&pair.gaps, hr_hist_slot(50000)); i < HR_HIST_SLOTS; i = hr_hist_next(&pair.gaps, i + 1))
        many += pair.gaps.counts[i];
    rb_metric_add(&share, (double)many);
    worst.hist = &pair.gaps;
    rb_metric_print(&trip, o->label);
    rb_metric_print(&frame, o->label);
    rb_metric_print(&worst, o->label);
    rb_metric_print(&share, o->label);
    rb_rings_close(pair.port_id, pair.to, pair.from);
    rte_mempool_free(pool);
}
