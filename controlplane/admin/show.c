/* Commands that show. Keys are the interface of `headracectl --json` and stay once published; ages are in
 * seconds or milliseconds as their names say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/admin/commands.h"
#include "controlplane/attach/attach.h"
#include "controlplane/conn/conn.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/dns/dns.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/sessions/sessions.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/ipc/build_id.h"
#include "shared/kafka/schema.h"

static json_t *text(const char *s)
{
    json_t *value = json_string(s);

    return value ? value : json_string("(not UTF-8)");
}

static json_t *addr_text(const struct hr_addr *addr)
{
    char buf[HR_ADDR_STR_MAX];

    return json_string(hr_addr_format(addr, buf));
}

static json_t *seconds_since(const struct hr_daemon *d, uint64_t then_us)
{
    uint64_t now = hr_loop_now(d->loop);

    return then_us && now >= then_us ? json_real((double)((now - then_us) / HR_US_PER_MS) / 1000.0)
                                     : json_null();
}

static json_t *dataplane_status(struct hr_daemon *d)
{
    const struct hr_region *region = hr_attach_client_region(d->attach);
    char build_id[HR_BUILD_ID_MAX] = "";

    if (region)
        snprintf(build_id, sizeof(build_id), "%.*s", HR_BUILD_ID_MAX - 1, region->build_id);
    return json_pack(
        "{s:b, s:i, s:i, s:o, s:I, s:o, s:o, s:o, s:I, s:I}", "attached", d->attached_us != 0, "workers",
        (int)hr_daemon_workers(d), "session", (int)hr_attach_client_session(d->attach), "attached_s",
        seconds_since(d, d->attached_us), "attaches", (json_int_t)d->attaches, "uptime_s",
        seconds_since(d, region ? region->started_us : 0), "build_id", text(build_id), "refused",
        text(d->refused), "events", (json_int_t)d->events, "events_invalid", (json_int_t)d->events_invalid);
}

static json_t *policy_status(struct hr_daemon *d)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);

    return json_pack("{s:I, s:I, s:I, s:s}", "published", (json_int_t)(policy ? policy->generation : 0),
                     "adopted", (json_int_t)hr_daemon_adopted(d), "refused", (json_int_t)d->policy_bad,
                     "error", d->policy_error);
}

static json_t *metadata_status(struct hr_daemon *d)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    struct hr_metadata_info info;
    char broker[HR_POLICY_HOST_MAX + 8] = "";
    json_t *obj;

    hr_metadata_get_info(d->metadata, &info);
    if (info.host[0])
        hr_hostport_format(info.host, info.port, broker, sizeof(broker));
    obj = json_pack("{s:b, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:o}", "known", cluster != NULL, "state",
                    hr_metadata_state_name(info.state), "state_text", hr_metadata_state_text(info.state),
                    "broker", text(broker), "refreshed_s", seconds_since(d, info.refreshed_us), "refreshes",
                    (json_int_t)info.refreshes, "failures", (json_int_t)info.failures, "hints",
                    (json_int_t)info.hints, "last_error", text(info.last_error));
    if (cluster) {
        json_object_set_new(obj, "cluster_id", text(cluster->id));
        json_object_set_new(obj, "controller", json_integer(cluster->controller_id));
        json_object_set_new(obj, "brokers", json_integer(cluster->n_brokers));
        json_object_set_new(obj, "topics", json_integer(cluster->n_topics));
        json_object_set_new(obj, "partitions", json_integer(cluster->n_partitions));
    }
    return obj;
}

static json_t *listeners_status(struct hr_daemon *d)
{
    json_t *array = json_array();

    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const struct hr_config_listener *l = &d->config->listeners[i];
        bool kafka = l->policy.mode == HR_LISTENER_KAFKA;
        json_t *obj = json_pack(
            "{s:o, s:s, s:o, s:i, s:b}", "name", text(l->policy.name), "mode", kafka ? "kafka" : "tcp",
            "bind", addr_text(&l->policy.bind), "port", l->policy.bootstrap_port, "draining",
            d->overrides.drain_all || hr_overrides_has_listener(&d->overrides, l->policy.name));

        json_object_set_new(obj, "tls", json_boolean(l->policy.tls));
        if (kafka)
            json_object_set_new(obj, "advertised_host", text(l->policy.adv_host));
        if (kafka && l->policy.by_name)
            json_object_set_new(obj, "bootstrap_host", text(l->bootstrap_host));
        if (kafka && !l->policy.by_name) {
            json_object_set_new(obj, "node_port_first",
                                json_integer(l->policy.node_port_base + l->policy.node_id_min));
            json_object_set_new(obj, "node_port_last",
                                json_integer(l->policy.node_port_base + l->policy.node_id_max));
        }
        if (l->has_target) {
            json_object_set_new(obj, "target_host", text(l->target.host));
            json_object_set_new(obj, "target_port", json_integer(l->target.port));
        }
        json_array_append_new(array, obj);
    }
    return array;
}

static void add_name(void *arg, const struct hr_dns_entry_info *info)
{
    json_t *addrs = json_array();

    for (uint32_t i = 0; i < info->n; i++)
        json_array_append_new(addrs, addr_text(&info->addrs[i]));
    json_array_append_new(arg,
                          json_pack("{s:o, s:o, s:b, s:I, s:s}", "host", text(info->host), "addresses", addrs,
                                    "resolving", info->resolving, "failures", (json_int_t)info->failures,
                                    "error", info->err ? hr_strerror(info->err) : ""));
}

void hr_command_status(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const char *why = "";
    bool ready = hr_daemon_ready(d, &why);
    json_t *names = json_array(), *nodes = json_array(), *result;
    struct hr_conns_info conns;
    uint64_t sessions = 0;

    (void)args;
    hr_conns_get_info(d->conns, &conns);
    hr_dns_each(d->dns, add_name, names);
    for (uint32_t i = 0; i < d->overrides.n_nodes; i++)
        json_array_append_new(nodes, json_integer(d->overrides.nodes[i]));
    for (uint32_t w = 0; w < hr_daemon_workers(d); w++) {
        struct hr_stats stats;

        if (hr_daemon_stats(d, w, &stats))
            sessions += stats.gauges[HR_GAUGE_sessions];
    }
    result =
        json_pack("{s:s, s:s, s:i, s:o, s:o, s:b, s:s, s:I, s:s, s:s, s:o}", "version", HR_VERSION,
                  "build_id", hr_build_id, "pid", (int)getpid(), "uptime_s", seconds_since(d, d->started_us),
                  "config", text(d->config->path), "ready", ready, "not_ready", ready ? "" : why, "sessions",
                  (json_int_t)sessions, "log_level", hr_log_level_name(d->config->log.level), "idle",
                  d->config->dataplane.idle_busy ? "busy" : "adaptive", "zone", text(hr_daemon_zone(d) ? hr_daemon_zone(d) : ""));
    json_object_set_new(result, "dataplane", dataplane_status(d));
    json_object_set_new(result, "policy", policy_status(d));
    json_object_set_new(result, "metadata", metadata_status(d));
    json_object_set_new(result, "listeners", listeners_status(d));
    json_object_set_new(result, "drain",
                        json_pack("{s:b, s:o}", "all", d->overrides.drain_all, "nodes", nodes));
    json_object_set_new(result, "names", names);
    json_object_set_new(result, "control_connections",
                        json_pack("{s:i, s:i, s:I, s:I, s:I, s:I}", "open", (int)conns.open, "opening",
                                  (int)conns.opening, "opened", (json_int_t)conns.opened, "failed",
                                  (json_int_t)conns.failed, "bytes_in", (json_int_t)conns.bytes_in,
                                  "bytes_out", (json_int_t)conns.bytes_out));
    hr_admin_reply(request, result);
}

static json_t *named(const struct hr_counter_info *info, const uint64_t *values, uint32_t n)
{
    json_t *obj = json_object();

    for (uint32_t i = 0; i < n; i++)
        json_object_set_new(obj, info[i].name, json_integer((json_int_t)values[i]));
    return obj;
}

static json_t *workers_stats(struct hr_daemon *d)
{
    struct hr_region *region = hr_attach_client_region(d->attach);
    json_t *array = json_array();

    for (uint32_t w = 0; w < hr_daemon_workers(d); w++) {
        struct hr_stats stats;

        if (!hr_daemon_stats(d, w, &stats))
            break;
        json_array_append_new(array, json_pack("{s:i, s:i, s:o, s:o, s:o}", "worker", (int)w, "lcore",
                                               (int)region->worker[w].lcore, "counters",
                                               named(hr_counter_info, stats.counters, HR_CTR_MAX), "gauges",
                                               named(hr_gauge_info, stats.gauges, HR_GAUGE_MAX), "drops",
                                               named(hr_drop_info, stats.drops, HR_DROP_MAX)));
    }
    return array;
}

void hr_command_counters(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    (void)args;
    if (!d->attached_us) {
        hr_admin_fail(request, HR_E_CLOSED, "no dataplane is attached%s%s", d->refused[0] ? ": " : "",
                      d->refused);
        return;
    }
    hr_admin_reply(request, json_pack("{s:I, s:o}", "time_us", (json_int_t)hr_loop_now(d->loop), "workers",
                                      workers_stats(d)));
}

/* A question to workers and the request that waits for it; freed by the answer's callback. */
struct pending {
    struct hr_daemon *daemon;
    struct hr_admin_request *request;
};

