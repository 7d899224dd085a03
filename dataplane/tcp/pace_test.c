/* Pacing, in virtual time: bursts beyond the initial window, the allowance of a port, turns. */
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
#define FRAME(len) ((len) + 20 + 20 + 14)

/* Data segments of a connection (0: of all) among what was said. */
static unsigned data_of(uint16_t port)
{
    unsigned n = 0;
    for (unsigned i = 0; i < n_out; i++)
        n += out[i].len > 0 && (port == 0 || out[i].flow.remote_port == port);
    return n;
}

/* Moves the clock to where pacing lets more leave, at most limit; what left is in out. False: nothing waits. */
static bool to_next(uint64_t limit)
{
    uint64_t at = hr_tcp_pace_deadline(tcp);
    n_out = 0;
    if (at == UINT64_MAX)
        return false;
    assert_true(at > now);
    pass(RTE_MIN(at, limit) - now);
    return true;
}

/* The owner sends so many full segments. */
static void queue_segments(unsigned n)
{
    struct hr_pieceq q;
    hr_pieceq_init(&q);
    for (; n > 0; n--) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        assert_non_null(m);
        memset(rte_pktmbuf_append(m, MSS), 'q', MSS);
        assert_int_equal(hr_pieceq_push_mbuf_take(&bufs, &q, m), 0);
    }
    assert_int_equal(hr_tcp_send_move(tcp, conn, &q, q.bytes), 0);
}

/* A connection on a path of 10 ms whose window stands at so many segments. */
static void open_window(uint32_t segments)
{
    establish(false, true, true);
    conn->cwnd = conn->ssthresh = segments * MSS;
    conn->srtt_us = conn->min_rtt_us = 10000;
}

/* The window opens at once: 10 segments leave, the rest at 5/4 of a window per round trip. */
static void test_burst_beyond_the_initial_window(void **state)
{
    (void)state;
    open_window(150);
    queue_segments(150);
    uint64_t start = now;
    said();
    assert_int_equal(data_of(0), 10);
    unsigned sent = 10;
    while (to_next(now + 10000)) {
        unsigned n = data_of(0);
        assert_in_range(n, 1, 10);
        sent += n;
        double rate = (sent - 10) / (double)(now - start); /* segments per us */
        assert_true(rate <= 1.02 * 1.25 * 150 / 10000);
    }
    assert_int_equal(sent, 150);
    assert_in_range(now - start, 7300, 7700); /* 140 segments */
    assert_true(stats.counters[HR_CTR_tcp_paced] > 5);

    /* A stretch ACK for all of it opens the window again. */
    pass(10000);
    feed(seq, ack + 150 * MSS, ACK, 0);
    queue_segments(150);
    start = now;
    said();
    assert_int_equal(data_of(0), 10);
    for (sent = 10; to_next(now + 10000); sent += data_of(0))
        assert_in_range(data_of(0), 1, 10);
    assert_int_equal(sent, 150);
    assert_in_range(now - start, 7300, 7700); /* 140 segments */
}

/* An ACK of half of what is in flight, in recovery or not: no more than a burst. */
static void test_stretch_ack(void **state)
{
    (void)state;
    open_window(150);
    queue_segments(170);
    said();
    while (to_next(now + 10000))
        ;
    pass(2000);
    feed(seq, ack + 75 * MSS, ACK, 0);
    said();
    assert_int_equal(data_of(0), 10);
    unsigned sent = 10;
    while (to_next(now + 10000)) {
        assert_in_range(data_of(0), 1, 10);
        sent += data_of(0);
    }
    assert_int_equal(sent, 20); /* all there was */
}

/* Twice the window per round trip below ssthresh. */
static void test_slow_start_rate(void **state)
{
    (void)state;
    open_window(150);
    conn->ssthresh = 1 << 28;
    queue_segments(150);
    uint64_t start = now;
    said();
    while (to_next(now + 10000))
        assert_in_range(data_of(0), 1, 10);
    assert_in_range(now - start, 4500, 4900);
}

