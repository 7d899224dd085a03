#include "bench/e2e/load/schedule.h"

#include <math.h>
#include <stdlib.h>

#define MAX_ARRIVALS (64u << 20)

int ld_schedule_make(struct ld_schedule *schedule, double rate, double seconds, uint64_t seed)
{
    const double end_ns = seconds * 1e9, mean_ns = 1e9 / rate;
    double expected = rate * seconds;
    if (!(rate > 0) || !(seconds > 0) || expected > MAX_ARRIVALS / 2)
        return HR_E_TOO_LARGE;
    /* Ten standard deviations above what is expected. */
    uint32_t cap = (uint32_t)(expected + 10 * sqrt(expected)) + 16;
    uint64_t *due_ns = malloc(cap * sizeof(*due_ns));
    if (!due_ns)
        return HR_E_NOMEM;
    uint32_t n = 0;
    double at_ns = 0;
    while (n < cap) {
        double u = (double)((ld_random(&seed) >> 11) + 1) / 9007199254740993.0; /* in (0, 1) */
        at_ns += -log(u) * mean_ns;
        if (at_ns >= end_ns)
            break;
        due_ns[n++] = (uint64_t)at_ns;
    }
    *schedule = (struct ld_schedule){.due_ns = due_ns, .n = n};
    return 0;
}

void ld_schedule_free(struct ld_schedule *schedule)
{
    free(schedule->due_ns);
    *schedule = (struct ld_schedule){0};
}
