/* The way out: IP and Ethernet headers in front of a segment, checksums by the port or by us, and one
 * burst per port. */
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"

void hr_net_fill_eth(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, const uint8_t dst[6],
                     uint16_t type)
{
    struct rte_ether_hdr *eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
    memcpy(eth->dst_addr.addr_bytes, dst, RTE_ETHER_ADDR_LEN);
    eth->src_addr = net->ports[port_index].mac;
    eth->ether_type = rte_cpu_to_be_16(type);
}

/* A copy in one buffer, for a port that does not take the chain; NULL when there is none large enough. */
static struct rte_mbuf *flatten(struct hr_net *net, const struct rte_mbuf *m)
{
    struct rte_mbuf *flat = rte_pktmbuf_alloc(net->cfg.bufs->rx_pool);
    if (flat == NULL)
        return NULL;
    if (rte_pktmbuf_tailroom(flat) < m->pkt_len) {
        rte_pktmbuf_free(flat);
        return NULL;
    }
    char *to = rte_pktmbuf_append(flat, (uint16_t)m->pkt_len);
    for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
        memcpy(to, rte_pktmbuf_mtod(s, const void *), s->data_len);
        to += s->data_len;
    }
    flat->ol_flags = m->ol_flags & ~(uint64_t)(RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL);
    flat->tx_offload = m->tx_offload;
    HR_COUNT_N(net->stats, payload_copied_bytes, m->pkt_len - m->data_len);
    return flat;
}

void hr_net_tx_take(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m)
{
    if (unlikely(m->nb_segs > net->ports[port_index].hw_tx_segs)) {
        struct rte_mbuf *flat = flatten(net, m);
        rte_pktmbuf_free(m);
        if (flat == NULL) {
            HR_COUNT(net->stats, mbuf_alloc_failed);
            HR_DROP(net->stats, tx_nombuf);
            return;
        }
        m = flat;
    }
    struct hr_net_txq *q = &net->txq[port_index];
    q->pkts[q->n++] = m;
    if (q->n == HR_NET_TX_BURST)
        hr_net_tx_flush_port(net, port_index);
}

/* Lets the driver finish the checksums; packets that it refuses are dropped. Returns how many are left. */
static uint16_t prepare(struct hr_net *net, const struct hr_port *port, struct rte_mbuf **pkts, uint16_t n)
{
    uint16_t done = 0;
    while (done < n) {
        done = (uint16_t)(done + rte_eth_tx_prepare(port->port_id, net->cfg.queue, pkts + done,
                                                    (uint16_t)(n - done)));
        if (done < n) {
            HR_DROP(net->stats, tx_refused);
            rte_pktmbuf_free(pkts[done]);
            memmove(pkts + done, pkts + done + 1, (size_t)(n - done - 1) * sizeof(pkts[0]));
            n--;
        }
    }
    return n;
}

void hr_net_tx_flush_port(struct hr_net *net, uint32_t port_index)
{
    struct hr_net_txq *q = &net->txq[port_index];
    const struct hr_port *port = &net->ports[port_index];
    uint16_t n = q->n, sent = 0;
    if (n == 0)
        return;
    q->n = 0;
    if (net->cfg.tx_burst == NULL && (port->tx_tcp_cksum || port->tx_ip_cksum))
        n = prepare(net, port, q->pkts, n);

    uint64_t bytes = 0;
    for (uint16_t i = 0; i < n; i++)
        bytes += q->pkts[i]->pkt_len;
    for (int tries = 0; sent < n && tries < HR_NET_TX_TRIES; tries++) {
        uint16_t left = (uint16_t)(n - sent), k;
        if (net->cfg.tx_burst != NULL)
            k = net->cfg.tx_burst(net->owner, port_index, q->pkts + sent, left);
        else
            k = rte_eth_tx_burst(port->port_id, net->cfg.queue, q->pkts + sent, left);
        sent = (uint16_t)(sent + k);
        if (k > 0)
            tries = 0;
        else
            rte_pause();
    }
    for (uint16_t i = sent; i < n; i++) {
        bytes -= q->pkts[i]->pkt_len;
        HR_DROP(net->stats, tx_full);
        rte_pktmbuf_free(q->pkts[i]);
    }
    HR_COUNT_N(net->stats, tx_packets, sent);
    HR_COUNT_N(net->stats, tx_bytes, bytes);
}

void hr_net_flush(struct hr_net *net)
{
    for (uint32_t p = 0; p < net->n_ports; p++)
        hr_net_tx_flush_port(net, p);
}

static void template_ip4(struct hr_net_cached *c)
{
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)c->ip;
    *ip = (struct rte_ipv4_hdr){
        .version_ihl = RTE_IPV4_VHL_DEF,
        .packet_id = 0, /* atomic datagram: DF is set, the id means nothing (RFC 6864 4.1) */
        .fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
        .time_to_live = HR_NET_TTL,
        .next_proto_id = IPPROTO_TCP,
        .src_addr = hr_addr_v4_be(&c->local),
        .dst_addr = hr_addr_v4_be(&c->remote),
    };
    c->ip_sum = hr_cksum_fold(hr_cksum_add(0, ip, sizeof(*ip)));
}

