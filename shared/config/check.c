/* Cross checks: what is wrong only together with something else. Each names the key to change and what it
 * clashes with. */
#include "shared/config/impl.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct check {
    struct hr_cfg_reader *reader;
    const config_t *tree;
    const struct hr_config *config;
};

/* The setting at a libconfig path ("listeners.[1].address"), or the nearest one above it that exists. */
static const config_setting_t *HR_PRINTF(2, 3) at(const struct check *c, const char *fmt, ...)
{
    char path[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(path, sizeof(path), fmt, args);
    va_end(args);
    for (;;) {
        const config_setting_t *setting = config_lookup(c->tree, path);
        if (setting != NULL)
            return setting;
        char *dot = strrchr(path, '.');
        if (dot == NULL)
            return config_root_setting(c->tree);
        *dot = '\0';
    }
}

/* Is it a neighbour on this port: in a subnet of its addresses, or link-local where it speaks IPv6? */
static bool in_port_subnets(const struct hr_addr *addr, const struct hr_config_port *port)
{
    for (uint32_t i = 0; i < port->n_addrs; i++) {
        const struct hr_config_addr *subnet = &port->addrs[i];
        if (hr_addr_is_v4(addr) != hr_addr_is_v4(&subnet->addr))
            continue;
        if (hr_addr_is_link_local(addr) ||
            hr_addr_in_prefix(addr, &subnet->addr, hr_addr_prefix_bits(&subnet->addr, subnet->prefix)))
            return true;
    }
    return false;
}

/* Whether an address is one of our own, on any port. */
static bool is_ours(const struct hr_config_dataplane *dp, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < dp->n_ports; i++) {
        for (uint32_t j = 0; j < dp->ports[i].n_addrs; j++) {
            if (hr_addr_equal(&dp->ports[i].addrs[j].addr, addr))
                return true;
        }
    }
    return false;
}

static void check_cpus(const struct check *c)
{
    const struct hr_config_dataplane *dp = &c->config->dataplane;
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    if (dp->main_lcore >= cpus)
        hr_cfg_error(c->reader, at(c, "dataplane.main_lcore"), "this machine has the CPUs 0..%ld", cpus - 1);
    for (uint32_t i = 0; i < dp->n_workers; i++) {
        if (dp->worker_lcores[i] >= cpus)
            hr_cfg_error(c->reader, at(c, "dataplane.workers.[%u]", i), "this machine has the CPUs 0..%ld", cpus - 1);
        for (uint32_t j = 0; j < i; j++) {
            if (dp->worker_lcores[i] == dp->worker_lcores[j])
                hr_cfg_error(c->reader, at(c, "dataplane.workers.[%u]", i), "two workers on one CPU");
        }
    }
}

static bool has_ipv6(const struct hr_config_port *port)
{
    for (uint32_t i = 0; i < port->n_addrs; i++) {
        if (!hr_addr_is_v4(&port->addrs[i].addr))
            return true;
    }
    return false;
}

static void check_port(const struct check *c, uint32_t i)
{
    const struct hr_config_dataplane *dp = &c->config->dataplane;
    const struct hr_config_port *port = &dp->ports[i];
    for (uint32_t k = 0; k < i; k++) {
        if (strcmp(port->name, dp->ports[k].name) == 0)
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].name", i), "is the name of another port");
        if (strcmp(port->device, dp->ports[k].device) == 0)
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].device", i), "is the device of port \"%s\"",
                         dp->ports[k].name);
    }
    for (uint32_t j = 0; j < port->n_addrs; j++) {
        const config_setting_t *where = at(c, "dataplane.ports.[%u].addresses.[%u]", i, j);
        const struct hr_addr *addr = &port->addrs[j].addr;
        if (hr_addr_is_any(addr) || hr_addr_is_multicast6(addr))
            hr_cfg_error(c->reader, where, "is no address of a port");
        if (hr_addr_is_link_local(addr))
            hr_cfg_error(c->reader, where, "is link-local: that address is made from the port's MAC, give another");
        if (!hr_addr_is_v4(addr) && port->mtu < 1280)
            hr_cfg_error(c->reader, where, "is IPv6, which needs an mtu of at least 1280");
        for (uint32_t k = 0; k <= i; k++) {
            for (uint32_t m = 0; m < (k == i ? j : dp->ports[k].n_addrs); m++) {
                if (hr_addr_equal(&dp->ports[k].addrs[m].addr, &port->addrs[j].addr))
                    hr_cfg_error(c->reader, where, "is an address of port \"%s\" already", dp->ports[k].name);
            }
        }
    }
    if (port->has_gateway && !hr_addr_is_v4(&port->gateway)) {
        hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway", i), "is for IPv4: write gateway6");
    } else if (port->has_gateway) {
        if (!in_port_subnets(&port->gateway, port))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway", i), "lies in no subnet of the port's addresses");
        else if (is_ours(dp, &port->gateway))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway", i), "is an address of our own");
    }
    if (port->has_gateway6) {
        if (!in_port_subnets(&port->gateway6, port))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway6", i), "lies in no subnet of the port's addresses");
        else if (is_ours(dp, &port->gateway6))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway6", i), "is an address of our own");
    }
    if (port->accept_ra && !has_ipv6(port))
        hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway6", i), "needs an IPv6 address among the port's addresses");
    for (uint32_t j = 0; j < port->n_routes; j++) {
        if (hr_addr_is_v4(&port->routes[j].via) != hr_addr_is_v4(&port->routes[j].to.addr))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].routes.[%u].via", i, j),
                         "is of the other family than the network");
        else if (!in_port_subnets(&port->routes[j].via, port))
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].routes.[%u].via", i, j),
                         "lies in no subnet of the port's addresses");
    }
}

