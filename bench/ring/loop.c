#include "bench/ring/loop.h"

#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#include "dataplane/net/rss.h"
#include "dataplane/worker/handoff.h"
#include "shared/base/clock.h"

#define LINK_GBIT 25
#define STEP_NS 200 /* a step takes at least this long */
#define EVICTOR (96u << 20)

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

/* ---- the measured section --------------------------------------------------------------------------- */

__attribute__((noinline)) bool rb_turn(struct hr_worker *w, uint64_t now_us, uint64_t *ret_due_us)
{
    bool worked = hr_worker_turn(w, now_us, ret_due_us);
    __asm__ volatile("" ::: "memory"); /* no tail call: the function is left through its own end */
    return worked;
}

__attribute__((noinline)) bool rb_turn_counted(struct hr_worker *w, uint64_t now_us, uint64_t *ret_due_us)
{
    bool worked = hr_worker_turn(w, now_us, ret_due_us);
    __asm__ volatile("# counted" ::: "memory"); /* differs from rb_turn(): they are not folded into one */
    return worked;
}

static uint64_t tsc(void)
{
    unsigned aux;
    uint64_t t = __rdtscp(&aux);
    _mm_lfence();
    return t;
}

uint64_t rb_turn_cycles(struct rb_loop *l, uint32_t worker, uint64_t now_us)
{
    uint64_t t0 = tsc();
    rb_turn(rb_proxy_worker(&l->proxy, worker), now_us, &l->due[worker].us);
    uint64_t cycles = tsc() - t0;
    return cycles - RTE_MIN(cycles, l->rdtsc_cycles);
}

bool rb_is_gap(const struct rb_loop *l, uint64_t cycles)
{
    return cycles > l->tsc_hz / 1000000 * RB_GAP_US;
}

void rb_tally_turn(struct rb_tally *t, uint64_t cycles, bool gap)
{
    t->turns++;
    if (gap) {
        t->gaps++;
        t->gap_cycles += cycles;
    } else {
        t->cycles += cycles;
    }
}

static uint64_t tsc_cost(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t t0 = tsc(), t1 = tsc();
        least = RTE_MIN(least, t1 - t0);
    }
    return least;
}

static void proxy_turn(struct rb_loop *l, uint32_t worker, uint64_t now_us)
{
    struct hr_worker *w = rb_proxy_worker(&l->proxy, worker);
    if (l->measuring && l->counted) {
        rb_turn_counted(w, now_us, &l->due[worker].us);
        l->tally.turns++;
        return;
    }
    uint64_t cycles = rb_turn_cycles(l, worker, now_us);
    l->last_cycles = cycles;
    l->gap = rb_is_gap(l, cycles);
    if (!l->gap)
        l->calm_cycles = cycles;
    else if (l->smooth_gaps)
        l->last_cycles = l->calm_cycles;
    if (l->measuring)
        rb_tally_turn(&l->tally, cycles, l->gap);
}

/* ---- the wire --------------------------------------------------------------------------------------- */

/* Payload bytes of a TCP segment in a frame that starts at p. */
static uint32_t payload(const uint8_t *p)
{
    const struct rte_ether_hdr *eth = (const void *)p;
    const struct rte_ipv4_hdr *ip = (const void *)(eth + 1);
    const struct rte_tcp_hdr *tcp = (const void *)(ip + 1);
    if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4) || ip->next_proto_id != IPPROTO_TCP)
        return 0;
    return rte_be_to_cpu_16(ip->total_length) - 20u - (tcp->data_off >> 4) * 4u;
}

void rb_tally_in(struct rb_tally *t, const uint8_t *p)
{
    uint32_t data = payload(p);
    t->frames_in++;
    t->data_in += data > 0;
    t->bytes_in += data;
}

void rb_tally_out(struct rb_tally *t, const uint8_t *p)
{
    uint32_t data = payload(p);
    t->frames_out++;
    t->data_out += data > 0;
    t->bytes_out += data;
}

