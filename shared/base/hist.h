/* A latency histogram: HdrHistogram's bucket layout with three significant digits, lowest value 1.
 *
 * Values below 2,048 are counted exactly; above, each doubling of the range has 1,024 buckets, so that no value is off
 * by more than a thousandth. Slots are numbered as HdrHistogram numbers them, so counts can be exchanged with its other
 * implementations and histograms of several threads or runs merge by addition. A percentile is answered as
 * HdrHistogram answers it: by the highest value of the bucket that holds it.
 *
 * Values have the caller's unit, usually nanoseconds. What exceeds HR_HIST_MAX is counted in the last bucket and in
 * `clamped`. Memory is the caller's, some 270 KB; an all-zero histogram is an empty one. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define HR_HIST_HALF 1024u /* buckets per doubling */
#define HR_HIST_MAX ((1ULL << 42) - 1) /* 73 minutes in nanoseconds */
#define HR_HIST_SLOTS (33u * HR_HIST_HALF)

struct hr_hist {
    uint64_t n;       /* values recorded */
    uint64_t clamped; /* of them above HR_HIST_MAX */
    uint64_t min, max; /* as recorded; only with n > 0 */
    uint64_t counts[HR_HIST_SLOTS];
};

void hr_hist_reset(struct hr_hist *h);
void hr_hist_record_n(struct hr_hist *h, uint64_t value, uint64_t n);
static inline void hr_hist_record(struct hr_hist *h, uint64_t value)
{
    hr_hist_record_n(h, value, 1);
}
/* Adds what from has recorded. */
void hr_hist_merge(struct hr_hist *h, const struct hr_hist *from);

/* percentile: 0 to 100. 0 where nothing is recorded. */
uint64_t hr_hist_percentile(const struct hr_hist *h, double percentile);
/* Of the middles of the buckets. */
double hr_hist_mean(const struct hr_hist *h);

/* The slot that counts a value, and the values that a slot counts. */
uint32_t hr_hist_slot(uint64_t value);
uint64_t hr_hist_slot_lowest(uint32_t slot);
uint64_t hr_hist_slot_highest(uint32_t slot);
/* The first slot from `from` on that has counted anything; HR_HIST_SLOTS if there is none. */
uint32_t hr_hist_next(const struct hr_hist *h, uint32_t from);
/* As JSON: [[slot, count], ...], slots that have counted only. */
void hr_hist_print(FILE *to, const struct hr_hist *h);
