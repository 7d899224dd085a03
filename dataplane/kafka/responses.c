/* Broker to client. The oldest in-flight record says what a response is; from its plan follows whether it
 * passes, is held, or is walked to its tail. Replies of Headrace's own leave when their turn comes. */
#include <string.h>

#include "dataplane/kafka/relay_impl.h"
#include "dataplane/kafka/tail.h"
#include "shared/kafka/wire.h"

#define HEADER_FIXED                8 /* size and correlation id */
#define KERR_NOT_LEADER_OR_FOLLOWER 6
#define KERR_UNSUPPORTED_VERSION    35
#define WANT_STEP                   (64u * 1024) /* asked for at a time where a held prefix's end is not known yet */

/* How the response under way is read. */
static const struct hr_plan *plan_of(const struct hr_relay_call *c)
{
    return hr_plans_at(c->ctx->plans, c->relay->in_flight.head.plan);
}

/* The instance in the client's zone. */
static const struct hr_policy_peer *peer_of(const struct hr_relay_call *c)
{
    return hr_policy_peer_of(c->policy, c->listener, c->ctx->client_zone);
}

static bool finish(struct hr_relay_call *c)
{
    hr_relay_count_bytes(c, c->ctx->cells[HR_ZONE_DOWN], plan_of(c)->api_key);
    hr_relay_topics_end(c, HR_ZONE_DOWN);
    if (c->relay->rs_branch)
        hr_reader_answered(hr_relay_reader(c->ctx, c->relay), c->ctx->bufs, c->ctx->now_us);
    hr_inflight_pop(&c->ctx->inflight, &c->relay->in_flight);
    HR_COUNT(c->ctx->stats, kafka_responses);
    c->relay->responses++;
    c->relay->rs_state = HR_RS_START;
    return true;
}

static bool own_reply(struct hr_relay_call *c, const struct hr_inflight *record)
{
    uint8_t buf[HR_OWN_REPLY_MAX];

    if (c->room == 0)
        return hr_relay_block(c);
    if (!hr_relay_replace(c, 0, buf, hr_own_reply(record, plan_of(c)->version, buf)))
        return false;
    hr_inflight_pop(&c->ctx->inflight, &c->relay->in_flight);
    HR_COUNT(c->ctx->stats, kafka_own_replies);
    c->relay->responses++;
    return true;
}

/* The rest of the frame, left bytes, passes as it is. */
static bool start_stream(struct hr_relay_call *c, uint32_t left)
{
    c->relay->rs_left = left;
    c->relay->rs_state = HR_RS_STREAM;
    return true;
}

static bool start_walk(struct hr_relay_call *c, const struct hr_plan *plan, uint32_t total,
                       enum hr_response_state state)
{
    if (!hr_relay_walker_get(c->ctx, c->relay, plan))
        return plan->response_kind == HR_RESPONSE_WATCH && !c->relay->rs_branch ? start_stream(c, total)
                                                                                : hr_relay_starve(c);
    hr_kwalk_init(&hr_relay_walker(c->ctx, c->relay)->walk, plan->response_walk, 0, total);
    c->relay->rs_state = (uint8_t)state;
    return true;
}

static bool start_whole(struct hr_relay_call *c, const struct hr_plan *plan, uint32_t total)
{
    if (total > hr_relay_hold_max(c)) {
        if (!plan->optional)
            return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
        HR_COUNT(c->ctx->stats, kafka_edits_skipped);
        return start_stream(c, total);
    }
    c->relay->rs_left = total;
    c->relay->rs_state = HR_RS_WHOLE;
    return true;
}

/* Its first bytes are there. */
static bool start_frame(struct hr_relay_call *c, const struct hr_plan *plan, uint32_t total)
{
    switch ((enum hr_response_kind)plan->response_kind) {
    case HR_RESPONSE_WHOLE:
        return start_whole(c, plan, total);
    case HR_RESPONSE_PREFIX:
        return start_walk(c, plan, total, HR_RS_PREFIX);
    case HR_RESPONSE_WATCH:
    case HR_RESPONSE_TAIL:
        return start_walk(c, plan, total, HR_RS_WALK);
    case HR_RESPONSE_STREAM:
    case HR_RESPONSE_NONE:
    case HR_RESPONSE_MAX:
        break;
    }
    return start_stream(c, total);
}

