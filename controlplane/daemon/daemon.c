#include "controlplane/daemon/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/admin/commands.h"
#include "controlplane/admin/server.h"
#include "controlplane/attach/attach.h"
#include "controlplane/auth/http.h"
#include "controlplane/auth/identities.h"
#include "controlplane/auth/realm.h"
#include "controlplane/conn/conn.h"
#include "controlplane/daemon/drain.h"
#include "controlplane/daemon/impl.h"
#include "controlplane/dns/dns.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/logevents/logevents.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/metrics/metrics.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/renewals/renewals.h"
#include "controlplane/replicas/replicas.h"
#include "controlplane/sessions/sessions.h"
#include "controlplane/tls/store.h"
#include "controlplane/zones/instance.h"
#include "controlplane/zones/peers.h"
#include "controlplane/zones/totals.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"
#include "shared/ipc/link.h"

/* -- attachment --------------------------------------------------------------------------------------- */

static struct hr_link *worker_link(void *arg, uint32_t worker)
{
    struct hr_daemon *d = arg;

    return hr_attach_client_link(d->attach, worker);
}

/* Copies out the snapshot that the workers use, if an earlier control plane left it in a slot. False: none,
 * or not a valid one. */
static bool read_adopted(const struct hr_daemon *d, struct hr_policy *policy)
{
    const char *why;

    for (uint32_t slot = 0; policy && slot < HR_POLICY_SLOTS; slot++) {
        *policy =
            *hr_region_policy(hr_attach_client_region(d->attach), hr_attach_client_workers(d->attach), slot);
        if (policy->generation != 0 && policy->generation == hr_daemon_adopted(d) &&
            hr_policy_validate(policy, &why) == 0)
            return true;
    }
    return false;
}

static void on_attached(void *owner)
{
    struct hr_daemon *d = owner;
    struct hr_policy *adopted = malloc(sizeof(*adopted));
    uint32_t n_workers = hr_attach_client_workers(d->attach);

    d->attached_us = hr_loop_now(d->loop);
    d->attaches++;
    d->refused[0] = '\0';
    hr_log_info("attached to the dataplane: %u worker%s, session %u", n_workers, n_workers == 1 ? "" : "s",
                hr_attach_client_session(d->attach));
    hr_notify_status("attached to a dataplane with %u worker%s", n_workers, n_workers == 1 ? "" : "s");
    hr_conns_attached(d->conns, n_workers, worker_link, d);
    hr_sessions_attached(d->sessions, n_workers, worker_link, d);
    hr_renewals_attached(d->renewals, n_workers, worker_link, d);
    d->doorbell =
        (struct hr_watch){.fd = hr_attach_client_doorbell(d->attach), .fn = hr_daemon_on_doorbell, .arg = d};
    if (hr_loop_add(d->loop, &d->doorbell, EPOLLIN) != 0)
        hr_log_error("cannot watch the workers' doorbell, errno %d", errno);
    hr_publisher_attached(d->publisher, hr_daemon_adopted(d), read_adopted(d, adopted) ? adopted : NULL);
    free(adopted);
    hr_metadata_start(d->metadata);
    hr_zone_totals_keeper_restart(d->zone_totals);
    hr_daemon_take_events(d);
}

static void on_lost(void *owner, const char *why)
{
    struct hr_daemon *d = owner;

    hr_log_warn("the dataplane is gone: %s; attaching again", why);
    hr_notify_status("no dataplane is attached");
    d->attached_us = 0;
    hr_timer_cancel(d->loop, &d->take_again);
    hr_loop_remove(d->loop, &d->doorbell);
    hr_metadata_stop(d->metadata);
    hr_sessions_detached(d->sessions);
    hr_renewals_detached(d->renewals);
    hr_conns_detached(d->conns);
}

static void on_refused(void *owner, const char *why)
{
    struct hr_daemon *d = owner;

    snprintf(d->refused, sizeof(d->refused), "%s", why);
    hr_log_error("the dataplane refused us: %s", why);
}

static void on_policy_ok(void *owner, uint64_t generation)
{
    struct hr_daemon *d = owner;

    d->policy_error[0] = '\0';
    hr_log_debug("policy: generation %llu is in use", (unsigned long long)generation);
}

static void on_policy_bad(void *owner, uint64_t generation, const char *why)
{
    struct hr_daemon *d = owner;

    d->policy_bad++;
    snprintf(d->policy_error, sizeof(d->policy_error), "%s", why);
    hr_log_error("policy: the dataplane refused generation %llu: %s; it keeps the one before",
                 (unsigned long long)generation, why);
}

