#include "controlplane/metadata/metadata.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/identity.h"
#include "controlplane/auth/sasl_server.h"
#include "controlplane/dns/dns.h"
#include "controlplane/loop/loop.h"
#include "controlplane/metadata/apis.h"
#include "controlplane/metadata/departed.h"
#include "controlplane/metadata/kclient.h"
#include "controlplane/replicas/replicas.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/config.h"
#include "shared/kafka/schema.h"

#define METADATA_VERSION_MAX 12 /* 13 adds only an error code */
#define DESCRIBE_VERSION_MAX 2
#define API_VERSIONS_VERSION 3

#define CONNECT_TIMEOUT_MS 3000
#define RESOLVE_US         (3 * HR_US_PER_S)
#define BACKOFF_MIN_US     (100 * HR_US_PER_MS)
#define BACKOFF_MAX_US     (5 * HR_US_PER_S)
#define HURRY_EVERY_US     HR_US_PER_S /* while a broker is missing */
/* Where reads go to followers, each second, and less often with more partitions: a second's answer is bounded. */
#define FOLLOW_EVERY_US    HR_US_PER_S
#define FOLLOW_PARTITIONS  5000
#define CANDIDATES_MAX     (HR_POLICY_MAX_BROKERS + HR_CONFIG_MAX_BOOTSTRAP)

struct hr_metadata {
    struct hr_loop *loop;
    struct hr_conns *conns;
    struct hr_dns *dns;
    void (*changed)(void *owner);
    void *owner;

    struct hr_config_hostport bootstrap[HR_CONFIG_MAX_BOOTSTRAP];
    uint32_t n_bootstrap;
    struct hr_tls_store *tls;
    bool use_tls;
    bool follows; /* reads go to followers: who is in sync has to be known soon */
    uint64_t refresh_us, refresh_min_us;
    uint32_t request_timeout_ms;

    enum hr_metadata_state state;
    bool attached;
    struct hr_timer timer; /* the one thing that the state waits for besides the connection */
    struct hr_kclient *client;
    struct hr_identity *identity; /* NULL: no login */
    uint64_t login_until_us;      /* the connection's login needs to be new by then; 0: never */

    struct hr_config_hostport candidates[CANDIDATES_MAX]; /* of this round */
    uint32_t n_candidates, at_candidate;
    uint32_t turn;       /* rotates where a round starts among the known brokers */
    struct hr_addr addr; /* of the candidate in use */
    uint64_t backoff_us;

    struct hr_apis apis;
    int16_t metadata_version, describe_version; /* -1: not supported by this broker */
    struct hr_cluster *pending;                 /* Metadata's answer while DescribeCluster's is awaited */
    struct hr_cluster *cluster;
    uint64_t asked_us;    /* start of the last refresh */
    bool bootstrap_only;  /* the list was reloaded: known brokers may be another cluster's */
    bool describe_broken; /* DescribeCluster once ended a connection: not asked again */
    bool hinted;          /* a hint came while a refresh was under way */
    struct hr_departed departed;
    struct hr_metadata_info info;
};

static const char *const state_names[HR_METADATA_MAX] = {[HR_METADATA_NONE] = "none",
#define X(name, text) [HR_METADATA_##name] = #name,
                                                         HR_METADATA_STATES(X)
#undef X
};

static const char *const state_texts[HR_METADATA_MAX] = {[HR_METADATA_NONE] = "",
#define X(name, text) [HR_METADATA_##name] = text,
                                                         HR_METADATA_STATES(X)
#undef X
};

static void begin_round(struct hr_metadata *md);
static void try_candidate(struct hr_metadata *md);
static void ask(struct hr_metadata *md);

const char *hr_metadata_state_name(enum hr_metadata_state state)
{
    return state_names[state];
}

const char *hr_metadata_state_text(enum hr_metadata_state state)
{
    return state_texts[state];
}

