/* Topics, clients and principals with most bytes, of all workers together, each with the zones between which they
 * move. */
#pragma once

#include <stdint.h>

#include "controlplane/metadata/cluster.h"
#include "shared/ipc/zone_stats.h"

struct hr_zone_who {
    char name[4 * HR_ZONE_KEY_MAX + 1]; /* what is not printable is escaped; of a topic's id that no topic has: the id */
    uint64_t bytes[HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONE_DIRS]; /* client, broker; never too high by more than error */
    uint64_t error;
};

struct hr_zone_whos {
    uint32_t n, cap;
    uint32_t nameless; /* entries of topics whose id the cluster did not name */
    struct hr_zone_who *who; /* heap */
};

/* Adds a worker's table of n entries. cluster: names for ids; NULL: none are known. Silently incomplete where memory is
 * short. */
void hr_zone_whos_add(struct hr_zone_whos *whos, const struct hr_zone_top *table, uint32_t n,
                      const struct hr_cluster *cluster);
void hr_zone_whos_free(struct hr_zone_whos *whos);
