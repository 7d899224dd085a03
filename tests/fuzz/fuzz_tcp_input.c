/* Sequences of segments, times and owner's calls against one TCP stack with a listener and active opens.
 *
 * The input is a list of operations. Segments name a flow and give their numbers relative to what that
 * connection expects, or most would be dropped at the door. After each operation the stack must be sound;
 * at the end nothing may be held. */
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/buf/segment.h"
#include "dataplane/tcp/impl.h"
#include "dataplane/tcp/testcheck.h"
#include "tests/support/eal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FLOWS 4 /* 0, 1: the peer opens; 2, 3: we do */

struct input {
    const uint8_t *p;
    size_t left;
};

static struct hr_buf_ctx bufs;
static struct hr_stats stats;
static struct hr_tcp *tcp;
static uint64_t now;
static struct hr_tcp_conn *owned[8]; /* what the owner knows */

#define must(cond)                                                                                           \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "violated: %s\n", #cond);                                                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static uint32_t take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;
    while (bytes-- > 0) {
        v <<= 8;
        if (in->left > 0) {
            v |= *in->p++;
            in->left--;
        }
    }
    return v;
}

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    (void)owner;
    return (struct hr_tcp_accept){.accept = flow->remote_port != 2};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    (void)owner, (void)local, (void)remote;
    return 1460;
}

static void emit_take(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    uint32_t len = 0, segs = 0;
    (void)owner, (void)flow;
    for (const struct rte_mbuf *s = m; s != NULL; s = s->next, segs++)
        len += s->data_len;
    const struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);
    must(len == m->pkt_len && segs == m->nb_segs && segs <= 4);
    must(len - (th->data_off >> 4) * 4u <= 1460);
    must(rte_pktmbuf_headroom(m) >= 64);
    rte_pktmbuf_free(m);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    hr_test_eal_init();
    struct hr_buf_config cfg = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = 1024,
                                .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048, .hdr_mbufs = 1024, .chunks = 64};
    if (hr_buf_ctx_init(&bufs, &cfg, &stats) != 0)
        exit(2);
    return 0;
}

static struct hr_flow flow_of(unsigned i)
{
    struct hr_flow f = {.local = hr_addr_from_v4(0x0100000a), .remote = hr_addr_from_v4(0x0200000a)};
    f.local_port = i < 2 ? 9092 : (uint16_t)(30000 + i);
    f.remote_port = i < 2 ? (uint16_t)(1 + i) : 9092;
    if (i == 1)
        f.remote_port = 3;
    return f;
}

/* Segments that go in together, and how far each flow's run ahead of what its connection has taken. */
static struct rte_mbuf *burst[12];
static uint32_t n_burst, ahead[FLOWS];

static void arrive(void)
{
    hr_tcp_input_take(tcp, burst, n_burst);
    n_burst = 0;
    memset(ahead, 0, sizeof(ahead));
}

static void put(struct rte_mbuf *m, const struct hr_flow *f)
{
    hr_segment_set_addrs(m, &f->remote, &f->local);
    burst[n_burst++] = m;
    if (n_burst == RTE_DIM(burst))
        arrive();
}