static struct pending *pend(struct hr_daemon *d, struct hr_admin_request *request)
{
    struct pending *pending = malloc(sizeof(*pending));

    if (!pending) {
        hr_admin_fail(request, HR_E_NOMEM, "out of memory");
        return NULL;
    }
    *pending = (struct pending){d, request};
    return pending;
}

static void on_pong(void *arg, const uint32_t *rtt_us, uint32_t n_workers)
{
    struct pending pending = *(struct pending *)arg;
    json_t *workers = workers_stats(pending.daemon), *item;
    size_t i;

    free(arg);
    json_array_foreach(workers, i, item)
    {
        bool answered = i < n_workers && rtt_us[i] != UINT32_MAX;

        json_object_set_new(item, "responds", json_boolean(answered));
        json_object_set_new(item, "rtt_us", answered ? json_integer(rtt_us[i]) : json_null());
    }
    hr_admin_reply(pending.request,
                   json_pack("{s:I, s:o}", "time_us", (json_int_t)hr_loop_now(pending.daemon->loop),
                             "workers", workers));
}

void hr_command_workers(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    struct pending *pending = pend(d, request);
    int err;

    (void)args;
    if (!pending)
        return;
    err = hr_sessions_ping(d->sessions, on_pong, pending);
    if (err) {
        free(pending);
        hr_admin_fail(request, err, "%s", err == HR_E_CLOSED ? "no dataplane is attached" : hr_strerror(err));
    }
}

