/* Source ports of broker legs and of control-owned connections: RFC 6056 3.3.4, double-hash selection.
 *
 * A keyed hash of the addresses and the broker's port gives each destination a start of its own in the
 * worker's share of the range; a counter, shared by a sixty-fourth of the destinations, moves on from there. So
 * nobody outside can tell the next port, and a port comes back to the same destination as late as possible.
 *
 * Ports on which a listener of the same address answers are left out, and those whose answers would come to another
 * worker's queue. Where many in a row are taken the search
 * goes on at random; when HR_PORT_TRIES are, the next source address is tried. */
#include "dataplane/proxy/impl.h"
#include "shared/base/siphash.h"

#define HR_PORT_TRIES 512
#define HR_PORT_TRIES_IN_A_ROW 32
#define HR_SOURCE_ADDRS 8

static bool listens(const struct hr_proxy *proxy, const struct hr_flow *flow)
{
    int32_t node_id;
    return proxy->policy && hr_policy_find_listener(proxy->policy, &flow->local, flow->local_port, &node_id);
}

/* EXISTS: no port of this address was free. */
static int connect_from(struct hr_proxy *proxy, struct hr_flow *flow, uint32_t timeout_us,
                        struct hr_tcp_conn **ret_conn)
{
    uint32_t range = (uint32_t)proxy->cfg.source_port_max - proxy->cfg.source_port_min + 1;
    uint32_t tries = range < HR_PORT_TRIES ? range : HR_PORT_TRIES;

    flow->local_port = 0;
    uint64_t hash = hr_siphash(proxy->cfg.port_key, flow, sizeof(*flow));
    uint32_t *counter = &proxy->next_port[(hash >> 32) % HR_PORT_COUNTERS];
    for (uint32_t i = 0; i < tries; i++) {
        flow->local_port = (uint16_t)(proxy->cfg.source_port_min + ((uint32_t)hash + *counter) % range);
        *counter += tries == range || i < HR_PORT_TRIES_IN_A_ROW ? 1 : (uint32_t)hr_proxy_random(proxy) % range;
        if (listens(proxy, flow) ||
            (proxy->cfg.arrives_here && !proxy->cfg.arrives_here(proxy->cfg.owner, flow)))
            continue;
        int err = hr_tcp_connect(proxy->cfg.tcp, flow, timeout_us, ret_conn);
        if (err != HR_E_EXISTS)
            return err;
    }
    return HR_E_EXISTS;
}

int hr_proxy_connect(struct hr_proxy *proxy, const struct hr_addr *remote, uint16_t port, uint32_t timeout_us,
                     struct hr_tcp_conn **ret_conn)
{
    struct hr_flow flow = {.remote = *remote, .remote_port = port};
    struct hr_addr locals[HR_SOURCE_ADDRS];
    uint32_t n_locals = proxy->cfg.source_addrs(proxy->cfg.owner, remote, locals, HR_SOURCE_ADDRS);

    if (n_locals == 0)
        return HR_E_NOT_FOUND;
    for (uint32_t i = 0; i < n_locals; i++) {
        flow.local = locals[i];
        int err = connect_from(proxy, &flow, timeout_us, ret_conn);
        if (err != HR_E_EXISTS)
            return err == HR_E_FULL ? HR_E_NOMEM : err;
    }
    return HR_E_FULL;
}
