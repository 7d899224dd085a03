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
    for (uint32_t p = 0; p < net->n_ports; p++) {
        for (uint32_t i = 0; i < net->ports[p].n_addrs; i++) {
            net->local[net->n_local] = net->ports[p].addrs[i].addr;
            net->local_port[net->n_local] = (uint8_t)p;
            net->n_local++;
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
    return net->next_deadline_us;
}

int hr_net_local_index(const struct hr_net *net, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < net->n_local; i++) {
        if (hr_addr_equal(&net->local[i], addr))
            return (int)i;
    }
    return -1;
}

bool hr_net_is_local(const struct hr_net *net, const struct hr_addr *addr)
{
    return hr_net_local_index(net, addr) >= 0;
}

void hr_net_learn(struct hr_net *net, const struct hr_net_news *news)
{
    if (news->port_index < net->n_ports)
        hr_neigh_heard(net, news, false);
}

void hr_net_announce(struct hr_net *net)
{
    for (uint32_t i = 0; i < net->n_local; i++)
        hr_arp_request(net, net->local_port[i], &net->local[i], NULL);
}

uint16_t hr_net_path_mss(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote)
{
    struct hr_net_hop hop;
    if (hr_net_route(net, local, remote, &hop) != 0)
        return 536; /* RFC 9293 3.7.1 */
    return (uint16_t)(hop.mtu - 40);
}

uint32_t hr_net_sources(const struct hr_net *net, const struct hr_addr *remote, struct hr_addr *ret_locals,
                        uint32_t max)
{
    struct hr_net_hop hop;
    if (hr_net_route(net, NULL, remote, &hop) != 0)
        return 0;
    const struct hr_port *port = &net->ports[hop.port];
    uint32_t n = 0;
    for (int other = 0; other < 2; other++) {
        for (uint32_t i = 0; i < port->n_addrs && n < max; i++) {
            const struct hr_port_addr *a = &port->addrs[i];
            if (hr_addr_in_prefix(&hop.addr, &a->addr, a->bits) == (other == 0))
                ret_locals[n++] = a->addr;
        }
    }
    return n;
}

int hr_net_source(const struct hr_net *net, const struct hr_addr *remote, struct hr_addr *ret_local)
{
    return hr_net_sources(net, remote, ret_local, 1) == 1 ? 0 : HR_E_NOT_FOUND;
}
