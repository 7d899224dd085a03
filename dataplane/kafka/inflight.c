/* Records are linked by index: a queue costs twelve bytes while it is empty. */
#include "dataplane/kafka/inflight.h"

#include <stdlib.h>

int hr_inflight_pool_init(struct hr_inflight_pool *pool, uint32_t size, uint32_t queues)
{
    pool->records = calloc(size, sizeof(*pool->records));
    if (!pool->records)
        return HR_E_NOMEM;
    for (uint32_t i = 0; i < size; i++)
        pool->records[i].next = i + 1 < size ? i + 1 : HR_INFLIGHT_NIL;
    pool->size = size;
    pool->free = size > 0 ? 0 : HR_INFLIGHT_NIL;
    pool->n_free = size;
    pool->reserve = queues;
    return 0;
}

void hr_inflight_pool_fini(struct hr_inflight_pool *pool)
{
    free(pool->records);
    pool->records = NULL;
}

void hr_inflight_init(struct hr_inflight_queue *q)
{
    q->first = q->last = HR_INFLIGHT_NIL;
    q->count = 0;
}

bool hr_inflight_may_push(const struct hr_inflight_pool *pool, const struct hr_inflight_queue *q)
{
    return pool->n_free > (q->count > 0 ? pool->reserve : 0);
}

int hr_inflight_push(struct hr_inflight_pool *pool, struct hr_inflight_queue *q,
                     const struct hr_inflight *record)
{
    uint32_t i = pool->free;

    if (!hr_inflight_may_push(pool, q))
        return HR_E_FULL;
    pool->free = pool->records[i].next;
    pool->n_free--;
    pool->records[i] = *record;
    pool->records[i].next = HR_INFLIGHT_NIL;
    if (q->last == HR_INFLIGHT_NIL)
        q->first = i;
    else
        pool->records[q->last].next = i;
    q->last = i;
    q->count++;
    return 0;
}

const struct hr_inflight *hr_inflight_head(const struct hr_inflight_pool *pool,
                                           const struct hr_inflight_queue *q)
{
    return q->first != HR_INFLIGHT_NIL ? &pool->records[q->first] : NULL;
}

void hr_inflight_pop(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    uint32_t i = q->first;

    if (i == HR_INFLIGHT_NIL)
        return;
    q->first = pool->records[i].next;
    if (q->first == HR_INFLIGHT_NIL)
        q->last = HR_INFLIGHT_NIL;
    q->count--;
    pool->records[i].next = pool->free;
    pool->free = i;
    pool->n_free++;
}

void hr_inflight_clear(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    while (q->first != HR_INFLIGHT_NIL)
        hr_inflight_pop(pool, q);
}
