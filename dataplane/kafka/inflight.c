/* Nodes are linked by index: a queue costs 24 bytes, its first record included. */
#include "dataplane/kafka/inflight.h"

#include <stdlib.h>

int hr_inflight_pool_init(struct hr_inflight_pool *pool, uint32_t size)
{
    pool->nodes = calloc(size, sizeof(*pool->nodes));
    if (!pool->nodes)
        return HR_E_NOMEM;
    for (uint32_t i = 0; i < size; i++)
        pool->nodes[i].next = i + 1 < size ? i + 1 : HR_INFLIGHT_NIL;
    pool->free = size > 0 ? 0 : HR_INFLIGHT_NIL;
    pool->n_free = size;
    return 0;
}

void hr_inflight_pool_fini(struct hr_inflight_pool *pool)
{
    free(pool->nodes);
    pool->nodes = NULL;
}

void hr_inflight_init(struct hr_inflight_queue *q)
{
    q->first = q->last = HR_INFLIGHT_NIL;
    q->count = 0;
}

int hr_inflight_push(struct hr_inflight_pool *pool, struct hr_inflight_queue *q,
                     const struct hr_inflight *record)
{
    if (!hr_inflight_may_push(pool, q))
        return HR_E_FULL;
    if (q->count++ == 0) {
        q->head = *record;
        return 0;
    }
    uint32_t i = pool->free;
    pool->free = pool->nodes[i].next;
    pool->n_free--;
    pool->nodes[i].record = *record;
    pool->nodes[i].next = HR_INFLIGHT_NIL;
    if (q->last == HR_INFLIGHT_NIL)
        q->first = i;
    else
        pool->nodes[q->last].next = i;
    q->last = i;
    return 0;
}

void hr_inflight_pop(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    uint32_t i = q->first;

    if (q->count == 0)
        return;
    if (--q->count == 0)
        return;
    q->head = pool->nodes[i].record;
    q->first = pool->nodes[i].next;
    if (q->first == HR_INFLIGHT_NIL)
        q->last = HR_INFLIGHT_NIL;
    pool->nodes[i].next = pool->free;
    pool->free = i;
    pool->n_free++;
}

void hr_inflight_clear(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    while (q->count > 0)
        hr_inflight_pop(pool, q);
}
