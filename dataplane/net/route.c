/* Routes: which port, and which neighbour on it.
 *
 * Each port has a small table, longest prefix first, so the first match is the best. The table is searched
 * once per pair of addresses; the cache in front of it (hr_net_cached) answers afterwards. */
#include "dataplane/net/impl.h"

static const struct hr_port_route *port_lookup(const struct hr_port *port, const struct hr_addr *remote)
{
    bool v4 = hr_addr_is_v4(remote);
    for (uint32_t i = 0; i < port->n_routes; i++) {
        const struct hr_port_route *r = &port->routes[i];
        if (r->v4 == v4 && hr_addr_in_prefix(remote, &r->net, r->bits))
            return r;
    }
    return NULL;
}

int hr_net_route(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote,
                 struct hr_net_hop *ret_hop)
{
    if (hr_addr_is_any(remote) || hr_net_local_index(net, remote) >= 0)
        return HR_E_NOT_FOUND; /* there is no loopback: a packet to ourselves has nowhere to go */
    const struct hr_port_route *best = NULL;
    uint32_t best_port = 0;
    int local_index = local != NULL ? hr_net_local_index(net, local) : -1;
    if (local_index >= 0) {
        best_port = net->local_port[local_index];
        best = port_lookup(&net->ports[best_port], remote);
    }
    if (best == NULL) {
        for (uint32_t p = 0; p < net->n_ports; p++) {
            const struct hr_port_route *r = port_lookup(&net->ports[p], remote);
            if (r != NULL && (best == NULL || r->bits > best->bits)) {
                best = r;
                best_port = p;
            }
        }
    }
    if (best == NULL)
        return HR_E_NOT_FOUND;
    ret_hop->port = best_port;
    ret_hop->mtu = best->mtu;
    ret_hop->addr = best->on_link ? *remote : best->via;
    return 0;
}

bool hr_net_on_link(const struct hr_port *port, const struct hr_addr *addr)
{
    bool v4 = hr_addr_is_v4(addr);
    for (uint32_t i = 0; i < port->n_routes; i++) {
        const struct hr_port_route *r = &port->routes[i];
        if (r->v4 == v4 && (r->on_link ? hr_addr_in_prefix(addr, &r->net, r->bits) : hr_addr_equal(&r->via, addr)))
            return true;
    }
    return false;
}
