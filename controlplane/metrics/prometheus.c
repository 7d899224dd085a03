/* The names are the enums' own: a counter foo is headrace_foo_total{worker="0"}, a gauge bar is
 * headrace_bar{worker="0"}, a drop reason baz is headrace_drops_total{worker="0",reason="baz"}. */
#include <inttypes.h>
#include <stdio.h>

#include "controlplane/attach/attach.h"
#include "controlplane/conn/conn.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/metrics/metrics.h"
#include "controlplane/metrics/text.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/tls/store.h"
#include "controlplane/zones/cost.h"
#include "controlplane/zones/totals.h"
#include "shared/base/clock.h"
#include "shared/ipc/build_id.h"

static void head(struct hr_text *t, const char *name, const char *type, const char *help)
{
    hr_text_add(t, "# HELP headrace_%s %s\n# TYPE headrace_%s %s\n", name, help, name, type);
}

static void one(struct hr_text *t, const char *name, const char *type, const char *help, double value)
{
    head(t, name, type, help);
    hr_text_add(t, "headrace_%s %.17g\n", name, value);
}

static void write_workers(struct hr_daemon *d, struct hr_text *t)
{
    static struct hr_stats stats[HR_MAX_WORKERS];
    uint32_t n = hr_daemon_workers(d);
    char name[64];

    for (uint32_t w = 0; w < n; w++) {
        if (!hr_daemon_stats(d, w, &stats[w]))
            n = w;
    }
    if (n == 0)
        return;
    for (uint32_t i = 0; i < HR_CTR_MAX; i++) {
        snprintf(name, sizeof(name), "%s_total", hr_counter_info[i].name);
        head(t, name, "counter", hr_counter_info[i].meaning);
        for (uint32_t w = 0; w < n; w++)
            hr_text_add(t, "headrace_%s{worker=\"%u\"} %" PRIu64 "\n", name, w, stats[w].counters[i]);
    }
    for (uint32_t i = 0; i < HR_GAUGE_MAX; i++) {
        head(t, hr_gauge_info[i].name, "gauge", hr_gauge_info[i].meaning);
        for (uint32_t w = 0; w < n; w++)
            hr_text_add(t, "headrace_%s{worker=\"%u\"} %" PRIu64 "\n", hr_gauge_info[i].name, w,
                        stats[w].gauges[i]);
    }
    head(t, "drops_total", "counter", "packets, connections and frames dropped, by reason");
    for (uint32_t i = 0; i < HR_DROP_MAX; i++) {
        for (uint32_t w = 0; w < n; w++)
            hr_text_add(t, "headrace_drops_total{worker=\"%u\",reason=\"%s\"} %" PRIu64 "\n", w,
                        hr_drop_info[i].name, stats[w].drops[i]);
    }
}

static void write_cluster(struct hr_daemon *d, struct hr_text *t)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    struct hr_metadata_info info;
    uint32_t under_replicated = 0, leaderless = 0, alive = 0;

    hr_metadata_get_info(d->metadata, &info);
    one(t, "metadata_refreshes_total", "counter", "metadata refreshes that succeeded",
        (double)info.refreshes);
    one(t, "metadata_failures_total", "counter", "attempts to get metadata from a broker that failed",
        (double)info.failures);
    one(t, "metadata_hints_total", "counter", "hints from workers that metadata is stale",
        (double)info.hints);
    one(t, "cluster_known", "gauge", "1 when the cluster has answered at least once", cluster != NULL);
    if (!cluster)
        return;
    one(t, "metadata_age_seconds", "gauge", "seconds since the last successful metadata refresh",
        (double)(hr_loop_now(d->loop) - info.refreshed_us) / (double)HR_US_PER_S);
    for (uint32_t i = 0; i < cluster->n_topics; i++) {
        for (uint32_t p = 0; p < cluster->topics[i].n_partitions; p++) {
            leaderless += cluster->topics[i].partitions[p].leader < 0;
            under_replicated +=
                cluster->topics[i].partitions[p].n_isr < cluster->topics[i].partitions[p].n_replicas;
        }
    }
    head(t, "broker_info", "gauge", "a broker of the cluster, 1 when it serves, 0 when it is fenced");
    for (uint32_t i = 0; i < cluster->n_brokers; i++) {
        const struct hr_cluster_broker *b = &cluster->brokers[i];

        alive += !b->fenced;
        hr_text_add(t, "headrace_broker_info{node=\"%d\",", b->id);
        hr_text_label(t, "host", b->host);
        hr_text_add(t, ",port=\"%u\",", b->port);
        hr_text_label(t, "zone", b->rack);
        hr_text_add(t, "} %d\n", !b->fenced);
    }
    one(t, "brokers_alive", "gauge", "brokers that serve", alive);
    one(t, "topics", "gauge", "topics of the cluster", cluster->n_topics);
    one(t, "partitions", "gauge", "partitions of the cluster", cluster->n_partitions);
    one(t, "partitions_leaderless", "gauge", "partitions without a leader", leaderless);
    one(t, "partitions_under_replicated", "gauge", "partitions with fewer in-sync replicas than replicas",
        under_replicated);
}

