/* From what the operator wants and the cluster says to what workers do: building the policy snapshot, and
 * publishing it when it differs from the last one.
 *
 * Building is a pure function of its inputs, so that a test can say what comes out. Publishing waits with the
 * first snapshot until the cluster is known: a control plane that has just been restarted knows less than the
 * snapshot that the dataplane still works by. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/metadata/cluster.h"
#include "shared/base/error.h"
#include "shared/config/config.h"
#include "shared/ipc/policy.h"

/* What the operator asked for at run time (headracectl drain); survives a reload, not a restart. */
struct hr_overrides {
    bool drain_all;
    uint32_t n_nodes;
    int32_t nodes[HR_POLICY_MAX_BROKERS];
    uint32_t n_listeners;
    char listeners[HR_POLICY_MAX_LISTENERS][HR_POLICY_NAME_MAX];
};

/* drain = false takes it back. FULL when the table is. */
HR_MUST_CHECK int hr_overrides_node(struct hr_overrides *overrides, int32_t node_id, bool drain);
HR_MUST_CHECK int hr_overrides_listener(struct hr_overrides *overrides, const char *name, bool drain);
bool hr_overrides_has_node(const struct hr_overrides *overrides, int32_t node_id);
bool hr_overrides_has_listener(const struct hr_overrides *overrides, const char *name);

struct hr_policy_inputs {
    const struct hr_config *config;
    const struct hr_config *at_start; /* bounds what memory was laid out for at start; NULL: no bound */
    const struct hr_overrides *overrides;
    const struct hr_cluster *cluster;         /* NULL: unknown as yet */
    const struct hr_cluster_broker *departed; /* named until recently */
    uint32_t n_departed;
    const struct hr_policy
        *inherited; /* an earlier control plane's snapshot, NULL: none; counts while cluster is NULL */
    const struct hr_zone_map *zones; /* of the snapshot before, whose numbers stay; NULL: there was none */
    const char *zone;                /* this proxy's, "": none; NULL: not known yet */
    bool (*peer_up)(void *arg, const char *health_url); /* does that instance serve? NULL: none does */
    /* The address to use for a name now. AGAIN: not known yet, will be soon; anything else but 0: unknown. */
    int (*resolve)(void *arg, const char *host, struct hr_addr *ret_addr);
    void *arg;
};

/* Everything but the generation. Brokers of the cluster come with HR_BROKER_ALIVE where an address is known;
 * departed and fenced ones without; while the cluster is unknown, brokers come from the inherited snapshot,
 * or else the bootstrap addresses with node ids -1, -2, ... as Kafka's clients number them. Returns how many
 * names are being resolved just now. */
uint32_t hr_policy_build(const struct hr_policy_inputs *inputs, struct hr_policy *ret_policy);

/* What differs between two snapshots, in words for the log ("brokers 3 -> 4"); generations apart. False when
 * nothing does. */
bool hr_policy_changes(const struct hr_policy *from, const struct hr_policy *to, char *text, uint32_t cap);
