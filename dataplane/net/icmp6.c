/* ICMPv6 (RFC 4443): echo is answered; errors that quote a TCP segment of ours are told to TCP, which decides
 * whether to believe them (RFC 5927); neighbour discovery goes on to nd.c and router.c; the rest is ignored.
 * We send no errors: what we refuse is counted. */
#include <netinet/icmp6.h>
#include <rte_ip.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"
#include "dataplane/net/mcast.h"

#define ICMP_HDR_LEN 8
#define CODE_ADMIN_PROHIBITED 1
#define CODE_PORT_UNREACH 4

void hr_icmp6_send(struct hr_net *net, uint32_t port_index, const struct hr_icmp6_out *out)
{
    static const uint8_t alert[8] = {IPPROTO_ICMPV6, 0, 5, 2, 0, 0, 1, 0}; /* router alert, two bytes of padding */
    struct rte_mbuf *m = rte_pktmbuf_alloc(net->cfg.bufs->hdr_pool);
    uint16_t ext_len = out->router_alert ? sizeof(alert) : 0;
    uint8_t *frame = NULL;
    if (m != NULL)
        frame = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(HR_NET_ETH_IP6_LEN + ext_len + out->len));
    if (frame == NULL) {
        rte_pktmbuf_free(m);
        HR_COUNT(net->stats, mbuf_alloc_failed);
        HR_DROP(net->stats, tx_nombuf);
        return;
    }
    struct rte_ipv6_hdr ip = {.vtc_flow = RTE_BE32(0x60000000),
                              .payload_len = rte_cpu_to_be_16((uint16_t)(ext_len + out->len)),
                              .proto = out->router_alert ? IPPROTO_HOPOPTS : IPPROTO_ICMPV6,
                              .hop_limits = out->hop_limit};
    memcpy(ip.src_addr, &out->src, sizeof(ip.src_addr));
    memcpy(ip.dst_addr, &out->dst, sizeof(ip.dst_addr));
    memcpy(frame + RTE_ETHER_HDR_LEN, &ip, sizeof(ip));
    uint8_t *body = frame + HR_NET_ETH_IP6_LEN + ext_len;
    memcpy(frame + HR_NET_ETH_IP6_LEN, alert, ext_len);
    memcpy(body, out->body, out->len);
    uint64_t sum = hr_cksum_pseudo(&out->src, &out->dst, IPPROTO_ICMPV6, out->len);
    uint16_t field = (uint16_t)~hr_cksum_fold(hr_cksum_add(sum, body, out->len));
    memcpy(body + 2, &field, sizeof(field));
    uint8_t group_mac[RTE_ETHER_ADDR_LEN];
    hr_mcast_mac(&out->dst, group_mac);
    hr_net_fill_eth(net, port_index, m, out->dst_mac != NULL ? out->dst_mac : group_mac, RTE_ETHER_TYPE_IPV6);
    hr_net_tx_take(net, port_index, m);
}

/* Turns the request into the reply and sends it to the MAC that it came from: no lookup, no state. */
static void echo_reply_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m)
{
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(eth + 1);
    uint8_t *icmp = (uint8_t *)(ip + 1); /* aligned to 2 bytes only, unlike struct icmp6_hdr */
    uint16_t cksum;
    struct rte_ether_addr to = eth->src_addr;
    uint8_t ours[16];
    if (!hr_nd_mac_is_host(to.addr_bytes)) { /* no host has a multicast MAC: do not amplify */
        HR_DROP(net->stats, icmp_bad);
        rte_pktmbuf_free(m);
        return;
    }
    memcpy(ours, ip->dst_addr, sizeof(ours));
    memcpy(ip->dst_addr, ip->src_addr, sizeof(ours));
    memcpy(ip->src_addr, ours, sizeof(ours));
    ip->hop_limits = HR_NET_TTL;
    icmp[0] = ICMP6_ECHO_REPLY;
    /* Type 128 became 129: the first word rose by 0x0100, so the field falls by it (RFC 1624 3); the exchange of
     * the addresses leaves the sum as it is. */
    memcpy(&cksum, icmp + 2, sizeof(cksum));
    cksum = (uint16_t)~hr_cksum_fold((uint64_t)(uint16_t)~cksum + RTE_BE16(0x0100));
    memcpy(icmp + 2, &cksum, sizeof(cksum));
    m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* whose buffer it is stays true; the rest was reception's */
    hr_net_fill_eth(net, port_index, m, to.addr_bytes, RTE_ETHER_TYPE_IPV6);
    HR_COUNT(net->stats, icmp_tx);
    hr_net_tx_take(net, port_index, m);
}

/* quoted: the IPv6 header and the first bytes behind it, len bytes at least contiguous. False if it says nothing
 * about a connection. Segments of ours have no extension headers. */
