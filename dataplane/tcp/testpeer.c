#include "dataplane/tcp/testpeer.h"

#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/eal.h"
#include "tests/support/family.h"
#include "tests/support/inject.h"

struct hr_buf_ctx bufs;
struct hr_stats stats;
struct hr_tcp *tcp;
struct hr_tcp_config cfg;
struct out out[512];
unsigned n_out;
uint64_t now = 50000000;
struct hr_addr us, peer;
bool refuse_syns;
uint16_t path_mss_;

uint16_t peer_port = 40000;
uint32_t seq, ack;
struct hr_tcp_conn *conn;
struct hr_tcp_opts opts;

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    (void)owner;
    return (struct hr_tcp_accept){.accept = flow->local_port == 9092 && !refuse_syns};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    (void)owner, (void)local, (void)remote;
    return path_mss_;
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

int setup_with(void **state, uint32_t rx_mbufs, void (*tweak)(struct hr_tcp_config *cfg))
{
    (void)state;
    memset(&stats, 0, sizeof(stats));
    struct hr_buf_config b = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = rx_mbufs,
                              .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048, .hdr_mbufs = 1024, .chunks = 256};
    assert_int_equal(hr_buf_ctx_init(&bufs, &b, &stats), 0);
    us = hr_test_addr(0x0a000001);
    peer = hr_test_addr(0x0a000002);
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
    if (tweak != NULL)
        tweak(&cfg);
    assert_int_equal(hr_tcp_create(&cfg, now, &tcp), 0);
    n_out = 0;
    refuse_syns = false;
    path_mss_ = 1460;
    conn = NULL;
    memset(&opts, 0, sizeof(opts));
    return 0;
}

int setup(void **state)
{
    return setup_with(state, 2048, NULL);
}

int teardown(void **state)
{
    (void)state;
    int bad = tcp->illegal_transitions != 0;
    for (uint32_t i = 0; i < cfg.max_conns; i++) { /* whatever the test left */
        if (tcp->conns[i].in_use)
            hr_tcp_conn_free(tcp, &tcp->conns[i]);
    }
    while (tcp->time_wait.first != 0)
        hr_tcp_time_wait_remove(tcp, &tcp->time_wait.entries[tcp->time_wait.first - 1]);
    bad += tcp->n_conns + tcp->wheel.armed + tcp->n_half_open + tcp->n_time_wait + tcp->offered_bufs != 0;
    bad += !hr_tcp_slabs_full(tcp);
    hr_tcp_destroy(tcp);
    bad += rte_mempool_in_use_count(bufs.rx_pool) + rte_mempool_in_use_count(bufs.hdr_pool) +
               rte_mempool_in_use_count(bufs.indirect_pool) + rte_mempool_in_use_count(bufs.chunk_pool) !=
           0;
    hr_buf_ctx_fini(&bufs);
    return bad;
}

void flush(void)
{
    while (hr_tcp_flush(tcp, 64))
        ;
}

void pass(uint64_t us_)
{
    now += us_;
    hr_tcp_set_now(tcp, now);
    while (hr_tcp_advance(tcp) <= now)
        ;
    flush();
}

struct rte_mbuf *make(uint32_t s, uint32_t a, uint8_t flags, uint32_t len, uint16_t wnd)
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
    return m;
}

void feed_wnd(uint32_t s, uint32_t a, uint8_t flags, uint32_t len, uint16_t wnd)
{
    hr_inject_take(tcp, &peer, &us, make(s, a, flags, len, wnd));
}

void feed(uint32_t s, uint32_t a, uint8_t flags, uint32_t len)
{
    feed_wnd(s, a, flags, len, 65535);
}

struct out *said(void)
{
    n_out = 0;
    flush();
    return n_out == 0 ? NULL : &out[n_out - 1];
}

uint32_t events_of(struct hr_tcp_conn *c)
{
    uint32_t events, all = 0;
    struct hr_tcp_conn *e;
    while ((e = hr_tcp_next_event(tcp, &events)) != NULL) {
        if (e == c || c == NULL)
            all |= events;
    }
    return all;
}

void establish(bool ts, bool sack, bool wscale)
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

void check_rcvq(uint32_t from, uint32_t len)
{
    struct hr_pieceq *q = hr_tcp_rcvq(conn);
    uint8_t b[8192];
    assert_int_equal(q->bytes, len);
    hr_pieceq_peek(q, 0, b, len);
    for (uint32_t i = 0; i < len; i++)
        assert_int_equal(b[i], (uint8_t)(from + i));
}

void queue(uint32_t n)
{
    static uint8_t data[65536];
    assert_int_equal(hr_tcp_send_bytes_copy(tcp, conn, data, n), 0);
}
