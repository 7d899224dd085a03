#include "controlplane/policy/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/policy/zones.h"

bool hr_overrides_has_node(const struct hr_overrides *overrides, int32_t node_id)
{
    for (uint32_t i = 0; i < overrides->n_nodes; i++) {
        if (overrides->nodes[i] == node_id)
            return true;
    }
    return false;
}

int hr_overrides_node(struct hr_overrides *overrides, int32_t node_id, bool drain)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < overrides->n_nodes; i++) {
        if (overrides->nodes[i] != node_id)
            overrides->nodes[kept++] = overrides->nodes[i];
    }
    overrides->n_nodes = kept;
    if (!drain)
        return 0;
    if (kept >= HR_POLICY_MAX_BROKERS)
        return HR_E_FULL;
    overrides->nodes[overrides->n_nodes++] = node_id;
    return 0;
}

bool hr_overrides_has_listener(const struct hr_overrides *overrides, const char *name)
{
    for (uint32_t i = 0; i < overrides->n_listeners; i++) {
        if (strcmp(overrides->listeners[i], name) == 0)
            return true;
    }
    return false;
}

int hr_overrides_listener(struct hr_overrides *overrides, const char *name, bool drain)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < overrides->n_listeners; i++) {
        if (strcmp(overrides->listeners[i], name) != 0)
            memmove(overrides->listeners[kept++], overrides->listeners[i], HR_POLICY_NAME_MAX);
    }
    overrides->n_listeners = kept;
    if (!drain)
        return 0;
    if (kept >= HR_POLICY_MAX_LISTENERS)
        return HR_E_FULL;
    snprintf(overrides->listeners[overrides->n_listeners++], HR_POLICY_NAME_MAX, "%s", name);
    return 0;
}

/* False: unknown. Counts what will be known soon. */
static bool resolve(const struct hr_policy_inputs *in, const char *host, struct hr_addr *ret_addr,
                    uint32_t *pending)
{
    int err = in->resolve(in->arg, host, ret_addr);

    if (err == 0)
        return true;
    memset(ret_addr, 0, sizeof(*ret_addr));
    *pending += err == HR_E_AGAIN;
    return false;
}

static void add_listeners(const struct hr_policy_inputs *in, struct hr_policy *policy, uint32_t *pending)
{
    for (uint32_t i = 0; i < in->config->n_listeners && i < HR_POLICY_MAX_LISTENERS; i++) {
        const struct hr_config_listener *from = &in->config->listeners[i];
        struct hr_policy_listener *to = &policy->listeners[policy->n_listeners++];

        *to = from->policy;
        to->draining = in->overrides->drain_all || hr_overrides_has_listener(in->overrides, to->name);
        if (!from->has_target)
            continue;
        to->target_port = from->target.port;
        to->target_valid = resolve(in, from->target.host, &to->target, pending);
    }
}

static void add_broker(const struct hr_policy_inputs *in, struct hr_policy *policy,
                       const struct hr_cluster_broker *from, bool serving, uint32_t *pending)
{
    struct hr_policy_broker *to;
    enum hr_zone_reason reason;
    bool known;

    if (policy->n_brokers >= HR_POLICY_MAX_BROKERS)
        return;
    to = &policy->brokers[policy->n_brokers++];
    to->node_id = from->id;
    to->port = from->port;
    known = resolve(in, from->host, &to->addr, pending);
    if (known && serving)
        to->flags |= HR_BROKER_ALIVE;
    to->zone = hr_zones_of_broker(in->config, &policy->zones, from, known ? &to->addr : NULL, &reason);
    if (in->overrides->drain_all || hr_overrides_has_node(in->overrides, from->id))
        to->flags |= HR_BROKER_DRAINING;
}

static void add_bootstrap(const struct hr_policy_inputs *in, struct hr_policy *policy, uint32_t *pending)
{
    /* Sorted by node id, as brokers are: the last of the list has the lowest. */
    for (uint32_t i = in->config->cluster.n_bootstrap; i-- > 0;) {
        const struct hr_config_hostport *from = &in->config->cluster.bootstrap[i];
        struct hr_policy_broker *to = &policy->brokers[policy->n_brokers];
        struct hr_cluster_broker named = {.id = -(int32_t)i - 1};
        enum hr_zone_reason reason;
        struct hr_addr addr;

        if (!resolve(in, from->host, &addr, pending))
            continue;
        to->node_id = named.id;
        to->port = from->port;
        to->addr = addr;
        to->flags = HR_BROKER_BOOTSTRAP;
        snprintf(named.host, sizeof(named.host), "%s", from->host);
        to->zone = hr_zones_of_broker(in->config, &policy->zones, &named, &addr, &reason);
        policy->n_brokers++;
    }
}

