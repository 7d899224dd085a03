/* What a worker counts by zone, in the region beside its counters. Its worker alone writes it; the control plane sums
 * the workers' and may see one number a little older than another.
 *
 * Bytes are those of frames as they arrived, so that all cells of one direction together are relay_bytes_up or
 * relay_bytes_down. What packets add to them (headers, acknowledgements, TLS, retransmissions) is in the links: all that
 * connections sent and received, by the peer's zone.
 *
 * Topics, clients and principals are too many to count each of: every so many bytes, who moves them is noted with the
 * bytes since the last time. Tables have a fixed size and keep those with most (Metwally et al., "space-saving", within
 * sets of eight): an entry that is pushed out leaves its bytes to its successor as `error`, so an entry is never too low
 * by more than sampling makes it, nor too high by more than `error`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/ipc/zones.h"

/* X(name, text): what a frame is for. */
#define HR_ZONE_CLASSES(X)                                                                                   \
    X(OTHER, "other")                                                                                        \
    X(PRODUCE, "produce")                                                                                    \
    X(FETCH, "fetch")                                                                                        \
    X(GROUP, "groups")                                                                                       \
    X(METADATA, "metadata")                                                                                  \
    X(OPAQUE, "opaque")

enum hr_zone_class {
#define X(name, text) HR_ZONE_##name,
    HR_ZONE_CLASSES(X)
#undef X
    HR_ZONE_CLASS_MAX
};
const char *hr_zone_class_name(enum hr_zone_class klass);
#define HR_ZONE_API_KEYS 128
extern const uint8_t hr_zone_classes[HR_ZONE_API_KEYS];
/* Of a Kafka API; any number. */
static inline enum hr_zone_class hr_zone_class_of(int32_t api_key)
{
    return (uint32_t)api_key < HR_ZONE_API_KEYS ? (enum hr_zone_class)hr_zone_classes[api_key] : HR_ZONE_OTHER;
}

enum hr_zone_dir { HR_ZONE_UP, HR_ZONE_DOWN, HR_ZONE_DIRS }; /* from the client, towards it */

/* Who is at the other end of a connection. X(name, text) */
#define HR_ZONE_PEERS(X) X(CONTROL, "control plane") X(CLIENT, "clients") X(BROKER, "brokers")
enum hr_zone_peer {
#define X(name, text) HR_ZONE_PEER_##name,
    HR_ZONE_PEERS(X)
#undef X
    HR_ZONE_PEER_MAX
};

/* Segments with their TCP headers; those of IP and Ethernet are as many as packets. */
struct hr_zone_link {
    uint64_t rx_packets, rx_bytes;
    uint64_t tx_packets, tx_bytes;       /* with those sent again */
    uint64_t again_packets, again_bytes; /* payload */
};

#define HR_ZONE_KEY_MAX    250 /* a topic's name has at most 249 bytes */
#define HR_ZONE_TOP_WAYS   8
#define HR_ZONE_TOPICS     512
#define HR_ZONE_CLIENTS    256
#define HR_ZONE_PRINCIPALS 256

/* Topics: up is what was produced, down what was fetched. */
struct hr_zone_top {
    uint32_t seq; /* odd while the rest changes owner; the reader looks again */
    uint8_t client, broker, dir;
    uint8_t is_id; /* key is a topic's id, 16 bytes */
    uint64_t bytes; /* 0: free */
    uint64_t error;
    uint16_t len;
    char key[HR_ZONE_KEY_MAX];
};

struct hr_zone_stats {
    uint64_t bytes[HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONE_DIRS][8]; /* client, broker, direction, class */
    /* Of these, what another broker answered than the one that the client asked: client, asked, answered. */
    uint64_t steered[HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONES_MAX][HR_ZONE_DIRS];
    struct hr_zone_link link[HR_ZONE_PEER_MAX][HR_ZONES_MAX][2]; /* peer, its zone, 1: IPv6 */
    uint64_t topics_seen[HR_ZONE_DIRS], clients_seen; /* bytes that the tables stand for */
    struct hr_zone_top topics[HR_ZONE_TOPICS];
    struct hr_zone_top clients[HR_ZONE_CLIENTS];
    struct hr_zone_top principals[HR_ZONE_PRINCIPALS];
};
_Static_assert(HR_ZONE_CLASS_MAX <= 8, "cells of one direction are a cache line");

/* What somebody moved; its name is cut at HR_ZONE_KEY_MAX. Adds to the table of n entries, a multiple of the ways. */
struct hr_zone_moved {
    const char *key;
    uint32_t len;
    uint8_t client, broker, dir;
    bool is_id;
    uint64_t bytes;
};
void hr_zone_top_add(struct hr_zone_top *table, uint32_t n, const struct hr_zone_moved *moved);
/* A copy of an entry, every field of it within its bounds; false: it is free, or changing just now. */
bool hr_zone_top_read(const struct hr_zone_top *entry, struct hr_zone_top *ret_copy);
