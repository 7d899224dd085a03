/* Keeps the replica map of workers up to date, as long as a listener wants one.
 *
 * Whatever may change it calls hr_replica_maps_touch(); the map is built later in the same turn of the loop and
 * published when it differs. While nobody wants it, brokers are not probed either. */
#pragma once

#include <stdbool.h>

#include "controlplane/metadata/cluster.h"
#include "shared/base/error.h"
#include "shared/config/config.h"
#include "shared/ipc/replicas.h"

struct hr_conns;
struct hr_dns;
struct hr_loop;
struct hr_replica_maps;

struct hr_replica_maps_ops {
    const struct hr_config *(*config)(void *owner);
    const struct hr_cluster *(*cluster)(void *owner); /* NULL: not known yet */
    /* map stays as it is until the next call. */
    void (*publish)(void *owner, struct hr_replicas *map);
};

/* May reads go to followers by this configuration? */
bool hr_replica_maps_wanted(const struct hr_config *config);

HR_MUST_CHECK int hr_replica_maps_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns,
                                         const struct hr_replica_maps_ops *ops, void *owner,
                                         struct hr_replica_maps **ret_maps);
void hr_replica_maps_destroy(struct hr_replica_maps *maps);
void hr_replica_maps_touch(struct hr_replica_maps *maps);
