/* Two loops that have nothing to do with networks. A TSC cycle is worth more or less core time as the host boosts or
 * throttles, and memory is nearer or farther: figures of the bench are to be read beside these. */
#include <rte_cycles.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"

#define CHUNK 20000u /* steps: short, so that most chunks pass without the host's interruptions */
#define CHUNKS 101u
#define LINE 64u
#define HUGE_PAGE (2u << 20)

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Cycles per step: the median of the chunks. */
static double cycles_of(uint32_t (*loop)(const uint32_t *next, uint32_t at, uint32_t n), const uint32_t *next)
{
    double chunks[CHUNKS];
    volatile uint32_t at = 0;
    unsigned aux;
    for (uint32_t i = 0; i < CHUNKS; i++) {
        uint64_t begun = __rdtscp(&aux);
        at = loop(next, at, CHUNK); /* goes on where the last chunk ended */
        chunks[i] = (double)(__rdtscp(&aux) - begun) / CHUNK;
    }
    qsort(chunks, CHUNKS, sizeof(chunks[0]), by_value);
    return chunks[CHUNKS / 2];
}

/* A chain of one multiplication and one addition per step: latency of the core, no memory. */
static uint32_t compute(const uint32_t *next, uint32_t at, uint32_t n)
{
    uint64_t x = at;
    for (uint32_t i = 0; i < n; i++) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        __asm__ volatile("" : "+r"(x));
    }
    return (uint32_t)x;
}

static uint32_t chase(const uint32_t *next, uint32_t at, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        at = next[at];
    return at;
}

/* One cycle through all lines in random order. */
static uint32_t *ring_of_lines(uint32_t bytes)
{
    uint32_t n = bytes / LINE, *order = calloc(n, sizeof(*order)), *next = aligned_alloc(HUGE_PAGE, bytes < HUGE_PAGE ? HUGE_PAGE : bytes);
    uint64_t rng = 88172645463325252ULL;
    if (!order || !next) {
        fprintf(stderr, "ring bench: no memory\n");
        exit(1);
    }
    (void)madvise(next, bytes < HUGE_PAGE ? HUGE_PAGE : bytes, MADV_HUGEPAGE); /* memory's own latency, not that of page tables */
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n - 1; i > 0; i--) {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        uint32_t j = (uint32_t)(rng % (i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (uint32_t i = 0; i < n; i++)
        next[order[i] * (LINE / 4)] = order[(i + 1) % n] * (LINE / 4);
    free(order);
    return next;
}

void rb_scenario_reference(const struct rb_options *o)
{
    struct rb_metric fixed = {"compute_loop", "TSC cycles", "per dependent multiply and add"};
    struct rb_metric own = {"chase_1mb", "TSC cycles", "per dependent load, random lines of 1 MB"};
    struct rb_metric shared = {"chase_8mb", "TSC cycles", "per dependent load, random lines of 8 MB"};
    struct rb_metric far = {"chase_64mb", "TSC cycles", "per dependent load, random lines of 64 MB"};
    uint32_t *own_ring = ring_of_lines(1u << 20), *shared_ring = ring_of_lines(8u << 20), *far_ring = ring_of_lines(64u << 20);
    for (uint32_t i = 0; i < o->rounds; i++) {
        rb_metric_add(&fixed, cycles_of(compute, NULL));
        rb_metric_add(&own, cycles_of(chase, own_ring));
        rb_metric_add(&shared, cycles_of(chase, shared_ring));
        rb_metric_add(&far, cycles_of(chase, far_ring));
    }
    rb_print_one(o->label, "tsc_ghz", "GHz", "of the time-stamp counter", (double)rte_get_tsc_hz() / 1e9);
    rb_metric_print(&fixed, o->label);
    rb_metric_print(&own, o->label);
    rb_metric_print(&shared, o->label);
    rb_metric_print(&far, o->label);
    free(own_ring);
    free(shared_ring);
    free(far_ring);
}
