/* Routes: which port, and which neighbour on it.
 *
 * Each port has a small table, longest prefix first, so the first match is the best. The table is searched
 * once per pair of addresses; the cache in front of it (hr_net_cached) answers afterwards. */
#include "dataplane/net/impl.h"

static const struct hr_port_route *port_lookup(const struct hr_port *port, uint32_t remote_be)
{
    for (uint32_t i = 0; i < port->n_routes; i++) {
        const struct hr_port_route *r = &port->routes[i];
        if (((remote_be ^ r->net_be) & r->mask_be) == 0)
            return r;
    }
    return NULL;
}

int hr_net_route(const struct hr_net *net, uint32_t local_be, uint32_t remote_be, struct hr_net_hop *ret_hop)
{
    if (remote_be == 0 || hr_net_local_index(net, remote_be) >= 0)
        return HR_E_NOT_FOUND; /* there is no loopback: a packet to ourselves has nowhere to go */
    const struct hr_port_route *best = NULL;
    uint32_t best_port = 0;
    int local = local_be != 0 ? hr_net_local_index(net, local_be) : -1;
    if (local >= 0) {
        best_port = net->local_port[local];
        best = port_lookup(&net->ports[best_port], remote_be);
    }
    if (best == NULL) {
        for (uint32_t p = 0; p < net->n_ports; p++) {
            const struct hr_port_route *r = port_lookup(&net->ports[p], remote_be);
            if (r != NULL && (best == NULL || r->prefix > best->prefix)) {
                best = r;
                best_port = p;
            }
        }
    }
    if (best == NULL)
        return HR_E_NOT_FOUND;
    ret_hop->port = best_port;
    ret_hop->hop_be = best->via_be != 0 ? best->via_be : remote_be;
    return 0;
}

bool hr_net_on_link(const struct hr_port *port, uint32_t ip_be)
{
    for (uint32_t i = 0; i < port->n_routes; i++) {
        const struct hr_port_route *r = &port->routes[i];
        if (r->via_be == 0 ? ((ip_be ^ r->net_be) & r->mask_be) == 0 : r->via_be == ip_be)
            return true;
    }
    return false;
}
