/* What the cluster said about itself: brokers, topics, leaders, replicas.
 *
 * Built from one Metadata response (and DescribeCluster's, where the broker has it) in the JSON form that the
 * codec gives. What comes from a broker is not trusted: every id, port and string is checked, and what cannot
 * be right is left out and counted, so that one odd entry does not hide the rest. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/ipc/policy.h"

struct hr_cluster_broker {
    int32_t id;
    uint16_t port;
    bool fenced; /* DescribeCluster 2 and later: known to the controller, not serving */
    char host[HR_POLICY_HOST_MAX];
    char rack[HR_ZONE_NAME_MAX]; /* "" if none */
};

struct hr_cluster_partition {
    int32_t index;
    int32_t leader; /* -1: none */
    int32_t leader_epoch;
    int16_t error;
    uint16_t n_replicas, n_isr, n_offline;
    const int32_t *replicas, *isr, *offline; /* in the cluster's arena */
};

struct hr_cluster_topic {
    const char *name; /* in the cluster's arena; "" when the broker gave none */
    char id[37];      /* canonical UUID, "" before Metadata 10 */
    int16_t error;
    bool internal;
    uint32_t n_partitions;
    const struct hr_cluster_partition *partitions;
};

struct hr_cluster {
    char id[HR_CLUSTER_ID_MAX];
    int32_t controller_id; /* -1: unknown */
    uint32_t n_brokers;    /* sorted by id, each once */
    struct hr_cluster_broker *brokers;
    uint32_t n_topics; /* as the broker ordered them */
    struct hr_cluster_topic *topics;
    uint32_t n_partitions; /* over all topics */
    uint32_t n_rejected;   /* entries left out because they could not be right */
    char rejected[128];    /* the first of them, for the log */
    struct hr_cluster_arena *arena;
};

/* From the body of a MetadataResponse. INVALID: a field is missing or not one usable broker is named, with
 * why filled; NOMEM. */
HR_MUST_CHECK int hr_cluster_parse(const json_t *metadata, struct hr_cluster **ret_cluster, char why[128]);
/* Adds what the body of a DescribeClusterResponse knows better: fenced brokers, cluster id, racks. An error
 * code in it changes nothing. */
HR_MUST_CHECK int hr_cluster_add_describe(struct hr_cluster *cluster, const json_t *describe);
void hr_cluster_free(struct hr_cluster *cluster);

/* NULL if none. */
const struct hr_cluster_broker *hr_cluster_find_broker(const struct hr_cluster *cluster, int32_t id);
/* Partitions that the broker leads. */
uint32_t hr_cluster_leads(const struct hr_cluster *cluster, int32_t id);