static const struct hr_attach_client_ops attach_ops = {
    .attached = on_attached,
    .lost = on_lost,
    .refused = on_refused,
    .policy_ok = on_policy_ok,
    .policy_bad = on_policy_bad,
};

static void on_attach_ready(struct hr_watch *watch, uint32_t events)
{
    struct hr_daemon *d = watch->arg;

    (void)events;
    hr_attach_client_poll(d->attach);
}

/* -- policy ------------------------------------------------------------------------------------------- */

static int resolve(void *arg, const char *host, struct hr_addr *ret_addr)
{
    struct hr_daemon *d = arg;
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    uint32_t n;
    int err = hr_dns_lookup(d->dns, host, addrs, &n);

    if (err)
        return err;
    *ret_addr = addrs[0];
    return 0;
}

static bool peer_up(void *arg, const char *health_url)
{
    struct hr_daemon *d = arg;

    return hr_peers_up(d->peers, health_url);
}

static void policy_inputs(void *owner, struct hr_policy_inputs *in)
{
    struct hr_daemon *d = owner;

    in->config = d->config;
    in->at_start = d->at_start;
    in->overrides = &d->overrides;
    in->cluster = hr_metadata_cluster(d->metadata);
    in->departed = hr_metadata_departed(d->metadata, &in->n_departed);
    in->zone = hr_daemon_zone(d);
    in->peer_up = peer_up;
    in->resolve = resolve;
    in->arg = d;
}

const char *hr_daemon_zone(const struct hr_daemon *d)
{
    const char *own = d->config->zones.own;

    return strcmp(own, HR_CONFIG_ZONE_INSTANCE) == 0 ? hr_instance_zone_get(d->instance_zone) : own;
}

static bool read_zone_totals(void *owner, struct hr_zone_totals *ret_totals)
{
    struct hr_daemon *d = owner;

    for (uint32_t w = 0; d->attached_us && w < hr_daemon_workers(d); w++)
        hr_zone_totals_add(ret_totals, hr_region_zone_stats(hr_attach_client_region(d->attach), w));
    return d->attached_us != 0;
}

/* The instance's zone is known, or a peer is up or down. */
static void on_zones_changed(void *owner)
{
    struct hr_daemon *d = owner;

    hr_publisher_touch(d->publisher);
}

static int policy_publish(void *owner, const struct hr_policy *policy, const char **ret_why)
{
    struct hr_daemon *d = owner;

    return hr_attach_client_publish(d->attach, policy, ret_why);
}

static const struct hr_publisher_ops publisher_ops = {.inputs = policy_inputs, .publish = policy_publish};

static void on_cluster_changed(void *owner)
{
    struct hr_daemon *d = owner;
    const struct hr_sasl_api *apis;
    uint32_t n = hr_metadata_apis(d->metadata, &apis);

    if (n > 0)
        hr_realms_set_apis(d->realms, apis, n);
    hr_publisher_touch(d->publisher);
    hr_replica_maps_touch(d->replica_maps);
}

static const struct hr_config *replica_maps_config(void *owner)
{
    return ((struct hr_daemon *)owner)->config;
}

static const struct hr_cluster *replica_maps_cluster(void *owner)
{
    return hr_metadata_cluster(((struct hr_daemon *)owner)->metadata);
}

static void replica_maps_publish(void *owner, struct hr_replicas *map)
{
    hr_attach_client_publish_replicas(((struct hr_daemon *)owner)->attach, map);
}

static const struct hr_replica_maps_ops replica_maps_ops = {
    .config = replica_maps_config, .cluster = replica_maps_cluster, .publish = replica_maps_publish};

static void on_dns_changed(void *owner)
{
    struct hr_daemon *d = owner;

    hr_publisher_touch(d->publisher);
    hr_metadata_dns_changed(d->metadata);
}

/* -- handshakes --------------------------------------------------------------------------------------- */

/* As workers choose (dataplane/proxy/connect.c): one that serves, in our zone if there is one, at random. */
static const struct hr_policy_broker *choose_broker(const struct hr_policy *policy)
{
    const struct hr_policy_broker *best = NULL;
    uint32_t equals = 0;
    int best_rank = -1;

    for (uint32_t i = 0; i < policy->n_brokers; i++) {
        const struct hr_policy_broker *b = &policy->brokers[i];
        int rank = policy->zones.own != HR_ZONE_NONE && b->zone == policy->zones.own;

        if (!(b->flags & HR_BROKER_ALIVE) || (b->flags & HR_BROKER_DRAINING))
            continue;
        equals = rank == best_rank ? equals + 1 : 1;
        if (rank > best_rank || (rank == best_rank && (uint32_t)random() % equals == 0)) {
            best = b;
            best_rank = rank;
        }
    }
    return best;
}

