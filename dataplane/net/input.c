/* The way in: a burst of frames is checked header by header; what survives is a TCP segment for one of our
 * addresses, an ARP packet or an ICMP message of either family. Everything else ends in a named drop. Segments leave
 * together at the end of the burst.
 *
 * Frames arrive in rows that differ in lengths, ports and what TCP says. So each port keeps the head of the frame that
 * was accepted last, under a mask of the bits that were looked at for that; a frame that has them too is as good. */
#include <rte_ip.h>
#include <rte_prefetch.h>
#include <rte_tcp.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"
#include "dataplane/net/mcast.h"

#define DROP(net, m, reason)                                                                                 \
    do {                                                                                                     \
        HR_DROP((net)->stats, reason);                                                                       \
        rte_pktmbuf_free(m);                                                                                 \
        return false;                                                                                              \
    } while (0)

/* Cuts the packet to len bytes: Ethernet padding and driver trailers go. len <= pkt_len, len > 0. */
static void trim(struct rte_mbuf *m, uint32_t len)
{
    uint32_t left = len;
    struct rte_mbuf *s = m;
    uint16_t n_segs = 1;
    while (s->data_len < left) {
        left -= s->data_len;
        s = s->next;
        n_segs++;
    }
    s->data_len = (uint16_t)left;
    if (s->next != NULL) {
        rte_pktmbuf_free(s->next);
        s->next = NULL;
    }
    m->pkt_len = len;
    m->nb_segs = n_segs;
}

/* What the port found out about a checksum. NONE means that the data is right although the field is not (a
 * virtual device that never computed it). BAD and unknown are computed here: some drivers cry wolf. */
static bool hw_says_good(bool offloaded, uint64_t flags, uint64_t good, uint64_t none)
{
    return offloaded && (flags == good || flags == none);
}

/* What is left is the segment. */
static inline void strip(struct rte_mbuf *m, uint16_t l4, uint32_t packet_type)
{
    m->packet_type = packet_type;
    m->data_off = (uint16_t)(m->data_off + l4);
    m->data_len = (uint16_t)(m->data_len - l4);
    m->pkt_len -= l4;
}

static bool ip_sum_offloaded(const struct hr_port *port, const struct rte_mbuf *m)
{
    return hw_says_good(port->rx_ip_cksum, m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, RTE_MBUF_F_RX_IP_CKSUM_GOOD,
                        RTE_MBUF_F_RX_IP_CKSUM_NONE);
}

static bool tcp_sum_offloaded(const struct hr_port *port, const struct rte_mbuf *m)
{
    return hw_says_good(port->rx_tcp_cksum, m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_GOOD,
                        RTE_MBUF_F_RX_L4_CKSUM_NONE);
}

#define CKSUMS (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK)

/* The frame has been accepted, by its head and by what the port says of its sums alone. */
static void remember(struct hr_net_seen *seen, const struct rte_mbuf *m, bool v4)
{
    static const uint8_t mask4[HR_NET_HEAD] = {
        [0 ... 5] = 0xff, [12 ... 14] = 0xff, [20] = 0x3f, [21] = 0xff, [23] = 0xff, [26 ... 33] = 0xff};
    static const uint8_t mask6[HR_NET_HEAD] = {
        [0 ... 5] = 0xff, [12 ... 13] = 0xff, [14] = 0xf0, [20] = 0xff, [22 ... 53] = 0xff};
    uint16_t l4 = v4 ? HR_NET_ETH_IP_LEN : HR_NET_ETH_IP6_LEN;

    if (m->data_len < HR_NET_HEAD)
        return;
    memcpy(seen->want, rte_pktmbuf_mtod(m, const void *), HR_NET_HEAD);
    memcpy(seen->mask, v4 ? mask4 : mask6, HR_NET_HEAD);
    seen->cksums = m->ol_flags & CKSUMS;
    seen->packet_type = v4 ? RTE_PTYPE_L3_IPV4 : RTE_PTYPE_L3_IPV6;
    seen->l4 = l4;
    seen->min_len = (uint16_t)RTE_MAX(HR_NET_HEAD, l4 + sizeof(struct rte_tcp_hdr));
    seen->length_at = v4 ? 16 : 18;
    seen->length_from = v4 ? RTE_ETHER_HDR_LEN : HR_NET_ETH_IP6_LEN;
}

