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

/* What one port offers: its table, then the routers that were advertised on it. False: nothing. */
static bool port_route(const struct hr_net *net, uint32_t port_index, const struct hr_addr *remote,
                       struct hr_net_hop *ret_hop, uint8_t *ret_bits)
{
    const struct hr_port *port = &net->ports[port_index];
    const struct hr_port_route *r = port_lookup(port, remote);
    const struct hr_addr *via = NULL;
    uint16_t mtu = port->mtu;
    if (r != NULL) {
        via = r->on_link ? remote : &r->via;
        mtu = r->mtu;
    } else if (!hr_addr_is_v4(remote)) {
        via = hr_router_pick(net, port_index);
    }
    if (via == NULL)
        return false;
    uint16_t advertised = net->advertised[port_index].mtu;
    if (advertised != 0 && advertised < mtu && !hr_addr_is_v4(remote))
        mtu = advertised;
    *ret_hop = (struct hr_net_hop){.port = port_index, .mtu = mtu, .addr = *via};
    *ret_bits = r != NULL ? r->bits : 0;
    return true;
}

int hr_net_route(const struct hr_net *net, const struct hr_addr *local, const struct hr_addr *remote,
                 struct hr_net_hop *ret_hop)
{
    if (hr_addr_is_any(remote) || hr_net_local_index(net, remote) >= 0)
        return HR_E_NOT_FOUND; /* there is no loopback: a packet to ourselves has nowhere to go */
    struct hr_net_hop hop;
    uint8_t bits, best = 0;
    bool found = false;
    int local_index = local != NULL ? hr_net_local_index(net, local) : -1;
    if (local_index >= 0 && port_route(net, net->local[local_index].port, remote, ret_hop, &bits))
        return 0;
    for (uint32_t p = 0; p < net->n_ports; p++) {
        if (port_route(net, p, remote, &hop, &bits) && (!found || bits > best)) {
            *ret_hop = hop;
            best = bits;
            found = true;
        }
    }
    return found ? 0 : HR_E_NOT_FOUND;
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