static void segment(struct input *in)
{
    unsigned which = take(in, 1);
    struct hr_flow f = flow_of(which % FLOWS);
    struct hr_tcp_conn *c = hr_tcp_flow_find(tcp, &f, hr_tcp_flow_hash(tcp, &f));
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    if (m == NULL)
        return;
    struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint8_t flags = (uint8_t)take(in, 1);
    uint32_t seq = c == NULL ? 1000 : c->state == HR_TCP_SYN_SENT ? 1000 : c->rcv_nxt + ahead[which % FLOWS];
    uint32_t ack = c == NULL ? 0 : which & 16 ? c->snd_una : c->snd_nxt;
    if (which & 32)
        seq += (uint32_t)(int16_t)take(in, 2);
    if (which & 64)
        ack += (uint32_t)(int16_t)take(in, 2);
    uint32_t len = which & 128 ? take(in, 2) % 1461 : 0;
    th->src_port = rte_cpu_to_be_16(f.remote_port);
    th->dst_port = rte_cpu_to_be_16(f.local_port);
    th->sent_seq = rte_cpu_to_be_32(seq);
    th->recv_ack = rte_cpu_to_be_32(ack);
    th->rx_win = rte_cpu_to_be_16((uint16_t)take(in, 2));
    th->tcp_flags = flags;
    uint8_t kind = (uint8_t)take(in, 1);
    struct hr_tcp_opts o = {0};
    uint32_t opt_len;
    if (kind & 128) { /* options as they come */
        opt_len = (kind & 15) * 4;
        for (uint32_t i = 0; i < opt_len; i++)
            ((uint8_t *)(th + 1))[i] = (uint8_t)take(in, 1);
    } else {
        o.has_ts = kind & 1;
        o.tsval = (uint32_t)(now / 1000) + (kind & 64 ? (uint32_t)(int8_t)take(in, 1) : 0);
        o.tsecr = tcp->now_ms + (c == NULL ? 0 : c->ts_offset);
        o.sack_ok = kind & 2;
        o.has_wscale = kind & 4;
        o.wscale = kind & 4 ? (uint8_t)(take(in, 1) % 15) : 0;
        o.has_mss = kind & 8;
        o.mss = kind & 8 ? (uint16_t)take(in, 2) : 0;
        o.n_sack = kind >> 4 & 3;
        for (unsigned i = 0; i < o.n_sack; i++) {
            o.sack[i].start = (c == NULL ? 0 : c->snd_una) + (uint32_t)(int8_t)take(in, 1) * 181;
            o.sack[i].end = o.sack[i].start + take(in, 1) * 181;
        }
        opt_len = hr_tcp_opts_write((uint8_t *)(th + 1), &o);
    }
    th->data_off = (uint8_t)((20 + opt_len) / 4 << 4);
    m->data_len = (uint16_t)(20 + opt_len + len);
    m->pkt_len = m->data_len;
    memset(rte_pktmbuf_mtod_offset(m, void *, 20 + opt_len), 0x5a, len);
    if (len > 300 && (flags & 0x40)) { /* as a chain */
        struct rte_mbuf *tail = rte_pktmbuf_alloc(bufs.rx_pool);
        if (tail != NULL) {
            tail->data_len = 200;
            m->data_len = (uint16_t)(m->data_len - 200);
            m->next = tail;
            m->nb_segs = 2;
        }
    }
    ahead[which % FLOWS] += len;
    put(m, &f);
}

static void garbage(struct input *in)
{
    struct hr_flow f = flow_of(0);
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    if (m == NULL)
        return;
    uint32_t len = take(in, 1) % 100;
    uint8_t *p = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)len);
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)take(in, 1);
    put(m, &f);
}

static void forget(struct hr_tcp_conn *c)
{
    for (unsigned i = 0; i < RTE_DIM(owned); i++) {
        if (owned[i] == c)
            owned[i] = NULL;
    }
}

static bool remember(struct hr_tcp_conn *c)
{
    for (unsigned i = 0; i < RTE_DIM(owned); i++) {
        if (owned[i] == NULL) {
            owned[i] = c;
            return true;
        }
    }
    return false;
}

static void events(void)
{
    uint32_t ev;
    for (struct hr_tcp_conn *c; (c = hr_tcp_next_event(tcp, &ev)) != NULL;) {
        must(ev != 0 && !c->released);
        if ((ev & HR_TCP_EV_ACCEPTED) && !remember(c)) {
            hr_tcp_abort(tcp, c);
            continue;
        }
        if (ev & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED)) {
            forget(c);
            hr_tcp_release(tcp, c);
        }
    }
}

static void owner_call(struct input *in, unsigned op)
{
    struct hr_tcp_conn *c = owned[take(in, 1) % RTE_DIM(owned)];
    static const uint8_t bytes[4096];
    struct hr_tcp_conn_info info;

    if (c == NULL)
        return;
    hr_tcp_conn_get_info(tcp, c, &info);
    switch (op) {
    case 0: {
        uint32_t n = take(in, 2) % sizeof(bytes);
        if (n <= hr_tcp_send_room(tcp, c))
            (void)!hr_tcp_send_bytes_copy(tcp, c, bytes, n);
        break;
    }
    case 1: {
        struct hr_pieceq *q = hr_tcp_rcvq(c);
        uint32_t n = RTE_MIN(take(in, 2), q->bytes);
        hr_pieceq_drop(&bufs, q, n);
        hr_tcp_consumed(tcp, c, n, take(in, 2), take(in, 1));
        break;
    }
    case 2: { /* the relay's way: what came in goes out */
        struct hr_pieceq *q = hr_tcp_rcvq(c);
        uint32_t n = RTE_MIN(take(in, 2), q->bytes);
        if (hr_tcp_send_move(tcp, c, q, n) == 0)
            hr_tcp_consumed(tcp, c, n, hr_tcp_send_bytes(c), hr_tcp_send_bufs(c));
        break;
    }
    case 3:
        hr_tcp_shutdown(tcp, c);
        break;
    case 4:
        forget(c);
        hr_tcp_abort(tcp, c);
        break;
    case 5:
        forget(c);
        hr_tcp_release(tcp, c);
        break;
    case 6:
        hr_tcp_want(tcp, c, take(in, 2));
        break;
    case 7:
        forget(c);
        hr_tcp_release_reset(tcp, c);
        break;
    }
}

