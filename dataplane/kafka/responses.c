/* Broker to client. The oldest in-flight record says what a response is; from its plan follows whether it
 * passes, is held, or is walked to its tail. Replies of Headrace's own leave when their turn comes. */
#include <string.h>

#include "dataplane/kafka/relay_impl.h"
#include "dataplane/kafka/tail.h"
#include "shared/kafka/wire.h"

#define HEADER_FIXED                8 /* size and correlation id */
#define KERR_NOT_LEADER_OR_FOLLOWER 6
#define KERR_UNSUPPORTED_VERSION    35
#define WANT_STEP                   (64u * 1024) /* asked for at a time where the end of a held prefix is not known yet */

static bool finish(struct hr_relay_call *c)
{
    hr_inflight_pop(&c->ctx->inflight, &c->relay->in_flight);
    HR_COUNT(c->ctx->stats, kafka_responses);
    c->relay->responses++;
    c->relay->rs.state = HR_RS_START;
    return true;
}

static bool own_reply(struct hr_relay_call *c, const struct hr_inflight *record)
{
    uint8_t buf[HR_OWN_REPLY_MAX];

    if (c->room == 0)
        return hr_relay_block(c);
    if (!hr_relay_replace(c, 0, buf, hr_own_reply(record, buf)))
        return false;
    hr_inflight_pop(&c->ctx->inflight, &c->relay->in_flight);
    HR_COUNT(c->ctx->stats, kafka_own_replies);
    c->relay->responses++;
    return true;
}

static bool start_stream(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;

    rs->left = rs->total;
    rs->state = HR_RS_STREAM;
    return true;
}

static bool start_walk(struct hr_relay_call *c, const struct hr_plan *plan, enum hr_response_state state)
{
    struct hr_relay_response *rs = &c->relay->rs;

    if (!hr_relay_walker_get(c->ctx, c->relay, plan))
        return plan->response_kind == HR_RESPONSE_WATCH ? start_stream(c) : hr_relay_block(c);
    hr_framewalk_init(&c->relay->walker->walk, &hr_kresponse_header, plan->response_header, plan->response,
                      rs->version, rs->total);
    rs->sent = 0;
    rs->state = (uint8_t)state;
    return true;
}

static bool start_whole(struct hr_relay_call *c, const struct hr_plan *plan)
{
    struct hr_relay_response *rs = &c->relay->rs;

    if (rs->total > hr_relay_hold_max(c)) {
        if (!plan->optional)
            return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
        HR_COUNT(c->ctx->stats, kafka_edits_skipped);
        return start_stream(c);
    }
    rs->state = HR_RS_WHOLE;
    return true;
}

static bool start(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    const struct hr_inflight *head = hr_inflight_head(&c->relay->in_flight);
    uint8_t b[HEADER_FIXED];
    bool api_known;

    if (head && head->kind != HR_INFLIGHT_BROKER)
        return own_reply(c, head);
    if (c->in->bytes == 0)
        return false;
    if (!head)
        return hr_relay_close_for(c, HR_DROP_kafka_correlation);
    if (c->in->bytes < HEADER_FIXED) {
        c->ret->want = HEADER_FIXED - c->in->bytes;
        return false;
    }
    if (c->room == 0)
        return hr_relay_block(c);
    hr_pieceq_peek(c->in, 0, b, HEADER_FIXED);
    uint32_t size = hr_kget32(b);
    if (size < HEADER_FIXED - HR_FRAME_SIZE_LEN || size > INT32_MAX - HR_FRAME_SIZE_LEN)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    if ((int32_t)hr_kget32(b + 4) != head->correlation_id)
        return hr_relay_close_for(c, HR_DROP_kafka_correlation);
    rs->total = size + HR_FRAME_SIZE_LEN;
    rs->version = head->version;
    const struct hr_plan *plan = hr_plans_find(c->ctx->plans, head->api_key, head->version, &api_known);
    if (!plan)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    switch ((enum hr_response_kind)plan->response_kind) {
    case HR_RESPONSE_WHOLE:
        return start_whole(c, plan);
    case HR_RESPONSE_PREFIX:
        return start_walk(c, plan, HR_RS_PREFIX);
    case HR_RESPONSE_WATCH:
    case HR_RESPONSE_TAIL:
        return start_walk(c, plan, HR_RS_WALK);
    case HR_RESPONSE_STREAM:
    case HR_RESPONSE_NONE:
    case HR_RESPONSE_MAX:
        break;
    }
    return start_stream(c);
}

