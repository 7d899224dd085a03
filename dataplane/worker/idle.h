/* When a worker has nothing to do: spin, then pause, then sleep.
 *
 * Spinning keeps latency at its lowest for a few microseconds, pausing gives the other hyperthread room, and
 * sleeping costs nothing: the worker waits on its ports' descriptors and on two doorbells (the control plane's
 * and one that other threads of this process ring), until the next deadline at most. Policy "busy" never
 * leaves the first two steps.
 *
 * Whoever gives a worker work from outside a port calls hr_idle_wake() afterwards. The flag `sleeping` keeps
 * that free of system calls while the worker is awake: it sets the flag, fences, looks for work once more and
 * only then sleeps; the giver publishes its work, fences, and reads the flag. One of the two sees the other. */
#pragma once

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/net/port.h"
#include "shared/base/counters.h"
#include "shared/base/error.h"

#define HR_IDLE_SPIN_TURNS 200  /* empty turns before pausing */
#define HR_IDLE_PAUSE_TURNS 200 /* and pausing ones before sleeping */
#define HR_IDLE_MAX_SLEEP_US (100 * 1000ULL)
/* Where no port can wake us, a sleep is this long at most. */
#define HR_IDLE_BLIND_SLEEP_US 50ULL

struct hr_idle {
    int ring_fd, wait_fd;   /* doorbell of this process's own threads */
    int doorbell_fd;        /* wait end of the control plane's, borrowed */
    _Atomic uint32_t sleeping;
    bool busy;              /* policy: never sleep */
    bool blind;             /* some port cannot wake us */
    uint32_t empty_turns;
    uint32_t n_fds;         /* the two doorbells, then the ports */
    struct pollfd fds[2 + HR_CONFIG_MAX_PORTS];
    const struct hr_port *ports;
    uint32_t n_ports;
    uint16_t queue;
};

/* What the idle policy asks of the worker. */
struct hr_idle_ops {
    /* Between announcing the sleep and sleeping: false when work has come meanwhile. */
    bool (*may_sleep)(void *arg);
    /* After each may_sleep, slept or not. */
    void (*awake)(void *arg);
    void *arg;
};

HR_MUST_CHECK int hr_idle_init(struct hr_idle *idle, int doorbell_fd, const struct hr_port *ports, uint32_t n_ports,
                               uint16_t queue);
void hr_idle_fini(struct hr_idle *idle);

/* After a turn that did work. */
static inline void hr_idle_worked(struct hr_idle *idle)
{
    idle->empty_turns = 0;
}

/* After a turn without work. May sleep until deadline_us. */
void hr_idle_rest(struct hr_idle *idle, uint64_t now_us, uint64_t deadline_us, const struct hr_idle_ops *ops,
                  struct hr_stats *stats);

/* From any other thread or worker, after giving work. */
void hr_idle_wake(struct hr_idle *idle);
