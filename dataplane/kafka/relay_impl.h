/* Private to dataplane/kafka: the state of a relay, and what one call carries along. */
#pragma once

#include "dataplane/kafka/edit.h"
#include "dataplane/kafka/framewalk.h"
#include "dataplane/kafka/inflight.h"
#include "dataplane/kafka/plan.h"
#include "dataplane/kafka/reader.h"
#include "dataplane/kafka/reauth.h"
#include "dataplane/kafka/relay.h"
#include "dataplane/kafka/topics.h"
#include "shared/ipc/policy.h"

/* A request's header (client id, tagged fields) and a Produce's fields in front of acks must fit this, because
 * nothing of a frame leaves before they have been read. Both ids are at most 32,767 bytes on the wire of
 * older versions. */
#define HR_REQUEST_PEEK_MAX (72u * 1024)

/* Request side. */
#define HR_REQUEST_STATES(X)                                                                                 \
    X(START, "at a frame boundary, or waiting for as much of a frame as has to be read before it may go")    \
    X(STREAM, "forwarding the rest of the frame")                                                            \
    X(ROUTED, "a whole frame waits for the leg that has been chosen for it")                                 \
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
    X(WALK, "walking to the tail (or to the end), forwarding what was walked")                               \
    X(TAIL, "waiting for the whole tail")

enum hr_response_state {
#define X(name, text) HR_RS_##name,
    HR_RESPONSE_STATES(X)
#undef X
    HR_RS_MAX
};

/* The place in a response that is walked while it passes: PREFIX, WALK and TAIL hold one, from a pool. Requests
 * need none: what has to be read of them waits in the queue until all of it is there. */
struct hr_relay_walker {
    uint32_t next_free; /* number, 0: none */
    const struct hr_plan *plan;
    uint32_t prefix_end; /* PREFIX: where the brokers end, 0 = not found yet */
    struct hr_kwalk walk;
};

/* Bytes that are done with at the front of an input have passed: they are moved in one go when the call ends, or
 * before something is put behind them. All that is said here of what is left in a frame counts from behind them. */
struct hr_relay {
    union {
        struct hr_relay *next_free;
        struct {
            uint32_t walker; /* number, 0: none held */
            uint32_t reader; /* the same: of a consumer whose fetches may go to another leg */
        };
    };
    struct hr_inflight_queue in_flight;
    uint32_t rq_passed, rs_passed; /* not 0 between calls only when there was no memory to move them */
    uint32_t rq_left; /* STREAM, DISCARD: of the frame; START: bytes that must be there before another look is
                         worth it */
    uint32_t rs_left; /* STREAM, WHOLE: of the frame */
    uint64_t requests : 48;
    int64_t last_api_key : 16;
    uint64_t responses : 48;
    int64_t last_version : 16;
    uint8_t rq_state; /* enum hr_request_state */
    uint8_t rs_state; /* enum hr_response_state */
    bool bootstrap : 1; /* of the bootstrap listener: any broker may stand behind it */
    bool rq_branch : 1; /* `out` of the next call is the branch's */
    bool rs_branch : 1; /* so is its `in` */
    bool no_reader : 1; /* the owner has been asked, and said that fetches stay here */
    bool sasl : 1;      /* the client has logged in through us */
    char client_id[37];
};
_Static_assert(sizeof(struct hr_relay) <= 96, "there is one for every session, idle or not");

