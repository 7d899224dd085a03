/* That the schedule is a Poisson process: its count, its gaps, its independence of what came before. */
#include "bench/e2e/load/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>
#include <stdlib.h>
#include <cmocka.h>

static void gaps_are_exponential(void **state)
{
    struct ld_schedule s;
    const double rate = 50000, seconds = 4, mean_ns = 1e9 / rate;
    assert_int_equal(ld_schedule_make(&s, rate, seconds, 7), 0);
    /* Five standard deviations of a Poisson count. */
    assert_true(fabs(s.n - rate * seconds) < 5 * sqrt(rate * seconds));
    double sum = 0, squares = 0, products = 0, last = 0;
    uint32_t above = 0;
    for (uint32_t i = 1; i < s.n; i++) {
        assert_true(s.due_ns[i] >= s.due_ns[i - 1]);
        double gap = (double)(s.due_ns[i] - s.due_ns[i - 1]);
        sum += gap;
        squares += gap * gap;
        products += gap * last;
        above += gap > mean_ns;
        last = gap;
    }
    double n = s.n - 1, mean = sum / n, deviation = sqrt(squares / n - mean * mean);
    assert_true(fabs(mean / mean_ns - 1) < 0.02);
    assert_true(fabs(deviation / mean_ns - 1) < 0.02);          /* an exponential's deviation is its mean */
    assert_true(fabs(above / n - exp(-1)) < 0.01);              /* and e^-1 of it lies above the mean */
    assert_true(fabs((products / n - mean * mean) / (mean * mean)) < 0.02); /* neighbours are independent */
    assert_true(s.due_ns[s.n - 1] < seconds * 1e9);
    ld_schedule_free(&s);
}

static void a_seed_repeats(void **state)
{
    struct ld_schedule a, b, c;
    assert_int_equal(ld_schedule_make(&a, 1000, 1, 3), 0);
    assert_int_equal(ld_schedule_make(&b, 1000, 1, 3), 0);
    assert_int_equal(ld_schedule_make(&c, 1000, 1, 4), 0);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.due_ns, b.due_ns, a.n * sizeof(*a.due_ns));
    assert_int_not_equal(a.due_ns[0], c.due_ns[0]);
    ld_schedule_free(&a);
    ld_schedule_free(&b);
    ld_schedule_free(&c);
}

static void what_cannot_be_is_refused(void **state)
{
    struct ld_schedule s;
    assert_int_equal(ld_schedule_make(&s, 0, 1, 1), HR_E_TOO_LARGE);
    assert_int_equal(ld_schedule_make(&s, -5, 1, 1), HR_E_TOO_LARGE);
    assert_int_equal(ld_schedule_make(&s, 1e9, 1000, 1), HR_E_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_are_exponential),
        cmocka_unit_test(a_seed_repeats),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
