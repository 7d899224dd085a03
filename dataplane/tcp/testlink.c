#include "dataplane/tcp/testlink.h"

#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "shared/base/siphash.h"
#include "tests/support/eal.h"
#include "tests/support/family.h"
#include "tests/support/inject.h"

static struct hr_buf_ctx pools[2];
static struct hr_stats pool_stats[2];
static struct tl_packet *packets;

void tl_global_init(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    hr_test_eal_init();
    for (unsigned i = 0; i < 2; i++) {
        struct hr_buf_config cfg = {.worker_id = i,
                                    .socket_id = SOCKET_ID_ANY,
                                    .rx_mbufs = 8192,
                                    .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048,
                                    .hdr_mbufs = 8192,
                                    .chunks = 2048};
        if (hr_buf_ctx_init(&pools[i], &cfg, &pool_stats[i]) != 0) {
            fprintf(stderr, "no memory for the test's pools\n");
            exit(2);
        }
    }
    packets = calloc(TL_PACKETS, sizeof(*packets));
}

uint64_t tl_random(struct tl_link *l)
{
    /* splitmix64 */
    uint64_t z = (l->rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

double tl_uniform(struct tl_link *l)
{
    return (double)(tl_random(l) >> 11) / (double)(1ULL << 53);
}

uint8_t tl_pattern(uint8_t salt, uint64_t pos)
{
    uint64_t x = (pos / 7 + salt) * 0x9e3779b97f4a7c15ULL;
    return (uint8_t)((x >> 40) + pos);
}

/* ---- wire ---- */

static bool before(const struct tl_packet *a, const struct tl_packet *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void heap_push(struct tl_link *l, struct tl_packet p)
{
    uint32_t i = l->n_heap++;
    while (i > 0 && before(&p, &l->heap[(i - 1) / 2])) {
        l->heap[i] = l->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    l->heap[i] = p;
}

static struct tl_packet heap_pop(struct tl_link *l)
{
    struct tl_packet top = l->heap[0], last = l->heap[--l->n_heap];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= l->n_heap)
            break;
        if (child + 1 < l->n_heap && before(&l->heap[child + 1], &l->heap[child]))
            child++;
        if (!before(&l->heap[child], &last))
            break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = last;
    return top;
}

static uint64_t chain_hash(const struct rte_mbuf *m)
{
    static const uint8_t key[16];
    uint64_t h = 0;
    for (; m != NULL; m = m->next)
        h = h * 31 + hr_siphash(key, rte_pktmbuf_mtod(m, const void *), m->data_len);
    return h;
}

static void broken(struct tl_link *l, int end, const char *what)
{
    if (l->broken[0] != 0)
        return;
    snprintf(l->broken, sizeof(l->broken), "end %c at %lu us: %s", 'A' + end, (unsigned long)l->now, what);
    fprintf(stderr, "seed %lu, %s\n", (unsigned long)l->seed, l->broken);
}

/* What the peer may send up to, as it computes it; the field is cut to its scale, so it may seem to move back by
 * less than that (RFC 7323 2.4). */
static void check_edge(struct tl_link *l, int end, const struct rte_tcp_hdr *th)
{
    struct tl_end *e = &l->end[end];
    const struct hr_tcp_conn *c = e->app.conn;

    if (c == NULL || !hr_tcp_synchronized(c) || th->tcp_flags & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG) ||
        c->flow.remote_port != rte_be_to_cpu_16(th->dst_port))
        return;
    uint32_t edge = rte_be_to_cpu_32(th->recv_ack) + ((uint32_t)rte_be_to_cpu_16(th->rx_win) << c->rcv_wscale);
    bool known = e->edge.iss == c->iss && e->edge.irs == c->irs;
    if (known && hr_seq_lt(edge + (1u << c->rcv_wscale) - 1, e->edge.rcv_adv))
        broken(l, end, "a segment offers less than one before");
    e->edge = (struct tc_edge){c->iss, c->irs, known ? hr_seq_max(edge, e->edge.rcv_adv) : edge};
}

struct emit_arg {
    struct tl_link *l;
    int end;
};
static struct emit_arg emit_args[2];

static void on_emit(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    struct emit_arg *a = owner;
    struct tl_link *l = a->l;
    struct tl_end *e = &l->end[a->end];
    const struct rte_tcp_hdr *th = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);
    if (th->tcp_flags & RTE_TCP_SYN_FLAG)
        l->trace_base[a->end] = rte_be_to_cpu_32(th->sent_seq);
    uint32_t payload = m->pkt_len - (th->data_off >> 4) * 4u, seen = 0;
    uint16_t segs = 0;

    for (const struct rte_mbuf *s = m; s != NULL; s = s->next, segs++)
        seen += s->data_len;
    if (seen != m->pkt_len || segs != m->nb_segs || segs > e->cfg.max_tx_segs || th->cksum != 0 ||
        rte_pktmbuf_headroom(m) < 64 || payload > e->path_mss) {
        fprintf(stderr, "malformed packet: %u/%u bytes, %u/%u mbufs, seed %lu\n", seen, m->pkt_len, segs,
                m->nb_segs, (unsigned long)l->seed);
        abort();
    }
    e->segs_out++;
    check_edge(l, a->end, th);
    if (getenv("TL_TRACE"))
        fprintf(stderr, "%10lu %c seq %u ack %u len %u flags %02x wnd %u\n", (unsigned long)(l->now % 1000000000),
                'A' + a->end, rte_be_to_cpu_32(th->sent_seq) - l->trace_base[a->end],
                rte_be_to_cpu_32(th->recv_ack) - l->trace_base[!a->end], payload, th->tcp_flags,
                rte_be_to_cpu_16(th->rx_win));
    bool drop = l->filter != NULL && l->filter(l, a->end, th, payload);
    if (l->drop_next[a->end] > 0) {
        l->drop_next[a->end]--;
        drop = true;
    }
    if (drop || tl_uniform(l) < l->loss[a->end] || l->n_heap + 2 > TL_PACKETS) {
        l->lost++;
        rte_pktmbuf_free(m);
        return;
    }
    struct tl_packet p = {.to = !a->end, .m = m, .hash = chain_hash(m), .flow = *flow};
    l->free_at[a->end] = RTE_MAX(l->free_at[a->end], l->now) + l->gap_us;
    p.at = l->free_at[a->end] + l->delay_us + (l->jitter_us ? tl_random(l) % l->jitter_us : 0);
    if (tl_uniform(l) < l->reorder)
        p.at += 3ULL * l->delay_us + 2000;
    p.order = l->order++;
    if (tl_uniform(l) < l->dup) {
        struct tl_packet q = p;
        q.at += tl_random(l) % (l->delay_us + 1);
        q.order = l->order++;
        for (struct rte_mbuf *s = m; s != NULL; s = s->next)
            rte_mbuf_refcnt_update(s, 1);
        /* The chain is shared as a whole: freeing it twice gives back both references of each mbuf. */
        heap_push(l, q);
    }
    heap_push(l, p);
}

static void free_chain(struct rte_mbuf *m)
{
    /* rte_pktmbuf_free would cut a duplicate's chain: a shared mbuf's next must survive the first free. */
    while (m != NULL) {
        struct rte_mbuf *next = m->next;
        rte_pktmbuf_free_seg(m);
        m = next;
    }
}

/* Overwrites options of a SYN by NOPs, as an old peer or a middlebox would. */
static void strip_options(uint8_t *segment, uint32_t kinds)
{
    uint8_t *p = segment + 20, *end = segment + (segment[12] >> 4) * 4;
    while (p < end && *p != HR_TCP_OPT_END) {
        uint8_t n = *p == HR_TCP_OPT_NOP ? 1 : p[1];
        if (*p < 32 && kinds & 1u << *p)
            memset(p, HR_TCP_OPT_NOP, n);
        p += n;
    }
}

static void rewrite_mss(uint8_t *segment, uint16_t mss)
{
    for (uint8_t *p = segment + 20, *end = segment + (segment[12] >> 4) * 4; p < end && *p != HR_TCP_OPT_END;
         p += *p == HR_TCP_OPT_NOP ? 1 : p[1]) {
        if (*p == HR_TCP_OPT_MSS) {
            p[2] = (uint8_t)(mss >> 8);
            p[3] = (uint8_t)mss;
        }
    }
}

/* The receiver's window as another peer might have said it. */
static void meddle_with_window(struct tl_link *l, uint8_t *segment)
{
    double u = tl_uniform(l);
    if (segment[13] & (RTE_TCP_SYN_FLAG | RTE_TCP_RST_FLAG))
        return;
    if (u < l->window_zero) {
        segment[14] = segment[15] = 0;
    } else if (u < l->window_zero + l->window_shrunk) {
        uint32_t wnd = (uint32_t)(segment[14] << 8 | segment[15]);
        wnd = (uint32_t)tl_random(l) % (wnd + 1);
        segment[14] = (uint8_t)(wnd >> 8);
        segment[15] = (uint8_t)wnd;
    }
}

static bool checksum_good(const struct tl_packet *p, const uint8_t *segment, uint32_t len)
{
    uint64_t sum = hr_cksum_pseudo(&p->flow.local, &p->flow.remote, IPPROTO_TCP, (uint16_t)len);
    return hr_cksum_fold(hr_cksum_add(sum, segment, len)) == 0xffff;
}

/* Sets the checksum, and flips a burst of bits. True: the receiver finds out. */
static bool corrupt(struct tl_link *l, const struct tl_packet *p, uint8_t *segment, uint32_t len)
{
    uint64_t sum = hr_cksum_pseudo(&p->flow.local, &p->flow.remote, IPPROTO_TCP, (uint16_t)len);
    segment[16] = segment[17] = 0;
    uint16_t field = (uint16_t)~hr_cksum_fold(hr_cksum_add(sum, segment, len));
    memcpy(segment + 16, &field, 2);
    if (!checksum_good(p, segment, len))
        broken(l, p->to, "a checksum that was just made is wrong");
    uint32_t bits = 1 + (uint32_t)tl_random(l) % 15, at = (uint32_t)tl_random(l) % (len * 8 - bits + 1);
    uint32_t burst = (uint32_t)tl_random(l) | 1u | 1u << (bits - 1);
    for (uint32_t i = 0; i < bits; i++) {
        if (burst & 1u << i)
            segment[(at + i) / 8] ^= (uint8_t)(128 >> (at + i) % 8);
    }
    l->corrupted++;
    return !checksum_good(p, segment, len);
}

static void deliver(struct tl_link *l, struct tl_packet *p)
{
    struct tl_end *e = &l->end[p->to];

    if (chain_hash(p->m) != p->hash)
        l->changed_on_wire++;
    uint8_t flat[65536];
    uint32_t len = 0;
    for (const struct rte_mbuf *s = p->m; s != NULL; s = s->next) {
        memcpy(flat + len, rte_pktmbuf_mtod(s, const void *), s->data_len);
        len += s->data_len;
    }
    free_chain(p->m);
    if (flat[13] & RTE_TCP_SYN_FLAG)
        strip_options(flat, l->strip);
    if (l->mss_option != 0 && (flat[13] & RTE_TCP_SYN_FLAG) && (flat[13] & RTE_TCP_ACK_FLAG))
        rewrite_mss(flat, l->mss_option);
    if (l->window_zero + l->window_shrunk > 0)
        meddle_with_window(l, flat);
    if (l->corrupt > 0 && tl_uniform(l) < l->corrupt) {
        if (corrupt(l, p, flat, len))
            return;
        l->passed_corrupt++;
        broken(l, p->to, "a corrupted segment passed the checksum");
    }
    if (l->clock_jump > 0 && tl_uniform(l) < l->clock_jump) {
        e->clock_ahead_us += tl_random(l) % (tl_random(l) % 8 == 0 ? 100000000 : 1000000);
        hr_tcp_set_now(e->tcp, l->now + e->clock_ahead_us);
    }

    struct rte_mbuf *head = NULL, **link = &head;
    uint32_t at = 0, segs = 0;
    uint32_t cut = len > 200 && tl_random(l) % 16 == 0 ? 100 + (uint32_t)tl_random(l) % (len - 100) : len;
    while (at < len) {
        uint32_t n = RTE_MIN(at < cut ? cut - at : len - at, 2048u);
        struct rte_mbuf *m = rte_pktmbuf_alloc(e->bufs.rx_pool);
        if (m == NULL) {
            rte_pktmbuf_free(head);
            return;
        }
        memcpy(rte_pktmbuf_append(m, (uint16_t)n), flat + at, n);
        *link = m;
        link = &m->next;
        at += n;
        segs++;
    }
    head->pkt_len = len;
    head->nb_segs = (uint16_t)segs;
    hr_inject_take(e->tcp, &p->flow.local, &p->flow.remote, head);
}

/* ---- application ---- */

static void app_read(struct tl_link *l, struct tl_end *e, bool last)
{
    struct tl_app *a = &e->app;
    struct hr_pieceq *q = hr_tcp_rcvq(a->conn);
    uint32_t n = q->bytes;

    if (last)
        a->paused_until = 0;
    else if (n > 0 && l->read_pause > 0 && a->paused_until <= l->now && tl_uniform(l) < l->read_pause)
        a->paused_until = l->now + tl_random(l) % 3000000;
    if (a->read_paused || n == 0 || a->paused_until > l->now)
        return;
    struct hr_piece_iter it;
    hr_piece_iter_at(&it, q, 0);
    for (uint32_t len; ;) {
        const uint8_t *p = hr_piece_iter_peek(&it, &len);
        if (p == NULL)
            break;
        for (uint32_t i = 0; i < len; i++, a->received++) {
            if (p[i] != tl_pattern(a->expect_salt, a->received))
                a->corrupt = true;
        }
        hr_piece_iter_advance(&it, len);
    }
    hr_pieceq_drop(&e->bufs, q, n);
    hr_tcp_consumed(e->tcp, a->conn, n, 0, 0);
}

static void app_write(struct tl_link *l, struct tl_end *e)
{
    struct tl_app *a = &e->app;
    uint32_t turn = a->write_max ? a->write_max : UINT32_MAX;

    while (a->sent < a->to_send && turn > 0) {
        uint32_t room = hr_tcp_send_room(e->tcp, a->conn);
        uint32_t n = (uint32_t)RTE_MIN((uint64_t)RTE_MIN(RTE_MIN(room, turn), 1u + (uint32_t)tl_random(l) % 2000),
                                       a->to_send - a->sent);
        uint8_t bytes[2000];
        if (n == 0)
            return;
        for (uint32_t i = 0; i < n; i++)
            bytes[i] = tl_pattern(a->salt, a->sent + i);
        if (rte_mempool_avail_count(e->bufs.rx_pool) < 2000 || rte_mempool_avail_count(e->bufs.hdr_pool) < 2000)
            return; /* the other leg's window would have closed */
        if (tl_random(l) % 2) {
            struct rte_mbuf *m = rte_pktmbuf_alloc(e->bufs.rx_pool);
            struct hr_pieceq q;
            if (m == NULL)
                return;
            hr_pieceq_init(&q);
            memcpy(rte_pktmbuf_append(m, (uint16_t)n), bytes, n);
            if (hr_pieceq_push_mbuf_take(&e->bufs, &q, m) != 0 ||
                hr_tcp_send_move(e->tcp, a->conn, &q, n) != 0) {
                hr_pieceq_clear(&e->bufs, &q);
                return;
            }
        } else if (hr_tcp_send_bytes_copy(e->tcp, a->conn, bytes, n) != 0) {
            return;
        }
        a->sent += n;
        turn -= n;
    }
    if (a->sent == a->to_send && a->shutdown_when_sent && !a->is_shutdown) {
        a->is_shutdown = true;
        hr_tcp_shutdown(e->tcp, a->conn);
    }
}

static void app_run(struct tl_link *l, struct tl_end *e)
{
    struct tl_app *a = &e->app;
    struct hr_tcp_conn *c;
    uint32_t events;

    while ((c = hr_tcp_next_event(e->tcp, &events)) != NULL) {
        if (events & HR_TCP_EV_ACCEPTED) {
            a->accepted = true;
            a->conn = c;
            hr_tcp_set_user(c, a);
        }
        if (c != a->conn)
            continue;
        if (events & HR_TCP_EV_CONNECTED)
            a->connected = true;
        if (events & HR_TCP_EV_FIN)
            a->fin = true;
        app_read(l, e, events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED));
        if (events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED)) {
            struct hr_tcp_conn_info info;
            hr_tcp_conn_get_info(e->tcp, c, &info);
            a->closed = events & HR_TCP_EV_CLOSED;
            a->failed = events & HR_TCP_EV_FAILED;
            a->failure = info.error;
            hr_tcp_release(e->tcp, c);
            a->released = true;
            a->conn = NULL;
        }
    }
    if (a->conn != NULL && (a->accepted || a->connected)) {
        app_read(l, e, false);
        app_write(l, e);
    }
}

