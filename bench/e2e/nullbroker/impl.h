/* hr-nullbroker: a Kafka broker that stores nothing, as fast as kernel sockets allow, so that a bench measures
 * what stands in front of it.
 *
 *   main.c     command line, sockets, the epoll loop, connections
 *   hot.c      Produce and Fetch, by hand on the request's bytes
 *   others.c   everything else, as JSON by the schema table (shared/kafka): metadata, offsets, groups
 *   batch.c    the one record batch that every fetch is made of
 *
 * Every topic exists as soon as somebody names it, with the same number of partitions. What is produced is
 * counted and forgotten. What is fetched is an endless log of one batch over and over, with correct offsets and
 * checksums. A group has one member, whoever asks.
 *
 * One node, several listeners: each has the address that it listens on and the one that it advertises, since a
 * relay that rewrites nothing needs a broker that names the relay. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/e2e/nullbroker/batch.h"
#include "bench/e2e/nullbroker/outq.h"
#include "bench/e2e/nullbroker/reader.h"
#include "shared/base/error.h"

#define NB_MAX_LISTENERS 32
#define NB_MAX_TOPICS 64
#define NB_MAX_PARTITIONS 256
#define NB_NAME_MAX 250
#define NB_FRAME_MAX (64u << 20)
/* Where the endless log ends, in batches. */
#define NB_LOG_BATCHES (1ll << 40)

struct nb_listener {
    int fd;
    char host[64]; /* advertised */
    int32_t port;
};

struct nb_topic {
    char name[NB_NAME_MAX];
    uint32_t name_len;
    int64_t next_offset[NB_MAX_PARTITIONS]; /* of what is produced */
};

struct nb_conn {
    int fd;
    const struct nb_listener *listener;
    uint8_t *in;
    uint32_t in_cap, in_used;
    uint32_t skip;         /* bytes of a Produce request that nobody looks at */
    uint64_t hold_until_us; /* an empty Fetch waits */
    bool writable_wanted;
    bool stalled; /* requests wait for answers to leave */
    struct nb_conn *next; /* of those that wait */
    struct nb_outq out;
};

struct nb_broker {
    int32_t node_id;
    int32_t partitions;
    uint32_t fetch_bytes_max;
    const char *rack;
    struct nb_batch batch;
    struct nb_topic topics[NB_MAX_TOPICS];
    uint32_t n_topics;
    int64_t next_producer_id;
    uint64_t next_member;
    struct nb_listener listeners[NB_MAX_LISTENERS];
    uint32_t n_listeners;
    /* Told at the end. */
    uint64_t requests, produced_bytes, fetched_bytes, refused;
};

struct nb_request {
    int16_t api_key, version;
    int32_t correlation_id;
    bool flexible;
    struct nb_reader body;
};

enum { NB_PRODUCE = 0, NB_FETCH = 1 };

/* The versions that this broker speaks of an API: false when it does not know it. */
bool nb_versions(int16_t api_key, int16_t *ret_min, int16_t *ret_max);

/* The topic of that name, made when it is new; NULL when there are too many. */
struct nb_topic *nb_topic_get(struct nb_broker *broker, const uint8_t *name, uint32_t len);

/* Each answers one request into conn->out. False: the connection is to be closed. */
bool nb_produce(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req);
bool nb_fetch(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req, uint64_t now_us);
bool nb_other(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req);

/* A Produce request of one batch whose end has not been read yet: answers it from its beginning. False: it is of
 * another shape and must be read whole. */
bool nb_produce_early(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req);
