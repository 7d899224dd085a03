/* Which worker a flow belongs to.
 *
 * A flow belongs to one worker for life. Broker legs belong to the worker in whose share of the source ports
 * their port lies. Client legs belong to the worker whose queue their SYN came by, where the card keeps all of a
 * flow in one queue (by_arrival); elsewhere every worker finds the owner by a keyed hash. A segment that the port
 * delivered to another worker's queue is handed over by ring (handoff.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"

#define HR_STEER_ARRIVAL UINT32_MAX /* whoever gets its segments */

struct hr_steer {
    uint32_t n_workers;
    bool by_arrival; /* every port keeps a flow in one queue */
    uint16_t source_port_min, source_port_max;
    uint8_t key[16];
};

/* The share of worker i, inclusive. */
void hr_steer_ports(const struct hr_steer *steer, uint32_t worker, uint16_t *ret_min, uint16_t *ret_max);

/* The owner of a flow as this host sees it, or HR_STEER_ARRIVAL. */
uint32_t hr_steer_owner(const struct hr_steer *steer, const struct hr_flow *flow);