/* ---- stacks ---- */

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    struct emit_arg *a = owner;
    struct hr_tcp_accept r = {.accept = !a->l->end[a->end].refuse && flow->local_port == 9092};
    return r;
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    struct emit_arg *a = owner;
    (void)local;
    (void)remote;
    return a->l->end[a->end].path_mss;
}

void tl_open(struct tl_link *l, uint64_t seed, void (*tweak)(int end, struct hr_tcp_config *cfg))
{
    memset(l, 0, sizeof(*l));
    l->open = true;
    l->seed = seed;
    l->rng = seed;
    l->heap = packets;
    l->delay_us = 5000;
    l->now = 1000000 + tl_random(l) % (1ULL << 40);
    for (int i = 0; i < 2; i++) {
        struct tl_end *e = &l->end[i];
        struct hr_tcp_config *cfg = &e->cfg;
        e->bufs = pools[i];
        e->bufs.stats = &e->stats;
        e->addr = hr_test_addr(0x0a000001 + (uint32_t)i);
        e->path_mss = 1460;
        e->app.salt = (uint8_t)(17 + i);
        e->app.expect_salt = (uint8_t)(17 + !i);
        hr_tcp_config_default(cfg);
        cfg->max_conns = 64;
        cfg->max_half_open = 32;
        cfg->rcv_wnd_max = 512 << 10;
        cfg->snd_buf_max = 512 << 10;
        cfg->msl_us = 30000000;
        cfg->user_timeout_us = 3600000000u; /* what 30 % loss does to a connection is tested, not this */
        cfg->bufs = &e->bufs;
        cfg->stats = &e->stats;
        emit_args[i] = (struct emit_arg){l, i};
        cfg->owner = &emit_args[i];
        cfg->on_syn = on_syn;
        cfg->path_mss = path_mss;
        cfg->emit_take = on_emit;
        for (unsigned k = 0; k < 16; k++) {
            cfg->hash_key[k] = (uint8_t)tl_random(l);
            cfg->isn_key[k] = (uint8_t)tl_random(l);
        }
        if (tweak != NULL)
            tweak(i, cfg);
        if (hr_tcp_create(cfg, l->now, &e->tcp) != 0) {
            fprintf(stderr, "no memory for a stack\n");
            exit(2);
        }
    }
}

