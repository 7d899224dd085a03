/* A worker: one thread on one logical core, run to completion, sharing nothing with the others.
 *
 * Its turn takes a burst from each of its queues, gives segments to TCP, lets the sessions that have news
 * move bytes, and sends what became ready. Everything it needs is allocated by hr_worker_create(), on the
 * main thread; afterwards the main thread talks to it through the hr_worker_ask_* calls only, which publish a
 * request that the worker honours between two turns.
 *
 * Start reading at hr_worker_turn() in worker.c: it is the whole packet path in order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/port.h"
#include "dataplane/proxy/proxy.h"
#include "dataplane/worker/handoff.h"
#include "dataplane/worker/steer.h"
#include "shared/base/error.h"
#include "shared/config/config.h"
#include "shared/ipc/messages.h"
#include "shared/ipc/policy.h"
#include "shared/ipc/replicas.h"

struct hr_worker;

/* What all workers have in common; outlives them. */
struct hr_worker_group {
    const struct hr_config *config;
    struct hr_port *ports;
    uint32_t n_ports;
    struct hr_steer steer;
    struct hr_handoff *handoff; /* NULL with one worker */
    struct hr_region *region;
    int doorbell_fds[HR_MAX_WORKERS]; /* wait end of the control plane's doorbell for worker i */
    int control_doorbell_fd;          /* rung for the control plane */
    uint8_t hash_key[16], isn_key[16];
    uint32_t n_workers;
    struct hr_worker *workers[HR_MAX_WORKERS];
    struct hr_open_counts open_counts[HR_MAX_WORKERS];
};

/* Creates worker `id`'s pools only: ports need them before the rest can be built. */
HR_MUST_CHECK int hr_worker_create(struct hr_worker_group *group, uint32_t id, uint32_t data_room,
                                   struct hr_worker **ret_worker);
struct rte_mempool *hr_worker_rx_pool(struct hr_worker *worker);
/* Builds network, TCP, sessions and rings; the ports are up. */
HR_MUST_CHECK int hr_worker_build(struct hr_worker *worker, uint64_t now_us);
/* Its ports are closed: they held buffers of its pools. */
void hr_worker_destroy(struct hr_worker *worker);

/* The thread's body, for rte_eal_remote_launch(): returns when asked to stop, after what was left open has been
 * reset. */
int hr_worker_main(void *worker);
/* One turn; true if it did work. *ret_deadline_us is when the next is due. For hr_worker_main() and benches. */
bool hr_worker_turn(struct hr_worker *worker, uint64_t now_us, uint64_t *ret_deadline_us);

/* Main thread. policy must stay unchanged until every worker has adopted a later one. */
void hr_worker_ask_policy(struct hr_worker *worker, const struct hr_policy *policy);
/* The generation it works by. */
uint64_t hr_worker_generation(const struct hr_worker *worker);
/* The same of a replica map. */
void hr_worker_ask_replicas(struct hr_worker *worker, const struct hr_replicas *map);
uint64_t hr_worker_replicas_generation(const struct hr_worker *worker);
/* Re-initialise the rings for an attach, or, session 0, write to nobody until then; done when hr_worker_session() says
 * so. */
void hr_worker_ask_relink(struct hr_worker *worker, uint32_t session);
uint32_t hr_worker_session(const struct hr_worker *worker);
void hr_worker_ask_drain(struct hr_worker *worker, uint64_t deadline_us);
/* As of its last turn: sessions that are open, and connections of ended ones that still deliver their last bytes. */
uint32_t hr_worker_unfinished(const struct hr_worker *worker);
void hr_worker_ask_stop(struct hr_worker *worker);
