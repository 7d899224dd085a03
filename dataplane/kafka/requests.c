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
    if (bytes > c->avail)
        c->ret->want = bytes - c->avail;
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
    uint8_t buf[sizeof(relay->client_id)];
    int16_t len = (int16_t)hr_kget16(hr_relay_look(c, HEADER_FIXED, 2, buf));
    uint32_t n = len < 0 ? 0 : (uint32_t)len;

    if (n > sizeof(relay->client_id))
        n = sizeof(relay->client_id);
    const uint8_t *p = hr_relay_look(c, HEADER_FIXED + 2, n, buf);
    if (n < sizeof(relay->client_id) && relay->client_id[n] == '\0' && memcmp(relay->client_id, p, n) == 0)
        return;
    note_client_id(relay, p, n);
}

/* What has been read of the request at the head of the input; lives for one look at it. */
struct head {
    uint32_t total; /* of the frame, size included */
    int16_t api_key, version;
    int32_t correlation_id;
    const struct hr_plan *plan;
};

/* Makes the request's record. False: none is free. */
static bool record(struct hr_relay_call *c, const struct head *h, enum hr_inflight_kind kind)
{
    struct hr_inflight r = {
        .correlation_id = h->correlation_id,
        .plan = h->plan ? h->plan->index : 0,
        .kind = (uint8_t)kind,
        .branch = c->relay->rq_branch,
    };

    return hr_inflight_push(&c->ctx->inflight, &c->relay->in_flight, r) == 0;
}

/* What comes next is of this request. */
static void note_last(struct hr_relay_call *c, const struct head *h)
{
    struct hr_relay *relay = c->relay;

    hr_relay_count_bytes(c, c->ctx->cells[HR_ZONE_UP], (int32_t)relay->last_api_key);
    relay->last_api_key = h->api_key;
    relay->last_version = h->version;
}

static void counted(struct hr_relay_call *c, const struct head *h)
{
    c->relay->requests++;
    note_last(c, h);
}

/* The frame may go to the broker. */
static bool forward(struct hr_relay_call *c, const struct head *h, bool answered)
{
    if (answered && !record(c, h, HR_INFLIGHT_BROKER))
        return hr_relay_block(c);
    HR_COUNT(c->ctx->stats, kafka_requests);
    counted(c, h);
    if (h->plan->request_kind == HR_REQUEST_ACKS)
        hr_relay_topics_begin(c, HR_ZONE_UP, h->plan, h->total);
    c->relay->rq_left = h->total;
    c->relay->rq_state = HR_RQ_STREAM;
    return true;
}

/* The frame is answered here. */
static bool answer(struct hr_relay_call *c, const struct head *h, enum hr_inflight_kind kind)
{
    if (!record(c, h, kind))
        return hr_relay_block(c);
    counted(c, h);
    c->ret->own_reply = true;
    c->relay->rq_left = h->total;
    c->relay->rq_state = HR_RQ_DISCARD;
    return true;
}

/* More of the frame, up to `most` bytes of it, must arrive. What is there has been read in vain, so the next look
 * waits for as much again: byte by byte, the header is read a few times, not once per byte. */
static bool wait_for(struct hr_relay_call *c, uint32_t most)
{
    uint32_t again = 2 * c->avail;

    c->relay->rq_left = again < most ? again : most;
    want_up_to(c, most);
    return false;
}

/* The frame's fixed part. False: the call is over. */
static bool read_fixed(struct hr_relay_call *c, struct head *h)
{
    uint8_t buf[HEADER_FIXED];
    bool api_known;

    if (c->avail < HR_KPROGRAM_FRAME_SIZE) {
        want_up_to(c, HEADER_FIXED);
        return false;
    }
    const uint8_t *p = hr_relay_look(c, 0, c->avail < HEADER_FIXED ? HR_KPROGRAM_FRAME_SIZE : HEADER_FIXED, buf);
    uint32_t size = hr_kget32(p);
    if (size < FRAME_MIN || size > INT32_MAX - HR_KPROGRAM_FRAME_SIZE || size > c->listener->max_frame_bytes)
        return hr_relay_close_for(c, HR_DROP_kafka_frame_size);
    if (c->avail < HEADER_FIXED) {
        want_up_to(c, HEADER_FIXED);
        return false;
    }
    if (c->relay->in_flight.count >= c->listener->max_in_flight || c->room == 0)
        return hr_relay_block(c);
    h->total = size + HR_KPROGRAM_FRAME_SIZE;
    h->api_key = (int16_t)hr_kget16(p + 4);
    h->version = (int16_t)hr_kget16(p + 6);
    h->correlation_id = (int32_t)hr_kget32(p + 8);
    h->plan = hr_plans_find(c->ctx->plans, h->api_key, h->version, &api_known);
    if (h->plan)
        return true;
    note_last(c, h);
    if (!api_known)
        return hr_relay_close_for(c, HR_DROP_kafka_unknown_api);
    return h->api_key == HR_KAPI_API_VERSIONS || hr_relay_close_for(c, HR_DROP_kafka_version);
}