static struct hr_flow flow_of(const struct tl_link *l, int end)
{
    struct hr_flow f = {l->end[end].addr, l->end[!end].addr, (uint16_t)(20000 + l->seed % 20000), 9092};
    if (end == 1)
        f = (struct hr_flow){f.local, f.remote, f.remote_port, f.local_port};
    return f;
}

void tl_wrap_soon(struct tl_link *l, int end, uint32_t before)
{
    struct hr_flow flow = flow_of(l, end);
    uint32_t iss, offset;
    hr_tcp_set_now(l->end[end].tcp, l->now);
    hr_tcp_flow_secrets(l->end[end].tcp, &flow, &iss, &offset);
    l->now += 4ULL * (uint32_t)(0u - before - iss); /* the clock of sequence numbers ticks every 4 us */
}

void tl_ipv6(struct tl_link *l)
{
    for (int i = 0; i < 2; i++) {
        memset(&l->end[i].addr, 0, sizeof(l->end[i].addr));
        l->end[i].addr.b[0] = 0xfd;
        l->end[i].addr.b[15] = (uint8_t)(1 + i);
    }
}

void tl_connect(struct tl_link *l)
{
    struct hr_flow flow = flow_of(l, 0);
    for (int i = 0; i < 2; i++)
        hr_tcp_set_now(l->end[i].tcp, l->now);
    if (hr_tcp_connect(l->end[0].tcp, &flow, 0, &l->end[0].app.conn) != 0)
        abort();
}