/* A frame's flow in 32 bits, as a card's hash would give it. */
static uint32_t flow_hash(const uint8_t *p)
{
    uint64_t addrs;
    uint32_t ports;
    memcpy(&addrs, p + 26, sizeof(addrs));
    memcpy(&ports, p + 34, sizeof(ports));
    return (uint32_t)((addrs ^ (uint64_t)ports << 16) * 0x9e3779b97f4a7c15ULL >> 32);
}

/* The queue that a card puts a frame into, by the hash that it gives with it; what is not TCP goes to the first. */
static uint32_t queue_of(const struct rb_loop *l, const uint8_t *p, uint32_t *ret_hash)
{
    uint32_t src_be, dst_be;
    struct hr_flow flow = {0};

    *ret_hash = 0;
    if (p[12] != 8 || p[13] != 0)
        return 0;
    memcpy(&src_be, p + 26, 4);
    memcpy(&dst_be, p + 30, 4);
    flow.remote = hr_addr_from_v4(src_be);
    flow.local = hr_addr_from_v4(dst_be);
    flow.remote_port = (uint16_t)(p[34] << 8 | p[35]);
    flow.local_port = (uint16_t)(p[36] << 8 | p[37]);
    *ret_hash = hr_rss_hash(&l->rss, 0, &flow);
    return l->rss.table[*ret_hash & (l->rss.n_table - 1u)];
}

void rb_loop_spread(struct rb_loop *l)
{
    struct rb_queue *q = &l->peers.out;
    uint32_t hash;
    while (rb_queue_n(q) > 0) {
        struct rte_mbuf *frame = q->frame[q->head % RB_QUEUE];
        struct rb_queue *to = &l->held[queue_of(l, rte_pktmbuf_mtod(frame, const uint8_t *), &hash)];
        if (rb_queue_n(to) == RB_QUEUE)
            return;
        to->frame[to->tail++ % RB_QUEUE] = frame;
        q->head++;
    }
}

uint32_t rb_wire_in(struct rb_loop *l, uint32_t worker, struct rb_tally *tally)
{
    struct rb_queue *q = l->held ? &l->held[worker] : &l->peers.out;
    struct rb_card *card = rb_proxy_card(&l->proxy, worker);
    uint32_t bytes = 0;
    for (uint32_t n = rb_card_rx_waiting(card); n < l->cfg.burst && rb_queue_n(q) > 0;) {
        struct rte_mbuf *frame = q->frame[q->head++ % RB_QUEUE];
        if (l->hold_take && l->hold_take(l->hold_owner, frame))
            continue;
        uint8_t *to = rb_card_rx_place(card), *end = to;
        for (const struct rte_mbuf *m = frame; m && to; m = m->next) {
            memcpy(end, rte_pktmbuf_mtod(m, const void *), m->data_len);
            end += m->data_len;
        }
        if (to) {
            uint32_t hash = 0;
            if (l->held)
                queue_of(l, to, &hash);
            rb_card_rx_done(card, (uint16_t)frame->pkt_len, l->held ? hash : flow_hash(to));
            rb_tally_in(tally, to);
            n++;
        }
        bytes += frame->pkt_len;
        rte_pktmbuf_free(frame);
    }
    return bytes;
}

uint32_t rb_wire_out(struct rb_loop *l, uint32_t worker, struct rb_queue *q, struct rb_tally *tally)
{
    struct rb_card *card = rb_proxy_card(&l->proxy, worker);
    const struct rb_card_desc *d;
    uint32_t bytes = 0;
    bool last;
    while ((d = rb_card_tx_next(card, &last)) != NULL) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(l->peers.bufs.rx_pool);
        if (!m || rb_queue_n(q) == RB_QUEUE)
            die("the generator is out of buffers");
        for (;; d = rb_card_tx_next(card, &last)) {
            memcpy(rte_pktmbuf_append(m, d->len), (const void *)(uintptr_t)d->addr, d->len);
            if (last)
                break;
        }
        m->ol_flags = l->cfg.proxy.cksum ? RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD : 0;
        rb_tally_out(tally, rte_pktmbuf_mtod(m, const uint8_t *));
        bytes += m->pkt_len;
        q->frame[q->tail++ % RB_QUEUE] = m;
    }
    return bytes;
}