static int handshake_broker(void *owner, int32_t node_id, struct hr_handshake_broker *ret_broker)
{
    struct hr_daemon *d = owner;
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const struct hr_policy_broker *b =
        !policy ? NULL : node_id >= 0 ? hr_policy_find_broker(policy, node_id) : choose_broker(policy);
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    const struct hr_cluster_broker *named = b && cluster ? hr_cluster_find_broker(cluster, b->node_id) : NULL;

    if (!cluster) /* the policy may be an earlier control plane's, which has no names */
        return HR_E_AGAIN;
    if (!named || !(b->flags & HR_BROKER_ALIVE))
        return HR_E_NOT_FOUND;
    ret_broker->node_id = b->node_id;
    ret_broker->addr = b->addr;
    ret_broker->port = b->port;
    snprintf(ret_broker->host, sizeof(ret_broker->host), "%s", named->host);
    return 0;
}

/* One for all, or each its own, as the listener has it. */
static struct hr_identity *identity_of(void *owner, const char *listener, const char *principal, uint16_t *ret_index,
                                       char why[HR_LOGIN_WHY_MAX])
{
    struct hr_daemon *d = owner;
    struct hr_identity *identity = NULL;
    bool own = false;

    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const struct hr_config_listener *l = &d->config->listeners[i];

        own |= strcmp(l->policy.name, listener) == 0 &&
               l->auth.broker_identity == HR_CONFIG_BROKER_IDENTITY_PRINCIPAL;
    }
    *ret_index = 0;
    identity = own ? hr_identities_of(d->identities, principal, ret_index) : hr_identities_shared(d->identities);
    if (!identity)
        snprintf(why, HR_LOGIN_WHY_MAX, "%s", own ? "broker_auth.principals has nobody of that name"
                                                  : "broker_auth could not be taken into use, see the log");
    return identity;
}

static void on_identity_changed(void *owner)
{
    struct hr_daemon *d = owner;

    if (d->metadata)
        hr_metadata_identity_changed(d->metadata);
}

static const struct hr_handshake_ops handshake_ops = {.broker = handshake_broker, .identity = identity_of};

static bool renewal_host(void *owner, int32_t node_id, char host[HR_POLICY_HOST_MAX])
{
    struct hr_daemon *d = owner;
    const struct hr_cluster_broker *broker = hr_cluster_find_broker(hr_metadata_cluster(d->metadata), node_id);

    if (broker)
        snprintf(host, HR_POLICY_HOST_MAX, "%s", broker->host);
    return broker != NULL;
}

static const char *renewal_listener(void *owner, uint16_t index)
{
    const struct hr_policy *policy = hr_publisher_policy(((struct hr_daemon *)owner)->publisher);

    return policy && index < policy->n_listeners ? policy->listeners[index].name : NULL;
}

static const struct hr_renewal_ops renewal_ops = {
    .host = renewal_host, .identity = identity_of, .listener = renewal_listener};

/* -- signals ------------------------------------------------------------------------------------------ */

static void on_signal(struct hr_watch *watch, uint32_t events)
{
    struct hr_daemon *d = watch->arg;
    struct signalfd_siginfo info;

    (void)events;
    while (read(watch->fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
            (void)!hr_daemon_reload(d, NULL, NULL);
            continue;
        }
        hr_log_info("ending on signal %u", info.ssi_signo);
        hr_loop_stop(d->loop);
    }
}

/* -- state -------------------------------------------------------------------------------------------- */

bool hr_daemon_ready(const struct hr_daemon *d, const char **ret_why)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    bool kafka = false, all_draining = d->config->n_listeners > 0;

    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const struct hr_config_listener *listener = &d->config->listeners[i];

        kafka = kafka || listener->policy.mode == HR_LISTENER_KAFKA;
        all_draining = all_draining && hr_overrides_has_listener(&d->overrides, listener->policy.name);
    }
    if (!d->attached_us)
        *ret_why = "no dataplane is attached";
    else if (hr_daemon_adopted(d) == 0)
        *ret_why = "the dataplane has not adopted a policy yet";
    else if (!policy)
        *ret_why = "no policy was published since the control plane started";
    else if (hr_daemon_adopted(d) < policy->generation && d->policy_error[0])
        *ret_why = "the dataplane refused the newest policy";
    else if (kafka && !policy->cluster_known)
        *ret_why = "the cluster's metadata is not known yet";
    else if (d->overrides.drain_all || all_draining)
        *ret_why = "draining";
    else
        return true;
    return false;
}

