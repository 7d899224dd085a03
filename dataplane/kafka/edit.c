/* Hooks of the transcoder, by role. A struct's node id stands in front of its host and port, so what is known
 * of the node when its host comes decides about both. */
#include "dataplane/kafka/edit.h"

#include <stdio.h>
#include <string.h>

#include "dataplane/kafka/config_keys.h"
#include "dataplane/kafka/plan.h"
#include "dataplane/kafka/transcode.h"
#include "shared/kafka/wire.h"

#define KERR_COORDINATOR_NOT_AVAILABLE 15
#define CONFIG_RESOURCE_BROKER         4
#define ENDPOINT_TYPE_CONTROLLERS      2

/* Features that clients act upon, and the API versions that acting takes. A feature is dropped when the
 * broker has such a version and Headrace does not let it through: a client that believed the feature would
 * use APIs that are not there (transactions V2 without its enrolling Produce fail verification). */
static const struct {
    const char *name;
    struct {
        int16_t key, version;
    } needs[4];
    uint32_t n;
} features[] = {
    {"transaction.version", {{0, 12}, {26, 5}, {28, 5}, {25, 4}}, 4},
    {"group.version", {{68, 0}}, 1},
    {"share.version", {{76, 1}, {78, 1}, {79, 1}}, 3},
    {"streams.version", {{88, 0}}, 1},
};
#define N_FEATURES (sizeof(features) / sizeof(features[0]))

static bool is(const uint8_t *p, int32_t len, const char *s)
{
    return len >= 0 && (size_t)len == strlen(s) && memcmp(p, s, (size_t)len) == 0;
}

static bool reach(struct hr_edit *e, int32_t node_id, uint16_t *ret_port)
{
    return node_id >= 0 &&
           hr_policy_advertised_by(e->listener, e->peer, node_id, e->host, sizeof(e->host), ret_port) == 0;
}

static void node_id(struct hr_edit *e, struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    s->node_id = (int32_t)hr_xc_get_int(x, f);
    s->has_node = true;
    s->reachable = reach(e, s->node_id, &s->port) && !e->drop_brokers;
    if (s->node_id >= 0 && !s->reachable) {
        s->hidden = true;
        e->nodes_hidden++;
        if (e->api_key == HR_KAPI_FIND_COORDINATOR) {
            hr_xc_put_int(x, f, -1);
            return;
        }
        s->drop = true;
    }
    hr_xc_put_int(x, f, s->node_id);
}

static void host(struct hr_edit *e, struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    int32_t len;
    const uint8_t *p = hr_xc_get_string(x, f, &len);

    if (s->has_node && s->reachable) {
        hr_xc_put_string(x, f, e->host, (int32_t)strlen(e->host));
    } else if (len > 0) {
        /* An address without a node that could stand for it: not shown. */
        if (!s->hidden)
            e->nodes_hidden++;
        s->hidden = true;
        s->drop = e->api_key != HR_KAPI_FIND_COORDINATOR;
        hr_xc_put_string(x, f, "", 0);
    } else {
        hr_xc_put_string(x, f, p, len);
    }
}

static void port(struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    int64_t v = hr_xc_get_int(x, f);

    if (s->has_node && s->reachable)
        v = s->port;
    else if (s->hidden)
        v = f->type == HR_KT_UINT16 ? 0 : -1;
    hr_xc_put_int(x, f, v);
}

/* ApiVersions: the range that both the broker and Headrace know. */
static void api_max(struct hr_edit *e, struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    int16_t broker_max = (int16_t)hr_xc_get_int(x, f);
    int16_t max = broker_max, min = s->min;
    struct hr_krange ours;

    if (!hr_plan_range(s->key, &ours)) {
        s->drop = true;
    } else {
        if (max > ours.max)
            max = ours.max;
        if (min < ours.min)
            min = ours.min;
        s->drop = min > max;
    }
    for (uint32_t i = 0; i < N_FEATURES; i++)
        for (uint32_t k = 0; k < features[i].n; k++)
            if (features[i].needs[k].key == s->key && broker_max >= features[i].needs[k].version &&
                (s->drop || max < features[i].needs[k].version))
                e->drop_features |= 1u << i;
    hr_xc_put_int(x, f, max);
    if (x->err == 0)
        hr_kput16(x->out + s->min_at, (uint16_t)min);
}

static void feature_name(struct hr_edit *e, struct hr_xc *x, struct hr_xc_struct *s,
                         const struct hr_kfield *f)
{
    int32_t len;
    const uint8_t *p = hr_xc_get_string(x, f, &len);

    for (uint32_t i = 0; i < N_FEATURES; i++)
        if ((e->drop_features & (1u << i)) && is(p, len, features[i].name))
            s->drop = true;
    hr_xc_put_string(x, f, p, len);
}

