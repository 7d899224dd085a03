/* RACK-TLP (RFC 8985) and F-RTO, DSACK undo (RFC 5682, RFC 3708), rule by rule: one stack, and a peer played by
 * hand in virtual time. The round trip is 20 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define RTT 20000u
#define MSS ((uint32_t)conn->smss)

static uint32_t base; /* the first sequence number of the flight */

static struct hr_tcp_xmit *xmit(void)
{
    return &conn->flight->xmit;
}

/* A connection that knows its round trip, with n segments in flight for a round trip. */
static void start(bool ts, bool sack, uint32_t n)
{
    establish(ts, sack, true);
    for (int i = 0; i < 10; i++) { /* measured ten times, so that the variance is small */
        queue(100);
        said();
        pass(RTT);
        ack += 100;
        opts.tsval++;
        opts.tsecr = tcp->now_ms + conn->ts_offset - RTT / 1000;
        feed(seq, ack, ACK, 0);
        said();
    }
    assert_null(conn->flight);
    conn->min_rtt_us = conn->srtt_us = RTT; /* the handshake took no time */
    conn->cwnd = 20 * MSS;
    base = ack;
    queue(n * MSS);
    said();
    assert_int_equal(n_out, n);
    pass(RTT);
    n_out = 0;
}

/* The peer acknowledges all below segment upto, and holds segments [from, to) as well; echo_us: how long ago
 * what it answers to was sent. */
static void acks(uint32_t upto, uint32_t from, uint32_t to, uint32_t echo_us)
{
    opts.n_sack = from < to ? 1 : 0;
    opts.sack[0] = (struct hr_tcp_range){base + from * MSS, base + to * MSS};
    opts.tsval++;
    opts.tsecr = (uint32_t)((now - echo_us) / 1000) + conn->ts_offset;
    feed(seq, base + upto * MSS, ACK, 0);
    opts.n_sack = 0;
}

/* And reports segment dup as a duplicate. */
static void reports(uint32_t upto, uint32_t dup)
{
    opts.n_sack = 1;
    opts.sack[0] = (struct hr_tcp_range){base + dup * MSS, base + (dup + 1) * MSS};
    opts.tsval++;
    opts.tsecr = tcp->now_ms + conn->ts_offset;
    feed(seq, base + upto * MSS, ACK, 0);
    opts.n_sack = 0;
}

static void sent_is(unsigned i, uint32_t segment)
{
    assert_true(i < n_out);
    assert_int_equal(out[i].seq, base + segment * MSS);
}

/* ---- RFC 8985 6.2 ---- */

/* Step 2: the newest delivered segment is the one sent last, not the highest. */
static void test_newest_delivered(void **state)
{
    (void)state;
    start(true, true, 4);
    uint64_t first = now - RTT;
    acks(0, 2, 3, RTT);
    assert_int_equal(conn->flight->rack_xmit_us, first);
    assert_int_equal(conn->flight->rack_end, base + 3 * MSS);
    assert_int_equal(conn->flight->rack_rtt_us, RTT);
    pass(1000);
    acks(0, 1, 3, RTT + 1000);
    assert_int_equal(conn->flight->rack_end, base + 3 * MSS); /* sent before */
    assert_int_equal(conn->flight->rack_rtt_us, RTT + 1000);
    hr_tcp_abort(tcp, conn);
}

/* Step 4: no reordering was seen, so three segments above, or recovery, leave no time; fewer a quarter RTT. */
static void test_window_without_reordering(void **state)
{
    (void)state;
    start(false, true, 8);
    acks(0, 1, 3, 0);
    said();
    assert_int_equal(xmit()->lost_bytes, 0);
    assert_int_equal(conn->flight->reo_at, now + RTT / 4);
    acks(0, 1, 4, 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    said();
    sent_is(0, 0);
    hr_tcp_abort(tcp, conn);
}

/* Step 5: the timer, a quarter RTT later, declares the loss. */
static void test_timer_declares_loss(void **state)
{
    (void)state;
    start(false, true, 3);
    acks(0, 1, 2, 0);
    said();
    assert_int_equal(n_out, 0);
    pass(RTT / 4 - 1000);
    assert_int_equal(n_out, 0);
    pass(1000);
    assert_int_equal(n_out, 1);
    sent_is(0, 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* A late segment within the window costs nothing, and shows reordering: from then on three are not enough. */
static void test_reordering_is_learnt(void **state)
{
    (void)state;
    start(true, true, 8);
    acks(0, 1, 3, RTT);
    pass(2000);
    acks(3, 0, 0, RTT + 2000); /* it was only late */
    said();
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 0);
    assert_true(conn->rack_reordering);
    acks(3, 4, 8, RTT + 2000);
    said();
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 0);
    acks(8, 0, 0, RTT + 2000);
    assert_null(conn->flight);
    assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 0);
}

