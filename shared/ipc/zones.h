/* Zones as workers know them: names by number, and the networks that clients' addresses are looked up in.
 *
 * A zone's number is what counters, sessions and brokers carry. Number 0 stands for "not known". Numbers are given
 * once: as long as a dataplane runs, a name keeps its own whatever the configuration becomes, because what was counted
 * under it stays. Names are as brokers say them in `rack`; aliases have been resolved before they come here.
 *
 * Networks stand in scopes, one for each listener and one for all. In a scope they are sorted by address, a wider one
 * in front of those in it, and each names the narrowest that it stands in. So the narrowest network that holds an
 * address is the last one in front of it, or one of those around that: a binary search and a few steps outwards. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"

#define HR_ZONES_MAX     16 /* with number 0 */
#define HR_ZONE_NONE     0
#define HR_ZONE_NAME_MAX 48
#define HR_ZONE_NETS_MAX 1024
#define HR_ZONE_GLOBAL   32 /* the scope behind those of listeners */
#define HR_ZONE_SCOPES   (HR_ZONE_GLOBAL + 1)

struct hr_zone_net {
    struct hr_addr addr; /* nothing set behind its bits */
    uint8_t bits;        /* of 128: IPv4 networks have 96 and more */
    uint8_t zone;
    uint16_t outer;      /* of its scope: number + 1 of the narrowest network around it, 0: none */
};

struct hr_zone_scope {
    uint16_t first, n; /* in nets */
};

struct hr_zone_map {
    uint8_t n;   /* names, number 0 included */
    uint8_t own; /* this proxy's */
    uint16_t n_nets;
    struct hr_zone_scope scope[HR_ZONE_SCOPES];
    char name[HR_ZONES_MAX][HR_ZONE_NAME_MAX]; /* name[0] is "" */
    struct hr_zone_net nets[HR_ZONE_NETS_MAX];
};

/* NULL: every number and string keeps its bounds, and look-ups end. Else what is wrong, a static text. */
const char *hr_zone_map_check(const struct hr_zone_map *map);

/* The narrowest network of the scope that holds addr, NULL if none. An IPv4 address is in no IPv6 network. */
const struct hr_zone_net *hr_zone_find_net(const struct hr_zone_map *map, uint32_t scope, const struct hr_addr *addr);

/* The zone of a client of this listener (its index in the policy): by the listener's networks, by those for all, else
 * the proxy's own. */
uint8_t hr_zone_of_client(const struct hr_zone_map *map, uint32_t listener, const struct hr_addr *addr);