static void config_value(struct hr_edit *e, struct hr_xc *x, const struct hr_kfield *f)
{
    int32_t len;
    const uint8_t *p = hr_xc_get_string(x, f, &len);
    char url[HR_POLICY_HOST_MAX + 32];
    uint16_t adv_port;

    if (!e->config_broker || len < 0 ||
        !hr_config_shows_address((enum hr_config_kind)e->config_kind, p, len)) {
        hr_xc_put_string(x, f, p, len);
        return;
    }
    url[0] = '\0';
    if (e->config_kind == HR_CONFIG_LISTENERS && reach(e, e->config_node, &adv_port)) {
        bool v6 = strchr(e->host, ':') != NULL;
        snprintf(url, sizeof(url), "PLAINTEXT://%s%s%s:%u", v6 ? "[" : "", e->host, v6 ? "]" : "", adv_port);
    }
    hr_xc_put_string(x, f, url, (int32_t)strlen(url));
}

/* Fields that have no role of their own but matter in one API. */
static enum hr_xc_verdict unnamed(struct hr_edit *e, struct hr_xc *x, struct hr_xc_struct *s,
                                  const struct hr_kfield *f)
{
    if (e->api_key == HR_KAPI_FIND_COORDINATOR && f->type == HR_KT_INT16 &&
        strcmp(f->name, "ErrorCode") == 0) {
        s->error_at = x->n;
        s->has_error = true;
    } else if (e->api_key == HR_KAPI_DESCRIBE_CLUSTER && f->type == HR_KT_INT8 &&
               strcmp(f->name, "EndpointType") == 0) {
        int64_t v = hr_xc_get_int(x, f);
        e->drop_brokers = v == ENDPOINT_TYPE_CONTROLLERS;
        hr_xc_put_int(x, f, v);
        return HR_XC_DONE;
    } else if (e->drop_racks && f->type == HR_KT_STRING && hr_krange_has(f->nullable, x->version) &&
               strcmp(f->name, "Rack") == 0) {
        int32_t len;
        hr_xc_get_string(x, f, &len);
        hr_xc_put_string(x, f, NULL, -1);
        return HR_XC_DONE;
    }
    return HR_XC_COPY;
}

static enum hr_xc_verdict on_field(struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    struct hr_edit *e = x->arg;
    const uint8_t *p;
    int32_t len;
    int64_t v;

    switch ((enum hr_krole)f->role) {
    case HR_KR_NODE_ID:
        node_id(e, x, s, f);
        return HR_XC_DONE;
    case HR_KR_HOST:
        host(e, x, s, f);
        return HR_XC_DONE;
    case HR_KR_PORT:
        port(x, s, f);
        return HR_XC_DONE;
    case HR_KR_QUORUM_NODES:
        return HR_XC_EMPTY;
    case HR_KR_API_KEY:
        v = hr_xc_get_int(x, f);
        s->key = (int16_t)v;
        hr_xc_put_int(x, f, v);
        return HR_XC_DONE;
    case HR_KR_API_MIN:
        v = hr_xc_get_int(x, f);
        s->min = (int16_t)v;
        s->min_at = x->n;
        hr_xc_put_int(x, f, v);
        return HR_XC_DONE;
    case HR_KR_API_MAX:
        api_max(e, x, s, f);
        return HR_XC_DONE;
    case HR_KR_FEATURE_NAME:
        feature_name(e, x, s, f);
        return HR_XC_DONE;
    case HR_KR_CONFIG_RESOURCE_TYPE:
        v = hr_xc_get_int(x, f);
        e->config_broker = v == CONFIG_RESOURCE_BROKER;
        hr_xc_put_int(x, f, v);
        return HR_XC_DONE;
    case HR_KR_CONFIG_RESOURCE_NAME:
        p = hr_xc_get_string(x, f, &len);
        e->config_node = hr_config_node(p, len);
        hr_xc_put_string(x, f, p, len);
        return HR_XC_DONE;
    case HR_KR_CONFIG_NAME:
        p = hr_xc_get_string(x, f, &len);
        e->config_kind = (uint8_t)hr_config_kind(p, len);
        hr_xc_put_string(x, f, p, len);
        return HR_XC_DONE;
    case HR_KR_CONFIG_VALUE:
        config_value(e, x, f);
        return HR_XC_DONE;
    case HR_KR_NONE:
    case HR_KR_ERROR:
    case HR_KR_PARTITION_ERROR:
        return unnamed(e, x, s, f);
    case HR_KR_BROKERS:
    case HR_KR_ENDPOINTS:
    case HR_KR_ACKS:
    case HR_KR_REPLICA_ID:
    case HR_KR_MAX_WAIT:
    case HR_KR_FETCH_EPOCH:
    case HR_KR_TOPIC:
    case HR_KR_PARTITION:
    case HR_KR_FORGOTTEN:
    case HR_KR_API_KEYS:
    case HR_KR_FEATURES:
    case HR_KR_MAX:
        break;
    }
    return HR_XC_COPY;
}

