/* A doorbell wakes a process that sleeps in poll(2) on its wait end.
 *
 * A doorbell is a socket pair and not an eventfd: the two processes would share one open file description of
 * an eventfd, and the unprivileged one could clear O_NONBLOCK on it and fill its counter, after which a
 * worker that rings would block for ever. The two ends of a socket pair have descriptions of their own, and
 * each call here carries its own MSG_DONTWAIT. */
#pragma once

#include "shared/base/error.h"

/* ring: for the side that wakes; wait: for the side that sleeps. SYSTEM on failure. */
HR_MUST_CHECK int hr_doorbell_create(int *ret_ring_fd, int *ret_wait_fd);
/* Makes the wait end readable. Never blocks; a doorbell that has rung many times stays rung. */
void hr_doorbell_ring(int ring_fd);
/* Makes it unreadable again. Clear first, then look for work: a ring in between is then not lost. */
void hr_doorbell_clear(int wait_fd);
