/* The zones of a snapshot: numbers for names, the networks of clients in the order that workers search, and which zone
 * each broker is in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/metadata/cluster.h"
#include "shared/config/config.h"
#include "shared/ipc/zones.h"

/* previous: the map of the snapshot before, whose numbers stay; NULL: there was none. own: this proxy's zone, "": it
 * has none; NULL: not known yet, the previous one's then. */
void hr_zones_build(const struct hr_config *config, const struct hr_zone_map *previous, const char *own,
                    struct hr_zone_map *ret_map);

/* The number of a zone's name or alias, a new one if it has none; HR_ZONE_NONE for "" and where all are given. */
uint8_t hr_zones_number(const struct hr_config *config, struct hr_zone_map *map, const char *name);

/* Zones that the configuration, this proxy (own, may be NULL) or the cluster (may be NULL) names and that got no number,
 * because all are given: what is in them counts as nowhere. *ret_first: one of them, where the result is not 0. */
uint32_t hr_zones_missing(const struct hr_config *config, const struct hr_zone_map *map, const char *own,
                          const struct hr_cluster *cluster, const char **ret_first);

/* How a broker's zone was found. X(name, text) */
#define HR_ZONE_REASONS(X)                                                                                   \
    X(UNKNOWN, "no rule, no rack and no network says so")                                                    \
    X(NODE, "zones.brokers, by its node id")                                                                 \
    X(HOST, "zones.brokers, by its name")                                                                    \
    X(RACK, "its rack")                                                                                      \
    X(ADDRESS, "zones.clients, by its address")

enum hr_zone_reason {
#define X(name, text) HR_ZONE_BY_##name,
    HR_ZONE_REASONS(X)
#undef X
    HR_ZONE_REASON_MAX
};
const char *hr_zone_reason_text(enum hr_zone_reason reason);

/* A broker's zone: as the configuration says for its id or name, else its rack's, else that of the network that its
 * address (NULL: not known) is in. */
uint8_t hr_zones_of_broker(const struct hr_config *config, struct hr_zone_map *map,
                           const struct hr_cluster_broker *broker, const struct hr_addr *addr,
                           enum hr_zone_reason *ret_reason);