uint32_t hr_daemon_workers(const struct hr_daemon *d)
{
    uint32_t n = hr_attach_client_workers(d->attach);

    return n < HR_MAX_WORKERS ? n : HR_MAX_WORKERS;
}

bool hr_daemon_stats(const struct hr_daemon *d, uint32_t worker, struct hr_stats *ret_stats)
{
    struct hr_region *region = hr_attach_client_region(d->attach);
    const struct hr_stats *stats;

    if (!region || worker >= hr_daemon_workers(d))
        return false;
    stats = hr_region_stats(region, worker);
    /* Word by word, as the worker writes them: no counter is ever seen half written. */
    for (uint32_t i = 0; i < HR_CTR_MAX; i++)
        ret_stats->counters[i] = __atomic_load_n(&stats->counters[i], __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < HR_GAUGE_MAX; i++)
        ret_stats->gauges[i] = __atomic_load_n(&stats->gauges[i], __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < HR_DROP_MAX; i++)
        ret_stats->drops[i] = __atomic_load_n(&stats->drops[i], __ATOMIC_RELAXED);
    return true;
}

uint64_t hr_daemon_adopted(const struct hr_daemon *d)
{
    uint64_t lowest = UINT64_MAX;

    for (uint32_t w = 0; w < hr_daemon_workers(d); w++) {
        const struct hr_stats *stats = hr_region_stats(hr_attach_client_region(d->attach), w);
        uint64_t generation = __atomic_load_n(&stats->gauges[HR_GAUGE_policy_generation], __ATOMIC_RELAXED);

        if (generation < lowest)
            lowest = generation;
    }
    return lowest == UINT64_MAX ? 0 : lowest;
}

/* -- life --------------------------------------------------------------------------------------------- */

static int watch_signals(struct hr_daemon *d)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return HR_E_SYSTEM;
    signal(SIGPIPE, SIG_IGN);
    d->signals =
        (struct hr_watch){.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), .fn = on_signal, .arg = d};
    if (d->signals.fd < 0)
        return HR_E_SYSTEM;
    return hr_loop_add(d->loop, &d->signals, EPOLLIN);
}

static int open_attach(struct hr_daemon *d)
{
    char path[HR_CONFIG_PATH_MAX + 32];
    int err;

    snprintf(path, sizeof(path), "%s/dataplane.sock", d->config->control.runtime_dir);
    err = hr_attach_client_create(path, &attach_ops, d, &d->attach);
    if (err)
        return err;
    d->attach_watch =
        (struct hr_watch){.fd = hr_attach_client_fd(d->attach), .fn = on_attach_ready, .arg = d};
    return hr_loop_add(d->loop, &d->attach_watch, EPOLLIN);
}

static int open_admin(struct hr_daemon *d)
{
    char path[HR_CONFIG_PATH_MAX + 32];
    int err;

    if (mkdir(d->config->control.runtime_dir, 0755) != 0 && errno != EEXIST) {
        hr_log_error("%s: cannot be created, errno %d: create it and make it ours",
                     d->config->control.runtime_dir, errno);
        return HR_E_SYSTEM;
    }
    snprintf(path, sizeof(path), "%s/control.sock", d->config->control.runtime_dir);
    err = hr_admin_create(d->loop, path, &hr_command_ops, d, &d->admin);
    if (err == HR_E_EXISTS)
        hr_log_error("%s: another control plane listens there", path);
    else if (err)
        hr_log_error("%s: cannot listen: %s (errno %d)", path, hr_strerror(err), errno);
    return err;
}

/* What the ports can reach. */
static struct hr_dns_families dns_families(const struct hr_config *config)
{
    struct hr_dns_families families = {.ipv6_first = config->cluster.prefer_ipv6};

    for (uint32_t i = 0; i < config->dataplane.n_ports; i++) {
        for (uint32_t j = 0; j < config->dataplane.ports[i].n_addrs; j++) {
            bool v4 = hr_addr_is_v4(&config->dataplane.ports[i].addrs[j].addr);

            families.ipv4 |= v4;
            families.ipv6 |= !v4;
        }
    }
    return families;
}

