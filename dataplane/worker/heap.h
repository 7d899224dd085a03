/* Counting heap calls of workers.
 *
 * The dataplane binary defines malloc and its kin itself (heap.c), in front of the C library's: a worker that
 * has announced itself by hr_heap_watch() gets every call of its own thread counted, whoever makes it, DPDK
 * included. After start-up the count must stay 0; the integration tests assert it. Left out under sanitizers,
 * which need the same hook. */
#pragma once

#include <stdint.h>

/* This thread's heap calls go to *counter from now on; NULL ends it. */
void hr_heap_watch(uint64_t *counter);
