/* Which worker a flow belongs to.
 *
 * A flow belongs to one worker for life, and every worker can tell which one from the flow alone: broker
 * legs by their source port (the range is cut into one share per worker), client legs by a keyed hash. A
 * segment that the port delivered to another worker's queue is handed over by ring (handoff.h). */
#pragma once

#include <stdint.h>

#include "shared/base/addr.h"

struct hr_steer {
    uint32_t n_workers;
    uint16_t source_port_min, source_port_max;
    uint8_t key[16];
};

/* The share of worker i, inclusive. */
void hr_steer_ports(const struct hr_steer *steer, uint32_t worker, uint16_t *ret_min, uint16_t *ret_max);

/* The owner of a flow as this host sees it. */
uint32_t hr_steer_owner(const struct hr_steer *steer, const struct hr_flow *flow);