static void test_acks_clock_without_waiting(void **state)
{
    (void)state;
    open_window(100);
    queue_segments(10);
    said();
    assert_int_equal(data_of(0), 10);
    uint32_t acked = ack;
    for (unsigned i = 0; i < 300; i++) { /* two segments acknowledged, two more written */
        pass(200);
        acked += 2 * MSS;
        feed(seq, acked, ACK, 0);
        queue_segments(2);
        said();
        assert_int_equal(data_of(0), 2);
    }
    assert_int_equal(stats.counters[HR_CTR_tcp_paced], 0);
    assert_true(hr_tcp_pace_deadline(tcp) == UINT64_MAX);
}

/* A fast path: what the rate sends while a worker is busy elsewhere leaves in one go. */
static void test_short_round_trips_are_not_held_up(void **state)
{
    (void)state;
    open_window(150);
    conn->srtt_us = conn->min_rtt_us = 20;
    queue_segments(150);
    said();
    assert_int_equal(data_of(0), 150);
}

/* Who waits still acknowledges at once, and carries on where it was. */
static void test_acks_do_not_wait(void **state)
{
    (void)state;
    open_window(150);
    queue_segments(150);
    said();
    unsigned sent = data_of(0);
    for (unsigned i = 0; i < 8; i++) {
        feed(seq, ack, ACK, 10);
        seq += 10;
        said();
        assert_true(n_out == 1 && out[0].len == 0 && out[0].ack == seq);
    }
    while (to_next(now + 10000))
        sent += data_of(0);
    assert_int_equal(sent, 150);
}

/* ---- ports ---- */

static void allow(uint64_t bytes_per_s, uint32_t packets_per_s, uint32_t burst_us)
{
    tcp->cfg.allowance[0] = (struct hr_tcp_allowance){bytes_per_s, packets_per_s, burst_us};
    hr_tcp_pace_init(tcp);
}

struct flow {
    struct hr_tcp_conn *conn;
    uint16_t port;
    uint32_t seq, ack;
    unsigned write; /* segments that it writes when it has less than that */
    uint64_t sent; /* bytes */
};

static void add_flow(struct flow *f, uint16_t port, uint32_t mss)
{
    peer_port = port;
    open_window(100);
    hr_tcp_set_mss(conn, (uint16_t)mss);
    conn->min_rtt_us = conn->srtt_us = 20; /* no bursts of their own */
    *f = (struct flow){.conn = conn, .port = port, .seq = seq, .ack = ack, .write = 30};
}

/* Counts what was said, in frames and for each flow; the peers acknowledge it, and each flow has more to say. */
static uint64_t collect(struct flow *f, unsigned n, uint64_t *ret_packets)
{
    uint64_t bytes = 0;
    for (unsigned k = 0; k < n_out; k++)
        bytes += FRAME(out[k].len);
    *ret_packets += n_out;
    for (unsigned i = 0; i < n; i++) {
        uint32_t before = f[i].ack;
        for (unsigned k = 0; k < n_out; k++) {
            if (out[k].flow.remote_port == f[i].port && out[k].len > 0) {
                assert_int_equal(out[k].seq, f[i].ack);
                f[i].ack += out[k].len;
                f[i].sent += out[k].len;
            }
        }
        peer_port = f[i].port;
        conn = f[i].conn;
        if (f[i].ack != before)
            feed(f[i].seq, f[i].ack, ACK, 0);
        if (hr_tcp_send_bytes(conn) < f[i].write * MSS)
            queue_segments(f[i].write);
    }
    n_out = 0;
    return bytes;
}

/* Runs the flows for so long; what left never exceeds the allowance by more than one segment. */
static uint64_t run(struct flow *f, unsigned n, uint64_t time_us, uint64_t *ret_packets)
{
    const struct hr_tcp_allowance *a = &tcp->cfg.allowance[0];
    uint64_t start = now, bytes = 0;
    *ret_packets = 0;
    n_out = 0;
    while (now < start + time_us) {
        bytes += collect(f, n, ret_packets);
        flush();
        bytes += collect(f, n, ret_packets);
        uint64_t allowed_us = now - start + a->burst_us;
        assert_true(bytes <= a->bytes_per_s * allowed_us / 1000000 + FRAME(MSS));
        assert_true(a->packets_per_s == 0 || *ret_packets <= a->packets_per_s * allowed_us / 1000000 + 1);
        uint64_t at = hr_tcp_pace_deadline(tcp);
        pass(at == UINT64_MAX ? 10 : at - now);
    }
    return bytes;
}

