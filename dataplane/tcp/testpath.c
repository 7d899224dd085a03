#include "dataplane/tcp/testpath.h"

#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/eal.h"
#include "tests/support/family.h"
#include "tests/support/inject.h"

#define TP_FIFO (1u << 17)
#define PIECE 2000 /* bytes of the one buffer that all data refers to */
#define WIRE_HEADERS 66

static struct hr_buf_ctx pools[2];
static struct hr_stats pool_stats[2];
static struct tp_packet *slots[2];
static struct rte_mbuf *data; /* what flows send, over and over; a reference of its own */

void tp_global_init(void)
{
    hr_test_eal_init();
    for (unsigned i = 0; i < 2; i++) {
        struct hr_buf_config cfg = {.worker_id = i,
                                    .socket_id = SOCKET_ID_ANY,
                                    .rx_mbufs = 32768,
                                    .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048,
                                    .hdr_mbufs = 8192,
                                    .chunks = 4096};
        if (hr_buf_ctx_init(&pools[i], &cfg, &pool_stats[i]) != 0) {
            fprintf(stderr, "no memory for the test's pools\n");
            exit(2);
        }
        slots[i] = calloc(TP_FIFO, sizeof(*slots[i]));
    }
    data = rte_pktmbuf_alloc(pools[0].rx_pool);
    memset(rte_pktmbuf_append(data, 2048), 'd', 2048);
}

uint64_t tp_random(struct tp_path *p)
{
    /* splitmix64 */
    uint64_t z = (p->rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static double uniform(struct tp_path *p)
{
    return (double)(tp_random(p) >> 11) / (double)(1ULL << 53);
}

/* ---- wire ---- */

struct emit_arg {
    struct tp_path *p;
    int end;
};
static struct emit_arg emit_args[2];

uint64_t tp_queue(struct tp_path *p, uint32_t payload)
{
    if (p->rate_bps == 0)
        return p->now;
    uint64_t now = p->now << 10;
    uint64_t busy = p->free_at > now ? p->free_at - now : 0;
    uint32_t queue = (uint32_t)((double)busy / 1024 * (double)p->rate_bps / 8e6);
    if (p->queue_bytes != 0 && queue + payload > p->queue_bytes) {
        p->dropped++;
        return 0;
    }
    p->queue_max = RTE_MAX(p->queue_max, queue + payload);
    p->free_at = now + busy + (uint64_t)((payload + WIRE_HEADERS) * 8e6 * 1024 / (double)p->rate_bps);
    return (p->free_at + 1023) >> 10;
}

/* When a data packet has left the path, but for half the round trip; 0 if it was lost. */
static uint64_t pass(struct tp_path *p, struct tp_end *e, uint32_t payload)
{
    e->data_packets++;
    if ((p->loss_every != 0 && e->data_packets % p->loss_every == 0) || (p->loss > 0 && uniform(p) < p->loss)) {
        p->lost++;
        return 0;
    }
    return tp_queue(p, payload);
}

static void on_emit(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    struct emit_arg *a = owner;
    struct tp_path *p = a->p;
    struct tp_end *e = &p->end[a->end];
    const struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);
    uint32_t hdr_len = (th->data_off >> 4) * 4u, payload = m->pkt_len - hdr_len;
    uint64_t at = p->now;

    e->packets++;
    if (payload > 0 && a->end == 0) {
        e->burst = e->sent_at == p->now ? e->burst + 1 : 1;
        e->burst_max = RTE_MAX(e->burst_max, e->burst);
        e->sent_at = p->now;
        at = pass(p, e, payload);
    }
    if (at != 0) {
        if (e->wire.n == TP_FIFO) {
            fprintf(stderr, "the path holds no more packets, seed %lu\n", (unsigned long)p->seed);
            abort();
        }
        struct tp_packet *k = &e->wire.slot[(e->wire.head + e->wire.n++) % TP_FIFO];
        k->at = at + p->rtt_us / 2;
        k->flow = *flow;
        k->payload = payload;
        k->hdr_len = (uint16_t)hdr_len;
        memcpy(k->hdr, th, hdr_len);
    }
    rte_pktmbuf_free(m);
}

static void deliver(struct tp_path *p, int to)
{
    struct tp_end *from = &p->end[!to], *e = &p->end[to];
    for (uint32_t i = 0; i < p->batch && from->wire.n > 0; i++) {
        struct tp_packet *k = &from->wire.slot[from->wire.head];
        if (k->at > p->now)
            break;
        struct rte_mbuf *m = rte_pktmbuf_alloc(e->bufs.rx_pool);
        if (m == NULL) {
            fprintf(stderr, "out of receive buffers, seed %lu\n", (unsigned long)p->seed);
            abort();
        }
        memcpy(rte_pktmbuf_append(m, (uint16_t)(k->hdr_len + k->payload)), k->hdr, k->hdr_len);
        from->wire.head = (from->wire.head + 1) % TP_FIFO;
        from->wire.n--;
        if (to == 1 && p->ack_second) {
            struct hr_tcp_conn *c = p->flow[k->flow.local_port - 20000].conn[1];
            if (c != NULL)
                c->quickacks = c->ack_segs;
        }
        hr_inject_take(e->tcp, &k->flow.local, &k->flow.remote, m);
    }
}

/* ---- applications ---- */

/* Keeps the send queue well filled. */
static void feed(struct tp_path *p, struct tp_flow *f)
{
    struct tp_end *e = &p->end[0];
    while (f->queued < f->to_send && hr_tcp_send_room(e->tcp, f->conn[0]) > 0) {
        uint32_t n = (uint32_t)RTE_MIN(f->to_send - f->queued, (uint64_t)PIECE);
        struct hr_pieceq q;
        hr_pieceq_init(&q);
        rte_mbuf_refcnt_update(data, 1);
        struct hr_piece piece = {.mbuf = data, .off = (uint16_t)(data->data_off + 1), .len = (uint16_t)n};
        if (hr_pieceq_push_take(&e->bufs, &q, piece) != 0 || hr_tcp_send_move(e->tcp, f->conn[0], &q, n) != 0) {
            hr_pieceq_clear(&e->bufs, &q);
            return;
        }
        f->queued += n;
    }
    if (f->queued < f->to_send)
        hr_tcp_ask_acked(f->conn[0], 1);
}

static struct tp_flow *flow_of(struct tp_path *p, struct hr_tcp_conn *c, int end)
{
    uint16_t port = end == 0 ? hr_tcp_flow(c)->local_port : hr_tcp_flow(c)->remote_port;
    return &p->flow[port - 20000];
}

static void apps(struct tp_path *p)
{
    struct hr_tcp_conn *c;
    uint32_t events;
    for (int i = 0; i < 2; i++) {
        struct tp_end *e = &p->end[i];
        while ((c = hr_tcp_next_event(e->tcp, &events)) != NULL) {
            struct tp_flow *f = flow_of(p, c, i);
            if (events & HR_TCP_EV_FAILED) {
                fprintf(stderr, "a flow failed, seed %lu\n", (unsigned long)p->seed);
                abort();
            }
            if (events & HR_TCP_EV_ACCEPTED)
                f->conn[1] = c;
            if (events & HR_TCP_EV_CONNECTED)
                f->connected = true;
            uint32_t n = hr_tcp_rcvq(c)->bytes;
            if (n > 0) {
                f->received += n;
                hr_pieceq_drop(&e->bufs, hr_tcp_rcvq(c), n);
                hr_tcp_consumed(e->tcp, c, n, 0, 0);
            }
            if (i == 0 && f->connected)
                feed(p, f);
        }
    }
}

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    return (struct hr_tcp_accept){.accept = true};
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    return ((struct emit_arg *)owner)->p->mss;
}