/* ---- the step --------------------------------------------------------------------------------------- */

static uint64_t jump(const struct rb_loop *l)
{
    uint64_t due_us = l->peers.deadline_us;
    for (uint32_t i = 0; i < l->proxy.group.n_workers; i++)
        due_us = RTE_MIN(due_us, l->due[i].us);
    uint64_t due_ns = due_us == UINT64_MAX ? UINT64_MAX : due_us * 1000;
    due_ns = RTE_MIN(due_ns, l->wake_ns);
    if (due_ns == UINT64_MAX)
        die("nothing will ever happen again");
    return RTE_MAX(due_ns, l->now_ns + (l->cfg.cycles_clock ? 1 : STEP_NS));
}

uint64_t rb_wall_ns(const struct rb_loop *l)
{
    return RB_START_US * 1000 + (uint64_t)((double)(__rdtsc() - l->tsc_start) * 1e9 / (double)l->tsc_hz);
}

bool rb_loop_due(const struct rb_loop *l, uint32_t worker, uint64_t now_us)
{
    return rb_card_rx_waiting(rb_proxy_card((struct rb_proxy *)&l->proxy, worker)) > 0 || l->due[worker].us <= now_us ||
           (l->held && hr_handoff_pending(l->proxy.group.handoff, worker));
}

/* One worker's frames in, its turn, its frames out; false: nothing to do. */
static bool worker_step(struct rb_loop *l, uint32_t worker, uint64_t now_us, uint32_t *ret_bytes)
{
    struct rb_card *card = rb_proxy_card(&l->proxy, worker);
    uint32_t bytes_in = rb_wire_in(l, worker, &l->tally);

    *ret_bytes = bytes_in;
    if (!rb_loop_due(l, worker, now_us))
        return false;
    if (l->cfg.cold)
        rb_card_flush_caches(card);
    if (l->cfg.evict)
        for (uint32_t i = 0; i < EVICTOR; i += 64)
            l->evictor[i]++;
    proxy_turn(l, worker, now_us);
    if (l->cfg.cycles_clock)
        l->now_ns += (uint64_t)((double)l->last_cycles * 1e9 / (double)l->tsc_hz);
    *ret_bytes = RTE_MAX(bytes_in, rb_wire_out(l, worker, &l->peers.in, &l->tally));
    return true;
}

void rb_loop_step(struct rb_loop *l)
{
    if (l->cfg.proxy.two_cores) {
        rb_loop_step_two_cores(l);
        return;
    }
    bool busy = !l->frozen && rb_peers_turn(&l->peers, l->now_ns / 1000);
    uint32_t most = 0, bytes;
    uint64_t now_us = l->now_ns / 1000;
    l->last_cycles = 0;
    l->gap = false;
    if (l->held)
        rb_loop_spread(l);
    for (uint32_t i = 0; i < l->proxy.group.n_workers && !l->cores; i++) {
        busy |= worker_step(l, i, now_us, &bytes);
        most = RTE_MAX(most, bytes);
    }
    if (l->cores)
        busy |= rb_cores_step(l, now_us, &most);
    if (l->has_control && rb_control_turn(&l->control)) {
        busy = true;
        for (uint32_t i = 0; i < l->proxy.group.n_workers; i++)
            l->due[i].us = 0;
    }
    if (!busy)
        l->now_ns = jump(l);
    else if (!l->cfg.cycles_clock && !l->still)
        l->now_ns += RTE_MAX(most * 8u / LINK_GBIT, (uint32_t)STEP_NS);
}

void rb_loop_measure(struct rb_loop *l, bool on)
{
    l->measuring = on;
    if (on)
        memset(&l->tally, 0, sizeof(l->tally));
}

