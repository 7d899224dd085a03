#include "tests/support/relay_fixture.h"

#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/wire.h"
#include "tests/support/eal.h"

#define RX_MBUFS  24576
#define RX_ROOM   (RTE_PKTMBUF_HEADROOM + 2048)
#define HDR_MBUFS 16384
#define CHUNKS    4096

static void die(const char *what)
{
    fprintf(stderr, "relay fixture: %s\n", what);
    abort();
}

void rf_append(struct rf_bytes *b, const void *p, uint32_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2;
        b->p = realloc(b->p, b->cap);
        if (!b->p)
            die("no memory");
    }
    if (len > 0)
        memcpy(b->p + b->len, p, len);
    b->len += len;
}

void rf_free(struct rf_bytes *b)
{
    free(b->p);
    *b = (struct rf_bytes){0};
}

/* Listener "test": nodes 0..9999 at b<N>.proxy.test:20000+N. */
static void make_policy(struct rf *f, uint32_t hold_max)
{
    struct hr_policy *p = calloc(1, sizeof(*p));

    if (!p)
        die("no memory");
    p->magic = HR_POLICY_MAGIC;
    p->size = sizeof(*p);
    p->generation = 1;
    p->zones.n = 1;
    p->cluster_known = 1;
    p->hold_max_bytes = hold_max;
    p->n_listeners = 1;
    snprintf(p->cluster_id, sizeof(p->cluster_id), "test-cluster");
    struct hr_policy_listener *l = &p->listeners[0];
    snprintf(l->name, sizeof(l->name), "test");
    l->mode = HR_LISTENER_KAFKA;
    l->bootstrap_port = 19999;
    l->node_port_base = 20000;
    l->node_id_min = 0;
    l->node_id_max = 9999;
    snprintf(l->adv_host, sizeof(l->adv_host), "b$(nodeId).proxy.test");
    l->adv_port_base = 20000;
    l->adv_port_per_node = 1;
    l->max_connections = 100;
    l->max_frame_bytes = 100u << 20;
    l->max_in_flight = 1024;
    f->policy = p;
    f->listener = l;
}

void rf_init(struct rf *f, int32_t node_id, uint32_t hold_max)
{
    memset(f, 0, sizeof(*f));
    hr_test_eal_init();
    struct hr_buf_config bc = {
        .worker_id = 0,
        .socket_id = 0,
        .rx_mbufs = RX_MBUFS,
        .rx_data_room = RX_ROOM,
        .hdr_mbufs = HDR_MBUFS,
        .chunks = CHUNKS,
    };
    if (hr_buf_ctx_init(&f->bufs, &bc, &f->stats) != 0)
        die("no pools");
    make_policy(f, hold_max);
    struct hr_relay_config rc = {.max_relays = RF_MAX_RELAYS, .hold_max = hold_max, .bufs = &f->bufs, .stats = &f->stats, .zones = &f->zones};
    if (hr_relay_ctx_create(&rc, &f->ctx) != 0)
        die("no relay context");
    f->rx_free = rte_mempool_avail_count(f->bufs.rx_pool);
    f->hdr_free = rte_mempool_avail_count(f->bufs.hdr_pool);
    f->chunk_free = rte_mempool_avail_count(f->bufs.chunk_pool);
    f->seed = 1;
    rf_reset(f, node_id);
}

static void clear(struct rf *f)
{
    hr_pieceq_clear(&f->bufs, &f->client_in);
    hr_pieceq_clear(&f->bufs, &f->broker_out);
    hr_pieceq_clear(&f->bufs, &f->broker_in);
    hr_pieceq_clear(&f->bufs, &f->client_out);
    if (f->relay)
        hr_relay_close(f->ctx, f->relay);
    f->relay = NULL;
}

void rf_reset(struct rf *f, int32_t node_id)
{
    clear(f);
    hr_pieceq_init(&f->client_in);
    hr_pieceq_init(&f->broker_out);
    hr_pieceq_init(&f->broker_in);
    hr_pieceq_init(&f->client_out);
    f->to_broker.len = f->to_client.len = 0;
    f->leader_hint = false;
    f->most_held = 0;
    f->room = UINT32_MAX / 2;
    f->request = f->response = (struct hr_relay_result){.verdict = HR_DROP_MAX};
    memset(&f->stats, 0, sizeof(f->stats));
    if (hr_relay_open(f->ctx, node_id, &f->relay) != 0)
        die("no relay");
}

bool rf_balanced(struct rf *f)
{
    clear(f);
    return f->bufs.held == 0 && rte_mempool_avail_count(f->bufs.rx_pool) == f->rx_free &&
           rte_mempool_avail_count(f->bufs.hdr_pool) == f->hdr_free &&
           rte_mempool_avail_count(f->bufs.chunk_pool) == f->chunk_free;
}

void rf_fini(struct rf *f)
{
    clear(f);
    hr_relay_ctx_destroy(f->ctx);
    hr_buf_ctx_fini(&f->bufs);
    free(f->policy);
    rf_free(&f->to_broker);
    rf_free(&f->to_client);
}

