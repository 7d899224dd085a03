/* What a run of the bench is asked for, and the scenarios that there are: one file each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/ring/loop.h"

struct rb_options {
    const char *label;     /* put in front of each metric's name */
    bool tcp;              /* the listener's mode: raw relay instead of Kafka-aware */
    struct rb_tls tls;
    uint32_t mtu;
    uint32_t conns;
    uint32_t burst;
    uint32_t ring_mb;      /* memory that the wire cycles through */
    uint32_t memory_mb;    /* of the EAL */
    uint32_t request, response; /* bytes of a frame */
    uint32_t in_flight;    /* requests per client */
    uint32_t rounds;
    uint32_t per_round;    /* what the scenario counts: segments, exchanges, connections, acknowledgements */
    uint32_t max_connections; /* sessions that the proxy has room for; 0: as many as conns, at least 1,000 */
    bool cold, evict, soft_cksum;
    uint32_t workers;      /* in turns on one core; 0: 1 */
    bool parallel;         /* each on a core of its own, at the same time */
    bool two_cores;        /* in real time, the worker on a core of its own */
    bool counted;          /* under callgrind: one round, through rb_turn_counted() */
};

/* The loop that the options ask for; the caller may change it before rb_loop_open(). */
void rb_options_loop(const struct rb_options *o, struct rb_loop_config *ret);

/* Clients that keep in_flight requests under way: cycles per byte, per segment, per exchange. */
void rb_scenario_exchange(const struct rb_options *o);
/* Clients that connect and close. */
void rb_scenario_churn(const struct rb_options *o);
/* Acknowledgements alone. */
void rb_scenario_acks(const struct rb_options *o);
/* What the proxy adds to a request and its answer, open loop, in simulated time. */
void rb_scenario_latency(const struct rb_options *o);
/* Memory per idle pair of connections, and that established ones hold no buffer. */
void rb_scenario_idle(const struct rb_options *o);
/* Two cores and what is between them: round trip of a ring, an empty forwarder, gaps in a spinning thread. */
void rb_scenario_pair(const struct rb_options *o);
/* A compute loop and a pointer chase: what this machine is worth at this moment. */
void rb_scenario_reference(const struct rb_options *o);
