/* Two loops that have nothing to do with networks. A TSC cycle is worth more or less core time as the host boosts or
 * throttles, and memory is nearer or farther: figures of the bench are to be read beside these. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "bench/ring/report.h"
#include "bench/ring/scenario.h"

#define STEPS 2000000u
#define LINE 64u
#define HUGE_PAGE (2u << 20)

static uint64_t cycles_of(uint64_t (*loop)(const uint32_t *next, uint32_t n), const uint32_t *next, uint32_t n)
{
    unsigned aux;
    uint64_t begun = __rdtscp(&aux);
    volatile uint64_t sink = loop(next, n);
    (void)sink;
    return __rdtscp(&aux) - begun;
}

/* A chain of one multiplication and one addition per step: latency of the core, no memory. */
static uint64_t compute(const uint32_t *next, uint32_t n)
{
    uint64_t x = n;
    for (uint32_t i = 0; i < n; i++) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        __asm__ volatile("" : "+r"(x));
    }
    return x;
}

static uint64_t chase(const uint32_t *next, uint32_t n)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++)
        at = next[at];
    return at;
}

/* One cycle through all lines in random order. */
static uint32_t *ring_of_lines(uint32_t bytes)
{
    uint32_t n = bytes / LINE, *order = calloc(n, sizeof(*order)), *next = aligned_alloc(HUGE_PAGE, bytes);
    uint64_t rng = 88172645463325252ULL;
    if (!order || !next) {
        fprintf(stderr, "ring bench: no memory\n");
        exit(1);
    }
    (void)madvise(next, bytes, MADV_HUGEPAGE); /* memory's own latency, not that of page tables */
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
    struct rb_metric l2 = {"chase_8mb", "TSC cycles", "per dependent load, random lines of 8 MB"};
    struct rb_metric far = {"chase_64mb", "TSC cycles", "per dependent load, random lines of 64 MB"};
    uint32_t *near_ring = ring_of_lines(8u << 20), *far_ring = ring_of_lines(64u << 20);
    for (uint32_t i = 0; i < o->rounds; i++) {
        rb_metric_add(&fixed, (double)cycles_of(compute, NULL, STEPS) / STEPS);
        rb_metric_add(&l2, (double)cycles_of(chase, near_ring, STEPS) / STEPS);
        rb_metric_add(&far, (double)cycles_of(chase, far_ring, STEPS) / STEPS);
    }
    rb_metric_print(&fixed, o->label);
    rb_metric_print(&l2, o->label);
    rb_metric_print(&far, o->label);
    free(near_ring);
    free(far_ring);
}
