/* Every API but the two that carry data: decoded to JSON, answered as JSON, encoded again. Field names are
 * Kafka's own; what a version does not have is left out by the encoder when it has its default. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/e2e/nullbroker/impl.h"
#include "shared/kafka/json.h"
#include "shared/kafka/schema.h"

#define CLUSTER_ID "null-broker-bench-0001"
#define ERR_UNKNOWN_TOPIC 3
#define ERR_UNSUPPORTED_VERSION 35
#define ERR_UNKNOWN_TOPIC_ID 100
#define LATEST_TIMESTAMP (-1)

enum {
    LIST_OFFSETS = 2, METADATA = 3, OFFSET_COMMIT = 8, OFFSET_FETCH = 9, FIND_COORDINATOR = 10, JOIN_GROUP = 11,
    HEARTBEAT = 12, LEAVE_GROUP = 13, SYNC_GROUP = 14, API_VERSIONS = 18, INIT_PRODUCER_ID = 22,
};

/* Below the versions that name topics by id alone, but for Fetch, whose newest versions relays treat apart. */
static const struct {
    int16_t key, min, max;
} spoken[] = {
    {NB_PRODUCE, 3, 12},   {NB_FETCH, 4, 16},    {LIST_OFFSETS, 1, 8},   {METADATA, 0, 12},
    {OFFSET_COMMIT, 2, 8}, {OFFSET_FETCH, 1, 8}, {FIND_COORDINATOR, 0, 4}, {JOIN_GROUP, 0, 9},
    {HEARTBEAT, 0, 4},     {LEAVE_GROUP, 0, 5},  {SYNC_GROUP, 0, 5},     {API_VERSIONS, 0, 3},
    {INIT_PRODUCER_ID, 0, 4},
};
#define SPOKEN_N (sizeof(spoken) / sizeof(spoken[0]))

bool nb_versions(int16_t api_key, int16_t *ret_min, int16_t *ret_max)
{
    for (size_t i = 0; i < SPOKEN_N; i++) {
        const struct hr_kapi *api = hr_kapi_find(api_key);
        if (spoken[i].key != api_key || !api)
            continue;
        *ret_min = spoken[i].min > api->versions.min ? spoken[i].min : api->versions.min;
        *ret_max = spoken[i].max < api->versions.max ? spoken[i].max : api->versions.max;
        return true;
    }
    return false;
}

/* ---- what requests say ---------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static int64_t number_of(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static json_t *number(int64_t v)
{
    return json_integer(v);
}

/* Topics are known by their place in the table: the id says which. */
static void topic_id(uint32_t index, char ret_uuid[40])
{
    snprintf(ret_uuid, 40, "6e756c6c-0000-4000-8000-%012x", index + 1);
}

static struct nb_topic *topic_by_uuid(struct nb_broker *broker, const char *uuid)
{
    for (uint32_t i = 0; i < broker->n_topics; i++) {
        char own[40];
        topic_id(i, own);
        if (strcmp(own, uuid) == 0)
            return &broker->topics[i];
    }
    return NULL;
}

/* ---- answers ---------------------------------------------------------------------------------------------- */

static json_t *api_versions(int16_t error)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < SPOKEN_N; i++) {
        int16_t min, max;
        if (nb_versions(spoken[i].key, &min, &max))
            json_array_append_new(keys, json_pack("{s:i, s:i, s:i}", "ApiKey", spoken[i].key, "MinVersion", min,
                                                  "MaxVersion", max));
    }
    return json_pack("{s:i, s:o}", "ErrorCode", error, "ApiKeys", keys);
}

static json_t *describe_topic(const struct nb_broker *broker, const struct nb_topic *topic, int16_t version)
{
    json_t *partitions = json_array();
    for (int32_t p = 0; p < broker->partitions; p++)
        json_array_append_new(partitions, json_pack("{s:i, s:i, s:i, s:i, s:[i], s:[i], s:[]}", "ErrorCode", 0,
                                                    "PartitionIndex", p, "LeaderId", broker->node_id, "LeaderEpoch", 0,
                                                    "ReplicaNodes", broker->node_id, "IsrNodes", broker->node_id,
                                                    "OfflineReplicas"));
    json_t *o = json_pack("{s:i, s:s, s:b, s:o}", "ErrorCode", 0, "Name", topic->name, "IsInternal", 0, "Partitions",
                          partitions);
    if (version >= 10) {
        char uuid[40];
        topic_id((uint32_t)(topic - broker->topics), uuid);
        json_object_set_new(o, "TopicId", json_string(uuid));
    }
    return o;
}

