/* The pools of a worker, and segments built from queued pieces.
 *
 * Four pools: rx_pool feeds the ports, hdr_pool gives headers and bytes of our own, indirect_pool gives
 * mbufs without data room that refer into a buffer, chunk_pool gives the queues' chunks. Sizing is the
 * caller's except for indirect mbufs: they live only while a port holds them, so twice the header mbufs
 * (one header per packet) covers what can be in transmit rings at once. */
#include "dataplane/buf/buf.h"

#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <string.h>

#include "dataplane/buf/impl.h"

/* Room of a header buffer: headroom plus a payload small enough to be made by Headrace itself. */
#define HDR_DATA_ROOM (RTE_PKTMBUF_HEADROOM + 512)

static unsigned cache_size(uint32_t n)
{
#ifdef HR_MBUF_DEBUG
    return 0; /* what is freed is poisoned at once */
#endif
    return n >= 1024 ? 256 : n / 4;
}

static struct rte_mempool *mbuf_pool(const char *kind, const struct hr_buf_config *cfg, uint32_t n,
                                     uint16_t data_room)
{
    struct rte_pktmbuf_pool_private private = {.mbuf_data_room_size = data_room};
    char name[RTE_MEMPOOL_NAMESIZE];
    /* Where devices see virtual addresses, an object may cross pages. Without this flag, ordinary 4 KiB pages
     * would hold one full-sized buffer each and waste the rest. */
    unsigned flags = rte_eal_iova_mode() == RTE_IOVA_VA ? RTE_MEMPOOL_F_NO_IOVA_CONTIG : 0;

    snprintf(name, sizeof(name), "hr_%s_%u", kind, cfg->worker_id);
    struct rte_mempool *pool = rte_mempool_create_empty(name, n, sizeof(struct rte_mbuf) + data_room, cache_size(n),
                                                        sizeof(private), cfg->socket_id, flags);
    if (pool == NULL)
        return NULL;
#ifdef HR_MBUF_DEBUG
    if (hr_buf_debug_pool(pool) != 0) {
        rte_mempool_free(pool);
        return NULL;
    }
#endif
    rte_pktmbuf_pool_init(pool, &private);
    if (rte_mempool_populate_default(pool) < 0) {
        rte_mempool_free(pool);
        return NULL;
    }
    rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
    return pool;
}

int hr_buf_ctx_init(struct hr_buf_ctx *ctx, const struct hr_buf_config *cfg, struct hr_stats *stats)
{
    char name[RTE_MEMPOOL_NAMESIZE];

    memset(ctx, 0, sizeof(*ctx));
    ctx->stats = stats;
    if (cfg->rx_mbufs == 0 || cfg->hdr_mbufs == 0 || cfg->chunks == 0 || cfg->rx_data_room > UINT16_MAX ||
        cfg->rx_data_room < RTE_PKTMBUF_HEADROOM + 64)
        return HR_E_INVALID;

    ctx->rx_pool = mbuf_pool("rx", cfg, cfg->rx_mbufs, (uint16_t)cfg->rx_data_room);
    ctx->hdr_pool = mbuf_pool("hdr", cfg, cfg->hdr_mbufs, HDR_DATA_ROOM);
    ctx->indirect_pool = mbuf_pool("ind", cfg, 2 * cfg->hdr_mbufs, 0);
    snprintf(name, sizeof(name), "hr_chunk_%u", cfg->worker_id);
    ctx->chunk_pool = rte_mempool_create(name, cfg->chunks, sizeof(struct hr_piece_chunk),
                                         cache_size(cfg->chunks), 0, NULL, NULL, NULL, NULL, cfg->socket_id, 0);
    if (ctx->rx_pool == NULL || ctx->hdr_pool == NULL || ctx->indirect_pool == NULL ||
        ctx->chunk_pool == NULL) {
        hr_buf_ctx_fini(ctx);
        return HR_E_NOMEM;
    }
    return 0;
}