static json_t *broker_json(struct hr_daemon *d, const struct hr_cluster_broker *broker, const char *state)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const struct hr_policy_broker *known = policy ? hr_policy_find_broker(policy, broker->id) : NULL;
    bool addr_known = known && !hr_addr_is_any(&known->addr);

    return json_pack("{s:i, s:o, s:i, s:o, s:o, s:s, s:b, s:b, s:I}", "id", broker->id, "host",
                     text(broker->host), "port", broker->port, "rack", text(broker->rack), "address",
                     addr_known ? addr_text(&known->addr) : json_null(), "state", state, "draining",
                     d->overrides.drain_all || hr_overrides_has_node(&d->overrides, broker->id), "controller",
                     cluster && cluster->controller_id == broker->id, "leads",
                     (json_int_t)hr_cluster_leads(cluster, broker->id));
}

void hr_command_brokers(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    const struct hr_cluster_broker *departed;
    json_t *array = json_array(), *bootstrap = json_array();
    uint32_t n_departed;

    (void)args;
    for (uint32_t i = 0; cluster && i < cluster->n_brokers; i++)
        json_array_append_new(
            array, broker_json(d, &cluster->brokers[i], cluster->brokers[i].fenced ? "fenced" : "alive"));
    departed = hr_metadata_departed(d->metadata, &n_departed);
    for (uint32_t i = 0; i < n_departed; i++)
        json_array_append_new(array, broker_json(d, &departed[i], "departed"));
    for (uint32_t i = 0; i < d->config->cluster.n_bootstrap; i++) {
        char hostport[HR_POLICY_HOST_MAX + 8];

        hr_hostport_format(d->config->cluster.bootstrap[i].host, d->config->cluster.bootstrap[i].port, hostport,
                           sizeof(hostport));
        json_array_append_new(bootstrap, text(hostport));
    }
    hr_admin_reply(request,
                   json_pack("{s:b, s:o, s:o, s:o}", "known", cluster != NULL, "cluster_id",
                             text(cluster ? cluster->id : ""), "brokers", array, "bootstrap", bootstrap));
}

