/* Random messages of any schema, with what a walker must report about them. A recursive encoder of its own:
 * it shares no code with what it tests. */
#pragma once

#include <stdint.h>

#include "shared/kafka/schema.h"
#include "shared/kafka/walk.h"

#define KGEN_MAX_EVENTS 20000

struct kgen_event {
    enum hr_kwalk_event event;
    const struct hr_kfield *field;
    int64_t value;
    uint32_t offset;
    int32_t length;
};

struct kgen {
    uint64_t seed;
    uint8_t *buf;
    uint32_t len, cap;
    uint32_t n_events;
    struct kgen_event events[KGEN_MAX_EVENTS];
};

/* Encodes a random message at buf[0..cap); events' offsets count from buf. Sizes shrink with depth, and where
 * room runs out, so that it always fits in 1 MiB. */
void kgen_message(struct kgen *g, const struct hr_kmessage *message, int16_t version);
uint32_t kgen_random(struct kgen *g, uint32_t below);
