/* Commands that change something. What is set here holds until the next reload or restart; drains hold until
 * undrain or restart. Everything reaches the workers as a new policy snapshot. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/admin/commands.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/sessions/sessions.h"
#include "shared/base/log.h"

/* -- set ---------------------------------------------------------------------------------------------- */

/* Bounds are those of the configuration file; 0 as upper bound: what the process was started with, because
 * memory was laid out for it. */
struct number_key {
    const char *key;
    size_t offset;
    uint32_t min, max;
};

static const struct number_key global_keys[] = {
    {"limits.max_connections", offsetof(struct hr_config, limits.max_connections), 1, 0},
    {"limits.hold_max_bytes", offsetof(struct hr_config, limits.hold_max_bytes), HR_HOLD_MAX_MIN, 0},
    {"limits.drain_timeout_ms", offsetof(struct hr_config, limits.drain_timeout_ms), 0, HR_TIMEOUT_MAX_MS},
    {"cluster.refresh_ms", offsetof(struct hr_config, cluster.refresh_ms), 1000, HR_TIMEOUT_MAX_MS},
    {"cluster.refresh_min_ms", offsetof(struct hr_config, cluster.refresh_min_ms), 50, HR_TIMEOUT_MAX_MS},
};

static const struct number_key listener_keys[] = {
    {"max_connections", offsetof(struct hr_policy_listener, max_connections), 1, HR_MAX_SESSIONS_MAX},
    {"max_frame_bytes", offsetof(struct hr_policy_listener, max_frame_bytes), 1024, INT32_MAX},
    {"max_in_flight", offsetof(struct hr_policy_listener, max_in_flight), 1, HR_MAX_IN_FLIGHT},
    {"connect_timeout_ms", offsetof(struct hr_policy_listener, connect_timeout_ms), HR_CONNECT_TIMEOUT_MIN_MS,
     HR_TIMEOUT_MAX_MS},
    {"idle_timeout_ms", offsetof(struct hr_policy_listener, idle_timeout_ms), 0, HR_TIMEOUT_MAX_MS},
    {"request_timeout_ms", offsetof(struct hr_policy_listener, request_timeout_ms), 0, HR_TIMEOUT_MAX_MS},
};

static uint32_t *number_at(void *base, const struct number_key *key)
{
    return (uint32_t *)(void *)((char *)base + key->offset);
}