/* A connection is open and has bytes in flight, so that an input need not find the handshake first. */
static void prologue(unsigned mode)
{
    static const uint8_t bytes[4096];
    const uint8_t syn[] = {0, RTE_TCP_SYN_FLAG, 0xff, 0xff, mode & 15, 2, 0x05, 0xb4};
    const uint8_t ack[] = {0, RTE_TCP_ACK_FLAG, 0x40, 0x00, mode & 1};
    struct input in = {syn, sizeof(syn)};

    segment(&in);
    arrive();
    (void)hr_tcp_flush(tcp, 32);
    in = (struct input){ack, sizeof(ack)};
    segment(&in);
    arrive();
    events();
    for (unsigned i = 0; i < (mode >> 4 & 7) && owned[0] != NULL; i++)
        (void)!hr_tcp_send_bytes_copy(tcp, owned[0], bytes, sizeof(bytes));
    (void)hr_tcp_flush(tcp, 32);
}

static struct tc_memory memory;

/* settled: nothing waits to be flushed, so that every timer must be there. */
static void sound(bool settled)
{
    const char *what = settled ? tc_check(tcp, &memory) : NULL;
    if (what != NULL) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
    must(tcp->illegal_transitions == 0 && tcp->n_time_wait <= tcp->cfg.max_time_wait);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct hr_tcp_config cfg;

    hr_tcp_config_default(&cfg);
    cfg.max_conns = 6;
    cfg.max_half_open = 3;
    cfg.max_time_wait = 4;
    cfg.ooo_max_pieces = 8;
    cfg.rx_pool_reserve = 100;
    cfg.conn_bufs_max = 60;
    cfg.max_tx_segs = 4;
    cfg.bufs = &bufs;
    cfg.stats = &stats;
    cfg.on_syn = on_syn;
    cfg.path_mss = path_mss;
    cfg.emit_take = emit_take;
    now = 1000000;
    memset(owned, 0, sizeof(owned));
    if (hr_tcp_create(&cfg, now, &tcp) != 0)
        return 0;

    unsigned mode = take(&in, 1);
    if (mode & 128)
        prologue(mode);
    for (unsigned ops = 0; in.left > 0 && ops < 400; ops++) {
        unsigned op = take(&in, 1);
        if (op >= 136)
            arrive();
        if (op < 136) {
            (op < 128 ? segment : garbage)(&in);
            if ((op & 64) == 0) /* else with the next */
                arrive();
        } else if (op < 160) {
            now += (uint64_t)take(&in, 2) << (op & 15);
            hr_tcp_set_now(tcp, now);
            for (unsigned i = 0; i < 100 && hr_tcp_advance(tcp) <= now; i++)
                ;
        } else if (op < 168) {
            struct hr_flow f = flow_of(2 + op % 2);
            struct hr_tcp_conn *c;
            if (hr_tcp_connect(tcp, &f, op & 4 ? 1000000 : 0, &c) == 0 && !remember(c))
                hr_tcp_abort(tcp, c);
        } else if (op < 172) {
            struct hr_flow f = flow_of(op % FLOWS);
            struct hr_tcp_conn *c = hr_tcp_flow_find(tcp, &f, hr_tcp_flow_hash(tcp, &f));
            hr_tcp_icmp_error(tcp, &f, c == NULL ? 0 : c->snd_una, take(&in, 1) & 1, (uint16_t)take(&in, 2));
        } else {
            owner_call(&in, op % 8);
        }
        events();
        bool more = op & 1;
        for (unsigned i = 0; i < 100 && more; i++)
            more = hr_tcp_flush(tcp, 32);
        sound((op & 1) && !more);
    }
    arrive();
    hr_tcp_destroy(tcp);
    tc_forget(&memory);
    must(rte_mempool_in_use_count(bufs.rx_pool) == 0 && rte_mempool_in_use_count(bufs.hdr_pool) == 0);
    must(rte_mempool_in_use_count(bufs.indirect_pool) == 0 && rte_mempool_in_use_count(bufs.chunk_pool) == 0);
    must(bufs.held == 0);
    return 0;
}