/* What an earlier control plane had told the workers: addresses and all, as they have it. */
static void add_inherited(const struct hr_policy_inputs *in, struct hr_policy *policy)
{
    const struct hr_policy *from = in->inherited;

    policy->cluster_known = from->cluster_known;
    memcpy(policy->cluster_id, from->cluster_id, sizeof(policy->cluster_id));
    policy->n_brokers = from->n_brokers;
    memcpy(policy->brokers, from->brokers, sizeof(policy->brokers));
    for (uint32_t i = 0; i < policy->n_brokers; i++) {
        struct hr_policy_broker *to = &policy->brokers[i];

        to->flags &= (uint16_t)~HR_BROKER_DRAINING; /* drains end with the control plane that ordered them */
        if (to->node_id >= 0 &&
            (in->overrides->drain_all || hr_overrides_has_node(in->overrides, to->node_id)))
            to->flags |= HR_BROKER_DRAINING;
    }
}

/* An instance in this zone: *ret_told as in the policy. False: none that serves. */
static bool serves_zone(const struct hr_policy_inputs *in, const struct hr_policy *policy, uint32_t listener,
                        uint8_t zone, uint8_t *ret_told)
{
    const struct hr_config_zones *zones = &in->config->zones;

    if (zone == policy->zones.own && zone != HR_ZONE_NONE) {
        *ret_told = 0;
        return !policy->listeners[listener].draining;
    }
    for (uint32_t i = 0; i < zones->n_peers; i++) {
        const struct hr_config_peer *peer = &zones->peers[i];

        if (peer->policy.listener != listener || strcmp(zones->names[peer->zone], policy->zones.name[zone]) != 0 ||
            !in->peer_up || !in->peer_up(in->arg, peer->health))
            continue;
        *ret_told = (uint8_t)(i + 1);
        return true;
    }
    return false;
}

/* The configuration's number of a zone of the policy; 0: it names none such. */
static uint8_t configured(const struct hr_config_zones *zones, const char *name)
{
    for (uint8_t i = 1; i < zones->n_names; i++) {
        if (strcmp(zones->names[i], name) == 0)
            return i;
    }
    return 0;
}

/* Whose addresses a zone's clients are told: an instance's in it, else the nearest one's, else ours. */
static uint8_t tell(const struct hr_policy_inputs *in, struct hr_policy *policy, uint32_t listener, uint8_t zone)
{
    const struct hr_config_zones *zones = &in->config->zones;
    const uint8_t *next = zones->nearest[configured(zones, policy->zones.name[zone])];
    uint8_t told = 0;

    if (serves_zone(in, policy, listener, zone, &told))
        return told;
    for (; *next; next++) {
        if (serves_zone(in, policy, listener, hr_zones_number(in->config, &policy->zones, zones->names[*next]), &told))
            return told;
    }
    return 0;
}

static void add_peers(const struct hr_policy_inputs *in, struct hr_policy *policy)
{
    const struct hr_config_zones *zones = &in->config->zones;

    for (uint32_t i = 0; i < zones->n_peers; i++)
        policy->peers[policy->n_peers++] = zones->peers[i].policy;
    for (uint32_t l = 0; zones->n_peers > 0 && l < policy->n_listeners; l++) {
        for (uint8_t z = 1; z < policy->zones.n; z++)
            policy->told[l][z] = tell(in, policy, l, z);
    }
}

static int broker_order(const void *a, const void *b)
{
    int32_t x = ((const struct hr_policy_broker *)a)->node_id,
            y = ((const struct hr_policy_broker *)b)->node_id;

    return (x > y) - (x < y);
}

