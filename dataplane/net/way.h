/* A way: what all frames between one pair of addresses have in common below TCP, prepared, and the burst that they
 * join. TCP asks for it once for each connection's turn (hr_tcp_config.way), puts the headers in front of its own,
 * and queues whole frames: no call, no look-up and no check per segment.
 *
 * There is one where the neighbour is known and the port computes TCP checksums; everything else (a neighbour that
 * has to be asked, a port that needs its checksums or flat copies made) goes through hr_net_emit_tcp_take().
 *
 * Valid until its net is asked for another way or told the time. */
#pragma once

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <stdint.h>

#include "dataplane/net/cksum.h"

#define HR_NET_TX_BURST 64 /* packets per burst; a full burst is sent at once */
#define HR_NET_WAY_HEAD 64 /* bytes; Ethernet and IPv6 headers take 54 of them */

/* A port's burst. */
struct hr_net_txq {
    uint16_t n;
    uint16_t port; /* index */
    uint32_t bytes;
    void (*flush)(struct hr_net_txq *q);
    void *net;
    struct rte_mbuf *pkts[HR_NET_TX_BURST];
};

struct hr_net_way {
    uint8_t head[HR_NET_WAY_HEAD]; /* Ethernet and IP header, at its end; lengths and checksum 0 */
    uint8_t head_len;
    uint8_t ip_len;                /* of the IP header: 20 or 40 */
    uint16_t mtu;
    uint32_t ip_sum;               /* of the IPv4 header */
    uint64_t pseudo;               /* sum of the pseudo-header without the length */
    uint64_t ol_flags, tx_offload; /* of a frame's first mbuf; the length of the TCP header is missing */
    struct hr_net_txq *q;
};

/* Settles what depends on the length, in the headers in front of tcp, and its checksum field as a port wants it that
 * computes the rest: the sum of the pseudo-header. len: of the segment, TCP header included. */
static inline void hr_net_way_length(const struct hr_net_way *w, struct rte_tcp_hdr *tcp, uint16_t len)
{
    if (w->ip_len == sizeof(struct rte_ipv4_hdr)) {
        struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)tcp - 1;
        ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len));
        if (!(w->ol_flags & RTE_MBUF_F_TX_IP_CKSUM))
            ip->hdr_checksum = (uint16_t)~hr_cksum_fold((uint64_t)w->ip_sum + ip->total_length);
    } else {
        struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(void *)tcp - 1;
        ip->payload_len = rte_cpu_to_be_16(len);
    }
    tcp->cksum = hr_cksum_fold(w->pseudo + rte_cpu_to_be_16(len));
}

/* Queues a complete frame. */
static inline void hr_net_txq_put(struct hr_net_txq *q, struct rte_mbuf *m)
{
    q->bytes += m->pkt_len;
    q->pkts[q->n++] = m;
    if (unlikely(q->n == HR_NET_TX_BURST))
        q->flush(q);
}
