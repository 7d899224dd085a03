/* Segments that belong to nobody, open connections, or attack them. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/testpeer.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

static void test_no_connection(void **state)
{
    (void)state;
    feed(500, 900, ACK, 10); /* RFC 9293 3.10.7.1 */
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].flags, RST);
    assert_int_equal(out[0].seq, 900);
    feed(500, 0, FIN, 10);
    assert_int_equal(out[1].flags, RST | ACK);
    assert_int_equal(out[1].seq, 0);
    assert_int_equal(out[1].ack, 511);
    feed(500, 0, RST, 0);
    feed(500, 1, RST | ACK, 0);
    assert_int_equal(n_out, 2);
    assert_int_equal(stats.drops[HR_DROP_tcp_no_conn], 4);
    assert_int_equal(tcp->n_conns, 0);
}

static void test_short_and_bad_options(void **state)
{
    (void)state;
    for (unsigned len = 0; len < 20; len++) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        memset(rte_pktmbuf_append(m, (uint16_t)len), 0xff, len);
        hr_inject_take(tcp, &peer, &us, m);
    }
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 20), 0x44, 20); /* data offset 16: below a header */
    hr_inject_take(tcp, &peer, &us, m);
    m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 24), 0xf0, 24); /* 60: beyond the segment */
    hr_inject_take(tcp, &peer, &us, m);
    assert_int_equal(stats.drops[HR_DROP_tcp_short], 22);
    m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 24), 0x66, 24);
    hr_inject_take(tcp, &peer, &us, m);
    assert_int_equal(stats.drops[HR_DROP_tcp_options], 1);
    assert_int_equal(n_out, 0);
}

/* ---- opening ---- */

static void test_peer_without_options(void **state)
{
    (void)state;
    feed(100, 0, SYN, 0);
    struct out *o = said();
    assert_false(o->opts.has_ts || o->opts.sack_ok || o->opts.has_wscale);
    feed(101, o->seq + 1, ACK, 0);
    uint32_t events;
    conn = hr_tcp_next_event(tcp, &events);
    assert_int_equal(conn->smss, 536); /* RFC 9293 3.7.1 */
    assert_int_equal(conn->rcv_wscale, 0);
    uint8_t data[2000] = {0};
    assert_int_equal(hr_tcp_send_bytes_copy(tcp, conn, data, 2000), 0);
    o = said();
    assert_int_equal(n_out, 4);
    assert_int_equal(out[0].len, 536);
    assert_int_equal(out[3].len, 2000 - 3 * 536);
    assert_int_equal(out[3].flags, ACK | PSH);
    assert_int_equal(out[0].flags, ACK);
}

static void test_tiny_mss(void **state)
{
    uint32_t events;
    (void)state;
    opts.has_mss = true;
    opts.mss = 1;
    feed(100, 0, SYN, 0);
    struct out *o = said();
    opts.has_mss = false;
    feed(101, o->seq + 1, ACK, 0);
    conn = hr_tcp_next_event(tcp, &events);
    assert_int_equal(conn->mss, HR_TCP_MSS_MIN);
}

static void test_syn_again(void **state)
{
    (void)state;
    feed(100, 0, SYN, 0);
    struct out first = *said();
    feed(100, 0, SYN, 0);
    struct out *o = said();
    assert_int_equal(o->flags, SYN | ACK);
    assert_int_equal(o->seq, first.seq);
    assert_int_equal(tcp->n_conns, 1);
    feed(101, first.seq + 5, ACK, 0); /* acknowledges what was never sent */
    assert_int_equal(out[n_out - 1].flags, RST);
    assert_int_equal(out[n_out - 1].seq, first.seq + 5);
    assert_int_equal(tcp->n_half_open, 1);
    feed(101, 0, RST, 0);
    assert_int_equal(tcp->n_conns, 0);
    assert_int_equal(events_of(NULL), 0); /* the owner never knew */
}

static void test_half_open_mark(void **state)
{
    (void)state;
    for (peer_port = 1000; peer_port < 1020; peer_port++)
        feed(1, 0, SYN, 0);
    assert_int_equal(tcp->n_half_open, 8);
    assert_int_equal(tcp->n_conns, 8);
    assert_int_equal(stats.counters[HR_CTR_tcp_syn_cookie_tx], 12);
    assert_int_equal(n_out, 12); /* answered without keeping anything */
    flush();
    assert_int_equal(n_out, 20);
    pass(200 * 1000000ULL); /* SYN-ACKs unanswered */
    for (int i = 0; i < 100; i++)
        pass(1000000);
    assert_int_equal(tcp->n_conns, 0);
    peer_port = 40000;
}

static void test_refused(void **state)
{
    (void)state;
    struct hr_addr other = peer;
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    struct rte_tcp_hdr *th = (void *)rte_pktmbuf_append(m, 20);
    memset(th, 0, 20);
    th->sent_seq = rte_cpu_to_be_32(77);
    th->dst_port = rte_cpu_to_be_16(1);
    th->data_off = 0x50;
    th->tcp_flags = SYN;
    hr_inject_take(tcp, &other, &us, m);
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].flags, RST | ACK);
    assert_int_equal(out[0].ack, 78);
}

static void test_sequence_numbers_are_keyed(void **state)
{
    (void)state;
    feed(100, 0, SYN, 0);
    uint32_t a = said()->seq;
    peer_port++;
    feed(100, 0, SYN, 0);
    uint32_t b = said()->seq;
    peer_port--;
    assert_true(a != b && (a - b > 1000000 && b - a > 1000000));
}

/* ---- attacks (RFC 5961) ---- */