/* Step 4: a duplicate widens the window, once per round trip; sixteen recoveries without narrow it again, and it
 * is never above the smoothed round trip. */
static void test_window_follows_duplicates(void **state)
{
    (void)state;
    start(true, true, 8);
    conn->rack_reordering = true;
    reports(1, 0);
    assert_int_equal(conn->rack_mult, 1);
    reports(2, 0);
    assert_int_equal(conn->rack_mult, 1); /* the same round trip */
    acks(2, 4, 8, RTT);
    assert_int_equal(conn->flight->reo_at, now + RTT / 2);
    for (int i = 0; i < 20; i++)
        hr_tcp_rack_dsack(conn);
    assert_int_equal(conn->rack_mult, 1);
    conn->rack_mult = 40;
    acks(2, 3, 8, RTT);
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
    start(true, true, 8);
    acks(0, 1, 5, RTT);
    said();
    assert_int_equal(n_out, 1);
    sent_is(0, 0); /* lost again */
    pass(1000);
    queue(4 * MSS);
    acks(0, 1, 8, RTT + 1000);
    said();
    assert_true(n_out >= 1);
    sent_is(0, 8); /* new data */
    n_out = 0;
    pass(RTT);
    assert_int_equal(n_out, 0);
    acks(0, 1, 9, RTT); /* it arrived, and was sent after the retransmission */
    said();
    assert_true(n_out >= 1);
    sent_is(0, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_fast_recovery], 1);
    hr_tcp_abort(tcp, conn);
}

/* Turns may be shorter than the clock's tick: new data of the turn before left at the same microsecond as the
 * retransmission, but ahead of it, and says nothing about it. */
static void test_order_within_a_tick(void **state)
{
    (void)state;
    start(true, true, 8);
    queue(4 * MSS);
    said();
    assert_int_equal(n_out, 4);
    sent_is(0, 8);
    n_out = 0;
    acks(0, 1, 6, RTT); /* at the same microsecond */
    said();
    assert_true(n_out >= 1);
    sent_is(0, 0);
    n_out = 0;
    pass(RTT);
    acks(0, 1, 9, RTT);
    said();
    for (unsigned i = 0; i < n_out; i++)
        assert_true(out[i].seq != base);
    assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1);
    n_out = 0;
    acks(12, 0, 0, RTT);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    hr_tcp_abort(tcp, conn);
}

/* ---- RFC 8985 6.3 ---- */

/* A timeout takes the first segment for lost, and what is overdue; not what has just been sent. */
static void test_timeout_marks_by_time(void **state)
{
    (void)state;
    start(true, true, 4);
    conn->flight->rack_rtt_us = RTT;
    queue(2 * MSS);
    said();
    assert_int_equal(n_out, 2); /* sent a round trip later */
    conn->recovery = HR_TCP_RECOVERY_FAST; /* no F-RTO */
    conn->flight->recover = conn->snd_nxt;
    pass(1000);
    hr_tcp_recovery_timeout(tcp, conn);
    assert_int_equal(xmit()->lost_bytes, 4 * MSS);
    hr_tcp_abort(tcp, conn);
}

/* ---- RFC 8985 7 ---- */

/* 7.2, 7.3: two round trips after the last of several segments the last one goes again. */
static void test_probe_repeats_the_last(void **state)
{
    (void)state;
    start(true, true, 5);
    pass(RTT - 1000); /* one has passed */
    assert_int_equal(n_out, 0);
    pass(2000);
    assert_int_equal(n_out, 1);
    sent_is(0, 4);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    pass(5 * RTT); /* 7.3: one probe, then the retransmission timer */
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    pass(5 * RTT);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    hr_tcp_abort(tcp, conn);
}

/* 7.3: new data first, if there is any; the congestion window is not asked. */
static void test_probe_prefers_new_data(void **state)
{
    (void)state;
    start(true, true, 5);
    conn->cwnd = 5 * MSS;
    queue(3 * MSS);
    said();
    assert_int_equal(n_out, 0);
    pass(RTT + 1000);
    assert_int_equal(n_out, 1);
    sent_is(0, 5);
    assert_int_equal(out[0].len, MSS);
    hr_tcp_abort(tcp, conn);
}