#define TO(name) (1u << HR_METADATA_##name)
/* Every state may be left for WAITING (the candidate failed) and for STOPPED. */
static const uint32_t legal_next[HR_METADATA_MAX] = {
    [HR_METADATA_STOPPED] = TO(RESOLVING) | TO(CONNECTING),
    [HR_METADATA_WAITING] = TO(RESOLVING) | TO(CONNECTING),
    [HR_METADATA_RESOLVING] = TO(CONNECTING),
    [HR_METADATA_CONNECTING] = TO(LOGIN) | TO(VERSIONS),
    [HR_METADATA_LOGIN] = TO(VERSIONS),
    [HR_METADATA_VERSIONS] = TO(ASKING),
    [HR_METADATA_ASKING] = TO(DESCRIBING) | TO(READY),
    [HR_METADATA_DESCRIBING] = TO(READY),
    [HR_METADATA_READY] = TO(ASKING),
};

static void set_state(struct hr_metadata *md, enum hr_metadata_state state)
{
    if (!((legal_next[md->state] | TO(WAITING) | TO(STOPPED)) & (1u << state))) {
        md->info.illegal_transitions++;
        hr_log_error("metadata: from %s to %s is no legal transition: report this", state_names[md->state],
                     state_names[state]);
    }
    md->state = state;
}

static const struct hr_config_hostport *candidate(const struct hr_metadata *md)
{
    return &md->candidates[md->at_candidate];
}

/* Drops the connection and what hangs on it, keeps what was learnt. */
static void drop_connection(struct hr_metadata *md)
{
    hr_kclient_close(md->client);
    md->client = NULL;
    hr_cluster_free(md->pending);
    md->pending = NULL;
    hr_timer_cancel(md->loop, &md->timer);
}

/* With a new connection, at once. */
static void start_again(struct hr_metadata *md)
{
    drop_connection(md);
    set_state(md, HR_METADATA_WAITING);
    begin_round(md);
}

static void next_candidate(struct hr_metadata *md)
{
    drop_connection(md);
    set_state(md, HR_METADATA_WAITING);
    if (++md->at_candidate < md->n_candidates) {
        try_candidate(md);
        return;
    }
    md->backoff_us = md->backoff_us ? md->backoff_us * 2 : BACKOFF_MIN_US;
    if (md->backoff_us > BACKOFF_MAX_US)
        md->backoff_us = BACKOFF_MAX_US;
    hr_timer_in(md->loop, &md->timer, md->backoff_us);
}

static void candidate_failed(struct hr_metadata *md, const char *why)
{
    bool first = md->info.last_error[0] == '\0';

    md->info.failures++;
    snprintf(md->info.last_error, sizeof(md->info.last_error), "%.100s:%u: %.120s", candidate(md)->host,
             candidate(md)->port, why);
    /* Once per outage in the log; headracectl status has the newest. */
    hr_log(first ? HR_LOG_WARN : HR_LOG_DEBUG, "metadata: %s", md->info.last_error);
    next_candidate(md);
}

/* The next refresh is due: by the interval, sooner after a hint or while a broker is missing. */
static void schedule_refresh(struct hr_metadata *md)
{
    uint64_t now = hr_loop_now(md->loop);
    uint64_t due = md->asked_us + md->refresh_us;
    uint64_t follow_us = FOLLOW_EVERY_US * (1 + (md->cluster ? md->cluster->n_partitions / FOLLOW_PARTITIONS : 0));

    if (md->follows && md->asked_us + follow_us < due)
        due = md->asked_us + follow_us;
    if (md->hinted)
        due = md->asked_us + md->refresh_min_us;
    if (now < md->departed.hurry_until_us && md->asked_us + HURRY_EVERY_US < due)
        due = md->asked_us + HURRY_EVERY_US;
    md->hinted = false;
    hr_timer_set(md->loop, &md->timer, due > now ? due : now);
}

