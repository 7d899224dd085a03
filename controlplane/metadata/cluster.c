#include "controlplane/metadata/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/log.h"

#define ARENA_CHUNK (256 * 1024)

/* Topics' names and partitions live in chunks that are freed together: a large cluster has 100,000 of them.
 */
struct hr_cluster_arena {
    struct hr_cluster_arena *next;
    size_t used, cap;
    _Alignas(16) uint8_t bytes[];
};

static void *arena_take(struct hr_cluster *cluster, size_t n)
{
    struct hr_cluster_arena *arena = cluster->arena;

    n = (n + 15) & ~(size_t)15;
    if (!arena || arena->cap - arena->used < n) {
        size_t cap = n > ARENA_CHUNK ? n : ARENA_CHUNK;

        arena = malloc(sizeof(*arena) + cap);
        if (!arena)
            return NULL;
        arena->used = 0;
        arena->cap = cap;
        arena->next = cluster->arena;
        cluster->arena = arena;
    }
    arena->used += n;
    return arena->bytes + arena->used - n;
}

void hr_cluster_free(struct hr_cluster *cluster)
{
    if (!cluster)
        return;
    while (cluster->arena) {
        struct hr_cluster_arena *arena = cluster->arena;

        cluster->arena = arena->next;
        free(arena);
    }
    free(cluster->brokers);
    free(cluster->topics);
    free(cluster);
}

static void reject(struct hr_cluster *cluster, const char *what, int64_t id, const char *why)
{
    if (cluster->n_rejected++ == 0)
        snprintf(cluster->rejected, sizeof(cluster->rejected), "%s %lld: %s", what, (long long)id, why);
}

/* The integer under key, or fallback when it is absent or no int32. */
static int32_t get_int(const json_t *obj, const char *key, int32_t fallback)
{
    const json_t *value = json_object_get(obj, key);
    json_int_t n;

    if (!json_is_integer(value))
        return fallback;
    n = json_integer_value(value);
    return n >= INT32_MIN && n <= INT32_MAX ? (int32_t)n : fallback;
}

/* Copies the string under key; false when it is absent, has a NUL inside or does not fit. */
static bool get_text(const json_t *obj, const char *key, char *dst, size_t cap)
{
    const json_t *value = json_object_get(obj, key);
    size_t len;

    if (!json_is_string(value))
        return false;
    len = json_string_length(value);
    if (len >= cap || strlen(json_string_value(value)) != len)
        return false;
    memcpy(dst, json_string_value(value), len + 1);
    return true;
}

static bool is_host(const char *host)
{
    if (!*host)
        return false;
    for (; *host; host++) {
        if ((unsigned char)*host <= ' ' || (unsigned char)*host >= 0x7f)
            return false;
    }
    return true;
}

static int broker_order(const void *a, const void *b)
{
    int32_t x = ((const struct hr_cluster_broker *)a)->id, y = ((const struct hr_cluster_broker *)b)->id;

    return (x > y) - (x < y);
}

static int parse_brokers(struct hr_cluster *cluster, const json_t *array, const char *id_key)
{
    size_t n = json_array_size(array);
    const char *why = NULL;

    if (!json_is_array(array))
        return HR_E_INVALID;
    free(cluster->brokers);
    cluster->n_brokers = 0;
    cluster->brokers = calloc(n ? n : 1, sizeof(*cluster->brokers));
    if (!cluster->brokers)
        return HR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        struct hr_cluster_broker broker = {.id = get_int(item, id_key, -1)};
        int32_t port = get_int(item, "Port", 0);

        why = NULL;
        if (broker.id < 0)
            why = "node id is negative";
        else if (port < 1 || port > 65535)
            why = "port is not within 1..65535";
        else if (!get_text(item, "Host", broker.host, sizeof(broker.host)) || !is_host(broker.host))
            why = "host is empty, too long or not printable";
        else if (cluster->n_brokers >= HR_POLICY_MAX_BROKERS)
            why = "more brokers than Headrace can hold";
        for (uint32_t k = 0; !why && k < cluster->n_brokers; k++) {
            if (cluster->brokers[k].id == broker.id)
                why = "node id is named twice";
        }
        if (why) {
            reject(cluster, "broker", broker.id, why);
            continue;
        }
        if (json_is_string(json_object_get(item, "Rack")) &&
            !get_text(item, "Rack", broker.rack, sizeof(broker.rack))) {
            broker.rack[0] = '\0';
            reject(cluster, "broker", broker.id, "rack is too long");
        }
        broker.port = (uint16_t)port;
        broker.fenced = json_is_true(json_object_get(item, "IsFenced"));
        cluster->brokers[cluster->n_brokers++] = broker;
    }
    qsort(cluster->brokers, cluster->n_brokers, sizeof(*cluster->brokers), broker_order);
    return 0;
}

