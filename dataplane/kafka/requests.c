/* Client to broker. Nothing of a frame leaves before its header (and, for Produce, acks) has been read and
 * found good, so that a refused request leaves no trace at the broker; then it is cut-through. */
#include <string.h>

#include "dataplane/kafka/relay_impl.h"
#include "shared/kafka/wire.h"

#define HEADER_FIXED 12 /* size, API key, version, correlation id */
#define FRAME_MIN    8  /* what the size must at least say */

/* Bytes that must be able to arrive before the next step is possible. */
static void want_up_to(struct hr_relay_call *c, uint32_t bytes)
{
    if (bytes > c->in->bytes)
        c->ret->want = bytes - c->in->bytes;
}

static void note_client_id(struct hr_relay *relay, const uint8_t *p, uint32_t len)
{
    static const char hex[] = "0123456789abcdef";
    char *out = relay->client_id, *end = out + sizeof(relay->client_id) - 1;

    for (uint32_t i = 0; i < len; i++) {
        uint8_t b = p[i];
        if (b >= 0x20 && b < 0x7f && b != '\\' && b != '"') {
            if (out == end)
                break;
            *out++ = (char)b;
        } else {
            if (end - out < 4)
                break;
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[b >> 4];
            *out++ = hex[b & 15];
        }
    }
    *out = '\0';
}

/* The client id stands behind the fixed part, always with a two-byte length. */
static void read_client_id(struct hr_relay_call *c)
{
    uint8_t b[2 + sizeof(c->relay->client_id)];

    hr_pieceq_peek(c->in, HEADER_FIXED, b, 2);
    int16_t len = (int16_t)hr_kget16(b);
    uint32_t n = len < 0 ? 0 : (uint32_t)len;
    if (n > sizeof(c->relay->client_id))
        n = sizeof(c->relay->client_id);
    hr_pieceq_peek(c->in, HEADER_FIXED + 2, b + 2, n);
    note_client_id(c->relay, b + 2, n);
}

/* Makes the record of the request being read. False: no record is free. */
static bool record(struct hr_relay_call *c, enum hr_inflight_kind kind)
{
    const struct hr_relay_request *rq = &c->relay->rq;
    struct hr_inflight r = {
        .correlation_id = rq->correlation_id,
        .api_key = rq->api_key,
        .version = rq->version,
        .kind = (uint8_t)kind,
    };

    return hr_inflight_push(&c->ctx->inflight, &c->relay->in_flight, &r) == 0;
}

static void counted(struct hr_relay_call *c)
{
    c->relay->requests++;
    c->relay->last_api_key = c->relay->rq.api_key;
}

/* The frame may go to the broker. */
static bool forward(struct hr_relay_call *c, bool answered)
{
    struct hr_relay_request *rq = &c->relay->rq;

    if (answered && !record(c, HR_INFLIGHT_BROKER))
        return hr_relay_block(c);
    HR_COUNT(c->ctx->stats, kafka_requests);
    counted(c);
    rq->left = rq->total;
    rq->state = HR_RQ_STREAM;
    return true;
}

/* The frame is answered here. */
static bool answer(struct hr_relay_call *c, enum hr_inflight_kind kind)
{
    struct hr_relay_request *rq = &c->relay->rq;

    if (!record(c, kind))
        return hr_relay_block(c);
    counted(c);
    c->ret->own_reply = true;
    rq->left = rq->total;
    rq->state = HR_RQ_DISCARD;
    return true;
}

static bool start(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    uint8_t b[HEADER_FIXED];
    bool api_known;

    if (c->in->bytes == 0)
        return false;
    if (c->in->bytes >= HR_FRAME_SIZE_LEN) {
        hr_pieceq_peek(c->in, 0, b, HR_FRAME_SIZE_LEN);
        uint32_t size = hr_kget32(b);
        if (size < FRAME_MIN || size > INT32_MAX - HR_FRAME_SIZE_LEN || size > c->listener->max_frame_bytes)
            return hr_relay_close_for(c, HR_DROP_kafka_frame_size);
        rq->total = size + HR_FRAME_SIZE_LEN;
    }
    if (c->in->bytes < HEADER_FIXED) {
        want_up_to(c, HEADER_FIXED);
        return false;
    }
    if (c->relay->in_flight.count >= c->listener->max_in_flight || c->room == 0)
        return hr_relay_block(c);

    hr_pieceq_peek(c->in, 0, b, HEADER_FIXED);
    rq->api_key = (int16_t)hr_kget16(b + 4);
    rq->version = (int16_t)hr_kget16(b + 6);
    rq->correlation_id = (int32_t)hr_kget32(b + 8);
    rq->plan = hr_plans_find(c->ctx->plans, rq->api_key, rq->version, &api_known);
    if (!rq->plan) {
        c->relay->last_api_key = rq->api_key;
        if (!api_known)
            return hr_relay_close_for(c, HR_DROP_kafka_unknown_api);
        if (rq->api_key != HR_KAPI_API_VERSIONS)
            return hr_relay_close_for(c, HR_DROP_kafka_version);
        return answer(c, HR_INFLIGHT_UNSUPPORTED);
    }
    hr_framewalk_init(&rq->walk, &hr_krequest_header, rq->plan->request_header, rq->plan->request,
                      rq->version, rq->total);
    rq->state = HR_RQ_HEADER;
    return true;
}

static uint32_t peek_max(const struct hr_relay_request *rq)
{
    return rq->total < HR_REQUEST_PEEK_MAX ? rq->total : HR_REQUEST_PEEK_MAX;
}