uint32_t hr_policy_build(const struct hr_policy_inputs *in, struct hr_policy *policy)
{
    const struct hr_config *config = in->config;
    uint32_t pending = 0;

    /* Also the padding and the tails of strings: snapshots are compared as bytes. */
    memset(policy, 0, sizeof(*policy));
    policy->magic = HR_POLICY_MAGIC;
    policy->size = sizeof(*policy);
    policy->cluster_known = in->cluster != NULL;
    policy->idle_busy = config->dataplane.idle_busy;
    policy->cluster_tls = config->cluster.tls.on;
    policy->log_level = (uint8_t)config->log.level;
    policy->max_sessions = config->limits.max_connections;
    policy->hold_max_bytes = config->limits.hold_max_bytes;
    policy->zone_reads_min_bytes = config->zones.reads_min_bytes;
    if (in->at_start && policy->max_sessions > in->at_start->limits.max_connections)
        policy->max_sessions = in->at_start->limits.max_connections;
    if (in->at_start && policy->hold_max_bytes > in->at_start->limits.hold_max_bytes)
        policy->hold_max_bytes = in->at_start->limits.hold_max_bytes;
    policy->drain_timeout_ms = config->limits.drain_timeout_ms;
    hr_zones_build(config, in->zones ? in->zones : in->inherited ? &in->inherited->zones : NULL, in->zone,
                   &policy->zones);
    add_listeners(in, policy, &pending);
    add_peers(in, policy);
    if (!in->cluster && in->inherited) {
        add_inherited(in, policy);
        return pending;
    }
    if (!in->cluster) {
        add_bootstrap(in, policy, &pending);
        return pending;
    }
    snprintf(policy->cluster_id, sizeof(policy->cluster_id), "%s", in->cluster->id);
    for (uint32_t i = 0; i < in->cluster->n_brokers; i++)
        add_broker(in, policy, &in->cluster->brokers[i], !in->cluster->brokers[i].fenced, &pending);
    for (uint32_t i = 0; i < in->n_departed; i++)
        add_broker(in, policy, &in->departed[i], false, &pending);
    qsort(policy->brokers, policy->n_brokers, sizeof(policy->brokers[0]), broker_order);
    return pending;
}

static void say(char *text, uint32_t cap, const char *fmt, ...) HR_PRINTF(3, 4);

/* Appends with a separator; silently cut at cap. */
static void say(char *text, uint32_t cap, const char *fmt, ...)
{
    size_t len = strlen(text);
    va_list args;

    if (len > 0 && len + 2 < cap) {
        memcpy(text + len, ", ", 3);
        len += 2;
    }
    va_start(args, fmt);
    vsnprintf(text + len, cap - len, fmt, args);
    va_end(args);
}

static uint32_t count_alive(const struct hr_policy *policy)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < policy->n_brokers; i++)
        n += (policy->brokers[i].flags & HR_BROKER_ALIVE) != 0;
    return n;
}

bool hr_policy_changes(const struct hr_policy *from, const struct hr_policy *to, char *text, uint32_t cap)
{
    struct hr_policy a_head = *from, b_head = *to;
    bool listeners, brokers, zones, peers;

    text[0] = '\0';
    a_head.generation = b_head.generation = 0;
    if (memcmp(&a_head, &b_head, sizeof(a_head)) == 0)
        return false;
    listeners = from->n_listeners != to->n_listeners ||
                memcmp(from->listeners, to->listeners, sizeof(from->listeners)) != 0;
    brokers =
        from->n_brokers != to->n_brokers || memcmp(from->brokers, to->brokers, sizeof(from->brokers)) != 0;
    zones = memcmp(&from->zones, &to->zones, sizeof(from->zones)) != 0;
    if (from->cluster_known != to->cluster_known)
        say(text, cap, "cluster %s", to->cluster_known ? "known" : "unknown");
    if (strcmp(from->cluster_id, to->cluster_id) != 0)
        say(text, cap, "cluster id %s", to->cluster_id);
    if (listeners && from->n_listeners != to->n_listeners)
        say(text, cap, "listeners %u -> %u", from->n_listeners, to->n_listeners);
    else if (listeners)
        say(text, cap, "listeners changed");
    if (brokers)
        say(text, cap, "brokers %u of %u alive -> %u of %u", count_alive(from), from->n_brokers,
            count_alive(to), to->n_brokers);
    peers = memcmp(from->told, to->told, sizeof(from->told)) != 0;
    if (peers)
        say(text, cap, "clients in other zones are told other addresses");
    if (zones)
        say(text, cap, "zones changed: %u, %u networks, own %s", to->zones.n - 1u, to->zones.n_nets,
            to->zones.own ? to->zones.name[to->zones.own] : "unknown");
    if (!text[0])
        say(text, cap, "limits, idle policy or log level");
    return true;
}