static void commit(struct hr_metadata *md)
{
    struct hr_cluster *old = md->cluster;
    struct hr_cluster *next = md->pending;

    md->pending = NULL;
    if (old && old->id[0] && next->id[0] && strcmp(old->id, next->id) != 0) {
        hr_departed_clear(&md->departed);
        hr_apis_clear(&md->apis);
        old->n_brokers = 0; /* another cluster's brokers have not departed */
        hr_log_warn(
            "metadata: the cluster id changed from %s to %s: do all bootstrap addresses name one cluster?",
            old->id, next->id);
    }
    if (next->n_rejected > 0 && (!old || old->n_rejected != next->n_rejected))
        hr_log_warn("metadata: %u entries left out, the first: %s", next->n_rejected, next->rejected);
    if (!old || old->n_brokers != next->n_brokers || old->n_topics != next->n_topics)
        hr_log_info("metadata: cluster %s: %u brokers, %u topics, %u partitions", next->id, next->n_brokers,
                    next->n_topics, next->n_partitions);
    hr_departed_update(&md->departed, old, next, hr_loop_now(md->loop));
    hr_apis_keep(&md->apis, next);
    md->cluster = next;
    md->backoff_us = 0;
    md->bootstrap_only = false;
    md->info.refreshes++;
    md->info.refreshed_us = hr_loop_now(md->loop);
    md->info.last_error[0] = '\0';
    md->changed(md->owner);
    hr_cluster_free(old);
}

static void finish(struct hr_metadata *md)
{
    commit(md);
    set_state(md, HR_METADATA_READY);
    schedule_refresh(md);
}

/* min(ours, theirs) if the ranges meet, else -1. */
static int16_t common_version(const json_t *api_versions, int16_t key, int16_t cap)
{
    const struct hr_kapi *api = hr_kapi_find(key);
    const json_t *item;
    size_t i;

    if (!api)
        return -1;
    json_array_foreach(json_object_get(api_versions, "ApiKeys"), i, item)
    {
        json_int_t min = json_integer_value(json_object_get(item, "MinVersion"));
        json_int_t max = json_integer_value(json_object_get(item, "MaxVersion"));

        if (json_integer_value(json_object_get(item, "ApiKey")) != key)
            continue;
        if (max > cap)
            max = cap;
        if (max > api->latest_stable.max)
            max = api->latest_stable.max;
        return max >= min && max >= api->versions.min ? (int16_t)max : -1;
    }
    return -1;
}

uint32_t hr_metadata_apis(const struct hr_metadata *md, const struct hr_sasl_api **ret_apis)
{
    *ret_apis = md->apis.common;
    return md->apis.n_common;
}

static void on_versions(struct hr_metadata *md, int16_t version, const json_t *body)
{
    json_t *again;
    int err;

    if (json_integer_value(json_object_get(body, "ErrorCode")) != 0) {
        /* KIP-511: an old broker answers in version 0 that it does not know ours. Asked once more in 0. */
        if (version != 0 || md->metadata_version == 0) {
            candidate_failed(md, "the broker refused ApiVersions");
            return;
        }
        md->metadata_version = 0;
        again = json_object();
        err = hr_kclient_request(md->client, HR_KAPI_API_VERSIONS, 0, again, md->request_timeout_ms);
        json_decref(again);
        if (err)
            candidate_failed(md, hr_strerror(err));
        return;
    }
    md->metadata_version = common_version(body, HR_KAPI_METADATA, METADATA_VERSION_MAX);
    md->describe_version = common_version(body, HR_KAPI_DESCRIBE_CLUSTER, DESCRIBE_VERSION_MAX);
    hr_apis_told(&md->apis, candidate(md)->host, candidate(md)->port, body);
    if (md->metadata_version < 0) {
        candidate_failed(md, "the broker has no version of Metadata in common with Headrace");
        return;
    }
    ask(md);
}

