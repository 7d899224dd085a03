/* SACK blocks as they arrive: which are believed, and which report a duplicate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define MSS 1460u

/* Ten segments are in flight, a round trip of 20 ms ago. */
static void in_flight(bool ts)
{
    establish(ts, true, true);
    conn->min_rtt_us = 20000; /* the handshake took no time */
    queue(10 * conn->smss);
    said();
    assert_int_equal(n_out, 10);
    pass(20000);
}

static struct hr_tcp_xmit *xmit(void)
{
    return &conn->flight->xmit;
}

static void block(uint32_t i, uint32_t start, uint32_t end)
{
    opts.sack[i] = (struct hr_tcp_range){ack + start, ack + end};
}

/* RFC 2018 4, 5: what is reported is noted, once, and a block may grow at both ends. */
static void test_blocks_are_noted(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 1;
    block(0, 4 * MSS, 5 * MSS);
    feed(seq, ack, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, MSS);
    feed(seq, ack, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, MSS);
    block(0, 3 * MSS, 6 * MSS);
    feed(seq, ack, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, 3 * MSS);
    opts.n_sack = 2;
    block(0, 8 * MSS, 9 * MSS);
    block(1, 3 * MSS, 6 * MSS);
    feed(seq, ack, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, 4 * MSS);
    assert_int_equal(xmit()->n_sacked, 2);
    opts.n_sack = 0;
    feed(seq, ack + 7 * MSS, ACK, 0); /* what SND.UNA passes is forgotten */
    assert_int_equal(xmit()->sacked_bytes, MSS);
    hr_tcp_abort(tcp, conn);
}

/* What was never sent, was acknowledged long ago, is empty, or begins where the peer says there is a gap. */
static void test_blocks_are_refused(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 4;
    block(0, 10 * MSS, 11 * MSS);
    block(1, 5000, 4000);
    block(2, 3000, 3000);
    block(3, 0, MSS);
    feed(seq, ack, ACK, 0);
    block(0, 0u - 5000, 0u - 4000);
    block(1, 0u - 5000, 9000);
    block(2, 9 * MSS, 10 * MSS + 1);
    feed(seq, ack, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, 0);
    opts.n_sack = 1;
    block(0, MSS, 2 * MSS); /* the gap would be filled */
    feed(seq, ack + MSS, ACK, 0);
    assert_int_equal(xmit()->sacked_bytes, 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    hr_tcp_abort(tcp, conn);
}

/* RFC 2883 4.1: below the cumulative acknowledgement. */
static void test_duplicate_below(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 1;
    block(0, 0, MSS);
    feed(seq, ack + 2 * MSS, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 1);
    assert_int_equal(xmit()->sacked_bytes, 0);
    opts.n_sack = 2; /* and a gap elsewhere */
    block(0, MSS, 2 * MSS);
    block(1, 5 * MSS, 6 * MSS);
    feed(seq, ack + 2 * MSS, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 2);
    assert_int_equal(xmit()->sacked_bytes, MSS);
    opts.n_sack = 1; /* the last ones of a flight, told when there is none */
    feed(seq, ack + 10 * MSS, ACK, 0);
    assert_null(conn->flight);
    block(0, 9 * MSS, 10 * MSS);
    feed(seq, ack + 10 * MSS, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 4);
}

/* RFC 2883 4.2: inside the second block. */
static void test_duplicate_inside(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 2;
    block(0, 5 * MSS, 6 * MSS);
    block(1, 4 * MSS, 7 * MSS);
    feed(seq, ack, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 1);
    assert_int_equal(xmit()->sacked_bytes, 3 * MSS);
    block(0, 8 * MSS, 9 * MSS); /* not inside: an ordinary block */
    feed(seq, ack, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 1);
    assert_int_equal(xmit()->sacked_bytes, 4 * MSS);
    hr_tcp_abort(tcp, conn);
}

/* A duplicate of what was never sent, or a gigabyte ago, is none. */
static void test_forged_duplicate(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 1;
    block(0, 0x80000000u, 0x80000000u + 100);
    feed(seq, ack + MSS, ACK, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_dsack_rx], 0);
    assert_int_equal(conn->rack_mult, 0);
    hr_tcp_abort(tcp, conn);
}

/* RFC 2018 8: after a timeout nothing counts as SACKed; what was never SACKed goes first. */
static void test_timeout_forgets(void **state)
{
    (void)state;
    in_flight(false);
    opts.n_sack = 1;
    block(0, 4 * MSS, 6 * MSS);
    feed(seq, ack, ACK, 0);
    opts.n_sack = 0;
    assert_int_equal(xmit()->sacked_bytes, 2 * MSS);
    pass(2000000);
    assert_true(stats.counters[HR_CTR_tcp_rto] >= 1);
    assert_int_equal(xmit()->sacked_bytes, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_reneged], 0);
    hr_tcp_abort(tcp, conn);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_blocks_are_noted), T(test_blocks_are_refused), T(test_duplicate_below),
        T(test_duplicate_inside), T(test_forged_duplicate),   T(test_timeout_forgets),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