static void test_port_allowance(void **state)
{
    struct flow f[2];
    uint64_t packets;
    (void)state;
    add_flow(&f[0], 1001, MSS);
    add_flow(&f[1], 1002, 536);
    allow(10000000, 0, 1000);
    assert_true(run(f, 2, 300000, &packets) >= 10000000 * 0.3 * 0.98);
    assert_true(stats.counters[HR_CTR_tcp_port_waits] > 0);
    /* Equal parts, although the segments are not. */
    double share = (double)f[0].sent / (double)f[1].sent;
    assert_true(share > 0.95 && share < 1.05);
}

/* Who writes a segment whenever its last one has left comes again and again, and always behind those who wait: it
 * gets its segment in each round, and a bulk flow its quantum. */
static void test_newcomers_wait_their_turn(void **state)
{
    struct flow f[5];
    uint64_t packets;
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        add_flow(&f[i], (uint16_t)(1001 + i), MSS);
        f[i].write = i == 0 ? 30 : 1;
    }
    allow(10000000, 0, 1000);
    run(f, 5, 300000, &packets);
    assert_true(f[0].sent > 1500000);
    for (unsigned i = 1; i < 5; i++)
        assert_true(f[i].sent > 20 * MSS);
}

/* A packet costs the longer of its two times. */
static void test_port_packet_rate(void **state)
{
    struct flow f;
    uint64_t packets;
    (void)state;
    add_flow(&f, 1001, 88);
    allow(1000000000, 10000, 1000);
    run(&f, 1, 100000, &packets);
    assert_true(packets >= 980);
}

/* Nothing in flight, and the port is shut: that is no closed window. ACKs leave. */
static void test_waiting_for_the_port(void **state)
{
    struct flow f[2];
    (void)state;
    add_flow(&f[0], 1001, MSS);
    add_flow(&f[1], 1002, MSS);
    allow(1000000, 0, 1000); /* a segment and a half per millisecond */
    peer_port = 1001;
    conn = f[0].conn;
    queue(20000);
    said();
    assert_int_equal(data_of(0), 1);
    peer_port = 1002;
    conn = f[1].conn;
    queue(1000);
    said();
    assert_int_equal(n_out, 0);
    assert_false(conn->persist);
    feed(f[1].seq, f[1].ack, ACK, 100);
    said();
    assert_true(n_out == 1 && out[0].len == 0 && out[0].flow.remote_port == 1002);
    unsigned turns = 0;
    for (; data_of(1002) == 0 && turns < 40; turns++)
        assert_true(to_next(now + 100000));
    assert_in_range(turns, 1, 20); /* the other has its 20000 first: its turn came before */
    hr_tcp_abort(tcp, f[1].conn);
}

/* A block that is freed while it waits, and used again, loses nothing and holds nobody up. */
static void test_freed_while_waiting(void **state)
{
    struct flow f[3];
    (void)state;
    allow(1000000, 0, 1000);
    for (unsigned i = 0; i < 3; i++)
        add_flow(&f[i], (uint16_t)(1001 + i), MSS);
    for (unsigned i = 0; i < 3; i++) {
        peer_port = f[i].port;
        conn = f[i].conn;
        queue(3000);
    }
    said();
    assert_true(f[1].conn->waiting && f[1].conn->wait_queued);
    struct hr_tcp_conn *freed = f[1].conn;
    hr_tcp_abort(tcp, f[1].conn);
    add_flow(&f[1], 2001, MSS);
    assert_ptr_equal(f[1].conn, freed);
    peer_port = 2001;
    conn = f[1].conn;
    queue(3000);
    said();
    for (unsigned i = 0; i < 100 && to_next(now + 100000); i++)
        ;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f[i].conn->snd_nxt - f[i].ack, 3000);
    assert_int_equal(tcp->pace.port[0].backlog.first, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_burst_beyond_the_initial_window),
        T(test_stretch_ack),
        T(test_slow_start_rate),
        T(test_acks_clock_without_waiting),
        T(test_short_round_trips_are_not_held_up),
        T(test_acks_do_not_wait),
        T(test_port_allowance),
        T(test_newcomers_wait_their_turn),
        T(test_port_packet_rate),
        T(test_waiting_for_the_port),
        T(test_freed_while_waiting),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
