/* Contexts and relays: creation, pools, and the few steps that both directions share. */
#include "dataplane/kafka/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/kafka/relay_impl.h"

/* Records beyond each relay's first: most clients keep a handful of requests in flight, a few keep a thousand. */
#define RECORDS_PER_RELAY 16
#define RECORDS_MIN       8192
#define RECORDS_MAX       262144
/* Responses being walked at once. A relay that finds none waits, or passes by length what it would only watch. */
#define WALKERS_MAX 16384
/* From such an address on, no relay lies in more than two cache lines. */
#define RELAY_ALIGN 64

int hr_relay_ctx_create(const struct hr_relay_config *cfg, struct hr_relay_ctx **ret_ctx)
{
    struct hr_relay_ctx *ctx = calloc(1, sizeof(*ctx));
    uint64_t records = (uint64_t)cfg->max_relays * RECORDS_PER_RELAY;
    uint32_t walkers = cfg->max_relays < WALKERS_MAX ? cfg->max_relays : WALKERS_MAX;
    size_t relays_size = (cfg->max_relays * sizeof(struct hr_relay) + RELAY_ALIGN - 1) / RELAY_ALIGN * RELAY_ALIGN;
    int err = HR_E_NOMEM;

    if (!ctx)
        return HR_E_NOMEM;
    ctx->bufs = cfg->bufs;
    ctx->stats = cfg->stats;
    ctx->zones = cfg->zones;
    ctx->topics[HR_ZONE_DOWN].dir = HR_ZONE_DOWN;
    ctx->client_zone = UINT8_MAX; /* none as yet */
    hr_relay_between(ctx, HR_ZONE_NONE, HR_ZONE_NONE);
    ctx->hold_max = cfg->hold_max;
    /* Longer names make frames longer; twice and some is ample for names of up to 253 bytes. */
    ctx->out_cap = 2 * cfg->hold_max + 64 * 1024;
    ctx->in_scratch = malloc(ctx->hold_max);
    ctx->out_scratch = malloc(ctx->out_cap);
    ctx->tail_scratch = malloc(ctx->hold_max);
    ctx->relays = aligned_alloc(RELAY_ALIGN, relays_size);
    ctx->walkers = calloc(walkers, sizeof(*ctx->walkers));
    if (!ctx->in_scratch || !ctx->out_scratch || !ctx->tail_scratch || !ctx->relays || !ctx->walkers)
        goto fail;
    /* Touched now, so that a worker does not take the page faults. */
    memset(ctx->in_scratch, 0, ctx->hold_max);
    memset(ctx->out_scratch, 0, ctx->out_cap);
    memset(ctx->tail_scratch, 0, ctx->hold_max);
    memset(ctx->relays, 0, relays_size);
    for (uint32_t i = cfg->max_relays; i-- > 0;) {
        ctx->relays[i].next_free = ctx->free;
        ctx->free = &ctx->relays[i];
    }
    for (uint32_t i = walkers; i-- > 0;) {
        ctx->walkers[i].next_free = ctx->free_walker;
        ctx->free_walker = i + 1;
    }
    err = hr_readers_init(&ctx->readers, cfg->max_readers, HR_READER_MEMBERS);
    if (err != 0)
        goto fail;
    err = hr_inflight_pool_init(&ctx->inflight, records < RECORDS_MIN   ? RECORDS_MIN
                                                : records > RECORDS_MAX ? RECORDS_MAX
                                                                        : (uint32_t)records);
    if (err != 0)
        goto fail;
    err = hr_plans_create(&ctx->plans);
    if (err != 0)
        goto fail;
    *ret_ctx = ctx;
    return 0;
fail:
    hr_relay_ctx_destroy(ctx);
    return err;
}

void hr_relay_ctx_destroy(struct hr_relay_ctx *ctx)
{
    if (!ctx)
        return;
    hr_plans_destroy(ctx->plans);
    hr_inflight_pool_fini(&ctx->inflight);
    hr_readers_fini(&ctx->readers);
    free(ctx->walkers);
    free(ctx->relays);
    free(ctx->tail_scratch);
    free(ctx->out_scratch);
    free(ctx->in_scratch);
    free(ctx);
}

