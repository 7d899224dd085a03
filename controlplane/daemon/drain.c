#include "controlplane/daemon/drain.h"

#include <stdlib.h>

#include "controlplane/daemon/daemon.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/sessions/sessions.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

/* Killed at a time, so that the commands fit into the rings, and how long until the next look. */
#define KILLS_MAX 256
#define AGAIN_US  (100 * HR_US_PER_MS)

struct hr_drain {
    struct hr_daemon *daemon;
    struct hr_timer timer;
    uint64_t killed; /* since the drain began */
    bool listing;
};

static bool is_draining(const struct hr_daemon *d, const struct hr_session_info *info)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);

    if (d->overrides.drain_all || (info->node_id >= 0 && hr_overrides_has_node(&d->overrides, info->node_id)))
        return true;
    return policy && info->listener < policy->n_listeners &&
           hr_overrides_has_listener(&d->overrides, policy->listeners[info->listener].name);
}

static void on_sessions(void *arg, int err, const struct hr_session_info *infos, uint32_t n, bool complete)
{
    struct hr_drain *drain = arg;
    struct hr_daemon *d = drain->daemon;
    uint32_t killed = 0;

    (void)err;
    drain->listing = false;
    for (uint32_t i = 0; i < n && killed < KILLS_MAX; i++) {
        if (is_draining(d, &infos[i]) && hr_sessions_end(d->sessions, infos[i].id) == 0)
            killed++;
    }
    drain->killed += killed;
    if (killed > 0 || !complete) {
        hr_timer_in(d->loop, &drain->timer, AGAIN_US);
        return;
    }
    if (drain->killed > 0)
        hr_log_warn("drain: %llu sessions were ended at the deadline", (unsigned long long)drain->killed);
    drain->killed = 0;
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_drain *drain = timer->arg;
    struct hr_daemon *d = drain->daemon;
    int err;

    if (drain->listing ||
        (!d->overrides.drain_all && d->overrides.n_nodes == 0 && d->overrides.n_listeners == 0))
        return;
    err = hr_sessions_list(d->sessions, HR_SESSIONS_LIST_MAX, on_sessions, drain);
    drain->listing = err == 0;
    if (err == HR_E_BUSY)
        hr_timer_in(d->loop, timer, AGAIN_US);
}

int hr_drain_create(struct hr_daemon *daemon, struct hr_drain **ret_drain)
{
    struct hr_drain *drain = calloc(1, sizeof(*drain));

    if (!drain)
        return HR_E_NOMEM;
    drain->daemon = daemon;
    drain->timer = (struct hr_timer){.fn = on_timer, .arg = drain};
    *ret_drain = drain;
    return 0;
}

void hr_drain_destroy(struct hr_drain *drain)
{
    if (!drain)
        return;
    hr_timer_cancel(drain->daemon->loop, &drain->timer);
    free(drain);
}

void hr_drain_begin(struct hr_drain *drain)
{
    hr_timer_in(drain->daemon->loop, &drain->timer,
                drain->daemon->config->limits.drain_timeout_ms * HR_US_PER_MS);
}
