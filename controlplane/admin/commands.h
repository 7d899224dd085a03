/* What headracectl can ask for: one function per command, grouped by whether it shows or changes something.
 */
#pragma once

#include <jansson.h>

#include "controlplane/admin/server.h"

struct hr_daemon;

/* The owner is the daemon. */
extern const struct hr_admin_ops hr_command_ops;

typedef void hr_command_fn(struct hr_daemon *daemon, struct hr_admin_request *request, const json_t *args);

/* show.c */
hr_command_fn hr_command_status;
hr_command_fn
    hr_command_counters; /* all workers' counters, gauges and drops, for top, workers, counters, drops */
hr_command_fn hr_command_workers;
hr_command_fn hr_command_brokers;
hr_command_fn hr_command_topics;
/* show_connections.c */
hr_command_fn hr_command_connections;
/* show_auth.c */
hr_command_fn hr_command_identities, hr_command_logins;
/* show_tls.c */
hr_command_fn hr_command_certificates;
hr_command_fn hr_command_tls;
/* show_zones.c */
hr_command_fn hr_command_zones;
/* change.c */
hr_command_fn hr_command_set;
hr_command_fn hr_command_drain;
hr_command_fn hr_command_undrain;
hr_command_fn hr_command_kill;
hr_command_fn hr_command_kill_principal;
hr_command_fn hr_command_reload;
