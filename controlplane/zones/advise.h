/* Where leaders should be: topics that are produced away from their leaders, and the partitions whose leader would cost
 * least in another zone, among the replicas that they have. Nothing is moved here: the answer is input for Kafka's own
 * tools, which put another replica first and have it elected.
 *
 * What is known is bytes by topic, client zone and broker zone; the partitions that a topic has led in a zone share its
 * bytes to that zone alike. Reads are left out: where they are served in the client's zone they do not follow the
 * leader. */
#pragma once

#include <jansson.h>

#include "controlplane/zones/cost.h"
#include "controlplane/zones/tops.h"

/* One partition's leader to move. */
struct hr_zone_move {
    const struct hr_cluster_topic *topic;
    const struct hr_cluster_partition *partition;
    int32_t to;              /* a replica in sync */
    uint8_t from_zone, to_zone;
    double saves;            /* dollars for what was counted */
};

/* Moves that save, the best first; heap. policy: zones of brokers. */
HR_MUST_CHECK int hr_zone_advise(const struct hr_config *config, const struct hr_policy *policy,
                                 const struct hr_cluster *cluster, const struct hr_zone_whos *topics,
                                 struct hr_zone_move **ret_moves, uint32_t *ret_n);

/* For kafka-reassign-partitions.sh: the same replicas, the new leader first. */
json_t *hr_zone_reassignment(const struct hr_zone_move *moves, uint32_t n);
/* For kafka-leader-election.sh --election-type PREFERRED. */
json_t *hr_zone_election(const struct hr_zone_move *moves, uint32_t n);