/* 7.2: a lone segment's ACK may be delayed; the probe then comes when the timeout would, and instead of it. */
static void test_probe_allows_for_delayed_acks(void **state)
{
    (void)state;
    start(true, true, 1);
    pass(2 * RTT);
    assert_int_equal(n_out, 0);
    pass(200000 - 3 * RTT - 1000);
    assert_int_equal(n_out, 0);
    pass(50000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    sent_is(0, 0);
    hr_tcp_abort(tcp, conn);
}

/* The tail is lost, the probe's SACK block tells RACK so: repaired in some two round trips, without a timeout. */
static void test_probe_repairs_the_tail(void **state)
{
    (void)state;
    start(true, true, 6);
    acks(2, 0, 0, RTT);
    pass(2 * RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    sent_is(0, 5);
    pass(RTT);
    n_out = 0;
    acks(2, 5, 6, RTT);
    pass(RTT / 4);
    assert_int_equal(n_out, 1); /* PRR: nothing has been delivered in recovery yet */
    sent_is(0, 2);
    pass(RTT);
    acks(3, 5, 6, RTT);
    said();
    assert_int_equal(n_out, 2);
    sent_is(0, 3);
    sent_is(1, 4);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 0);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_FAST);
    hr_tcp_abort(tcp, conn);
}

/* 7.4 case 2: the probe was the repair. It is a loss, and the window pays for it. */
static void test_probe_was_the_repair(void **state)
{
    (void)state;
    start(true, true, 5);
    acks(4, 0, 0, RTT);
    pass(300000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    uint32_t cwnd = conn->cwnd;
    acks(5, 0, 0, 1000);
    assert_int_equal(conn->cwnd, cwnd); /* it may have been a duplicate */
    assert_null(conn->flight);
    queue(MSS);
    said();
    pass(RTT);
    acks(6, 0, 0, RTT);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 1);
    assert_true(conn->cwnd < cwnd);
    assert_false(conn->tlp_out);
}

/* 7.4 case 1: the peer reports it as a duplicate. Nothing was lost, and the reordering window stays. */
static void test_probe_was_needless(void **state)
{
    (void)state;
    start(true, true, 5);
    pass(RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    uint32_t cwnd = conn->cwnd;
    acks(5, 0, 0, 2 * RTT);
    assert_true(conn->tlp_out);
    reports(5, 4);
    assert_false(conn->tlp_out);
    assert_int_equal(conn->rack_mult, 0);
    queue(MSS);
    said();
    pass(RTT);
    acks(6, 0, 0, RTT);
    assert_true(conn->cwnd >= cwnd);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 0);
}

/* 7.4 case 3: a duplicate ACK without any block says the same. */
static void test_probe_was_needless_no_dsack(void **state)
{
    (void)state;
    start(true, true, 5);
    pass(RTT + 1000);
    acks(5, 0, 0, 2 * RTT);
    acks(5, 0, 0, 0);
    assert_false(conn->tlp_out);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_repair], 0);
}