static bool stream(struct hr_relay_call *c)
{
    if (!hr_relay_stream(c, &c->relay->rs.left))
        return false;
    return finish(c);
}

static enum hr_drop drop_of(int err)
{
    return err == HR_E_TOO_LARGE ? HR_DROP_kafka_hold_max : HR_DROP_kafka_malformed_response;
}

/* Rewrites the frame's first bytes (its header, and its body up to the field with role stop_after) and puts
 * the corrected size in front. in_scratch holds the first `have` bytes of the frame. On success the
 * response's `left` is what streams on behind. */
static bool rewrite(struct hr_relay_call *c, const struct hr_kmessage *message, uint32_t body_at,
                    uint32_t have, enum hr_krole stop_after)
{
    struct hr_relay_response *rs = &c->relay->rs;
    struct hr_relay_ctx *ctx = c->ctx;
    uint32_t used, n;
    const struct hr_inflight *head = hr_inflight_head(&c->relay->in_flight);

    hr_edit_init(&ctx->edit, c->listener, head->api_key);
    int err = hr_edit_response(&ctx->edit, message, rs->version, stop_after, ctx->in_scratch + body_at,
                               have - body_at, ctx->out_scratch + body_at, ctx->out_cap - body_at, &used, &n);
    if (err != 0)
        return hr_relay_close_for(c, drop_of(err));
    uint32_t taken = body_at + used, made = body_at + n;
    memcpy(ctx->out_scratch, ctx->in_scratch, body_at);
    hr_kput32(ctx->out_scratch, rs->total - taken + made - HR_FRAME_SIZE_LEN);
    rs->left = rs->total;
    if (made != taken || memcmp(ctx->in_scratch, ctx->out_scratch, made) != 0) {
        if (!hr_relay_replace(c, taken, ctx->out_scratch, made))
            return false;
        HR_COUNT(ctx->stats, kafka_edits_held);
        HR_COUNT_N(ctx->stats, kafka_nodes_hidden, ctx->edit.nodes_hidden);
        rs->left -= taken;
    }
    rs->state = HR_RS_STREAM;
    return true;
}

static bool whole(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    struct hr_relay_ctx *ctx = c->ctx;
    const struct hr_inflight *head = hr_inflight_head(&c->relay->in_flight);
    uint32_t body_at = HEADER_FIXED, v;
    bool api_known;

    if (c->in->bytes < rs->total) {
        c->ret->want = rs->total - c->in->bytes;
        return false;
    }
    const struct hr_plan *plan = hr_plans_find(ctx->plans, head->api_key, head->version, &api_known);
    const struct hr_kmessage *message = plan->response;
    hr_pieceq_peek(c->in, 0, ctx->in_scratch, rs->total);
    if (plan->response_header >= 1) {
        /* The header's own tags: none are known, all are skipped. */
        struct hr_framewalk *fw = &ctx->scratch_walk;
        struct hr_piece_iter it;
        uint32_t left;
        hr_framewalk_init(fw, &hr_kresponse_header, plan->response_header, message, rs->version, rs->total);
        hr_framewalk_start(fw, c->in, 0, rs->total, &it, &left);
        if (hr_framewalk_header(fw, &it, &left) != HR_KWALK_DONE)
            return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
        body_at = fw->body_at;
    }
    /* KIP-511: a broker that does not know the version answers in version 0. */
    if (head->api_key == HR_KAPI_API_VERSIONS && rs->total >= body_at + 2) {
        v = hr_kget16(ctx->in_scratch + body_at);
        if (v == KERR_UNSUPPORTED_VERSION) {
            rs->version = 0;
            message = hr_kresponse_find(HR_KAPI_API_VERSIONS, 0);
        }
    }
    return rewrite(c, message, body_at, rs->total, HR_KR_NONE);
}

static bool prefix(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    struct hr_relay_walker *w = c->relay->walker;
    uint32_t hold = hr_relay_hold_max(c), left;
    struct hr_piece_iter it;
    enum hr_kwalk_event ev;

    hr_framewalk_start(&w->walk, c->in, 0, hold, &it, &left);
    /* When there was no buffer for the new prefix last time, its end has been found already. */
    while (rs->sent == 0) {
        ev = hr_framewalk_next(&w->walk, &it, &left);
        if (ev == HR_KWALK_ARRAY_END && w->walk.w.field->role == HR_KR_BROKERS) {
            rs->sent = w->walk.w.pos;
        } else if (ev == HR_KWALK_BAD || ev == HR_KWALK_DONE) {
            return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
        } else if (ev == HR_KWALK_MORE) {
            if (w->walk.w.pos >= hold)
                return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
            uint32_t most = (rs->total < hold ? rs->total : hold) - c->in->bytes;
            c->ret->want = most < WANT_STEP ? most : WANT_STEP;
            return false;
        }
    }
    uint32_t have = rs->sent;
    hr_pieceq_peek(c->in, 0, c->ctx->in_scratch, have);
    if (!rewrite(c, w->plan->response, w->walk.body_at, have, HR_KR_BROKERS))
        return false;
    hr_relay_walker_put(c->ctx, c->relay);
    return true;
}