/* Where it differs from that one's head, as far as that matters. */
static inline void head_difference(const struct hr_net_seen *seen, const struct rte_mbuf *m, hr_vec32 ret[2])
{
    const hr_vec32_at *head = rte_pktmbuf_mtod(m, const hr_vec32_at *);
    ret[0] = (head[0] ^ seen->want[0]) & seen->mask[0];
    ret[1] = (head[1] ^ seen->want[1]) & seen->mask[1];
}

/* All but its head: it is whole and unpadded, and the port says the same of its sums. */
static inline bool comparable(const struct hr_net_seen *seen, const struct rte_mbuf *m)
{
    uint16_t length;
    if (m->data_len < seen->min_len || (m->ol_flags & CKSUMS) != seen->cksums)
        return false;
    memcpy(&length, rte_pktmbuf_mtod_offset(m, const void *, seen->length_at), sizeof(length));
    return m->pkt_len == seen->length_from + (uint32_t)rte_be_to_cpu_16(length);
}

/* Is it as good as that one? */
static inline bool seen_before(const struct hr_net_seen *seen, const struct rte_mbuf *m)
{
    hr_vec32 d[2];
    if (!comparable(seen, m))
        return false;
    head_difference(seen, m, d);
    d[0] |= d[1];
    return hr_vec32_is_zero(&d[0]);
}

/* l4: where the segment begins in the frame; len: its length. True: m is a segment now; false: it is gone. */
static bool tcp_input(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, const struct hr_addr *src,
                      const struct hr_addr *dst, uint16_t l4, uint16_t len)
{
    const struct hr_port *port = &net->ports[port_index];
    bool v4 = l4 == HR_NET_ETH_IP_LEN;
    if (len < sizeof(struct rte_tcp_hdr) || m->data_len < l4 + sizeof(struct rte_tcp_hdr))
        DROP(net, m, tcp_short);
    if (!tcp_sum_offloaded(port, m)) {
        uint64_t sum = hr_cksum_pseudo(src, dst, IPPROTO_TCP, len);
        if (hr_cksum_fold(hr_cksum_add_chain(sum, m, l4, len)) != 0xffff)
            DROP(net, m, tcp_checksum);
    } else if (!v4 || ip_sum_offloaded(port, m)) {
        remember(&net->seen[port_index], m, v4);
    }
    strip(m, l4, v4 ? RTE_PTYPE_L3_IPV4 : RTE_PTYPE_L3_IPV6);
    return true;
}

/* A source that no host can have (RFC 1122 3.2.1.3): 0/8, 127/8, multicast, reserved, or ourselves. */
static bool is_martian(const struct hr_net *net, const struct hr_addr *src)
{
    uint8_t first = src->b[12];
    return first == 0 || first == 127 || first >= 224 || hr_net_local_index(net, src) >= 0;
}

/* These too: true where m is a segment now. */
static bool ipv4_input(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, bool l2_multicast)
{
    if (m->data_len < HR_NET_ETH_IP_LEN)
        DROP(net, m, ip_short);
    const struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);
    if ((ip->version_ihl >> 4) != 4)
        DROP(net, m, ip_version);
    uint8_t ihl = ip->version_ihl & 0xf;
    uint16_t total = rte_be_to_cpu_16(ip->total_length);
    if (ihl < 5 || total < ihl * 4 || m->pkt_len < RTE_ETHER_HDR_LEN + (uint32_t)total)
        DROP(net, m, ip_short);
    if (ihl > 5)
        DROP(net, m, ip_options);
    if (!ip_sum_offloaded(&net->ports[port_index], m) && hr_cksum_fold(hr_cksum_add(0, ip, sizeof(*ip))) != 0xffff)
        DROP(net, m, ip_checksum);
    struct hr_addr src = hr_addr_from_v4(ip->src_addr), dst = hr_addr_from_v4(ip->dst_addr);
    if (hr_net_local_index(net, &dst) < 0)
        DROP(net, m, ip_not_ours);
    if (l2_multicast) /* RFC 1122 3.3.6: a link-layer broadcast is not for a unicast address */
        DROP(net, m, eth_not_ours);
    if (is_martian(net, &src))
        DROP(net, m, ip_martian);
    if (ip->fragment_offset & RTE_BE16(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK))
        DROP(net, m, ip_fragment);
    if (m->pkt_len > RTE_ETHER_HDR_LEN + (uint32_t)total)
        trim(m, RTE_ETHER_HDR_LEN + (uint32_t)total);
    uint16_t l4_len = (uint16_t)(total - sizeof(*ip));
    if (likely(ip->next_proto_id == IPPROTO_TCP))
        return tcp_input(net, port_index, m, &src, &dst, HR_NET_ETH_IP_LEN, l4_len);
    if (ip->next_proto_id != IPPROTO_ICMP)
        DROP(net, m, ip_proto);
    hr_icmp_input_take(net, port_index, m, l4_len);
    return false;
}