/* ---- running ---- */

void tp_open(struct tp_path *p, uint64_t seed, void (*tweak)(int end, struct hr_tcp_config *cfg))
{
    memset(p, 0, sizeof(*p));
    p->open = true;
    p->seed = p->rng = seed;
    p->rtt_us = 10000;
    p->mss = 1460;
    p->batch = 32;
    p->now = p->begin = 1000000 + tp_random(p) % (1ULL << 40);
    p->next_sample = p->now;
    for (int i = 0; i < 2; i++) {
        struct tp_end *e = &p->end[i];
        struct hr_tcp_config *cfg = &e->cfg;
        e->bufs = pools[i];
        e->bufs.stats = &e->stats;
        e->addr = hr_test_addr(0x0a000001 + (uint32_t)i);
        e->wire.slot = slots[i];
        hr_tcp_config_default(cfg);
        cfg->max_conns = 64;
        cfg->max_half_open = 32;
        cfg->rcv_wnd_max = 16 << 20;
        cfg->snd_buf_max = 4 << 20;
        cfg->ooo_max_pieces = 8192;
        cfg->conn_bufs_max = 32768;
        cfg->bufs = &e->bufs;
        cfg->stats = &e->stats;
        emit_args[i] = (struct emit_arg){p, i};
        cfg->owner = &emit_args[i];
        cfg->on_syn = on_syn;
        cfg->path_mss = path_mss;
        cfg->emit_take = on_emit;
        for (unsigned k = 0; k < 16; k++) {
            cfg->hash_key[k] = (uint8_t)tp_random(p);
            cfg->isn_key[k] = (uint8_t)tp_random(p);
        }
        if (tweak != NULL)
            tweak(i, cfg);
        if (hr_tcp_create(cfg, p->now, &e->tcp) != 0) {
            fprintf(stderr, "no memory for a stack\n");
            exit(2);
        }
    }
}

