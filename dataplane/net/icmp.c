/* ICMP (RFC 792): echo is answered; errors that quote a TCP segment of ours are told to TCP, which decides
 * whether to believe them (RFC 5927); the rest is ignored. */
#include <rte_icmp.h>
#include <rte_ip.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"

#define ICMP_HDR_LEN 8
#define ICMP_DEST_UNREACH 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAM_PROBLEM 12
#define CODE_PROTO_UNREACH 2
#define CODE_PORT_UNREACH 3
#define CODE_FRAG_NEEDED 4

/* Below this, a "next-hop MTU" is taken for an attack or a mistake: 512 bytes of payload and headers, the
 * floor that Linux uses too. */
#define PMTU_MIN 552

/* Turns the request into the reply and sends it to the MAC that it came from: no lookup, no state. */
static void echo_reply_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m)
{
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(eth + 1);
    struct rte_icmp_hdr *icmp = (struct rte_icmp_hdr *)(ip + 1);
    struct rte_ether_addr to = eth->src_addr;
    if ((to.addr_bytes[0] & 1) != 0) { /* no host has a multicast MAC: do not amplify */
        HR_DROP(net->stats, icmp_bad);
        rte_pktmbuf_free(m);
        return;
    }
    uint32_t our_ip = ip->dst_addr;
    ip->dst_addr = ip->src_addr;
    ip->src_addr = our_ip;
    ip->time_to_live = HR_NET_TTL;
    ip->hdr_checksum = 0;
    ip->hdr_checksum = (uint16_t)~hr_cksum_fold(hr_cksum_add(0, ip, sizeof(*ip)));
    icmp->icmp_type = RTE_IP_ICMP_ECHO_REPLY;
    /* Type 8 became 0: the first word fell by 0x0800, so the field rises by it. Added rather than by RFC 1624
     * eqn. 3, which gives 0 for a message of zeros alone, where 0xffff is right. */
    icmp->icmp_cksum = hr_cksum_fold((uint64_t)icmp->icmp_cksum + RTE_BE16(0x0800));
    m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; /* whose buffer it is stays true; the rest was reception's */
    hr_net_fill_eth(net, port_index, m, to.addr_bytes, RTE_ETHER_TYPE_IPV4);
    HR_COUNT(net->stats, icmp_tx);
    hr_net_tx_take(net, port_index, m);
}

/* RFC 1191 7: routers from before it name no MTU; the next lower plateau is assumed. */
static uint16_t next_plateau(uint16_t packet_len)
{
    static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006};
    for (unsigned i = 0; i < RTE_DIM(plateau); i++) {
        if (plateau[i] < packet_len)
            return plateau[i];
    }
    return PMTU_MIN;
}

/* quoted: the IPv4 header and the first bytes behind it, len bytes at least contiguous. False if it says
 * nothing about a connection. */
static bool tell_tcp(struct hr_net *net, const struct rte_icmp_hdr *icmp, const uint8_t *quoted, uint32_t len)
{
    if (len < sizeof(struct rte_ipv4_hdr))
        return false;
    struct rte_ipv4_hdr ip;
    memcpy(&ip, quoted, sizeof(ip));
    uint32_t ihl = (ip.version_ihl & 0xfU) * 4;
    if ((ip.version_ihl >> 4) != 4 || ihl < sizeof(ip) || len < ihl + 8 || ip.next_proto_id != IPPROTO_TCP ||
        (ip.fragment_offset & RTE_BE16(RTE_IPV4_HDR_OFFSET_MASK)) != 0)
        return false;
    struct hr_addr local = hr_addr_from_v4(ip.src_addr);
    if (hr_net_local_index(net, &local) < 0)
        return false;
    uint16_t sport_be, dport_be;
    uint32_t seq_be;
    memcpy(&sport_be, quoted + ihl, 2);
    memcpy(&dport_be, quoted + ihl + 2, 2);
    memcpy(&seq_be, quoted + ihl + 4, 4);
    struct hr_flow flow = {.local = local,
                           .remote = hr_addr_from_v4(ip.dst_addr),
                           .local_port = rte_be_to_cpu_16(sport_be),
                           .remote_port = rte_be_to_cpu_16(dport_be)};
    bool unreach = icmp->icmp_type == ICMP_DEST_UNREACH;
    uint16_t mtu = 0;
    if (unreach && icmp->icmp_code == CODE_FRAG_NEEDED) {
        mtu = rte_be_to_cpu_16(icmp->icmp_seq_nb); /* RFC 1191 4: the low half of the second word */
        if (mtu == 0)
            mtu = next_plateau(rte_be_to_cpu_16(ip.total_length));
        if (mtu < PMTU_MIN)
            mtu = PMTU_MIN;
    }
    bool hard = unreach && (icmp->icmp_code == CODE_PROTO_UNREACH || icmp->icmp_code == CODE_PORT_UNREACH);
    net->cfg.on_icmp_error(net->owner, &flow, rte_be_to_cpu_32(seq_be), hard, mtu);
    return true;
}

void hr_icmp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, uint16_t l4_len)
{
    HR_COUNT(net->stats, icmp_rx);
    if (l4_len < ICMP_HDR_LEN || m->data_len < HR_NET_ETH_IP_LEN + ICMP_HDR_LEN ||
        hr_cksum_fold(hr_cksum_add_chain(0, m, HR_NET_ETH_IP_LEN, l4_len)) != 0xffff) {
        HR_DROP(net->stats, icmp_bad);
        rte_pktmbuf_free(m);
        return;
    }
    const struct rte_icmp_hdr *icmp = rte_pktmbuf_mtod_offset(m, struct rte_icmp_hdr *, HR_NET_ETH_IP_LEN);
    switch (icmp->icmp_type) {
    case RTE_IP_ICMP_ECHO_REQUEST:
        echo_reply_take(net, port_index, m);
        return;
    case ICMP_DEST_UNREACH:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAM_PROBLEM: {
        /* Only what is contiguous is read: a driver that splits within 70 bytes is not known. */
        uint32_t here = m->data_len - HR_NET_ETH_IP_LEN - ICMP_HDR_LEN;
        if (net->cfg.on_icmp_error == NULL || !tell_tcp(net, icmp, (const uint8_t *)icmp + ICMP_HDR_LEN, here))
            HR_DROP(net->stats, icmp_ignored);
        break;
    }
    default:
        HR_DROP(net->stats, icmp_ignored);
        break;
    }
    rte_pktmbuf_free(m);
}
