#include "shared/ipc/zones.h"

#include <stddef.h>
#include <string.h>

static bool holds(const struct hr_zone_net *net, const struct hr_addr *addr)
{
    return hr_addr_in_prefix(addr, &net->addr, net->bits) && (net->bits >= 96 || !hr_addr_is_v4(addr));
}

/* In the order of a scope. */
static int net_order(const struct hr_zone_net *a, const struct hr_zone_net *b)
{
    int by_addr = memcmp(&a->addr, &b->addr, sizeof(a->addr));
    return by_addr != 0 ? by_addr : (int)a->bits - (int)b->bits;
}

static const char *check_net(const struct hr_zone_map *map, const struct hr_zone_scope *scope, uint32_t i)
{
    const struct hr_zone_net *net = &map->nets[scope->first + i];
    if (net->bits > 128 || net->zone >= map->n)
        return "zones: a network's length or zone is out of range";
    struct hr_addr network = hr_addr_network(&net->addr, net->bits);
    if (!hr_addr_equal(&network, &net->addr))
        return "zones: a network has bits behind its length";
    if (i > 0 && net_order(net - 1, net) >= 0)
        return "zones: networks are not sorted, each once";
    /* Outwards is towards the front, so a look-up ends. */
    if (net->outer > i)
        return "zones: a network's outer one is not in front of it";
    const struct hr_zone_net *outer = &map->nets[scope->first + net->outer - (net->outer > 0)];
    if (net->outer > 0 && (outer->bits >= net->bits || !hr_addr_in_prefix(&net->addr, &outer->addr, outer->bits)))
        return "zones: a network's outer one does not hold it";
    return NULL;
}

const char *hr_zone_map_check(const struct hr_zone_map *map)
{
    const char *why = NULL;
    if (map->n == 0 || map->n > HR_ZONES_MAX || map->own >= map->n)
        return "zones: a number is out of range";
    for (uint32_t i = 0; i < HR_ZONES_MAX; i++) {
        if (memchr(map->name[i], '\0', HR_ZONE_NAME_MAX) == NULL)
            return "zones: a name is not terminated";
        if ((map->name[i][0] == '\0') != (i == 0 || i >= map->n))
            return "zones: a name is empty, or none is due";
    }
    if (map->n_nets > HR_ZONE_NETS_MAX)
        return "zones: too many networks";
    for (uint32_t s = 0; s < HR_ZONE_SCOPES; s++) {
        const struct hr_zone_scope *scope = &map->scope[s];
        if (scope->first > map->n_nets || scope->n > map->n_nets - scope->first)
            return "zones: a scope is out of range";
        for (uint32_t i = 0; i < scope->n && why == NULL; i++)
            why = check_net(map, scope, i);
        if (why != NULL)
            return why;
    }
    return NULL;
}

const struct hr_zone_net *hr_zone_find_net(const struct hr_zone_map *map, uint32_t scope, const struct hr_addr *addr)
{
    const struct hr_zone_net *nets = &map->nets[map->scope[scope].first];
    uint32_t low = 0, high = map->scope[scope].n;

    while (low < high) { /* the first network that begins behind addr */
        uint32_t middle = low + (high - low) / 2;
        if (memcmp(&nets[middle].addr, addr, sizeof(*addr)) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low > 0 && !holds(&nets[low - 1], addr))
        low = nets[low - 1].outer;
    return low > 0 ? &nets[low - 1] : NULL;
}

uint8_t hr_zone_of_client(const struct hr_zone_map *map, uint32_t listener, const struct hr_addr *addr)
{
    const struct hr_zone_net *net = listener < HR_ZONE_GLOBAL ? hr_zone_find_net(map, listener, addr) : NULL;
    if (net == NULL)
        net = hr_zone_find_net(map, HR_ZONE_GLOBAL, addr);
    return net != NULL ? net->zone : map->own;
}
