/* Proportional rate reduction (RFC 9937), ACK by ACK. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"

#define MSS 1000u

/* What leaves when the window allows, in whole segments. */
static uint32_t leave(struct hr_tcp_prr *p, uint32_t *pipe, uint32_t cwnd)
{
    uint32_t n = 0;
    while (*pipe + MSS <= cwnd) {
        *pipe += MSS;
        p->out += MSS;
        n++;
    }
    return n;
}

/* 6.1: bytes SACKed before do not come again, those of the ACK that began it do. */
static void test_begin(void **state)
{
    struct hr_tcp_prr p;
    struct hr_tcp_delivered d = {.sacked = 1000, .acked = 500};
    (void)state;
    hr_tcp_prr_begin(&p, 20000, 3000, &d);
    assert_int_equal(p.recover_fs, 20000 - 2000 + 500);
    assert_int_equal(p.delivered, 0);
    assert_int_equal(p.out, 0);
}

/* 6.2: one segment of a hundred is lost; while more than ssthresh is in flight, 7 leave for 10 that arrive. */
static void test_proportional(void **state)
{
    struct hr_tcp_prr p;
    struct hr_tcp_delivered d = {.sacked = MSS};
    uint32_t ssthresh = 70 * MSS, pipe = 96 * MSS, sent = 0;
    (void)state;
    hr_tcp_prr_begin(&p, 100 * MSS, 3 * MSS, &d);
    uint32_t cwnd = hr_tcp_prr_cwnd(&p, pipe, ssthresh, MSS, MSS, false);
    assert_int_equal(cwnd, pipe + 715); /* 7/9.8 of a segment */
    pipe += MSS; /* the fast retransmission leaves whatever the window says */
    p.out += MSS;
    for (int i = 0; i < 97 && pipe > ssthresh; i++) {
        pipe -= MSS;
        cwnd = hr_tcp_prr_cwnd(&p, pipe, ssthresh, MSS, MSS, false);
        assert_true(cwnd >= pipe);
        sent += leave(&p, &pipe, cwnd);
        assert_true((uint64_t)p.out <= (uint64_t)p.delivered * 70 / 98 + 2 * MSS);
    }
    assert_true(pipe <= ssthresh + MSS && pipe >= ssthresh - MSS);
    assert_true(sent >= 60 && sent <= 70);
}

/* 6.2: after heavy loss what is in flight is below ssthresh: as much leaves as arrives, and a segment more where
 * recovery goes well. */
static void test_bounds_below_ssthresh(void **state)
{
    struct hr_tcp_prr p;
    struct hr_tcp_delivered d = {.sacked = MSS};
    (void)state;
    hr_tcp_prr_begin(&p, 100 * MSS, MSS, &d);
    assert_int_equal(hr_tcp_prr_cwnd(&p, 10 * MSS, 70 * MSS, MSS, MSS, false), 11 * MSS); /* conservative */
    p.out = MSS;
    assert_int_equal(hr_tcp_prr_cwnd(&p, 10 * MSS, 70 * MSS, MSS, MSS, true), 12 * MSS); /* slow start */
    p.out += 2 * MSS;
    assert_int_equal(hr_tcp_prr_cwnd(&p, 10 * MSS, 70 * MSS, MSS, 0, false), 10 * MSS); /* nothing for nothing */
    assert_int_equal(hr_tcp_prr_cwnd(&p, 69 * MSS + 500, 70 * MSS, MSS, 5 * MSS, true), 70 * MSS); /* to ssthresh */
}

/* 6.2: what was held back may follow, up to what was delivered. */
static void test_catches_up(void **state)
{
    struct hr_tcp_prr p;
    struct hr_tcp_delivered d = {0};
    (void)state;
    hr_tcp_prr_begin(&p, 100 * MSS, 0, &d);
    hr_tcp_prr_cwnd(&p, 20 * MSS, 70 * MSS, MSS, 10 * MSS, false); /* nothing to send then */
    p.out = MSS;
    assert_int_equal(hr_tcp_prr_cwnd(&p, 20 * MSS, 70 * MSS, MSS, MSS, false), 30 * MSS);
}

/* 6.2: the first retransmission leaves even if the arithmetic grants nothing. */
static void test_forces_the_first(void **state)
{
    struct hr_tcp_prr p;
    struct hr_tcp_delivered d = {0};
    (void)state;
    hr_tcp_prr_begin(&p, 100 * MSS, 0, &d);
    assert_int_equal(hr_tcp_prr_cwnd(&p, 90 * MSS, 70 * MSS, MSS, 0, false), 91 * MSS);
    p.out = MSS;
    assert_int_equal(hr_tcp_prr_cwnd(&p, 90 * MSS, 70 * MSS, MSS, 0, false), 90 * MSS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),       cmocka_unit_test(test_proportional),
        cmocka_unit_test(test_bounds_below_ssthresh), cmocka_unit_test(test_catches_up),
        cmocka_unit_test(test_forces_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