void hr_buf_ctx_fini(struct hr_buf_ctx *ctx)
{
    rte_mempool_free(ctx->rx_pool);
    rte_mempool_free(ctx->hdr_pool);
    rte_mempool_free(ctx->indirect_pool);
    rte_mempool_free(ctx->chunk_pool);
    ctx->rx_pool = ctx->hdr_pool = ctx->indirect_pool = ctx->chunk_pool = NULL;
}

uint32_t hr_buf_pool_free(const struct rte_mempool *pool)
{
    const struct rte_mempool_cache *cache =
        rte_mempool_default_cache((struct rte_mempool *)(uintptr_t)pool, rte_lcore_id());
    return rte_mempool_get_ops(pool->ops_index)->get_count(pool) + (cache == NULL ? 0 : cache->len);
}

struct rte_mbuf *hr_buf_alloc_payload(struct hr_buf_ctx *ctx)
{
    if (hr_buf_pool_free(ctx->hdr_pool) <= ctx->hdr_pool->size / 8) {
        HR_COUNT(ctx->stats, mbuf_alloc_failed);
        return NULL;
    }
    return hr_buf_alloc(ctx, ctx->hdr_pool);
}

struct rte_mbuf *hr_buf_alloc(struct hr_buf_ctx *ctx, struct rte_mempool *pool)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (m == NULL)
        HR_COUNT(ctx->stats, mbuf_alloc_failed);
    return m;
}

/* A reference on the buffer itself for bytes [off, off+len), NULL where only an indirect mbuf will do. The
 * mbuf's data must be exactly that range; where nobody else refers to it, it is made so. */
static struct rte_mbuf *ref_whole(const struct hr_piece *p, uint16_t off, uint32_t len)
{
    struct rte_mbuf *m = p->mbuf;

    if (off != p->off || len != p->len)
        return NULL;
    if (m->data_off != off || m->data_len != len) {
        if (!hr_buf_writable(m))
            return NULL;
        m->data_off = off;
        m->data_len = (uint16_t)len;
        m->pkt_len = len;
    }
    rte_mbuf_refcnt_update(m, 1);
    return m;
}

static struct rte_mbuf *ref_range(struct hr_buf_ctx *ctx, const struct hr_piece *p, uint16_t off, uint32_t len)
{
    struct rte_mbuf *m = hr_buf_alloc(ctx, ctx->indirect_pool);
    if (m == NULL)
        return NULL;
    rte_pktmbuf_attach(m, p->mbuf);
    m->data_off = off;
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* what reception noted is not for transmission */
    return m;
}

struct rte_mbuf *hr_buf_attach(struct hr_buf_ctx *ctx, struct hr_piece_iter *it, uint32_t len,
                               uint16_t max_segs, uint32_t *ret_len)
{
    struct hr_piece_iter at = *it;
    struct rte_mbuf *head = NULL, **link = &head;
    uint32_t done = 0;
    uint16_t segs = 0;

    while (done < len && segs < max_segs) {
        uint32_t have;
        if (hr_piece_iter_peek(&at, &have) == NULL)
            break;
        const struct hr_piece *p = &at.chunk->piece[at.index];
        uint32_t n = RTE_MIN(have, len - done);

        /* The shared mbuf's next must stay NULL, so only the last of the packet may be one. */
        struct rte_mbuf *m = NULL;
        if (done + n == len || segs + 1 == max_segs)
            m = ref_whole(p, at.off, n);
        if (m == NULL)
            m = ref_range(ctx, p, at.off, n);
        if (m == NULL) {
            rte_pktmbuf_free(head);
            return NULL;
        }
        *link = m;
        link = &m->next;
        done += n;
        segs++;
        hr_piece_iter_advance(&at, n);
    }
    if (segs > 1) { /* then the head is an indirect mbuf of our own */
        head->nb_segs = segs;
        head->pkt_len = done;
    }
    *it = at;
    *ret_len = done;
    return head;
}