/* 7.3: no second probe before the round trip was measured again. */
static void test_probe_needs_a_new_sample(void **state)
{
    (void)state;
    start(true, true, 5);
    pass(RTT + 1000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 1);
    acks(5, 0, 0, 2 * RTT);
    acks(5, 0, 0, 0);
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
    start(true, false, 5);
    pass(100000);
    assert_int_equal(stats.counters[HR_CTR_tcp_tlp_probe], 0);
    pass(150000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    hr_tcp_abort(tcp, conn);
}

/* ---- RFC 5682 ---- */

static uint32_t cwnd_before, ssthresh_before;

/* Eight segments, and a timeout: the first went again. */
static void timed_out(bool ts, bool sack)
{
    start(ts, sack, 8);
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
    sent_is(0, 0);
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
        acks(1, 0, 0, 0); /* the first copy */
        said();
        assert_int_equal(n_out, 2);
        sent_is(0, 8);
        sent_is(1, 9);
        acks(2, 0, 0, 0);
        said();
        assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 1u + sack);
        assert_true(conn->cwnd >= cwnd_before);
        assert_int_equal(conn->ssthresh, ssthresh_before);
        assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
        assert_int_equal(stats.counters[HR_CTR_tcp_retransmit_segs], 1u + sack);
        acks(8, 0, 0, 0);
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
    feed_wnd(seq, base + MSS, ACK, 0, (uint16_t)(7 * MSS / 4));
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
    acks(1, 0, 0, RTT);
    said();
    assert_int_equal(n_out, 2);
    pass(RTT);
    n_out = 0;
    acks(1, 8, 9, RTT);
    said();
    assert_true(n_out >= 1);
    sent_is(0, 1);
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
    acks(1, 0, 0, 0);
    said();
    assert_int_equal(n_out, 2);
    n_out = 0;
    acks(1, 0, 0, 0);
    said();
    assert_true(n_out >= 1);
    sent_is(0, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* 2.1 step 3: a cumulative ACK over a gap that the retransmission filled proves nothing without SACK. */
static void test_filled_gap_proves_nothing(void **state)
{
    (void)state;
    timed_out(false, false);
    acks(1, 0, 0, 0);
    said();
    n_out = 0;
    pass(250000); /* the second is lost too: sent again by a timeout */
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 2);
    acks(8, 0, 0, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* Step 2: nothing new to send, or no room for it: the usual recovery. */
static void test_nothing_to_find_out_with(void **state)
{
    (void)state;
    start(true, true, 8);
    conn->rtt_fresh = false;
    hr_tcp_rtx_restart(tcp, conn);
    pass(250000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    n_out = 0;
    pass(RTT);
    acks(1, 0, 0, RTT);
    said();
    assert_int_equal(conn->flight->frto, HR_TCP_FRTO_OFF);
    assert_true(n_out >= 1);
    sent_is(0, 1);
    hr_tcp_abort(tcp, conn);
}

/* Step 1: what was SACKed before the timeout proves nothing when it is SACKed again. */
static void test_known_proves_nothing(void **state)
{
    (void)state;
    start(true, true, 8);
    queue(4 * MSS);
    conn->cwnd = 8 * MSS;
    conn->rack_reordering = true;
    conn->min_rtt_us = conn->srtt_us = 10000000; /* RACK waits for ever */
    acks(0, 3, 4, RTT);
    said();
    pass(250000);
    assert_int_equal(stats.counters[HR_CTR_tcp_rto], 1);
    conn->min_rtt_us = RTT;
    n_out = 0;
    acks(1, 0, 0, 1000);
    said();
    acks(1, 3, 4, RTT);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 0);
    hr_tcp_abort(tcp, conn);
}

/* ---- undo by duplicates ---- */

/* Fast recovery, and each retransmission is reported as a duplicate: the window returns. */
static void test_recovery_was_needless(void **state)
{
    (void)state;
    start(true, true, 8);
    uint32_t cwnd = conn->cwnd, ssthresh = conn->ssthresh;
    acks(0, 2, 5, RTT);
    said();
    assert_int_equal(n_out, 2);
    sent_is(0, 0);
    sent_is(1, 1);
    assert_true(conn->ssthresh < ssthresh);
    acks(2, 2, 5, RTT); /* they were late */
    reports(5, 0);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_recovery], 0); /* one of two */
    reports(5, 1);
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
    start(true, true, 8);
    uint32_t ssthresh = conn->ssthresh;
    acks(0, 2, 5, RTT);
    said();
    assert_int_equal(n_out, 2);
    pass(RTT);
    acks(5, 0, 0, RTT);
    reports(5, 1);
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_recovery], 0);
    assert_true(conn->ssthresh < ssthresh);
    hr_tcp_abort(tcp, conn);
}

/* A timeout is undone the same way. */
static void test_timeout_was_needless(void **state)
{
    (void)state;
    start(true, true, 8);
    conn->rtt_fresh = false;
    conn->ssthresh = 15 * MSS;
    hr_tcp_rtx_restart(tcp, conn);
    uint32_t cwnd = conn->cwnd;
    pass(250000);
    assert_int_equal(conn->cwnd, MSS);
    reports(1, 0); /* nothing new to send: F-RTO gave up, the report did not */
    assert_int_equal(stats.counters[HR_CTR_tcp_spurious_rto], 1);
    assert_int_equal(conn->cwnd, cwnd);
    assert_int_equal(conn->ssthresh, 15 * MSS);
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
        T(test_probe_repeats_the_last),
        T(test_probe_prefers_new_data),
        T(test_probe_allows_for_delayed_acks),
        T(test_probe_repairs_the_tail),
        T(test_probe_was_the_repair),
        T(test_probe_was_needless),
        T(test_probe_was_needless_no_dsack),
        T(test_probe_needs_a_new_sample),
        T(test_not_without_sack),
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
