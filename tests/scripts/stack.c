/* Our stack as a backend: one struct hr_tcp, the script's peer as its wire, the script's owner as its proxy. */
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/tcp/impl.h"
#include "tests/scripts/backends.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

#define SENT_MAX 512

static struct hr_buf_ctx bufs;
static struct hr_stats stats;
static struct hr_tcp *tcp;
static struct hr_tcp_conn *conn;
static struct hr_addr us, peer;
static uint64_t now;
static uint16_t mss;
static struct ps_sent sent[SENT_MAX];
static unsigned n_sent, next_sent;
static bool reading, was_accepted, was_connected, was_eof, was_closed, wrong_bytes, closing;
static uint64_t received;
static enum hr_tcp_failure failure;
static struct hr_flow last_flow;

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    (void)owner;
    return (struct hr_tcp_accept){.accept = flow->local_port == PS_LOCAL_PORT};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    (void)owner, (void)local, (void)remote;
    return mss;
}

static void emit_take(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    (void)owner, (void)flow;
    if (n_sent == SENT_MAX) {
        fprintf(stderr, "the script's stack sends without end\n");
        abort();
    }
    struct ps_sent *s = &sent[n_sent++];
    s->at_us = now;
    s->len = 0;
    for (const struct rte_mbuf *seg = m; seg != NULL; seg = seg->next) {
        memcpy(s->bytes + s->len, rte_pktmbuf_mtod(seg, const void *), seg->data_len);
        s->len += seg->data_len;
    }
    rte_pktmbuf_free(m);
}

/* ---- the owner ---- */

static void read_all(void)
{
    struct hr_pieceq *q = hr_tcp_rcvq(conn);
    uint32_t n = q->bytes, len;
    struct hr_piece_iter it;

    if (n == 0)
        return;
    hr_piece_iter_at(&it, q, 0);
    for (const uint8_t *p; (p = hr_piece_iter_peek(&it, &len)) != NULL; hr_piece_iter_advance(&it, len)) {
        for (uint32_t i = 0; i < len; i++, received++)
            wrong_bytes |= p[i] != ps_pattern(1 + received);
    }
    hr_pieceq_drop(&bufs, q, n);
    hr_tcp_consumed(tcp, conn, n, 0, 0);
}

static void owner_turn(void)
{
    uint32_t events;
    for (struct hr_tcp_conn *c; (c = hr_tcp_next_event(tcp, &events)) != NULL;) {
        if (events & HR_TCP_EV_ACCEPTED) {
            conn = c;
            was_accepted = true;
            was_eof = was_closed = false;
            received = 0;
            failure = HR_TCP_FAIL_NONE;
        }
        if (c != conn)
            continue;
        was_connected |= events & HR_TCP_EV_CONNECTED;
        was_eof |= (events & HR_TCP_EV_FIN) != 0;
        if (reading || (events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED)))
            read_all();
        if (events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED)) {
            struct hr_tcp_conn_info info;
            hr_tcp_conn_get_info(tcp, c, &info);
            failure = info.error;
            was_closed = true;
            hr_tcp_release(tcp, c);
            conn = NULL;
        }
    }
    if (reading && conn != NULL)
        read_all();
}

static void turn(void)
{
    owner_turn();
    for (unsigned i = 0; hr_tcp_flush(tcp, 64) && i < 100; i++)
        ;
}

/* ---- the backend ---- */

static uint64_t stack_now(void)
{
    return now;
}

static bool stack_next(uint64_t until, struct ps_sent *ret)
{
    for (;;) {
        turn();
        if (next_sent < n_sent) {
            *ret = sent[next_sent++];
            if (next_sent == n_sent)
                next_sent = n_sent = 0;
            return true;
        }
        uint64_t at = hr_tcp_advance(tcp);
        turn();
        if (next_sent < n_sent)
            continue;
        if (now >= until)
            return false;
        now = at > until ? until : at <= now ? now + 1 : at;
        hr_tcp_set_now(tcp, now);
    }
}

