/* The measured side: a real worker, as headrace-dataplane builds it, on one emulated card.
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
};

struct rb_proxy {
    struct hr_config *config;
    struct hr_policy *policy;
    struct hr_port port;
    struct hr_worker_group group;
    struct hr_worker *worker;
    struct hr_stats *stats;
    struct rb_card card;
    uint32_t data_room;
    int memfd;
    int doorbells[4];
};

void rb_proxy_open(struct rb_proxy *p, const struct rb_proxy_config *cfg, uint64_t now_us);
/* Dies unless every buffer is back in its pool. */
void rb_proxy_close(struct rb_proxy *p);

/* Receive buffers that connections hold. */
uint32_t rb_proxy_held(const struct rb_proxy *p);
