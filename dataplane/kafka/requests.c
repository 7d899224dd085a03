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

/* The client id stands behind the fixed part, always with a two-byte length. It hardly ever changes. */
static void read_client_id(struct hr_relay_call *c)
{
    struct hr_relay *relay = c->relay;
    uint8_t b[2 + sizeof(relay->client_id)];

    hr_pieceq_peek(c->in, HEADER_FIXED, b, 2);
    int16_t len = (int16_t)hr_kget16(b);
    uint32_t n = len < 0 ? 0 : (uint32_t)len;
    if (n > sizeof(relay->client_id))
        n = sizeof(relay->client_id);
    hr_pieceq_peek(c->in, HEADER_FIXED + 2, b + 2, n);
    if (n < sizeof(relay->client_id) && relay->client_id[n] == '\0' && memcmp(relay->client_id, b + 2, n) == 0)
        return;
    note_client_id(relay, b + 2, n);
}

/* What has been read of the request at the head of the input; lives for one look at it. */
struct head {
    int16_t api_key, version;
    int32_t correlation_id;
    const struct hr_plan *plan;
};

/* Makes the request's record. False: none is free. */
static bool record(struct hr_relay_call *c, const struct head *h, enum hr_inflight_kind kind)
{
    struct hr_inflight r = {
        .correlation_id = h->correlation_id,
        .api_key = h->api_key,
        .version = h->version,
        .kind = (uint8_t)kind,
    };

    return hr_inflight_push(&c->ctx->inflight, &c->relay->in_flight, &r) == 0;
}

static void counted(struct hr_relay_call *c, const struct head *h)
{
    c->relay->requests++;
    c->relay->last_api_key = h->api_key;
    c->relay->rq.version = h->version;
}

/* The frame may go to the broker. */
static bool forward(struct hr_relay_call *c, const struct head *h, bool answered)
{
    struct hr_relay_request *rq = &c->relay->rq;

    if (answered && !record(c, h, HR_INFLIGHT_BROKER))
        return hr_relay_block(c);
    HR_COUNT(c->ctx->stats, kafka_requests);
    counted(c, h);
    rq->left = rq->total;
    rq->state = HR_RQ_STREAM;
    return true;
}

/* The frame is answered here. */
static bool answer(struct hr_relay_call *c, const struct head *h, enum hr_inflight_kind kind)
{
    struct hr_relay_request *rq = &c->relay->rq;

    if (!record(c, h, kind))
        return hr_relay_block(c);
    counted(c, h);
    c->ret->own_reply = true;
    rq->left = rq->total;
    rq->state = HR_RQ_DISCARD;
    return true;
}

/* More of the frame, up to `most` bytes of it, must arrive. What is there has been read in vain, so the next look
 * waits for as much again: byte by byte, the header is read a few times, not once per byte. */
static bool wait_for(struct hr_relay_call *c, uint32_t most)
{
    uint32_t again = 2 * c->in->bytes;

    c->relay->rq.left = again < most ? again : most;
    want_up_to(c, most);
    return false;
}

