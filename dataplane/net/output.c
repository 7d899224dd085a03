/* The way out: IP and Ethernet headers in front of a segment, checksums by the port or by us, and one
 * burst per port. What segments of one flow share is prepared once (way.h). */
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#include "dataplane/net/cksum.h"
#include "dataplane/net/impl.h"

void hr_net_fill_eth(struct hr_net *net, uint32_t port_index, struct rte_mbuf *m, const uint8_t dst[6],
                     uint16_t type)
{
    uint8_t *eth = rte_pktmbuf_mtod(m, uint8_t *); /* at any address: payload in front of which it stands may begin so */
    uint16_t type_be = rte_cpu_to_be_16(type);
    memcpy(eth, dst, RTE_ETHER_ADDR_LEN);
    memcpy(eth + RTE_ETHER_ADDR_LEN, &net->ports[port_index].mac, RTE_ETHER_ADDR_LEN);
    memcpy(eth + 2 * RTE_ETHER_ADDR_LEN, &type_be, sizeof(type_be));
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
    hr_net_txq_put(&net->txq[port_index], m);
}

/* Lets the driver finish the checksums; packets that it refuses are dropped. Returns how many are left. */
static uint16_t prepare(struct hr_net_txq *q, const struct hr_port *port, uint16_t n)
{
    struct hr_net *net = q->net;
    uint16_t done = 0;
    while (done < n) {
        done = (uint16_t)(done + rte_eth_tx_prepare(port->port_id, net->cfg.queue, q->pkts + done,
                                                    (uint16_t)(n - done)));
        if (done < n) {
            HR_DROP(net->stats, tx_refused);
            q->bytes -= q->pkts[done]->pkt_len;
            rte_pktmbuf_free(q->pkts[done]);
            memmove(q->pkts + done, q->pkts + done + 1, (size_t)(n - done - 1) * sizeof(q->pkts[0]));
            n--;
        }
    }
    return n;
}

void hr_net_tx_flush(struct hr_net_txq *q)
{
    struct hr_net *net = q->net;
    const struct hr_port *port = &net->ports[q->port];
    uint16_t n = q->n, sent = 0;
    if (n == 0)
        return;
    q->n = 0;
    if (net->cfg.tx_burst == NULL && (port->tx_tcp_cksum || port->tx_ip_cksum))
        n = prepare(q, port, n);

    for (int tries = 0; sent < n && tries < HR_NET_TX_TRIES; tries++) {
        uint16_t left = (uint16_t)(n - sent), k;
        if (net->cfg.tx_burst != NULL)
            k = net->cfg.tx_burst(net->owner, q->port, q->pkts + sent, left);
        else
            k = rte_eth_tx_burst(port->port_id, net->cfg.queue, q->pkts + sent, left);
        sent = (uint16_t)(sent + k);
        if (k > 0)
            tries = 0;
        else
            rte_pause();
    }
    for (uint16_t i = sent; i < n; i++) {
        q->bytes -= q->pkts[i]->pkt_len;
        HR_DROP(net->stats, tx_full);
        rte_pktmbuf_free(q->pkts[i]);
    }
    HR_COUNT_N(net->stats, tx_packets, sent);
    HR_COUNT_N(net->stats, tx_bytes, q->bytes);
    q->bytes = 0;
}

void hr_net_flush(struct hr_net *net)
{
    for (uint32_t p = 0; p < net->n_ports; p++)
        hr_net_tx_flush(&net->txq[p]);
}

/* ---- ways ---- */

static void head_ip4(struct hr_net_way *w, const struct hr_net_cached *c)
{
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(w->head + HR_NET_WAY_HEAD) - 1;
    *ip = (struct rte_ipv4_hdr){
        .version_ihl = RTE_IPV4_VHL_DEF,
        .packet_id = 0, /* atomic datagram: DF is set, the id means nothing (RFC 6864 4.1) */
        .fragment_offset = RTE_BE16(RTE_IPV4_HDR_DF_FLAG),
        .time_to_live = HR_NET_TTL,
        .next_proto_id = IPPROTO_TCP,
        .src_addr = hr_addr_v4_be(&c->local),
        .dst_addr = hr_addr_v4_be(&c->remote),
    };
    w->ip_len = sizeof(*ip);
    w->ip_sum = hr_cksum_fold(hr_cksum_add(0, ip, sizeof(*ip)));
}

static void head_ip6(struct hr_net_way *w, const struct hr_net_cached *c)
{
    struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(void *)(w->head + HR_NET_WAY_HEAD) - 1;
    *ip = (struct rte_ipv6_hdr){.vtc_flow = RTE_BE32(0x60000000), .proto = IPPROTO_TCP, .hop_limits = HR_NET_TTL};
    memcpy(ip->src_addr, &c->local, sizeof(ip->src_addr));
    memcpy(ip->dst_addr, &c->remote, sizeof(ip->dst_addr));
    w->ip_len = sizeof(*ip);
}