/* A source that no host can have (RFC 4291 2.7, 2.5.3), or ourselves: of an address that is being checked, another
 * host's claim must be heard. The unspecified address is a matter of the message. */
static bool is_martian6(const struct hr_net *net, const struct hr_addr *src)
{
    static const struct hr_addr loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    int local = hr_net_local_index(net, src);
    return hr_addr_is_multicast6(src) || hr_addr_equal(src, &loopback) ||
           (local >= 0 && net->local[local].state == HR_LOCAL_USABLE);
}

/* All nodes, or a solicited-node group of one of the port's addresses. */
static bool is_our_group(const struct hr_net *net, uint32_t port_index, const struct hr_addr *group)
{
    struct hr_addr ours = hr_mcast_all_nodes();
    bool any = false;
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (net->local[i].port != port_index || hr_addr_is_v4(&net->local[i].addr))
            continue;
        struct hr_addr solicited = hr_mcast_solicited_node(&net->local[i].addr);
        if (hr_addr_equal(group, &solicited))
            return true;
        any = true;
    }
    return any && hr_addr_equal(group, &ours);
}

static bool ipv6_drop(struct hr_net *net, struct rte_mbuf *m, uint8_t next_header)
{
    switch (next_header) {
    case IPPROTO_FRAGMENT:
        DROP(net, m, ip_fragment);
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
    case IPPROTO_AH:
    case IPPROTO_ESP:
    case IPPROTO_MH:
    case 139: /* host identity */
    case 140: /* shim6 */
        DROP(net, m, ip_extension);
    default:
        DROP(net, m, ip_proto);
    }
}

static bool ipv6_input(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, bool l2_multicast)
{
    if (m->data_len < HR_NET_ETH_IP6_LEN)
        DROP(net, m, ip_short);
    const struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, RTE_ETHER_HDR_LEN);
    if ((ip->vtc_flow & RTE_BE32(0xf0000000)) != RTE_BE32(0x60000000))
        DROP(net, m, ip_version);
    struct hr_ip6_in in = {.port_index = port_index,
                           .l4_len = rte_be_to_cpu_16(ip->payload_len),
                           .hop_limit = ip->hop_limits};
    uint8_t next_header = ip->proto;
    uint32_t len = HR_NET_ETH_IP6_LEN + (uint32_t)in.l4_len;
    if (m->pkt_len < len)
        DROP(net, m, ip_short);
    memcpy(&in.src, ip->src_addr, sizeof(in.src));
    memcpy(&in.dst, ip->dst_addr, sizeof(in.dst));
    /* On the wire these would pass for the IPv4 addresses that we hold in the same form. */
    if (hr_addr_is_v4(&in.src) || hr_addr_is_v4(&in.dst))
        DROP(net, m, ip_martian);
    in.multicast = hr_addr_is_multicast6(&in.dst);
    int local = in.multicast ? -1 : hr_net_local_index(net, &in.dst);
    if (in.multicast ? !is_our_group(net, port_index, &in.dst) : local < 0)
        DROP(net, m, ip_not_ours);
    if (l2_multicast && !in.multicast)
        DROP(net, m, eth_not_ours);
    if (is_martian6(net, &in.src))
        DROP(net, m, ip_martian);
    if (local >= 0 && net->local[local].state != HR_LOCAL_USABLE)
        DROP(net, m, ip_tentative);
    if (m->pkt_len > len)
        trim(m, len);
    if (next_header == IPPROTO_ICMPV6) {
        hr_icmp6_input_take(net, &in, m);
        return false;
    }
    if (next_header != IPPROTO_TCP)
        return ipv6_drop(net, m, next_header);
    if (in.multicast || hr_addr_is_any(&in.src))
        DROP(net, m, ip_martian); /* RFC 9293 3.9.2.3: neither may take part */
    return tcp_input(net, port_index, m, &in.src, &in.dst, HR_NET_ETH_IP6_LEN, in.l4_len);
}

