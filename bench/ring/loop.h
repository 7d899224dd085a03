/* One core: generator, wire and proxy take turns, and only the proxy's are measured.
 *
 * The wire copies each frame into the next buffer that the receiver posted, as a card's DMA would, and passes at most
 * `burst` frames to the proxy per turn. A turn of the proxy is made only when frames wait for it, when it said that
 * it has more to do, or when its deadline has come: empty turns do not exist here.
 *
 * Time is virtual. By default frames take their time on a link of 25 Gbit/s, so that a run repeats exactly; with
 * `cycles_clock` each turn's measured cycles advance the clock and the wire takes none, which is what latency is
 * measured by. When nobody has anything to do, the clock jumps to what is due next.
 *
 * With several workers the card spreads frames over their queues by a hash that they have learnt, and they take turns; or
 * (parallel) each has a core of its own and they have their turns at the same time: see cores.c.
 *
 * With two cores (proxy.two_cores) the same scenarios run in real time: see rings.h. Cycles are not measured then. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/ring/peers.h"
#include "bench/ring/proxy.h"
#include "bench/ring/tls.h"
#include "dataplane/net/rss.h"

#define RB_START_US (1000 * 1000000ULL)
#define RB_GAP_US 50 /* a turn that takes longer was interrupted by the host */

/* What has been measured since the last rb_loop_measure(). */
struct rb_tally {
    uint64_t cycles, turns;          /* of the proxy, host gaps left out */
    uint64_t gap_cycles, gaps;       /* of turns that the host interrupted */
    uint64_t frames_in, frames_out;  /* as the proxy sees them */
    uint64_t data_in, data_out;      /* frames with payload */
    uint64_t bytes_in, bytes_out;    /* payload */
};

struct rb_loop_config {
    struct rb_proxy_config proxy;
    struct rb_peers_config peers;
    uint32_t burst;
    bool cold;         /* flush frames and descriptors from the caches before each turn */
    bool evict;        /* drive everything out of the caches before each turn */
    bool cycles_clock;
    bool parallel;     /* several workers, each on a core of its own */
};

struct rb_cores;

struct rb_loop {
    struct rb_loop_config cfg;
    struct rb_proxy proxy;
    struct rb_peers peers;
    struct rb_control control;
    bool has_control; /* TLS: somebody hands keys over */
    struct rb_tally tally;
    uint64_t now_ns;
    struct {
        uint64_t us;
    } __attribute__((aligned(128))) due[RB_MAX_WORKERS]; /* the workers' deadlines */
    struct hr_rss rss;    /* how the card spreads flows over several workers */
    struct rb_queue *held; /* several workers: frames for each, which its queue had no room for */
    struct rb_cores *cores; /* NULL: all on this one */
    uint64_t wake_ns;     /* the scenario's own next event, UINT64_MAX: none */
    uint64_t tsc_hz, tsc_start;
    uint64_t rdtsc_cycles; /* what taking the time costs */
    bool counted;         /* turns go through rb_turn_counted() */
    bool measuring;
    bool smooth_gaps;     /* an interrupted turn moves the clock by no more than the last undisturbed one */
    bool gap;             /* the last turn was interrupted */
    bool frozen;          /* the generator does nothing */
    bool still;           /* time passes only while there is nothing to do */
    uint64_t last_cycles; /* of the last turn, as the clock sees it */
    uint64_t calm_cycles; /* of the last undisturbed one */
    /* Sees each frame from the generator; true: it keeps the frame. NULL: none. */
    bool (*hold_take)(void *owner, struct rte_mbuf *frame);
    void *hold_owner;
    uint8_t *evictor;
};

void rb_loop_open(struct rb_loop *l, const struct rb_loop_config *cfg);
void rb_loop_close(struct rb_loop *l);

/* Every part once. */
void rb_loop_step(struct rb_loop *l);
/* What that is with two cores. */
void rb_loop_step_two_cores(struct rb_loop *l);
/* Starts a measurement (true) or ends it. */
void rb_loop_measure(struct rb_loop *l, bool on);

/* Opens n clients and waits until as many sessions are up; dies when they do not come. */
void rb_loop_connect(struct rb_loop *l, uint32_t n);
/* Steps until nothing is queued or in flight anywhere, at most so long. */
void rb_loop_settle(struct rb_loop *l, uint64_t max_us);

/* Several workers: sorts what the generator sent. */
void rb_loop_spread(struct rb_loop *l);
/* Has a worker anything to do? */
bool rb_loop_due(const struct rb_loop *l, uint32_t worker, uint64_t now_us);
/* A worker's frames, to its queue of the card, and what it sent to q. Both return bytes. */
uint32_t rb_wire_in(struct rb_loop *l, uint32_t worker, struct rb_tally *tally);
uint32_t rb_wire_out(struct rb_loop *l, uint32_t worker, struct rb_queue *q, struct rb_tally *tally);

/* The workers' turns of one step at the same time, and what is around them (cores.c). *ret_most: the bytes of the one that
 * had most. */
void rb_cores_open(struct rb_loop *l);
void rb_cores_close(struct rb_loop *l);
bool rb_cores_step(struct rb_loop *l, uint64_t now_us, uint32_t *ret_most);

/* Counts a turn; a frame that starts at p. */
void rb_tally_turn(struct rb_tally *t, uint64_t cycles, bool gap);
void rb_tally_in(struct rb_tally *t, const uint8_t *p);
void rb_tally_out(struct rb_tally *t, const uint8_t *p);

/* Real time since the loop was opened, on the loop's scale. */
uint64_t rb_wall_ns(const struct rb_loop *l);

/* A worker's turn, and the cycles that it took; was it interrupted? */
uint64_t rb_turn_cycles(struct rb_loop *l, uint32_t worker, uint64_t now_us);
bool rb_is_gap(const struct rb_loop *l, uint64_t cycles);

/* The worker's turn. Two functions with one body: callgrind collects in the second alone. */
bool rb_turn(struct hr_worker *w, uint64_t now_us, uint64_t *ret_due_us);
bool rb_turn_counted(struct hr_worker *w, uint64_t now_us, uint64_t *ret_due_us);
