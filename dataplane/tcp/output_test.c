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

/* ---- headers in place, by a prepared way ---- */

#define SEG 1448 /* with timestamps */
static struct hr_net_txq way_q;
static struct hr_net_way way_;
static struct rte_mbuf *frames[64];
static unsigned n_frames;

static void way_flush(struct hr_net_txq *q)
{
    assert_true(n_frames + q->n <= RTE_DIM(frames));
    memcpy(frames + n_frames, q->pkts, q->n * sizeof(frames[0]));
    n_frames += q->n;
    q->n = 0;
    q->bytes = 0;
}

static struct hr_net_way *way_of(void *owner, const struct hr_flow *flow)
{
    (void)owner, (void)flow;
    return &way_;
}

static void tweak_way(struct hr_tcp_config *c)
{
    c->way = way_of;
}

static int setup_way(void **state)
{
    way_q = (struct hr_net_txq){.flush = way_flush};
    way_ = (struct hr_net_way){.head_len = 34, .ip_len = 20, .mtu = 1500, .q = &way_q, .ol_flags = RTE_MBUF_F_TX_IP_CKSUM,
                               .pseudo = 0x1234};
    memset(way_.head, 0xaa, sizeof(way_.head));
    memset(way_.head + 64 - 20, 0, 20);
    n_frames = 0;
    return setup_with(state, 2048, tweak_way);
}

static void free_frames(void)
{
    while (n_frames > 0)
        rte_pktmbuf_free(frames[--n_frames]);
}

/* A received buffer is passed on; its bytes count up from first. */
static struct rte_mbuf *relay(uint32_t len, uint8_t first)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    struct hr_pieceq q;
    hr_pieceq_init(&q);
    uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)len);
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(first + i);
    assert_int_equal(hr_pieceq_push_mbuf_take(&bufs, &q, m), 0);
    assert_int_equal(hr_tcp_send_move(tcp, conn, &q, len), 0);
    return m;
}

/* The frame carries len bytes that count up from first, as the segment at sequence number s. */
static void check_frame(const struct rte_mbuf *m, uint32_t s, uint32_t len, uint8_t first, uint8_t flags)
{
    uint8_t flat[2048];
    assert_int_equal(m->pkt_len, 66 + len);
    assert_int_equal(m->ol_flags, RTE_MBUF_F_TX_IP_CKSUM);
    assert_int_equal(m->l4_len, 32);
    for (uint32_t at = 0, k = 0; m != NULL; at += m->data_len, m = m->next, k++) {
        assert_true(at + m->data_len <= sizeof(flat));
        memcpy(flat + at, rte_pktmbuf_mtod(m, const void *), m->data_len);
    }
    for (unsigned i = 0; i < 14; i++)
        assert_int_equal(flat[i], 0xaa);
    assert_int_equal(flat[16] << 8 | flat[17], 52 + len);
    const struct rte_tcp_hdr *th = (const struct rte_tcp_hdr *)(flat + 34);
    assert_int_equal(rte_be_to_cpu_32(th->sent_seq), s);
    assert_int_equal(rte_be_to_cpu_32(th->recv_ack), seq);
    assert_int_equal(th->tcp_flags, flags);
    assert_int_equal(th->data_off, 0x80);
    assert_int_equal(th->cksum, hr_cksum_fold(0x1234 + rte_cpu_to_be_16((uint16_t)(32 + len))));
    struct hr_tcp_opts o;
    assert_int_equal(hr_tcp_opts_parse(flat + 54, 12, &o), 0);
    assert_true(o.has_ts);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(flat[66 + i], (uint8_t)(first + i));
}

/* Time passes until the first segment is sent again; the frames from there on are looked at. */
static struct rte_mbuf *repeated(unsigned from)
{
    for (unsigned i = 0; i < 20; i++) {
        for (; from < n_frames; from++) {
            const uint8_t *f = rte_pktmbuf_mtod(frames[from], const uint8_t *);
            if (((const struct rte_tcp_hdr *)(f + 34))->sent_seq == rte_cpu_to_be_32(ack))
                return frames[from];
        }
        pass(300000);
        way_flush(&way_q);
    }
    fail();
    return NULL;
}

