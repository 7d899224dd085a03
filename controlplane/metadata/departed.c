#include "controlplane/metadata/departed.h"

#include "shared/base/clock.h"
#include "shared/base/log.h"

#define HURRY_FOR_US    (60 * HR_US_PER_S)
#define REMEMBER_FOR_US (600 * HR_US_PER_S)

void hr_departed_clear(struct hr_departed *departed)
{
    departed->n = 0;
    departed->hurry_until_us = 0;
}

void hr_departed_update(struct hr_departed *departed, const struct hr_cluster *old,
                        const struct hr_cluster *next, uint64_t now_us)
{
    uint32_t kept = 0;
    bool missing = false, newly = false;

    for (uint32_t i = 0; old && i < old->n_brokers; i++) {
        const struct hr_cluster_broker *was = &old->brokers[i];
        const struct hr_cluster_broker *is = hr_cluster_find_broker(next, was->id);

        if (!was->fenced && (!is || is->fenced))
            newly = true;
        if (!is && departed->n < HR_POLICY_MAX_BROKERS) {
            hr_log_info("metadata: broker %d (%s:%u) is no longer named", was->id, was->host, was->port);
            departed->brokers[departed->n] = *was;
            departed->since_us[departed->n++] = now_us;
        }
    }
    for (uint32_t i = 0; i < departed->n; i++) {
        if (hr_cluster_find_broker(next, departed->brokers[i].id) ||
            now_us >= departed->since_us[i] + REMEMBER_FOR_US)
            continue;
        missing = true;
        departed->brokers[kept] = departed->brokers[i];
        departed->since_us[kept++] = departed->since_us[i];
    }
    departed->n = kept;
    for (uint32_t i = 0; i < next->n_brokers; i++)
        missing = missing || next->brokers[i].fenced;
    if (newly)
        departed->hurry_until_us = now_us + HURRY_FOR_US;
    else if (!missing)
        departed->hurry_until_us = 0;
}