int hr_daemon_create(struct hr_config *config, struct hr_daemon **ret_daemon)
{
    struct hr_dns_families families = dns_families(config);
    struct hr_daemon *d = calloc(1, sizeof(*d));
    int err = HR_E_NOMEM;

    if (!d)
        return HR_E_NOMEM;
    d->config = config;
    d->at_start = calloc(1, sizeof(*d->at_start));
    if (!d->at_start)
        goto out;
    *d->at_start = *config;
    d->take_again = (struct hr_timer){.fn = hr_daemon_on_take_again, .arg = d};
    if ((err = hr_loop_create(NULL, &d->loop)) || (err = watch_signals(d)) ||
        (err = hr_cares_create(d->loop, &families, &d->resolver)) ||
        (err = hr_dns_create(d->loop, d->resolver, on_dns_changed, d, &d->dns)) ||
        (err = hr_conns_create(d->loop, &d->conns)) || (err = hr_tls_store_create(d->loop, &d->tls)) ||
        (err = hr_http_create(d->loop, &d->http)) ||
        (err = hr_zone_totals_keeper_create(d->loop, read_zone_totals, d, &d->zone_totals)) ||
        (err = hr_instance_zone_create(d->loop, d->http, on_zones_changed, d, &d->instance_zone)) ||
        (err = hr_peers_create(d->loop, d->http, on_zones_changed, d, &d->peers)) ||
        (err = hr_identities_create(d->loop, d->http, on_identity_changed, d, &d->identities)) ||
        (err = hr_realms_create(d->loop, d->http, &d->realms)) ||
        (err = hr_handshakes_create(d->loop, d->conns, d->tls, d->realms, &handshake_ops, d, &d->handshakes)) ||
        (err = hr_renewals_create(d->loop, d->realms, &renewal_ops, d, &d->renewals)) ||
        (err = hr_metadata_create(d->loop, d->conns, d->dns, d->tls, on_cluster_changed, d, &d->metadata)) ||
        (err = hr_publisher_create(d->loop, &publisher_ops, d, &d->publisher)) ||
        (err = hr_replica_maps_create(d->loop, d->conns, d->dns, &replica_maps_ops, d, &d->replica_maps)) ||
        (err = hr_sessions_create(d->loop, &d->sessions)) || (err = hr_drain_create(d, &d->drain))) {
        hr_log_error("start-up failed: %s (errno %d)", hr_strerror(err), errno);
        goto out;
    }
    d->started_us = hr_loop_now(d->loop);
    d->logevents = hr_logevents_create(d->loop);
    if (!d->logevents) {
        err = HR_E_NOMEM;
        goto out;
    }
    if ((err = open_admin(d)) != 0 || (err = hr_metrics_create(d, &d->metrics)) != 0)
        goto out;
    if ((err = open_attach(d)) != 0) {
        hr_log_error("cannot prepare to attach: %s", hr_strerror(err));
        goto out;
    }
    hr_daemon_apply(d);
    hr_attach_client_poll(d->attach);
    *ret_daemon = d;
    return 0;
out:
    hr_daemon_destroy(d);
    return err;
}

void hr_daemon_destroy(struct hr_daemon *d)
{
    if (!d)
        return;
    hr_metrics_destroy(d->metrics);
    hr_replica_maps_destroy(d->replica_maps);
    hr_metadata_destroy(d->metadata);
    hr_handshakes_destroy(d->handshakes);
    hr_renewals_destroy(d->renewals);
    hr_realms_destroy(d->realms);
    hr_identities_destroy(d->identities);
    hr_instance_zone_destroy(d->instance_zone);
    hr_peers_destroy(d->peers);
    hr_zone_totals_keeper_destroy(d->zone_totals);
    hr_http_destroy(d->http);
    hr_sessions_destroy(d->sessions);
    hr_drain_destroy(d->drain);
    hr_conns_destroy(d->conns);
    hr_tls_store_destroy(d->tls);
    hr_admin_destroy(d->admin);
    hr_cares_destroy(d->resolver);
    hr_dns_destroy(d->dns);
    hr_publisher_destroy(d->publisher);
    hr_logevents_destroy(d->logevents);
    if (d->attach)
        hr_attach_client_destroy(d->attach);
    if (d->signals.added)
        close(d->signals.fd);
    hr_loop_destroy(d->loop);
    free(d->at_start);
    free(d->config);
    free(d);
}

int hr_daemon_run(struct hr_daemon *d)
{
    int err;

    hr_notify_ready("running");
    err = hr_loop_run(d->loop);
    hr_notify_stopping("ending");
    return err;
}