int hr_relay_open(struct hr_relay_ctx *ctx, int32_t node_id, struct hr_relay **ret_relay)
{
    struct hr_relay *r = ctx->free;

    if (!r)
        return HR_E_NOMEM;
    ctx->free = r->next_free;
    memset(r, 0, sizeof(*r));
    r->bootstrap = node_id < 0;
    r->last_api_key = -1;
    hr_inflight_init(&r->in_flight);
    *ret_relay = r;
    return 0;
}

void hr_relay_between(struct hr_relay_ctx *ctx, uint8_t client, uint8_t broker)
{
    if (ctx->client_zone == client && ctx->broker_zone == broker)
        return;
    ctx->client_zone = client;
    ctx->broker_zone = broker;
    ctx->cells[HR_ZONE_UP] = ctx->zones->bytes[client][broker][HR_ZONE_UP];
    ctx->cells[HR_ZONE_DOWN] = ctx->zones->bytes[client][broker][HR_ZONE_DOWN];
}

const char *hr_relay_client_id(const struct hr_relay *relay)
{
    return relay->client_id;
}

void hr_relay_close(struct hr_relay_ctx *ctx, struct hr_relay *relay)
{
    for (int dir = 0; dir < HR_ZONE_DIRS; dir++)
        if (ctx->topics[dir].of == relay)
            hr_topics_end(&ctx->topics[dir], ctx->zones, false);
    hr_inflight_clear(&ctx->inflight, &relay->in_flight);
    hr_relay_walker_put(ctx, relay);
    if (relay->reader)
        hr_reader_give_back(&ctx->readers, ctx->bufs, hr_relay_reader(ctx, relay));
    relay->next_free = ctx->free;
    ctx->free = relay;
}

/* What has passed and could not be moved may end anywhere. */
bool hr_relay_mid_frame(const struct hr_relay *relay, bool request)
{
    if (request)
        return relay->rq_state == HR_RQ_STREAM || relay->rq_passed > 0;
    return relay->rs_state == HR_RS_STREAM || relay->rs_state == HR_RS_WALK || relay->rs_state == HR_RS_TAIL ||
           relay->rs_passed > 0;
}

uint64_t hr_relay_count(const struct hr_relay *relay)
{
    return relay->requests;
}

void hr_relay_get_state(const struct hr_relay *relay, struct hr_relay_state *ret_state)
{
    ret_state->in_flight = relay->in_flight.count;
    ret_state->request_mid_frame = hr_relay_mid_frame(relay, true);
    ret_state->response_mid_frame = hr_relay_mid_frame(relay, false);
    ret_state->requests = relay->requests;
    ret_state->responses = relay->responses;
    ret_state->last_api_key = (int16_t)relay->last_api_key;
    ret_state->last_api_version = (int16_t)relay->last_version;
    memcpy(ret_state->client_id, relay->client_id, sizeof(relay->client_id));
}

bool hr_relay_drop(struct hr_relay_call *c, uint32_t n)
{
    if (!hr_relay_flush(c))
        return false;
    hr_pieceq_drop(c->ctx->bufs, c->in, n);
    hr_frame_cursor_at(&c->at, c->in, 0);
    c->ret->taken += n;
    c->avail -= n;
    return true;
}

bool hr_relay_replace(struct hr_relay_call *c, uint32_t n, const uint8_t *data, uint32_t len)
{
    if (!hr_relay_flush(c))
        return false;
    if (hr_pieceq_push_bytes(c->ctx->bufs, c->out, data, len) != 0)
        return hr_relay_starve(c);
    HR_COUNT_N(c->ctx->stats, edited_bytes, len);
    c->room -= len < c->room ? len : c->room;
    return hr_relay_drop(c, n); /* nothing has passed any more: it cannot fail */
}

uint32_t hr_relay_hold_max(const struct hr_relay_call *c)
{
    return c->policy->hold_max_bytes < c->ctx->hold_max ? c->policy->hold_max_bytes : c->ctx->hold_max;
}
