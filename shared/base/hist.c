#include "shared/base/hist.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define HALF_BITS 10
#define SUB_BITS (HALF_BITS + 1) /* values of so many bits are counted exactly */

_Static_assert(1u << HALF_BITS == HR_HIST_HALF, "one constant");
_Static_assert((HR_HIST_MAX >> (HR_HIST_SLOTS / HR_HIST_HALF - 2)) >> SUB_BITS == 0, "the last slot holds HR_HIST_MAX");

void hr_hist_reset(struct hr_hist *h)
{
    memset(h, 0, sizeof(*h));
}

/* A bucket is what one doubling needs: bucket b counts in units of 2^b, its lower half overlaps the one before and is
 * not used, except in bucket 0. */
uint32_t hr_hist_slot(uint64_t value)
{
    uint64_t low_bits = (1u << SUB_BITS) - 1;
    uint32_t bucket = 64 - SUB_BITS - (uint32_t)__builtin_clzll(value | low_bits);
    return bucket * HR_HIST_HALF + (uint32_t)(value >> bucket);
}

static uint32_t bucket_of(uint32_t slot)
{
    return slot < 2 * HR_HIST_HALF ? 0 : slot / HR_HIST_HALF - 1;
}

uint64_t hr_hist_slot_lowest(uint32_t slot)
{
    uint32_t bucket = bucket_of(slot);
    return (uint64_t)(slot - bucket * HR_HIST_HALF) << bucket;
}

uint64_t hr_hist_slot_highest(uint32_t slot)
{
    return hr_hist_slot_lowest(slot) + (1ULL << bucket_of(slot)) - 1;
}

void hr_hist_record_n(struct hr_hist *h, uint64_t value, uint64_t n)
{
    if (n == 0)
        return;
    if (value > HR_HIST_MAX) {
        value = HR_HIST_MAX;
        h->clamped += n;
    }
    h->min = h->n == 0 || value < h->min ? value : h->min;
    h->max = h->n == 0 || value > h->max ? value : h->max;
    h->n += n;
    h->counts[hr_hist_slot(value)] += n;
}

void hr_hist_merge(struct hr_hist *h, const struct hr_hist *from)
{
    if (from->n == 0)
        return;
    h->min = h->n == 0 || from->min < h->min ? from->min : h->min;
    h->max = h->n == 0 || from->max > h->max ? from->max : h->max;
    h->n += from->n;
    h->clamped += from->clamped;
    for (uint32_t i = 0; i < HR_HIST_SLOTS; i++)
        h->counts[i] += from->counts[i];
}

uint64_t hr_hist_percentile(const struct hr_hist *h, double percentile)
{
    if (h->n == 0)
        return 0;
    /* The next double below, or the rounding up that follows could step over a whole rank. */
    double p = fmin(fmax(nextafter(percentile, -INFINITY), 0), 100);
    double rank = ceil(p * (double)h->n / 100);
    uint64_t want = rank < 1 ? 1 : (uint64_t)rank, sum = 0;
    for (uint32_t i = 0; i < HR_HIST_SLOTS; i++) {
        sum += h->counts[i];
        if (sum >= want)
            return percentile <= 0 ? hr_hist_slot_lowest(i) : hr_hist_slot_highest(i);
    }
    return h->max;
}

double hr_hist_mean(const struct hr_hist *h)
{
    double sum = 0;
    for (uint32_t i = hr_hist_next(h, 0); i < HR_HIST_SLOTS; i = hr_hist_next(h, i + 1)) {
        uint64_t middle = hr_hist_slot_lowest(i) + ((1ULL << bucket_of(i)) >> 1);
        sum += (double)middle * (double)h->counts[i];
    }
    return h->n ? sum / (double)h->n : 0;
}

uint32_t hr_hist_next(const struct hr_hist *h, uint32_t from)
{
    while (from < HR_HIST_SLOTS && h->counts[from] == 0)
        from++;
    return from;
}

void hr_hist_print(FILE *to, const struct hr_hist *h)
{
    const char *comma = "";
    fprintf(to, "[");
    for (uint32_t i = hr_hist_next(h, 0); i < HR_HIST_SLOTS; i = hr_hist_next(h, i + 1)) {
        fprintf(to, "%s[%" PRIu32 ", %" PRIu64 "]", comma, i, h->counts[i]);
        comma = ", ";
    }
    fprintf(to, "]");
}
