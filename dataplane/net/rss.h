/* Receive-side scaling: which queue a card will put a flow into, learned from what it does.
 *
 * A card hashes source, destination and ports of what it receives (Toeplitz, with a secret key of 40 bytes), and the
 * hash's low bits select a queue from a table. A worker that knows the function can choose the source port of a
 * connection so that the answers reach its own queue. But cards deviate: key in reverse, a start value, 16-bit results,
 * tuples sorted so that both directions agree (all were seen on generations of one family, which DPDK reports alike).
 * So every variant is a candidate, and each observed packet (its flow, the queue it came by, the hash where the card
 * tells it) rules out those that disagree. What is learned only guides choices: which worker owns a flow never
 * depends on it, and a packet in the wrong queue is handed over.
 *
 * Threads: struct hr_rss is written at start and read by all; a learner belongs to one worker. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"

#define HR_RSS_KEY_MAX   52
#define HR_RSS_TABLE_MAX 512

/* What the device told about itself. */
struct hr_rss {
    uint8_t key_len; /* 0: unknown, nothing can be learned */
    uint8_t key[HR_RSS_KEY_MAX];
    uint16_t n_table; /* entries, a power of two; 0: unknown */
    uint16_t table[HR_RSS_TABLE_MAX]; /* queue by the hash's low bits */
};

/* Variants, a bit each; a model is their combination. */
enum hr_rss_variant {
    HR_RSS_KEY_REVERSED = 1 << 0,
    HR_RSS_START_ONES = 1 << 1, /* 0xffffffff instead of 0 */
    HR_RSS_SORTED = 1 << 2,     /* the lower address, and the lower port, first */
    HR_RSS_16_BITS = 1 << 3,    /* the upper half is 0 */
    HR_RSS_MODELS = 1 << 4,
};

/* Observations that must agree before a model is believed: by hash, and where the card tells none, by queue alone. */
#define HR_RSS_ENOUGH_HASHES 4
#define HR_RSS_ENOUGH_QUEUES 64

struct hr_rss_learner {
    uint16_t possible; /* set of models: bit number = combination of variants */
    uint16_t n_hashes; /* observations so far */
    uint16_t n_queues;
    uint32_t restarts; /* times that all models had been ruled out */
};

/* The hash that a model gives for a packet received with this flow (remote is the packet's source). */
uint32_t hr_rss_hash(const struct hr_rss *rss, uint32_t model, const struct hr_flow *flow);

void hr_rss_learner_init(struct hr_rss_learner *l);
/* A packet of this flow came by this queue; hash NULL: the card told none. */
void hr_rss_observe(struct hr_rss_learner *l, const struct hr_rss *rss, const struct hr_flow *flow, uint16_t queue,
                    const uint32_t *hash);
/* The queue in which packets of this flow will arrive, -1 while that is not known. */
int hr_rss_queue(const struct hr_rss_learner *l, const struct hr_rss *rss, const struct hr_flow *flow);
