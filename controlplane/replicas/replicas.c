#include "controlplane/replicas/replicas.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "controlplane/replicas/map.h"
#include "controlplane/replicas/probes.h"
#include "shared/base/log.h"

struct hr_replica_maps {
    struct hr_loop *loop;
    const struct hr_replica_maps_ops *ops;
    void *owner;
    struct hr_probes *probes;
    struct hr_timer timer;
    struct hr_replicas *newest, *next; /* newest: published, where its generation is not 0 */
    uint32_t told_left_out;
};

bool hr_replica_maps_wanted(const struct hr_config *config)
{
    if (config->cluster.tls.on || config->broker_auth.mechanism != HR_CONFIG_MECH_NONE)
        return false; /* the second leg would need a handshake, or a login */
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_policy_listener *l = &config->listeners[i].policy;

        if (l->mode == HR_LISTENER_KAFKA && l->zone_reads > HR_ZONE_READS_OFF && !l->broker_login)
            return true;
    }
    return false;
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_replica_maps *m = timer->arg;
    const struct hr_config *config = m->ops->config(m->owner);
    const struct hr_cluster *cluster = hr_replica_maps_wanted(config) ? m->ops->cluster(m->owner) : NULL;
    struct hr_replicas *old = m->newest;

    hr_probes_set(m->probes, cluster);
    if (!cluster)
        return; /* the last one stays, as the policy does; who wants none does not look at it */
    hr_replicas_build(config, cluster, m->probes, m->next);
    m->next->generation = old->generation;
    if (old->generation != 0 && memcmp(old, m->next, sizeof(*old)) == 0)
        return;
    if (m->next->n_left_out != m->told_left_out)
        hr_log_warn("replica map: no room for %u partitions: their reads stay with the leaders", m->next->n_left_out);
    m->told_left_out = m->next->n_left_out;
    m->newest = m->next;
    m->next = old;
    m->ops->publish(m->owner, m->newest);
}

static void on_probe_changed(void *owner)
{
    hr_replica_maps_touch(owner);
}

void hr_replica_maps_touch(struct hr_replica_maps *m)
{
    if (!hr_timer_is_set(&m->timer))
        hr_timer_in(m->loop, &m->timer, 0);
}

int hr_replica_maps_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns,
                           const struct hr_replica_maps_ops *ops, void *owner, struct hr_replica_maps **ret_maps)
{
    struct hr_replica_maps *m = calloc(1, sizeof(*m));
    int err = HR_E_NOMEM;

    if (!m)
        return HR_E_NOMEM;
    m->loop = loop;
    m->ops = ops;
    m->owner = owner;
    m->timer = (struct hr_timer){.fn = on_timer, .arg = m};
    m->newest = calloc(1, sizeof(*m->newest));
    m->next = calloc(1, sizeof(*m->next));
    if (m->newest && m->next)
        err = hr_probes_create(loop, conns, dns, on_probe_changed, m, &m->probes);
    if (err) {
        hr_replica_maps_destroy(m);
        return err;
    }
    *ret_maps = m;
    return 0;
}

void hr_replica_maps_destroy(struct hr_replica_maps *m)
{
    if (!m)
        return;
    hr_probes_destroy(m->probes);
    hr_timer_cancel(m->loop, &m->timer);
    free(m->newest);
    free(m->next);
    free(m);
}
