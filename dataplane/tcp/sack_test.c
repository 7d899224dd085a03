#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"

static void test_add_joins(void **state)
{
    struct hr_tcp_scoreboard sb = {0};
    (void)state;
    assert_int_equal(hr_tcp_sack_add(&sb, 100, 200), 100);
    assert_int_equal(hr_tcp_sack_add(&sb, 300, 400), 100);
    assert_int_equal(hr_tcp_sack_add(&sb, 500, 600), 100);
    assert_int_equal(sb.n, 3);
    assert_int_equal(hr_tcp_sack_add(&sb, 150, 180), 0); /* known */
    assert_int_equal(hr_tcp_sack_add(&sb, 200, 300), 100); /* closes a gap */
    assert_int_equal(sb.n, 2);
    assert_int_equal(hr_tcp_sack_add(&sb, 50, 700), 650 - 400);
    assert_int_equal(sb.n, 1);
    assert_int_equal(sb.bytes, 650);
}

static void test_trim(void **state)
{
    struct hr_tcp_scoreboard sb = {0};
    (void)state;
    hr_tcp_sack_add(&sb, 100, 200);
    hr_tcp_sack_add(&sb, 300, 400);
    hr_tcp_sack_trim(&sb, 350);
    assert_int_equal(sb.n, 1);
    assert_int_equal(sb.bytes, 50);
    assert_int_equal(sb.range[0].start, 350);
    hr_tcp_sack_trim(&sb, 400);
    assert_int_equal(sb.n, 0);
    assert_int_equal(sb.bytes, 0);
}

static void test_holes(void **state)
{
    struct hr_tcp_scoreboard sb = {0};
    struct hr_tcp_range r;
    (void)state;
    assert_true(hr_tcp_sack_hole(NULL, 10, 50, &r));
    assert_int_equal(r.start, 10);
    assert_int_equal(r.end, 50);
    hr_tcp_sack_add(&sb, 100, 200);
    hr_tcp_sack_add(&sb, 300, 400);
    assert_true(hr_tcp_sack_hole(&sb, 150, 500, &r));
    assert_int_equal(r.start, 200);
    assert_int_equal(r.end, 300);
    assert_true(hr_tcp_sack_hole(&sb, 200, 250, &r));
    assert_int_equal(r.end, 250);
    assert_false(hr_tcp_sack_hole(&sb, 300, 400, &r));
    assert_true(hr_tcp_sack_hole(&sb, 300, 401, &r));
    assert_int_equal(r.start, 400);
    assert_int_equal(hr_tcp_sack_bytes(&sb, 150, 350), 100);
    assert_int_equal(hr_tcp_sack_bytes(NULL, 150, 350), 0);
}

/* RFC 6675 4: three ranges above, or more than two segments' worth of bytes. */
static void test_lost_edge(void **state)
{
    struct hr_tcp_scoreboard sb = {0};
    (void)state;
    assert_int_equal(hr_tcp_sack_lost_edge(NULL, 50, 1000), 50);
    hr_tcp_sack_add(&sb, 1100, 2100);
    assert_int_equal(hr_tcp_sack_lost_edge(&sb, 100, 1000), 100);
    hr_tcp_sack_add(&sb, 2100, 3100);
    assert_int_equal(hr_tcp_sack_lost_edge(&sb, 100, 1000), 100); /* exactly two are not enough */
    hr_tcp_sack_add(&sb, 3100, 3101);
    assert_int_equal(hr_tcp_sack_lost_edge(&sb, 100, 1000), 1100);
    memset(&sb, 0, sizeof(sb));
    hr_tcp_sack_add(&sb, 200, 210);
    hr_tcp_sack_add(&sb, 300, 310);
    assert_int_equal(hr_tcp_sack_lost_edge(&sb, 100, 1000), 100);
    hr_tcp_sack_add(&sb, 400, 410);
    assert_int_equal(hr_tcp_sack_lost_edge(&sb, 100, 1000), 200);
}

static void test_full(void **state)
{
    struct hr_tcp_scoreboard sb = {0};
    (void)state;
    for (uint32_t i = 0; i < HR_TCP_SACK_RANGES; i++)
        assert_int_equal(hr_tcp_sack_add(&sb, 100 + 20 * i, 110 + 20 * i), 10);
    assert_int_equal(hr_tcp_sack_add(&sb, 5000, 5010), 0);
    assert_int_equal(sb.n, HR_TCP_SACK_RANGES);
    assert_int_equal(hr_tcp_sack_add(&sb, 110, 120), 10); /* joining still works */
    assert_int_equal(sb.n, HR_TCP_SACK_RANGES - 1);
}

/* Against a map of bytes, around the wrap of the sequence space. */
static void test_against_model(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 300; round++) {
        struct hr_tcp_scoreboard sb = {0};
        uint8_t have[600] = {0};
        uint32_t base = (uint32_t)-300, una = 0;
        for (unsigned step = 0; step < 60; step++) {
            uint32_t a = una + 1 + (uint32_t)rand() % (598 - una), n = 1 + (uint32_t)rand() % 40, news = 0;
            uint32_t b = RTE_MIN(a + n, 599u);
            for (uint32_t i = a; i < b; i++) {
                news += !have[i];
                have[i] = 1;
            }
            if (a < b)
                assert_int_equal(hr_tcp_sack_add(&sb, base + a, base + b), news);
            if (rand() % 10 == 0) {
                una = RTE_MIN(una + (uint32_t)rand() % 60, 590u);
                memset(have, 0, una);
                hr_tcp_sack_trim(&sb, base + una);
            }
            uint32_t total = 0, lo = una + (uint32_t)rand() % (600 - una), within = 0;
            for (uint32_t i = 0; i < 600; i++) {
                total += have[i];
                within += i >= lo && have[i];
            }
            assert_int_equal(sb.bytes, total);
            assert_int_equal(hr_tcp_sack_bytes(&sb, base + lo, base + 600), within);
            for (uint32_t i = 1; i < sb.n; i++)
                assert_true(hr_seq_lt(sb.range[i - 1].end, sb.range[i].start));
            struct hr_tcp_range r;
            uint32_t h = lo;
            while (h < 600 && have[h])
                h++;
            bool any = hr_tcp_sack_hole(&sb, base + lo, base + 600, &r);
            assert_int_equal(any, h < 600);
            if (any) {
                assert_int_equal(r.start, base + h);
                while (h < 600 && !have[h])
                    h++;
                assert_int_equal(r.end, base + h);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_joins), cmocka_unit_test(test_trim), cmocka_unit_test(test_holes),
        cmocka_unit_test(test_lost_edge), cmocka_unit_test(test_full), cmocka_unit_test(test_against_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
