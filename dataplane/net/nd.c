/* Neighbour solicitations and advertisements (RFC 4861 7): the ARP of IPv6, on the same table (neigh.c). */
#include <netinet/icmp6.h>
#include <string.h>

#include "dataplane/net/impl.h"
#include "dataplane/net/mcast.h"

#define HOP_LIMIT 255
#define FLAG_ROUTER 0x80
#define FLAG_SOLICITED 0x40
#define FLAG_OVERRIDE 0x20

/* A solicitation or an advertisement with its one option. */
struct message {
    uint8_t type, code;
    uint16_t cksum;
    uint8_t flags;
    uint8_t reserved[3];
    struct hr_addr target;
    uint8_t option, option_len; /* in 8 bytes */
    uint8_t mac[RTE_ETHER_ADDR_LEN];
};
#define MESSAGE_LEN 24 /* without the option */

bool hr_nd_mac_is_host(const uint8_t mac[6])
{
    static const uint8_t zero[RTE_ETHER_ADDR_LEN];
    return (mac[0] & 1) == 0 && memcmp(mac, zero, sizeof(zero)) != 0;
}

bool hr_nd_options(const uint8_t *p, uint32_t len, struct hr_nd_options *ret_options)
{
    struct hr_nd_options o = {0};
    while (len > 0) {
        uint32_t n = len >= 2 ? p[1] * 8U : 0;
        if (n == 0 || n > len)
            return false;
        if (p[0] == ND_OPT_SOURCE_LINKADDR && n == 8)
            o.source_mac = p + 2;
        else if (p[0] == ND_OPT_TARGET_LINKADDR && n == 8)
            o.target_mac = p + 2;
        else if (p[0] == ND_OPT_MTU && n == 8) {
            memcpy(&o.mtu, p + 4, sizeof(o.mtu));
            o.mtu = rte_be_to_cpu_32(o.mtu);
        }
        p += n;
        len -= n;
    }
    if ((o.source_mac != NULL && !hr_nd_mac_is_host(o.source_mac)) ||
        (o.target_mac != NULL && !hr_nd_mac_is_host(o.target_mac)))
        return false;
    *ret_options = o;
    return true;
}

static void tell(struct hr_net *net, const struct hr_net_news *news)
{
    hr_net_heard(net, news);
    if (net->cfg.on_news != NULL)
        net->cfg.on_news(net->owner, news);
}

/* Ours, and being checked: whoever else speaks for it has it. */
static bool is_tentative(const struct hr_net *net, uint32_t port_index, const struct hr_addr *target)
{
    int i = hr_net_local_index(net, target);
    return i >= 0 && net->local[i].port == port_index && net->local[i].state == HR_LOCAL_TENTATIVE;
}

static void tell_duplicate(struct hr_net *net, uint32_t port_index, const struct hr_addr *target, const uint8_t mac[6])
{
    struct hr_net_news news = {.addr = *target, .heard = HR_HEARD_DUPLICATE, .port_index = port_index};
    memcpy(news.mac, mac, sizeof(news.mac));
    HR_COUNT(net->stats, addr_duplicate);
    tell(net, &news);
}

static void advertise(struct hr_net *net, const struct hr_net_local *local, const struct hr_addr *dst,
                      const uint8_t *dst_mac, uint8_t flags)
{
    struct message msg = {.type = ND_NEIGHBOR_ADVERT,
                          .flags = flags,
                          .target = local->addr,
                          .option = ND_OPT_TARGET_LINKADDR,
                          .option_len = 1};
    memcpy(msg.mac, net->ports[local->port].mac.addr_bytes, sizeof(msg.mac));
    HR_COUNT(net->stats, nd_tx);
    hr_icmp6_send(net, local->port,
                  &(struct hr_icmp6_out){.src = local->addr, .dst = *dst, .dst_mac = dst_mac, .hop_limit = HOP_LIMIT,
                                         .len = sizeof(msg), .body = &msg});
}

void hr_nd_announce(struct hr_net *net, const struct hr_net_local *local)
{
    struct hr_addr all = hr_mcast_all_nodes();
    advertise(net, local, &all, NULL, FLAG_OVERRIDE);
}

