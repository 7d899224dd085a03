/* What all workers have counted by zone, and how fast it grows: a sample every ten seconds, the last minute of them kept.
 * Counts begin with the dataplane. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/ipc/zone_stats.h"

struct hr_loop;
struct hr_zone_totals_keeper;

struct hr_zone_totals {
    uint64_t bytes[HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONE_DIRS][8];
    uint64_t steered[HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONE_DIRS];
    struct hr_zone_link link[HR_ZONE_PEER_MAX][HR_ZONES_MAX][2];
};

/* Adds a worker's counts. */
void hr_zone_totals_add(struct hr_zone_totals *totals, const struct hr_zone_stats *stats);

/* read: fills *ret_totals; false: no dataplane is attached. */
HR_MUST_CHECK int hr_zone_totals_keeper_create(struct hr_loop *loop,
                                               bool (*read)(void *owner, struct hr_zone_totals *ret_totals),
                                               void *owner, struct hr_zone_totals_keeper **ret_keeper);
void hr_zone_totals_keeper_destroy(struct hr_zone_totals_keeper *keeper);
/* Another dataplane: its counts have begun at 0. */
void hr_zone_totals_keeper_restart(struct hr_zone_totals_keeper *keeper);
/* Counts of now, and what was added within the last *ret_s seconds (0: no earlier sample). False: none. */
bool hr_zone_totals_get(struct hr_zone_totals_keeper *keeper, struct hr_zone_totals *ret_now,
                        struct hr_zone_totals *ret_added, double *ret_s);
