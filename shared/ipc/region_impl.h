/* The region's layout: a function of the number of workers alone, so that neither side has to believe an
 * offset that the other could have written. */
#pragma once

#include <rte_ring.h>
#include <stddef.h>

#include "shared/base/counters.h"
#include "shared/ipc/messages.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"
#include "shared/ipc/zone_stats.h"

#define HR_ALIGN_UP(n, to) (((n) + (to) - 1) / (to) * (to))

/* One worker's part. */
struct hr_region_channel {
    struct hr_stats stats;
    struct hr_sleep sleep;
    struct hr_zone_stats zones __attribute__((aligned(64)));
    struct {
        struct rte_ring ring;
        struct hr_msg msgs[HR_RING_SIZE]; /* where rte_ring keeps its elements: right behind its head */
    } commands __attribute__((aligned(128))), events __attribute__((aligned(128)));
    uint8_t command_slots[HR_SLOTS][HR_SLOT_SIZE] __attribute__((aligned(4096)));
    uint8_t event_slots[HR_SLOTS][HR_SLOT_SIZE] __attribute__((aligned(4096)));
};

#define HR_REGION_HEAD_SIZE   HR_ALIGN_UP(sizeof(struct hr_region), 4096)
#define HR_REGION_POLICY_SIZE HR_ALIGN_UP(sizeof(struct hr_policy), 4096)
#define HR_REGION_REPLICAS_SIZE HR_ALIGN_UP(sizeof(struct hr_replicas), 4096)

static inline struct hr_region_channel *hr_region_channel(struct hr_region *region, uint32_t worker)
{
    return (struct hr_region_channel *)((uint8_t *)region + HR_REGION_HEAD_SIZE) + worker;
}