static void on_struct_end(struct hr_xc *x, struct hr_xc_struct *s)
{
    struct hr_edit *e = x->arg;

    if (e->api_key == HR_KAPI_FIND_COORDINATOR && s->hidden && s->has_error)
        hr_kput16(x->out + s->error_at, KERR_COORDINATOR_NOT_AVAILABLE);
}

void hr_edit_init(struct hr_edit *e, const struct hr_policy_listener *listener, const struct hr_policy_peer *peer,
                  int16_t api_key)
{
    e->listener = listener;
    e->peer = peer;
    e->api_key = api_key;
    e->drop_racks = false;
    e->nodes_hidden = 0;
    e->drop_brokers = false;
    e->drop_features = 0;
    e->config_broker = false;
    e->config_node = -1;
    e->config_kind = HR_CONFIG_PLAIN;
    e->host[0] = '\0';
}

/* The transcoder with these hooks. */
static struct hr_xc editor(struct hr_edit *e, int16_t version, const uint8_t *in, uint32_t len, uint8_t *out,
                           uint32_t cap)
{
    return (struct hr_xc){
        .in = in,
        .limit = len,
        .out = out,
        .cap = cap,
        .version = version,
        .field = on_field,
        .struct_end = on_struct_end,
        .arg = e,
    };
}

int hr_edit_response(struct hr_edit *e, const struct hr_kmessage *message, int16_t version,
                     enum hr_krole stop_after, const uint8_t *in, uint32_t len, uint8_t *out, uint32_t cap,
                     uint32_t *ret_used, uint32_t *ret_len)
{
    struct hr_xc x = editor(e, version, in, len, out, cap);

    x.stop_after = stop_after != HR_KR_NONE ? hr_kmessage_field(message, version, stop_after) : NULL;
    int err = hr_xc_message(&x, message);
    if (err != 0)
        return err;
    if (!x.stopped && x.pos != len)
        return HR_E_INVALID;
    *ret_used = x.pos;
    *ret_len = x.n;
    return 0;
}

/* The endpoints of a tail; tail.c lays them out at a fixed length. */
int hr_edit_endpoints(struct hr_edit *e, const struct hr_kfield *f, bool flexible, int16_t version,
                      const uint8_t *in, uint32_t len, uint8_t *out, uint32_t cap, uint32_t *ret_used,
                      uint32_t *ret_len)
{
    struct hr_xc x = editor(e, version, in, len, out, cap);

    x.flexible = flexible;
    int err = hr_xc_value(&x, f);
    if (err != 0)
        return err;
    *ret_used = x.pos;
    *ret_len = x.n;
    return 0;
}

static enum hr_xc_verdict on_identity(struct hr_xc *x, struct hr_xc_struct *s, const struct hr_kfield *f)
{
    struct hr_edit_identity *id = x->arg;

    if (f->type == HR_KT_STRING && strcmp(f->name, "ClusterId") == 0) {
        id->cluster_id = hr_xc_get_string(x, f, &id->cluster_id_len);
        hr_xc_put_string(x, f, NULL, -1);
        return HR_XC_DONE;
    }
    if (f->type == HR_KT_INT32 && strcmp(f->name, "NodeId") == 0) {
        id->node_id = (int32_t)hr_xc_get_int(x, f);
        hr_xc_put_int(x, f, -1);
        return HR_XC_DONE;
    }
    return HR_XC_COPY;
}

int hr_edit_identity(const struct hr_kmessage *message, int16_t version, const uint8_t *in, uint32_t len,
                     uint8_t *out, uint32_t cap, uint32_t *ret_len, struct hr_edit_identity *ret_identity)
{
    struct hr_edit_identity id = {.cluster_id_len = -1, .node_id = -1};
    struct hr_xc x = {
        .in = in,
        .limit = len,
        .out = out,
        .cap = cap,
        .version = version,
        .field = on_identity,
        .arg = &id,
    };
    int err = hr_xc_message(&x, message);

    if (err != 0)
        return err;
    if (x.pos != len)
        return HR_E_INVALID;
    *ret_len = x.n;
    *ret_identity = id;
    return 0;
}
