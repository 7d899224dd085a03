/* What the owner of a session asks and says about its second leg. */
#include "dataplane/kafka/relay_impl.h"

void hr_relay_set_now(struct hr_relay_ctx *ctx, uint64_t now_us)
{
    ctx->now_us = now_us;
}

void hr_relay_adopt(struct hr_relay_ctx *ctx, const struct hr_policy *policy, const struct hr_replicas *map)
{
    hr_readers_adopt(&ctx->readers, policy, map);
}

void hr_relay_make_reader(struct hr_relay_ctx *ctx, struct hr_relay *relay, int32_t home, uint8_t zone)
{
    struct hr_reader *reader = NULL;

    if (relay->sasl) {
        hr_relay_no_reader(ctx, relay, true);
        return;
    }
    reader = hr_reader_take(&ctx->readers, home, zone, ctx->now_us);
    if (reader) {
        relay->reader = hr_reader_number(&ctx->readers, reader);
        return;
    }
    relay->no_reader = true;
    HR_COUNT(ctx->stats, reads_home_limit);
}

void hr_relay_no_reader(struct hr_relay_ctx *ctx, struct hr_relay *relay, bool login)
{
    relay->no_reader = true;
    if (login)
        HR_COUNT(ctx->stats, reads_home_login);
}

void hr_relay_ask_again(struct hr_relay *relay)
{
    relay->no_reader = false;
}

bool hr_relay_request_branch(const struct hr_relay *relay)
{
    return relay->rq_branch;
}

bool hr_relay_response_branch(const struct hr_relay *relay)
{
    return relay->rs_branch;
}

int32_t hr_relay_branch_node(const struct hr_relay_ctx *ctx, const struct hr_relay *relay)
{
    return hr_relay_reader(ctx, relay)->target;
}

void hr_relay_go_home(struct hr_relay_ctx *ctx, struct hr_relay *relay, uint64_t bypass_us)
{
    if (bypass_us > 0)
        hr_reader_bypass(hr_relay_reader(ctx, relay), ctx->now_us + bypass_us);
    if (relay->rq_state != HR_RQ_ROUTED)
        return;
    relay->rq_branch = false;
    HR_COUNT(ctx->stats, reads_home_bypass);
}

uint32_t hr_relay_branch_out(const struct hr_relay_ctx *ctx, const struct hr_relay *relay)
{
    return relay->reader ? hr_relay_reader(ctx, relay)->n_out : 0;
}

static bool answer_begun(const struct hr_relay *relay)
{
    return relay->rs_branch && hr_relay_mid_frame(relay, false);
}

bool hr_relay_branch_late(const struct hr_relay_ctx *ctx, const struct hr_relay *relay)
{
    return relay->reader && ctx->now_us >= hr_relay_reader(ctx, relay)->late_at_us && !answer_begun(relay);
}

int hr_relay_branch_again(struct hr_relay_ctx *ctx, struct hr_relay *relay, struct hr_pieceq *out)
{
    struct hr_reader *reader = hr_relay_reader(ctx, relay);

    if (reader->kept.bytes == 0 || answer_begun(relay) || (relay->rq_branch && relay->rq_state == HR_RQ_STREAM))
        return HR_E_UNSUPPORTED;
    int err = hr_pieceq_move(ctx->bufs, out, &reader->kept, reader->kept.bytes);
    if (err == 0) {
        reader->late_at_us = UINT64_MAX; /* the other broker is as fast as it is */
        HR_COUNT_N(ctx->stats, reads_asked_again, reader->n_out);
    }
    return err;
}
