/* The two places where the relay stops for a login: in front of a request, and in front of a response. */
#include "dataplane/kafka/reauth.h"

#include "dataplane/kafka/relay_impl.h"
#include "shared/kafka/wire.h"

#define REQUEST_MIN   12 /* size, API key, version, correlation id */
#define RESPONSE_MIN  8  /* size, correlation id */

void hr_reauth_init(struct hr_reauth *a, bool terminates)
{
    *a = (struct hr_reauth){.terminates = terminates};
    hr_pieceq_init(&a->reply);
    hr_pieceq_init(&a->frame);
    hr_pieceq_init(&a->sent);
}

static void wipe(struct hr_buf_ctx *bufs, struct hr_pieceq *q)
{
    hr_pieceq_wipe(q, q->bytes);
    hr_pieceq_clear(bufs, q);
}

void hr_reauth_fini(struct hr_buf_ctx *bufs, struct hr_reauth *a)
{
    wipe(bufs, &a->reply);
    wipe(bufs, &a->frame);
    wipe(bufs, &a->sent);
}

bool hr_reauth_ready(struct hr_reauth *a)
{
    uint8_t head[REQUEST_MIN];

    if (a->frame.bytes < REQUEST_MIN)
        return false;
    hr_pieceq_peek(&a->frame, 0, head, sizeof(head));
    if (hr_kget32(head) != a->frame.bytes - HR_KPROGRAM_FRAME_SIZE ||
        (int16_t)hr_kget16(head + 4) != (a->broker_holds ? HR_KAPI_SASL_AUTHENTICATE : HR_KAPI_SASL_HANDSHAKE))
        return false;
    a->broker = HR_REAUTH_BROKER_READY;
    return true;
}

void hr_reauth_answered(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *a)
{
    hr_inflight_pop(&ctx->inflight, &relay->in_flight);
    wipe(ctx->bufs, &a->sent); /* whoever answers has received it: nothing is sent again */
    a->broker = HR_REAUTH_BROKER_NEXT;
}

void hr_reauth_over(struct hr_reauth *a)
{
    a->broker = HR_REAUTH_BROKER_IDLE;
    a->broker_holds = false;
}

/* Our frame goes out. Small pieces may be copied on the way, so both ends are noted for wiping. False, always: what
 * follows it waits. */
static bool inject(struct hr_relay_call *c)
{
    struct hr_reauth *a = c->reauth;
    struct hr_buf_ctx *bufs = c->ctx->bufs;
    uint32_t len = a->frame.bytes, before;
    uint8_t id[4];

    if (c->room == 0 || !hr_inflight_may_push(&c->ctx->inflight, &c->relay->in_flight))
        return hr_relay_block(c);
    if (!hr_relay_flush(c))
        return false;
    hr_pieceq_peek(&a->frame, 8, id, sizeof(id));
    before = c->out->bytes;
    if (hr_pieceq_refer(bufs, &a->sent, &a->frame, 0, len) != 0 ||
        hr_pieceq_move(bufs, c->out, &a->frame, len) != 0) {
        hr_pieceq_clear(bufs, &a->sent);
        return hr_relay_starve(c);
    }
    struct hr_inflight r = {.correlation_id = (int32_t)hr_kget32(id), .kind = HR_INFLIGHT_OWN};
    int err = hr_inflight_push(&c->ctx->inflight, &c->relay->in_flight, r);
    if (err == 0)
        err = hr_pieceq_refer(bufs, &a->sent, c->out, before, len);
    if (err != 0) /* there is no way back: the session ends rather than that a secret stays somewhere */
        return hr_relay_close_for(c, HR_DROP_auth_failed);
    HR_COUNT(c->ctx->stats, kafka_own_requests);
    a->broker = HR_REAUTH_BROKER_SENT;
    a->broker_holds = true;
    return c->avail > 0 ? hr_relay_block(c) : false;
}

bool hr_reauth_before_request(struct hr_relay_call *c)
{
    struct hr_reauth *a = c->reauth;

    if (a->broker == HR_REAUTH_BROKER_READY)
        return inject(c);
    if (c->avail == 0)
        return false;
    if (a->client != HR_REAUTH_CLIENT_IDLE || a->broker_holds)
        return hr_relay_block(c);
    a->wanted |= a->broker_due || a->broker_expired;
    return a->broker_waits || a->broker_expired ? hr_relay_block(c) : true;
}

