/* The heap is an array of pointers, each timer knowing its place, so that moving or cancelling one is
 * O(log n). It grows by doubling when a timer is set and never shrinks; when memory is short the process
 * ends, because a lost deadline would be worse. */
#include "controlplane/loop/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "shared/base/clock.h"
#include "shared/base/log.h"

#define EVENTS_MAX 64

struct hr_loop {
    int epoll_fd;
    bool stopped;
    uint64_t (*clock_us)(void);
    struct hr_timer **heap;
    uint32_t n_heap, cap_heap;
    /* The batch being delivered; a removed watch is struck out here. */
    struct epoll_event batch[EVENTS_MAX];
    int n_batch;
};

int hr_loop_create(uint64_t (*clock_us)(void), struct hr_loop **ret_loop)
{
    struct hr_loop *loop = calloc(1, sizeof(*loop));

    if (!loop)
        return HR_E_NOMEM;
    loop->clock_us = clock_us ? clock_us : hr_now_us;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return HR_E_SYSTEM;
    }
    *ret_loop = loop;
    return 0;
}

void hr_loop_destroy(struct hr_loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll_fd);
    free(loop->heap);
    free(loop);
}

uint64_t hr_loop_now(const struct hr_loop *loop)
{
    return loop->clock_us();
}

int hr_loop_add(struct hr_loop *loop, struct hr_watch *watch, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = watch};

    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &ev) != 0)
        return HR_E_SYSTEM;
    watch->added = true;
    return 0;
}

void hr_loop_modify(struct hr_loop *loop, struct hr_watch *watch, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = watch};

    if (watch->added && epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &ev) != 0)
        hr_log_error("epoll: changing descriptor %d failed, errno %d", watch->fd, errno);
}

void hr_loop_remove(struct hr_loop *loop, struct hr_watch *watch)
{
    if (!watch->added)
        return;
    watch->added = false;
    /* Fails only when the descriptor is closed already, which has the same effect. */
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < loop->n_batch; i++) {
        if (loop->batch[i].data.ptr == watch)
            loop->batch[i].data.ptr = NULL;
    }
}

static void heap_place(struct hr_loop *loop, struct hr_timer *timer, uint32_t at)
{
    loop->heap[at] = timer;
    timer->pos = at + 1;
}

static void heap_up(struct hr_loop *loop, struct hr_timer *timer, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;

        if (loop->heap[parent]->due_us <= timer->due_us)
            break;
        heap_place(loop, loop->heap[parent], at);
        at = parent;
    }
    heap_place(loop, timer, at);
}

static void heap_down(struct hr_loop *loop, struct hr_timer *timer, uint32_t at)
{
    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= loop->n_heap)
            break;
        if (child + 1 < loop->n_heap && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (timer->due_us <= loop->heap[child]->due_us)
            break;
        heap_place(loop, loop->heap[child], at);
        at = child;
    }
    heap_place(loop, timer, at);
}

void hr_timer_set(struct hr_loop *loop, struct hr_timer *timer, uint64_t due_us)
{
    hr_timer_cancel(loop, timer);
    if (loop->n_heap == loop->cap_heap) {
        uint32_t cap = loop->cap_heap ? loop->cap_heap * 2 : 64;
        struct hr_timer **heap = realloc(loop->heap, cap * sizeof(*heap));

        if (!heap) {
            hr_log_error("out of memory for timers");
            abort();
        }
        loop->heap = heap;
        loop->cap_heap = cap;
    }
    timer->due_us = due_us;
    heap_up(loop, timer, loop->n_heap++);
}

void hr_timer_in(struct hr_loop *loop, struct hr_timer *timer, uint64_t delay_us)
{
    hr_timer_set(loop, timer, hr_loop_now(loop) + delay_us);
}

void hr_timer_cancel(struct hr_loop *loop, struct hr_timer *timer)
{
    uint32_t at;
    struct hr_timer *last;

    if (timer->pos == 0)
        return;
    at = timer->pos - 1;
    timer->pos = 0;
    last = loop->heap[--loop->n_heap];
    if (last == timer)
        return;
    if (at > 0 && last->due_us < loop->heap[(at - 1) / 2]->due_us)
        heap_up(loop, last, at);
    else
        heap_down(loop, last, at);
}

static int run_timers(struct hr_loop *loop)
{
    uint64_t now = hr_loop_now(loop);
    int ran = 0;

    /* A timer that a callback sets for now or earlier waits for the next turn, or one could starve all. */
    for (uint32_t budget = loop->n_heap; budget > 0 && loop->n_heap > 0; budget--) {
        struct hr_timer *timer = loop->heap[0];

        if (timer->due_us > now)
            break;
        hr_timer_cancel(loop, timer);
        timer->fn(timer);
        ran++;
    }
    return ran;
}

int hr_loop_turn(struct hr_loop *loop, uint64_t max_wait_us)
{
    uint64_t wait_us = max_wait_us;
    int ran = 0;

    if (loop->n_heap > 0) {
        uint64_t now = hr_loop_now(loop);
        uint64_t due = loop->heap[0]->due_us;
        uint64_t left = due > now ? due - now : 0;

        if (left < wait_us)
            wait_us = left;
    }
    /* Rounded up: rounded down, the last millisecond before a deadline would spin. */
    loop->n_batch = epoll_wait(loop->epoll_fd, loop->batch, EVENTS_MAX, (int)((wait_us + 999) / 1000));
    if (loop->n_batch < 0) {
        loop->n_batch = 0;
        if (errno != EINTR)
            return HR_E_SYSTEM;
    }
    for (int i = 0; i < loop->n_batch; i++) {
        struct hr_watch *watch = loop->batch[i].data.ptr;

        if (watch) {
            watch->fn(watch, loop->batch[i].events);
            ran++;
        }
    }
    loop->n_batch = 0;
    return ran + run_timers(loop);
}

int hr_loop_run(struct hr_loop *loop)
{
    loop->stopped = false;
    while (!loop->stopped) {
        if (hr_loop_turn(loop, 60 * HR_US_PER_S) < 0)
            return HR_E_SYSTEM;
    }
    return 0;
}

void hr_loop_stop(struct hr_loop *loop)
{
    loop->stopped = true;
}
