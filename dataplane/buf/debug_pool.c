/* Packet pools for debug builds (-Dmbuf_debug=true): a stack instead of a ring with caches, so that a buffer
 * goes back at once, and its data room is poisoned for AddressSanitizer while it is free. Stale pointers into
 * packets are then found at their use; DPDK's own pools hide them. Locked, because workers free each other's
 * buffers after a hand-over; speed does not matter here. */
#include "dataplane/buf/impl.h"

#ifdef HR_MBUF_DEBUG

#include <errno.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_spinlock.h>

#if defined(__SANITIZE_ADDRESS__)
#define HR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HR_ASAN 1
#endif
#endif
#ifdef HR_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct debug_stack {
    rte_spinlock_t lock;
    unsigned n;
    void *objects[];
};

static void *data_room(void *object)
{
    return (uint8_t *)object + sizeof(struct rte_mbuf);
}

static size_t data_room_bytes(const struct rte_mempool *pool)
{
    return pool->elt_size - sizeof(struct rte_mbuf);
}

static int debug_alloc(struct rte_mempool *pool)
{
    struct debug_stack *stack =
        rte_zmalloc_socket("hr_debug_pool", sizeof(*stack) + pool->size * sizeof(void *), 64, pool->socket_id);
    if (stack == NULL)
        return -ENOMEM;
    rte_spinlock_init(&stack->lock);
    pool->pool_data = stack;
    return 0;
}

static void debug_free(struct rte_mempool *pool)
{
    struct debug_stack *stack = pool->pool_data;
    /* The memory goes back to DPDK's heap, which knows nothing of poison. */
    for (unsigned i = 0; stack != NULL && i < stack->n; i++)
        ASAN_UNPOISON_MEMORY_REGION(data_room(stack->objects[i]), data_room_bytes(pool));
    rte_free(stack);
}

static int debug_enqueue(struct rte_mempool *pool, void *const *objects, unsigned n)
{
    struct debug_stack *stack = pool->pool_data;
    rte_spinlock_lock(&stack->lock);
    for (unsigned i = 0; i < n; i++) {
        ASAN_POISON_MEMORY_REGION(data_room(objects[i]), data_room_bytes(pool));
        stack->objects[stack->n++] = objects[i];
    }
    rte_spinlock_unlock(&stack->lock);
    return 0;
}

static int debug_dequeue(struct rte_mempool *pool, void **objects, unsigned n)
{
    struct debug_stack *stack = pool->pool_data;
    int err = -ENOBUFS;
    rte_spinlock_lock(&stack->lock);
    if (stack->n >= n) {
        for (unsigned i = 0; i < n; i++) {
            objects[i] = stack->objects[--stack->n];
            ASAN_UNPOISON_MEMORY_REGION(data_room(objects[i]), data_room_bytes(pool));
        }
        err = 0;
    }
    rte_spinlock_unlock(&stack->lock);
    return err;
}

static unsigned debug_count(const struct rte_mempool *pool)
{
    return ((const struct debug_stack *)pool->pool_data)->n;
}

static const struct rte_mempool_ops debug_ops = {
    .name = "hr_debug",
    .alloc = debug_alloc,
    .free = debug_free,
    .enqueue = debug_enqueue,
    .dequeue = debug_dequeue,
    .get_count = debug_count,
};
RTE_MEMPOOL_REGISTER_OPS(debug_ops);

int hr_buf_debug_pool(struct rte_mempool *pool)
{
    return rte_mempool_set_ops_byname(pool, debug_ops.name, NULL);
}

#endif