static void stack_inject(const uint8_t *segment, uint32_t len)
{
    struct rte_mbuf *m = NULL, **link = &m;
    uint32_t segs = 0;
    for (uint32_t at = 0; at < len; segs++) { /* as a port with small buffers gives it */
        uint32_t n = RTE_MIN(len - at, 2048u);
        struct rte_mbuf *part = rte_pktmbuf_alloc(bufs.rx_pool);
        if (part == NULL)
            abort();
        memcpy(rte_pktmbuf_append(part, (uint16_t)n), segment + at, n);
        *link = part;
        link = &part->next;
        at += n;
    }
    m->pkt_len = len;
    m->nb_segs = (uint16_t)segs;
    last_flow = (struct hr_flow){us, peer, (uint16_t)(segment[2] << 8 | segment[3]),
                                 (uint16_t)(segment[0] << 8 | segment[1])};
    hr_tcp_set_now(tcp, now);
    hr_inject_take(tcp, &peer, &us, m);
    turn();
}

static void stack_icmp(const char *kind, uint32_t mtu, uint16_t peer_port, uint32_t seq)
{
    struct hr_flow flow = last_flow;
    bool hard = strcmp(kind, "port-unreachable") == 0 || strcmp(kind, "protocol-unreachable") == 0;

    if (strcmp(kind, "source-quench") == 0)
        return; /* the network layer tells TCP of errors alone */
    flow.remote_port = peer_port;
    if (mtu != 0 && !hr_addr_is_v4(&us))
        mtu += 20; /* scripts speak of IPv4's */
    hr_tcp_icmp_error(tcp, &flow, seq, hard, (uint16_t)mtu);
    turn();
}

static void stack_connect(uint16_t peer_port)
{
    struct hr_flow flow = {us, peer, PS_ACTIVE_PORT, peer_port};
    last_flow = flow;
    was_connected = was_eof = was_closed = false;
    received = 0;
    failure = HR_TCP_FAIL_NONE;
    if (hr_tcp_connect(tcp, &flow, 0, &conn) != 0)
        failure = HR_TCP_FAIL_ABORTED;
    turn();
}

static void stack_write(const uint8_t *bytes, uint32_t n)
{
    while (n > 0 && conn != NULL) { /* as buffers that came in on the other leg */
        struct hr_pieceq q;
        uint32_t part = RTE_MIN(n, 1500u);
        struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
        hr_pieceq_init(&q);
        if (m == NULL)
            abort();
        memcpy(rte_pktmbuf_append(m, (uint16_t)part), bytes, part);
        if (hr_pieceq_push_mbuf_take(&bufs, &q, m) != 0)
            abort();
        if (hr_tcp_send_move(tcp, conn, &q, part) != 0)
            hr_pieceq_clear(&bufs, &q);
        bytes += part;
        n -= part;
    }
    turn();
}

static void stack_shutdown(void)
{
    if (conn != NULL)
        hr_tcp_shutdown(tcp, conn);
    turn();
}

static void stack_close(void)
{
    closing = true;
    if (conn != NULL)
        hr_tcp_release(tcp, conn);
    conn = NULL;
    turn();
}

static void stack_abort(void)
{
    if (conn != NULL)
        hr_tcp_abort(tcp, conn);
    conn = NULL;
    turn();
}

static void stack_reading(bool on)
{
    reading = on;
    turn();
}

static bool stack_accepted(void)
{
    return was_accepted;
}

static bool stack_connected(void)
{
    return was_connected;
}

static uint64_t stack_got(void)
{
    return wrong_bytes ? UINT64_MAX : received;
}

static bool stack_at_eof(void)
{
    return was_eof;
}

static const char *stack_failure(void)
{
    switch (failure) {
    case HR_TCP_FAIL_NONE:
        return "";
    case HR_TCP_FAIL_RESET:
        return "reset";
    case HR_TCP_FAIL_REFUSED:
        return "refused";
    case HR_TCP_FAIL_UNREACHABLE:
        return "unreachable";
    default:
        return "timeout";
    }
}