struct tp_flow *tp_add_flow(struct tp_path *p, uint64_t start_us, uint64_t to_send)
{
    struct tp_flow *f = &p->flow[p->n_flows++];
    f->start_us = start_us;
    f->to_send = to_send;
    return f;
}

static uint64_t start_flows(struct tp_path *p)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < p->n_flows; i++) {
        struct tp_flow *f = &p->flow[i];
        if (f->conn[0] != NULL)
            continue;
        if (p->begin + f->start_us > p->now) {
            next = RTE_MIN(next, p->begin + f->start_us);
            continue;
        }
        struct hr_flow flow = {.local = p->end[0].addr,
                               .remote = p->end[1].addr,
                               .local_port = (uint16_t)(20000 + i),
                               .remote_port = 9092};
        if (hr_tcp_connect(p->end[0].tcp, &flow, 0, &f->conn[0]) != 0)
            abort();
    }
    return next;
}

static void sample(struct tp_path *p)
{
    for (; p->sample_us != 0 && p->next_sample <= p->now; p->next_sample += p->sample_us) {
        for (uint32_t i = 0; i < p->n_flows; i++) {
            struct tp_flow *f = &p->flow[i];
            if (!f->connected)
                continue;
            double w = (double)f->conn[0]->cwnd / f->conn[0]->smss;
            f->cwnd_sum += w;
            f->cwnd_max = RTE_MAX(f->cwnd_max, w);
            f->cwnd_samples++;
        }
    }
}

/* Everything that is to be done now; returns when there will be more. */
static uint64_t turn(struct tp_path *p)
{
    for (int i = 0; i < 2; i++)
        hr_tcp_set_now(p->end[i].tcp, p->now);
    uint64_t next = start_flows(p);
    for (unsigned i = 0; i < RTE_DIM(p->rival); i++) {
        if (p->rival[i] != NULL)
            next = RTE_MIN(next, tr_turn(p->rival[i], p));
    }
    for (int i = 0; i < 2; i++)
        deliver(p, i);
    for (int i = 0; i < 2; i++) {
        while (hr_tcp_advance(p->end[i].tcp) <= p->now)
            ;
    }
    apps(p);
    for (int i = 0; i < 2; i++) {
        struct tp_end *e = &p->end[i];
        while (hr_tcp_flush(e->tcp, 256))
            ;
        next = RTE_MIN(next, RTE_MAX(hr_tcp_advance(e->tcp), p->now + 1));
    }
    for (int i = 0; i < 2; i++) {
        struct tp_fifo *w = &p->end[i].wire;
        if (w->n > 0)
            next = RTE_MIN(next, RTE_MAX(w->slot[w->head].at, p->now));
    }
    if (p->sample_us != 0)
        next = RTE_MIN(next, p->next_sample);
    return next;
}

void tp_run(struct tp_path *p, uint64_t us)
{
    uint64_t end = p->now + us;
    while (p->now < end) {
        uint64_t next = turn(p);
        p->now = RTE_MIN(next, end);
        sample(p);
    }
}

static bool done(const struct tp_path *p)
{
    for (uint32_t i = 0; i < p->n_flows; i++) {
        if (p->flow[i].received < p->flow[i].to_send)
            return false;
    }
    return true;
}

bool tp_run_done(struct tp_path *p, uint64_t limit_us)
{
    uint64_t end = p->now + limit_us;
    while (p->now < end) {
        uint64_t next = turn(p);
        if (done(p))
            return true;
        p->now = RTE_MIN(next, end);
        sample(p);
    }
    return false;
}

const char *tp_close(struct tp_path *p)
{
    const char *wrong = NULL;

    if (!p->open)
        return NULL;
    p->open = false;
    for (int i = 0; i < 2; i++) {
        struct tp_end *e = &p->end[i];
        for (uint32_t k = 0; k < p->n_flows; k++) {
            if (p->flow[k].conn[i] != NULL)
                hr_tcp_abort(e->tcp, p->flow[k].conn[i]);
        }
        e->wire.n = 0;
        if (e->tcp->n_conns != 0 || e->tcp->wheel.armed != 0 || !hr_tcp_slabs_full(e->tcp))
            wrong = "a connection, a timer or a slab object is left";
        if (e->tcp->illegal_transitions != 0)
            wrong = "a state transition was illegal";
        hr_tcp_destroy(e->tcp);
        struct hr_buf_ctx *b = &e->bufs;
        if (rte_mempool_in_use_count(b->rx_pool) != (i == 0) || rte_mempool_in_use_count(b->hdr_pool) != 0 ||
            rte_mempool_in_use_count(b->indirect_pool) != 0 || rte_mempool_in_use_count(b->chunk_pool) != 0 ||
            rte_mbuf_refcnt_read(data) != 1)
            wrong = "a buffer leaked";
    }
    return wrong;
}

double tp_mean_cwnd(const struct tp_flow *f)
{
    return f->cwnd_samples == 0 ? 0 : f->cwnd_sum / (double)f->cwnd_samples;
}
