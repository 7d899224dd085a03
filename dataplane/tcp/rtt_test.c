#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"

static struct hr_tcp tcp = {.cfg = {.rto_min_us = 200000, .rto_max_us = 60000000}};

/* The formulas of RFC 6298 2, step by step. */
static void test_formulas(void **state)
{
    struct hr_tcp_conn c = {.rto_us = 1000000};
    (void)state;
    hr_tcp_rtt_sample(&tcp, &c, 100000);
    assert_int_equal(c.srtt_us, 100000);
    assert_int_equal(c.rttvar_us, 50000);
    assert_int_equal(c.rto_us, 300000);
    hr_tcp_rtt_sample(&tcp, &c, 300000);
    assert_int_equal(c.rttvar_us, (3 * 50000 + 200000) / 4);
    assert_int_equal(c.srtt_us, (7 * 100000 + 300000) / 8);
    assert_int_equal(c.rto_us, 125000 + 4 * 87500);
}

static void test_bounds(void **state)
{
    struct hr_tcp_conn c = {.rto_us = 1000000};
    (void)state;
    for (int i = 0; i < 100; i++)
        hr_tcp_rtt_sample(&tcp, &c, 0);
    assert_int_equal(c.rto_us, 200000);
    assert_true(c.srtt_us > 0);
    for (int i = 0; i < 100; i++)
        hr_tcp_rtt_sample(&tcp, &c, UINT32_MAX);
    assert_true(c.rto_us <= 60000000);
}

static void test_backoff(void **state)
{
    struct hr_tcp_conn c = {.rto_us = 300000};
    (void)state;
    assert_int_equal(hr_tcp_rto(&tcp, &c), 300000);
    c.backoff = 3;
    assert_int_equal(hr_tcp_rto(&tcp, &c), 2400000);
    c.backoff = 200;
    assert_int_equal(hr_tcp_rto(&tcp, &c), 60000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formulas), cmocka_unit_test(test_bounds),
                                       cmocka_unit_test(test_backoff)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
