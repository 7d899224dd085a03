#include "dataplane/worker/arena.h"

#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_memzone.h>
#include <stdio.h>
#include <stdlib.h>

/* As the EAL's own heap has it: physical or virtual, whichever cards are given here. */
static rte_iova_t io_address(const void *page)
{
    const struct rte_memseg *seg = rte_mem_virt2memseg(page, NULL);
    return seg == NULL || seg->iova == RTE_BAD_IOVA
               ? RTE_BAD_IOVA
               : seg->iova + (rte_iova_t)((const char *)page - (const char *)seg->addr);
}

static int add_memory(struct hr_arena *arena)
{
    const struct rte_memzone *zone = arena->zone;
    size_t page = zone->hugepage_sz; /* the ordinary one without hugepages */
    unsigned n = (unsigned)(zone->len / page);
    rte_iova_t *iovas = calloc(n, sizeof(*iovas));
    if (iovas == NULL)
        return HR_E_NOMEM;
    for (unsigned i = 0; i < n; i++)
        iovas[i] = io_address((char *)zone->addr + i * page);
    int err = rte_malloc_heap_memory_add(arena->name, zone->addr, n * page, iovas, n, page);
    free(iovas);
    return err == 0 ? 0 : HR_E_NOMEM;
}

int hr_arena_create(unsigned worker_id, size_t len, struct hr_arena *ret_arena)
{
    struct hr_arena *arena = ret_arena;
    snprintf(arena->name, sizeof(arena->name), "hr_arena_%u", worker_id);
    size_t page = RTE_PGSIZE_2M; /* a multiple of the ordinary page, too */
    len = (len + page - 1) / page * page;
    arena->zone = rte_memzone_reserve_aligned(arena->name, len, (int)rte_socket_id(), 0, page);
    if (arena->zone == NULL)
        return HR_E_NOMEM;
    if (rte_malloc_heap_create(arena->name) != 0) {
        rte_memzone_free(arena->zone);
        return HR_E_NOMEM;
    }
    int err = add_memory(arena);
    arena->socket_id = err ? -1 : rte_malloc_heap_get_socket(arena->name);
    if (err || arena->socket_id < 0) {
        hr_arena_destroy(arena);
        return HR_E_NOMEM;
    }
    return 0;
}

void hr_arena_destroy(struct hr_arena *arena)
{
    if (arena->zone == NULL)
        return;
    if (rte_malloc_heap_memory_remove(arena->name, arena->zone->addr, arena->zone->len) == 0) {
        rte_malloc_heap_destroy(arena->name);
        rte_memzone_free(arena->zone);
    }
    arena->zone = NULL;
}
