/* The partitions of fetch sessions: which ones a consumer reads over a connection, as its requests say (KIP-227).
 *
 * A request with an epoch above 0 only names what changes, so the rest has to be remembered. All sets of a worker share
 * one pool and one hash table, which finds (set, topic, partition); each set's members form a list besides. A set that
 * does not fit is forgotten by its owner until the next request that names everything. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_FETCH_SET_MAX 4096 /* partitions in one set */

struct hr_fetch_member {
    uint64_t topic;    /* key in the replica map */
    int32_t partition;
    uint32_t set;      /* whose */
    uint32_t chain;    /* next in its bucket; free list */
    uint32_t next, prev; /* in its set; all three number + 1, 0: none */
};

struct hr_fetch_pool {
    struct hr_fetch_member *members;
    uint32_t *buckets;
    uint32_t size, free; /* number + 1 */
};

struct hr_fetch_set {
    uint32_t id, n, first;
};

/* size is a power of two. */
HR_MUST_CHECK int hr_fetch_pool_init(struct hr_fetch_pool *pool, uint32_t size);
void hr_fetch_pool_fini(struct hr_fetch_pool *pool);

static inline void hr_fetch_set_init(struct hr_fetch_set *set, uint32_t id)
{
    *set = (struct hr_fetch_set){.id = id};
}

/* 0, also where it is in the set already (then n stays); FULL: it is not. */
HR_MUST_CHECK int hr_fetch_set_add(struct hr_fetch_pool *pool, struct hr_fetch_set *set, uint64_t topic, int32_t partition);
/* It need not be there. */
void hr_fetch_set_remove(struct hr_fetch_pool *pool, struct hr_fetch_set *set, uint64_t topic, int32_t partition);
void hr_fetch_set_clear(struct hr_fetch_pool *pool, struct hr_fetch_set *set);

/* Members in turn: NULL begins; NULL again: that was the last. */
static inline const struct hr_fetch_member *hr_fetch_set_next(const struct hr_fetch_pool *pool,
                                                              const struct hr_fetch_set *set,
                                                              const struct hr_fetch_member *after)
{
    uint32_t i = after ? after->next : set->first;
    return i ? &pool->members[i - 1] : NULL;
}