struct hr_relay_ctx {
    struct hr_buf_ctx *bufs;
    struct hr_stats *stats;
    struct hr_plans *plans;
    struct hr_inflight_pool inflight;
    struct hr_relay *relays;
    struct hr_relay *free;
    struct hr_relay_walker *walkers; /* numbers begin with 1 */
    uint32_t free_walker;
    struct hr_readers readers;
    uint64_t now_us;
    struct hr_kwalk scratch_walk; /* within one call */
    uint32_t hold_max;
    uint8_t *in_scratch;   /* hold_max bytes */
    uint8_t *out_scratch;  /* out_cap bytes */
    uint8_t *tail_scratch; /* hold_max bytes */
    uint32_t out_cap;
    struct hr_edit edit;
    struct hr_zone_stats *zones;
    uint8_t client_zone, broker_zone; /* of the calls now */
    uint64_t *cells[HR_ZONE_DIRS];    /* their bytes by class */
    struct hr_topics topics[HR_ZONE_DIRS];
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
    struct hr_reauth *reauth;   /* NULL: nobody has logged in */
    uint32_t *passed;           /* the relay's, of this direction */
    struct hr_frame_cursor at;  /* the input's first byte that has not passed */
    uint32_t avail;             /* bytes from there on */
    uint32_t counted;           /* of those that have passed or left: counted in a cell */
};

static inline void hr_relay_begin(struct hr_relay_call *c)
{
    *c->ret = (struct hr_relay_result){.verdict = HR_DROP_MAX};
    c->avail = c->in->bytes - *c->passed;
    c->counted = *c->passed;
    c->room -= *c->passed < c->room ? *c->passed : c->room;
    hr_frame_cursor_at(&c->at, c->in, *c->passed);
}

/* The next n bytes pass; who has not come there by walking moves the cursor too. n <= avail. */
static inline void hr_relay_pass(struct hr_relay_call *c, uint32_t n)
{
    *c->passed += n;
    c->avail -= n;
    c->room -= n < c->room ? n : c->room;
}

/* What has passed or left since the last time belongs to the frame of this API. */
static inline void hr_relay_count_bytes(struct hr_relay_call *c, uint64_t *cells, int32_t api_key)
{
    uint32_t n = c->ret->taken + *c->passed - c->counted;

    c->counted += n;
    cells[hr_zone_class_of(api_key)] += n;
}

/* For the two sides: each returns true to go on with the next step, false when this call is over. */

/* Ends the call with a verdict. */
static inline bool hr_relay_close_for(struct hr_relay_call *c, enum hr_drop verdict)
{
    c->ret->verdict = verdict;
    return false;
}

/* Ends the call: there is work, but no room or record. Whatever makes some is an event of this session. */
static inline bool hr_relay_block(struct hr_relay_call *c)
{
    c->ret->blocked = true;
    return false;
}

/* Ends the call: there is work, but a pool that all sessions share is empty. */
static inline bool hr_relay_starve(struct hr_relay_call *c)
{
    c->ret->again = true;
    return hr_relay_block(c);
}

/* Moves what has passed; false (starved) when there is no memory for it. */
static inline bool hr_relay_flush(struct hr_relay_call *c)
{
    uint32_t n = *c->passed;

    if (n == 0)
        return true;
    if (hr_pieceq_move(c->ctx->bufs, c->out, c->in, n) != 0)
        return hr_relay_starve(c);
    c->ret->taken += n;
    *c->passed = 0;
    return true;
}

/* Passes up to *left bytes; false when the call is over, *left says what remains. */
static inline bool hr_relay_stream(struct hr_relay_call *c, uint32_t *left)
{
    uint32_t n = *left < c->avail ? *left : c->avail;

    if (n > c->room)
        n = c->room;
    hr_relay_pass(c, n);
    c->at.off += n;
    *left -= n;
    if (*left == 0)
        return true;
    return c->avail > 0 ? hr_relay_block(c) : false;
}

/* The n bytes at at, just passed, are of a frame that may be looked at for its topics. */
static inline void hr_relay_topics(struct hr_relay_call *c, enum hr_zone_dir dir, struct hr_frame_cursor at, uint32_t n)
{
    if (c->ctx->topics[dir].of == c->relay && n > 0)
        hr_topics_pass(&c->ctx->topics[dir], c->ctx->zones, at, n);
}

