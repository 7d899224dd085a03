/* One stack against hand-made segments: the rules that two correct stacks never put to the test. */
#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/tcp/impl.h"
#include "tests/support/eal.h"

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define PSH RTE_TCP_PSH_FLAG
#define ACK RTE_TCP_ACK_FLAG

struct out {
    struct hr_flow flow;
    uint32_t seq, ack, len;
    uint8_t flags;
    uint16_t wnd;
    struct hr_tcp_opts opts;
};

static struct hr_buf_ctx bufs;
static struct hr_stats stats;
static struct hr_tcp *tcp;
static struct hr_tcp_config cfg;
static struct out out[512];
static unsigned n_out;
static uint64_t now = 50000000;
static struct hr_addr us, peer;

/* The peer's side of the connection that most tests use. */
static uint16_t peer_port = 40000;
static uint32_t seq, ack;        /* next to send; next expected from us */
static struct hr_tcp_conn *conn;
static struct hr_tcp_opts opts;  /* on every segment that the peer sends */

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    (void)owner;
    return (struct hr_tcp_accept){.accept = flow->local_port == 9092};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    (void)owner, (void)local, (void)remote;
    return 1460;
}

static void emit_take(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    const struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);
    uint32_t hdr_len = (th->data_off >> 4) * 4u;
    (void)owner;
    assert_true(n_out < RTE_DIM(out));
    struct out *o = &out[n_out++];
    *o = (struct out){.flow = *flow, .seq = rte_be_to_cpu_32(th->sent_seq), .ack = rte_be_to_cpu_32(th->recv_ack),
                      .len = m->pkt_len - hdr_len, .flags = th->tcp_flags, .wnd = rte_be_to_cpu_16(th->rx_win)};
    assert_int_equal(hr_tcp_opts_parse((const uint8_t *)(th + 1), hdr_len - 20, &o->opts), 0);
    rte_pktmbuf_free(m);
}

static int setup(void **state)
{
    (void)state;
    memset(&stats, 0, sizeof(stats));
    struct hr_buf_config b = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = 2048,
                              .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048, .hdr_mbufs = 1024, .chunks = 256};
    assert_int_equal(hr_buf_ctx_init(&bufs, &b, &stats), 0);
    us = hr_addr_from_v4(htonl(0x0a000001));
    peer = hr_addr_from_v4(htonl(0x0a000002));
    hr_tcp_config_default(&cfg);
    cfg.max_conns = 64;
    cfg.max_half_open = 8;
    cfg.rx_pool_reserve = 64;
    cfg.ooo_max_pieces = 16;
    cfg.bufs = &bufs;
    cfg.stats = &stats;
    cfg.on_syn = on_syn;
    cfg.path_mss = path_mss;
    cfg.emit_take = emit_take;
    assert_int_equal(hr_tcp_create(&cfg, now, &tcp), 0);
    n_out = 0;
    conn = NULL;
    memset(&opts, 0, sizeof(opts));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    int bad = tcp->illegal_transitions != 0;
    for (uint32_t i = 0; i < cfg.max_conns; i++) { /* whatever the test left */
        if (tcp->conns[i].generation & 1)
            hr_tcp_conn_free(tcp, &tcp->conns[i]);
    }
    bad += tcp->n_conns + tcp->wheel.armed + tcp->n_half_open + tcp->n_time_wait + tcp->offered_bufs != 0;
    bad += tcp->ooo_slab.n_free != tcp->ooo_slab.n || tcp->sb_slab.n_free != tcp->sb_slab.n;
    hr_tcp_destroy(tcp);
    bad += rte_mempool_in_use_count(bufs.rx_pool) + rte_mempool_in_use_count(bufs.hdr_pool) +
               rte_mempool_in_use_count(bufs.indirect_pool) + rte_mempool_in_use_count(bufs.chunk_pool) !=
           0;
    hr_buf_ctx_fini(&bufs);
    return bad;
}

static void flush(void)
{
    while (hr_tcp_flush(tcp, 64))
        ;
}