static json_t *ids_json(const int32_t *ids, uint16_t n)
{
    json_t *array = json_array();

    for (uint16_t i = 0; i < n; i++)
        json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static json_t *topic_json(const struct hr_cluster_topic *topic, bool with_partitions)
{
    uint32_t leaderless = 0, under_replicated = 0;
    json_t *partitions = with_partitions ? json_array() : NULL;
    json_t *obj;

    for (uint32_t i = 0; i < topic->n_partitions; i++) {
        const struct hr_cluster_partition *p = &topic->partitions[i];

        leaderless += p->leader < 0;
        under_replicated += p->n_isr < p->n_replicas;
        if (partitions)
            json_array_append_new(
                partitions,
                json_pack("{s:i, s:i, s:i, s:o, s:o, s:o}", "partition", p->index, "leader", p->leader,
                          "epoch", p->leader_epoch, "replicas", ids_json(p->replicas, p->n_replicas), "isr",
                          ids_json(p->isr, p->n_isr), "offline", ids_json(p->offline, p->n_offline)));
    }
    obj = json_pack("{s:o, s:s, s:b, s:i, s:i, s:i, s:i, s:i}", "name", text(topic->name), "id", topic->id,
                    "internal", topic->internal, "partitions", (int)topic->n_partitions, "replication",
                    topic->n_partitions ? topic->partitions[0].n_replicas : 0, "under_replicated",
                    (int)under_replicated, "leaderless", (int)leaderless, "error", topic->error);
    if (partitions)
        json_object_set_new(obj, "partition_list", partitions);
    return obj;
}

void hr_command_topics(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    const char *only = json_string_value(json_object_get(args, "topic"));
    bool all = json_is_true(json_object_get(args, "partitions"));
    json_t *array;

    if (!cluster) {
        hr_admin_fail(request, HR_E_AGAIN, "the cluster's metadata is not known yet");
        return;
    }
    array = json_array();
    for (uint32_t i = 0; i < cluster->n_topics; i++) {
        if (only && strcmp(only, cluster->topics[i].name) != 0)
            continue;
        json_array_append_new(array, topic_json(&cluster->topics[i], only || all));
    }
    if (only && json_array_size(array) == 0) {
        json_decref(array);
        hr_admin_fail(request, HR_E_NOT_FOUND, "the cluster has no topic \"%.200s\"", only);
        return;
    }
    hr_admin_reply(request, json_pack("{s:o}", "topics", array));
}
