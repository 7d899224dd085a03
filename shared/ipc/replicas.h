/* The replica map: which broker leads a partition, and which others are in sync with it, for workers that look for a
 * replica in a client's zone.
 *
 * The control plane builds one from the cluster's metadata in the shared region and publishes it by generation, apart
 * from the policy because it is larger and changes with every election; the dataplane's main thread copies it out,
 * checks it (hr_replicas_validate), and hands the private copy to the workers. It has a fixed size and holds numbers
 * alone, no pointers.
 *
 * A topic is found by the hash of its name or of its id, whichever a request has, in one table with open addressing;
 * both lead to the same partitions. Brokers stand in a table of their own, whose numbers partitions use. What does not
 * fit is left out: its reads stay with the leaders. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_REPLICAS_MAGIC          0x48525231u /* "HRR1" */
#define HR_REPLICAS_MAX_BROKERS    512
#define HR_REPLICAS_MAX_TOPICS     8192
#define HR_REPLICAS_MAX_PARTITIONS 65536
#define HR_REPLICAS_PLACES         32768 /* of the table of topics: two for each at most, and as many free */
#define HR_REPLICAS_ISR_MAX        5     /* followers in sync that are told of each partition */
#define HR_REPLICAS_NO_BROKER      UINT16_MAX

/* Whether a topic's reads go to replicas in the client's zone. X(name, as the configuration says it) */
#define HR_ZONE_READS(X)                                                                                     \
    X(OFF, "off")   /* never */                                                                              \
    X(AUTO, "auto") /* while its bytes are worth it */                                                       \
    X(ON, "on")     /* always */

enum hr_zone_reads {
    HR_ZONE_READS_NONE = 0, /* of a topic: as its listener says */
#define X(name, text) HR_ZONE_READS_##name,
    HR_ZONE_READS(X)
#undef X
    HR_ZONE_READS_MAX
};

struct hr_replicas_broker {
    int32_t node_id;
    int16_t fetch_max; /* the highest version of Fetch that it answers; -1: not known */
    uint8_t up;        /* it answers */
    uint8_t reserved;
};

struct hr_replicas_partition {
    uint16_t leader; /* a broker's number, or HR_REPLICAS_NO_BROKER */
    uint16_t isr[HR_REPLICAS_ISR_MAX]; /* others in sync, then HR_REPLICAS_NO_BROKER */
};

struct hr_replicas_topic {
    uint32_t first, n; /* in partitions, by partition index */
    uint8_t reads;     /* enum hr_zone_reads */
    uint8_t reserved[3];
};

struct hr_replicas_place {
    uint64_t key;
    uint32_t topic; /* number + 1, 0: free */
    uint32_t reserved;
};

struct hr_replicas {
    uint32_t magic;
    uint32_t size; /* sizeof(struct hr_replicas) */
    uint64_t generation;
    uint32_t n_brokers, n_topics, n_partitions;
    uint32_t n_left_out; /* partitions for which there was no room */
    struct hr_replicas_broker brokers[HR_REPLICAS_MAX_BROKERS];
    struct hr_replicas_topic topics[HR_REPLICAS_MAX_TOPICS];
    struct hr_replicas_place places[HR_REPLICAS_PLACES];
    struct hr_replicas_partition partitions[HR_REPLICAS_MAX_PARTITIONS];
};

/* Checks magic, size, counts and every number. INVALID with *ret_why set to a static text. */
HR_MUST_CHECK int hr_replicas_validate(const struct hr_replicas *map, const char **ret_why);

/* What a topic is found by: its name as requests spell it, or the 16 bytes of its id. */
uint64_t hr_replicas_key_of_name(const void *name, uint32_t len);
uint64_t hr_replicas_key_of_id(const uint8_t id[16]);

/* NULL if none. */
const struct hr_replicas_topic *hr_replicas_topic(const struct hr_replicas *map, uint64_t key);
const struct hr_replicas_partition *hr_replicas_partition(const struct hr_replicas *map,
                                                          const struct hr_replicas_topic *topic, int32_t partition);

/* Building: an empty map, then brokers, then topics. */
void hr_replicas_init(struct hr_replicas *map);
/* Its number. HR_REPLICAS_NO_BROKER: no room. */
uint16_t hr_replicas_add_broker(struct hr_replicas *map, int32_t node_id);
/* A topic of n partitions, all without a leader as yet, for the caller to fill in; id NULL: it has none. NULL, and the
 * partitions are counted: no room, or a topic with such a key is there. */
struct hr_replicas_partition *hr_replicas_add_topic(struct hr_replicas *map, const char *name, const uint8_t *id,
                                                    uint32_t n, enum hr_zone_reads reads);
