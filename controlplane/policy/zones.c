#include "controlplane/policy/zones.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hr_zone_reason_text(enum hr_zone_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        HR_ZONE_REASONS(X)
#undef X
    };

    return reason < HR_ZONE_REASON_MAX ? texts[reason] : "?";
}

uint8_t hr_zones_number(const struct hr_config *config, struct hr_zone_map *map, const char *name)
{
    name = hr_config_zone_name(config, name);
    if (!name[0])
        return HR_ZONE_NONE;
    for (uint8_t i = 1; i < map->n; i++) {
        if (strcmp(map->name[i], name) == 0)
            return i;
    }
    if (map->n >= HR_ZONES_MAX)
        return HR_ZONE_NONE;
    snprintf(map->name[map->n], HR_ZONE_NAME_MAX, "%s", name);
    return map->n++;
}

static int net_order(const void *a, const void *b)
{
    const struct hr_zone_net *x = a, *y = b;
    int by_addr = memcmp(&x->addr, &y->addr, sizeof(x->addr));

    return by_addr ? by_addr : (int)x->bits - (int)y->bits;
}

/* Sorted, each says which one is around it. */
static void nest(struct hr_zone_net *nets, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t outer = i;

        while (outer > 0 && !hr_addr_in_prefix(&nets[i].addr, &nets[outer - 1].addr, nets[outer - 1].bits))
            outer = nets[outer - 1].outer;
        nets[i].outer = (uint16_t)outer;
    }
}

static void add_nets(const struct hr_config *config, struct hr_zone_map *map)
{
    const struct hr_config_zones *zones = &config->zones;

    for (uint32_t s = 0; s < HR_ZONE_SCOPES; s++) {
        struct hr_zone_scope *scope = &map->scope[s];

        scope->first = map->n_nets;
        for (uint32_t i = 0; i < zones->n_nets; i++) {
            const struct hr_config_zone_net *from = &zones->nets[i];

            if (from->scope != s)
                continue;
            map->nets[map->n_nets++] = (struct hr_zone_net){
                .addr = from->addr, .bits = from->bits, .zone = hr_zones_number(config, map, zones->names[from->zone])};
        }
        scope->n = (uint16_t)(map->n_nets - scope->first);
        qsort(&map->nets[scope->first], scope->n, sizeof(map->nets[0]), net_order);
        nest(&map->nets[scope->first], scope->n);
    }
}

void hr_zones_build(const struct hr_config *config, const struct hr_zone_map *previous, const char *own,
                    struct hr_zone_map *map)
{
    const struct hr_config_zones *zones = &config->zones;

    memset(map, 0, sizeof(*map));
    map->n = 1;
    if (previous) {
        map->n = previous->n;
        memcpy(map->name, previous->name, sizeof(map->name));
    }
    map->own = own ? hr_zones_number(config, map, own) : previous ? previous->own : HR_ZONE_NONE;
    for (uint32_t i = 1; i < zones->n_names; i++)
        (void)hr_zones_number(config, map, zones->names[i]);
    add_nets(config, map);
}

static bool missing(const struct hr_config *config, const struct hr_zone_map *map, const char **name)
{
    *name = hr_config_zone_name(config, *name);
    for (uint8_t i = 0; i < map->n; i++) { /* number 0 is "" */
        if (strcmp(map->name[i], *name) == 0)
            return false;
    }
    return true;
}

uint32_t hr_zones_missing(const struct hr_config *config, const struct hr_zone_map *map, const char *own,
                          const struct hr_cluster *cluster, const char **ret_first)
{
    const char *names[HR_ZONES_MAX + 1 + HR_POLICY_MAX_BROKERS];
    uint32_t n = 0, n_missing = 0;

    for (uint32_t i = 1; i < config->zones.n_names; i++)
        names[n++] = config->zones.names[i];
    if (own)
        names[n++] = own;
    for (uint32_t i = 0; cluster && i < cluster->n_brokers && i < HR_POLICY_MAX_BROKERS; i++)
        names[n++] = cluster->brokers[i].rack;
    for (uint32_t i = 0; i < n; i++) {
        bool again = false;

        if (!missing(config, map, &names[i]))
            continue;
        for (uint32_t k = 0; k < i && !again; k++)
            again = strcmp(names[k], names[i]) == 0;
        if (!again && n_missing++ == 0)
            *ret_first = names[i];
    }
    return n_missing;
}

static uint8_t by_rule(const struct hr_config *config, struct hr_zone_map *map, const struct hr_cluster_broker *broker,
                       enum hr_zone_reason *reason)
{
    const struct hr_config_zones *zones = &config->zones;

    for (uint32_t i = 0; i < zones->n_brokers; i++) {
        const struct hr_config_zone_broker *rule = &zones->brokers[i];
        bool named = rule->host[0] != '\0';

        if (named ? fnmatch(rule->host, broker->host, FNM_CASEFOLD) != 0 : rule->node_id != broker->id)
            continue;
        *reason = named ? HR_ZONE_BY_HOST : HR_ZONE_BY_NODE;
        return hr_zones_number(config, map, zones->names[rule->zone]);
    }
    return HR_ZONE_NONE;
}

uint8_t hr_zones_of_broker(const struct hr_config *config, struct hr_zone_map *map,
                           const struct hr_cluster_broker *broker, const struct hr_addr *addr,
                           enum hr_zone_reason *ret_reason)
{
    const struct hr_zone_net *net;
    uint8_t zone;

    *ret_reason = HR_ZONE_BY_UNKNOWN;
    if ((zone = by_rule(config, map, broker, ret_reason)) != HR_ZONE_NONE)
        return zone;
    if ((zone = hr_zones_number(config, map, broker->rack)) != HR_ZONE_NONE) {
        *ret_reason = HR_ZONE_BY_RACK;
        return zone;
    }
    net = addr ? hr_zone_find_net(map, HR_ZONE_GLOBAL, addr) : NULL;
    if (!net)
        return HR_ZONE_NONE;
    *ret_reason = HR_ZONE_BY_ADDRESS;
    return net->zone;
}
