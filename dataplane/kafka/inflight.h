/* Requests that wait for their response: a FIFO per relay. A response carries no API key, so the record says how
 * to read it; and a reply that Headrace makes itself is a record too, which waits for its turn.
 *
 * The oldest record stands in the queue itself, further ones in a pool per worker: most clients have one request
 * under way, and each may have that one whatever the others do. Who is refused a further one has a response to
 * come, which wakes it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

enum hr_inflight_kind {
    HR_INFLIGHT_NONE = 0,
    HR_INFLIGHT_BROKER,      /* the broker answers */
    HR_INFLIGHT_UNSUPPORTED, /* own: ApiVersions in a version that Headrace does not know */
    HR_INFLIGHT_REBOOTSTRAP, /* own: ApiVersions that names another cluster */
    HR_INFLIGHT_FETCH_ALL,   /* own: a Fetch whose fetch session nobody knows: the client names all partitions next */
    HR_INFLIGHT_LOGIN,       /* own: the client logs in anew, and the control plane answers (reauth.h) */
    HR_INFLIGHT_OWN,         /* the broker answers us, who log in anew: nothing for the client */
    HR_INFLIGHT_MAX
};

struct hr_inflight {
    int32_t correlation_id;
    uint16_t plan; /* hr_plans_at(); of UNSUPPORTED there is none */
    uint8_t kind;  /* enum hr_inflight_kind */
    bool branch;   /* the session's second leg answers (reader.h) */
};

struct hr_inflight_node {
    struct hr_inflight record;
    uint32_t next;
};

struct hr_inflight_pool {
    struct hr_inflight_node *nodes;
    uint32_t free; /* first free node */
    uint32_t n_free;
};

struct hr_inflight_queue {
    struct hr_inflight head; /* valid while count > 0 */
    uint32_t last;           /* of those behind it, which form a ring: the last one's next is the first */
    uint32_t count;
};

HR_MUST_CHECK int hr_inflight_pool_init(struct hr_inflight_pool *pool, uint32_t size);
void hr_inflight_pool_fini(struct hr_inflight_pool *pool);

static inline void hr_inflight_init(struct hr_inflight_queue *q)
{
    q->count = 0;
}

/* May q take one more? */
static inline bool hr_inflight_may_push(const struct hr_inflight_pool *pool, const struct hr_inflight_queue *q)
{
    return q->count == 0 || pool->n_free > 0;
}

/* Of further records. */
HR_MUST_CHECK int hr_inflight_push_further(struct hr_inflight_pool *pool, struct hr_inflight_queue *q,
                                           struct hr_inflight record);
void hr_inflight_pop_further(struct hr_inflight_pool *pool, struct hr_inflight_queue *q);

/* Appends a record. FULL when it may not. */
HR_MUST_CHECK static inline int hr_inflight_push(struct hr_inflight_pool *pool, struct hr_inflight_queue *q,
                                                 struct hr_inflight record)
{
    if (q->count > 0)
        return hr_inflight_push_further(pool, q, record);
    q->head = record;
    q->count = 1;
    return 0;
}

/* The oldest, NULL if none; valid until it is popped. */
static inline const struct hr_inflight *hr_inflight_head(const struct hr_inflight_queue *q)
{
    return q->count > 0 ? &q->head : NULL;
}

/* Takes the oldest away; there is one. */
static inline void hr_inflight_pop(struct hr_inflight_pool *pool, struct hr_inflight_queue *q)
{
    if (q->count > 1)
        hr_inflight_pop_further(pool, q);
    q->count--;
}

void hr_inflight_clear(struct hr_inflight_pool *pool, struct hr_inflight_queue *q);
