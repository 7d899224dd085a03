/* Commands that show who Headrace is to the brokers, and whether it has what it takes to prove it; and what became of
 * logins. */
#include <time.h>

#include "controlplane/admin/commands.h"
#include "controlplane/admin/server.h"
#include "controlplane/auth/identities.h"
#include "controlplane/auth/realm.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/renewals/renewals.h"

static json_t *show_identity(const struct hr_daemon *d, const struct hr_identity *identity, const char *principal)
{
    bool metadata = identity == hr_identities_metadata(d->identities);
    struct hr_identity_info info;

    hr_identity_get_info(identity, &info);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:s}", "used_for",
                     metadata ? principal[0] ? "metadata, a principal" : "metadata, listeners" :
                     principal[0] ? "a principal" : "listeners", "principal", principal, "mechanism",
                     hr_mechanism_name(info.mechanism), "name", info.name, "session", info.session, "source", info.source,
                     "expires_s", info.expires_s ? json_integer(info.expires_s - time(NULL)) : json_null(), "logins",
                     (json_int_t)info.logins, "refused", (json_int_t)info.refused, "error", info.error);
}

void hr_command_identities(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_t *identities = json_array();
    const struct hr_identity *identity;
    struct hr_handshakes_info shakes;
    struct hr_renewals_info renewals;
    const char *principal;

    (void)args;
    for (uint32_t i = 0; i <= HR_CONFIG_MAX_PRINCIPALS; i++) {
        if ((identity = hr_identities_at(d->identities, i, &principal)) != NULL)
            json_array_append_new(identities, show_identity(d, identity, principal));
    }
    hr_handshakes_get_info(d->handshakes, &shakes);
    hr_renewals_get_info(d->renewals, &renewals);
    hr_admin_reply(request,
                   json_pack("{s:o, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}}", "identities", identities, "pacing",
                             "waiting", (json_int_t)shakes.paced_now, "waited", (json_int_t)shakes.paced, "waited_ms",
                             (json_int_t)shakes.paced_ms, "backed_off", (json_int_t)shakes.backed_off, "renewals",
                             "under_way", (json_int_t)renewals.under_way, "clients", (json_int_t)renewals.clients,
                             "brokers", (json_int_t)renewals.brokers, "clients_failed",
                             (json_int_t)renewals.clients_failed, "brokers_failed", (json_int_t)renewals.brokers_failed));
}

static json_t *by_mechanism(const uint64_t counts[HR_MECHANISM_MAX])
{
    json_t *done = json_array();

    for (int m = HR_MECHANISM_NONE + 1; m < HR_MECHANISM_MAX; m++) {
        if (counts[m] > 0)
            json_array_append_new(done, json_pack("{s:s, s:I}", "mechanism", hr_mechanism_name((enum hr_mechanism)m),
                                                  "count", (json_int_t)counts[m]));
    }
    return done;
}

void hr_command_logins(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_t *failed = json_array(), *troubles = json_array();
    struct hr_handshakes_info info;

    (void)args;
    hr_handshakes_get_info(d->handshakes, &info);
    for (unsigned r = 1; r < HR_LOGIN_REASON_MAX; r++) {
        if (info.login_failed[r] > 0)
            json_array_append_new(failed, json_pack("{s:s, s:I, s:s}", "reason", hr_login_reason_name(r), "count",
                                                    (json_int_t)info.login_failed[r], "text", hr_login_reason_text(r)));
    }
    for (uint32_t i = 0; i < d->config->n_listeners; i++) {
        const char *name = d->config->listeners[i].policy.name;
        const struct hr_realm *realm = hr_realms_find(d->realms, name);

        if (realm && hr_realm_trouble(realm)[0])
            json_array_append_new(troubles, json_pack("{s:s, s:s}", "owner", name, "text", hr_realm_trouble(realm)));
    }
    hr_admin_reply(request, json_pack("{s:o, s:o, s:o, s:o}", "clients", by_mechanism(info.logins), "brokers",
                                      by_mechanism(info.broker_logins), "failed", failed, "troubles", troubles));
}