static bool start(struct hr_relay_call *c)
{
    const struct hr_inflight *head = hr_inflight_head(&c->relay->in_flight);
    uint8_t buf[HEADER_FIXED];

    if (head && head->kind != HR_INFLIGHT_BROKER && head->kind < HR_INFLIGHT_LOGIN)
        return own_reply(c, head);
    bool branch = head && head->branch;
    if (branch != c->relay->rs_branch) {
        if (hr_relay_switch(c))
            c->relay->rs_branch = branch;
        return false;
    }
    if (head && head->kind != HR_INFLIGHT_BROKER)
        return hr_reauth_turn(c, head);
    if (c->avail == 0)
        return false;
    if (!head)
        return hr_relay_close_for(c, HR_DROP_kafka_correlation);
    if (c->avail < HEADER_FIXED) {
        c->ret->want = HEADER_FIXED - c->avail;
        return false;
    }
    if (c->room == 0)
        return hr_relay_block(c);
    const uint8_t *p = hr_relay_look(c, 0, HEADER_FIXED, buf);
    uint32_t size = hr_kget32(p);
    if (size < HEADER_FIXED - HR_KPROGRAM_FRAME_SIZE || size > INT32_MAX - HR_KPROGRAM_FRAME_SIZE)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    if ((int32_t)hr_kget32(p + 4) != head->correlation_id)
        return hr_relay_close_for(c, HR_DROP_kafka_correlation);
    const struct hr_plan *plan = plan_of(c);
    uint32_t total = size + HR_KPROGRAM_FRAME_SIZE;
    if (c->relay->reader && plan->api_key == HR_KAPI_FETCH)
        hr_relay_reader(c->ctx, c->relay)->rate_bytes += total;
    if (!start_frame(c, plan, total))
        return false;
    if (plan->api_key == HR_KAPI_FETCH)
        hr_relay_topics_begin(c, HR_ZONE_DOWN, plan, total);
    return true;
}

static bool stream(struct hr_relay_call *c)
{
    struct hr_frame_cursor at = c->at;
    uint32_t left = c->relay->rs_left;
    bool whole = hr_relay_stream(c, &c->relay->rs_left);

    hr_relay_topics(c, HR_ZONE_DOWN, at, left - c->relay->rs_left);
    return whole && finish(c);
}

static enum hr_drop drop_of(int err)
{
    return err == HR_E_TOO_LARGE ? HR_DROP_kafka_hold_max : HR_DROP_kafka_malformed_response;
}

/* What of a frame is rewritten: its first bytes, which in_scratch holds. */
struct rewrite {
    const struct hr_kmessage *message;
    int16_t version;
    enum hr_krole stop_after; /* the field behind which its body passes as it is; NONE: there is none */
    uint32_t total;           /* of the frame */
    uint32_t body_at, have;   /* where the body begins, and the bytes in in_scratch end */
};

/* Rewrites them, and puts the corrected size in front; what is left of the frame streams. */
static bool rewrite(struct hr_relay_call *c, const struct rewrite *rw)
{
    struct hr_relay_ctx *ctx = c->ctx;
    uint32_t used, n, body_at = rw->body_at;

    hr_edit_init(&ctx->edit, c->listener, peer_of(c), plan_of(c)->api_key);
    int err = hr_edit_response(&ctx->edit, rw->message, rw->version, rw->stop_after, ctx->in_scratch + body_at,
                               rw->have - body_at, ctx->out_scratch + body_at, ctx->out_cap - body_at, &used, &n);
    if (err != 0)
        return hr_relay_close_for(c, drop_of(err));
    uint32_t taken = body_at + used, made = body_at + n;
    memcpy(ctx->out_scratch, ctx->in_scratch, body_at);
    hr_kput32(ctx->out_scratch, rw->total - taken + made - HR_KPROGRAM_FRAME_SIZE);
    if (made == taken && memcmp(ctx->in_scratch, ctx->out_scratch, made) == 0)
        return start_stream(c, rw->total);
    if (!hr_relay_replace(c, taken, ctx->out_scratch, made))
        return false;
    HR_COUNT(ctx->stats, kafka_edits_held);
    HR_COUNT_N(ctx->stats, kafka_nodes_hidden, ctx->edit.nodes_hidden);
    return start_stream(c, rw->total - taken);
}