/* The frame's fixed part. False: the call is over. */
static bool read_fixed(struct hr_relay_call *c, struct head *h)
{
    struct hr_relay_request *rq = &c->relay->rq;
    uint8_t b[HEADER_FIXED];
    bool api_known;

    if (c->in->bytes >= HR_FRAME_SIZE_LEN) {
        hr_pieceq_peek(c->in, 0, b, c->in->bytes < HEADER_FIXED ? HR_FRAME_SIZE_LEN : HEADER_FIXED);
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
    h->api_key = (int16_t)hr_kget16(b + 4);
    h->version = (int16_t)hr_kget16(b + 6);
    h->correlation_id = (int32_t)hr_kget32(b + 8);
    h->plan = hr_plans_find(c->ctx->plans, h->api_key, h->version, &api_known);
    if (h->plan)
        return true;
    c->relay->last_api_key = h->api_key;
    rq->version = h->version;
    if (!api_known)
        return hr_relay_close_for(c, HR_DROP_kafka_unknown_api);
    return h->api_key == HR_KAPI_API_VERSIONS || hr_relay_close_for(c, HR_DROP_kafka_version);
}

static uint32_t peek_max(const struct hr_relay_request *rq)
{
    return rq->total < HR_REQUEST_PEEK_MAX ? rq->total : HR_REQUEST_PEEK_MAX;
}

/* The identity of KIP-1242 on the bootstrap listener: any broker may stand behind it, so a node that the
 * client names there cannot be checked by that broker. The cluster is checked here; then both are left out.
 */
static bool identity(struct hr_relay_call *c, const struct head *h, uint32_t body_at)
{
    struct hr_relay_request *rq = &c->relay->rq;
    struct hr_relay_ctx *ctx = c->ctx;
    struct hr_edit_identity id;
    uint32_t n;

    if (rq->total > hr_relay_hold_max(c))
        return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
    if (c->in->bytes < rq->total) {
        rq->left = rq->total;
        want_up_to(c, rq->total);
        return false;
    }
    hr_pieceq_peek(c->in, 0, ctx->in_scratch, rq->total);
    int err = hr_edit_identity(h->plan->request, h->version, ctx->in_scratch + body_at, rq->total - body_at,
                               ctx->out_scratch + body_at, ctx->out_cap - body_at, &n, &id);
    if (err != 0)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
    /* None: nothing to map. One alone: an error that the broker words itself. */
    if (!id.cluster_id || id.node_id < 0)
        return forward(c, h, true);
    const char *ours = c->policy->cluster_id;
    if (ours[0] != '\0' && (strlen(ours) != (size_t)id.cluster_id_len ||
                            memcmp(ours, id.cluster_id, (size_t)id.cluster_id_len) != 0))
        return answer(c, h, HR_INFLIGHT_REBOOTSTRAP);

    if (!hr_inflight_may_push(&ctx->inflight, &c->relay->in_flight))
        return hr_relay_block(c);
    memcpy(ctx->out_scratch, ctx->in_scratch, body_at);
    hr_kput32(ctx->out_scratch, body_at + n - HR_FRAME_SIZE_LEN);
    if (!hr_relay_replace(c, rq->total, ctx->out_scratch, body_at + n) || !record(c, h, HR_INFLIGHT_BROKER))
        return false; /* the second cannot be: a record was free */
    HR_COUNT(ctx->stats, kafka_requests);
    HR_COUNT(ctx->stats, kafka_edits_held);
    counted(c, h);
    rq->left = 0;
    return true;
}

/* A Produce up to acks, which says whether there will be a response. */
static bool acks(struct hr_relay_call *c, const struct head *h, struct hr_piece_iter *it, uint32_t *left)
{
    struct hr_framewalk *fw = &c->ctx->scratch_walk;

    do {
        enum hr_kwalk_event ev = hr_framewalk_next(fw, it, left);
        if (ev == HR_KWALK_BAD || ev == HR_KWALK_DONE)
            return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
        if (ev == HR_KWALK_MORE) {
            if (fw->w.pos >= HR_REQUEST_PEEK_MAX)
                return hr_relay_close_for(c, HR_DROP_kafka_malformed_request);
            return wait_for(c, peek_max(&c->relay->rq));
        }
    } while (fw->w.field == NULL || fw->w.field->role != HR_KR_ACKS);
    return forward(c, h, fw->w.value != 0);
}

static bool start(struct hr_relay_call *c)
{
    struct hr_relay_request *rq = &c->relay->rq;
    struct hr_framewalk *fw = &c->ctx->scratch_walk;
    struct hr_piece_iter it;
    struct head h;
    uint32_t left;

    if (c->in->bytes == 0)
        return false;
    if (c->in->bytes < rq->left) {
        want_up_to(c, rq->left);
        return false;
    }
    if (!read_fixed(c, &h))
        return false;
    if (!h.plan)
        return answer(c, &h, HR_INFLIGHT_UNSUPPORTED);
    hr_framewalk_init(fw, &hr_krequest_header, h.plan->request_header, h.plan->request, h.version, rq->total);
    hr_framewalk_start(fw, c->in, 0, HR_REQUEST_PEEK_MAX, &it, &left);
    enum hr_kwalk_event ev = hr_framewalk_header(fw, &it, &left);
    if (ev == HR_KWALK_BAD || (ev == HR_KWALK_MORE && fw->w.pos >= HR_REQUEST_PEEK_MAX))
        return hr_relay_close_for(c, HR_DROP_kafka_header);
    if (ev == HR_KWALK_MORE)
        return wait_for(c, peek_max(rq));
    read_client_id(c);
    switch ((enum hr_request_kind)h.plan->request_kind) {
    case HR_REQUEST_ACKS:
        return acks(c, &h, &it, &left);
    case HR_REQUEST_IDENTITY:
        /* Behind a virtual broker ids are the broker's own: it checks them itself. */
        if (c->relay->node_id < 0)
            return identity(c, &h, fw->body_at);
        break;
    case HR_REQUEST_STREAM:
    case HR_REQUEST_NONE:
    case HR_REQUEST_MAX:
        break;
    }
    return forward(c, &h, true);
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
