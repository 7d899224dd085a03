#include "dataplane/tcp/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/seq.h"

static void test_syn_of_linux(void **state)
{
    static const uint8_t o[] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7};
    struct hr_tcp_opts r;
    (void)state;
    assert_int_equal(hr_tcp_opts_parse(o, sizeof(o), &r), 0);
    assert_true(r.has_mss && r.mss == 1460 && r.sack_ok && r.has_ts && r.tsval == 0x01020304);
    assert_true(r.has_wscale && r.wscale == 7);
}

static void test_write_and_parse(void **state)
{
    struct hr_tcp_opts o = {.has_mss = true, .mss = 8960, .has_wscale = true, .wscale = 9, .sack_ok = true,
                            .has_ts = true, .tsval = 5, .tsecr = 6}, r;
    uint8_t buf[HR_TCP_OPTS_MAX];
    (void)state;
    uint32_t n = hr_tcp_opts_write(buf, &o);
    assert_int_equal(n % 4, 0);
    assert_int_equal(hr_tcp_opts_parse(buf, n, &r), 0);
    assert_memory_equal(&r, &o, sizeof(r));

    struct hr_tcp_opts s = {.has_ts = true, .tsval = 1, .n_sack = 4,
                            .sack = {{1, 2}, {3, 4}, {5, 6}, {7, 8}}};
    n = hr_tcp_opts_write(buf, &s);
    assert_int_equal(n, 40); /* three blocks beside timestamps */
    assert_int_equal(hr_tcp_opts_parse(buf, n, &r), 0);
    assert_int_equal(r.n_sack, 3);
    assert_int_equal(r.sack[2].end, 6);
    s.has_ts = false;
    n = hr_tcp_opts_write(buf, &s);
    assert_int_equal(hr_tcp_opts_parse(buf, n, &r), 0);
    assert_int_equal(r.n_sack, 4);
    assert_int_equal(r.sack[3].start, 7);
}

static void test_malformed(void **state)
{
    static const struct {
        uint8_t len, bytes[12];
    } bad[] = {
        {1, {2}},                /* no length */
        {2, {2, 0}},             /* length 0 would never end */
        {2, {9, 1}},             /* shorter than kind and length */
        {3, {2, 4, 5}},          /* runs over the end */
        {3, {2, 3, 5}},          /* MSS of the wrong length */
        {4, {3, 4, 1, 1}},       /* window scale */
        {3, {4, 3, 0}},          /* SACK permitted */
        {6, {8, 6, 0, 0, 0, 0}}, /* timestamps */
        {6, {5, 6, 0, 0, 0, 0}}, /* half a SACK block */
        {2, {5, 2}},             /* none at all */
    };
    struct hr_tcp_opts r;
    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(hr_tcp_opts_parse(bad[i].bytes, bad[i].len, &r), HR_E_INVALID);
}

static void test_tolerated(void **state)
{
    static const uint8_t unknown[] = {1, 254, 4, 9, 9, 3, 3, 200, 0, 77}; /* END: what follows is padding */
    struct hr_tcp_opts r;
    (void)state;
    assert_int_equal(hr_tcp_opts_parse(unknown, sizeof(unknown), &r), 0);
    assert_true(r.has_wscale);
    assert_int_equal(r.wscale, 14); /* RFC 7323 2.3 */
    assert_int_equal(hr_tcp_opts_parse(unknown, 0, &r), 0);
    assert_false(r.has_wscale);
}

static void test_random_bytes(void **state)
{
    (void)state;
    srand(3);
    for (unsigned i = 0; i < 200000; i++) {
        struct hr_tcp_opts r;
        uint32_t len = (uint32_t)rand() % 41;
        uint8_t *b = malloc(len + 1); /* exactly so long, for the sanitizer */
        for (uint32_t k = 0; k < len; k++)
            b[k] = (uint8_t)(rand() % 3 ? rand() % 11 : rand());
        if (hr_tcp_opts_parse(b, len, &r) == 0)
            assert_true(r.wscale <= 14 && r.n_sack <= 4);
        free(b);
    }
}

static void test_sequence_numbers(void **state)
{
    (void)state;
    assert_true(hr_seq_lt(0xffffffff, 0));
    assert_true(hr_seq_gt(5, 0xfffffff0));
    assert_true(hr_seq_leq(7, 7) && hr_seq_geq(7, 7) && !hr_seq_lt(7, 7) && !hr_seq_gt(7, 7));
    assert_int_equal(hr_seq_diff(2, 0xfffffffe), 4);
    assert_int_equal(hr_seq_max(0xfffffff0, 3), 3);
    assert_int_equal(hr_seq_min(0xfffffff0, 3), 0xfffffff0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syn_of_linux), cmocka_unit_test(test_write_and_parse),
        cmocka_unit_test(test_malformed),    cmocka_unit_test(test_tolerated),
        cmocka_unit_test(test_random_bytes), cmocka_unit_test(test_sequence_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