static bool whole(struct hr_relay_call *c)
{
    struct hr_relay_ctx *ctx = c->ctx;
    const struct hr_plan *plan = plan_of(c);
    struct rewrite rw = {.message = plan->response, .version = plan->version, .total = c->relay->rs_left};
    uint32_t used;

    if (c->avail < rw.total) {
        c->ret->want = rw.total - c->avail;
        return false;
    }
    hr_pieceq_peek(c->in, *c->passed, ctx->in_scratch, rw.total);
    hr_kwalk_init(&ctx->scratch_walk, plan->response_walk, 0, rw.total);
    if (hr_kwalk_next(&ctx->scratch_walk, ctx->in_scratch, rw.total, &used) != HR_KWALK_DONE)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    rw.body_at = used;
    rw.have = rw.total;
    /* KIP-511: a broker that does not know the version answers in version 0. */
    if (plan->api_key == HR_KAPI_API_VERSIONS && rw.total >= rw.body_at + 2 &&
        hr_kget16(ctx->in_scratch + rw.body_at) == KERR_UNSUPPORTED_VERSION) {
        rw.version = 0;
        rw.message = hr_kresponse_find(HR_KAPI_API_VERSIONS, 0);
    }
    return rewrite(c, &rw);
}

/* Walks to the end of the brokers; the walk keeps its place, and nothing passes. False: they have not ended. */
static bool find_prefix(struct hr_relay_call *c)
{
    struct hr_kwalk *w = &hr_relay_walker(c->ctx, c->relay)->walk;
    uint32_t hold = hr_relay_hold_max(c);
    uint32_t most = c->avail < hold ? c->avail : hold;
    uint32_t left = most > w->pos ? most - w->pos : 0;
    struct hr_frame_cursor at = c->at;

    at.off += w->pos;
    enum hr_kwalk_event ev = hr_framewalk_next(w, &at, &left);
    while (ev == HR_KWALK_ARRAY)
        ev = hr_framewalk_next(w, &at, &left);
    if (ev == HR_KWALK_ARRAY_END) {
        hr_relay_walker(c->ctx, c->relay)->prefix_end = w->pos;
        return true;
    }
    if (ev != HR_KWALK_MORE)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    if (w->pos >= hold)
        return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
    most = (w->end < hold ? w->end : hold) - c->avail;
    c->ret->want = most < WANT_STEP ? most : WANT_STEP;
    return false;
}

static bool prefix(struct hr_relay_call *c)
{
    const struct hr_relay_walker *w = hr_relay_walker(c->ctx, c->relay);

    /* When there was no buffer for the new prefix last time, its end has been found already. */
    if (w->prefix_end == 0 && !find_prefix(c))
        return false;
    hr_pieceq_peek(c->in, *c->passed, c->ctx->in_scratch, w->prefix_end);
    struct rewrite rw = {
        .message = w->plan->response,
        .version = w->plan->version,
        .stop_after = HR_KR_BROKERS,
        .total = w->walk.end,
        .body_at = w->walk.body_at,
        .have = w->prefix_end,
    };
    if (!rewrite(c, &rw))
        return false;
    hr_relay_walker_put(c->ctx, c->relay);
    return true;
}

/* The walk is over: the rest of the frame passes as it is. */
static bool walked(struct hr_relay_call *c)
{
    const struct hr_kwalk *w = &hr_relay_walker(c->ctx, c->relay)->walk;
    uint32_t left = w->end - w->pos;

    hr_relay_walker_put(c->ctx, c->relay);
    return start_stream(c, left);
}

/* Errors of a follower that a leader need not have: they would make a client reset its offset, or look for another
 * leader. What stands beside them is what an empty answer has: no records, a watermark of -1. */
static bool is_followers_own(int64_t error)
{
    /* Small numbers all: the high byte on the wire is 0 already (hide_error()). */
    static const uint8_t own[] = {1, 3, 5, 6, 9, 56, 75, 78, 100}; /* not 70 and 74: who has them has to know them */

    for (uint32_t i = 0; i < sizeof(own); i++)
        if (error == own[i])
            return true;
    return false;
}

/* Makes 0 of the error that has just been told, in the middle of what is being walked: `walked` bytes of it in this call,
 * the error's low byte last. Its high byte may have passed with an earlier call. False: the call is over. */
static bool hide_error(struct hr_relay_call *c, uint32_t walked)
{
    static const uint8_t none[2];
    uint32_t here = walked < sizeof(none) ? walked : (uint32_t)sizeof(none);

    hr_relay_pass(c, walked - here);
    /* The walk is beyond it, and cannot come back when there is memory again. */
    if (!hr_relay_replace(c, here, none, here))
        return hr_relay_close_for(c, HR_DROP_broker_closed);
    struct hr_topics *sample = &c->ctx->topics[HR_ZONE_DOWN];
    if (sample->of == c->relay) /* it counts what it finds in the queue */
        hr_topics_end(sample, c->ctx->zones, false);
    hr_reader_bypass(hr_relay_reader(c->ctx, c->relay), c->ctx->now_us + HR_READER_WARY_US);
    HR_COUNT(c->ctx->stats, reads_errors_hidden);
    return true;
}