static void write_listeners(struct hr_daemon *d, struct hr_text *t)
{
    if (d->config->n_listeners == 0)
        return;
    head(t, "listener_info", "gauge", "a configured listener, 1 when it accepts, 0 when it drains");
    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const struct hr_policy_listener *l = &d->config->listeners[i].policy;
        bool draining = d->overrides.drain_all || hr_overrides_has_listener(&d->overrides, l->name);

        hr_text_add(t, "headrace_listener_info{");
        hr_text_label(t, "listener", l->name);
        hr_text_add(t, ",mode=\"%s\",port=\"%u\"} %d\n", l->mode == HR_LISTENER_TCP ? "tcp" : "kafka",
                    l->bootstrap_port, !draining);
    }
}

static void add_expiry(void *arg, const struct hr_tls_cert_info *info)
{
    struct hr_text *t = arg;

    hr_text_add(t, "headrace_certificate_expiry_seconds{");
    hr_text_label(t, "owner", info->owner);
    hr_text_add(t, ",use=\"%s\",", info->use);
    hr_text_label(t, "file", info->file);
    hr_text_add(t, ",");
    hr_text_label(t, "subject", info->subject);
    hr_text_add(t, "} %lld\n", (long long)info->not_after_s);
}

static void write_tls(struct hr_daemon *d, struct hr_text *t)
{
    static const char *const legs[HR_TLS_LEGS] = {[HR_TLS_CLIENTS] = "clients", [HR_TLS_BROKERS] = "brokers"};

    head(t, "certificate_expiry_seconds", "gauge", "when a certificate expires, in seconds since 1970");
    hr_tls_store_list(d->tls, add_expiry, t);
    head(t, "tls_handshakes_total", "counter", "TLS handshakes that were completed");
    for (int leg = 0; leg < HR_TLS_LEGS; leg++) {
        const struct hr_tls_counters *c = hr_tls_store_counters(d->tls, (enum hr_tls_leg)leg);

        hr_text_add(t, "headrace_tls_handshakes_total{leg=\"%s\",resumed=\"no\"} %llu\n", legs[leg],
                    (unsigned long long)(c->done - c->resumed));
        hr_text_add(t, "headrace_tls_handshakes_total{leg=\"%s\",resumed=\"yes\"} %llu\n", legs[leg],
                    (unsigned long long)c->resumed);
    }
    head(t, "tls_failed_total", "counter", "TLS handshakes that failed, by reason");
    for (int leg = 0; leg < HR_TLS_LEGS; leg++) {
        for (unsigned r = 1; r < HR_TLS_REASON_MAX; r++)
            hr_text_add(t, "headrace_tls_failed_total{leg=\"%s\",reason=\"%s\"} %llu\n", legs[leg],
                        hr_tls_reason_name(r),
                        (unsigned long long)hr_tls_store_counters(d->tls, (enum hr_tls_leg)leg)->failed[r]);
    }
}

static void zone_labels(struct hr_text *t, const char *metric, const struct hr_zone_map *map, const char *a_name, uint8_t a,
                        const char *b_name, uint8_t b)
{
    hr_text_add(t, "headrace_%s{", metric);
    hr_text_label(t, a_name, map->name[a]);
    if (b_name) {
        hr_text_add(t, ",");
        hr_text_label(t, b_name, map->name[b]);
    }
}

static void write_zone_bytes(struct hr_text *t, const struct hr_zone_map *map, const struct hr_zone_totals *now)
{
    static const char *const dirs[HR_ZONE_DIRS] = {[HR_ZONE_UP] = "up", [HR_ZONE_DOWN] = "down"};

    head(t, "zone_bytes_total", "counter", "bytes of frames between clients and brokers, by their zones; \"\" is not known");
    for (uint8_t c = 0; c < map->n; c++)
        for (uint8_t b = 0; b < map->n; b++)
            for (int dir = 0; dir < HR_ZONE_DIRS; dir++)
                for (int k = 0; k < HR_ZONE_CLASS_MAX; k++) {
                    if (now->bytes[c][b][dir][k] == 0)
                        continue;
                    zone_labels(t, "zone_bytes_total", map, "client", c, "broker", b);
                    hr_text_add(t, ",direction=\"%s\",class=\"%s\"} %" PRIu64 "\n", dirs[dir],
                                hr_zone_class_name((enum hr_zone_class)k), now->bytes[c][b][dir][k]);
                }
}