static bool tell_tcp(struct hr_net *net, const uint8_t *icmp, const uint8_t *quoted, uint32_t len)
{
    struct rte_ipv6_hdr ip;
    if (len < sizeof(ip) + 8)
        return false;
    memcpy(&ip, quoted, sizeof(ip));
    struct hr_flow flow;
    memcpy(&flow.local, ip.src_addr, sizeof(flow.local));
    memcpy(&flow.remote, ip.dst_addr, sizeof(flow.remote));
    if ((ip.vtc_flow & RTE_BE32(0xf0000000)) != RTE_BE32(0x60000000) || ip.proto != IPPROTO_TCP ||
        hr_addr_is_v4(&flow.local) || hr_addr_is_v4(&flow.remote) || hr_net_local_index(net, &flow.local) < 0)
        return false;
    uint16_t sport_be, dport_be;
    uint32_t seq_be;
    memcpy(&sport_be, quoted + sizeof(ip), 2);
    memcpy(&dport_be, quoted + sizeof(ip) + 2, 2);
    memcpy(&seq_be, quoted + sizeof(ip) + 4, 4);
    flow.local_port = rte_be_to_cpu_16(sport_be);
    flow.remote_port = rte_be_to_cpu_16(dport_be);
    uint32_t mtu = 0;
    if (icmp[0] == ICMP6_PACKET_TOO_BIG) {
        memcpy(&mtu, icmp + 4, sizeof(mtu));
        mtu = rte_be_to_cpu_32(mtu);
        if (mtu < HR_PORT_MTU_MIN6) /* RFC 8201 4: no link has less */
            return false;
        if (mtu > UINT16_MAX)
            mtu = UINT16_MAX;
    }
    bool hard = icmp[0] == ICMP6_DST_UNREACH && (icmp[1] == CODE_ADMIN_PROHIBITED || icmp[1] == CODE_PORT_UNREACH);
    net->cfg.on_icmp_error(net->owner, &flow, rte_be_to_cpu_32(seq_be), hard, (uint16_t)mtu);
    return true;
}

/* RFC 4861 6.1, 7.1: what came over a router, is not whole or has a code is not for us to believe. */
static void discovery_take(struct hr_net *net, const struct hr_ip6_in *in, struct rte_mbuf *m)
{
    const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);
    const uint8_t *msg = rte_pktmbuf_mtod_offset(m, const uint8_t *, HR_NET_ETH_IP6_LEN);
    bool good = in->hop_limit == 255 && msg[1] == 0 && m->data_len >= HR_NET_ETH_IP6_LEN + in->l4_len;
    HR_COUNT(net->stats, nd_rx);
    if (good && msg[0] == ND_NEIGHBOR_SOLICIT)
        good = hr_nd_solicitation(net, in, msg, eth->src_addr.addr_bytes);
    else if (good && msg[0] == ND_NEIGHBOR_ADVERT)
        good = hr_nd_advertisement(net, in, msg, eth->src_addr.addr_bytes);
    else if (good)
        good = hr_router_advertisement(net, in, msg);
    if (!good)
        HR_DROP(net->stats, nd_bad);
    rte_pktmbuf_free(m);
}

void hr_icmp6_input_take(struct hr_net *net, const struct hr_ip6_in *in, struct rte_mbuf *m)
{
    if (in->l4_len < ICMP_HDR_LEN || m->data_len < HR_NET_ETH_IP6_LEN + ICMP_HDR_LEN ||
        hr_cksum_fold(hr_cksum_add_chain(hr_cksum_pseudo(&in->src, &in->dst, IPPROTO_ICMPV6, in->l4_len), m,
                                         HR_NET_ETH_IP6_LEN, in->l4_len)) != 0xffff) {
        HR_COUNT(net->stats, icmp_rx);
        HR_DROP(net->stats, icmp_bad);
        rte_pktmbuf_free(m);
        return;
    }
    const uint8_t *icmp = rte_pktmbuf_mtod_offset(m, const uint8_t *, HR_NET_ETH_IP6_LEN);
    switch (icmp[0]) {
    case ND_NEIGHBOR_SOLICIT:
    case ND_NEIGHBOR_ADVERT:
    case ND_ROUTER_ADVERT:
        discovery_take(net, in, m);
        return;
    case ICMP6_ECHO_REQUEST:
        HR_COUNT(net->stats, icmp_rx);
        if (!in->multicast && !hr_addr_is_any(&in->src)) {
            echo_reply_take(net, in->port_index, m);
            return;
        }
        HR_DROP(net->stats, icmp_ignored);
        break;
    case ICMP6_DST_UNREACH:
    case ICMP6_PACKET_TOO_BIG:
    case ICMP6_TIME_EXCEEDED:
    case ICMP6_PARAM_PROB: {
        /* Only what is contiguous is read: a driver that splits within 110 bytes is not known. */
        uint32_t here = RTE_MIN(in->l4_len, m->data_len - HR_NET_ETH_IP6_LEN) - ICMP_HDR_LEN;
        HR_COUNT(net->stats, icmp_rx);
        if (net->cfg.on_icmp_error == NULL || !tell_tcp(net, icmp, icmp + ICMP_HDR_LEN, here))
            HR_DROP(net->stats, icmp_ignored);
        break;
    }
    case ND_REDIRECT:
        HR_COUNT(net->stats, nd_rx);
        HR_DROP(net->stats, nd_ignored);
        break;
    default:
        HR_COUNT(net->stats, icmp_rx);
        HR_DROP(net->stats, icmp_ignored);
        break;
    }
    rte_pktmbuf_free(m);
}
