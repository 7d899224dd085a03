#include "dataplane/worker/handoff.h"

#include <rte_malloc.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>
#include <stdio.h>

#include "shared/ipc/messages.h"

struct hr_handoff {
    uint32_t n_workers;
    uint64_t news_flag; /* ol_flags bit */
    struct rte_ring *ring[HR_MAX_WORKERS][HR_MAX_WORKERS]; /* [to][from] */
};

int hr_handoff_create(uint32_t n_workers, struct hr_handoff **ret_handoff)
{
    static const struct rte_mbuf_dynflag news = {.name = "hr_handoff_news"};
    struct hr_handoff *handoff = rte_zmalloc("hr_handoff", sizeof(*handoff), 64);
    if (!handoff)
        return HR_E_NOMEM;
    int bit = rte_mbuf_dynflag_register(&news);
    if (bit < 0)
        goto fail;
    handoff->n_workers = n_workers;
    handoff->news_flag = 1ULL << bit;
    for (uint32_t to = 0; to < n_workers; to++) {
        for (uint32_t from = 0; from < n_workers; from++) {
            if (to == from)
                continue;
            char name[RTE_RING_NAMESIZE];
            snprintf(name, sizeof(name), "hr_handoff_%hhu_%hhu", (uint8_t)from, (uint8_t)to);
            handoff->ring[to][from] =
                rte_ring_create(name, HR_HANDOFF_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
            if (!handoff->ring[to][from])
                goto fail;
        }
    }
    *ret_handoff = handoff;
    return 0;
fail:
    hr_handoff_destroy(handoff);
    return HR_E_NOMEM;
}

void hr_handoff_destroy(struct hr_handoff *handoff)
{
    if (!handoff)
        return;
    for (uint32_t to = 0; to < handoff->n_workers; to++) {
        for (uint32_t from = 0; from < handoff->n_workers; from++) {
            struct rte_mbuf *m;
            if (!handoff->ring[to][from])
                continue;
            while (rte_ring_dequeue(handoff->ring[to][from], (void **)&m) == 0)
                rte_pktmbuf_free(m);
            rte_ring_free(handoff->ring[to][from]);
        }
    }
    rte_free(handoff);
}

bool hr_handoff_give(struct hr_handoff *handoff, uint32_t from, uint32_t to, struct rte_mbuf *m,
                     struct hr_stats *stats)
{
    if (rte_ring_sp_enqueue(handoff->ring[to][from], m) != 0) {
        HR_DROP(stats, handoff_full);
        rte_pktmbuf_free(m);
        return false;
    }
    HR_COUNT(stats, handoff_out);
    return true;
}

bool hr_handoff_tell(struct hr_handoff *handoff, uint32_t from, uint32_t to, const struct hr_news *news,
                     struct rte_mempool *pool, struct hr_stats *stats)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (!m) {
        HR_COUNT(stats, mbuf_alloc_failed);
        return false;
    }
    char *data = rte_pktmbuf_append(m, sizeof(*news));
    if (!data) {
        rte_pktmbuf_free(m);
        return false;
    }
    memcpy(data, news, sizeof(*news));
    m->ol_flags |= handoff->news_flag;
    if (rte_ring_sp_enqueue(handoff->ring[to][from], m) != 0) {
        HR_DROP(stats, handoff_full);
        rte_pktmbuf_free(m);
        return false;
    }
    return true;
}

uint32_t hr_handoff_take(struct hr_handoff *handoff, uint32_t to, struct rte_mbuf **ret, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t from = 0; from < handoff->n_workers && n < max; from++)
        if (handoff->ring[to][from])
            n += rte_ring_sc_dequeue_burst(handoff->ring[to][from], (void **)(ret + n), max - n, NULL);
    return n;
}

bool hr_handoff_pending(const struct hr_handoff *handoff, uint32_t to)
{
    for (uint32_t from = 0; from < handoff->n_workers; from++)
        if (handoff->ring[to][from] && !rte_ring_empty(handoff->ring[to][from]))
            return true;
    return false;
}

const struct hr_news *hr_handoff_news(const struct hr_handoff *handoff, const struct rte_mbuf *m)
{
    return m->ol_flags & handoff->news_flag ? rte_pktmbuf_mtod(m, const struct hr_news *) : NULL;
}