static void template_ip6(struct hr_net_cached *c)
{
    struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(void *)c->ip;
    *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(0x60000000), .proto = IPPROTO_TCP, .hop_limits = HR_NET_TTL};
    memcpy(ip->src_addr, &c->local, sizeof(ip->src_addr));
    memcpy(ip->dst_addr, &c->remote, sizeof(ip->dst_addr));
}

/* Writes the IP header in front of the TCP header and settles the checksums. */
static void fill_ip_tcp(const struct hr_port *port, struct rte_mbuf *m, const struct hr_net_cached *c)
{
    uint16_t tcp_len = (uint16_t)m->pkt_len;
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint64_t pseudo = c->pseudo + rte_cpu_to_be_16(tcp_len);
    uint64_t flags = m->ol_flags & ~(uint64_t)(RTE_MBUF_F_TX_OFFLOAD_MASK);
    uint64_t l4_len = (tcp->data_off >> 4) * 4U;
    bool v4 = c->ip_len == sizeof(struct rte_ipv4_hdr);

    if (port->tx_tcp_cksum) {
        flags |= RTE_MBUF_F_TX_TCP_CKSUM | (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
        tcp->cksum = hr_cksum_fold(pseudo);
    } else {
        tcp->cksum = 0;
        tcp->cksum = (uint16_t)~hr_cksum_fold(hr_cksum_add_chain(pseudo, m, 0, tcp_len));
    }
    m->tx_offload = rte_mbuf_tx_offload(RTE_ETHER_HDR_LEN, c->ip_len, l4_len, 0, 0, 0, 0);
    uint16_t room = (uint16_t)(RTE_ETHER_HDR_LEN + c->ip_len);
    m->data_off = (uint16_t)(m->data_off - room);
    m->data_len = (uint16_t)(m->data_len + room);
    m->pkt_len += room;
    if (v4) {
        struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, RTE_ETHER_HDR_LEN);
        memcpy(ip, c->ip, sizeof(*ip));
        ip->total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + tcp_len));
        if (port->tx_ip_cksum)
            flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
        else
            ip->hdr_checksum = (uint16_t)~hr_cksum_fold((uint64_t)c->ip_sum + ip->total_length);
    } else {
        struct rte_ipv6_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv6_hdr *, RTE_ETHER_HDR_LEN);
        memcpy(ip, c->ip, sizeof(*ip));
        ip->payload_len = rte_cpu_to_be_16(tcp_len);
    }
    m->ol_flags = flags;
}

static bool leads_to(const struct hr_net *net, const struct hr_net_cached *c, const struct hr_flow *flow)
{
    const struct hr_neigh *n = &net->neigh[c->neigh];
    return hr_addr_equal(&c->remote, &flow->remote) && hr_addr_equal(&c->local, &flow->local) &&
           n->generation == c->generation && n->state != HR_NEIGH_FREE;
}

/* NULL: there is no route. */
static struct hr_net_cached *way_of(struct hr_net *net, const struct hr_flow *flow)
{
    struct hr_net_cached *c = hr_net_cache_slot(net, &flow->local, &flow->remote);
    struct hr_net_hop hop;
    if (likely(leads_to(net, c, flow)))
        return c;
    if (hr_net_route(net, &flow->local, &flow->remote, &hop) != 0)
        return NULL;
    bool v4 = hr_addr_is_v4(&flow->remote);
    struct hr_neigh *n = hr_neigh_get(net, hop.port, &hop.addr);
    *c = (struct hr_net_cached){.local = flow->local,
                                .remote = flow->remote,
                                .generation = n->generation,
                                .neigh = (uint16_t)(n - net->neigh),
                                .mtu = hop.mtu,
                                .ip_len = v4 ? sizeof(struct rte_ipv4_hdr) : sizeof(struct rte_ipv6_hdr),
                                .pseudo = hr_cksum_pseudo(&flow->local, &flow->remote, IPPROTO_TCP, 0)};
    if (v4)
        template_ip4(c);
    else
        template_ip6(c);
    return c;
}

void hr_net_emit_tcp_take(struct hr_net *net, const struct hr_flow *flow, struct rte_mbuf *m)
{
    struct hr_net_cached *c = net->last_out;
    if (c == NULL || !leads_to(net, c, flow)) {
        c = way_of(net, flow);
        if (unlikely(c == NULL)) {
            HR_DROP(net->stats, ip_no_route);
            rte_pktmbuf_free(m);
            return;
        }
        net->last_out = c;
    }
    struct hr_neigh *n = &net->neigh[c->neigh];
    const struct hr_port *port = &net->ports[n->port];
    if (unlikely(m->pkt_len + c->ip_len > c->mtu || rte_pktmbuf_headroom(m) < HR_NET_HEADROOM)) {
        HR_DROP(net->stats, tx_refused);
        rte_pktmbuf_free(m);
        return;
    }
    fill_ip_tcp(port, m, c);
    if (likely(n->state == HR_NEIGH_REACHABLE)) {
        n->used_us = net->now_us;
        bool v4 = c->ip_len == sizeof(struct rte_ipv4_hdr);
        hr_net_fill_eth(net, n->port, m, n->mac, v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
        hr_net_tx_take(net, n->port, m);
    } else {
        hr_neigh_send_take(net, n, m);
    }
}