/* Like the last but for its source, which is all that is looked at then. Out of line, for the loop's registers. */
static __attribute__((noinline)) bool other_source(const struct hr_net *net, struct hr_net_seen *seen, const struct rte_mbuf *m)
{
    union {
        hr_vec32 half[2];
        uint64_t word[HR_NET_HEAD / 8];
        uint8_t byte[HR_NET_HEAD];
    } d;
    bool v4 = seen->packet_type == RTE_PTYPE_L3_IPV4;
    uint32_t at = v4 ? 26 : 22, len = v4 ? 4 : 16;
    const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
    struct hr_addr src;

    if (!comparable(seen, m))
        return false;
    head_difference(seen, m, d.half);
    memset(d.byte + at, 0, len);
    if ((d.word[0] | d.word[1] | d.word[2] | d.word[3] | d.word[4] | d.word[5] | d.word[6] | d.word[7]) != 0)
        return false;
    if (v4) {
        uint32_t v4_be;
        memcpy(&v4_be, frame + at, sizeof(v4_be));
        src = hr_addr_from_v4(v4_be);
        if (is_martian(net, &src))
            return false;
    } else {
        memcpy(&src, frame + at, sizeof(src));
        if (hr_addr_is_v4(&src) || hr_addr_is_any(&src) || is_martian6(net, &src))
            return false;
    }
    memcpy((uint8_t *)seen->want + at, frame + at, len);
    return true;
}

static bool frame_input(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m)
{
    if (m->data_len < RTE_ETHER_HDR_LEN)
        DROP(net, m, eth_short);
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    bool multicast = (eth->dst_addr.addr_bytes[0] & 1) != 0;
    if (!multicast && !rte_is_same_ether_addr(&eth->dst_addr, &net->ports[port_index].mac))
        DROP(net, m, eth_not_ours);
    if (likely(eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4)))
        return ipv4_input(net, port_index, m, multicast);
    if (likely(eth->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6)))
        return ipv6_input(net, port_index, m, multicast);
    if (eth->ether_type != RTE_BE16(RTE_ETHER_TYPE_ARP))
        DROP(net, m, eth_type);
    hr_arp_input_take(net, port_index, m);
    return false;
}

void hr_net_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf **pkts, uint16_t n)
{
    /* A copy, which no store can be taken to change; anew where it has. */
    struct hr_net_seen *last = &net->seen[port_index], seen = *last;
    uint32_t n_segs = 0;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n && i < HR_NET_PREFETCH_AHEAD; i++)
        rte_prefetch0(rte_pktmbuf_mtod(pkts[i], const void *));
    for (uint32_t i = 0; i < n; i++) {
        struct rte_mbuf *m = pkts[i];
        if (likely(i + HR_NET_PREFETCH_AHEAD < n))
            rte_prefetch0(rte_pktmbuf_mtod(pkts[i + HR_NET_PREFETCH_AHEAD], const void *));
        bytes += m->pkt_len;
        if (likely(seen_before(&seen, m))) {
            strip(m, seen.l4, seen.packet_type);
            pkts[n_segs++] = m;
            continue;
        }
        bool segment = other_source(net, last, m);
        if (segment)
            strip(m, seen.l4, seen.packet_type);
        else
            segment = frame_input(net, port_index, m);
        seen = *last;
        if (segment)
            pkts[n_segs++] = m;
    }
    HR_COUNT_N(net->stats, rx_packets, n);
    HR_COUNT_N(net->stats, rx_bytes, bytes);
    if (n_segs > 0)
        net->cfg.on_tcp_take(net->owner, pkts, n_segs);
}
