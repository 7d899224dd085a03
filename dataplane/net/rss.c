#include "dataplane/net/rss.h"

#include <string.h>

#define ALL_MODELS ((uint16_t)((1u << HR_RSS_MODELS) - 1))

/* The packet's fields in the order in which they are hashed: source, destination, source port, destination port. */
static uint32_t tuple(const struct hr_flow *flow, bool sorted, uint8_t ret[36])
{
    bool v4 = hr_addr_is_v4(&flow->remote);
    uint32_t n = v4 ? 4 : 16;
    const uint8_t *src = flow->remote.b + 16 - n, *dst = flow->local.b + 16 - n;
    uint16_t sport = flow->remote_port, dport = flow->local_port;
    if (sorted && memcmp(src, dst, n) > 0) {
        const uint8_t *t = src;
        src = dst;
        dst = t;
    }
    if (sorted && sport > dport) {
        uint16_t t = sport;
        sport = dport;
        dport = t;
    }
    memcpy(ret, src, n);
    memcpy(ret + n, dst, n);
    ret[2 * n] = (uint8_t)(sport >> 8);
    ret[2 * n + 1] = (uint8_t)sport;
    ret[2 * n + 2] = (uint8_t)(dport >> 8);
    ret[2 * n + 3] = (uint8_t)dport;
    return 2 * n + 4;
}

static uint8_t key_byte(const struct hr_rss *rss, bool reversed, uint32_t i)
{
    if (i >= rss->key_len)
        return 0;
    return reversed ? rss->key[rss->key_len - 1 - i] : rss->key[i];
}

/* Toeplitz: for each bit of the input that is set, the 32 bits of the key that start at its position. */
uint32_t hr_rss_hash(const struct hr_rss *rss, uint32_t model, const struct hr_flow *flow)
{
    bool reversed = model & HR_RSS_KEY_REVERSED;
    uint8_t in[36];
    uint32_t n = tuple(flow, model & HR_RSS_SORTED, in);
    uint32_t hash = model & HR_RSS_START_ONES ? UINT32_MAX : 0;
    uint64_t window = 0; /* 40 bits of the key: the current 32, and the next byte */
    for (uint32_t i = 0; i < 4; i++)
        window = window << 8 | key_byte(rss, reversed, i);
    for (uint32_t i = 0; i < n; i++) {
        window = window << 8 | key_byte(rss, reversed, i + 4);
        for (uint32_t bit = 0; bit < 8; bit++)
            if (in[i] & 0x80 >> bit)
                hash ^= (uint32_t)(window >> (8 - bit));
    }
    return model & HR_RSS_16_BITS ? hash & 0xffff : hash;
}

void hr_rss_learner_init(struct hr_rss_learner *l)
{
    *l = (struct hr_rss_learner){.possible = ALL_MODELS};
}

static uint16_t queue_of(const struct hr_rss *rss, uint32_t hash)
{
    return rss->table[hash & (rss->n_table - 1u)];
}

void hr_rss_observe(struct hr_rss_learner *l, const struct hr_rss *rss, const struct hr_flow *flow, uint16_t queue,
                    const uint32_t *hash)
{
    if (rss->key_len == 0 || rss->n_table == 0)
        return;
    for (uint32_t model = 0; model < HR_RSS_MODELS; model++) {
        if (!(l->possible & 1u << model))
            continue;
        uint32_t expected = hr_rss_hash(rss, model, flow);
        if (queue_of(rss, expected) != queue || (hash != NULL && expected != *hash))
            l->possible &= (uint16_t)~(1u << model);
    }
    if (hash != NULL && l->n_hashes < UINT16_MAX)
        l->n_hashes++;
    if (l->n_queues < UINT16_MAX)
        l->n_queues++;
    if (l->possible == 0) { /* the table changed, or the card does something that we do not know */
        uint32_t restarts = l->restarts + 1;
        hr_rss_learner_init(l);
        l->restarts = restarts;
    }
}

int hr_rss_queue(const struct hr_rss_learner *l, const struct hr_rss *rss, const struct hr_flow *flow)
{
    if (rss->key_len == 0 || rss->n_table == 0 ||
        (l->n_hashes < HR_RSS_ENOUGH_HASHES && l->n_queues < HR_RSS_ENOUGH_QUEUES))
        return -1;
    /* Those that are left have agreed about everything seen so far (16-bit results differ in the upper half only). */
    return queue_of(rss, hr_rss_hash(rss, (uint32_t)__builtin_ctz(l->possible), flow));
}
