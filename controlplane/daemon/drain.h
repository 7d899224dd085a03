/* The deadline of a drain.
 *
 * Workers end draining sessions by themselves when no request is without its answer. What has not come to
 * such a moment limits.drain_timeout_ms after the drain began (a stuck request, a listener of mode "tcp",
 * which has no such moments) is ended from here, session by session. */
#pragma once

#include "shared/base/error.h"

struct hr_daemon;
struct hr_drain;

HR_MUST_CHECK int hr_drain_create(struct hr_daemon *daemon, struct hr_drain **ret_drain);
void hr_drain_destroy(struct hr_drain *drain);
/* A drain has begun: the deadline counts from now. */
void hr_drain_begin(struct hr_drain *drain);
