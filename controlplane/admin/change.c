/* Commands that change something. What is set here holds until the next reload or restart; drains hold until
 * undrain or restart. Everything reaches the workers as a new policy snapshot. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/admin/commands.h"
#include "controlplane/auth/realm.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/daemon/drain.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/sessions/sessions.h"
#include "shared/base/log.h"
#include "shared/config/keys.h"

/* -- set ---------------------------------------------------------------------------------------------- */

/* The key's field of the section's struct, as the configuration file would have it set. */
static void set_field(struct hr_daemon *d, struct hr_admin_request *request, const char *full_key,
                      const struct hr_cfg_key *key, void *base, const void *base_at_start, const char *value)
{
    int64_t number = 0, max = key->max;
    char from[64], to[64], *end;
    uint32_t n;

    if (key->apply == HR_CFG_RESTART) {
        hr_admin_fail(request, HR_E_UNSUPPORTED, "%s: takes effect only with a restart: change the file",
                      full_key);
        return;
    }
    switch (key->type) {
    case HR_CFG_NUMBER:
        /* Memory was laid out for the value at start. */
        if (key->apply == HR_CFG_LIVE_LOWER && base_at_start && hr_cfg_fetch(key, base_at_start) < max)
            max = hr_cfg_fetch(key, base_at_start);
        errno = 0;
        number = strtoll(value, &end, 10);
        if (*value < '0' || *value > '9' || *end || errno || number < key->min || number > max) {
            hr_admin_fail(request, HR_E_INVALID, "%s = %.40s: must be %" PRId64 "..%" PRId64 "%s", full_key,
                          value, key->min, max,
                          max < key->max ? " (the value at start; more needs a restart)" : "");
            return;
        }
        break;
    case HR_CFG_BOOL:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            hr_admin_fail(request, HR_E_INVALID, "%s = %.40s: must be true or false", full_key, value);
            return;
        }
        number = strcmp(value, "true") == 0;
        break;
    case HR_CFG_CHOICE:
        for (n = 0; key->choices[n] && strcmp(key->choices[n], value) != 0; n++)
            ;
        if (!key->choices[n]) {
            char all[128] = "";

            for (n = 0; key->choices[n] && strlen(all) + strlen(key->choices[n]) + 5 < sizeof(all); n++) {
                strcat(all, n ? " or " : "");
                strcat(all, key->choices[n]);
            }
            hr_admin_fail(request, HR_E_INVALID, "%s = %.40s: must be %s", full_key, value, all);
            return;
        }
        number = key->min + n;
        break;
    case HR_CFG_NONE:
    case HR_CFG_STRING:
    case HR_CFG_MAX:
        hr_admin_fail(request, HR_E_UNSUPPORTED,
                      "%s: cannot be set while running: change the file and reload", full_key);
        return;
    }
    hr_cfg_format(key, base, from, sizeof(from));
    hr_cfg_store(key, base, number);
    hr_cfg_format(key, base, to, sizeof(to));
    hr_log_info("set %s: %s -> %s", full_key, from, to);
    hr_daemon_apply(d);
    hr_admin_reply(request, json_pack("{s:s, s:s, s:s}", "key", full_key, "from", from, "to", to));
}

static const struct hr_cfg_key *find_key(const struct hr_cfg_section *section, const char *name)
{
    for (const struct hr_cfg_key *key = section->keys; key->name; key++) {
        if (strcmp(key->name, name) == 0)
            return key;
    }
    return NULL;
}

/* listeners.NAME.KEY; a name may itself contain dots. */
static void set_listener(struct hr_daemon *d, struct hr_admin_request *request, const char *full_key,
                         const char *value)
{
    const char *name = full_key + strlen("listeners.");
    const char *dot = strrchr(name, '.');

    for (uint32_t i = 0; dot && i < d->config->n_listeners; i++) {
        struct hr_config_listener *listener = &d->config->listeners[i];
        const struct hr_cfg_key *key;

        if (strlen(listener->policy.name) != (size_t)(dot - name) ||
            strncmp(listener->policy.name, name, (size_t)(dot - name)) != 0)
            continue;
        key = find_key(&hr_cfg_listener_section, dot + 1);
        if (key && key->type == HR_CFG_NUMBER)
            set_field(d, request, full_key, key, listener, NULL, value);
        else
            hr_admin_fail(request, HR_E_NOT_FOUND,
                          "%s: not a limit of a listener; see headracectl set --help", full_key);
        return;
    }
    hr_admin_fail(request, HR_E_NOT_FOUND, "%s: no such listener; keys are listeners.NAME.KEY", full_key);
}

