#include "controlplane/admin/commands.h"

#include <string.h>

static const struct {
    const char *name;
    hr_command_fn *fn;
} commands[] = {
    {"status", hr_command_status},   {"counters", hr_command_counters},
    {"workers", hr_command_workers}, {"brokers", hr_command_brokers},
    {"topics", hr_command_topics},   {"connections", hr_command_connections},
    {"set", hr_command_set},         {"drain", hr_command_drain},
    {"undrain", hr_command_undrain}, {"kill", hr_command_kill},
    {"reload", hr_command_reload},
    {"kill_principal", hr_command_kill_principal},
    {"identities", hr_command_identities},
    {"logins", hr_command_logins},
    {"certificates", hr_command_certificates},
    {"tls", hr_command_tls},
    {"zones", hr_command_zones},
};

static void on_request(void *owner, struct hr_admin_request *request, const char *cmd, const json_t *args)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, cmd) == 0) {
            commands[i].fn(owner, request, args);
            return;
        }
    }
    hr_admin_fail(request, HR_E_UNSUPPORTED,
                  "no command \"%.40s\": is headracectl newer than the control plane?", cmd);
}

const struct hr_admin_ops hr_command_ops = {.request = on_request};