/* SYN and SYN-ACK do not go by the way; nor does what follows, until it is needed. */
static void test_way_and_place(void **state)
{
    struct rte_mbuf *m[4];
    (void)state;
    establish(true, true, true);
    for (unsigned i = 0; i < 3; i++)
        m[i] = relay(SEG, (uint8_t)(SEG * i));
    m[3] = relay(500, (uint8_t)(SEG * 3));
    assert_true(hr_tcp_flush(tcp, 2)); /* the budget cuts a run */
    assert_int_equal(way_q.n, 2);
    flush();
    way_flush(&way_q);
    assert_int_equal(n_out, 0);
    assert_int_equal(n_frames, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_ptr_equal(frames[i], m[i]);
        assert_null(frames[i]->next);
        check_frame(frames[i], ack + SEG * i, i < 3 ? SEG : 500, (uint8_t)(SEG * i), i < 3 ? ACK : ACK | PSH);
    }
    assert_int_equal(rte_mempool_in_use_count(bufs.hdr_pool), 0);

    /* Sent again while the first copies are still on their way: those do not change. */
    uint8_t before[1600];
    memcpy(before, rte_pktmbuf_mtod(frames[0], void *), 66 + SEG);
    struct rte_mbuf *again = repeated(4);
    check_frame(again, ack, SEG, 0, ACK);
    assert_int_equal(again->nb_segs, 2);
    assert_memory_equal(before, rte_pktmbuf_mtod(frames[0], void *), 66 + SEG);

    /* And again when they have left: in place. */
    free_frames();
    assert_int_equal(rte_mempool_in_use_count(bufs.hdr_pool), 0);
    assert_ptr_equal(repeated(0), m[0]);
    check_frame(m[0], ack, SEG, 0, ACK);
    free_frames();
    opts.tsecr = 0;
    feed(seq, ack + 3 * SEG + 500, ACK, 0);
    assert_int_equal(rte_mempool_in_use_count(bufs.rx_pool), 0);
    assert_null(conn->flight);

    /* An ACK alone goes by the way too. */
    feed(seq, ack + 3 * SEG + 500, ACK | PSH, 10);
    flush();
    way_flush(&way_q);
    assert_int_equal(n_frames, 1);
    seq += 10;
    check_frame(frames[0], ack + 3 * SEG + 500, 0, 0, ACK);
    free_frames();
}

/* What does not begin a buffer, or has to share it, gets headers of its own; lengths follow. */
static void test_way_of_parts(void **state)
{
    (void)state;
    establish(true, true, true);
    relay(2000, 0);
    relay(1500, (uint8_t)2000);
    flush();
    way_flush(&way_q);
    assert_int_equal(n_frames, 3);
    for (unsigned i = 0; i < 3; i++)
        check_frame(frames[i], ack + SEG * i, i < 2 ? SEG : 3500 - 2 * SEG, (uint8_t)(SEG * i), i < 2 ? ACK : ACK | PSH);
    assert_int_equal(frames[0]->nb_segs, 1); /* ahead of the rest of its buffer */
    assert_int_equal(frames[1]->nb_segs, 3);
    free_frames();
    /* The FIN rides. */
    relay(100, 0);
    hr_tcp_shutdown(tcp, conn);
    flush();
    way_flush(&way_q);
    assert_int_equal(n_frames, 1);
    check_frame(frames[0], ack + 3500, 100, 0, FIN | ACK | PSH);
    free_frames();
}

/* A way that has become too narrow: emit_take() is told. */
static void test_narrow_way(void **state)
{
    (void)state;
    establish(true, true, true);
    way_.mtu = 1499;
    relay(SEG, 0);
    n_out = 0;
    flush();
    assert_int_equal(way_q.n + n_frames, 0);
    assert_int_equal(n_out, 1);
    assert_int_equal(out[0].len, SEG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define W(f) cmocka_unit_test_setup_teardown(f, setup_way, teardown)
    const struct CMUnitTest tests[] = {
        T(test_initial_window),
        T(test_ecn_is_refused),
        T(test_window_limits),
        T(test_small_window_peer),
        T(test_sack_retransmission),
        T(test_reneging),
        T(test_fin_retransmission),
        T(test_header_pool_empty),
        W(test_way_and_place),
        W(test_way_of_parts),
        W(test_narrow_way),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