/* All topics: null since version 1, an empty list before. */
static void ask(struct hr_metadata *md)
{
    json_t *body = json_object();
    int err;

    json_object_set_new(body, "Topics", md->metadata_version >= 1 ? json_null() : json_array());
    if (md->metadata_version >= 4)
        json_object_set_new(body, "AllowAutoTopicCreation", json_false());
    md->asked_us = hr_loop_now(md->loop);
    set_state(md, HR_METADATA_ASKING);
    err = hr_kclient_request(md->client, HR_KAPI_METADATA, md->metadata_version, body, md->request_timeout_ms);
    json_decref(body);
    if (err)
        candidate_failed(md, hr_strerror(err));
}

static void on_metadata(struct hr_metadata *md, const json_t *body)
{
    char why[128];
    json_t *request;
    int err = hr_cluster_parse(body, &md->pending, why);

    if (err) {
        candidate_failed(md, why);
        return;
    }
    if (md->describe_version < 0 || md->describe_broken) {
        finish(md);
        return;
    }
    request = json_object();
    if (md->describe_version >= 2)
        json_object_set_new(request, "IncludeFencedBrokers", json_true());
    set_state(md, HR_METADATA_DESCRIBING);
    err = hr_kclient_request(md->client, HR_KAPI_DESCRIBE_CLUSTER, md->describe_version, request,
                             md->request_timeout_ms);
    json_decref(request);
    if (err)
        finish(md);
}

static void on_opened(void *owner)
{
    set_state(owner, HR_METADATA_LOGIN);
}

static void on_connected(void *owner)
{
    struct hr_metadata *md = owner;
    uint64_t lifetime_ms = hr_kclient_lifetime_ms(md->client);
    json_t *body = json_object();
    int err;

    hr_timer_cancel(md->loop, &md->timer);
    hr_log_info("metadata: connected to %s:%u", candidate(md)->host, candidate(md)->port);
    json_object_set_new(body, "ClientSoftwareName", json_string("headrace"));
    json_object_set_new(body, "ClientSoftwareVersion", json_string(HR_VERSION));
    md->metadata_version = md->describe_version = -1;
    md->login_until_us = lifetime_ms ? hr_loop_now(md->loop) + hr_login_due(lifetime_ms * HR_US_PER_MS) : 0;
    set_state(md, HR_METADATA_VERSIONS);
    err =
        hr_kclient_request(md->client, HR_KAPI_API_VERSIONS, API_VERSIONS_VERSION, body, md->request_timeout_ms);
    json_decref(body);
    if (err)
        candidate_failed(md, hr_strerror(err));
}

static void on_answered(void *owner, int16_t api_key, int16_t version, const json_t *body)
{
    struct hr_metadata *md = owner;

    switch (api_key) {
    case HR_KAPI_API_VERSIONS:
        on_versions(md, version, body);
        break;
    case HR_KAPI_METADATA:
        on_metadata(md, body);
        break;
    case HR_KAPI_DESCRIBE_CLUSTER:
        if (hr_cluster_add_describe(md->pending, body) != 0)
            hr_log_debug("metadata: DescribeCluster's answer was of no use");
        finish(md);
        break;
    }
}

static void on_failed(void *owner, int err, const char *why)
{
    struct hr_metadata *md = owner;
    enum hr_metadata_state was = md->state;

    if (was == HR_METADATA_CONNECTING)
        hr_dns_failed(md->dns, candidate(md)->host, &md->addr);
    if (was == HR_METADATA_READY && err == HR_E_CLOSED) {
        /* Brokers close idle connections (10 minutes) and when they restart: nothing to warn of. */
        hr_log_info("metadata: %s:%u: %s; trying the next broker", candidate(md)->host, candidate(md)->port,
                    why);
        start_again(md);
        return;
    }
    if (was == HR_METADATA_LOGIN && err == HR_E_REFUSED)
        hr_identity_refused(md->identity);
    if (was == HR_METADATA_DESCRIBING) {
        md->describe_broken = true;
        commit(md); /* Metadata's own answer is good */
    }
    candidate_failed(md, why);
}