/* xorshift64* */
uint32_t rf_random(struct rf *f, uint32_t below)
{
    uint64_t x = f->seed ? f->seed : 88172645463325252ull;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    f->seed = x;
    return below ? (uint32_t)((x * 0x2545F4914F6CDD1Dull) >> 33) % below : 0;
}

void rf_feed(struct rf *f, struct hr_pieceq *q, const void *data, uint32_t len, uint32_t max_piece)
{
    const uint8_t *p = data;

    if (max_piece > 2048)
        max_piece = 2048;
    while (len > 0) {
        uint32_t n = 1 + rf_random(f, max_piece);
        if (n > len)
            n = len;
        struct rte_mbuf *m = rte_pktmbuf_alloc(f->bufs.rx_pool);
        if (!m)
            die("receive pool empty");
        /* At the buffer's end: nothing can be joined behind it. */
        m->data_off = (uint16_t)(m->buf_len - n);
        m->data_len = (uint16_t)n;
        m->pkt_len = n;
        memcpy(rte_pktmbuf_mtod(m, void *), p, n);
        if (hr_pieceq_push_mbuf_take(&f->bufs, q, m) != 0)
            die("chunk pool empty");
        p += n;
        len -= n;
    }
}

void rf_feed_zeros(struct rf *f, struct hr_pieceq *q, uint32_t n)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(f->bufs.rx_pool);

    if (!m)
        die("receive pool empty");
    memset(m->buf_addr, 0, m->buf_len);
    while (n > 0) {
        uint32_t len = n < m->buf_len ? n : m->buf_len;
        rte_mbuf_refcnt_update(m, 1);
        if (hr_pieceq_push_take(&f->bufs, q, (struct hr_piece){.mbuf = m, .off = 0, .len = (uint16_t)len}) !=
            0)
            die("chunk pool empty");
        n -= len;
    }
    rte_pktmbuf_free_seg(m);
}

static void drain(struct rf *f, struct hr_pieceq *q, struct rf_bytes *to)
{
    struct hr_piece_iter it;
    uint32_t n;
    const uint8_t *p;

    hr_piece_iter_at(&it, q, 0);
    while ((p = hr_piece_iter_peek(&it, &n)) != NULL && n > 0) {
        rf_append(to, p, n);
        hr_piece_iter_advance(&it, n);
    }
    hr_pieceq_clear(&f->bufs, q);
}

void rf_requests(struct rf *f)
{
    hr_relay_requests(f->ctx, f->relay, NULL, f->policy, f->listener, &f->client_in, &f->broker_out, f->room,
                      &f->request);
    drain(f, &f->broker_out, &f->to_broker);
}

void rf_responses(struct rf *f)
{
    hr_relay_responses(f->ctx, f->relay, NULL, f->policy, f->listener, &f->broker_in, &f->client_out, f->room,
                       &f->response);
    f->leader_hint |= f->response.leader_hint;
    if (f->broker_in.bytes > f->most_held)
        f->most_held = f->broker_in.bytes;
    drain(f, &f->client_out, &f->to_client);
}

/* Calls a side until it has nothing more to say. */
static void settle(struct rf *f, void (*side)(struct rf *f), struct hr_relay_result *result)
{
    do
        side(f);
    while (result->verdict == HR_DROP_MAX && result->blocked && result->taken > 0);
}

static void play(struct rf *f, struct hr_pieceq *q, const uint8_t *p, uint32_t len,
                 void (*side)(struct rf *f), struct hr_relay_result *result)
{
    while (len > 0) {
        uint32_t n = 1 + rf_random(f, rf_random(f, 4) == 0 ? 9000 : 40);
        if (n > len)
            n = len;
        rf_feed(f, q, p, n, n / 8 + 1 + rf_random(f, 1600)); /* not more pieces than buffers */
        settle(f, side, result);
        if (result->verdict != HR_DROP_MAX)
            return;
        p += n;
        len -= n;
    }
    settle(f, side, result);
}

void rf_play_requests(struct rf *f, const void *p, uint32_t len)
{
    play(f, &f->client_in, p, len, rf_requests, &f->request);
}

void rf_play_responses(struct rf *f, const void *p, uint32_t len)
{
    play(f, &f->broker_in, p, len, rf_responses, &f->response);
}

void rf_bare_request(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id)
{
    uint8_t p[64];
    uint32_t n = 4;

    hr_kput16(p + n, (uint16_t)key);
    hr_kput16(p + n + 2, (uint16_t)version);
    hr_kput32(p + n + 4, (uint32_t)correlation_id);
    hr_kput16(p + n + 8, UINT16_MAX); /* no client id */
    n += 10;
    if (hr_krequest_header_version(key, version) >= 2)
        p[n++] = 0;
    if (key == 0) { /* Produce: no transactional id, acks -1 */
        if (version >= 9)
            p[n++] = 0;
        else if (version >= 3) {
            hr_kput16(p + n, UINT16_MAX);
            n += 2;
        }
        hr_kput16(p + n, UINT16_MAX);
        n += 2;
    }
    if (key == 18 && version >= 5) { /* ApiVersions: no software, no cluster, no node, no tags */
        memcpy(p + n, "\1\1\0\xff\xff\xff\xff\0", 8);
        n += 8;
    }
    hr_kput32(p, n - 4);
    rf_append(b, p, n);
}
