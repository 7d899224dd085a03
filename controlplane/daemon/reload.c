/* The configuration while running: applying it, and reading it again. A file that is wrong changes nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/identities.h"
#include "controlplane/auth/realm.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/replicas/replicas.h"
#include "controlplane/tls/check.h"
#include "controlplane/tls/store.h"
#include "controlplane/zones/instance.h"
#include "controlplane/zones/peers.h"
#include "shared/base/log.h"
#include "shared/base/notify.h"

/* Metadata's of before lasts until it has let go of it. */
static void apply_identities(struct hr_daemon *d)
{
    struct hr_identity *old = hr_identities_metadata(d->identities);

    if (old)
        hr_identity_ref(old);
    hr_identities_configure(d->identities, d->config);
    hr_metadata_set_identity(d->metadata, hr_identities_metadata(d->identities));
    hr_identity_release(old);
}

void hr_daemon_apply(struct hr_daemon *d)
{
    hr_log_init("headrace-controlplane", d->config->log.level, d->config->log.format);
    hr_tls_store_configure(d->tls, d->config);
    apply_identities(d);
    hr_realms_configure(d->realms, d->config);
    hr_handshakes_configure(d->handshakes, d->config);
    hr_metadata_configure(d->metadata, d->config);
    hr_peers_configure(d->peers, &d->config->zones);
    if (strcmp(d->config->zones.own, HR_CONFIG_ZONE_INSTANCE) == 0)
        hr_instance_zone_start(d->instance_zone);
    hr_publisher_touch(d->publisher);
    hr_replica_maps_touch(d->replica_maps);
}

struct reload {
    const struct hr_daemon *daemon;
    const struct hr_config *next;
    json_t *changes;
};

static void emit_change(void *arg, const char *key, const char *from, const char *to, bool needs_restart)
{
    struct reload *reload = arg;
    json_t *changes = reload->changes;

    /* These are bounded by what memory was laid out for at start, not by what `set` has made of them since.
     */
    if (strcmp(key, "limits.max_connections") == 0)
        needs_restart =
            reload->next->limits.max_connections > reload->daemon->at_start->limits.max_connections;
    else if (strcmp(key, "limits.hold_max_bytes") == 0)
        needs_restart = reload->next->limits.hold_max_bytes > reload->daemon->at_start->limits.hold_max_bytes;
    else if (strcmp(key, "tls") == 0)
        needs_restart = !hr_config_speaks_tls(reload->daemon->at_start);
    else if (strcmp(key, "proxy_protocol") == 0)
        needs_restart = !hr_config_has_proxy_protocol(reload->daemon->at_start);
    else if (strcmp(key, "auth") == 0)
        needs_restart = !hr_config_has_logins(reload->daemon->at_start);
    hr_log_info("reload: %s: %s -> %s%s", key, from, to, needs_restart ? " (needs a restart)" : "");
    json_array_append_new(changes, json_pack("{s:s, s:s, s:s, s:b}", "key", key, "from", from, "to", to,
                                             "restart", needs_restart));
}

int hr_daemon_reload(struct hr_daemon *d, json_t **ret_changes, json_t **ret_errors)
{
    struct hr_config *next = calloc(1, sizeof(*next));
    struct hr_config_errors *errors = calloc(1, sizeof(*errors));
    json_t *changes = json_array(), *texts = json_array();
    int err = HR_E_NOMEM;

    if (!next || !errors)
        goto out;
    hr_notify_reloading();
    err = hr_config_load(d->config->path, next, errors);
    if (!err && hr_tls_check(next, 0, errors) > 0)
        err = HR_E_CONFIG;
    if (err) {
        hr_log_error("reload: the file is refused, nothing has changed");
        for (uint32_t i = 0; i < errors->n; i++) {
            hr_log_error("reload: %s", errors->text[i]);
            json_array_append_new(texts, json_string(errors->text[i]));
        }
        hr_notify_ready("the last reload was refused");
        goto out;
    }
    for (uint32_t i = 0; i < errors->n_warnings; i++)
        hr_log_warn("%s", errors->warnings[i]);
    hr_config_diff(d->config, next, emit_change, &(struct reload){d, next, changes});
    if (json_array_size(changes) == 0)
        hr_log_info("reload: nothing has changed");
    *d->config = *next;
    hr_daemon_apply(d);
    hr_notify_ready("running");
out:
    free(next);
    free(errors);
    if (ret_changes && err == 0)
        *ret_changes = json_incref(changes);
    if (ret_errors && err != 0)
        *ret_errors = json_incref(texts);
    json_decref(changes);
    json_decref(texts);
    return err;
}