/* Everything that is to be done now; returns when there will be more. */
static uint64_t turn(struct tl_link *l)
{
    uint64_t next = UINT64_MAX;

    for (int i = 0; i < 2; i++) {
        struct tl_end *e = &l->end[i];
        hr_tcp_set_now(e->tcp, l->now + e->clock_ahead_us);
    }
    while (l->n_heap > 0 && l->heap[0].at <= l->now) {
        struct tl_packet p = heap_pop(l);
        deliver(l, &p);
    }
    for (int i = 0; i < 2; i++) {
        struct tl_end *e = &l->end[i];
        uint64_t deadline, its_now = l->now + e->clock_ahead_us;
        const char *what;
        while ((deadline = hr_tcp_advance(e->tcp)) <= its_now)
            ;
        app_run(l, e);
        for (unsigned k = 0; hr_tcp_flush(e->tcp, 64) && k < 1000; k++)
            ;
        if ((what = tc_check(e->tcp, &e->memory)) != NULL)
            broken(l, i, what);
        deadline = hr_tcp_advance(e->tcp);
        if (deadline != UINT64_MAX)
            deadline = RTE_MAX(deadline, its_now + 1) - e->clock_ahead_us;
        if (e->app.paused_until > l->now)
            deadline = RTE_MIN(deadline, e->app.paused_until);
        next = RTE_MIN(next, deadline);
    }
    if (l->n_heap > 0)
        next = RTE_MIN(next, RTE_MAX(l->heap[0].at, l->now + 1));
    return next;
}

