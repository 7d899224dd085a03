/* Nodes are linked by index: a queue costs 16 bytes, its first record included. */
#include "dataplane/kafka/inflight.h"

#include <stdlib.h>

#define NIL UINT32_MAX

int hr_inflight_pool_init(struct hr_inflight_pool *pool, uint32_t size)
{
    pool->nodes = calloc(size, sizeof(*pool->nodes));
    if (!pool->nodes)
        return HR_E_NOMEM;
    for (uint32_t i = 0; i < size; i++)
        pool->nodes[i].next = i + 1 < size ? i + 1 : NIL;
    pool->free = size > 0 ? 0 : NIL;
    pool->n_free = size;
    return 0;
}

void hr_inflight_pool_fini(struct hr_inflight_pool *pool)
{
    free(pool->nodes);
    pool->nodes = NULL;
}

int hr_inflight_push_further(struct hr_inflight_pool *pool, struct hr_inflight_queue *q, struct hr_inflight record)
{
    uint32_t i = pool->free;

    if (pool->n_free == 0)
        return HR_E_FULL;
    struct hr_inflight_node *node = &pool->nodes[i];
    pool->free = node->next;
    pool->n_free--;
    node->record = record;
    node->next = i;
    if (q->count > 1) {
        node->next = pool->nodes[q->last].next;
        pool->nodes[q->last].next = i;
    }
    q->last = i;
    q->count++;
    return 0;
}

void hr_inflight_pop_further(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    uint32_t i = pool->nodes[q->last].next;
    struct hr_inflight_node *node = &pool->nodes[i];

    q->head = node->record;
    pool->nodes[q->last].next = node->next; /* means nothing where it was the only one */
    node->next = pool->free;
    pool->free = i;
    pool->n_free++;
}

void hr_inflight_clear(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    while (q->count > 0)
        hr_inflight_pop(pool, q);
}
