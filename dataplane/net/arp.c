/* ARP (RFC 826) with the conduct of RFC 1122 2.3.2 and RFC 5227. */
#include <rte_arp.h>
#include <string.h>

#include "dataplane/net/impl.h"

#define ARP_FRAME_LEN (RTE_ETHER_HDR_LEN + sizeof(struct rte_arp_hdr))

static const uint8_t broadcast_mac[RTE_ETHER_ADDR_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

void hr_arp_request(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr, const uint8_t *dst)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(net->cfg.bufs->hdr_pool);
    if (m == NULL) {
        HR_COUNT(net->stats, mbuf_alloc_failed);
        HR_DROP(net->stats, tx_nombuf);
        return;
    }
    const struct hr_port *port = &net->ports[port_index];
    /* A request for our own address is the announcement: it names itself as sender (RFC 5227 2.3). */
    const struct hr_addr *from = hr_net_local_index(net, addr) >= 0 ? addr : hr_net_addr_toward(net, port_index, addr);
    uint8_t *frame = (uint8_t *)rte_pktmbuf_append(m, ARP_FRAME_LEN);
    struct rte_arp_hdr arp = {
        .arp_hardware = RTE_BE16(RTE_ARP_HRD_ETHER),
        .arp_protocol = RTE_BE16(RTE_ETHER_TYPE_IPV4),
        .arp_hlen = RTE_ETHER_ADDR_LEN,
        .arp_plen = 4,
        .arp_opcode = RTE_BE16(RTE_ARP_OP_REQUEST),
        .arp_data = {.arp_sha = port->mac,
                     .arp_sip = from != NULL ? hr_addr_v4_be(from) : 0,
                     .arp_tip = hr_addr_v4_be(addr)},
    };
    memcpy(frame + RTE_ETHER_HDR_LEN, &arp, sizeof(arp));
    hr_net_fill_eth(net, port_index, m, dst != NULL ? dst : broadcast_mac, RTE_ETHER_TYPE_ARP);
    HR_COUNT(net->stats, arp_tx);
    hr_net_tx_take(net, port_index, m);
}

/* Turns the request into the reply, in place. */
static void reply_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, struct rte_arp_hdr *arp)
{
    arp->arp_opcode = RTE_BE16(RTE_ARP_OP_REPLY);
    uint32_t our_ip = arp->arp_data.arp_tip;
    arp->arp_data.arp_tha = arp->arp_data.arp_sha;
    arp->arp_data.arp_tip = arp->arp_data.arp_sip;
    arp->arp_data.arp_sha = net->ports[port_index].mac;
    arp->arp_data.arp_sip = our_ip;
    hr_net_fill_eth(net, port_index, m, arp->arp_data.arp_tha.addr_bytes, RTE_ETHER_TYPE_ARP);
    m->data_len = ARP_FRAME_LEN;
    m->pkt_len = ARP_FRAME_LEN;
    m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
    HR_COUNT(net->stats, arp_tx);
    hr_net_tx_take(net, port_index, m);
}

void hr_arp_input_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m)
{
    const struct hr_port *port = &net->ports[port_index];
    HR_COUNT(net->stats, arp_rx);
    if (m->nb_segs != 1 || m->data_len < ARP_FRAME_LEN)
        goto bad;
    struct rte_arp_hdr *arp = rte_pktmbuf_mtod_offset(m, struct rte_arp_hdr *, RTE_ETHER_HDR_LEN);
    bool request = arp->arp_opcode == RTE_BE16(RTE_ARP_OP_REQUEST);
    if (arp->arp_hardware != RTE_BE16(RTE_ARP_HRD_ETHER) ||
        arp->arp_protocol != RTE_BE16(RTE_ETHER_TYPE_IPV4) || arp->arp_hlen != RTE_ETHER_ADDR_LEN ||
        arp->arp_plen != 4 || (!request && arp->arp_opcode != RTE_BE16(RTE_ARP_OP_REPLY)))
        goto bad;
    const uint8_t *sha = arp->arp_data.arp_sha.addr_bytes;
    struct hr_net_news news = {.addr = hr_addr_from_v4(arp->arp_data.arp_sip), .port_index = port_index};
    struct hr_addr target = hr_addr_from_v4(arp->arp_data.arp_tip);
    bool from_local = hr_net_local_index(net, &news.addr) >= 0;
    if (from_local && memcmp(sha, port->mac.addr_bytes, RTE_ETHER_ADDR_LEN) == 0) {
        rte_pktmbuf_free(m); /* our own, come back */
        return;
    }
    /* Another host that claims one of our addresses teaches us nothing (RFC 5227 2.4 (c): we defend by
     * ignoring it). */
    if (!hr_nd_mac_is_host(sha) || from_local)
        goto bad;

    bool for_us = hr_net_local_on(net, port_index, &target) != NULL;
    /* Sender 0 is a probe for a duplicate address (RFC 5227 2.1.1): answered, not learned. */
    if (!hr_addr_is_any(&news.addr) && hr_net_on_link(port, &news.addr)) {
        memcpy(news.mac, sha, sizeof(news.mac));
        /* RFC 826: who asks for us will be spoken to, so make an entry; else only update. */
        news.heard = HR_HEARD_MAC | HR_HEARD_OVERRIDE | HR_HEARD_CONFIRMED | (for_us && request ? HR_HEARD_ASKED_US : 0);
        hr_neigh_heard(net, &news);
        if ((for_us || hr_addr_equal(&news.addr, &target)) && net->cfg.on_news != NULL)
            net->cfg.on_news(net->owner, &news);
    }
    if (request && for_us)
        reply_take(net, port_index, m, arp);
    else
        rte_pktmbuf_free(m);
    return;
bad:
    HR_DROP(net->stats, arp_bad);
    rte_pktmbuf_free(m);
}