static void test_reset_must_be_exact(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq + 1, 0, RST, 0);
    struct out *o = said();
    assert_non_null(o);
    assert_int_equal(o->flags, ACK);
    assert_int_equal(o->ack, seq);
    feed(seq + (1 << 20), 0, RST, 0); /* out of the window: nothing */
    assert_null(said());
    feed(seq - 1, 0, RST, 0);
    assert_null(said());
    assert_int_equal(conn->state, HR_TCP_ESTABLISHED);
    feed(seq, 0, RST, 0);
    assert_int_equal(events_of(conn), HR_TCP_EV_FAILED);
    assert_int_equal(conn->failure, HR_TCP_FAIL_RESET);
    assert_int_equal(hr_tcp_send_bytes_copy(tcp, conn, "x", 1), HR_E_CLOSED);
    assert_int_equal(hr_tcp_send_room(tcp, conn), 0);
    hr_tcp_release(tcp, conn);
    assert_int_equal(tcp->n_conns, 0);
}

static void test_syn_in_connection(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq, 0, SYN, 0);
    struct out *o = said();
    assert_int_equal(o->flags, ACK);
    feed(seq + 9, ack, SYN | ACK, 0);
    assert_non_null(said());
    assert_int_equal(conn->state, HR_TCP_ESTABLISHED);
    /* Limited per second. */
    unsigned answers = 0;
    for (int i = 0; i < 100; i++) {
        feed(seq, 0, SYN, 0);
        answers += said() != NULL;
    }
    assert_int_equal(answers, 8);
    pass(1100000);
    feed(seq, 0, SYN, 0);
    assert_non_null(said());
}

static void test_ack_of_nothing(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq, ack + 1, ACK, 4);
    assert_non_null(said());
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
    feed(seq, ack - 500000, ACK, 4); /* below SND.UNA by more than any window */
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_bad_ack], 2);
    feed(seq, ack, 0, 4); /* no ACK at all */
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
    feed(seq, ack, ACK, 4);
    check_rcvq(seq, 4);
}

static void test_paws(void **state)
{
    (void)state;
    establish(true, true, true);
    opts.tsval = 2000;
    feed(seq, ack, ACK, 10);
    assert_non_null(said());
    seq += 10;
    assert_int_equal(conn->ts_recent, 2000);
    opts.tsval = 1999;
    feed(seq, ack, ACK, 10);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 10);
    assert_non_null(said());
    opts.has_ts = false; /* a segment without timestamps is not of this connection */
    feed(seq, ack, ACK, 10);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 10);
    assert_int_equal(stats.drops[HR_DROP_tcp_paws], 2);
    feed(seq, 0, RST, 0); /* but a reset is */
    assert_int_equal(conn->state, HR_TCP_CLOSED);
}

/* An active open: RFC 9293 3.10.7.3 and RFC 5927. */
static void test_open_to_nobody(void **state)
{
    struct hr_flow flow = {us, peer, 9092, 40000};
    struct hr_tcp_conn *c;
    static const char *const nobody[] = {"0.0.0.0", "224.0.0.1", "239.255.255.255", "255.255.255.255", "::", "ff02::1"};
    (void)state;
    for (unsigned i = 0; i < RTE_DIM(nobody); i++) {
        assert_true(hr_addr_parse(nobody[i], &flow.remote));
        assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), HR_E_INVALID);
    }
    assert_null(said());
    assert_true(hr_addr_parse("223.255.255.255", &flow.remote));
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), 0);
}

static void test_active_open(void **state)
{
    struct hr_flow flow = {us, peer, 9092, 40000};
    struct hr_tcp_conn *c;
    (void)state;
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), 0);
    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), HR_E_EXISTS);
    assert_int_equal(said()->flags, SYN);
    uint32_t iss = out[0].seq;
    feed(1, iss + 7, SYN | ACK, 0); /* not ours: reset, and still waiting */
    assert_int_equal(out[n_out - 1].flags, RST);
    assert_int_equal(out[n_out - 1].seq, iss + 7);
    feed(1, 0, RST, 0); /* a reset without ACK proves nothing */
    feed(1, iss + 7, RST | ACK, 0);
    assert_int_equal(c->state, HR_TCP_SYN_SENT);
    hr_tcp_icmp_error(tcp, &flow, iss, false, 0); /* soft */
    hr_tcp_icmp_error(tcp, &flow, iss + 1, true, 0); /* not in flight */
    assert_int_equal(c->state, HR_TCP_SYN_SENT);
    hr_tcp_icmp_error(tcp, &flow, iss, true, 0);
    assert_int_equal(events_of(c), HR_TCP_EV_FAILED);
    assert_int_equal(c->failure, HR_TCP_FAIL_UNREACHABLE);
    hr_tcp_release(tcp, c);

    assert_int_equal(hr_tcp_connect(tcp, &flow, 0, &c), 0);
    iss = said()->seq;
    feed(900, iss + 1, SYN | ACK, 0);
    assert_int_equal(said()->ack, 901);
    assert_int_equal(events_of(c), HR_TCP_EV_CONNECTED);
    hr_tcp_icmp_error(tcp, &flow, iss, true, 0); /* established: no error ends it */
    assert_int_equal(c->state, HR_TCP_ESTABLISHED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_no_connection),
        T(test_short_and_bad_options),
        T(test_peer_without_options),
        T(test_tiny_mss),
        T(test_syn_again),
        T(test_half_open_mark),
        T(test_refused),
        T(test_sequence_numbers_are_keyed),
        T(test_reset_must_be_exact),
        T(test_syn_in_connection),
        T(test_ack_of_nothing),
        T(test_paws),
        T(test_active_open),
        T(test_open_to_nobody),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
