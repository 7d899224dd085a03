/* A TCP segment on its way in, as dataplane/net hands it up and dataplane/tcp takes it: an mbuf (or a chain) whose data
 * begins at the TCP header and is exactly as long as the segment. Right in front of the data stand the two addresses,
 * as the IP header ends with them, so that the tuple of a segment is one stretch of bytes:
 *
 *     IPv4   source (4), destination (4)   | source port (2), destination port (2), rest of the segment
 *     IPv6   source (16), destination (16) | the same
 *
 * packet_type says which: RTE_PTYPE_L3_IPV4 or RTE_PTYPE_L3_IPV6. Only while nobody has written there. */
#pragma once

#include <rte_byteorder.h>
#include <rte_mbuf.h>
#include <string.h>

#include "shared/base/addr.h"

/* The flow as seen from this host. The first mbuf holds the ports. */
static inline void hr_segment_flow(const struct rte_mbuf *m, struct hr_flow *ret_flow)
{
    const uint8_t *l4 = rte_pktmbuf_mtod(m, const uint8_t *);
    uint16_t port[2];

    if (m->packet_type == RTE_PTYPE_L3_IPV4) {
        uint32_t v4_be[2];
        memcpy(v4_be, l4 - sizeof(v4_be), sizeof(v4_be));
        ret_flow->remote = hr_addr_from_v4(v4_be[0]);
        ret_flow->local = hr_addr_from_v4(v4_be[1]);
    } else {
        memcpy(&ret_flow->remote, l4 - 32, 16);
        memcpy(&ret_flow->local, l4 - 16, 16);
    }
    memcpy(port, l4, sizeof(port));
    ret_flow->remote_port = rte_be_to_cpu_16(port[0]);
    ret_flow->local_port = rte_be_to_cpu_16(port[1]);
}

/* Do both belong to one flow? */
static inline bool hr_segment_same_flow(const struct rte_mbuf *a, const struct rte_mbuf *b)
{
    const uint8_t *p = rte_pktmbuf_mtod(a, const uint8_t *), *q = rte_pktmbuf_mtod(b, const uint8_t *);

    return a->packet_type == b->packet_type && memcmp(p - 8, q - 8, 12) == 0 &&
           (a->packet_type == RTE_PTYPE_L3_IPV4 || memcmp(p - 32, q - 32, 24) == 0);
}

/* For who makes segments without a network layer: puts the addresses where they belong, into the headroom. */
static inline void hr_segment_set_addrs(struct rte_mbuf *m, const struct hr_addr *src, const struct hr_addr *dst)
{
    uint8_t *l4 = rte_pktmbuf_mtod(m, uint8_t *);

    if (hr_addr_is_v4(src)) {
        m->packet_type = RTE_PTYPE_L3_IPV4;
        memcpy(l4 - 8, src->b + 12, 4);
        memcpy(l4 - 4, dst->b + 12, 4);
    } else {
        m->packet_type = RTE_PTYPE_L3_IPV6;
        memcpy(l4 - 32, src, 16);
        memcpy(l4 - 16, dst, 16);
    }
}
