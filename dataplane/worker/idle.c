#include "dataplane/worker/idle.h"

#include <rte_pause.h>
#include <unistd.h>

#include "shared/ipc/doorbell.h"

int hr_idle_init(struct hr_idle *idle, int doorbell_fd, const struct hr_port *ports, uint32_t n_ports, uint16_t queue)
{
    *idle = (struct hr_idle){.doorbell_fd = doorbell_fd, .ports = ports, .n_ports = n_ports, .queue = queue};
    int err = hr_doorbell_create(&idle->ring_fd, &idle->wait_fd);
    if (err) {
        idle->ring_fd = idle->wait_fd = -1;
        return err;
    }
    idle->fds[idle->n_fds++] = (struct pollfd){.fd = idle->wait_fd, .events = POLLIN};
    idle->fds[idle->n_fds++] = (struct pollfd){.fd = doorbell_fd, .events = POLLIN};
    for (uint32_t i = 0; i < n_ports; i++) {
        int fd = hr_port_rx_fd(&ports[i], queue);
        if (fd < 0)
            idle->blind = true;
        else
            idle->fds[idle->n_fds++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return 0;
}

void hr_idle_fini(struct hr_idle *idle)
{
    if (idle->n_fds == 0)
        return;
    close(idle->ring_fd);
    close(idle->wait_fd);
}

static void pause_some(void)
{
    for (int i = 0; i < 8; i++)
        rte_pause();
}

static bool arm(struct hr_idle *idle)
{
    for (uint32_t i = 0; i < idle->n_ports; i++)
        if (hr_port_rx_fd(&idle->ports[i], idle->queue) >= 0 && hr_port_sleep_arm(&idle->ports[i], idle->queue) != 0)
            return false;
    return true;
}

void hr_idle_rest(struct hr_idle *idle, uint64_t now_us, uint64_t deadline_us, const struct hr_idle_ops *ops,
                  struct hr_stats *stats)
{
    if (idle->empty_turns <= HR_IDLE_SPIN_TURNS + HR_IDLE_PAUSE_TURNS)
        idle->empty_turns++;
    if (idle->empty_turns <= HR_IDLE_SPIN_TURNS)
        return;
    if (idle->busy || idle->empty_turns <= HR_IDLE_SPIN_TURNS + HR_IDLE_PAUSE_TURNS) {
        pause_some();
        return;
    }
    uint64_t max_us = idle->blind ? HR_IDLE_BLIND_SLEEP_US : HR_IDLE_MAX_SLEEP_US;
    uint64_t sleep_us = deadline_us > now_us ? deadline_us - now_us : 0;
    if (sleep_us > max_us)
        sleep_us = max_us;
    if (sleep_us == 0)
        return;

    bool armed = arm(idle);
    /* Pairs with the fence in hr_idle_wake(): either may_sleep() sees the work or the giver sees the flag. */
    atomic_store_explicit(&idle->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (ops->may_sleep(ops->arg) && armed) {
        struct timespec ts = {.tv_sec = 0, .tv_nsec = (long)sleep_us * 1000};
        HR_COUNT(stats, loop_sleeps);
        if (ppoll(idle->fds, idle->n_fds, &ts, NULL) > 0) {
            HR_COUNT(stats, loop_wakeups);
            idle->empty_turns = 0; /* packets come in trains: spin before the next sleep */
        }
    }
    atomic_store_explicit(&idle->sleeping, 0, memory_order_relaxed);
    for (uint32_t i = 0; i < idle->n_ports; i++)
        hr_port_sleep_disarm(&idle->ports[i], idle->queue);
    /* Cleared before the next look for work: a ring in between is not lost. */
    for (uint32_t i = 0; i < 2; i++)
        if (idle->fds[i].revents & POLLIN)
            hr_doorbell_clear(idle->fds[i].fd);
    ops->awake(ops->arg);
    for (uint32_t i = 0; i < idle->n_fds; i++)
        idle->fds[i].revents = 0;
}

void hr_idle_wake(struct hr_idle *idle)
{
    /* Pairs with the fence in hr_idle_rest(). */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&idle->sleeping, memory_order_relaxed))
        hr_doorbell_ring(idle->ring_fd);
}
