/* A relay with its queues in memory: for unit tests, fuzz targets and the hr-relay-edit tool. The network is
 * played by pieces of random sizes that cannot be joined, so that frames are cut where they hurt. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "dataplane/kafka/relay.h"
#include "shared/ipc/zone_stats.h"
#include "shared/ipc/policy.h"
#include "shared/kafka/schema.h"

#define RF_MAX_RELAYS 12

/* A growing byte string. */
struct rf_bytes {
    uint8_t *p;
    uint32_t len, cap;
};
void rf_append(struct rf_bytes *b, const void *p, uint32_t len);
void rf_free(struct rf_bytes *b);

struct rf {
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_zone_stats zones;
    struct hr_policy *policy;
    struct hr_policy_listener *listener; /* the policy's first */
    struct hr_relay_ctx *ctx;
    struct hr_relay *relay;
    struct hr_pieceq client_in, broker_out, broker_in, client_out;
    struct rf_bytes to_broker, to_client; /* what has left, as bytes */
    struct hr_relay_result request, response; /* of the last calls */
    bool leader_hint; /* of any response since the last rf_reset() */
    uint32_t most_held; /* most bytes that stood in broker_in after a call */
    uint64_t seed;
    uint32_t room;   /* given to each call; default UINT32_MAX / 2 */
    uint32_t rx_free, hdr_free, chunk_free; /* pools when nothing is held */
};

/* Starts the EAL and creates pools, a policy (see rf_policy()) and a relay to node_id. Aborts on failure. */
void rf_init(struct rf *f, int32_t node_id, uint32_t hold_max);
void rf_fini(struct rf *f);
/* A new relay, empty queues, zero counters; the pools are kept. */
void rf_reset(struct rf *f, int32_t node_id);
/* Are all buffers, chunks and records back (after clearing the queues and closing the relay)? */
bool rf_balanced(struct rf *f);

uint32_t rf_random(struct rf *f, uint32_t below);

/* Appends bytes to a queue in pieces of 1..max_piece bytes. */
void rf_feed(struct rf *f, struct hr_pieceq *q, const void *p, uint32_t len, uint32_t max_piece);
/* Appends n zero bytes that cost one buffer, whatever n is. */
void rf_feed_zeros(struct rf *f, struct hr_pieceq *q, uint32_t n);

/* Calls one side once and moves what came out to to_broker or to_client. */
void rf_requests(struct rf *f);
void rf_responses(struct rf *f);

/* Plays bytes in from one side: fed in portions, the relay called after each. */
void rf_play_requests(struct rf *f, const void *p, uint32_t len);
void rf_play_responses(struct rf *f, const void *p, uint32_t len);

/* Appends a frame: size, header (with client id "test"), body encoded from JSON text by the codec. The text may
 * use ' for ". Aborts with the codec's words when it cannot be encoded. */
void rf_request(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id, const char *json);
void rf_response(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id, const char *json);

/* The smallest request frame that makes the relay expect a response of this version. */
void rf_bare_request(struct rf_bytes *b, int16_t key, int16_t version, int32_t correlation_id);
