/* Hand-over between workers: segments that reached the wrong queue, and news that concern others.
 *
 * One single-producer single-consumer ring for each ordered pair of workers carries mbufs. A segment travels
 * as it is (TCP header at the data pointer, IPv4 header still in front of it); news travel in a small mbuf
 * marked by a dynamic flag. A full ring drops and counts: TCP resends, ARP asks again. */
#pragma once

#include <rte_mbuf.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/net.h"
#include "shared/base/addr.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"

#define HR_HANDOFF_RING 1024

struct hr_handoff; /* of all workers */

enum hr_news_kind { HR_NEWS_NONE = 0, HR_NEWS_NET, HR_NEWS_ICMP_ERROR, HR_NEWS_MAX };

struct hr_news {
    enum hr_news_kind kind;
    /* NET: what hr_net_config.on_news said */
    struct hr_net_news net;
    /* ICMP_ERROR */
    bool hard;
    uint16_t mtu;
    uint32_t seq;
    struct hr_flow flow;
};

/* Main thread, before the workers run. NULL rings are made for n_workers == 1. */
HR_MUST_CHECK int hr_handoff_create(uint32_t n_workers, struct hr_handoff **ret_handoff);
void hr_handoff_destroy(struct hr_handoff *handoff);

/* Worker `from` gives m to worker `to`; freed and counted when the ring is full. True when it went over. */
bool hr_handoff_give(struct hr_handoff *handoff, uint32_t from, uint32_t to, struct rte_mbuf *m,
                     struct hr_stats *stats);
/* The same for news; pool gives the mbuf. */
bool hr_handoff_tell(struct hr_handoff *handoff, uint32_t from, uint32_t to, const struct hr_news *news,
                     struct rte_mempool *pool, struct hr_stats *stats);

/* Worker `to` takes up to max mbufs from all others. */
uint32_t hr_handoff_take(struct hr_handoff *handoff, uint32_t to, struct rte_mbuf **ret, uint32_t max);
/* Anything waiting for worker `to`? */
bool hr_handoff_pending(const struct hr_handoff *handoff, uint32_t to);

/* The news in m, NULL when m is a segment. */
const struct hr_news *hr_handoff_news(const struct hr_handoff *handoff, const struct rte_mbuf *m);
