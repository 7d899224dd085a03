/* The flow table: buckets of a cache line, each with eight tags and the connections they stand for.
 *
 * The hash is keyed, so that the network cannot choose buckets: products of the tuple's words with secret ones, folded
 * (as in wyhash). That is no cryptographic function, and need not be one: nothing that leaves the process depends on
 * its value, so who does not know the secret can but guess which tuples collide, and is right no more often than
 * chance is. What can be seen from outside (sequence numbers, cookies, timestamps) is SipHash under another key.
 *
 * Its upper bits choose the bucket, its lower sixteen are the tag. A connection that finds its bucket full stands in
 * the next one with room, and each full bucket on the way counts it (`passed`), so that a search goes on exactly where
 * something may be found. There are three ways for two connections, so that is rare. */
#include <rte_prefetch.h>
#include <string.h>

#include "dataplane/tcp/impl.h"
#include "shared/base/siphash.h"

void hr_tcp_flow_init(struct hr_tcp *tcp)
{
    for (uint32_t i = 0; i < HR_TCP_FLOW_KEYS; i++)
        tcp->flow_key[i] = hr_siphash(tcp->cfg.hash_key, &i, sizeof(i));
}

static inline uint64_t folded(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint32_t hr_tcp_flow_hash(const struct hr_tcp *tcp, const struct hr_flow *flow)
{
    const uint64_t *key = tcp->flow_key;
    uint64_t addr[4];
    uint32_t ports;

    memcpy(addr, flow, sizeof(addr));
    memcpy(&ports, &flow->local_port, sizeof(ports));
    uint64_t h = folded(addr[0] ^ key[0], addr[1] ^ key[1]) ^ folded(addr[2] ^ key[2], addr[3] ^ key[3]);
    return (uint32_t)folded(h ^ ports, key[4]);
}

static uint32_t home(const struct hr_tcp *tcp, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * tcp->n_buckets >> 32);
}

static uint32_t after(const struct hr_tcp *tcp, uint32_t bucket)
{
    return bucket + 1 == tcp->n_buckets ? 0 : bucket + 1;
}

/* A set of the ways with this tag, one bit at 16 * (way % 4) of word way / 4. */
typedef uint16_t tag_vec __attribute__((vector_size(16)));
union matches {
    tag_vec tags;
    uint64_t word[2];
};

static union matches match(const struct hr_tcp_bucket *b, uint16_t tag)
{
    const tag_vec one = {1, 1, 1, 1, 1, 1, 1, 1};
    union matches m;
    memcpy(&m, b->tag, sizeof(m));
    m.tags = (tag_vec)(m.tags == tag) & one;
    return m;
}

static bool same_flow(const struct hr_flow *a, const struct hr_flow *b)
{
    uint64_t x[4], y[4];
    memcpy(x, a, sizeof(x));
    memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0 && a->local_port == b->local_port &&
           a->remote_port == b->remote_port;
}

struct hr_tcp_conn *hr_tcp_flow_find(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash)
{
    for (uint32_t i = home(tcp, hash);; i = after(tcp, i)) {
        const struct hr_tcp_bucket *b = &tcp->buckets[i];
        union matches m = match(b, (uint16_t)hash);
        for (uint32_t w = 0; w < 2; w++) {
            for (uint64_t set = m.word[w]; set != 0; set &= set - 1) {
                uint32_t no = b->conn[w * 4 + (uint32_t)__builtin_ctzll(set) / 16];
                if (no != 0 && same_flow(&tcp->conns[no - 1].flow, flow))
                    return &tcp->conns[no - 1];
            }
        }
        if (b->passed == 0)
            return NULL;
    }
}

void hr_tcp_flow_prefetch(const struct hr_tcp *tcp, uint32_t hash)
{
    rte_prefetch0(&tcp->buckets[home(tcp, hash)]);
}

void hr_tcp_flow_insert(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    tcp->flow_changes++;
    for (uint32_t i = home(tcp, c->hash);; i = after(tcp, i)) {
        struct hr_tcp_bucket *b = &tcp->buckets[i];
        for (uint32_t way = 0; way < HR_TCP_BUCKET_WAYS; way++) {
            if (b->conn[way] == 0) {
                b->tag[way] = (uint16_t)c->hash;
                b->conn[way] = hr_tcp_conn_no(tcp, c);
                return;
            }
        }
        b->passed++;
    }
}

void hr_tcp_flow_remove(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    tcp->flow_changes++;
    for (uint32_t i = home(tcp, c->hash);; i = after(tcp, i)) {
        struct hr_tcp_bucket *b = &tcp->buckets[i];
        for (uint32_t way = 0; way < HR_TCP_BUCKET_WAYS; way++) {
            if (b->conn[way] == hr_tcp_conn_no(tcp, c)) {
                b->conn[way] = 0;
                return;
            }
        }
        b->passed--; /* it stands further on */
    }
}

void hr_tcp_flow_secrets(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t *ret_iss,
                         uint32_t *ret_ts_offset)
{
    uint64_t h = hr_siphash(tcp->cfg.isn_key, flow, sizeof(*flow));
    *ret_iss = (HR_MUTANT(ISN_WITHOUT_KEY) ? 0 : (uint32_t)h) + (uint32_t)(tcp->now_us / 4); /* M is a timer of 4 us (RFC 6528 3) */
    *ret_ts_offset = (uint32_t)(h >> 32);                 /* RFC 7323 7.1: fixed for a tuple */
}

bool hr_tcp_flow_exists(const struct hr_tcp *tcp, const struct hr_flow *flow)
{
    return hr_tcp_flow_find(tcp, flow, hr_tcp_flow_hash(tcp, flow)) != NULL;
}
