/* Command that shows who Headrace is to the brokers, and whether it has what it takes to prove it. */
#include <time.h>

#include "controlplane/admin/commands.h"
#include "controlplane/admin/server.h"
#include "controlplane/auth/identity.h"
#include "controlplane/daemon/daemon.h"

void hr_command_identities(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    json_t *identities = json_array();
    struct hr_identity_info info;

    (void)args;
    if (d->identity) {
        hr_identity_get_info(d->identity, &info);
        json_array_append_new(
            identities,
            json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:s}", "used_for", "metadata", "mechanism",
                      hr_mechanism_name(info.mechanism), "name", info.name, "source", info.source, "expires_s",
                      info.expires_s ? json_integer(info.expires_s - time(NULL)) : json_null(), "logins",
                      (json_int_t)info.logins, "refused", (json_int_t)info.refused, "error", info.error));
    }
    hr_admin_reply(request, json_pack("{s:o}", "identities", identities));
}
