/* Losses that were none: F-RTO (RFC 5682) and undo by duplicates (RFC 3708), rule by rule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/testflight.h"
#include "tests/support/eal.h"

/* ---- RFC 5682 ---- */

static uint32_t cwnd_before, ssthresh_before;

/* Eight segments, and a timeout: the first went again. */
static void timed_out(bool ts, bool sack)
{
    flight_start(ts, sack, 8);
    conn->rtt_fresh = false; /* no probe */
    conn->ssthresh = 15 * MSS;
    hr_tcp_rtx_restart(tcp, conn);
    queue(4 * MSS);
    conn->cwnd = 8 * MSS;
    said();
    cwnd_before = conn->cwnd;
    ssthresh_before = conn->ssthresh;
    n_out = 0;
    pass(250000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    assert_int_equal(n_out, 1);
    flight_sent_is(0, 0);
    assert_int_equal(conn->cwnd, MSS);
    n_out = 0;
}

/* 2.1, 3.1: the segments were late. Two new ones go out, the next ACK is for what was sent once: all is put
 * back. */
static void test_late_not_lost(void **state)
{
    (void)state;
    for (int sack = 0; sack < 2; sack++) {
        timed_out(false, sack);
        flight_acks(1, 0, 0, 0); /* the first copy */
        said();
        assert_int_equal(n_out, 2);
        flight_sent_is(0, 8);
        flight_sent_is(1, 9);
        flight_acks(2, 0, 0, 0);
        said();
        assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 1u + sack);
        assert_true(conn->cwnd >= cwnd_before);
        assert_int_equal(conn->ssthresh, ssthresh_before);
        assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
        assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1u + sack);
        flight_acks(8, 0, 0, 0);
        said();
        assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1u + sack);
        hr_tcp_abort(tcp, conn);
        stats.counters[HR_CTR_tcp_rto] = 0;
        peer_port++;
    }
}

/* RFC 3522 3.2: with timestamps the first ACK tells, even if there is nothing new to send. */
static void test_late_by_timestamp(void **state)
{
    (void)state;
    timed_out(true, true);
    conn->snd_wnd = 8 * MSS; /* no room */
    opts.tsval++;
    opts.tsecr = (uint32_t)((now - 270000) / 1000) + conn->ts_offset;
    feed_wnd(seq, flight_base + MSS, ACK, 0, (uint16_t)(7 * MSS / 4));
    said();
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 1);
    assert_true(conn->cwnd >= cwnd_before);
    assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1);
    hr_tcp_abort(tcp, conn);
}

/* 3.1 step 3: the new segments arrived, what was sent before did not: the loss was real. */
static void test_lost_not_late(void **state)
{
    (void)state;
    timed_out(true, true);
    pass(RTT);
    flight_acks(1, 0, 0, RTT);
    said();
    assert_int_equal(n_out, 2);
    pass(RTT);
    n_out = 0;
    flight_acks(1, 8, 9, RTT);
    said();
    assert_true(n_out >= 1);
    flight_sent_is(0, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    assert_true(conn->cwnd < cwnd_before);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_RTO);
    hr_tcp_abort(tcp, conn);
}

/* 2.1 step 3: without SACK a duplicate ACK says so. */
static void test_lost_not_late_without_sack(void **state)
{
    (void)state;
    timed_out(false, false);
    flight_acks(1, 0, 0, 0);
    said();
    assert_int_equal(n_out, 2);
    n_out = 0;
    flight_acks(1, 0, 0, 0);
    said();
    assert_true(n_out >= 1);
    flight_sent_is(0, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* 2.1 step 3: a cumulative ACK over a gap that the retransmission filled proves nothing without SACK. */
static void test_filled_gap_proves_nothing(void **state)
{
    (void)state;
    timed_out(false, false);
    flight_acks(1, 0, 0, 0);
    said();
    n_out = 0;
    pass(250000); /* the second is lost too: sent again by a timeout */
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 2);
    flight_acks(8, 0, 0, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* Step 2: nothing new to send, or no room for it: the usual recovery. */
static void test_nothing_to_find_out_with(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    conn->rtt_fresh = false;
    hr_tcp_rtx_restart(tcp, conn);
    pass(250000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    n_out = 0;
    pass(RTT);
    flight_acks(1, 0, 0, RTT);
    said();
    assert_int_equal(conn->flight->frto, HR_TCP_FRTO_OFF);
    assert_true(n_out >= 1);
    flight_sent_is(0, 1);
    hr_tcp_abort(tcp, conn);
}

/* Step 1: what was SACKed before the timeout proves nothing when it is SACKed again. */
static void test_known_proves_nothing(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    queue(4 * MSS);
    conn->cwnd = 8 * MSS;
    conn->rack_reordering = true;
    conn->min_rtt_us = conn->srtt_us = 10000000; /* RACK waits for ever */
    flight_acks(0, 3, 4, RTT);
    said();
    pass(250000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    conn->min_rtt_us = RTT;
    n_out = 0;
    flight_acks(1, 0, 0, 1000);
    said();
    flight_acks(1, 3, 4, RTT);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* ---- undo by duplicates ---- */

/* Fast recovery, and each retransmission is reported as a duplicate: the window returns. */
static void test_recovery_was_needless(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    uint32_t cwnd = conn->cwnd, ssthresh = conn->ssthresh;
    flight_acks(0, 2, 5, RTT);
    said();
    assert_int_equal(n_out, 2);
    flight_sent_is(0, 0);
    flight_sent_is(1, 1);
    assert_true(conn->ssthresh < ssthresh);
    flight_acks(2, 2, 5, RTT); /* they were late */
    flight_reports(5, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_recovery], 0); /* one of two */
    flight_reports(5, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_recovery], 1);
    assert_true(conn->cwnd >= cwnd);
    assert_int_equal(conn->ssthresh, ssthresh);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    assert_true(conn->rack_mult >= 1);
    hr_tcp_abort(tcp, conn);
}

/* One of them was needed: nothing returns. */
static void test_recovery_was_needed(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    uint32_t ssthresh = conn->ssthresh;
    flight_acks(0, 2, 5, RTT);
    said();
    assert_int_equal(n_out, 2);
    pass(RTT);
    flight_acks(5, 0, 0, RTT);
    flight_reports(5, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_recovery], 0);
    assert_true(conn->ssthresh < ssthresh);
    hr_tcp_abort(tcp, conn);
}

/* A timeout is undone the same way. */
static void test_timeout_was_needless(void **state)
{
    (void)state;
    flight_start(true, true, 8);
    conn->rtt_fresh = false;
    conn->ssthresh = 15 * MSS;
    hr_tcp_rtx_restart(tcp, conn);
    uint32_t cwnd = conn->cwnd;
    pass(250000);
    assert_int_equal(conn->cwnd, MSS);
    flight_reports(1, 0); /* nothing new to send: F-RTO gave up, the report did not */
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 1);
    assert_int_equal(conn->cwnd, cwnd);
    assert_int_equal(conn->ssthresh, 15 * MSS);
    hr_tcp_abort(tcp, conn);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_late_not_lost),
        T(test_late_by_timestamp),
        T(test_lost_not_late),
        T(test_lost_not_late_without_sack),
        T(test_filled_gap_proves_nothing),
        T(test_nothing_to_find_out_with),
        T(test_known_proves_nothing),
        T(test_recovery_was_needless),
        T(test_recovery_was_needed),
        T(test_timeout_was_needless),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