static int parse_ids(struct hr_cluster *cluster, const json_t *array, const int32_t **ret_ids,
                     uint16_t *ret_n)
{
    size_t n = json_array_size(array);
    int32_t *ids;

    *ret_ids = NULL;
    *ret_n = 0;
    if (n == 0)
        return 0;
    if (n > UINT16_MAX)
        n = UINT16_MAX;
    ids = arena_take(cluster, n * sizeof(*ids));
    if (!ids)
        return HR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;

        ids[i] = id >= 0 && id <= INT32_MAX ? (int32_t)id : -1;
    }
    *ret_ids = ids;
    *ret_n = (uint16_t)n;
    return 0;
}

static int parse_topic(struct hr_cluster *cluster, const json_t *item, struct hr_cluster_topic *topic)
{
    const json_t *name = json_object_get(item, "Name");
    const json_t *array = json_object_get(item, "Partitions");
    struct hr_cluster_partition *partitions = NULL;
    size_t n = json_array_size(array);
    char *text;
    int err;

    if (json_is_string(name) && strlen(json_string_value(name)) == json_string_length(name)) {
        text = arena_take(cluster, json_string_length(name) + 1);
        if (!text)
            return HR_E_NOMEM;
        memcpy(text, json_string_value(name), json_string_length(name) + 1);
        topic->name = text;
    } else {
        topic->name = "";
    }
    if (!get_text(item, "TopicId", topic->id, sizeof(topic->id)) ||
        strcmp(topic->id, "00000000-0000-0000-0000-000000000000") == 0)
        topic->id[0] = '\0';
    topic->error = (int16_t)get_int(item, "ErrorCode", 0);
    topic->internal = json_is_true(json_object_get(item, "IsInternal"));
    if (n > 0) {
        partitions = arena_take(cluster, n * sizeof(*partitions));
        if (!partitions)
            return HR_E_NOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *p = json_array_get(array, i);

        partitions[i] = (struct hr_cluster_partition){
            .index = get_int(p, "PartitionIndex", -1),
            .leader = get_int(p, "LeaderId", -1),
            .leader_epoch = get_int(p, "LeaderEpoch", -1),
            .error = (int16_t)get_int(p, "ErrorCode", 0),
        };
        err = parse_ids(cluster, json_object_get(p, "ReplicaNodes"), &partitions[i].replicas,
                        &partitions[i].n_replicas);
        if (!err)
            err =
                parse_ids(cluster, json_object_get(p, "IsrNodes"), &partitions[i].isr, &partitions[i].n_isr);
        if (!err)
            err = parse_ids(cluster, json_object_get(p, "OfflineReplicas"), &partitions[i].offline,
                            &partitions[i].n_offline);
        if (err)
            return err;
    }
    topic->partitions = partitions;
    topic->n_partitions = (uint32_t)n;
    cluster->n_partitions += (uint32_t)n;
    return 0;
}