static json_t *metadata(struct nb_broker *broker, const struct nb_conn *conn, const json_t *body, int16_t version)
{
    const json_t *asked = json_object_get(body, "Topics");
    json_t *topics = json_array();
    if (!json_is_array(asked) || (version == 0 && json_array_size(asked) == 0)) {
        for (uint32_t i = 0; i < broker->n_topics; i++)
            json_array_append_new(topics, describe_topic(broker, &broker->topics[i], version));
    } else {
        size_t i;
        json_t *t;
        json_array_foreach(asked, i, t)
        {
            const char *name = text_of(t, "Name");
            struct nb_topic *topic = *name ? nb_topic_get(broker, (const uint8_t *)name, (uint32_t)strlen(name))
                                           : topic_by_uuid(broker, text_of(t, "TopicId"));
            if (topic)
                json_array_append_new(topics, describe_topic(broker, topic, version));
            else
                json_array_append_new(topics, json_pack("{s:i, s:s, s:b, s:[]}", "ErrorCode",
                                                        *name ? ERR_UNKNOWN_TOPIC : ERR_UNKNOWN_TOPIC_ID, "Name", name,
                                                        "IsInternal", 0, "Partitions"));
        }
    }
    json_t *node = json_pack("{s:i, s:s, s:i}", "NodeId", broker->node_id, "Host", conn->listener->host, "Port",
                             conn->listener->port);
    if (version >= 1)
        json_object_set_new(node, "Rack", broker->rack ? json_string(broker->rack) : json_null());
    return json_pack("{s:[o], s:s, s:i, s:o}", "Brokers", node, "ClusterId", CLUSTER_ID, "ControllerId",
                     broker->node_id, "Topics", topics);
}

/* The shape that four APIs share: each partition of each topic named, with the same answer. */
static json_t *each_partition(const json_t *body, const char *index_key, json_t *(*answer)(void *arg, const json_t *asked),
                              void *arg)
{
    json_t *topics = json_array(), *t;
    size_t i;
    json_array_foreach(json_object_get(body, "Topics"), i, t)
    {
        json_t *partitions = json_array(), *p;
        size_t k;
        const json_t *asked = json_object_get(t, "Partitions");
        json_array_foreach(asked ? asked : json_object_get(t, "PartitionIndexes"), k, p)
        {
            json_t *o = answer(arg, p);
            json_object_set(o, index_key, json_is_object(p) ? json_object_get(p, index_key) : p);
            json_array_append_new(partitions, o);
        }
        json_array_append_new(topics, json_pack("{s:s, s:o}", "Name", text_of(t, "Name"), "Partitions", partitions));
    }
    return topics;
}

static json_t *listed_offset(void *arg, const json_t *asked)
{
    const struct nb_broker *broker = arg;
    bool end = number_of(asked, "Timestamp") == LATEST_TIMESTAMP;
    return json_pack("{s:i, s:I, s:I}", "ErrorCode", 0, "Timestamp", (json_int_t)-1, "Offset",
                     (json_int_t)(end ? NB_LOG_BATCHES * broker->batch.n_records : 0));
}

static json_t *committed(void *arg, const json_t *asked)
{
    (void)arg, (void)asked;
    return json_pack("{s:i}", "ErrorCode", 0);
}

static json_t *no_commit(void *arg, const json_t *asked)
{
    (void)arg, (void)asked;
    return json_pack("{s:I, s:s, s:i}", "CommittedOffset", (json_int_t)-1, "Metadata", "", "ErrorCode", 0);
}

static json_t *offset_fetch(const json_t *body, int16_t version)
{
    if (version < 8)
        return json_pack("{s:o, s:i}", "Topics", each_partition(body, "PartitionIndex", no_commit, NULL), "ErrorCode", 0);
    json_t *groups = json_array(), *g;
    size_t i;
    json_array_foreach(json_object_get(body, "Groups"), i, g)
    {
        json_array_append_new(groups, json_pack("{s:s, s:o, s:i}", "GroupId", text_of(g, "GroupId"), "Topics",
                                                each_partition(g, "PartitionIndex", no_commit, NULL), "ErrorCode", 0));
    }
    return json_pack("{s:o}", "Groups", groups);
}

static json_t *find_coordinator(const struct nb_broker *broker, const struct nb_conn *conn, const json_t *body,
                                int16_t version)
{
    if (version < 4)
        return json_pack("{s:i, s:i, s:s, s:i}", "ErrorCode", 0, "NodeId", broker->node_id, "Host",
                         conn->listener->host, "Port", conn->listener->port);
    json_t *found = json_array(), *key;
    size_t i;
    json_array_foreach(json_object_get(body, "CoordinatorKeys"), i, key)
    {
        json_array_append_new(found, json_pack("{s:s, s:i, s:s, s:i, s:i}", "Key", json_string_value(key), "NodeId",
                                               broker->node_id, "Host", conn->listener->host, "Port",
                                               conn->listener->port, "ErrorCode", 0));
    }
    return json_pack("{s:o}", "Coordinators", found);
}

/* Whoever joins leads a group of its own. */
static json_t *join_group(struct nb_broker *broker, const json_t *body, int16_t version)
{
    char made[40];
    const char *member = text_of(body, "MemberId");
    const json_t *protocol = json_array_get(json_object_get(body, "Protocols"), 0);
    const char *metadata_hex = text_of(protocol, "Metadata");

    if (!*member) {
        snprintf(made, sizeof(made), "null-member-%llu", (unsigned long long)++broker->next_member);
        member = made;
    }
    json_t *o = json_pack("{s:i, s:i, s:s, s:s, s:s, s:[{s:s, s:s}]}", "ErrorCode", 0, "GenerationId", 1, "ProtocolName",
                          text_of(protocol, "Name"), "Leader", member, "MemberId", member, "Members", "MemberId", member,
                          "Metadata", metadata_hex);
    if (version >= 7)
        json_object_set_new(o, "ProtocolType", json_string(text_of(body, "ProtocolType")));
    return o;
}