/* Walks over what has arrived, and passes it. */
static bool walk(struct hr_relay_call *c)
{
    struct hr_relay_walker *walker = hr_relay_walker(c->ctx, c->relay);
    struct hr_kwalk *w = &walker->walk;
    uint32_t most = c->avail < c->room ? c->avail : c->room, left = most;
    struct hr_frame_cursor from = c->at;
    enum hr_kwalk_event ev;

    /* All that is told on the way is errors of partitions. */
    while ((ev = hr_framewalk_next(w, &c->at, &left)) == HR_KWALK_VALUE) {
        if (w->value == KERR_NOT_LEADER_OR_FOLLOWER)
            c->ret->leader_hint = true;
        if (unlikely(c->relay->rs_branch) && is_followers_own(w->value)) {
            if (!hide_error(c, most - left))
                return false;
            most = left;
        }
    }
    hr_relay_pass(c, most - left);
    hr_relay_topics(c, HR_ZONE_DOWN, from, most - left);
    switch (ev) {
    case HR_KWALK_TAGS:
    case HR_KWALK_ARRAY:
        c->relay->rs_state = HR_RS_TAIL;
        return true;
    case HR_KWALK_DONE:
    case HR_KWALK_BAD:
        /* A tagged tail that is empty is none. Where nothing is to be changed, the length is all that counts. */
        if (walker->plan->response_kind == HR_RESPONSE_WATCH || (ev == HR_KWALK_DONE && w->pos == w->end))
            return walked(c);
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    case HR_KWALK_MORE:
    case HR_KWALK_VALUE:
    case HR_KWALK_ARRAY_END:
    case HR_KWALK_MAX:
        break;
    }
    return c->avail > 0 ? hr_relay_block(c) : false;
}

static bool tail(struct hr_relay_call *c)
{
    const struct hr_relay_walker *w = hr_relay_walker(c->ctx, c->relay);
    struct hr_relay_ctx *ctx = c->ctx;
    uint32_t len = w->walk.end - w->walk.pos;
    enum hr_tail what;

    if (len > hr_relay_hold_max(c))
        return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
    if (c->avail < len) {
        c->ret->want = len - c->avail;
        return false;
    }
    if (c->room == 0)
        return hr_relay_block(c);
    hr_pieceq_peek(c->in, *c->passed, ctx->in_scratch, len);
    hr_edit_init(&ctx->edit, c->listener, peer_of(c), w->plan->api_key);
    int err = hr_tail_rewrite(&ctx->edit, w->plan->response, w->plan->version, w->plan->tail_tagged, ctx->in_scratch,
                              len, ctx->tail_scratch, ctx->out_scratch, ctx->out_cap, &what);
    if (err != 0)
        return hr_relay_close_for(c, drop_of(err));
    if (what == HR_TAIL_SAME)
        return walked(c);
    if (!hr_relay_replace(c, len, ctx->tail_scratch, len))
        return false;
    hr_relay_walker_put(ctx, c->relay);
    if (what == HR_TAIL_HIDDEN)
        HR_COUNT(ctx->stats, kafka_tails_hidden);
    else
        HR_COUNT(ctx->stats, kafka_edits_tail);
    HR_COUNT_N(ctx->stats, kafka_nodes_hidden, ctx->edit.nodes_hidden);
    return finish(c);
}

static bool step(struct hr_relay_call *c)
{
    switch ((enum hr_response_state)c->relay->rs_state) {
    case HR_RS_START:
        return start(c);
    case HR_RS_STREAM:
        return stream(c);
    case HR_RS_WHOLE:
        return whole(c);
    case HR_RS_PREFIX:
        return prefix(c);
    case HR_RS_WALK:
        return walk(c);
    case HR_RS_TAIL:
        return tail(c);
    case HR_RS_MAX:
        break;
    }
    return false;
}

void hr_relay_responses(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *reauth,
                        const struct hr_policy *policy, const struct hr_policy_listener *listener,
                        struct hr_pieceq *in, struct hr_pieceq *out, uint32_t room, struct hr_relay_result *ret)
{
    struct hr_relay_call c = {ctx, relay, policy, listener, in, out, room, ret, reauth, &relay->rs_passed};

    hr_relay_begin(&c);
    while (step(&c))
        ;
    hr_relay_flush(&c);
    hr_relay_count_bytes(&c, ctx->cells[HR_ZONE_DOWN], plan_of(&c)->api_key);
    HR_COUNT_N(ctx->stats, kafka_response_bytes, ret->taken);
}
