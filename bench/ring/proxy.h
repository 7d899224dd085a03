/* The measured side: a real worker (or several), as headrace-dataplane builds it, on one emulated card.
 *
 * Configuration comes from hr_config_load(), so everything that the bench does not name has the value that ships.
 * Nobody is attached as control plane: the policy is built here from the same configuration, with the four brokers
 * of peers.h, and the worker adopts it as it would one from the region. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/ring/card.h"
#include "dataplane/worker/worker.h"

struct rb_proxy_config {
    uint16_t mtu;
    bool cksum;              /* offloaded to the card */
    uint32_t mbufs;          /* receive buffers */
    uint32_t memory_mb;      /* of the EAL's, the worker's arena and what drivers would take */
    uint32_t rx_desc;        /* posted at a time */
    uint32_t max_connections;
    bool client_tls, broker_tls; /* which legs speak TLS; the keys come from rb_control */
    uint32_t n_workers;      /* 0: 1 */
    const struct hr_rss *rss; /* how the card spreads flows over the workers' queues; NULL: nothing is known */
    bool two_cores;          /* net_ring instead of a card, and a thread of its own: one worker */
};

#define RB_MAX_WORKERS 4

struct rb_proxy {
    struct hr_config *config;
    struct hr_policy *policy;
    struct hr_port port;
    struct hr_worker_group group;
    struct hr_worker *worker;
    struct rb_card card;        /* one core */
    struct rte_ring *to, *from; /* two cores: frames to the worker, from the worker */
    /* Those behind the first, with their queues of the same card. */
    struct rb_proxy_more {
        struct hr_worker *worker;
        struct rb_card card;
    } more[RB_MAX_WORKERS - 1];
    void *queues[RB_MAX_WORKERS], *callbacks[RB_MAX_WORKERS];
    uint32_t data_room;
    int memfd;
    int doorbells[4];
};

void rb_proxy_open(struct rb_proxy *p, const struct rb_proxy_config *cfg, uint64_t now_us);
/* Dies unless every buffer is back in its pool. */
void rb_proxy_close(struct rb_proxy *p);

static inline struct hr_worker *rb_proxy_worker(struct rb_proxy *p, uint32_t i)
{
    return i == 0 ? p->worker : p->more[i - 1].worker;
}

static inline struct rb_card *rb_proxy_card(struct rb_proxy *p, uint32_t i)
{
    return i == 0 ? &p->card : &p->more[i - 1].card;
}

/* A counter, of all workers together. */
uint64_t rb_proxy_counter(const struct rb_proxy *p, enum hr_counter c);
/* Receive buffers that connections of the first worker hold. */
uint32_t rb_proxy_held(const struct rb_proxy *p);