static bool move_clock(struct tl_link *l, uint64_t next, uint64_t limit)
{
    l->now = RTE_MIN(next, limit);
    return next < limit;
}

bool tl_turn(struct tl_link *l, uint64_t limit)
{
    uint64_t next = turn(l);
    return move_clock(l, next, limit);
}

bool tl_run(struct tl_link *l, uint64_t limit_us, bool (*done)(struct tl_link *l))
{
    uint64_t limit = l->now + limit_us;
    for (;;) {
        uint64_t next = turn(l);
        if (l->broken[0] != 0)
            return false;
        if (done(l))
            return true;
        if (!move_clock(l, next, limit))
            return false;
    }
}

bool tl_never(struct tl_link *l)
{
    (void)l;
    return false;
}

bool tl_established(struct tl_link *l)
{
    return l->end[0].app.connected && l->end[1].app.accepted;
}

bool tl_both_done(struct tl_link *l)
{
    return l->end[0].app.received == l->end[1].app.to_send && l->end[1].app.received == l->end[0].app.to_send;
}

bool tl_both_closed(struct tl_link *l)
{
    return l->end[0].app.released && l->end[1].app.released;
}

const char *tl_close(struct tl_link *l)
{
    static char text[160];
    const char *wrong = NULL;

    if (!l->open)
        return NULL;
    l->open = false;

    while (l->n_heap > 0) {
        struct tl_packet p = heap_pop(l);
        free_chain(p.m);
    }
    for (int i = 0; i < 2; i++) {
        struct tl_end *e = &l->end[i];
        struct hr_tcp *t = e->tcp;
        if (t->n_conns != 0 || t->wheel.armed != 0 || t->n_half_open != 0 || t->n_time_wait != 0)
            wrong = "a connection or timer is left";
        if (t->illegal_transitions != 0)
            wrong = "a state transition was illegal";
        if (t->offered_bufs != 0)
            wrong = "offered windows do not add up";
        if (!hr_tcp_slabs_full(t))
            wrong = "a slab object leaked";
        hr_tcp_destroy(t);
        tc_forget(&e->memory);
    }
    for (int i = 0; i < 2; i++) {
        struct hr_buf_ctx *b = &l->end[i].bufs;
        unsigned rx = rte_mempool_in_use_count(b->rx_pool), hdr = rte_mempool_in_use_count(b->hdr_pool),
                 ind = rte_mempool_in_use_count(b->indirect_pool), ch = rte_mempool_in_use_count(b->chunk_pool);
        if (rx + hdr + ind + ch + b->held != 0) {
            snprintf(text, sizeof(text), "end %d leaks: rx %u hdr %u indirect %u chunks %u held %u", i, rx, hdr,
                     ind, ch, b->held);
            wrong = text;
        }
    }
    if (l->changed_on_wire != 0)
        wrong = "a segment changed while it was on the wire";
    return l->broken[0] != 0 ? l->broken : wrong;
}
