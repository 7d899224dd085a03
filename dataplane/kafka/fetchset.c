#include "dataplane/kafka/fetchset.h"

#include <stdlib.h>
#include <string.h>

int hr_fetch_pool_init(struct hr_fetch_pool *pool, uint32_t size)
{
    pool->members = malloc(size * sizeof(*pool->members));
    pool->buckets = malloc(size * sizeof(*pool->buckets));
    if (!pool->members || !pool->buckets)
        return HR_E_NOMEM;
    /* Touched now, so that a worker does not take the page faults. */
    memset(pool->members, 0, size * sizeof(*pool->members));
    memset(pool->buckets, 0, size * sizeof(*pool->buckets));
    for (uint32_t i = 0; i < size; i++)
        pool->members[i].chain = i + 1 < size ? i + 2 : 0;
    pool->size = size;
    pool->free = size > 0 ? 1 : 0;
    return 0;
}

void hr_fetch_pool_fini(struct hr_fetch_pool *pool)
{
    free(pool->members);
    free(pool->buckets);
    pool->members = NULL;
    pool->buckets = NULL;
}

/* The topic's key is a hash already. */
static uint32_t *bucket_of(const struct hr_fetch_pool *pool, uint32_t set, uint64_t topic, int32_t partition)
{
    uint64_t h = (topic ^ ((uint64_t)set << 32 | (uint32_t)partition)) * 0x9e3779b97f4a7c15ULL;
    return &pool->buckets[(h >> 32) & (pool->size - 1)];
}

/* The link that leads to the member, or to none. */
static uint32_t *find(const struct hr_fetch_pool *pool, const struct hr_fetch_set *set, uint64_t topic, int32_t partition)
{
    uint32_t *at = bucket_of(pool, set->id, topic, partition);

    while (*at) {
        struct hr_fetch_member *m = &pool->members[*at - 1];
        if (m->topic == topic && m->partition == partition && m->set == set->id)
            break;
        at = &m->chain;
    }
    return at;
}

int hr_fetch_set_add(struct hr_fetch_pool *pool, struct hr_fetch_set *set, uint64_t topic, int32_t partition)
{
    uint32_t *at = find(pool, set, topic, partition), i = pool->free;

    if (*at)
        return 0;
    if (i == 0 || set->n == HR_FETCH_SET_MAX)
        return HR_E_FULL;
    struct hr_fetch_member *m = &pool->members[i - 1];
    pool->free = m->chain;
    *m = (struct hr_fetch_member){.topic = topic, .partition = partition, .set = set->id, .next = set->first};
    if (set->first)
        pool->members[set->first - 1].prev = i;
    set->first = *at = i;
    set->n++;
    return 0;
}

static void take_out(struct hr_fetch_pool *pool, struct hr_fetch_set *set, uint32_t *at)
{
    uint32_t i = *at;
    struct hr_fetch_member *m = &pool->members[i - 1];

    *at = m->chain;
    *(m->prev ? &pool->members[m->prev - 1].next : &set->first) = m->next;
    if (m->next)
        pool->members[m->next - 1].prev = m->prev;
    m->chain = pool->free;
    pool->free = i;
    set->n--;
}

void hr_fetch_set_remove(struct hr_fetch_pool *pool, struct hr_fetch_set *set, uint64_t topic, int32_t partition)
{
    uint32_t *at = find(pool, set, topic, partition);

    if (*at)
        take_out(pool, set, at);
}

void hr_fetch_set_clear(struct hr_fetch_pool *pool, struct hr_fetch_set *set)
{
    while (set->first) {
        const struct hr_fetch_member *m = &pool->members[set->first - 1];
        take_out(pool, set, find(pool, set, m->topic, m->partition));
    }
}