static void pass(uint64_t us_)
{
    now += us_;
    hr_tcp_set_now(tcp, now);
    while (hr_tcp_advance(tcp) <= now)
        ;
    flush();
}

static void feed_wnd(uint32_t s, uint32_t a, uint8_t flags, uint32_t len, uint16_t wnd)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    assert_non_null(m);
    struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint32_t opt_len = hr_tcp_opts_write((uint8_t *)(th + 1), &opts);
    th->src_port = rte_cpu_to_be_16(peer_port);
    th->dst_port = rte_cpu_to_be_16(9092);
    th->sent_seq = rte_cpu_to_be_32(s);
    th->recv_ack = rte_cpu_to_be_32(a);
    th->data_off = (uint8_t)((20 + opt_len) / 4 << 4);
    th->tcp_flags = flags;
    th->rx_win = rte_cpu_to_be_16(wnd);
    m->data_len = (uint16_t)(20 + opt_len);
    uint8_t *p = rte_pktmbuf_mtod_offset(m, uint8_t *, m->data_len);
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(s + i);
    m->data_len = (uint16_t)(m->data_len + len);
    m->pkt_len = m->data_len;
    hr_tcp_input_take(tcp, &peer, &us, m);
}

static void feed(uint32_t s, uint32_t a, uint8_t flags, uint32_t len)
{
    feed_wnd(s, a, flags, len, 65535);
}

/* What the stack said since the last time; NULL if nothing. */
static struct out *said(void)
{
    n_out = 0;
    flush();
    return n_out == 0 ? NULL : &out[n_out - 1];
}

static uint32_t events_of(struct hr_tcp_conn *c)
{
    uint32_t events, all = 0;
    struct hr_tcp_conn *e;
    while ((e = hr_tcp_next_event(tcp, &events)) != NULL) {
        if (e == c || c == NULL)
            all |= events;
    }
    return all;
}

/* Passive open by a peer with these options. */
static void establish(bool ts, bool sack, bool wscale)
{
    uint32_t events;
    memset(&opts, 0, sizeof(opts));
    opts.has_mss = true;
    opts.mss = 1460;
    opts.has_ts = ts;
    opts.tsval = 1000;
    opts.sack_ok = sack;
    opts.has_wscale = wscale;
    opts.wscale = 2;
    seq = 7000;
    feed(seq, 0, SYN, 0);
    struct out *o = said();
    assert_non_null(o);
    assert_int_equal(o->flags, SYN | ACK);
    assert_int_equal(o->ack, seq + 1);
    assert_int_equal(o->opts.has_ts, ts);
    assert_int_equal(o->opts.sack_ok, sack);
    assert_int_equal(o->opts.has_wscale, wscale);
    assert_int_equal(o->opts.mss, 1460);
    seq++;
    ack = o->seq + 1;
    opts.has_mss = opts.sack_ok = opts.has_wscale = false;
    opts.tsecr = o->opts.tsval;
    feed(seq, ack, ACK, 0);
    conn = hr_tcp_next_event(tcp, &events);
    assert_non_null(conn);
    assert_int_equal(events, HR_TCP_EV_ACCEPTED);
    assert_int_equal(conn->state, HR_TCP_ESTABLISHED);
    n_out = 0;
    flush();
    assert_int_equal(n_out, 0); /* an ACK of a SYN is not answered */
}

static void check_rcvq(uint32_t from, uint32_t len)
{
    struct hr_pieceq *q = hr_tcp_rcvq(conn);
    uint8_t b[8192];
    assert_int_equal(q->bytes, len);
    hr_pieceq_peek(q, 0, b, len);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(b[i], (uint8_t)(from + i));
}

/* ---- no connection ---- */

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
        hr_tcp_input_take(tcp, &peer, &us, m);
    }
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 20), 0x44, 20); /* data offset 16: below a header */
    hr_tcp_input_take(tcp, &peer, &us, m);
    m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 24), 0xf0, 24); /* 60: beyond the segment */
    hr_tcp_input_take(tcp, &peer, &us, m);
    assert_int_equal(stats.drops[HR_DROP_tcp_short], 22);
    m = rte_pktmbuf_alloc(bufs.rx_pool);
    memset(rte_pktmbuf_append(m, 24), 0x66, 24);
    hr_tcp_input_take(tcp, &peer, &us, m);
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

