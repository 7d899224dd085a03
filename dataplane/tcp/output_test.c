/* What is sent when: windows, loss, the end. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"

static void test_initial_window(void **state)
{
    (void)state;
    establish(false, true, true);
    queue(60000);
    said();
    assert_int_equal(n_out, 10); /* RFC 6928 */
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(out[i].len, 1460);
}

/* RFC 3168 6.1.1: who offers ECN is told no by a plain SYN-ACK. A peer that signals congestion all the same is
 * not heard. */
static void test_ecn_is_refused(void **state)
{
    const uint8_t ecn = RTE_TCP_ECE_FLAG | RTE_TCP_CWR_FLAG;
    (void)state;
    opts.has_mss = true;
    opts.mss = 1460;
    feed(7000, 0, SYN | ecn, 0);
    struct out *o = said();
    assert_int_equal(o->flags, SYN | ACK);
    opts.has_mss = false;
    ack = o->seq + 1;
    feed(7001, ack, ACK | ecn, 0);
    uint32_t events;
    conn = hr_tcp_next_event(tcp, &events);
    assert_non_null(conn);
    queue(14600);
    said();
    assert_int_equal(n_out, 10);
    uint32_t cwnd = conn->cwnd, ssthresh = conn->ssthresh;
    for (unsigned i = 1; i <= 10; i++)
        feed(7001, ack + i * 1460, ACK | RTE_TCP_ECE_FLAG, 0);
    assert_true(conn->cwnd > cwnd && conn->ssthresh == ssthresh);
    feed(7001, ack + 14600, ACK | PSH | RTE_TCP_CWR_FLAG, 10);
    queue(2000);
    said();
    for (unsigned i = 0; i < n_out; i++)
        assert_int_equal(out[i].flags & ecn, 0);
    assert_int_equal(n_out, 2);

    struct hr_flow flow = {.local = us, .remote = peer, .local_port = 33000, .remote_port = 9092};
    struct hr_tcp_conn *active;
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &active), 0); /* nor is it offered */
    assert_int_equal(said()->flags, SYN);
    hr_tcp_abort(tcp, active);
}

static void test_window_limits(void **state)
{
    (void)state;
    establish(false, true, true);
    feed_wnd(seq, ack, ACK, 0, 1000); /* scaled by 4 */
    queue(10000);
    said();
    assert_int_equal(n_out, 2); /* 2920; the 1080 left are neither full nor half of the largest window */
    feed_wnd(seq, ack + 2920, ACK, 0, 0);
    n_out = 0;
    flush();
    assert_int_equal(n_out, 0);
    assert_true(conn->persist);
    pass(1200000);
    assert_int_equal(n_out >= 1, 1);
    assert_int_equal(out[0].len, 0); /* a probe */
    assert_int_equal(out[0].seq, ack + 2920 - 1);
    feed_wnd(seq, ack + 2920, ACK, 0, 20000);
    said();
    assert_int_equal(out[0].seq, ack + 2920);
    assert_int_equal(out[0].len, 1460);
}

/* A peer whose window never reaches a segment: half of it is good enough (RFC 9293 3.8.6.2.1). */
static void test_small_window_peer(void **state)
{
    (void)state;
    establish(false, true, false);
    conn->snd_wnd_max = 0;
    feed_wnd(seq, ack, ACK, 0, 400);
    conn->snd_wnd_max = 400;
    queue(1000);
    said();
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].len, 400);
}

