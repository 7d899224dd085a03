/* The sessions, as workers have them: nothing here is the control plane's own memory, so that one that has just come to a
 * running dataplane shows as much as the one before. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/admin/commands.h"
#include "controlplane/attach/attach.h"
#include "controlplane/auth/login.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/sessions/sessions.h"
#include "controlplane/tls/context.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/kafka/schema.h"
#include "shared/tls/secrets.h"

static json_t *text(const char *s)
{
    json_t *value = json_string(s);

    return value ? value : json_string("(not UTF-8)");
}

static json_t *addr_text(const struct hr_addr *addr)
{
    char buf[HR_ADDR_STR_MAX];

    return hr_addr_is_any(addr) ? json_string("") : json_string(hr_addr_format(addr, buf));
}

/* Seconds of a moment of the dataplane's clock: gone by, or to come. */
static json_t *since(const struct hr_daemon *d, uint64_t then_us)
{
    uint64_t now = hr_loop_now(d->loop);

    return then_us && now >= then_us ? json_real((double)((now - then_us) / HR_US_PER_MS) / 1000.0) : json_null();
}

static json_t *until(const struct hr_daemon *d, uint64_t then_us)
{
    int64_t left = (int64_t)(then_us - hr_loop_now(d->loop));

    return then_us ? json_real((double)(left / (int64_t)HR_US_PER_MS) / 1000.0) : json_null();
}

/* enum hr_session_state of dataplane/proxy, which this process does not include. */
static const char *session_state(uint8_t state)
{
    static const char *const names[] = {"free", "connecting", "relaying", "closing"};

    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

/* Where nodes are told apart by name, the node that the client asked for tells which name that was. */
static const char *name_asked_for(const struct hr_daemon *d, const char *listener, int32_t node_id, char *buf,
                                  uint32_t cap)
{
    uint16_t port;

    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const struct hr_config_listener *l = &d->config->listeners[i];

        if (!l->policy.by_name || strcmp(l->policy.name, listener) != 0)
            continue;
        if (node_id < 0)
            return l->bootstrap_host;
        return hr_policy_advertised(&l->policy, node_id, buf, cap, &port) == 0 ? buf : "";
    }
    return "";
}

static const char *version_text(uint8_t version)
{
    return version == HR_TLS_VERSION_NONE ? "plain" : hr_tls_version_text(version);
}

static const char *suite_text(uint8_t suite)
{
    return suite == HR_TLS_SUITE_NONE ? "" : hr_tls_suite_text(suite);
}

/* A client that nobody asked for a login and who has a principal has shown a certificate. */
static const char *mechanism_text(uint8_t mechanism, bool named)
{
    if (mechanism == HR_MECHANISM_NONE)
        return named ? "mTLS" : "";
    return mechanism < HR_MECHANISM_MAX ? hr_mechanism_name(mechanism) : "?";
}

/* Which connections, over what, and for whom. */
static json_t *who_json(struct hr_daemon *d, const struct hr_session_info *info, const char *listener)
{
    const struct hr_session_login *login = &info->login;
    char sni[HR_POLICY_HOST_MAX], principal[4 * sizeof(login->principal) + 1], endpoint[4 * sizeof(info->vpc_endpoint) + 1];
    json_t *obj;

    hr_log_escape(principal, sizeof(principal), login->principal, (uint32_t)strlen(login->principal));
    hr_log_escape(endpoint, sizeof(endpoint), info->vpc_endpoint, (uint32_t)strlen(info->vpc_endpoint));
    obj = json_pack("{s:o, s:i, s:o, s:i, s:s, s:s, s:s, s:s, s:s}", "client", addr_text(&info->client), "client_port",
                    info->client_port, "via", addr_text(&info->via), "via_port", info->via_port, "vpc_endpoint", endpoint,
                    "client_protocol", version_text(info->client_version), "client_cipher", suite_text(info->client_suite),
                    "broker_protocol", version_text(info->broker_version), "broker_cipher",
                    suite_text(info->broker_suite));
    json_object_update_new(
        obj, json_pack("{s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:o}", "sni",
                       text(name_asked_for(d, listener, info->asked_node_id, sni, sizeof(sni))), "principal",
                       text(principal), "mechanism",
                       mechanism_text(login->mechanism,
                                      login->principal[0] != '\0' && strcmp(login->principal, "ANONYMOUS") != 0),
                       "client_reauth_s", until(d, login->expires_us), "broker_identity", text(login->identity_name),
                       "broker_mechanism", mechanism_text(login->broker_mechanism, false), "broker_reauth_s",
                       until(d, login->broker_due_us), "broker_expires_s", until(d, login->broker_expires_us)));
    return obj;
}