/* A frame of this plan begins, or one has ended. */
static inline void hr_relay_topics_begin(struct hr_relay_call *c, enum hr_zone_dir dir, const struct hr_plan *plan,
                                         uint32_t total)
{
    struct hr_topics *t = &c->ctx->topics[dir];

    if (hr_topics_due(t, total))
        hr_topics_begin(t, c->relay, plan->topics_walk, total, c->ctx->client_zone, c->ctx->broker_zone);
}

static inline void hr_relay_topics_end(struct hr_relay_call *c, enum hr_zone_dir dir)
{
    if (c->ctx->topics[dir].of == c->relay)
        hr_topics_end(&c->ctx->topics[dir], c->ctx->zones, true);
}

/* Drops the next n bytes, which are there. */
bool hr_relay_drop(struct hr_relay_call *c, uint32_t n);
/* Replaces the next n bytes by len new ones in out. False (starved): they are still there. */
bool hr_relay_replace(struct hr_relay_call *c, uint32_t n, const uint8_t *data, uint32_t len);
/* The most that a held frame may take. */
uint32_t hr_relay_hold_max(const struct hr_relay_call *c);

/* Bytes [off, off + n) behind the cursor, all of which are there: where they stand, or copied to buf. */
static inline const uint8_t *hr_relay_look(struct hr_relay_call *c, uint32_t off, uint32_t n, uint8_t *buf)
{
    uint32_t run;
    const uint8_t *p = hr_frame_cursor_bytes(&c->at, &run);

    if (run >= off + n)
        return p + off;
    hr_pieceq_peek(c->in, *c->passed + off, buf, n);
    return buf;
}

static inline struct hr_relay_walker *hr_relay_walker(const struct hr_relay_ctx *ctx, const struct hr_relay *relay)
{
    return &ctx->walkers[relay->walker - 1];
}

/* A walker for the response under way; false: none is free. */
static inline bool hr_relay_walker_get(struct hr_relay_ctx *ctx, struct hr_relay *relay, const struct hr_plan *plan)
{
    if (ctx->free_walker == 0)
        return false;
    relay->walker = ctx->free_walker;
    struct hr_relay_walker *w = hr_relay_walker(ctx, relay);
    ctx->free_walker = w->next_free;
    w->plan = plan;
    w->prefix_end = 0;
    return true;
}

static inline void hr_relay_walker_put(struct hr_relay_ctx *ctx, struct hr_relay *relay)
{
    if (relay->walker == 0)
        return;
    struct hr_relay_walker *w = hr_relay_walker(ctx, relay);
    w->next_free = ctx->free_walker;
    ctx->free_walker = relay->walker;
    relay->walker = 0;
}

static inline struct hr_reader *hr_relay_reader(const struct hr_relay_ctx *ctx, const struct hr_relay *relay)
{
    return hr_reader_at(&ctx->readers, relay->reader);
}

/* The call is over: the frame under way belongs to another leg. False (blocked): there was no memory to move what
 * comes before it. */
static inline bool hr_relay_switch(struct hr_relay_call *c)
{
    if (!hr_relay_flush(c))
        return false;
    c->ret->switched = true;
    return true;
}

/* Frames of Headrace's own; each returns its length. version: of the request. buf has HR_OWN_REPLY_MAX bytes. */
#define HR_OWN_REPLY_MAX 64
uint32_t hr_own_reply(const struct hr_inflight *record, int16_t version, uint8_t *buf);

/* reauth.c. May the next request be looked at? False: the call is over. */
bool hr_reauth_before_request(struct hr_relay_call *c);
/* May a request of this API go on? False: the call is over. */
bool hr_reauth_may_pass(struct hr_relay_call *c, int16_t api_key);
/* Is it a frame that goes up? hr_reauth_take_frame() then, which ends the call. */
bool hr_reauth_takes(const struct hr_reauth *reauth, int16_t api_key);
bool hr_reauth_take_frame(struct hr_relay_call *c, uint32_t total, int32_t correlation_id);
/* The turn of a record of LOGIN or OWN. */
bool hr_reauth_turn(struct hr_relay_call *c, const struct hr_inflight *record);
