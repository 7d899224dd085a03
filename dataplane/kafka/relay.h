/* The Kafka path of one session: two directions of frames, cut-through, with edits in place.
 *
 * A relay stands between the receive queue of one leg and the send queue of the other. Bytes move as pieces;
 * it reads what it must (sizes, headers, and the fields that carry nodes), rewrites what names a broker, and
 * decides how many bytes may move now. It knows nothing of TCP: the session gives it queues.
 *
 * Requests make an in-flight record each (responses carry no API key); records come back in order. Replies
 * that Headrace makes itself are queued as own records and wait their turn. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/buf/buf.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"

struct hr_policy;          /* shared/ipc/policy.h: the worker's private copy */
struct hr_policy_listener;
struct hr_replicas;        /* shared/ipc/replicas.h: the same */

struct hr_reauth;    /* reauth.h */
struct hr_zone_stats;      /* shared/ipc/zone_stats.h */

struct hr_relay;     /* one session's state */
struct hr_relay_ctx; /* one worker's pools and scratch */

struct hr_relay_config {
    unsigned worker_id;
    int socket_id;
    uint32_t max_relays;
    uint32_t max_readers;   /* consumers' connections whose fetches may go to a replica in their zone; 0: none */
    uint32_t hold_max;      /* bytes of a held frame; scratch is sized by it */
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_zone_stats *zones;
};

HR_MUST_CHECK int hr_relay_ctx_create(const struct hr_relay_config *cfg, struct hr_relay_ctx **ret_ctx);
void hr_relay_ctx_destroy(struct hr_relay_ctx *ctx);

/* node_id: the broker this session talks to, -1 on the bootstrap listener. listener and policy are borrowed
 * for each call, because a new policy may be adopted between calls. NOMEM when max_relays are open. */
HR_MUST_CHECK int hr_relay_open(struct hr_relay_ctx *ctx, int32_t node_id, struct hr_relay **ret_relay);
void hr_relay_close(struct hr_relay_ctx *ctx, struct hr_relay *relay);

/* Between which zones the bytes of the next calls move; numbers of the policy's. */
void hr_relay_between(struct hr_relay_ctx *ctx, uint8_t client, uint8_t broker);
/* As the client says it, with everything odd escaped. */
const char *hr_relay_client_id(const struct hr_relay *relay);

/* What one call did and what it needs next. */
struct hr_relay_result {
    enum hr_drop verdict;   /* HR_DROP_MAX: go on; else close the session for this reason */
    uint32_t taken;         /* bytes that left the input queue (moved, replaced or dropped) */
    uint32_t want;          /* bytes that must be able to arrive beyond what is queued (held frame), else 0 */
    bool blocked;           /* stopped for lack of output room, in-flight records, memory or a turn: call again later */
    bool again;             /* and that is memory, which others give back: no event will tell when */
    bool own_reply;         /* requests only: a reply of our own is ready, call the responses side */
    bool leader_hint;       /* responses only: a broker answered NOT_LEADER: refresh metadata */
    bool switched;          /* the next call is for another leg: hr_relay_request_branch(), ..._response_branch() */
    bool ask_reader;        /* requests only: hr_relay_make_reader() is to be called, then this again */
};

/* Client to broker: consumes from in (the client leg's receive queue), appends to out, at most room bytes
 * (more only to finish a small edit). reauth: logins in mid-session, NULL where nobody logs in. */
void hr_relay_requests(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *reauth,
                       const struct hr_policy *policy, const struct hr_policy_listener *listener,
                       struct hr_pieceq *in, struct hr_pieceq *out, uint32_t room, struct hr_relay_result *ret);

/* Broker to client: consumes from in (the broker leg's receive queue), appends to out. Call it with an empty
 * in too: own replies may be due. */
void hr_relay_responses(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *reauth,
                        const struct hr_policy *policy, const struct hr_policy_listener *listener,
                        struct hr_pieceq *in, struct hr_pieceq *out, uint32_t room, struct hr_relay_result *ret);

/* ---- the second leg (reader.h) ------------------------------------------------------------------------
 *
 * A session has one broker leg, and may have a branch: a leg to a follower in the client's zone that answers some of
 * its fetches. `out` of a call is of the leg that hr_relay_request_branch() tells, `in` of the one that
 * hr_relay_response_branch() tells; both change only in calls that say so (`switched`). */

/* Once a turn, and when either is adopted. */
void hr_relay_set_now(struct hr_relay_ctx *ctx, uint64_t now_us);
void hr_relay_adopt(struct hr_relay_ctx *ctx, const struct hr_policy *policy, const struct hr_replicas *map);

/* The answer to ask_reader: from now on, fetches may go to replicas in that zone, which is not home's (the broker's of
 * this session). Counted where they may not after all. */
void hr_relay_make_reader(struct hr_relay_ctx *ctx, struct hr_relay *relay, int32_t home, uint8_t zone);
/* Or: they stay. Asked again after hr_relay_ask_again(). login: they would not, but brokers want a login. */
void hr_relay_no_reader(struct hr_relay_ctx *ctx, struct hr_relay *relay, bool login);
void hr_relay_ask_again(struct hr_relay *relay);

bool hr_relay_request_branch(const struct hr_relay *relay);
bool hr_relay_response_branch(const struct hr_relay *relay);
/* The node that the request which waits wants the branch to be with. */
int32_t hr_relay_branch_node(const struct hr_relay_ctx *ctx, const struct hr_relay *relay);
/* It cannot be: the request that waits, if one does, goes to the broker of the session, and so do those of the next
 * bypass_us microseconds. */
void hr_relay_go_home(struct hr_relay_ctx *ctx, struct hr_relay *relay, uint64_t bypass_us);
/* Requests on the branch without an answer. */
uint32_t hr_relay_branch_out(const struct hr_relay_ctx *ctx, const struct hr_relay *relay);
/* The oldest of them should have been answered by now, and nothing of its answer has passed. */
bool hr_relay_branch_late(const struct hr_relay_ctx *ctx, const struct hr_relay *relay);
/* Moves copies of them to out, to ask another broker; UNSUPPORTED where a part of an answer has passed or of a request
 * is still to come, or they have been moved before: the session cannot go on. NOMEM: nothing has moved. */
HR_MUST_CHECK int hr_relay_branch_again(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_pieceq *out);

/* For drain and for the end of a leg. */
struct hr_relay_state {
    uint32_t in_flight;       /* requests without their response */
    bool request_mid_frame;   /* a request frame was forwarded in part */
    bool response_mid_frame;  /* a response frame was forwarded in part */
    uint64_t requests, responses;
    int16_t last_api_key;     /* of the newest request, -1 if none */
    int16_t last_api_version; /* and its version */
    char client_id[48];       /* as the last request named it, cut and escaped; "" if none */
};
/* A frame of this direction was forwarded in part. */
bool hr_relay_mid_frame(const struct hr_relay *relay, bool request);
/* Requests seen so far. */
uint64_t hr_relay_count(const struct hr_relay *relay);
void hr_relay_get_state(const struct hr_relay *relay, struct hr_relay_state *ret_state);
