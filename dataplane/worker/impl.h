/* What the files of this folder share: the worker itself.
 *
 *   build.c   creation, and the callbacks that join the layers
 *   worker.c  what the main thread asks, and the turn */
#pragma once

#include <stdatomic.h>

#include "dataplane/buf/buf.h"
#include "dataplane/net/rss.h"
#include "dataplane/worker/arena.h"
#include "dataplane/worker/idle.h"
#include "dataplane/worker/worker.h"

struct hr_control;
struct hr_net;
struct hr_proxy;
struct hr_relay_ctx;
struct hr_rec;
struct hr_tcp;

struct hr_worker {
    struct hr_worker_group *group;
    uint32_t id;
    struct hr_arena arena;
    int socket_id; /* the arena's: everything of this worker is allocated there */
    struct hr_stats *stats;
    struct hr_zone_stats *zones;
    struct hr_buf_ctx bufs;
    struct hr_rss_learner queues[HR_CONFIG_MAX_PORTS]; /* by port index */
    struct hr_net *net;
    struct hr_tcp *tcp;
    struct hr_relay_ctx *relays;
    struct hr_rec *rec; /* NULL: nobody speaks TLS */
    struct hr_proxy *proxy;
    struct hr_control *control;
    struct hr_idle idle;
    const struct hr_policy *policy;
    const struct hr_replicas *replicas;
    uint64_t now_us;
    uint64_t next_hint_us, next_gauges_us;
    uint64_t busy_cycles;
    uint32_t wake_mask; /* workers that got something from us this turn */
    bool draining;
    bool pool_low;      /* told, until buffers are plenty again */

    /* Asked by the main thread (release), seen by the worker (acquire), answered the same way back. */
    _Atomic(const struct hr_policy *) asked_policy;
    _Atomic(const struct hr_replicas *) asked_replicas;
    _Atomic uint64_t generation, replicas_generation;
    _Atomic uint32_t asked_session, session;
    _Atomic uint64_t asked_drain_deadline_us;
    _Atomic uint32_t unfinished;
    _Atomic bool asked_stop;
};