static bool quiet(const struct rb_loop *l)
{
    for (uint32_t i = 0; i < l->proxy.group.n_workers; i++) {
        const struct rb_card *card = rb_proxy_card((struct rb_proxy *)&l->proxy, i);
        if (rb_card_rx_waiting(card) > 0 || card->tx_done != card->tx_next || (l->held && rb_queue_n(&l->held[i]) > 0))
            return false;
    }
    return rb_queue_n(&l->peers.out) == 0 && rb_queue_n(&l->peers.in) == 0;
}

void rb_loop_settle(struct rb_loop *l, uint64_t max_us)
{
    uint64_t until_ns = l->now_ns + max_us * 1000;
    uint32_t calm = 0;
    while (l->now_ns < until_ns && calm < 2) {
        uint64_t before_ns = l->now_ns;
        rb_loop_step(l);
        /* Calm: nothing on the way, and the next thing due lies far off. */
        calm = quiet(l) && l->now_ns - before_ns > 20000000 ? calm + 1 : 0;
    }
}

void rb_loop_connect(struct rb_loop *l, uint32_t n)
{
    uint64_t until_ns = l->now_ns + 600 * 1000000000ULL;
    uint32_t asked = l->peers.n_clients_up, want = asked + n;
    while (l->peers.n_clients_up < want || l->peers.n_brokers_up < want) {
        uint32_t up = RTE_MIN(l->peers.n_clients_up, l->peers.n_brokers_up);
        for (; asked < want && asked - up < 256; asked++)
            if (!rb_peers_connect(&l->peers))
                die("a client cannot connect");
        rb_loop_step(l);
        if (l->now_ns > until_ns || l->peers.n_failed > 0)
            die("sessions do not come up");
    }
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

void rb_loop_open(struct rb_loop *l, const struct rb_loop_config *cfg)
{
    memset(l, 0, sizeof(*l));
    l->cfg = *cfg;
    l->now_ns = RB_START_US * 1000;
    l->wake_ns = UINT64_MAX;
    l->tsc_hz = rte_get_tsc_hz();
    l->tsc_start = __rdtsc();
    l->rdtsc_cycles = tsc_cost();
    if (cfg->evict && !(l->evictor = calloc(1, EVICTOR)))
        die("no memory");
    struct rb_proxy_config proxy = cfg->proxy;
    if (proxy.n_workers > 1) {
        l->rss = (struct hr_rss){.key_len = 40, .n_table = 128};
        for (uint32_t i = 0; i < l->rss.key_len; i++)
            l->rss.key[i] = (uint8_t)(i * 37 + 11);
        for (uint32_t i = 0; i < l->rss.n_table; i++)
            l->rss.table[i] = (uint16_t)(i % proxy.n_workers);
        proxy.rss = &l->rss;
        l->held = calloc(proxy.n_workers, sizeof(*l->held));
        if (!l->held)
            die("no memory");
    }
    /* The worker's own thread goes by the real clock. */
    rb_proxy_open(&l->proxy, &proxy, cfg->proxy.two_cores ? hr_now_us() : RB_START_US);
    rb_peers_open(&l->peers, &cfg->peers, l->proxy.data_room, RB_START_US);
    if (cfg->parallel)
        rb_cores_open(l);
    l->has_control = cfg->proxy.client_tls || cfg->proxy.broker_tls;
    if (l->has_control)
        rb_control_open(&l->control, &cfg->peers.tls, &l->proxy);
}

void rb_loop_close(struct rb_loop *l)
{
    if (l->cores)
        rb_cores_close(l);
    for (uint32_t i = 0; i < l->proxy.group.n_workers; i++) {
        const struct rb_card *card = rb_proxy_card(&l->proxy, i);
        if (card->no_buffer > 0)
            fprintf(stderr, "ring bench: %lu frames found no buffer\n", (unsigned long)card->no_buffer);
    }
    rb_proxy_close(&l->proxy);
    rb_peers_close(&l->peers);
    free(l->held);
    free(l->evictor);
}