void hr_command_set(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const char *full_key = json_string_value(json_object_get(args, "key"));
    const char *value = json_string_value(json_object_get(args, "value"));
    const char *dot = full_key ? strchr(full_key, '.') : NULL;

    if (!full_key || !value || strlen(full_key) > 128) {
        hr_admin_fail(request, HR_E_INVALID, "set needs a key and a value, both as strings");
        return;
    }
    if (strncmp(full_key, "listeners.", strlen("listeners.")) == 0) {
        set_listener(d, request, full_key, value);
        return;
    }
    for (const struct hr_cfg_section *section = hr_cfg_sections; dot && section->name; section++) {
        const struct hr_cfg_key *key;

        if (strlen(section->name) != (size_t)(dot - full_key) ||
            strncmp(section->name, full_key, (size_t)(dot - full_key)) != 0)
            continue;
        key = find_key(section, dot + 1);
        if (key) {
            set_field(d, request, full_key, key, d->config, d->at_start, value);
            return;
        }
    }
    hr_admin_fail(request, HR_E_NOT_FOUND, "%s: no such key; see headracectl set --help", full_key);
}

/* -- drain -------------------------------------------------------------------------------------------- */

static bool parse_number(const char *value, uint64_t *ret_number)
{
    char *end;

    if (*value < '0' || *value > '9')
        return false;
    errno = 0;
    *ret_number = strtoull(value, &end, 10);
    return *end == '\0' && errno == 0;
}

/* No target: everything. A target is a node id, or else a listener's name. */
static void change_drain(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args,
                         bool drain)
{
    const char *target = json_string_value(json_object_get(args, "target"));
    const char *verb = drain ? "drain" : "undrain";
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
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
        hr_admin_fail(request, HR_E_NOT_FOUND, "no listener is named \"%.60s\", and it is not a node id",
                      target);
        return;
    }
    found = hr_cluster_find_broker(hr_metadata_cluster(d->metadata), (int32_t)number) != NULL;
    departed = hr_metadata_departed(d->metadata, &n_departed);
    for (uint32_t i = 0; i < n_departed; i++)
        found = found || departed[i].id == (int32_t)number;
    /* Known to the workers from an earlier control plane. */
    if (policy && number <= INT32_MAX)
        found = found || hr_policy_find_broker(policy, (int32_t)number) != NULL;
    if (!found && drain) {
        hr_admin_fail(request, HR_E_NOT_FOUND,
                      "the cluster has no broker %" PRIu64 " (see headracectl brokers)", number);
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
    hr_drain_begin(d->drain);
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
        hr_admin_fail(request, err, "%s",
                      err == HR_E_TIMEOUT ? "the worker did not answer" : hr_strerror(err));
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

/* Ends what a user has: whoever was removed is not let in again, so there are fewer in each round. */
struct removal {
    struct hr_daemon *daemon;
    struct hr_admin_request *request;
    uint32_t ended;
    char principal[HR_PRINCIPAL_MAX];
};

#define ENDS_AT_ONCE 256 /* less than a ring holds */

static void on_theirs(void *arg, int err, const struct hr_session_info *infos, uint32_t n, bool complete)
{
    struct removal *removal = arg;

    (void)complete;
    for (uint32_t i = 0; i < n && !err && hr_sessions_end(removal->daemon->sessions, infos[i].id) == 0; i++)
        removal->ended++;
    if (!err && n > 0)
        err = hr_sessions_list_of(removal->daemon->sessions, removal->principal, ENDS_AT_ONCE, on_theirs, removal);
    if (!err && n > 0)
        return;
    if (err) {
        hr_admin_fail(removal->request, err, "%s", err == HR_E_TIMEOUT ? "a worker did not answer" : hr_strerror(err));
    } else {
        hr_log_info("ended %u connections of User:%s", removal->ended, removal->principal);
        hr_admin_reply(removal->request, json_pack("{s:i}", "ended", (int)removal->ended));
    }
    free(removal);
}

/* The files of users are read first, so that nobody is let in again by what has just been removed. */
void hr_command_kill_principal(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const char *principal = json_string_value(json_object_get(args, "principal"));
    struct removal *removal;
    int err;

    if (!principal || !principal[0] || strlen(principal) >= HR_PRINCIPAL_MAX) {
        hr_admin_fail(request, HR_E_INVALID, "a principal has 1 to %d characters", HR_PRINCIPAL_MAX - 1);
        return;
    }
    if (!(removal = calloc(1, sizeof(*removal)))) {
        hr_admin_fail(request, HR_E_NOMEM, "%s", hr_strerror(HR_E_NOMEM));
        return;
    }
    removal->daemon = d;
    removal->request = request;
    snprintf(removal->principal, sizeof(removal->principal), "%s", principal);
    hr_realms_look(d->realms);
    removal->ended = hr_handshakes_end_principal(d->handshakes, principal);
    err = hr_sessions_list_of(d->sessions, principal, ENDS_AT_ONCE, on_theirs, removal);
    if (err) {
        hr_admin_fail(request, err, "%s", err == HR_E_CLOSED ? "no dataplane is attached" : hr_strerror(err));
        free(removal);
    }
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
