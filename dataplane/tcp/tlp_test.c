/* Tail loss probes (RFC 8985 7), rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/testflight.h"
#include "tests/support/eal.h"

/* 7.2, 7.3: two round trips after the last of several segments the last one goes again. */
static void test_probe_repeats_the_last(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    pass(RTT - 1000); /* one has passed */
    assert_int_equal(n_out, 0);
    pass(2000);
    assert_int_equal(n_out, 1);
    flight_sent_is(0, 4);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    pass(5 * RTT); /* 7.3: one probe, then the retransmission timer */
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    pass(5 * RTT + HR_WHEEL_TICK_US);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    hr_tcp_abort(tcp, conn);
}

/* 7.3: new data first, if there is any; the congestion window is not asked. */
static void test_probe_prefers_new_data(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    conn->cwnd = 5 * MSS;
    queue(3 * MSS);
    said();
    assert_int_equal(n_out, 0);
    pass(RTT + 1000);
    assert_int_equal(n_out, 1);
    flight_sent_is(0, 5);
    assert_int_equal(out[0].len, MSS);
    hr_tcp_abort(tcp, conn);
}

/* 7.2: a lone segment's ACK may be delayed; the probe then comes when the timeout would, and instead of it. */
static void test_probe_allows_for_delayed_acks(void **state)
{
    (void)state;
    flight_start(true, true, 1);
    pass(2 * RTT);
    assert_int_equal(n_out, 0);
    pass(200000 - 3 * RTT - 1000);
    assert_int_equal(n_out, 0);
    pass(50000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    flight_sent_is(0, 0);
    hr_tcp_abort(tcp, conn);
}

/* The tail is lost, the probe's SACK block tells RACK so: repaired in some two round trips, without a timeout. */
static void test_probe_repairs_the_tail(void **state)
{
    (void)state;
    flight_start(true, true, 6);
    flight_acks(2, 0, 0, RTT);
    pass(2 * RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    flight_sent_is(0, 5);
    pass(RTT);
    n_out = 0;
    flight_acks(2, 5, 6, RTT);
    pass(RTT / 4);
    assert_int_equal(n_out, 1); /* PRR: nothing has been delivered in recovery yet */
    flight_sent_is(0, 2);
    pass(RTT);
    flight_acks(3, 5, 6, RTT);
    said();
    assert_int_equal(n_out, 2);
    flight_sent_is(0, 3);
    flight_sent_is(1, 4);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    hr_tcp_abort(tcp, conn);
}

/* 7.4 case 2: the probe was the repair. It is a loss, and the window pays for it. */
static void test_probe_was_the_repair(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    flight_acks(4, 0, 0, RTT);
    pass(300000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    uint32_t cwnd = conn->cwnd;
    flight_acks(5, 0, 0, 1000);
    assert_int_equal(conn->cwnd, cwnd); /* it may have been a duplicate */
    assert_null(conn->flight);
    queue(MSS);
    said();
    pass(RTT);
    flight_acks(6, 0, 0, RTT);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 1);
    assert_true(conn->cwnd < cwnd);
    assert_false(conn->tlp_out);
}

/* 7.4 case 1: the peer reports it as a duplicate. Nothing was lost, and the reordering window stays. */
static void test_probe_was_needless(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    pass(RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    uint32_t cwnd = conn->cwnd;
    flight_acks(5, 0, 0, 2 * RTT);
    assert_true(conn->tlp_out);
    flight_reports(5, 4);
    assert_false(conn->tlp_out);
    assert_int_equal(conn->rack_mult, 0);
    queue(MSS);
    said();
    pass(RTT);
    flight_acks(6, 0, 0, RTT);
    assert_true(conn->cwnd >= cwnd);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 0);
}

/* 7.4 case 3: a duplicate ACK without any block says the same. */
static void test_probe_was_needless_no_dsack(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    pass(RTT + 1000);
    flight_acks(5, 0, 0, 2 * RTT);
    flight_acks(5, 0, 0, 0);
    assert_false(conn->tlp_out);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 0);
}

/* 7.3: no second probe before the round trip was measured again. */
static void test_probe_needs_a_new_sample(void **state)
{
    (void)state;
    flight_start(true, true, 5);
    pass(RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    flight_acks(5, 0, 0, 2 * RTT);
    flight_acks(5, 0, 0, 0);
    conn->rtt_fresh = false;
    queue(3 * MSS);
    said();
    assert_int_equal(conn->flight->pto_at, 0);
    conn->rtt_fresh = true;
    queue(MSS);
    said();
    assert_true(conn->flight->pto_at != 0);
    hr_tcp_abort(tcp, conn);
}

/* Without SACK there is neither. */
static void test_not_without_sack(void **state)
{
    (void)state;
    flight_start(true, false, 5);
    pass(100000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 0);
    pass(150000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    hr_tcp_abort(tcp, conn);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_probe_repeats_the_last),
        T(test_probe_prefers_new_data),
        T(test_probe_allows_for_delayed_acks),
        T(test_probe_repairs_the_tail),
        T(test_probe_was_the_repair),
        T(test_probe_was_needless),
        T(test_probe_was_needless_no_dsack),
        T(test_probe_needs_a_new_sample),
        T(test_not_without_sack),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