static void prepare_way(struct hr_net *net, struct hr_net_cached *c, uint32_t port_index, uint16_t mtu)
{
    const struct hr_port *port = &net->ports[port_index];
    struct hr_net_way *w = &c->way;
    bool v4 = hr_addr_is_v4(&c->remote);
    if (v4)
        head_ip4(w, c);
    else
        head_ip6(w, c);
    w->head_len = (uint8_t)(RTE_ETHER_HDR_LEN + w->ip_len);
    struct rte_ether_hdr *eth = (struct rte_ether_hdr *)(void *)(w->head + HR_NET_WAY_HEAD - w->head_len);
    eth->src_addr = port->mac;
    eth->ether_type = rte_cpu_to_be_16(v4 ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6);
    w->mtu = mtu;
    w->pseudo = hr_cksum_pseudo(&c->local, &c->remote, IPPROTO_TCP, 0);
    w->tx_offload = rte_mbuf_tx_offload(RTE_ETHER_HDR_LEN, w->ip_len, 0, 0, 0, 0, 0);
    if (port->tx_tcp_cksum)
        w->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM | (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
    if (port->tx_ip_cksum && v4)
        w->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
    w->q = &net->txq[port_index];
}

static bool leads_to(const struct hr_net *net, const struct hr_net_cached *c, const struct hr_flow *flow)
{
    const struct hr_neigh *n = &net->neigh[c->neigh];
    return hr_addr_equal(&c->remote, &flow->remote) && hr_addr_equal(&c->local, &flow->local) &&
           n->generation == c->generation && n->state != HR_NEIGH_FREE;
}

/* NULL: there is no route. */
static struct hr_net_cached *cached(struct hr_net *net, const struct hr_flow *flow)
{
    struct hr_net_cached *c = hr_net_cache_slot(net, &flow->local, &flow->remote);
    struct hr_net_hop hop;
    if (likely(leads_to(net, c, flow)))
        return c;
    if (hr_net_route(net, &flow->local, &flow->remote, &hop) != 0)
        return NULL;
    struct hr_neigh *n = hr_neigh_get(net, hop.port, &hop.addr);
    *c = (struct hr_net_cached){.local = flow->local,
                                .remote = flow->remote,
                                .generation = n->generation,
                                .neigh = (uint16_t)(n - net->neigh)};
    prepare_way(net, c, hop.port, hop.mtu);
    return c;
}

struct hr_net_way *hr_net_way(struct hr_net *net, const struct hr_flow *flow)
{
    struct hr_net_cached *c = cached(net, flow);
    if (unlikely(c == NULL))
        return NULL;
    struct hr_net_way *w = &c->way;
    struct hr_neigh *n = &net->neigh[c->neigh];
    if (unlikely(n->state != HR_NEIGH_REACHABLE || !(w->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM) ||
                 net->ports[n->port].hw_tx_segs < 2))
        return NULL;
    n->used_us = net->now_us;
    memcpy(w->head + HR_NET_WAY_HEAD - w->head_len, n->mac, sizeof(n->mac));
    return w;
}

void hr_net_emit_tcp_take(struct hr_net *net, const struct hr_flow *flow, struct rte_mbuf *m)
{
    const struct hr_net_cached *c = cached(net, flow);
    if (unlikely(c == NULL)) {
        HR_DROP(net->stats, ip_no_route);
        rte_pktmbuf_free(m);
        return;
    }
    const struct hr_net_way *w = &c->way;
    if (unlikely(m->pkt_len + w->ip_len > w->mtu || rte_pktmbuf_headroom(m) < HR_NET_HEADROOM)) {
        HR_DROP(net->stats, tx_refused);
        rte_pktmbuf_free(m);
        return;
    }
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    uint16_t len = (uint16_t)m->pkt_len;
    uint64_t l4_len = (tcp->data_off >> 4) * 4U;
    memcpy((uint8_t *)tcp - w->head_len, w->head + HR_NET_WAY_HEAD - w->head_len, w->head_len);
    hr_net_way_length(w, tcp, len);
    if (!(w->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM)) /* the field holds the pseudo-header's sum by now */
        tcp->cksum = (uint16_t)~hr_cksum_fold(hr_cksum_add_chain(0, m, 0, len));
    m->ol_flags = (m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL)) | w->ol_flags;
    m->tx_offload = w->tx_offload | rte_mbuf_tx_offload(0, 0, l4_len, 0, 0, 0, 0);
    m->data_off = (uint16_t)(m->data_off - w->head_len);
    m->data_len = (uint16_t)(m->data_len + w->head_len);
    m->pkt_len += w->head_len;
    hr_neigh_send_take(net, &net->neigh[c->neigh], m);
}
