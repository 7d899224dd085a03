/* RACK (RFC 8985 6), rule by rule: one stack, and a peer played by hand in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/testflight.h"
#include "tests/support/eal.h"

/* ---- RFC 8985 6.2 ---- */

/* Step 2: the newest delivered segment is the one sent last, not the highest. */
static void test_newest_delivered(void **state)
{
    (void)state;
    flight_start(true, true, 4);
    uint64_t first = now - RTT;
    flight_acks(0, 2, 3, RTT);
    assert_int_equal(conn->flight->rack_xmit_us, first);
    assert_int_equal(conn->flight->rack_end, flight_base + 3 * MSS);
    assert_int_equal(conn->flight->rack_rtt_us, RTT);
    pass(1000);
    flight_acks(0, 1, 3, RTT + 1000);
    assert_int_equal(conn->flight->rack_end, flight_base + 3 * MSS); /* sent before */
    assert_int_equal(conn->flight->rack_rtt_us, RTT + 1000);
    hr_tcp_abort(tcp, conn);
}

/* Step 4: no reordering was seen, so three segments above, or recovery, leave no time; fewer a quarter RTT. */
static void test_window_without_reordering(void **state)
{
    (void)state;
    flight_start(false, true, 8);
    flight_acks(0, 1, 3, 0);
    said();
    assert_int_equal(flight_xmit()->lost_bytes, 0);
    assert_int_equal(conn->flight->reo_at, now + RTT / 4);
    flight_acks(0, 1, 4, 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    said();
    flight_sent_is(0, 0);
    hr_tcp_abort(tcp, conn);
}

/* Step 5: the timer, a quarter RTT later, declares the loss. */
static void test_timer_declares_loss(void **state)
{
    (void)state;
    flight_start(false, true, 3);
    flight_acks(0, 1, 2, 0);
    said();
    assert_int_equal(n_out, 0);
    pass(RTT / 4 - 1000);
    assert_int_equal(n_out, 0);
    pass(1000 + HR_WHEEL_TICK_US);
    assert_int_equal(n_out, 1);
    flight_sent_is(0, 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* A late segment within the window costs nothing, and shows reordering: from then on three are not enough. */
static void test_reordering_is_learnt(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    flight_acks(0, 1, 3, RTT);
    pass(2000);
    flight_acks(3, 0, 0, RTT + 2000); /* it was only late */
    said();
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 0);
    assert_true(conn->rack_reordering);
    flight_acks(3, 4, 8, RTT + 2000);
    said();
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 0);
    flight_acks(8, 0, 0, RTT + 2000);
    assert_null(conn->flight);
    assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 0);
}

/* Step 4: a duplicate widens the window, once per round trip; sixteen recoveries without narrow it again, and it
 * is never above the smoothed round trip. */
static void test_window_follows_duplicates(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    conn->rack_reordering = true;
    flight_reports(1, 0);
    assert_int_equal(conn->rack_mult, 1);
    flight_reports(2, 0);
    assert_int_equal(conn->rack_mult, 1); /* the same round trip */
    flight_acks(2, 4, 8, RTT);
    assert_int_equal(conn->flight->reo_at, now + RTT / 2);
    for (int i = 0; i < 20; i++)
        hr_tcp_rack_dsack(conn);
    assert_int_equal(conn->rack_mult, 1);
    conn->rack_mult = 40;
    flight_acks(2, 3, 8, RTT);
    assert_int_equal(conn->flight->reo_at, now + conn->srtt_us);
    for (int i = 0; i < 15; i++)
        hr_tcp_rack_recovered(conn);
    assert_int_equal(conn->rack_mult, 40);
    hr_tcp_rack_recovered(conn);
    assert_int_equal(conn->rack_mult, 0);
    hr_tcp_abort(tcp, conn);
}

/* A retransmission that is lost too is found by what was sent after it, without a timeout. */
static void test_lost_retransmission(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    flight_acks(0, 1, 5, RTT);
    said();
    assert_int_equal(n_out, 1);
    flight_sent_is(0, 0); /* lost again */
    pass(1000);
    queue(4 * MSS);
    flight_acks(0, 1, 8, RTT + 1000);
    said();
    assert_true(n_out >= 1);
    flight_sent_is(0, 8); /* new data */
    n_out = 0;
    pass(RTT);
    assert_int_equal(n_out, 0);
    flight_acks(0, 1, 9, RTT); /* it arrived, and was sent after the retransmission */
    said();
    assert_true(n_out >= 1);
    flight_sent_is(0, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 1);
    hr_tcp_abort(tcp, conn);
}

/* Turns may be shorter than the clock's tick: new data of the turn before left at the same microsecond as the
 * retransmission, but ahead of it, and says nothing about it. */
static void test_order_within_a_tick(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    queue(4 * MSS);
    said();
    assert_int_equal(n_out, 4);
    flight_sent_is(0, 8);
    n_out = 0;
    flight_acks(0, 1, 6, RTT); /* at the same microsecond */
    said();
    assert_true(n_out >= 1);
    flight_sent_is(0, 0);
    n_out = 0;
    pass(RTT);
    flight_acks(0, 1, 9, RTT);
    said();
    for (unsigned i = 0; i < n_out; i++)
        assert_true(out[i].seq != flight_base);
    assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1);
    n_out = 0;
    flight_acks(12, 0, 0, RTT);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    hr_tcp_abort(tcp, conn);
}

/* ---- RFC 8985 6.3 ---- */

/* A timeout takes the first segment for lost, and what is overdue; not what has just been sent. */
static void test_timeout_marks_by_time(void **state)
{
    (void)state;
    flight_start(true, true, 4);
    conn->flight->rack_rtt_us = RTT;
    queue(2 * MSS);
    said();
    assert_int_equal(n_out, 2); /* sent a round trip later */
    conn->recovery = HR_TCP_RECOVERY_FAST; /* no F-RTO */
    conn->flight->recover = conn->snd_nxt;
    pass(1000);
    hr_tcp_recovery_timeout(tcp, conn);
    assert_int_equal(flight_xmit()->lost_bytes, 4 * MSS);
    hr_tcp_abort(tcp, conn);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_newest_delivered),
        T(test_window_without_reordering),
        T(test_timer_declares_loss),
        T(test_reordering_is_learnt),
        T(test_window_follows_duplicates),
        T(test_lost_retransmission),
        T(test_order_within_a_tick),
        T(test_timeout_marks_by_time),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
