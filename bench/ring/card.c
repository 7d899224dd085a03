#include "bench/ring/card.h"

#include <rte_ethdev.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>

#define DONE 1
#define LAST 2
#define BATCH 32u /* buffers posted, and freed, at a time */
#define PREFETCH_AHEAD 4u
#define LINE 64

/* ---- the driver's half: measured -------------------------------------------------------------------- */

static void post(struct rb_card *c)
{
    while (c->n_rx - (c->rx_posted - c->rx_next) >= BATCH) {
        struct rte_mbuf **to = &c->rx_mbuf[c->rx_posted & (c->n_rx - 1)];
        if (rte_mempool_get_bulk(c->pool, (void **)to, BATCH) != 0)
            return; /* none is free: the card will want for buffers */
        for (uint32_t i = 0; i < BATCH; i++) {
            struct rb_card_desc *d = &c->rx[(c->rx_posted + i) & (c->n_rx - 1)];
            d->addr = (uint64_t)(uintptr_t)to[i]->buf_addr + RTE_PKTMBUF_HEADROOM;
            d->flags = 0;
        }
        c->rx_posted += BATCH;
    }
}

static uint16_t rx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
    struct rb_card *c = queue;
    uint16_t got = 0;
    while (got < n && c->rx_next != c->rx_posted) {
        const struct rb_card_desc *d = &c->rx[c->rx_next & (c->n_rx - 1)];
        if (!(d->flags & DONE))
            break;
        rte_prefetch0(c->rx_mbuf[(c->rx_next + PREFETCH_AHEAD) & (c->n_rx - 1)]);
        struct rte_mbuf *m = c->rx_mbuf[c->rx_next & (c->n_rx - 1)];
        memcpy((char *)m + offsetof(struct rte_mbuf, rearm_data), &c->rearm, sizeof(c->rearm));
        m->ol_flags = c->rx_flags;
        m->packet_type = 0;
        m->pkt_len = d->len;
        m->data_len = d->len;
        m->hash.rss = d->hash;
        pkts[got++] = m;
        c->rx_next++;
    }
    if (got)
        post(c);
    return got;
}

static void free_sent(struct rb_card *c)
{
    struct rte_mbuf *bulk[BATCH];
    uint32_t n = 0;
    while (c->tx_freed != c->tx_done) {
        struct rte_mbuf *m = rte_pktmbuf_prefree_seg(c->tx_mbuf[c->tx_freed++ & (c->n_tx - 1)]);
        if (!m)
            continue;
        if (n == BATCH || (n > 0 && bulk[0]->pool != m->pool)) {
            rte_mempool_put_bulk(bulk[0]->pool, (void **)bulk, n);
            n = 0;
        }
        bulk[n++] = m;
    }
    if (n > 0)
        rte_mempool_put_bulk(bulk[0]->pool, (void **)bulk, n);
}

static uint16_t tx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
    struct rb_card *c = queue;
    uint16_t sent = 0;
    if (c->tx_done - c->tx_freed >= BATCH)
        free_sent(c);
    for (; sent < n; sent++) {
        struct rte_mbuf *m = pkts[sent];
        if (c->n_tx - (c->tx_next - c->tx_freed) < m->nb_segs)
            break;
        for (; m; m = m->next) {
            struct rb_card_desc *d = &c->tx[c->tx_next & (c->n_tx - 1)];
            d->addr = (uint64_t)(uintptr_t)m->buf_addr + m->data_off;
            d->len = m->data_len;
            d->flags = m->next ? 0 : LAST;
            c->tx_mbuf[c->tx_next++ & (c->n_tx - 1)] = m;
        }
    }
    return sent;
}

static uint16_t tx_prepare(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
    return n;
}

/* ---- the card's half -------------------------------------------------------------------------------- */

uint8_t *rb_card_rx_place(struct rb_card *c)
{
    if (c->rx_done == c->rx_posted) {
        c->no_buffer++;
        return NULL;
    }
    return (uint8_t *)(uintptr_t)c->rx[c->rx_done & (c->n_rx - 1)].addr;
}