static const struct hr_kclient_ops client_ops = {
    .opened = on_opened, .connected = on_connected, .answered = on_answered, .failed = on_failed};

static void try_candidate(struct hr_metadata *md)
{
    struct hr_addr addrs[HR_DNS_ADDRS_MAX];
    char why[HR_LOGIN_WHY_MAX] = "";
    struct hr_login *login = NULL;
    uint32_t n;
    int err = hr_dns_lookup(md->dns, candidate(md)->host, addrs, &n);

    snprintf(md->info.host, sizeof(md->info.host), "%s", candidate(md)->host);
    md->info.port = candidate(md)->port;
    if (err == HR_E_AGAIN) {
        if (md->state != HR_METADATA_RESOLVING) {
            set_state(md, HR_METADATA_RESOLVING);
            hr_timer_in(md->loop, &md->timer, RESOLVE_US);
        }
        return;
    }
    hr_timer_cancel(md->loop, &md->timer);
    set_state(md, HR_METADATA_CONNECTING);
    if (err) {
        candidate_failed(md, err == HR_E_NOT_FOUND ? "the name cannot be resolved" : hr_strerror(err));
        return;
    }
    if (md->identity && hr_identity_login(md->identity, candidate(md)->host, &login, why) != 0) {
        candidate_failed(md, why);
        return;
    }
    md->addr = addrs[0];
    err = hr_kclient_open(md->loop, md->conns, md->use_tls ? md->tls : NULL, candidate(md)->host, &md->addr,
                          candidate(md)->port, CONNECT_TIMEOUT_MS, HR_METADATA_FRAME_MAX, login,
                          md->request_timeout_ms, &client_ops, md, &md->client);
    if (err)
        candidate_failed(md, hr_strerror(err));
}

static void begin_round(struct hr_metadata *md)
{
    md->n_candidates = md->at_candidate = 0;
    if (!md->attached || (md->n_bootstrap == 0 && !md->cluster)) {
        set_state(md, HR_METADATA_STOPPED);
        return;
    }
    for (uint32_t i = 0; !md->bootstrap_only && md->cluster && i < md->cluster->n_brokers; i++) {
        const struct hr_cluster_broker *broker =
            &md->cluster->brokers[(i + md->turn) % md->cluster->n_brokers];
        struct hr_config_hostport *to = &md->candidates[md->n_candidates];

        if (broker->fenced)
            continue;
        snprintf(to->host, sizeof(to->host), "%s", broker->host);
        to->port = broker->port;
        md->n_candidates++;
    }
    for (uint32_t i = 0; i < md->n_bootstrap; i++)
        md->candidates[md->n_candidates++] = md->bootstrap[(i + md->turn) % md->n_bootstrap];
    md->turn++;
    if (md->n_candidates == 0)
        set_state(md, HR_METADATA_STOPPED);
    else
        try_candidate(md);
}

static void on_timer(struct hr_timer *timer)
{
    struct hr_metadata *md = timer->arg;

    switch (md->state) {
    case HR_METADATA_WAITING:
        begin_round(md);
        break;
    case HR_METADATA_RESOLVING:
        candidate_failed(md, "the name was not resolved in time");
        break;
    case HR_METADATA_READY:
        if (md->login_until_us && hr_loop_now(md->loop) >= md->login_until_us)
            start_again(md);
        else
            ask(md);
        break;
    case HR_METADATA_NONE:
    case HR_METADATA_STOPPED:
    case HR_METADATA_CONNECTING: /* these have the connection's own timeouts */
    case HR_METADATA_LOGIN:
    case HR_METADATA_VERSIONS:
    case HR_METADATA_ASKING:
    case HR_METADATA_DESCRIBING:
    case HR_METADATA_MAX:
        break;
    }
}

void hr_metadata_hint(struct hr_metadata *md)
{
    md->info.hints++;
    md->hinted = true;
    if (md->state == HR_METADATA_READY)
        schedule_refresh(md);
}

