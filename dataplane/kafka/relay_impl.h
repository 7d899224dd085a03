/* Private to dataplane/kafka: the state of a relay, and what one call carries along. */
#pragma once

#include "dataplane/kafka/edit.h"
#include "dataplane/kafka/framewalk.h"
#include "dataplane/kafka/inflight.h"
#include "dataplane/kafka/plan.h"
#include "dataplane/kafka/relay.h"
#include "shared/ipc/policy.h"

/* A request's header (client id, tagged fields) and a Produce's fields in front of acks must fit this, because
 * nothing of a frame leaves before they have been read. Both ids are at most 32,767 bytes on the wire of
 * older versions. */
#define HR_REQUEST_PEEK_MAX (72u * 1024)

/* Request side. */
#define HR_REQUEST_STATES(X)                                                                                 \
    X(START, "at a frame boundary, or waiting for as much of a frame as has to be read before it may go")    \
    X(STREAM, "forwarding the rest of the frame")                                                            \
    X(DISCARD, "dropping the rest of a frame that is answered here")

enum hr_request_state {
#define X(name, text) HR_RQ_##name,
    HR_REQUEST_STATES(X)
#undef X
    HR_RQ_MAX
};

/* Response side. */
#define HR_RESPONSE_STATES(X)                                                                                \
    X(START, "at a frame boundary, or in front of the first 8 bytes")                                        \
    X(STREAM, "forwarding the rest of the frame")                                                            \
    X(WHOLE, "waiting for a whole frame that is rewritten")                                                  \
    X(PREFIX, "walking to the end of the brokers, forwarding nothing")                                       \
    X(WALK, "walking to the tail (or to the end), forwarding what was walked")                                               \
    X(TAIL, "waiting for the whole tail")

enum hr_response_state {
#define X(name, text) HR_RS_##name,
    HR_RESPONSE_STATES(X)
#undef X
    HR_RS_MAX
};

struct hr_relay_request {
    uint8_t state;   /* enum hr_request_state */
    int16_t version; /* of the newest request */
    uint32_t total;  /* of the frame, size included */
    uint32_t left;   /* STREAM, DISCARD: bytes that are still to leave the input; START: so many must be queued
                        before it is worth another look */
};

struct hr_relay_response {
    uint8_t state;   /* enum hr_response_state */
    int16_t version; /* of the body: ApiVersions may fall back to 0 */
    uint32_t total;
    uint32_t left;   /* STREAM: bytes that are still to leave the input */
    uint32_t sent;   /* WALK, TAIL: frame offset of the input's first byte; PREFIX: where the prefix ends, 0 =
                        not found yet */
};

/* The place in a response that is walked while it passes: PREFIX, WALK and TAIL hold one, from a pool. Requests
 * need none: what has to be read of them waits in the queue until all of it is there. */
struct hr_relay_walker {
    struct hr_relay_walker *next_free;
    const struct hr_plan *plan;
    struct hr_framewalk walk;
};

struct hr_relay {
    union {
        struct hr_relay *next_free;
        struct hr_relay_walker *walker; /* NULL: none held */
    };
    int32_t node_id;
    int16_t last_api_key;
    struct hr_inflight_queue in_flight;
    struct hr_relay_request rq;
    struct hr_relay_response rs;
    uint64_t requests, responses;
    char client_id[40];
};
_Static_assert(sizeof(struct hr_relay) <= 128, "two cache lines: there is one for every session, idle or not");

struct hr_relay_ctx {
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_plans *plans;
    struct hr_inflight_pool inflight;
    struct hr_relay *relays;
    struct hr_relay *free;
    struct hr_relay_walker *walkers, *free_walkers;
    struct hr_framewalk scratch_walk; /* within one call */
    uint32_t hold_max;
    uint8_t *in_scratch;   /* hold_max bytes */
    uint8_t *out_scratch;  /* out_cap bytes */
    uint8_t *tail_scratch; /* hold_max bytes */
    uint32_t out_cap;
    struct hr_edit edit;
};

/* One call of hr_relay_requests() or hr_relay_responses(). */
struct hr_relay_call {
    struct hr_relay_ctx *ctx;
    struct hr_relay *relay;
    const struct hr_policy *policy;
    const struct hr_policy_listener *listener;
    struct hr_pieceq *in, *out;
    uint32_t room; /* what is left of it */
    struct hr_relay_result *ret;
};

/* For the two sides: each returns true to go on with the next step, false when this call is over. */

/* Ends the call with a verdict. */
bool hr_relay_close_for(struct hr_relay_call *c, enum hr_drop verdict);
/* Ends the call: there is work, but no room, record or buffer. */
bool hr_relay_block(struct hr_relay_call *c);
/* Moves up to *left bytes from in to out; false when the call is over, *left says what remains. */
bool hr_relay_stream(struct hr_relay_call *c, uint32_t *left);
/* Replaces the first n bytes of in by len new ones in out. False (blocked): nothing has changed. */
bool hr_relay_replace(struct hr_relay_call *c, uint32_t n, const uint8_t *data, uint32_t len);
/* The most that a held frame may take. */
uint32_t hr_relay_hold_max(const struct hr_relay_call *c);

/* A walker for the response under way; false: none is free. */
bool hr_relay_walker_get(struct hr_relay_ctx *ctx, struct hr_relay *relay, const struct hr_plan *plan);
void hr_relay_walker_put(struct hr_relay_ctx *ctx, struct hr_relay *relay);

/* Frames of Headrace's own; each returns its length. buf has HR_OWN_REPLY_MAX bytes. */
#define HR_OWN_REPLY_MAX 64
uint32_t hr_own_reply(const struct hr_inflight *record, uint8_t *buf);