static void test_half_open_limit(void **state)
{
    (void)state;
    for (peer_port = 1000; peer_port < 1020; peer_port++)
        feed(1, 0, SYN, 0);
    assert_int_equal(tcp->n_half_open, 8);
    assert_int_equal(stats.drops[HR_DROP_tcp_syn_backlog], 12);
    n_out = 0;
    flush();
    assert_int_equal(n_out, 8);
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
    hr_tcp_input_take(tcp, &other, &us, m);
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
    assert_int_equal(hr_tcp_send_room(conn), 0);
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

/* ---- reassembly ---- */

static void test_out_of_order(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq + 100, ack, ACK, 100);
    struct out *o = said();
    assert_int_equal(o->ack, seq);
    assert_int_equal(o->opts.n_sack, 1);
    assert_int_equal(o->opts.sack[0].start, seq + 100);
    assert_int_equal(o->opts.sack[0].end, seq + 200);
    feed(seq + 300, ack, ACK, 100);
    feed(seq + 500, ack, ACK, 100);
    o = said();
    assert_int_equal(o->opts.n_sack, 3);
    assert_int_equal(o->opts.sack[0].start, seq + 500); /* newest first */
    assert_int_equal(o->opts.sack[1].start, seq + 300);
    feed(seq + 150, ack, ACK, 400); /* covers the gaps, overlaps the pieces */
    o = said();
    assert_int_equal(o->opts.n_sack, 1);
    assert_int_equal(o->opts.sack[0].start, seq + 100);
    assert_int_equal(o->opts.sack[0].end, seq + 600);
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 0);
    feed(seq, ack, ACK, 120);
    o = said();
    assert_int_equal(o->ack, seq + 600);
    assert_int_equal(o->opts.n_sack, 0);
    check_rcvq(seq, 600);
    assert_int_equal(conn->ooo_n, 0);
    assert_int_equal(events_of(conn), HR_TCP_EV_READABLE);
}

/* Random pieces in random order, with duplicates, across the wrap; the FIN among them. */
static void test_reassembly_random(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        srand(round);
        peer_port = (uint16_t)(10000 + round);
        establish(false, round % 2, true);
        conn->rcv_nxt = conn->last_ack_sent = seq = 0u - 2000; /* as if a lot had come before */
        conn->rcv_adv = seq + 65535;
        conn->snd_wl1 = seq;
        uint32_t total = 4000;
        for (unsigned step = 0; step < 4000 && conn->rcv_nxt != seq + total + 1; step++) {
            uint32_t at = (uint32_t)rand() % total, len = 1 + (uint32_t)rand() % (rand() % 3 ? 60 : 900);
            if (step > 300)
                at = conn->rcv_nxt - seq;
            len = RTE_MIN(len, total - at);
            feed(seq + at, ack, ACK | (at + len == total ? FIN : 0), len);
            said();
            assert_true(conn->ooo_n <= cfg.ooo_max_pieces);
            for (struct hr_tcp_ooo *o = conn->ooo; o != NULL && o->next != NULL; o = o->next)
                assert_true(hr_seq_leq(o->seq + o->len, o->next->seq));
        }
        check_rcvq(seq, total);
        assert_int_equal(conn->state, HR_TCP_CLOSE_WAIT);
        assert_true(events_of(conn) & HR_TCP_EV_FIN);
        hr_tcp_abort(tcp, conn);
    }
    peer_port = 40000;
}

static void test_duplicate_is_reported(void **state)
{
    (void)state;
    establish(false, true, true);
    feed(seq, ack, ACK, 100);
    said();
    feed(seq, ack, ACK, 60);
    struct out *o = said();
    assert_int_equal(o->ack, seq + 100);
    assert_int_equal(o->opts.n_sack, 1); /* RFC 2883 */
    assert_int_equal(o->opts.sack[0].start, seq);
    assert_int_equal(o->opts.sack[0].end, seq + 60);
    assert_int_equal(stats.counters[HR_CTR_tcp_dup_rx], 1);
    feed(seq + 50, ack, ACK, 100); /* half of it is new */
    said();
    check_rcvq(seq, 150);
}