void rb_card_rx_done(struct rb_card *c, uint16_t len, uint32_t hash)
{
    struct rb_card_desc *d = &c->rx[c->rx_done++ & (c->n_rx - 1)];
    d->len = len;
    d->hash = hash;
    d->flags = DONE;
}

const struct rb_card_desc *rb_card_tx_next(struct rb_card *c, bool *ret_last)
{
    if (c->tx_done == c->tx_next)
        return NULL;
    const struct rb_card_desc *d = &c->tx[c->tx_done++ & (c->n_tx - 1)];
    *ret_last = d->flags & LAST;
    return d;
}

static void flush_bytes(const void *from, uint32_t n)
{
    const uint8_t *p = (const uint8_t *)((uintptr_t)from & ~(uintptr_t)(LINE - 1));
    for (; p < (const uint8_t *)from + n; p += LINE)
        _mm_clflush(p);
}

void rb_card_flush_caches(struct rb_card *c)
{
    for (uint32_t i = c->rx_next; i != c->rx_done; i++) {
        const struct rb_card_desc *d = &c->rx[i & (c->n_rx - 1)];
        flush_bytes((const void *)(uintptr_t)d->addr, d->len);
        flush_bytes(d, sizeof(*d));
    }
    for (uint32_t i = 0; i < 4 * BATCH; i++)
        flush_bytes(&c->tx[(c->tx_next + i) & (c->n_tx - 1)], sizeof(*c->tx));
    _mm_mfence();
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

static void *zeroed(const char *name, size_t n, size_t size)
{
    void *p = rte_zmalloc(name, n * size, RTE_CACHE_LINE_SIZE);
    if (!p) {
        fprintf(stderr, "ring bench: no memory for %s\n", name);
        exit(1);
    }
    return p;
}

void rb_card_open(struct rb_card *c, uint16_t port_id, struct rte_mempool *pool, uint32_t n_rx, bool cksum)
{
    struct rte_mbuf first = {.data_off = RTE_PKTMBUF_HEADROOM, .nb_segs = 1, .port = port_id};
    *c = (struct rb_card){.pool = pool, .port_id = port_id, .n_rx = n_rx, .n_tx = RB_CARD_TX_DESC};
    rte_mbuf_refcnt_set(&first, 1);
    memcpy(&c->rearm, (char *)&first + offsetof(struct rte_mbuf, rearm_data), sizeof(c->rearm));
    c->rx_flags = RTE_MBUF_F_RX_RSS_HASH;
    if (cksum)
        c->rx_flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    c->rx = zeroed("rb_rx", c->n_rx, sizeof(*c->rx));
    c->tx = zeroed("rb_tx", c->n_tx, sizeof(*c->tx));
    c->rx_mbuf = zeroed("rb_rx_mbuf", c->n_rx, sizeof(*c->rx_mbuf));
    c->tx_mbuf = zeroed("rb_tx_mbuf", c->n_tx, sizeof(*c->tx_mbuf));
    post(c);
    c->queue[0] = c;
    rte_eth_fp_ops[port_id] = (struct rte_eth_fp_ops){
        .rx_pkt_burst = rx_burst,
        .tx_pkt_burst = tx_burst,
        .tx_pkt_prepare = tx_prepare,
        .rxq = {.data = c->queue, .clbk = c->callbacks},
        .txq = {.data = c->queue, .clbk = c->callbacks},
    };
}

void rb_card_close(struct rb_card *c)
{
    for (; c->rx_next != c->rx_posted; c->rx_next++)
        rte_mempool_put(c->pool, c->rx_mbuf[c->rx_next & (c->n_rx - 1)]);
    c->tx_done = c->tx_next;
    free_sent(c);
    rte_free(c->rx);
    rte_free(c->tx);
    rte_free(c->rx_mbuf);
    rte_free(c->tx_mbuf);
}