static bool header(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    struct hr_piece_iter it;
    uint32_t left;

    hr_framewalk_start(&rq->walk, c->in, 0, HR_REQUEST_PEEK_MAX, &it, &left);
    enum hr_kwalk_event ev = hr_framewalk_header(&rq->walk, &it, &left);
    if (ev == HR_KWALK_BAD || (ev == HR_KWALK_MORE && rq->walk.w.pos >= HR_REQUEST_PEEK_MAX))
        return hr_relay_close_for(c, HR_DROP_kafka_header);
    if (ev == HR_KWALK_MORE) {
        want_up_to(c, peek_max(rq));
        return false;
    }
    read_client_id(c);
    switch ((enum hr_request_kind)rq->plan->request_kind) {
    case HR_REQUEST_ACKS:
        rq->state = HR_RQ_ACKS;
        return true;
    case HR_REQUEST_IDENTITY:
        /* Behind a virtual broker ids are the broker's own: it checks them itself. */
        if (c->relay->node_id >= 0)
            break;
        if (rq->total > hr_relay_hold_max(c))
            return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
        rq->state = HR_RQ_HOLD;
        return true;
    case HR_REQUEST_STREAM:
    case HR_REQUEST_NONE:
    case HR_REQUEST_MAX:
        break;
    }
    return forward(c, true);
}

static bool acks(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    struct hr_piece_iter it;
    uint32_t left;

    hr_framewalk_start(&rq->walk, c->in, 0, HR_REQUEST_PEEK_MAX, &it, &left);
    /* When no record was free last time, acks has been read already. */
    while (rq->walk.w.field == NULL || rq->walk.w.field->role != HR_KR_ACKS) {
        enum hr_kwalk_event ev = hr_framewalk_next(&rq->walk, &it, &left);
        if (ev == HR_KWALK_BAD || ev == HR_KWALK_DONE)
            return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
        if (ev == HR_KWALK_MORE) {
            if (rq->walk.w.pos >= HR_REQUEST_PEEK_MAX)
                return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
            want_up_to(c, peek_max(rq));
            return false;
        }
    }
    return forward(c, rq->walk.w.value != 0);
}

/* The identity of KIP-1242 on the bootstrap listener: any broker may stand behind it, so a node that the
 * client names there cannot be checked by that broker. The cluster is checked here; then both are left out.
 */
static bool identity(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    struct hr_relay_ctx *ctx = c->ctx;
    struct hr_edit_identity id;
    uint32_t at = rq->walk.body_at, n;

    if (c->in->bytes < rq->total) {
        want_up_to(c, rq->total);
        return false;
    }
    hr_pieceq_peek(c->in, 0, ctx->in_scratch, rq->total);
    int err = hr_edit_identity(rq->plan->request, rq->version, ctx->in_scratch + at, rq->total - at,
                               ctx->out_scratch + at, ctx->out_cap - at, &n, &id);
    if (err != 0)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
    /* None: nothing to map. One alone: an error that the broker words itself. */
    if (!id.cluster_id || id.node_id < 0)
        return forward(c, true);
    const char *ours = c->policy->cluster_id;
    if (ours[0] != '\0' && (strlen(ours) != (size_t)id.cluster_id_len ||
                            memcmp(ours, id.cluster_id, (size_t)id.cluster_id_len) != 0))
        return answer(c, HR_INFLIGHT_REBOOTSTRAP);

    if (!hr_inflight_may_push(&ctx->inflight, &c->relay->in_flight))
        return hr_relay_block(c);
    memcpy(ctx->out_scratch, ctx->in_scratch, at);
    hr_kput32(ctx->out_scratch, at + n - HR_FRAME_SIZE_LEN);
    if (!hr_relay_replace(c, rq->total, ctx->out_scratch, at + n) || !record(c, HR_INFLIGHT_BROKER))
        return false; /* the second cannot be: a record was free */
    HR_COUNT(ctx->stats, kafka_requests);
    HR_COUNT(ctx->stats, kafka_edits_held);
    counted(c);
    rq->state = HR_RQ_START;
    return true;
}

static bool discard(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    uint32_t n = rq->left < c->in->bytes ? rq->left : c->in->bytes;

    hr_pieceq_drop(c->ctx->bufs, c->in, n);
    c->ret->taken += n;
    rq->left -= n;
    if (rq->left > 0)
        return false;
    rq->state = HR_RQ_START;
    return true;
}

static bool stream(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;

    if (!hr_relay_stream(c, &rq->left))
        return false;
    rq->state = HR_RQ_START;
    return true;
}

static bool step(struct hr_relay_call *c)
{
    switch ((enum hr_request_state)c->relay->rq.state) {
    case HR_RQ_START:
        return start(c);
    case HR_RQ_HEADER:
        return header(c);
    case HR_RQ_ACKS:
        return acks(c);
    case HR_RQ_HOLD:
        return identity(c);
    case HR_RQ_STREAM:
        return stream(c);
    case HR_RQ_DISCARD:
        return discard(c);
    case HR_RQ_MAX:
        break;
    }
    return false;
}

void hr_relay_requests(struct hr_relay_ctx *ctx, struct hr_relay *relay, const struct hr_policy *policy,
                       const struct hr_policy_listener *listener, struct hr_pieceq *in, struct hr_pieceq *out,
                       uint32_t room, struct hr_relay_result *ret)
{
    struct hr_relay_call c = {ctx, relay, policy, listener, in, out, room, ret};

    *ret = (struct hr_relay_result){.verdict = HR_DROP_MAX};
    while (step(&c))
        ;
    HR_COUNT_N(ctx->stats, kafka_request_bytes, ret->taken);
}