static json_t *session_json(struct hr_daemon *d, const struct hr_session_info *info)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const struct hr_kapi *api = info->last_api_key >= 0 ? hr_kapi_find(info->last_api_key) : NULL;
    const char *listener =
        policy && info->listener < policy->n_listeners ? policy->listeners[info->listener].name : "";
    char id[24], client_id[4 * sizeof(info->client_id) + 1];
    json_t *obj;

    snprintf(id, sizeof(id), "%016llx", (unsigned long long)info->id);
    hr_log_escape(client_id, sizeof(client_id), info->client_id, (uint32_t)strlen(info->client_id));
    obj = json_pack("{s:s, s:i, s:s, s:s, s:o, s:i, s:i, s:s, s:i}", "id", id, "worker", (int)(info->id >> 56), "mode",
                    info->mode == HR_LISTENER_TCP ? "tcp" : "kafka", "state", session_state(info->state), "broker",
                    addr_text(&info->broker), "broker_port", info->broker_port, "node", info->node_id, "listener",
                    listener, "local_port", info->local_port);
    json_object_update_new(obj, who_json(d, info, listener));
    json_object_update_new(
        obj, json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s, s:o}", "in_flight",
                       (json_int_t)info->in_flight, "bytes_up", (json_int_t)info->bytes_up, "bytes_down",
                       (json_int_t)info->bytes_down, "requests", (json_int_t)info->requests, "responses",
                       (json_int_t)info->responses, "client_srtt_us", (json_int_t)info->client_srtt_us,
                       "broker_srtt_us", (json_int_t)info->broker_srtt_us, "bufs_held",
                       (json_int_t)info->bufs_held, "age_s", since(d, info->opened_us), "idle_s",
                       since(d, info->last_active_us), "last_api", api ? api->name : "", "client_id",
                       text(client_id)));
    return obj;
}

/* A question to workers and the request that waits for it; freed by the answer's callback. */
struct pending {
    struct hr_daemon *daemon;
    struct hr_admin_request *request;
};

static void on_sessions(void *arg, int err, const struct hr_session_info *infos, uint32_t n, bool complete)
{
    struct pending pending = *(struct pending *)arg;
    json_t *array;

    free(arg);
    if (err == HR_E_CLOSED) {
        hr_admin_fail(pending.request, err, "the dataplane went away");
        return;
    }
    array = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(array, session_json(pending.daemon, &infos[i]));
    hr_admin_reply(pending.request, json_pack("{s:o, s:b, s:s}", "connections", array, "complete", complete,
                                              "warning", err ? "a worker did not answer in time" : ""));
}

void hr_command_connections(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_int_t limit = json_integer_value(json_object_get(args, "limit"));
    struct pending *pending = malloc(sizeof(*pending));
    int err;

    if (!pending) {
        hr_admin_fail(request, HR_E_NOMEM, "out of memory");
        return;
    }
    *pending = (struct pending){d, request};
    if (limit <= 0 || limit > HR_SESSIONS_LIST_MAX)
        limit = HR_SESSIONS_LIST_MAX;
    err = hr_sessions_list(d->sessions, (uint32_t)limit, on_sessions, pending);
    if (err) {
        free(pending);
        hr_admin_fail(request, err, "%s", err == HR_E_CLOSED ? "no dataplane is attached" : hr_strerror(err));
    }
}
