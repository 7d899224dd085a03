/* Router advertisements (RFC 4861 6): default routers and the link's MTU, where the configuration says so
 * (gateway6 = "advertised"). Prefixes in them make no addresses and no routes; hop limits and times are ours. */
#include <netinet/icmp6.h>
#include <string.h>

#include "dataplane/net/impl.h"

#define ADVERT_LEN 16 /* without options */

bool hr_router_advertisement(struct hr_net *net, const struct hr_ip6_in *in, const uint8_t *msg)
{
    const struct hr_port *port = &net->ports[in->port_index];
    struct hr_nd_options options;
    struct hr_net_news news = {.addr = in->src, .heard = HR_HEARD_ROUTER, .port_index = in->port_index};
    if (in->l4_len < ADVERT_LEN || !hr_addr_is_link_local(&in->src) ||
        !hr_nd_options(msg + ADVERT_LEN, in->l4_len - ADVERT_LEN, &options))
        return false;
    if (!port->accept_ra) {
        HR_DROP(net->stats, nd_ignored);
        return true;
    }
    news.lifetime_s = (uint16_t)(msg[6] << 8 | msg[7]);
    if (options.mtu >= HR_PORT_MTU_MIN6 && options.mtu <= port->mtu)
        news.mtu = (uint16_t)options.mtu;
    if (options.source_mac != NULL) {
        news.heard |= HR_HEARD_MAC | HR_HEARD_ASKED_US | HR_HEARD_OVERRIDE;
        memcpy(news.mac, options.source_mac, sizeof(news.mac));
    }
    if (news.lifetime_s > 0)
        HR_COUNT(net->stats, nd_routers);
    hr_net_heard(net, &news);
    if (net->cfg.on_news != NULL)
        net->cfg.on_news(net->owner, &news);
    return true;
}

static struct hr_net_router *find(struct hr_net_advertised *a, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (hr_addr_equal(&a->router[i].addr, addr))
            return &a->router[i];
    }
    return NULL;
}

static void drop(struct hr_net *net, struct hr_net_advertised *a, struct hr_net_router *r)
{
    a->n--;
    memmove(r, r + 1, (size_t)(a->router + a->n - r) * sizeof(*r)); /* the order is that of their appearance */
    hr_net_cache_clear(net);
}

void hr_router_forget(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    struct hr_net_advertised *a = &net->advertised[port_index];
    struct hr_net_router *r = find(a, addr);
    if (r != NULL)
        drop(net, a, r);
}

void hr_router_heard(struct hr_net *net, const struct hr_net_news *news)
{
    struct hr_net_advertised *a = &net->advertised[news->port_index];
    if (news->mtu != 0 && news->mtu != a->mtu) {
        a->mtu = news->mtu;
        hr_net_cache_clear(net);
    }
    struct hr_net_router *r = find(a, &news->addr);
    if (news->lifetime_s == 0) {
        if (r != NULL)
            drop(net, a, r);
        return;
    }
    if (r == NULL) {
        if (a->n == HR_NET_ROUTERS)
            return; /* a flood of them displaces none that we know */
        r = &a->router[a->n++];
        r->addr = news->addr;
        hr_net_cache_clear(net);
    }
    r->until_us = net->now_us + news->lifetime_s * HR_US_PER_S;
    if (r->until_us < net->presence_us)
        net->presence_us = r->until_us;
}

const struct hr_addr *hr_router_pick(const struct hr_net *net, uint32_t port_index)
{
    const struct hr_net_advertised *a = &net->advertised[port_index];
    for (uint32_t i = 0; i < a->n; i++) {
        const struct hr_neigh *n = hr_neigh_find((struct hr_net *)net, port_index, &a->router[i].addr);
        if (n == NULL || n->state != HR_NEIGH_FAILED)
            return &a->router[i].addr;
    }
    return a->n > 0 ? &a->router[0].addr : NULL;
}

uint64_t hr_router_expire(struct hr_net *net)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t p = 0; p < net->n_ports; p++) {
        struct hr_net_advertised *a = &net->advertised[p];
        for (uint32_t i = a->n; i-- > 0;) {
            if (a->router[i].until_us <= net->now_us)
                drop(net, a, &a->router[i]);
            else if (a->router[i].until_us < next)
                next = a->router[i].until_us;
        }
    }
    return next;
}

void hr_router_solicit(struct hr_net *net, uint32_t port_index)
{
    static const struct hr_addr all_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
    static const struct hr_addr link_local = {{0xfe, 0x80}};
    const struct hr_addr *from = hr_net_addr_toward(net, port_index, &link_local);
    uint8_t msg[16] = {ND_ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0, ND_OPT_SOURCE_LINKADDR, 1};
    if (from == NULL)
        return;
    memcpy(msg + 10, net->ports[port_index].mac.addr_bytes, RTE_ETHER_ADDR_LEN);
    HR_COUNT(net->stats, nd_tx);
    hr_icmp6_send(net, port_index,
                  &(struct hr_icmp6_out){.src = *from, .dst = all_routers, .hop_limit = 255, .len = sizeof(msg), .body = msg});
}