static bool parse_number(const char *value, uint64_t *ret_number)
{
    char *end;

    if (*value < '0' || *value > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(value, &end, 10);
    return *end == '\0' && errno == 0;
}

static void done_set(struct hr_daemon *d, struct hr_admin_request *request, const char *key, const char *from,
                     const char *to)
{
    hr_log_info("set %s: %s -> %s", key, from, to);
    hr_daemon_apply(d);
    hr_admin_reply(request, json_pack("{s:s, s:s, s:s}", "key", key, "from", from, "to", to));
}

static void set_number(struct hr_daemon *d, struct hr_admin_request *request, const char *full_key,
                       const struct number_key *key, void *base, uint32_t max, const char *value)
{
    uint32_t *at = number_at(base, key);
    char from[16], to[16];
    uint64_t number;

    if (!parse_number(value, &number) || number < key->min || number > max) {
        hr_admin_fail(request, HR_E_INVALID, "%s = %.40s: must be %u..%u%s", full_key, value, key->min, max,
                      key->max ? "" : " (the value at start; more needs a restart)");
        return;
    }
    snprintf(from, sizeof(from), "%u", *at);
    snprintf(to, sizeof(to), "%" PRIu64, number);
    *at = (uint32_t)number;
    done_set(d, request, full_key, from, to);
}

static void set_log_level(struct hr_daemon *d, struct hr_admin_request *request, const char *value)
{
    enum hr_log_level level = hr_log_level_parse(value), from = d->config->log.level;

    if (level == HR_LOG_NONE) {
        hr_admin_fail(request, HR_E_INVALID, "log.level = %.40s: must be error, warn, info or debug", value);
        return;
    }
    d->config->log.level = level;
    done_set(d, request, "log.level", hr_log_level_name(from), hr_log_level_name(level));
}

static void set_idle(struct hr_daemon *d, struct hr_admin_request *request, const char *value)
{
    bool from = d->config->dataplane.idle_busy;

    if (strcmp(value, "busy") != 0 && strcmp(value, "adaptive") != 0) {
        hr_admin_fail(request, HR_E_INVALID, "dataplane.idle = %.40s: must be busy or adaptive", value);
        return;
    }
    d->config->dataplane.idle_busy = strcmp(value, "busy") == 0;
    done_set(d, request, "dataplane.idle", from ? "busy" : "adaptive", value);
}

/* listeners.NAME.KEY; a name may itself contain dots. */
static void set_listener(struct hr_daemon *d, struct hr_admin_request *request, const char *full_key,
                         const char *value)
{
    const char *name = full_key + strlen("listeners.");
    const char *dot = strrchr(name, '.');

    for (uint32_t i = 0; dot && i < d->config->n_listeners; i++) {
        struct hr_policy_listener *listener = &d->config->listeners[i].policy;

        if (strlen(listener->name) != (size_t)(dot - name) || strncmp(listener->name, name, (size_t)(dot - name)) != 0)
            continue;
        for (size_t k = 0; k < sizeof(listener_keys) / sizeof(listener_keys[0]); k++) {
            if (strcmp(listener_keys[k].key, dot + 1) == 0) {
                set_number(d, request, full_key, &listener_keys[k], listener, listener_keys[k].max, value);
                return;
            }
        }
        hr_admin_fail(request, HR_E_NOT_FOUND,
                      "%s: not a key that can be set while running; max_connections, max_frame_bytes, max_in_flight, "
                      "connect_timeout_ms, idle_timeout_ms and request_timeout_ms of a listener can",
                      full_key);
        return;
    }
    hr_admin_fail(request, HR_E_NOT_FOUND, "%s: no such listener; keys are listeners.NAME.KEY", full_key);
}

void hr_command_set(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const char *key = json_string_value(json_object_get(args, "key"));
    const char *value = json_string_value(json_object_get(args, "value"));

    if (!key || !value || strlen(key) > 128) {
        hr_admin_fail(request, HR_E_INVALID, "set needs a key and a value, both as strings");
        return;
    }
    if (strcmp(key, "log.level") == 0) {
        set_log_level(d, request, value);
        return;
    }
    if (strcmp(key, "dataplane.idle") == 0) {
        set_idle(d, request, value);
        return;
    }
    if (strncmp(key, "listeners.", strlen("listeners.")) == 0) {
        set_listener(d, request, key, value);
        return;
    }
    for (size_t i = 0; i < sizeof(global_keys) / sizeof(global_keys[0]); i++) {
        if (strcmp(global_keys[i].key, key) == 0) {
            uint32_t max = global_keys[i].max ? global_keys[i].max : *number_at(d->at_start, &global_keys[i]);

            set_number(d, request, key, &global_keys[i], d->config, max, value);
            return;
        }
    }
    hr_admin_fail(request, HR_E_NOT_FOUND, "%s: not a key that can be set while running; see headracectl set --help",
                  key);
}

/* -- drain -------------------------------------------------------------------------------------------- */

/* No target: everything. A target is a node id, or else a listener's name. */
static void change_drain(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args, bool drain)
{
    const char *target = json_string_value(json_object_get(args, "target"));
    const char *verb = drain ? "drain" : "undrain";
    uint64_t number;
    bool found = false;
    uint32_t n_departed;
    const struct hr_cluster_broker *departed;

    if (!target) {
        d->overrides.drain_all = drain;
        if (!drain)
            d->overrides.n_nodes = d->overrides.n_listeners = 0;
        hr_log_info("%s: the whole instance", verb);
        hr_daemon_apply(d);
        hr_admin_reply(request, json_pack("{s:s, s:s}", "what", "instance", "target", ""));
        return;
    }
    for (uint32_t i = 0; i < d->config->n_listeners; i++)
        found = found || strcmp(d->config->listeners[i].policy.name, target) == 0;
    if (found) {
        int err = hr_overrides_listener(&d->overrides, target, drain);

        if (err) {
            hr_admin_fail(request, err, "%s", hr_strerror(err));
            return;
        }
        hr_log_info("%s: listener %s", verb, target);
        hr_daemon_apply(d);
        hr_admin_reply(request, json_pack("{s:s, s:s}", "what", "listener", "target", target));
        return;
    }
    if (!parse_number(target, &number) || number > INT32_MAX) {
        hr_admin_fail(request, HR_E_NOT_FOUND, "no listener is named \"%.60s\", and it is not a node id", target);
        return;
    }
    found = hr_cluster_find_broker(hr_metadata_cluster(d->metadata), (int32_t)number) != NULL;
    departed = hr_metadata_departed(d->metadata, &n_departed);
    for (uint32_t i = 0; i < n_departed; i++)
        found = found || departed[i].id == (int32_t)number;
    if (!found && drain) {
        hr_admin_fail(request, HR_E_NOT_FOUND, "the cluster has no broker %" PRIu64 " (see headracectl brokers)",
                      number);
        return;
    }
    if (hr_overrides_node(&d->overrides, (int32_t)number, drain) != 0) {
        hr_admin_fail(request, HR_E_FULL, "too many nodes are draining");
        return;
    }
    hr_log_info("%s: node %" PRIu64, verb, number);
    hr_daemon_apply(d);
    hr_admin_reply(request, json_pack("{s:s, s:s}", "what", "node", "target", target));
}

void hr_command_drain(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    change_drain(d, request, args, true);
}

void hr_command_undrain(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    change_drain(d, request, args, false);
}

/* -- kill --------------------------------------------------------------------------------------------- */

static void on_killed(void *arg, int err)
{
    struct hr_admin_request *request = arg;

    if (err == HR_E_NOT_FOUND)
        hr_admin_fail(request, err, "no such session (any more)");
    else if (err)
        hr_admin_fail(request, err, "%s", err == HR_E_TIMEOUT ? "the worker did not answer" : hr_strerror(err));
    else
        hr_admin_reply(request, NULL);
}

void hr_command_kill(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const char *id = json_string_value(json_object_get(args, "id"));
    char *end;
    uint64_t number;
    int err;

    if (!id || strlen(id) == 0 || strlen(id) > 16 || strspn(id, "0123456789abcdefABCDEF") != strlen(id)) {
        hr_admin_fail(request, HR_E_INVALID, "an id is hexadecimal, as headracectl connections shows it");
        return;
    }
    number = strtoull(id, &end, 16);
    err = hr_sessions_kill(d->sessions, number, on_killed, request);
    if (err == HR_E_INVALID)
        hr_admin_fail(request, HR_E_NOT_FOUND, "no such session (no worker %u)", (unsigned)(number >> 56));
    else if (err)
        hr_admin_fail(request, err, "%s", err == HR_E_CLOSED ? "no dataplane is attached" : hr_strerror(err));
}

/* -- reload ------------------------------------------------------------------------------------------- */

void hr_command_reload(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_t *changes = NULL, *errors = NULL;
    int err = hr_daemon_reload(d, &changes, &errors);

    (void)args;
    if (!err) {
        hr_admin_reply(request, json_pack("{s:o}", "changes", changes));
        return;
    }
    if (json_array_size(errors) > 0)
        hr_admin_fail(request, err, "%s%s", json_string_value(json_array_get(errors, 0)),
                      json_array_size(errors) > 1 ? " (and more, see headracectl config check)" : "");
    else
        hr_admin_fail(request, err, "%s", hr_strerror(err));
    json_decref(errors);
}
