/* The control plane's event loop: one thread, epoll for descriptors, a binary heap for deadlines.
 *
 * Everything in the control plane runs inside a callback of this loop and returns soon; nothing blocks and
 * nothing needs a lock. A watch or a timer is a struct inside its owner, so that registering allocates
 * nothing per event. A callback may remove or free any watch or timer, also its own and those of events that
 * the same turn has yet to deliver. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

struct hr_loop;

/* A watched descriptor. The owner keeps the struct alive while added, and keeps the descriptor open. */
struct hr_watch {
    int fd;
    void (*fn)(struct hr_watch *watch, uint32_t events); /* events as epoll gives them */
    void *arg;
    bool added;
};

/* A deadline. Zeroed is idle. */
struct hr_timer {
    void (*fn)(struct hr_timer *timer);
    void *arg;
    uint64_t due_us;
    uint32_t pos; /* in the heap, plus one; 0 = not set */
};

/* clock: NULL for CLOCK_MONOTONIC; tests give their own. */
HR_MUST_CHECK int hr_loop_create(uint64_t (*clock_us)(void), struct hr_loop **ret_loop);
/* All watches and timers must be gone or never touched again. */
void hr_loop_destroy(struct hr_loop *loop);

uint64_t hr_loop_now(const struct hr_loop *loop);

HR_MUST_CHECK int hr_loop_add(struct hr_loop *loop, struct hr_watch *watch, uint32_t events);
void hr_loop_modify(struct hr_loop *loop, struct hr_watch *watch, uint32_t events);
void hr_loop_remove(struct hr_loop *loop, struct hr_watch *watch);

/* Sets or moves the deadline (microseconds of the loop's clock). */
void hr_timer_set(struct hr_loop *loop, struct hr_timer *timer, uint64_t due_us);
/* In delay_us from now. */
void hr_timer_in(struct hr_loop *loop, struct hr_timer *timer, uint64_t delay_us);
void hr_timer_cancel(struct hr_loop *loop, struct hr_timer *timer);
static inline bool hr_timer_is_set(const struct hr_timer *timer)
{
    return timer->pos != 0;
}

/* Runs until hr_loop_stop(). SYSTEM if epoll fails. */
HR_MUST_CHECK int hr_loop_run(struct hr_loop *loop);
void hr_loop_stop(struct hr_loop *loop);
/* One turn: waits at most max_wait_us (and no longer than the next deadline), delivers. Returns how many
 * callbacks ran, or SYSTEM. */
int hr_loop_turn(struct hr_loop *loop, uint64_t max_wait_us);
