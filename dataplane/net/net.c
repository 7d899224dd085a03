#include "dataplane/net/net.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/net/impl.h"

int hr_net_create(const struct hr_net_config *cfg, struct hr_net **ret_net)
{
    if (cfg->n_ports == 0 || cfg->n_ports > HR_CONFIG_MAX_PORTS || cfg->on_tcp_take == NULL)
        return HR_E_INVALID;
    size_t size = (sizeof(struct hr_net) + 63) & ~(size_t)63;
    struct hr_net *net = aligned_alloc(64, size);
    if (net == NULL)
        return HR_E_NOMEM;
    memset(net, 0, size);
    net->cfg = *cfg;
    net->ports = cfg->ports;
    net->n_ports = cfg->n_ports;
    net->stats = cfg->stats;
    net->owner = cfg->owner;
    net->seed = cfg->hash_seed;
    net->next_deadline_us = UINT64_MAX;
    net->presence_us = UINT64_MAX;
    for (uint32_t p = 0; p < net->n_ports; p++) {
        net->seen[p].cksums = UINT64_MAX;
        net->txq[p].net = net;
        net->txq[p].port = (uint16_t)p;
        net->txq[p].flush = hr_net_tx_flush;
        for (uint32_t i = 0; i < net->ports[p].n_addrs; i++) {
            const struct hr_port_addr *a = &net->ports[p].addrs[i];
            bool v4 = hr_addr_is_v4(&a->addr);
            net->local[net->n_local++] =
                (struct hr_net_local){.addr = a->addr,
                                      .port = (uint8_t)p,
                                      .bits = a->bits,
                                      .state = v4 ? HR_LOCAL_USABLE : HR_LOCAL_TENTATIVE};
            if (!v4)
                net->presence_us = 0;
        }
    }
    for (uint32_t i = 0; i < HR_NEIGH_PENDING_QUEUES; i++)
        net->pending_free[i] = (uint8_t)(HR_NEIGH_PENDING_QUEUES - i);
    net->n_pending_free = HR_NEIGH_PENDING_QUEUES;
    *ret_net = net;
    return 0;
}

void hr_net_destroy(struct hr_net *net)
{
    if (net == NULL)
        return;
    hr_neigh_clear(net);
    for (uint32_t p = 0; p < net->n_ports; p++)
        rte_pktmbuf_free_bulk(net->txq[p].pkts, net->txq[p].n);
    free(net);
}

uint64_t hr_net_advance(struct hr_net *net, uint64_t now_us)
{
    net->now_us = now_us;
    if (now_us >= net->next_deadline_us)
        hr_neigh_scan(net);
    if (now_us >= net->presence_us)
        hr_presence_run(net);
    return net->next_deadline_us < net->presence_us ? net->next_deadline_us : net->presence_us;
}

int hr_net_local_index(const struct hr_net *net, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (hr_addr_equal(&net->local[i].addr, addr))
            return (int)i;
    }
    return -1;
}

bool hr_net_is_local(const struct hr_net *net, const struct hr_addr *addr)
{
    return hr_net_local_index(net, addr) >= 0;
}

const struct hr_net_local *hr_net_local_on(const struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    int i = hr_net_local_index(net, addr);
    return i >= 0 && net->local[i].port == port_index && net->local[i].state == HR_LOCAL_USABLE ? &net->local[i] : NULL;
}

const struct hr_addr *hr_net_addr_toward(const struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    const struct hr_addr *other = NULL;
    for (uint32_t i = 0; i < net->n_local; i++) {
        const struct hr_net_local *l = &net->local[i];
        if (l->port != port_index || l->state != HR_LOCAL_USABLE || hr_addr_is_v4(&l->addr) != hr_addr_is_v4(addr))
            continue;
        if (hr_addr_in_prefix(addr, &l->addr, l->bits))
            return &l->addr;
        if (other == NULL)
            other = &l->addr;
    }
    return other;
}

void hr_net_heard(struct hr_net *net, const struct hr_net_news *news)
{
    if (news->heard & HR_HEARD_DUPLICATE) {
        hr_presence_duplicate(net, &news->addr);
        return;
    }
    if (news->heard & HR_HEARD_MAC)
        hr_neigh_heard(net, news);
    if (news->heard & HR_HEARD_ROUTER)
        hr_router_heard(net, news);
    if (news->heard & HR_HEARD_HOST)
        hr_router_forget(net, news->port_index, &news->addr);
}

void hr_net_learn(struct hr_net *net, const struct hr_net_news *news)
{
    struct hr_net_news told = *news;
    told.heard &= (uint16_t)~HR_HEARD_ASKED_US; /* the one who was asked made an entry; we shall ask when we need it */
    if (news->port_index < net->n_ports)
        hr_net_heard(net, &told);
}

void hr_net_announce(struct hr_net *net)
{
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (hr_addr_is_v4(&net->local[i].addr))
            hr_arp_request(net, net->local[i].port, &net->local[i].addr, NULL);
    }
    hr_presence_begin(net);
}

uint32_t hr_net_path_port(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote)
{
    struct hr_net_hop hop;
    return hr_net_route(net, local, remote, &hop) == 0 ? hop.port : 0;
}

uint16_t hr_net_path_mss(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote)
{
    struct hr_net_hop hop;
    bool v4 = hr_addr_is_v4(remote);
    if (hr_net_route(net, local, remote, &hop) != 0)
        return v4 ? 536 : 1220; /* RFC 9293 3.7.1 */
    return (uint16_t)(hop.mtu - (v4 ? 40 : 60));
}

/* fc00::/7 talks to its like, the world's addresses to theirs (RFC 6724 2.1's labels, in short). */
static bool same_label(const struct hr_addr *a, const struct hr_addr *b)
{
    return ((a->b[0] & 0xfe) == 0xfc) == ((b->b[0] & 0xfe) == 0xfc);
}

uint32_t hr_net_sources(const struct hr_net *net, const struct hr_addr *remote, struct hr_addr *ret_locals,
                        uint32_t max)
{
    struct hr_net_hop hop;
    if (hr_net_route(net, NULL, remote, &hop) != 0)
        return 0;
    uint32_t n = 0;
    /* In the next hop's subnet, elsewhere, and for want of these one of the other label. */
    for (int pass = 0; pass < 3 && (pass < 2 || n == 0); pass++) {
        for (uint32_t i = 0; i < net->n_local && n < max; i++) {
            const struct hr_net_local *l = &net->local[i];
            if (l->port != hop.port || l->state != HR_LOCAL_USABLE ||
                hr_addr_is_v4(&l->addr) != hr_addr_is_v4(remote) ||
                hr_addr_is_link_local(&l->addr) != hr_addr_is_link_local(remote))
                continue;
            bool in_subnet = hr_addr_in_prefix(&hop.addr, &l->addr, l->bits);
            if (same_label(&l->addr, remote) ? in_subnet == (pass == 0) && pass < 2 : pass == 2)
                ret_locals[n++] = l->addr;
        }
    }
    return n;
}

int hr_net_source(const struct hr_net *net, const struct hr_addr *remote, struct hr_addr *ret_local)
{
    return hr_net_sources(net, remote, ret_local, 1) == 1 ? 0 : HR_E_NOT_FOUND;
}
