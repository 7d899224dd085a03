/* From what the cluster says to the replica map that workers search (shared/ipc/replicas.h). */
#pragma once

#include "controlplane/metadata/cluster.h"
#include "controlplane/replicas/probes.h"
#include "shared/config/config.h"
#include "shared/ipc/replicas.h"

/* Everything but the generation. A pure function, so that maps can be compared as bytes. */
void hr_replicas_build(const struct hr_config *config, const struct hr_cluster *cluster, const struct hr_probes *probes,
                       struct hr_replicas *map);
