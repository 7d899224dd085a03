/* hr-hist STEPS: reads values, one a line, half of them into one histogram and half into another, merges, and prints
 * the mean, each slot that counted ("slot LOWEST COUNT"), and then STEPS + 1 percentiles from 0 to 100, one a line. */
#include "shared/base/hist.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static struct hr_hist halves[2];
    uint64_t value, n = 0;
    long steps = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    if (steps <= 0) {
        fprintf(stderr, "usage: hr-hist STEPS <VALUES\n");
        return 2;
    }
    while (scanf("%" SCNu64, &value) == 1)
        hr_hist_record(&halves[n++ % 2], value);
    hr_hist_merge(&halves[0], &halves[1]);
    const struct hr_hist *h = &halves[0];
    printf("mean %.17g\n", hr_hist_mean(h));
    for (uint32_t i = hr_hist_next(h, 0); i < HR_HIST_SLOTS; i = hr_hist_next(h, i + 1))
        printf("slot %" PRIu64 " %" PRIu64 "\n", hr_hist_slot_lowest(i), h->counts[i]);
    for (long i = 0; i <= steps; i++)
        printf("%" PRIu64 "\n", hr_hist_percentile(h, 100.0 * (double)i / (double)steps));
    return 0;
}