static void test_beyond_the_window(void **state)
{
    (void)state;
    establish(false, true, true);
    uint32_t edge = conn->rcv_adv;
    feed(edge - 10, ack, ACK, 100); /* cut at the edge */
    assert_int_equal(conn->ooo_n, 1);
    assert_int_equal(conn->ooo->len, 10);
    feed(edge + 1, ack, ACK, 100);
    assert_int_equal(conn->ooo_n, 1);
    assert_int_equal(stats.drops[HR_DROP_tcp_out_of_window], 1);
    assert_int_equal(said()->ack, seq);
}

static void test_pool_reserve(void **state)
{
    struct rte_mbuf *held[2048];
    unsigned n = 0;
    (void)state;
    establish(false, true, true);
    while (rte_mempool_avail_count(bufs.rx_pool) > 40)
        held[n++] = rte_pktmbuf_alloc(bufs.rx_pool);
    hr_tcp_set_now(tcp, now);
    uint32_t edge = conn->rcv_adv;
    feed(seq + 500, ack, ACK, 100); /* below the reserve: not kept */
    assert_int_equal(conn->ooo_n, 0);
    assert_int_equal(stats.drops[HR_DROP_tcp_rcv_pool], 1);
    feed(seq, ack, ACK, 100); /* the next in line is */
    check_rcvq(seq, 100);
    said();
    assert_int_equal(conn->rcv_adv, edge); /* and no further window */
    while (n > 0)
        rte_pktmbuf_free(held[--n]);
}

/* One byte a segment does not pin a buffer each. */
static void test_byte_drip(void **state)
{
    (void)state;
    establish(false, true, true);
    for (uint32_t i = 0; i < 1500; i++) {
        feed(seq + i, ack, ACK, 1);
        said();
    }
    assert_int_equal(hr_tcp_rcvq(conn)->bytes, 1500);
    assert_true(hr_tcp_rcvq(conn)->n_pieces <= 2);
    check_rcvq(seq, 1500);
}

/* ---- sending ---- */

static void queue(uint32_t n)
{
    static uint8_t data[65536];
    assert_int_equal(hr_tcp_send_bytes_copy(tcp, conn, data, n), 0);
}

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
    uint32_t bytes = conn->sb->bytes;
    feed(seq, ack, ACK, 0);
    assert_int_equal(conn->sb->bytes, bytes);
    opts.n_sack = 0;
    feed(seq, ack + 14600, ACK, 0);
    said();
    assert_null(conn->sb);
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
    assert_int_equal(conn->state, HR_TCP_TIME_WAIT);
    assert_true(events_of(conn) & HR_TCP_EV_CLOSED);
    assert_int_equal(said()->ack, seq + 1);
    pass(6000000);
    feed(seq, ack + 101, FIN | ACK, 0); /* again: answered, and 2 MSL start anew */
    assert_int_equal(said()->ack, seq + 1);
    hr_tcp_release(tcp, conn);
    pass(9000000);
    assert_int_equal(tcp->n_time_wait, 1);
    pass(1100000);
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

/* An active open: RFC 9293 3.10.7.3 and RFC 5927. */
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
        T(test_half_open_limit),
        T(test_refused),
        T(test_sequence_numbers_are_keyed),
        T(test_reset_must_be_exact),
        T(test_syn_in_connection),
        T(test_ack_of_nothing),
        T(test_paws),
        T(test_out_of_order),
        T(test_reassembly_random),
        T(test_duplicate_is_reported),
        T(test_beyond_the_window),
        T(test_pool_reserve),
        T(test_byte_drip),
        T(test_initial_window),
        T(test_window_limits),
        T(test_small_window_peer),
        T(test_sack_retransmission),
        T(test_reneging),
        T(test_fin_retransmission),
        T(test_header_pool_empty),
        T(test_active_open),
    };
    hr_test_eal_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
