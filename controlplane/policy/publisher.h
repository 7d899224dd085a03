/* When a new snapshot goes out.
 *
 * Anything that may change the policy calls hr_publisher_touch(); the build happens once, later in the same
 * turn of the loop, and is sent if it differs from what was sent last. While names in it are being resolved
 * it waits for them, at most two seconds. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/policy/policy.h"

struct hr_loop;
struct hr_publisher;

struct hr_publisher_ops {
    void (*inputs)(void *owner, struct hr_policy_inputs *ret_inputs);
    /* Sends; errors as hr_attach_client_publish(). */
    int (*publish)(void *owner, const struct hr_policy *policy, const char **ret_why);
};

HR_MUST_CHECK int hr_publisher_create(struct hr_loop *loop, const struct hr_publisher_ops *ops, void *owner,
                                      struct hr_publisher **ret_publisher);
void hr_publisher_destroy(struct hr_publisher *publisher);

/* Something that the policy depends on may have changed. */
void hr_publisher_touch(struct hr_publisher *publisher);
/* Attached to a dataplane that works by `generation` (0: by none). If we have published nothing yet, that is
 * an earlier control plane's, and `inherited` its snapshot (validated; NULL: it could not be read). Its
 * brokers are used until the cluster has answered us. Without it nothing is published before that. */
void hr_publisher_attached(struct hr_publisher *publisher, uint64_t generation,
                           const struct hr_policy *inherited);

/* Zones that are named and have no number, by the snapshot that was made last. */
uint32_t hr_publisher_zones_missing(const struct hr_publisher *publisher);

/* The newest snapshot that was sent or inherited, NULL if none; borrowed. */
const struct hr_policy *hr_publisher_policy(const struct hr_publisher *publisher);
