/* Brokers that were named until recently.
 *
 * A broker that restarts is out of the metadata for some seconds, and its clients knock at its port
 * meanwhile. It is remembered for ten minutes, so that they are told to wait and not that no such node
 * exists; and for the first minute metadata is asked for each second, because that is when it comes back. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/metadata/cluster.h"

struct hr_departed {
    struct hr_cluster_broker brokers[HR_POLICY_MAX_BROKERS];
    uint64_t since_us[HR_POLICY_MAX_BROKERS];
    uint32_t n;
    uint64_t hurry_until_us; /* ask each second until then */
};

/* next replaces old (NULL: the first). */
void hr_departed_update(struct hr_departed *departed, const struct hr_cluster *old,
                        const struct hr_cluster *next, uint64_t now_us);
/* Another cluster: nobody has departed from it. */
void hr_departed_clear(struct hr_departed *departed);
