/* Time in Headrace: unsigned 64-bit microseconds of CLOCK_MONOTONIC. Sans-IO code never asks for the time,
 * it is told. */
#pragma once

#include <stdint.h>
#include <time.h>

#define HR_US_PER_MS 1000ULL
#define HR_US_PER_S 1000000ULL

static inline uint64_t hr_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * HR_US_PER_S + (uint64_t)ts.tv_nsec / 1000;
}