void hr_metadata_dns_changed(struct hr_metadata *md)
{
    if (md->state == HR_METADATA_RESOLVING)
        try_candidate(md);
}

void hr_metadata_set_identity(struct hr_metadata *md, struct hr_identity *identity)
{
    if (md->identity == identity)
        return;
    /* A login that is under way uses the one before. */
    drop_connection(md);
    md->identity = identity;
    md->backoff_us = 0;
    set_state(md, HR_METADATA_WAITING);
    begin_round(md);
}

void hr_metadata_identity_changed(struct hr_metadata *md)
{
    if (md->state == HR_METADATA_WAITING && md->identity)
        begin_round(md);
}

void hr_metadata_start(struct hr_metadata *md)
{
    md->attached = true;
    if (md->state == HR_METADATA_STOPPED)
        begin_round(md);
}

void hr_metadata_stop(struct hr_metadata *md)
{
    md->attached = false;
    drop_connection(md);
    md->backoff_us = 0;
    set_state(md, HR_METADATA_STOPPED);
}

void hr_metadata_configure(struct hr_metadata *md, const struct hr_config *config)
{
    bool same =
        md->n_bootstrap == config->cluster.n_bootstrap &&
        memcmp(md->bootstrap, config->cluster.bootstrap, md->n_bootstrap * sizeof(md->bootstrap[0])) == 0 &&
        md->use_tls == config->cluster.tls.on;

    md->use_tls = config->cluster.tls.on;
    md->follows = hr_replica_maps_wanted(config);
    md->n_bootstrap = config->cluster.n_bootstrap;
    memcpy(md->bootstrap, config->cluster.bootstrap, sizeof(md->bootstrap));
    md->refresh_us = config->cluster.refresh_ms * HR_US_PER_MS;
    md->refresh_min_us = config->cluster.refresh_min_ms * HR_US_PER_MS;
    md->request_timeout_ms = config->cluster.request_timeout_ms;
    if (md->state == HR_METADATA_READY)
        schedule_refresh(md);
    if (same || !md->attached)
        return;
    /* Another list may mean another cluster: what is known stays in use until the new list has answered, but
     * no longer says whom to ask. */
    drop_connection(md);
    md->bootstrap_only = md->n_bootstrap > 0;
    md->describe_broken = false;
    md->backoff_us = 0;
    set_state(md, HR_METADATA_WAITING);
    begin_round(md);
}

int hr_metadata_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns,
                       struct hr_tls_store *tls, void (*changed)(void *owner), void *owner, struct hr_metadata **ret_metadata)
{
    struct hr_metadata *md = calloc(1, sizeof(*md));

    if (!md)
        return HR_E_NOMEM;
    md->loop = loop;
    md->conns = conns;
    md->dns = dns;
    md->tls = tls;
    md->changed = changed;
    md->owner = owner;
    md->state = HR_METADATA_STOPPED;
    md->timer = (struct hr_timer){.fn = on_timer, .arg = md};
    *ret_metadata = md;
    return 0;
}

void hr_metadata_destroy(struct hr_metadata *md)
{
    if (!md)
        return;
    drop_connection(md);
    hr_cluster_free(md->cluster);
    hr_apis_clear(&md->apis);
    free(md);
}

const struct hr_cluster *hr_metadata_cluster(const struct hr_metadata *md)
{
    return md->cluster;
}

const struct hr_cluster_broker *hr_metadata_departed(const struct hr_metadata *md, uint32_t *ret_n)
{
    *ret_n = md->departed.n;
    return md->departed.brokers;
}

void hr_metadata_get_info(const struct hr_metadata *md, struct hr_metadata_info *ret_info)
{
    *ret_info = md->info;
    ret_info->state = md->state;
    ret_info->next_us = hr_timer_is_set(&md->timer) ? md->timer.due_us : 0;
}