static void test_sack_retransmission(void **state)
{
    (void)state;
    establish(false, true, true);
    queue(14600);
    said();
    assert_int_equal(n_out, 10);
    conn->min_rtt_us = 20000; /* the handshake took no time */
    pass(20000);
    opts.n_sack = 1;
    opts.sack[0] = (struct hr_tcp_range){ack + 1460, ack + 1460 * 3};
    feed(seq, ack, ACK, 0);
    assert_null(said()); /* two segments above: not lost yet */
    opts.sack[0].end = ack + 1460 * 4;
    feed(seq, ack, ACK, 0);
    said();
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].seq, ack);
    assert_int_equal(out[0].len, 1460);
    /* Blocks that make no sense change nothing. */
    opts.n_sack = 4;
    opts.sack[0] = (struct hr_tcp_range){ack + 20000, ack + 30000};
    opts.sack[1] = (struct hr_tcp_range){ack + 5000, ack + 4000};
    opts.sack[2] = (struct hr_tcp_range){ack - 5000, ack - 4000};
    opts.sack[3] = (struct hr_tcp_range){ack - 5000, ack + 9000};
    uint32_t bytes = conn->flight->xmit.sacked_bytes;
    feed(seq, ack, ACK, 0);
    assert_int_equal(conn->flight->xmit.sacked_bytes, bytes);
    opts.n_sack = 0;
    feed(seq, ack + 14600, ACK, 0);
    said();
    assert_null(conn->flight);
    assert_int_equal(conn->recovery, HR_TCP_RECOVERY_NONE);
    assert_int_equal(hr_tcp_send_bytes(conn), 0);
}

/* The peer forgets what it had SACKed (RFC 2018 8): after the timeout it is sent all the same. */
static void test_reneging(void **state)
{
    (void)state;
    establish(false, true, true);
    queue(4 * 1460);
    said();
    opts.n_sack = 1;
    opts.sack[0] = (struct hr_tcp_range){ack + 1460, ack + 2 * 1460};
    feed(seq, ack, ACK, 0);
    opts.n_sack = 0;
    feed(seq, ack + 1460, ACK, 0); /* and not ack + 2920 */
    for (int i = 0; i < 40 && conn->snd_una != conn->snd_nxt; i++) {
        n_out = 0;
        pass(300000);
        for (unsigned k = 0, n = n_out; k < n; k++) {
            if (hr_seq_leq(out[k].seq, conn->snd_una))
                feed(seq, out[k].seq + out[k].len, ACK, 0);
        }
    }
    assert_int_equal(conn->snd_una, conn->snd_nxt);
}

/* Bytes on the wire keep their place: retransmissions of any part show the same bytes. */
static void test_fin_retransmission(void **state)
{
    (void)state;
    establish(false, true, true);
    queue(100);
    hr_tcp_shutdown(tcp, conn);
    assert_int_equal(conn->state, HR_TCP_FIN_WAIT_1);
    struct out *o = said();
    assert_int_equal(n_out, 1);
    assert_int_equal(o->flags, FIN | ACK | PSH);
    feed(seq, ack + 100, ACK, 0); /* all but the FIN */
    n_out = 0;
    pass(1000000);
    assert_true(n_out >= 1);
    assert_int_equal(out[0].flags, FIN | ACK);
    assert_int_equal(out[0].seq, ack + 100);
    assert_int_equal(out[0].len, 0);
    feed(seq, ack + 101, ACK, 0);
    assert_int_equal(conn->state, HR_TCP_FIN_WAIT_2);
    feed(seq, ack + 101, FIN | ACK, 0);
    assert_int_equal(tcp->n_time_wait, 1);
    assert_true(events_of(conn) & HR_TCP_EV_CLOSED);
    assert_int_equal(out[n_out - 1].ack, seq + 1);
    hr_tcp_release(tcp, conn);
    assert_int_equal(tcp->n_conns, 0);
}

static void test_header_pool_empty(void **state)
{
    struct rte_mbuf *held[1024];
    unsigned n = 0;
    (void)state;
    establish(false, true, true);
    queue(1000);
    while (n < 1024 && (held[n] = rte_pktmbuf_alloc(bufs.hdr_pool)) != NULL)
        n++;
    n_out = 0;
    assert_true(hr_tcp_flush(tcp, 64)); /* come again */
    assert_int_equal(n_out, 0);
    assert_true(stats.drops[HR_DROP_tx_nombuf] > 0);
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
    assert_non_null(said());
    assert_int_equal(out[0].len, 1000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_initial_window),
        T(test_ecn_is_refused),
        T(test_window_limits),
        T(test_small_window_peer),
        T(test_sack_retransmission),
        T(test_reneging),
        T(test_fin_retransmission),
        T(test_header_pool_empty),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
