/* The memory of one worker: a page-aligned region with a heap over it, so that nothing a worker writes shares a page
 * (let alone a cache line) with what another one writes.
 *
 * Everything that takes a socket_id (rte_zmalloc_socket(), mempools, memzones) allocates in the arena when it is given
 * hr_arena.socket_id: DPDK's heaps over application memory have pseudo sockets of their own. The region comes from the
 * EAL's memory, so devices can reach it as they reach all of that. */
#pragma once

#include <stddef.h>

#include "shared/base/error.h"

struct rte_memzone;

struct hr_arena {
    const struct rte_memzone *zone;
    int socket_id; /* for allocations from it */
    char name[32];
};

/* Main thread. len is rounded up to whole pages. NOMEM: the EAL has not so much left in one piece. */
HR_MUST_CHECK int hr_arena_create(unsigned worker_id, size_t len, struct hr_arena *ret_arena);
/* All that was allocated from it must have been freed: else it stays until the process ends. */
void hr_arena_destroy(struct hr_arena *arena);
