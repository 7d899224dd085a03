/* The layout against its definition, percentiles against sorted values, merging against recording everything in one. */
#include "shared/base/hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct hr_hist a, b, both;

static uint64_t random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*state >> 22) >> (*state % 43); /* 42 bits at most */
}

static void layout(void **s)
{
    for (uint64_t v = 0; v < 2048; v++) {
        assert_int_equal(hr_hist_slot(v), v);
        assert_int_equal(hr_hist_slot_highest((uint32_t)v), v);
    }
    assert_int_equal(hr_hist_slot(2048), 2048);
    assert_int_equal(hr_hist_slot(2049), 2048);
    assert_int_equal(hr_hist_slot(4095), 3071);
    assert_int_equal(hr_hist_slot(4096), 3072);
    assert_int_equal(hr_hist_slot(HR_HIST_MAX), HR_HIST_SLOTS - 1);
    /* No gap, no overlap, a thousandth at most. */
    for (uint32_t slot = 1; slot < HR_HIST_SLOTS; slot++) {
        uint64_t low = hr_hist_slot_lowest(slot), high = hr_hist_slot_highest(slot);
        assert_int_equal(low, hr_hist_slot_highest(slot - 1) + 1);
        assert_int_equal(hr_hist_slot(low), slot);
        assert_int_equal(hr_hist_slot(high), slot);
        assert_true((high - low) * 1000 <= low);
    }
}

static int by_value(const void *x, const void *y)
{
    uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;
    return (p > q) - (p < q);
}

static void percentiles(void **s)
{
    enum { N = 4096 }; /* a power of two: the percentiles of its ranks are exact */
    static uint64_t values[N];
    uint64_t state = 7;
    hr_hist_reset(&a);
    assert_int_equal(hr_hist_percentile(&a, 50), 0);
    for (int i = 0; i < N; i++) {
        values[i] = random_value(&state);
        hr_hist_record(&a, values[i]);
    }
    qsort(values, N, sizeof(values[0]), by_value);
    assert_int_equal(a.min, values[0]);
    assert_int_equal(a.max, values[N - 1]);
    for (int rank = 1; rank <= N; rank++) {
        uint64_t got = hr_hist_percentile(&a, 100.0 * rank / N);
        assert_int_equal(got, hr_hist_slot_highest(hr_hist_slot(values[rank - 1])));
    }
    assert_int_equal(hr_hist_percentile(&a, 0), hr_hist_slot_lowest(hr_hist_slot(values[0])));
    assert_int_equal(hr_hist_percentile(&a, 200), hr_hist_slot_highest(hr_hist_slot(values[N - 1])));
}

static void merging(void **s)
{
    uint64_t state = 11;
    hr_hist_reset(&a);
    hr_hist_reset(&b);
    hr_hist_reset(&both);
    hr_hist_merge(&a, &b);
    assert_int_equal(a.n, 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t v = random_value(&state), n = i % 3;
        hr_hist_record_n(i % 2 ? &a : &b, v, n);
        hr_hist_record_n(&both, v, n);
    }
    hr_hist_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof(a));
    assert_true(hr_hist_mean(&a) >= (double)a.min && hr_hist_mean(&a) <= (double)a.max);
}

static void bounds(void **s)
{
    hr_hist_reset(&a);
    hr_hist_record(&a, UINT64_MAX);
    hr_hist_record(&a, HR_HIST_MAX);
    hr_hist_record(&a, 0);
    assert_int_equal(a.n, 3);
    assert_int_equal(a.clamped, 1);
    assert_int_equal(a.counts[HR_HIST_SLOTS - 1], 2);
    assert_int_equal(hr_hist_next(&a, 0), 0);
    assert_int_equal(hr_hist_next(&a, 1), HR_HIST_SLOTS - 1);
    assert_int_equal(hr_hist_next(&a, HR_HIST_SLOTS), HR_HIST_SLOTS);
    assert_int_equal(hr_hist_percentile(&a, 100), HR_HIST_MAX);
    char text[64] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    hr_hist_print(f, &a);
    fclose(f);
    assert_string_equal(text, "[[0, 1], [33791, 2]]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),
        cmocka_unit_test(percentiles),
        cmocka_unit_test(merging),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