static int parse_topics(struct hr_cluster *cluster, const json_t *array)
{
    size_t n = json_array_size(array);
    int err;

    if (!json_is_array(array))
        return HR_E_INVALID;
    cluster->topics = calloc(n ? n : 1, sizeof(*cluster->topics));
    if (!cluster->topics)
        return HR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        err = parse_topic(cluster, json_array_get(array, i), &cluster->topics[i]);
        if (err)
            return err;
        cluster->n_topics++;
    }
    return 0;
}

int hr_cluster_parse(const json_t *metadata, struct hr_cluster **ret_cluster, char why[128])
{
    struct hr_cluster *cluster = calloc(1, sizeof(*cluster));
    int err;

    if (!cluster)
        return HR_E_NOMEM;
    cluster->controller_id = get_int(metadata, "ControllerId", -1);
    (void)get_text(metadata, "ClusterId", cluster->id, sizeof(cluster->id));
    err = parse_brokers(cluster, json_object_get(metadata, "Brokers"), "NodeId");
    if (err) {
        snprintf(why, 128, "the response has no list of brokers");
        goto out;
    }
    if (cluster->n_brokers == 0) {
        snprintf(why, 128, "the response names no usable broker%s%.80s", cluster->n_rejected ? ": " : "",
                 cluster->rejected);
        err = HR_E_INVALID;
        goto out;
    }
    err = parse_topics(cluster, json_object_get(metadata, "Topics"));
    if (err) {
        snprintf(why, 128, "the response has no list of topics");
        goto out;
    }
    *ret_cluster = cluster;
    return 0;
out:
    hr_cluster_free(cluster);
    return err;
}

int hr_cluster_add_describe(struct hr_cluster *cluster, const json_t *describe)
{
    struct hr_cluster other = {0};
    struct hr_cluster_broker *merged;
    uint32_t n = 0;
    int err;

    if (get_int(describe, "ErrorCode", -1) != 0)
        return 0;
    err = parse_brokers(&other, json_object_get(describe, "Brokers"), "BrokerId");
    if (err)
        goto out;
    if (!cluster->id[0])
        (void)get_text(describe, "ClusterId", cluster->id, sizeof(cluster->id));
    merged = calloc(cluster->n_brokers + other.n_brokers + 1, sizeof(*merged));
    if (!merged) {
        err = HR_E_NOMEM;
        goto out;
    }
    /* Both are sorted. Metadata lists those that serve; of the rest only fenced ones are believed, because a
     * broker that appeared between the two answers will be in the next Metadata. */
    for (uint32_t i = 0, k = 0; i < cluster->n_brokers || k < other.n_brokers;) {
        if (k == other.n_brokers ||
            (i < cluster->n_brokers && cluster->brokers[i].id < other.brokers[k].id)) {
            merged[n++] = cluster->brokers[i++];
        } else if (i < cluster->n_brokers && cluster->brokers[i].id == other.brokers[k].id) {
            merged[n] = cluster->brokers[i++];
            if (!merged[n].rack[0])
                memcpy(merged[n].rack, other.brokers[k].rack, sizeof(merged[n].rack));
            n++;
            k++;
        } else {
            if (other.brokers[k].fenced)
                merged[n++] = other.brokers[k];
            k++;
        }
    }
    if (n > HR_POLICY_MAX_BROKERS)
        n = HR_POLICY_MAX_BROKERS;
    free(cluster->brokers);
    cluster->brokers = merged;
    cluster->n_brokers = n;
out:
    free(other.brokers);
    return err;
}

const struct hr_cluster_broker *hr_cluster_find_broker(const struct hr_cluster *cluster, int32_t id)
{
    struct hr_cluster_broker key = {.id = id};

    return cluster ? bsearch(&key, cluster->brokers, cluster->n_brokers, sizeof(key), broker_order) : NULL;
}

uint32_t hr_cluster_leads(const struct hr_cluster *cluster, int32_t id)
{
    uint32_t n = 0;

    for (uint32_t t = 0; cluster && t < cluster->n_topics; t++) {
        for (uint32_t p = 0; p < cluster->topics[t].n_partitions; p++)
            n += cluster->topics[t].partitions[p].leader == id;
    }
    return n;
}