static void write_zone_links(struct hr_text *t, const struct hr_zone_map *map, const struct hr_zone_totals *now)
{
    static const char *const peers[HR_ZONE_PEER_MAX] = {"control", "clients", "brokers"};

    head(t, "zone_link_bytes_total", "counter", "IP packets of connections with peers in a zone, bytes with all headers");
    for (int peer = 0; peer < HR_ZONE_PEER_MAX; peer++)
        for (uint8_t z = 0; z < map->n; z++) {
            uint64_t rx = hr_zone_link_rx(now, (enum hr_zone_peer)peer, z);
            uint64_t tx = hr_zone_link_tx(now, (enum hr_zone_peer)peer, z);

            if (rx + tx == 0)
                continue;
            zone_labels(t, "zone_link_bytes_total", map, "zone", z, NULL, 0);
            hr_text_add(t, ",peer=\"%s\",direction=\"received\"} %" PRIu64 "\n", peers[peer], rx);
            zone_labels(t, "zone_link_bytes_total", map, "zone", z, NULL, 0);
            hr_text_add(t, ",peer=\"%s\",direction=\"sent\"} %" PRIu64 "\n", peers[peer], tx);
        }
}

static void write_zones(struct hr_daemon *d, struct hr_text *t)
{
    static struct hr_zone_totals now, added;
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    struct hr_zone_cost cost;
    double seconds;

    if (!policy || !hr_zone_totals_get(d->zone_totals, &now, &added, &seconds))
        return;
    write_zone_bytes(t, &policy->zones, &now);
    write_zone_links(t, &policy->zones, &now);
    hr_zone_cost(d->config, &policy->zones, &now, &cost);
    /* No counters: a reload that changes prices changes what has been. */
    one(t, "zone_dollars", "gauge", "what traffic between zones has cost so far, at the prices of now",
        cost.payload + cost.overhead);
    one(t, "zone_direct_dollars", "gauge", "what the same frames would have cost so far between clients and brokers",
        cost.direct);
    one(t, "zones_missing", "gauge", "zones that are named and have no number, because all are given: counted as none",
        hr_publisher_zones_missing(d->publisher));
}

static void write_logins(struct hr_daemon *d, struct hr_text *t)
{
    struct hr_handshakes_info info;

    hr_handshakes_get_info(d->handshakes, &info);
    head(t, "logins_total", "counter", "logins that succeeded: clients' here, and ours at brokers for their sessions");
    for (int m = HR_MECHANISM_NONE + 1; m < HR_MECHANISM_MAX; m++) {
        const char *name = hr_mechanism_name((enum hr_mechanism)m);

        hr_text_add(t, "headrace_logins_total{leg=\"clients\",mechanism=\"%s\"} %llu\n", name,
                    (unsigned long long)info.logins[m]);
        hr_text_add(t, "headrace_logins_total{leg=\"brokers\",mechanism=\"%s\"} %llu\n", name,
                    (unsigned long long)info.broker_logins[m]);
    }
    head(t, "logins_failed_total", "counter", "clients that did not become sessions for a login that failed, by reason");
    for (unsigned r = 1; r < HR_LOGIN_REASON_MAX; r++) {
        if (hr_login_reason_name(r)[0])
            hr_text_add(t, "headrace_logins_failed_total{reason=\"%s\"} %llu\n", hr_login_reason_name(r),
                        (unsigned long long)info.login_failed[r]);
    }
}

void hr_metrics_write(struct hr_daemon *d, struct hr_text *t)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    struct hr_conns_info conns;
    const char *why;

    hr_conns_get_info(d->conns, &conns);
    head(t, "build_info", "gauge", "always 1");
    hr_text_add(t, "headrace_build_info{version=\"%s\",", HR_VERSION);
    hr_text_label(t, "build_id", hr_build_id);
    hr_text_add(t, "} 1\n");
    one(t, "ready", "gauge", "1 when traffic should be sent here, as /ready says", hr_daemon_ready(d, &why));
    one(t, "dataplane_attached", "gauge", "1 when the control plane is attached to a dataplane",
        d->attached_us != 0);
    one(t, "dataplane_attaches_total", "counter", "times the control plane attached to a dataplane",
        (double)d->attaches);
    one(t, "dataplane_workers", "gauge", "workers of the dataplane", hr_daemon_workers(d));
    one(t, "control_uptime_seconds", "gauge", "seconds since the control plane started",
        (double)(hr_loop_now(d->loop) - d->started_us) / (double)HR_US_PER_S);
    one(t, "control_events_total", "counter", "messages received from workers", (double)d->events);
    one(t, "control_events_invalid_total", "counter", "messages from workers that made no sense",
        (double)d->events_invalid);
    one(t, "control_connections", "gauge", "control-owned connections to brokers", conns.open);
    one(t, "control_connections_opened_total", "counter", "control-owned connections opened",
        (double)conns.opened);
    one(t, "control_connections_failed_total", "counter", "control-owned connections that failed",
        (double)conns.failed);
    one(t, "policy_published_generation", "gauge", "generation of the newest policy snapshot published",
        policy ? (double)policy->generation : 0);
    one(t, "policy_adopted_generation", "gauge", "generation of the policy snapshot that every worker uses",
        (double)hr_daemon_adopted(d));
    one(t, "policy_refused_total", "counter", "policy snapshots that the dataplane refused",
        (double)d->policy_bad);
    write_cluster(d, t);
    write_listeners(d, t);
    write_tls(d, t);
    write_zones(d, t);
    write_logins(d, t);
    write_workers(d, t);
}
