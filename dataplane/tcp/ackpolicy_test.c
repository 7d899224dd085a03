/* When the stack acknowledges: the peer sends by hand, and what comes back is counted. A flush is the end of a
 * batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

#define MSS 1460

/* The peer sends so many segments in one batch, the owner reads them; returns the ACKs that came. */
static unsigned batch(unsigned segments, uint32_t len)
{
    for (unsigned i = 0; i < segments; i++) {
        feed(seq, ack, ACK, len);
        seq += len;
    }
    uint32_t n = hr_tcp_rcvq(conn)->bytes;
    hr_pieceq_drop(&bufs, hr_tcp_rcvq(conn), n);
    hr_tcp_consumed(tcp, conn, n, 0, 0);
    said();
    return n_out;
}

static void use_up_quick(void)
{
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(batch(1, 100), 1);
}

static void test_first_segments_are_quick(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    assert_int_equal(batch(1, 100), 0);
    pass(5000);
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].ack, seq);
}

static void test_one_per_batch(void **state)
{
    (void)state;
    establish(true, true, true);
    assert_int_equal(batch(8, 100), 1); /* quick or not */
    assert_int_equal(batch(8, 100), 1);
    assert_int_equal(batch(32, 100), 1);
    assert_int_equal(out[0].ack, seq);
    assert_int_equal(batch(9, 100), 1);
}

static void test_one_per_eight_segments(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 7; i++)
            assert_int_equal(batch(1, round % 2 ? 1 : MSS), 0);
        assert_int_equal(batch(1, 1), 1);
        assert_int_equal(out[0].ack, seq);
    }
    assert_int_equal(batch(3, 100), 0);
    assert_int_equal(batch(3, 100), 0);
    assert_int_equal(batch(3, 100), 1);
}

/* A sender whose window is smaller than eight segments waits for the timer once, and not for each window again. One
 * segment alone, as a small request is, says nothing of the kind. */
static void test_timer_finds_small_windows(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    assert_int_equal(batch(5, MSS), 0);
    pass(5000);
    assert_int_equal(n_out, 1);
    assert_int_equal(batch(5, MSS), 1);
    assert_int_equal(batch(5, MSS), 1);
    assert_int_equal(batch(5, MSS), 1);
    assert_int_equal(batch(1, 100), 1);
    assert_int_equal(batch(1, 100), 0);
    pass(5000);
    assert_int_equal(batch(1, 100), 0);
}

/* A reader that is behind leaves 16 KB of window: three segments are more than a quarter of it. */
static void test_one_per_quarter_window(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    while (conn->rcv_adv - conn->rcv_nxt > 16384) {
        feed(seq, ack, ACK, MSS);
        seq += MSS;
        said();
    }
    pass(5000); /* acknowledged up to here */
    uint32_t before = seq;
    unsigned fed = 0;
    for (n_out = 0; n_out == 0; fed++) {
        feed(seq, ack, ACK, MSS);
        seq += MSS;
        said();
    }
    assert_true(4 * (seq - before) >= 16384 - MSS);
    assert_in_range(fed, 2, 3);
}

static void test_idle_makes_quick(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    assert_int_equal(batch(1, 100), 0);
    pass(conn->rto_us);
    assert_int_equal(batch(1, 100), 0); /* not yet idle for longer than an RTO */
    pass(conn->rto_us + 1);
    use_up_quick();
    assert_int_equal(batch(1, 100), 0);
}

/* RFC 5681 4.2: at once for a gap, at once for what fills it; and the sender recovers with a small window. */
static void test_gap(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    feed(seq + 100, ack, ACK, 100);
    said();
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].ack, seq);
    feed(seq, ack, ACK, 100);
    seq += 200;
    said();
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].ack, seq);
    use_up_quick();
}

static void test_data_carries_it(void **state)
{
    (void)state;
    establish(true, true, true);
    for (unsigned i = 0; i < 40; i++) {
        feed(seq, ack, ACK | PSH, 200);
        seq += 200;
        queue(300);
        said();
        assert_int_equal(n_out, 1);
        assert_int_equal(out[0].ack, seq);
        assert_int_equal(out[0].len, 300);
        assert_true(out[0].flags & PSH);
        ack += 300;
    }
    pass(10000);
    assert_int_equal(stats.counters[HR_CTR_tcp_delayed_ack], 0);
}

/* A client with Nagle's algorithm writes a header, then a body: the body waits for the ACK of the header. */
static void test_nagle_client(void **state)
{
    (void)state;
    establish(true, true, true);
    use_up_quick();
    uint64_t longest = 0;
    for (unsigned i = 0; i < 200; i++) {
        pass(i * 37 % 1000); /* anywhere between two ticks */
        unsigned acks = batch(1, 30);
        uint64_t start = now;
        while (acks == 0) {
            pass(10);
            acks = n_out;
        }
        assert_int_equal(out[0].ack, seq);
        longest = RTE_MAX(longest, now - start);
        feed(seq, ack, ACK | PSH, 500);
        seq += 500;
        queue(50); /* the response */
        said();
        assert_true(n_out == 1 && out[0].ack == seq);
        ack += 50;
    }
    assert_true(longest <= 5000);
    assert_true(longest >= 4000); /* it is the timer that answers */
}

/* Connections whose delayed ACKs are due at one time, or one after the other within a millisecond. */
#define MANY 60

static void many_wait(unsigned apart_us)
{
    struct hr_tcp_conn *conns[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        peer_port = (uint16_t)(41000 + i);
        establish(true, true, true);
        use_up_quick();
        events_of(NULL);
        conns[i] = conn;
    }
    for (unsigned i = 0; i < MANY; i++) {
        conn = conns[i];
        peer_port = conn->flow.remote_port;
        seq = conn->rcv_nxt;
        ack = conn->snd_nxt;
        assert_int_equal(batch(1, 100), 0);
        pass(apart_us);
    }
    peer_port = 40000;
}

static uint64_t turn(uint64_t at_us)
{
    now = at_us;
    hr_tcp_set_now(tcp, now);
    n_out = 0;
    uint64_t next = hr_tcp_advance(tcp);
    flush();
    return next;
}

/* What is due at once is done in several turns, or all that arrives meanwhile would wait. */
static void test_timers_leave_room(void **state)
{
    (void)state;
    many_wait(0);
    unsigned acks = 0, turns = 0;
    for (now += 4000 + HR_WHEEL_TICK_US; acks < MANY; turns++) {
        uint64_t next = turn(now);
        assert_in_range(n_out, 1, MANY / 2 + 2);
        assert_true(acks + n_out == MANY || next == now); /* the rest is due */
        acks += n_out;
    }
    assert_true(turns > 1);
    turn(now + 100);
    assert_int_equal(n_out, 0);
}

/* What is due apart leaves apart. */
static void test_timers_keep_apart(void **state)
{
    (void)state;
    uint64_t begun = now;
    many_wait(16);
    unsigned acks = 0, most = 0;
    for (uint64_t at = now; at < begun + 4000 + MANY * 16 + HR_WHEEL_TICK_US; at += 16) {
        turn(at);
        acks += n_out;
        most = RTE_MAX(most, n_out);
    }
    assert_int_equal(acks, MANY);
    assert_in_range(most, 1, HR_WHEEL_TICK_US / 16);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_first_segments_are_quick),
        T(test_one_per_batch),
        T(test_one_per_eight_segments),
        T(test_timer_finds_small_windows),
        T(test_one_per_quarter_window),
        T(test_idle_makes_quick),
        T(test_gap),
        T(test_data_carries_it),
        T(test_nagle_client),
        T(test_timers_leave_room),
        T(test_timers_keep_apart),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