static const char *stack_state(void)
{
    uint32_t hash = hr_tcp_flow_hash(tcp, &last_flow);
    struct hr_tcp_conn *c = hr_tcp_flow_find(tcp, &last_flow, hash);
    if (c != NULL)
        return hr_tcp_state_name(c->state);
    return hr_tcp_time_wait_find(tcp, &last_flow, hash) != NULL ? "TIME_WAIT" : "CLOSED";
}

static const struct ps_backend backend = {
    .name = "our stack",
    .who = PS_US,
    .now = stack_now,
    .next = stack_next,
    .inject = stack_inject,
    .icmp = stack_icmp,
    .connect = stack_connect,
    .write = stack_write,
    .shutdown = stack_shutdown,
    .close = stack_close,
    .abort = stack_abort,
    .reading = stack_reading,
    .accepted = stack_accepted,
    .connected = stack_connected,
    .got = stack_got,
    .at_eof = stack_at_eof,
    .failure = stack_failure,
    .state = stack_state,
};

const struct ps_backend *ps_stack_open(const struct ps_script *sc, bool ipv6)
{
    struct hr_tcp_config cfg;

    if (bufs.rx_pool == NULL) {
        struct hr_buf_config b = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = 4096,
                                  .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048, .hdr_mbufs = 2048, .chunks = 512};
        hr_test_eal_init();
        if (hr_buf_ctx_init(&bufs, &b, &stats) != 0) {
            fprintf(stderr, "no memory for the test's pools\n");
            exit(2);
        }
    }
    memset(&stats, 0, sizeof(stats));
    us = hr_addr_from_v4(htonl(0x0a000001));
    peer = hr_addr_from_v4(htonl(0x0a000002));
    if (ipv6) {
        us = (struct hr_addr){{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
        peer = (struct hr_addr){{0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
    }
    hr_tcp_config_default(&cfg);
    cfg.max_conns = 64;
    cfg.max_half_open = 32;
    cfg.bufs = &bufs;
    cfg.stats = &stats;
    cfg.on_syn = on_syn;
    cfg.path_mss = path_mss;
    cfg.emit_take = emit_take;
    for (unsigned i = 0; i < 16; i++)
        cfg.hash_key[i] = cfg.isn_key[i] = (uint8_t)(i * 17 + 3);
    if (sc->window != 0)
        cfg.rcv_wnd_initial = cfg.rcv_wnd_max = sc->window;
    if (sc->ka_idle_s != 0) {
        cfg.keepalive_us = sc->ka_idle_s * 1000000;
        cfg.keepalive_interval_us = sc->ka_interval_s * 1000000;
        cfg.keepalive_probes = (uint8_t)sc->ka_probes;
    }
    mss = sc->mss;
    now = 3000000000;
    conn = NULL;
    n_sent = next_sent = 0;
    reading = true;
    was_accepted = was_connected = was_eof = was_closed = wrong_bytes = closing = false;
    received = 0;
    failure = HR_TCP_FAIL_NONE;
    memset(&last_flow, 0, sizeof(last_flow));
    if (hr_tcp_create(&cfg, now, &tcp) != 0) {
        fprintf(stderr, "no memory for a stack\n");
        exit(2);
    }
    return &backend;
}

const char *ps_stack_close(void)
{
    bool illegal = tcp->illegal_transitions != 0;
    hr_tcp_destroy(tcp);
    if (illegal)
        return "a state transition was illegal";
    if (rte_mempool_in_use_count(bufs.rx_pool) + rte_mempool_in_use_count(bufs.hdr_pool) +
            rte_mempool_in_use_count(bufs.indirect_pool) + rte_mempool_in_use_count(bufs.chunk_pool) + bufs.held !=
        0)
        return "buffers were left";
    return NULL;
}
