/* The flow table: buckets of connection indices, chained through the blocks, hashed with a key so that the
 * network cannot choose buckets. */
#include <string.h>

#include "dataplane/tcp/impl.h"
#include "shared/base/siphash.h"

uint32_t hr_tcp_flow_hash(const struct hr_tcp *tcp, const struct hr_flow *flow)
{
    return (uint32_t)hr_siphash(tcp->cfg.hash_key, flow, sizeof(*flow));
}

struct hr_tcp_conn *hr_tcp_flow_find(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash)
{
    for (uint32_t i = tcp->buckets[hash & tcp->bucket_mask]; i != 0;) {
        struct hr_tcp_conn *c = &tcp->conns[i - 1];
        if (c->hash == hash && memcmp(&c->flow, flow, sizeof(*flow)) == 0)
            return c;
        i = c->hash_next;
    }
    return NULL;
}

void hr_tcp_flow_insert(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t *bucket = &tcp->buckets[c->hash & tcp->bucket_mask];
    c->hash_next = *bucket;
    *bucket = c->index + 1;
}

void hr_tcp_flow_remove(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t *link = &tcp->buckets[c->hash & tcp->bucket_mask];
    while (*link != 0 && *link != c->index + 1)
        link = &tcp->conns[*link - 1].hash_next;
    if (*link != 0)
        *link = c->hash_next;
}

void hr_tcp_flow_secrets(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t *ret_iss,
                         uint32_t *ret_ts_offset)
{
    uint64_t h = hr_siphash(tcp->cfg.isn_key, flow, sizeof(*flow));
    *ret_iss = (uint32_t)h + (uint32_t)(tcp->now_us / 4); /* M is a timer of 4 us (RFC 6528 3) */
    *ret_ts_offset = (uint32_t)(h >> 32);                 /* RFC 7323 7.1: fixed for a tuple */
}

bool hr_tcp_flow_exists(const struct hr_tcp *tcp, const struct hr_flow *flow)
{
    return hr_tcp_flow_find(tcp, flow, hr_tcp_flow_hash(tcp, flow)) != NULL;
}