bool hr_reauth_may_pass(struct hr_relay_call *c, int16_t api_key)
{
    const struct hr_reauth *a = c->reauth;
    bool handshake = api_key == HR_KAPI_SASL_HANDSHAKE, sasl = handshake || api_key == HR_KAPI_SASL_AUTHENTICATE;

    if (a->client_begun)
        return sasl || hr_relay_close_for(c, HR_DROP_auth_sequence);
    return !a->client_expired || handshake || hr_relay_close_for(c, HR_DROP_auth_expired);
}

bool hr_reauth_takes(const struct hr_reauth *a, int16_t api_key)
{
    return a->terminates && (api_key == HR_KAPI_SASL_HANDSHAKE || api_key == HR_KAPI_SASL_AUTHENTICATE);
}

bool hr_reauth_take_frame(struct hr_relay_call *c, uint32_t total, int32_t correlation_id)
{
    struct hr_reauth *a = c->reauth;
    struct hr_inflight r = {.correlation_id = correlation_id, .kind = HR_INFLIGHT_LOGIN};

    if (total > HR_REAUTH_CLIENT_MAX)
        return hr_relay_close_for(c, HR_DROP_kafka_frame_size);
    if (c->avail < total) {
        c->relay->rq_left = total;
        c->ret->want = total - c->avail;
        return false;
    }
    if (!hr_relay_flush(c)) /* it has to stand at the front */
        return false;
    if (hr_inflight_push(&c->ctx->inflight, &c->relay->in_flight, r) != 0)
        return hr_relay_block(c);
    c->relay->rq_left = 0;
    c->relay->requests++;
    a->client = HR_REAUTH_CLIENT_FRAME;
    a->client_frame = total;
    return hr_relay_block(c);
}

/* The answer to the client's frame: in its place among the others. */
static bool reply(struct hr_relay_call *c)
{
    struct hr_reauth *a = c->reauth;

    if (a->client != HR_REAUTH_CLIENT_REPLY)
        return false;
    if (c->room == 0)
        return hr_relay_block(c);
    if (!hr_relay_flush(c))
        return false;
    if (hr_pieceq_move(c->ctx->bufs, c->out, &a->reply, a->reply.bytes) != 0)
        return hr_relay_starve(c);
    hr_inflight_pop(&c->ctx->inflight, &c->relay->in_flight);
    HR_COUNT(c->ctx->stats, kafka_own_replies);
    c->relay->responses++;
    a->client = HR_REAUTH_CLIENT_IDLE;
    return a->client_ends ? hr_relay_close_for(c, HR_DROP_auth_failed) : true;
}

/* What the broker answers to our frame stays where it is until the owner has taken it. */
static bool answer(struct hr_relay_call *c, const struct hr_inflight *record)
{
    struct hr_reauth *a = c->reauth;
    uint8_t buf[RESPONSE_MIN];

    if (a->broker != HR_REAUTH_BROKER_SENT || c->avail == 0)
        return false;
    if (c->avail < RESPONSE_MIN) {
        c->ret->want = RESPONSE_MIN - c->avail;
        return false;
    }
    const uint8_t *p = hr_relay_look(c, 0, RESPONSE_MIN, buf);
    uint32_t size = hr_kget32(p);
    if (size < RESPONSE_MIN - HR_KPROGRAM_FRAME_SIZE || size > HR_REAUTH_FRAME_MAX - HR_KPROGRAM_FRAME_SIZE)
        return hr_relay_close_for(c, HR_DROP_kafka_malformed_response);
    if ((int32_t)hr_kget32(p + 4) != record->correlation_id)
        return hr_relay_close_for(c, HR_DROP_kafka_correlation);
    if (c->avail < size + HR_KPROGRAM_FRAME_SIZE) {
        c->ret->want = size + HR_KPROGRAM_FRAME_SIZE - c->avail;
        return false;
    }
    if (!hr_relay_flush(c))
        return false;
    a->broker = HR_REAUTH_BROKER_ANSWER;
    a->broker_answer = size + HR_KPROGRAM_FRAME_SIZE;
    return false;
}

bool hr_reauth_turn(struct hr_relay_call *c, const struct hr_inflight *record)
{
    return record->kind == HR_INFLIGHT_LOGIN ? reply(c) : answer(c, record);
}
