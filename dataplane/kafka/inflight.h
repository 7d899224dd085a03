/* Requests that wait for their response: a FIFO per relay, from a pool per worker. A response carries no API
 * key, so the record says how to read it; and a reply that Headrace makes itself is a record too, which waits
 * for its turn. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_INFLIGHT_NIL UINT32_MAX

enum hr_inflight_kind {
    HR_INFLIGHT_NONE = 0,
    HR_INFLIGHT_BROKER,      /* the broker answers */
    HR_INFLIGHT_UNSUPPORTED, /* own: ApiVersions in a version that Headrace does not know */
    HR_INFLIGHT_REBOOTSTRAP, /* own: ApiVersions that names another cluster */
    HR_INFLIGHT_MAX
};

struct hr_inflight {
    uint32_t next;
    int32_t correlation_id;
    int16_t api_key;
    int16_t version;
    uint8_t kind; /* enum hr_inflight_kind */
};

struct hr_inflight_pool {
    struct hr_inflight *records;
    uint32_t size;
    uint32_t free; /* first free record */
    uint32_t n_free;
    uint32_t reserve; /* left to queues that hold none */
};

struct hr_inflight_queue {
    uint32_t first, last;
    uint32_t count;
};

/* size > queues. A queue that holds a record already may not take the last `queues` ones: so every queue can
 * have one at any time, and whoever is refused has a response of its own to come, which wakes it. */
HR_MUST_CHECK int hr_inflight_pool_init(struct hr_inflight_pool *pool, uint32_t size, uint32_t queues);
void hr_inflight_pool_fini(struct hr_inflight_pool *pool);

void hr_inflight_init(struct hr_inflight_queue *q);
/* May q take one more? */
bool hr_inflight_may_push(const struct hr_inflight_pool *pool, const struct hr_inflight_queue *q);
/* Appends a copy of *record (next is set here). FULL when it may not. */
HR_MUST_CHECK int hr_inflight_push(struct hr_inflight_pool *pool, struct hr_inflight_queue *q,
                                   const struct hr_inflight *record);
/* The oldest, NULL if none; valid until it is popped. */
const struct hr_inflight *hr_inflight_head(const struct hr_inflight_pool *pool,
                                           const struct hr_inflight_queue *q);
void hr_inflight_pop(struct hr_inflight_pool *pool, struct hr_inflight_queue *q);
void hr_inflight_clear(struct hr_inflight_pool *pool, struct hr_inflight_queue *q);
