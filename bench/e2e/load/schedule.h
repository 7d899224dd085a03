/* When requests are due: a Poisson process, drawn before the run, so that the load does not wait for answers. */
#pragma once

#include <stdint.h>

#include "shared/base/error.h"

struct ld_schedule {
    uint64_t *due_ns; /* since the start, ascending */
    uint32_t n;
};

/* Arrivals of `rate` per second for `seconds`. The same seed gives the same schedule. NOMEM, TOO_LARGE. */
HR_MUST_CHECK int ld_schedule_make(struct ld_schedule *schedule, double rate, double seconds, uint64_t seed);
void ld_schedule_free(struct ld_schedule *schedule);

/* A fast generator of 64 random bits (splitmix64). */
static inline uint64_t ld_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