bool hr_nd_solicitation(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg, const uint8_t eth_src[6])
{
    struct hr_nd_options options;
    struct hr_net_news news = {.addr = in->src, .port_index = in->port_index};
    struct hr_addr target;
    if (in->l4_len < MESSAGE_LEN || !hr_nd_options(msg + MESSAGE_LEN, in->l4_len - MESSAGE_LEN, &options))
        return false;
    memcpy(&target, msg + 8, sizeof(target));
    bool probe = hr_addr_is_any(&in->src); /* RFC 4862 5.4.3: another host checks an address */
    if (hr_addr_is_multicast6(&target) || hr_addr_is_v4(&target) || !hr_nd_mac_is_host(eth_src) ||
        (probe && (!in->multicast || options.source_mac != NULL)))
        return false;
    if (is_tentative(net, in->port_index, &target)) {
        /* Two that check at once: both lose. Our own probe come back is no such thing. */
        if (probe && memcmp(eth_src, net->ports[in->port_index].mac.addr_bytes, RTE_ETHER_ADDR_LEN) != 0)
            tell_duplicate(net, in->port_index, &target, eth_src);
        return true;
    }
    const struct hr_net_local *local = hr_net_local_on(net, in->port_index, &target);
    if (local == NULL)
        return true;
    if (probe) {
        hr_nd_announce(net, local);
        return true;
    }
    if (options.source_mac != NULL && hr_net_on_link(&net->ports[in->port_index], &in->src)) {
        news.heard = HR_HEARD_MAC | HR_HEARD_ASKED_US | HR_HEARD_OVERRIDE;
        memcpy(news.mac, options.source_mac, sizeof(news.mac));
        tell(net, &news);
    }
    advertise(net, local, &in->src, options.source_mac != NULL ? options.source_mac : eth_src,
              FLAG_SOLICITED | FLAG_OVERRIDE);
    return true;
}

bool hr_nd_advertisement(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg, const uint8_t eth_src[6])
{
    struct hr_nd_options options;
    struct hr_net_news news = {.port_index = in->port_index};
    if (in->l4_len < MESSAGE_LEN || !hr_nd_options(msg + MESSAGE_LEN, in->l4_len - MESSAGE_LEN, &options))
        return false;
    uint8_t flags = msg[4];
    memcpy(&news.addr, msg + 8, sizeof(news.addr));
    if (hr_addr_is_multicast6(&news.addr) || hr_addr_is_v4(&news.addr) || hr_addr_is_any(&in->src) ||
        (in->multicast && (flags & FLAG_SOLICITED)))
        return false;
    if (is_tentative(net, in->port_index, &news.addr)) {
        const uint8_t *mac = options.target_mac != NULL ? options.target_mac : eth_src;
        if (memcmp(mac, net->ports[in->port_index].mac.addr_bytes, RTE_ETHER_ADDR_LEN) != 0)
            tell_duplicate(net, in->port_index, &news.addr, mac);
        return true;
    }
    if (hr_net_local_index(net, &news.addr) >= 0)
        return false; /* another host that claims one of our addresses teaches us nothing */
    if (!hr_net_on_link(&net->ports[in->port_index], &news.addr))
        return true;
    if (!(flags & FLAG_ROUTER))
        news.heard |= HR_HEARD_HOST; /* RFC 4861 7.2.5: no default router any more */
    if (options.target_mac == NULL) {
        /* An answer to a unicast probe may leave the MAC out (7.2.4): what was asked for is what is confirmed. */
        const struct hr_neigh *n = hr_neigh_find(net, in->port_index, &news.addr);
        if (n == NULL || n->state < HR_NEIGH_REACHABLE)
            return true;
        memcpy(news.mac, n->mac, sizeof(news.mac));
    } else {
        memcpy(news.mac, options.target_mac, sizeof(news.mac));
    }
    news.heard |= HR_HEARD_MAC;
    if (flags & FLAG_SOLICITED)
        news.heard |= HR_HEARD_CONFIRMED;
    if (flags & FLAG_OVERRIDE)
        news.heard |= HR_HEARD_OVERRIDE;
    tell(net, &news);
    return true;
}

void hr_nd_solicit(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr, const uint8_t *dst)
{
    const struct hr_addr *from = hr_net_addr_toward(net, port_index, addr);
    struct message msg = {.type = ND_NEIGHBOR_SOLICIT, .target = *addr, .option = ND_OPT_SOURCE_LINKADDR, .option_len = 1};
    if (from == NULL)
        return; /* none is usable yet: the next try asks */
    memcpy(msg.mac, net->ports[port_index].mac.addr_bytes, sizeof(msg.mac));
    HR_COUNT(net->stats, nd_tx);
    hr_icmp6_send(net, port_index,
                  &(struct hr_icmp6_out){.src = *from,
                                         .dst = dst != NULL ? *addr : hr_mcast_solicited_node(addr),
                                         .dst_mac = dst,
                                         .hop_limit = HOP_LIMIT,
                                         .len = sizeof(msg),
                                         .body = &msg});
}

void hr_nd_probe(struct hr_net *net, const struct hr_net_local *local)
{
    struct message msg = {.type = ND_NEIGHBOR_SOLICIT, .target = local->addr};
    HR_COUNT(net->stats, nd_tx);
    hr_icmp6_send(net, local->port,
                  &(struct hr_icmp6_out){.dst = hr_mcast_solicited_node(&local->addr), .hop_limit = HOP_LIMIT,
                                         .len = MESSAGE_LEN, .body = &msg});
}