static json_t *sync_group(const json_t *body, int16_t version)
{
    const char *assignment = "";
    json_t *a;
    size_t i;
    json_array_foreach(json_object_get(body, "Assignments"), i, a)
    {
        if (strcmp(text_of(a, "MemberId"), text_of(body, "MemberId")) == 0)
            assignment = text_of(a, "Assignment");
    }
    json_t *o = json_pack("{s:i, s:s}", "ErrorCode", 0, "Assignment", assignment);
    if (version >= 5) {
        json_object_set(o, "ProtocolType", json_object_get(body, "ProtocolType"));
        json_object_set(o, "ProtocolName", json_object_get(body, "ProtocolName"));
    }
    return o;
}

static json_t *leave_group(const json_t *body, int16_t version)
{
    json_t *o = json_pack("{s:i}", "ErrorCode", 0), *m;
    if (version < 3)
        return o;
    json_t *members = json_array();
    size_t i;
    json_array_foreach(json_object_get(body, "Members"), i, m)
    {
        json_array_append_new(members, json_pack("{s:s, s:O?, s:i}", "MemberId", text_of(m, "MemberId"),
                                                 "GroupInstanceId", json_object_get(m, "GroupInstanceId"), "ErrorCode", 0));
    }
    json_object_set_new(o, "Members", members);
    return o;
}

static json_t *init_producer_id(struct nb_broker *broker)
{
    json_t *o = json_pack("{s:i, s:i}", "ErrorCode", 0, "ProducerEpoch", 0);
    json_object_set_new(o, "ProducerId", number(++broker->next_producer_id));
    return o;
}

static json_t *answer(struct nb_broker *broker, const struct nb_conn *conn, int16_t key, int16_t version, const json_t *body)
{
    switch (key) {
    case LIST_OFFSETS:
        return json_pack("{s:o}", "Topics", each_partition(body, "PartitionIndex", listed_offset, broker));
    case METADATA:
        return metadata(broker, conn, body, version);
    case OFFSET_COMMIT:
        return json_pack("{s:o}", "Topics", each_partition(body, "PartitionIndex", committed, NULL));
    case OFFSET_FETCH:
        return offset_fetch(body, version);
    case FIND_COORDINATOR:
        return find_coordinator(broker, conn, body, version);
    case JOIN_GROUP:
        return join_group(broker, body, version);
    case HEARTBEAT:
        return json_pack("{s:i}", "ErrorCode", 0);
    case LEAVE_GROUP:
        return leave_group(body, version);
    case SYNC_GROUP:
        return sync_group(body, version);
    case API_VERSIONS:
        return api_versions(0);
    case INIT_PRODUCER_ID:
        return init_producer_id(broker);
    default:
        return NULL;
    }
}

static bool put_answer(struct nb_conn *conn, const struct nb_request *req, int16_t version, const json_t *body)
{
    static uint8_t bytes[NB_OUT_SMALL / 2];
    char why[HR_KJSON_WHY_MAX] = "";
    uint32_t len;
    const struct hr_kmessage *message = hr_kresponse_find(req->api_key, version);
    int err = message ? hr_kjson_encode(message, version, body, bytes, sizeof(bytes) - 64, &len, why) : HR_E_NOT_FOUND;
    if (err) {
        fprintf(stderr, "hr-nullbroker: answer to API %d version %d: %s\n", req->api_key, version, why);
        return false;
    }
    nb_frame_begin(&conn->out, req->correlation_id, hr_kresponse_header_version(req->api_key, version), false);
    memcpy(nb_put(&conn->out, len), bytes, len);
    nb_frame_end(&conn->out);
    return !conn->out.overflow;
}

bool nb_other(struct nb_broker *broker, struct nb_conn *conn, struct nb_request *req)
{
    char why[HR_KJSON_WHY_MAX] = "";
    int16_t min, max;
    uint32_t used;
    json_t *body = NULL, *response;

    bool known = nb_versions(req->api_key, &min, &max) && req->version >= min && req->version <= max;
    if (!known && req->api_key != API_VERSIONS)
        return false;
    if (!known) { /* KIP-511: answered as version 0 */
        response = api_versions(ERR_UNSUPPORTED_VERSION);
        bool sent = put_answer(conn, req, 0, response);
        json_decref(response);
        return sent;
    }
    const struct hr_kmessage *message = hr_krequest_find(req->api_key, req->version);
    if (!message || hr_kjson_decode(message, req->version, req->body.at, req->body.left, &body, &used, why) != 0) {
        fprintf(stderr, "hr-nullbroker: API %d version %d: %s\n", req->api_key, req->version, why);
        return false;
    }
    response = answer(broker, conn, req->api_key, req->version, body);
    bool sent = response && put_answer(conn, req, req->version, response);
    json_decref(response);
    json_decref(body);
    return sent;
}