/* Has the walk come to where the tail begins? */
static bool at_tail(const struct hr_relay_walker *w, enum hr_kwalk_event ev)
{
    if (w->plan->tail_tagged)
        return ev == HR_KWALK_TAGS;
    return ev == HR_KWALK_ARRAY && w->walk.w.field->role == HR_KR_ENDPOINTS;
}

/* Forwards what has been walked over and is still there. */
static bool forward_walked(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    uint32_t left = c->relay->walker->walk.w.pos - rs->sent, before = left;

    bool done = hr_relay_stream(c, &left);
    rs->sent += before - left;
    return done;
}

/* Walks over what has arrived and forwards it. */
static bool walk(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    struct hr_relay_walker *w = c->relay->walker;
    struct hr_piece_iter it;
    uint32_t left;

    /* The fixed part of the header does not count: it is walked in one go. */
    hr_framewalk_start(&w->walk, c->in, rs->sent, c->room < HEADER_FIXED ? HEADER_FIXED : c->room, &it,
                       &left);
    for (;;) {
        enum hr_kwalk_event ev = hr_framewalk_next(&w->walk, &it, &left);
        if (ev == HR_KWALK_MORE)
            break;
        if (ev == HR_KWALK_BAD || ev == HR_KWALK_DONE) {
            if (w->plan->response_kind != HR_RESPONSE_WATCH)
                return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
            hr_relay_walker_put(c->ctx, c->relay);
            rs->left = rs->total - rs->sent; /* nothing is to be changed: its length is all that counts */
            rs->state = HR_RS_STREAM;
            return true;
        }
        if (at_tail(w, ev)) {
            rs->state = HR_RS_TAIL;
            return true;
        }
        if (ev == HR_KWALK_VALUE && w->walk.w.field->role == HR_KR_PARTITION_ERROR &&
            w->walk.w.value == KERR_NOT_LEADER_OR_FOLLOWER)
            c->ret->leader_hint = true;
    }
    if (!forward_walked(c))
        return false;
    return c->in->bytes > 0 ? hr_relay_block(c) : false;
}

static bool tail(struct hr_relay_call *c)
{
    struct hr_relay_response *rs = &c->relay->rs;
    struct hr_relay_ctx *ctx = c->ctx;
    enum hr_tail what;

    if (!forward_walked(c))
        return false;
    uint32_t len = rs->total - rs->sent;
    if (len > hr_relay_hold_max(c))
        return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
    if (c->in->bytes < len) {
        c->ret->want = len - c->in->bytes;
        return false;
    }
    if (c->room == 0)
        return hr_relay_block(c);
    hr_pieceq_peek(c->in, 0, ctx->in_scratch, len);
    hr_edit_init(&ctx->edit, c->listener, hr_inflight_head(&c->relay->in_flight)->api_key);
    const struct hr_plan *plan = c->relay->walker->plan;
    int err = hr_tail_rewrite(&ctx->edit, plan->response, rs->version, plan->tail_tagged,
                              ctx->in_scratch, len, ctx->tail_scratch, ctx->out_scratch, ctx->out_cap, &what);
    if (err != 0)
        return hr_relay_close_for(c, drop_of(err));
    if (what == HR_TAIL_SAME) {
        hr_relay_walker_put(ctx, c->relay);
        rs->left = len;
        rs->state = HR_RS_STREAM;
        return true;
    }
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
    switch ((enum hr_response_state)c->relay->rs.state) {
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

void hr_relay_responses(struct hr_relay_ctx *ctx, struct hr_relay *relay, const struct hr_policy *policy,
                        const struct hr_policy_listener *listener, struct hr_pieceq *in,
                        struct hr_pieceq *out, uint32_t room, struct hr_relay_result *ret)
{
    struct hr_relay_call c = {ctx, relay, policy, listener, in, out, room, ret};

    *ret = (struct hr_relay_result){.verdict = HR_DROP_MAX};
    while (step(&c))
        ;
    HR_COUNT_N(ctx->stats, kafka_response_bytes, ret->taken);
}
