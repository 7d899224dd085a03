#include "controlplane/policy/publisher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "controlplane/policy/zones.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

/* So long a control plane that has just started waits for the cluster's first answer, so that a healthy start
 * publishes one snapshot and not two. */
#define FIRST_WAIT_US (3 * HR_US_PER_S)
/* So long a snapshot waits for names that are being resolved. */
#define NAMES_WAIT_US (2 * HR_US_PER_S)
/* Kept in step with names that moved without anybody telling. */
#define REBUILD_US (300 * HR_US_PER_S)

struct hr_publisher {
    struct hr_loop *loop;
    const struct hr_publisher_ops *ops;
    void *owner;
    struct hr_timer timer;
    uint32_t zones_missing;   /* names without a number, by the last snapshot that was made */
    bool attached;            /* once: before that, nobody could say what the dataplane works by */
    uint64_t attached_us;     /* first */
    uint64_t generation;      /* highest that we know of */
    uint64_t adopted_foreign; /* the dataplane works by a snapshot of an earlier control plane */
    uint64_t names_until_us;  /* waiting for names, 0 = not */
    bool published;           /* or inherited */
    bool has_inherited;
    bool sent;               /* by us: a dataplane that attaches later gets it again by itself */
    bool resend;             /* what was inherited is to be sent: another dataplane has attached */
    struct hr_policy policy; /* last sent, or inherited */
    struct hr_policy inherited;
    struct hr_policy next; /* under construction */
};

static void on_timer(struct hr_timer *timer);

/* Said once for each number of them: the traffic of who is there is counted under no zone. */
static void look_for_missing_zones(struct hr_publisher *pub, const struct hr_policy_inputs *in)
{
    const char *first;
    uint32_t n = hr_zones_missing(in->config, &pub->next.zones, in->zone, in->cluster, &first);

    if (n > pub->zones_missing)
        hr_log_warn("zones: %u more are named than the %d that have numbers, \"%s\" is one of them: who is there counts as "
                    "in no zone. Numbers are kept as long as the dataplane runs; restart it where old names are gone",
                    n, HR_ZONES_MAX - 1, first);
    pub->zones_missing = n;
}

int hr_publisher_create(struct hr_loop *loop, const struct hr_publisher_ops *ops, void *owner,
                        struct hr_publisher **ret_publisher)
{
    struct hr_publisher *pub = calloc(1, sizeof(*pub));

    if (!pub)
        return HR_E_NOMEM;
    pub->loop = loop;
    pub->ops = ops;
    pub->owner = owner;
    pub->timer = (struct hr_timer){.fn = on_timer, .arg = pub};
    *ret_publisher = pub;
    return 0;
}

void hr_publisher_destroy(struct hr_publisher *pub)
{
    if (!pub)
        return;
    hr_timer_cancel(pub->loop, &pub->timer);
    free(pub);
}

/* Whether the next snapshot may go out although the cluster is unknown. */
static bool may_go_unknown(const struct hr_publisher *pub, const struct hr_policy_inputs *in,
                           uint64_t *ret_at_us)
{
    bool kafka = false;

    *ret_at_us = 0;
    if (!pub->attached)
        return false;
    for (uint32_t i = 0; i < in->config->n_listeners; i++)
        kafka = kafka || in->config->listeners[i].policy.mode == HR_LISTENER_KAFKA;
    if (!kafka)
        return true; /* nothing waits for the cluster */
    if (pub->adopted_foreign)
        return false;
    *ret_at_us = pub->attached_us + FIRST_WAIT_US;
    return hr_loop_now(pub->loop) >= *ret_at_us;
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_publisher *pub = timer->arg;
    struct hr_policy_inputs in = {0};
    char changes[256];
    const char *why = "";
    uint64_t now = hr_loop_now(pub->loop), at_us;
    uint32_t pending;
    int err;

    hr_timer_in(pub->loop, timer, REBUILD_US);
    pub->ops->inputs(pub->owner, &in);
    in.inherited = pub->has_inherited ? &pub->inherited : NULL;
    in.zones = pub->published ? &pub->policy.zones : NULL;
    /* Built also when it cannot go out yet: names begin to be resolved. */
    pending = hr_policy_build(&in, &pub->next);
    look_for_missing_zones(pub, &in);
    if (pending == 0)
        pub->names_until_us = 0;
    else if (pub->names_until_us == 0)
        pub->names_until_us = now + NAMES_WAIT_US;
    if (now < pub->names_until_us) {
        hr_timer_set(pub->loop, timer, pub->names_until_us);
        return;
    }
    if (!in.cluster && !pub->published && !may_go_unknown(pub, &in, &at_us)) {
        if (at_us)
            hr_timer_set(pub->loop, timer, at_us);
        return;
    }
    if (!hr_policy_changes(&pub->policy, &pub->next, changes, sizeof(changes))) {
        if (!pub->resend)
            return;
        snprintf(changes, sizeof(changes), "unchanged, for a new dataplane");
    }
    pub->next.generation = pub->generation + 1;
    err = pub->ops->publish(pub->owner, &pub->next, &why);
    if (err) {
        hr_log_error("policy: generation %llu not published: %s: %s",
                     (unsigned long long)pub->next.generation, hr_strerror(err), why ? why : "");
        return;
    }
    pub->generation++;
    pub->published = pub->sent = true;
    pub->resend = false;
    pub->adopted_foreign = 0;
    pub->policy = pub->next;
    hr_log_info("policy: generation %llu: %s", (unsigned long long)pub->generation, changes);
}

void hr_publisher_touch(struct hr_publisher *pub)
{
    if (!hr_timer_is_set(&pub->timer) || pub->timer.due_us > hr_loop_now(pub->loop))
        hr_timer_in(pub->loop, &pub->timer, 0);
}

void hr_publisher_attached(struct hr_publisher *pub, uint64_t generation, const struct hr_policy *inherited)
{
    if (!pub->attached)
        pub->attached_us = hr_loop_now(pub->loop);
    pub->attached = true;
    if (generation > pub->generation)
        pub->generation = generation;
    pub->resend = pub->published && !pub->sent && generation != pub->policy.generation;
    if (!pub->published && generation > 0) {
        if (inherited) {
            pub->policy = pub->inherited = *inherited;
            pub->published = pub->has_inherited = true;
            hr_log_info("policy: generation %llu of an earlier control plane is in use",
                        (unsigned long long)generation);
        } else {
            pub->adopted_foreign = generation;
        }
    }
    hr_publisher_touch(pub);
}

uint32_t hr_publisher_zones_missing(const struct hr_publisher *pub)
{
    return pub->zones_missing;
}

const struct hr_policy *hr_publisher_policy(const struct hr_publisher *pub)
{
    return pub->published ? &pub->policy : NULL;
}