static void check_dataplane(const struct check *c)
{
    const struct hr_config_dataplane *dp = &c->config->dataplane;
    uint32_t n_gateways = 0, n_gateways6 = 0;
    check_cpus(c);
    for (uint32_t i = 0; i < dp->n_ports; i++) {
        check_port(c, i);
        if (dp->ports[i].has_gateway && n_gateways++ > 0)
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway", i),
                         "another port has a gateway already: only one can be the way to everywhere, use routes");
        if ((dp->ports[i].has_gateway6 || dp->ports[i].accept_ra) && n_gateways6++ > 0)
            hr_cfg_error(c->reader, at(c, "dataplane.ports.[%u].gateway6", i),
                         "another port has a gateway6 already: only one can be the way to everywhere, use routes");
    }
    for (const char *p = dp->file_prefix; *p != '\0'; p++) {
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_') {
            hr_cfg_error(c->reader, at(c, "dataplane.file_prefix"), "may hold letters, digits, \"-\" and \"_\"");
            break;
        }
    }
    uint32_t source_ports = dp->source_port_max - dp->source_port_min + 1u;
    if (source_ports < 256 * dp->n_workers)
        hr_cfg_error(c->reader, at(c, "dataplane.source_ports"),
                     "holds %u ports: each of %u workers needs a share of at least 256", source_ports, dp->n_workers);
    /* A buffer of the smallest kind is 2 KiB and its head. */
    uint64_t least_mb = (uint64_t)dp->mbufs_per_worker * dp->n_workers * 2304 / 1048576;
    if (least_mb > dp->memory_mb)
        hr_cfg_error(c->reader, at(c, "dataplane.mbufs_per_worker"),
                     "%u workers need at least %" PRIu64 " MiB for so many: memory_mb is %u", dp->n_workers, least_mb,
                     dp->memory_mb);
}

/* Ports that a listener owns besides its first one; empty (first > last) for mode tcp. */
static void node_ports(const struct hr_policy_listener *l, int *ret_first, int *ret_last)
{
    bool kafka = l->mode == HR_LISTENER_KAFKA && !l->by_name;
    *ret_first = kafka ? l->node_port_base + l->node_id_min : 1;
    *ret_last = kafka ? l->node_port_base + l->node_id_max : 0;
}

static bool share_address(const struct hr_policy_listener *a, const struct hr_policy_listener *b)
{
    return hr_addr_equal(&a->bind, &b->bind) || hr_addr_is_any(&a->bind) || hr_addr_is_any(&b->bind);
}

/* Listener i's port key for messages. */
static const config_setting_t *port_key(const struct check *c, uint32_t i)
{
    bool kafka = c->config->listeners[i].policy.mode == HR_LISTENER_KAFKA;
    return at(c, "listeners.[%u].%s", i, kafka ? "bootstrap_port" : "port");
}