/* The identity of KIP-1242 on the bootstrap listener: any broker may stand behind it, so a node that the
 * client names there cannot be checked by that broker. The cluster is checked here; then both are left out.
 */
static bool identity(struct hr_relay_call *c, const struct head *h, uint32_t body_at)
{
    struct hr_relay_ctx *ctx = c->ctx;
    struct hr_edit_identity id;
    uint32_t n;

    if (h->total > hr_relay_hold_max(c))
        return hr_relay_close_for(c, HR_DROP_kafka_hold_max);
    if (c->avail < h->total) {
        c->relay->rq_left = h->total;
        want_up_to(c, h->total);
        return false;
    }
    hr_pieceq_peek(c->in, *c->passed, ctx->in_scratch, h->total);
    int err = hr_edit_identity(h->plan->request, h->version, ctx->in_scratch + body_at, h->total - body_at,
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
    note_last(c, h);
    memcpy(ctx->out_scratch, ctx->in_scratch, body_at);
    hr_kput32(ctx->out_scratch, body_at + n - HR_KPROGRAM_FRAME_SIZE);
    if (!hr_relay_replace(c, h->total, ctx->out_scratch, body_at + n) || !record(c, h, HR_INFLIGHT_BROKER))
        return false; /* the second cannot be: a record was free */
    HR_COUNT(ctx->stats, kafka_requests);
    HR_COUNT(ctx->stats, kafka_edits_held);
    counted(c, h);
    c->relay->rq_left = 0;
    return true;
}

/* Reads what has to be read of a frame before it may go. False: the call is over. */
static bool read_head(struct hr_relay_call *c, const struct head *h)
{
    struct hr_kwalk *w = &c->ctx->scratch_walk;
    struct hr_frame_cursor at = c->at;
    uint32_t left = c->avail < HR_REQUEST_PEEK_MAX ? c->avail : HR_REQUEST_PEEK_MAX;

    hr_kwalk_init(w, h->plan->request_walk, 0, h->total);
    enum hr_kwalk_event ev = hr_framewalk_next(w, &at, &left);
    if (ev == HR_KWALK_BAD || (ev == HR_KWALK_MORE && w->pos >= HR_REQUEST_PEEK_MAX))
        return hr_relay_close_for(c, w->body_at > 0 ? HR_DROP_kafka_malformed_request : HR_DROP_kafka_header);
    if (ev == HR_KWALK_MORE)
        return wait_for(c, h->total < HR_REQUEST_PEEK_MAX ? h->total : HR_REQUEST_PEEK_MAX);
    return true;
}

/* A consumer's request for records: to the leader, or to a follower in the client's zone. */
static bool fetch(struct hr_relay_call *c, const struct head *h)
{
    struct hr_relay_ctx *ctx = c->ctx;
    struct hr_relay *relay = c->relay;
    struct hr_reader_fetch f = {.version = h->version, .len = h->total};

    if (c->listener->zone_reads <= HR_ZONE_READS_OFF || relay->no_reader || !ctx->readers.map)
        return forward(c, h, true);
    if (!relay->reader) {
        c->ret->ask_reader = true;
        return false;
    }
    struct hr_reader *reader = hr_relay_reader(ctx, relay);
    if (h->version < HR_READER_FETCH_MIN) {
        HR_COUNT(ctx->stats, reads_home_old);
        return forward(c, h, true);
    }
    if (h->total > HR_READER_FETCH_MAX || h->total > hr_relay_hold_max(c)) {
        reader->known = false;
        HR_COUNT(ctx->stats, reads_home_limit);
        return forward(c, h, true);
    }
    if (c->avail < h->total) {
        relay->rq_left = h->total;
        want_up_to(c, h->total);
        return false;
    }
    hr_pieceq_peek(c->in, *c->passed, ctx->in_scratch, h->total);
    hr_reader_note(&ctx->readers, reader, h->plan->whole_walk, ctx->in_scratch, &f);
    enum hr_reader_reason why = hr_reader_decide(&ctx->readers, reader, c->listener, &f, ctx->now_us);
    if (why == HR_READER_NONE) {
        if (!hr_relay_switch(c))
            return false;
        reader->wait_ms_of_next = f.wait_ms;
        relay->rq_branch = true;
        relay->rq_left = 0;
        relay->rq_state = HR_RQ_ROUTED;
        return false;
    }
    /* What an earlier part of the connection has named is not known: to be told all, say that no broker knows it. Once. */
    if (!reader->known && f.incremental && !reader->asked_all) {
        reader->asked_all = true;
        return answer(c, h, HR_INFLIGHT_FETCH_ALL);
    }
    if (!f.replica)
        ctx->stats->counters[HR_CTR_reads_home_off + why - HR_READER_off]++;
    return forward(c, h, true);
}

/* The leg is there: a copy is kept of what goes to the branch. */
static bool routed(struct hr_relay_call *c)
{
    struct hr_relay_ctx *ctx = c->ctx;
    struct hr_reader *reader = hr_relay_reader(ctx, c->relay);
    struct head h;

    if (!read_fixed(c, &h))
        return false;
    if (c->relay->rq_branch) {
        if (!hr_inflight_may_push(&ctx->inflight, &c->relay->in_flight))
            return hr_relay_block(c);
        hr_pieceq_peek(c->in, *c->passed, ctx->in_scratch, h.total);
        if (hr_pieceq_push_bytes(ctx->bufs, &reader->kept, ctx->in_scratch, h.total) != 0)
            return hr_relay_starve(c);
        hr_reader_sent(reader, ctx->now_us);
        HR_COUNT(ctx->stats, reads_in_zone);
    }
    return forward(c, &h, true);
}

static bool start(struct hr_relay_call *c)
{
    const struct hr_kwalk *w = &c->ctx->scratch_walk;
    struct head h;

    if (c->reauth && !hr_reauth_before_request(c))
        return false;
    if (c->avail == 0)
        return false;
    if (c->avail < c->relay->rq_left) {
        want_up_to(c, c->relay->rq_left);
        return false;
    }
    if (!read_fixed(c, &h))
        return false;
    if (!h.plan)
        return answer(c, &h, HR_INFLIGHT_UNSUPPORTED);
    if (!read_head(c, &h))
        return false;
    read_client_id(c);
    if (c->reauth) {
        if (!hr_reauth_may_pass(c, h.api_key))
            return false;
        if (hr_reauth_takes(c->reauth, h.api_key)) {
            note_last(c, &h);
            return hr_reauth_take_frame(c, h.total, h.correlation_id);
        }
    }
    /* Produce is walked to its acks: 0 means that there will be no response. */
    if (h.plan->request_kind == HR_REQUEST_ACKS)
        return forward(c, &h, w->value != 0);
    if (h.plan->request_kind == HR_REQUEST_FETCH)
        return fetch(c, &h);
    if (h.plan->request_kind == HR_REQUEST_LOGIN)
        c->relay->sasl = true;
    /* Behind a virtual broker ids are the broker's own: it checks them itself. */
    if (h.plan->request_kind == HR_REQUEST_IDENTITY && c->relay->bootstrap)
        return identity(c, &h, w->pos);
    return forward(c, &h, true);
}

static bool discard(struct hr_relay_call *c)
{
    uint32_t n = c->relay->rq_left < c->avail ? c->relay->rq_left : c->avail;

    if (!hr_relay_drop(c, n))
        return false;
    c->relay->rq_left -= n;
    if (c->relay->rq_left > 0)
        return false;
    c->relay->rq_state = HR_RQ_START;
    return true;
}

static bool stream(struct hr_relay_call *c)
{
    struct hr_frame_cursor at = c->at;
    uint32_t left = c->relay->rq_left;
    bool whole = hr_relay_stream(c, &c->relay->rq_left);

    hr_relay_topics(c, HR_ZONE_UP, at, left - c->relay->rq_left);
    if (!whole)
        return false;
    hr_relay_topics_end(c, HR_ZONE_UP);
    if (c->relay->rq_branch) { /* one frame each time */
        if (hr_relay_switch(c)) {
            c->relay->rq_branch = false;
            c->relay->rq_state = HR_RQ_START;
        }
        return false;
    }
    c->relay->rq_state = HR_RQ_START;
    return true;
}

static bool step(struct hr_relay_call *c)
{
    switch ((enum hr_request_state)c->relay->rq_state) {
    case HR_RQ_START:
        return start(c);
    case HR_RQ_STREAM:
        return stream(c);
    case HR_RQ_ROUTED:
        return routed(c);
    case HR_RQ_DISCARD:
        return discard(c);
    case HR_RQ_MAX:
        break;
    }
    return false;
}

void hr_relay_requests(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_reauth *reauth,
                       const struct hr_policy *policy, const struct hr_policy_listener *listener,
                       struct hr_pieceq *in, struct hr_pieceq *out, uint32_t room, struct hr_relay_result *ret)
{
    struct hr_relay_call c = {ctx, relay, policy, listener, in, out, room, ret, reauth, &relay->rq_passed};

    hr_relay_begin(&c);
    while (step(&c))
        ;
    hr_relay_flush(&c);
    hr_relay_count_bytes(&c, ctx->cells[HR_ZONE_UP], (int32_t)relay->last_api_key);
    HR_COUNT_N(ctx->stats, kafka_request_bytes, ret->taken);
}