static void check_overlap(const struct check *c, uint32_t i, uint32_t j)
{
    const struct hr_policy_listener *l = &c->config->listeners[i].policy, *other = &c->config->listeners[j].policy;
    int first, last, other_first, other_last;
    node_ports(l, &first, &last);
    node_ports(other, &other_first, &other_last);
    if (!share_address(l, other))
        return;
    if (l->bootstrap_port == other->bootstrap_port)
        hr_cfg_error(c->reader, port_key(c, i), "is the port of listener \"%s\" on the same address", other->name);
    else if (l->bootstrap_port >= other_first && l->bootstrap_port <= other_last)
        hr_cfg_error(c->reader, port_key(c, i), "lies in the node ports %d..%d of listener \"%s\"", other_first,
                     other_last, other->name);
    else if (other->bootstrap_port >= first && other->bootstrap_port <= last)
        hr_cfg_error(c->reader, at(c, "listeners.[%u].node_port_base", i),
                     "gives node ports %d..%d, which hold port %u of listener \"%s\"", first, last,
                     other->bootstrap_port, other->name);
    else if (first <= last && other_first <= other_last && first <= other_last && other_first <= last)
        hr_cfg_error(c->reader, at(c, "listeners.[%u].node_port_base", i),
                     "gives node ports %d..%d, which overlap %d..%d of listener \"%s\"", first, last, other_first,
                     other_last, other->name);
}

static void check_listener(const struct check *c, uint32_t i)
{
    const struct hr_config_dataplane *dp = &c->config->dataplane;
    const struct hr_policy_listener *l = &c->config->listeners[i].policy;
    int first, last;
    node_ports(l, &first, &last);
    if (!hr_addr_is_any(&l->bind) && !is_ours(dp, &l->bind))
        hr_cfg_error(c->reader, at(c, "listeners.[%u].address", i),
                     "is not among the addresses of dataplane.ports (or \"0.0.0.0\" for all of them)");
    if (l->bootstrap_port >= first && l->bootstrap_port <= last)
        hr_cfg_error(c->reader, port_key(c, i), "lies in the listener's own node ports %d..%d", first, last);
    if (l->bootstrap_port >= dp->source_port_min && l->bootstrap_port <= dp->source_port_max)
        hr_cfg_error(c->reader, port_key(c, i), "lies in dataplane.source_ports %u..%u", dp->source_port_min,
                     dp->source_port_max);
    if (first <= last && first <= dp->source_port_max && dp->source_port_min <= last)
        hr_cfg_error(c->reader, at(c, "listeners.[%u].node_port_base", i),
                     "gives node ports %d..%d, which overlap dataplane.source_ports %u..%u", first, last,
                     dp->source_port_min, dp->source_port_max);
    for (uint32_t j = 0; j < i; j++) {
        if (strcmp(l->name, c->config->listeners[j].policy.name) == 0)
            hr_cfg_error(c->reader, at(c, "listeners.[%u].name", i), "is the name of another listener");
        check_overlap(c, i, j);
    }
}

static void check_values(const struct check *c)
{
    const struct hr_config *config = c->config;
    if (config->tcp.rcv_wnd_initial > config->tcp.rcv_wnd_max)
        hr_cfg_error(c->reader, at(c, "tcp.rcv_wnd_initial"), "rcv_wnd_initial %u is above rcv_wnd_max %u",
                     config->tcp.rcv_wnd_initial, config->tcp.rcv_wnd_max);
    if (config->limits.hold_max_bytes > config->tcp.rcv_wnd_max)
        hr_cfg_error(c->reader, at(c, "limits.hold_max_bytes"),
                     "hold_max_bytes %u is above tcp.rcv_wnd_max %u: a held frame could never arrive",
                     config->limits.hold_max_bytes, config->tcp.rcv_wnd_max);
    if (config->cluster.refresh_min_ms > config->cluster.refresh_ms)
        hr_cfg_error(c->reader, at(c, "cluster.refresh_min_ms"), "refresh_min_ms %u is above refresh_ms %u",
                     config->cluster.refresh_min_ms, config->cluster.refresh_ms);
    /* sun_path, with the longest socket name in it. */
    if (strlen(config->control.runtime_dir) > 80 || config->control.runtime_dir[0] != '/')
        hr_cfg_error(c->reader, at(c, "control.runtime_dir"), "must be an absolute path of at most 80 characters");
}

void hr_cfg_check(struct hr_cfg_reader *reader, const config_t *tree, struct hr_config *config)
{
    struct check c = {reader, tree, config};
    bool kafka = false;
    check_dataplane(&c);
    check_values(&c);
    hr_cfg_check_broker_auth(reader, config_lookup(tree, "broker_auth"), &config->broker_auth);
    hr_cfg_check_principals(reader, config_lookup(tree, "broker_auth"), config);
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        check_listener(&c, i);
        hr_cfg_check_listener_auth(reader, at(&c, "listeners.[%u]", i), config, &config->listeners[i]);
        kafka = kafka || config->listeners[i].policy.mode == HR_LISTENER_KAFKA;
    }
    if (kafka && config->cluster.n_bootstrap == 0)
        hr_cfg_error(reader, at(&c, "cluster"), "cluster.bootstrap is missing: a listener of mode \"kafka\" needs it");
}
