/* headracectl: asks the control plane over its socket and prints what it says, as tables for people or as the
 * answer's own JSON for scripts.
 *
 * Each command is a function over the parsed command line. Private to controlplane/cli. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes; documented in --help and docs/operations.md. */
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,      /* the control plane said no */
    CLI_USAGE = 2,       /* wrong usage, or a configuration that is wrong */
    CLI_UNREACHABLE = 3, /* no control plane answers on the socket */
};

#define CLI_DEFAULT_SOCKET "/run/headrace/control.sock"
#define CLI_DEFAULT_USERS  "/etc/headrace/users"
#define CLI_ARGS_MAX       4

struct command;

struct cli {
    const struct command *command;
    const char *socket_path;
    bool json;
    bool all;   /* --all */
    bool wide;  /* --wide */
    bool once;  /* --once */
    int worker; /* --worker, -1: all */
    int count;  /* -n: frames of top, 0: endless */
    double interval_s;
    int limit; /* --limit, 0: none given */
    const char *file; /* --file, NULL: none given */
    int iterations;   /* --iterations, 0: none given */
    bool kill;        /* --kill */
    int n_args;
    const char *args[CLI_ARGS_MAX];
    FILE *out;
};

typedef int cli_command_fn(const struct cli *cli);

/* commands.c: says how the command is used. CLI_USAGE. */
int cli_usage(const struct cli *cli);

/* client.c: one request, one answer. Takes request. CLI_OK: *ret_result is the caller's; otherwise the error
 * has been printed. */
int cli_ask(const struct cli *cli, json_t *request, json_t **ret_result);
/* Asks for a command without arguments. */
int cli_ask_cmd(const struct cli *cli, const char *cmd, json_t **ret_result);
/* Prints the answer as JSON when --json was given; true when it did. */
bool cli_print_json(const struct cli *cli, const json_t *result);

/* show.c */
cli_command_fn cli_status, cli_workers, cli_brokers, cli_topics;
/* connections.c; the answer to "connections" as a table */
cli_command_fn cli_connections;
void cli_print_connections(const struct cli *cli, const json_t *result);
/* counters.c */
cli_command_fn cli_counters, cli_drops, cli_explain;
/* top.c */
cli_command_fn cli_top;
/* change.c */
cli_command_fn cli_set, cli_drain, cli_undrain, cli_reload, cli_config;
/* tls.c */
cli_command_fn cli_certificates, cli_tls;
/* zones.c */
cli_command_fn cli_zones;
/* users.c, identities.c */
cli_command_fn cli_users, cli_identities, cli_logins;

/* Members of an answer, with a neutral value where they are missing: an older control plane may not have
 * them. */
const char *cli_text(const json_t *obj, const char *key);
int64_t cli_int(const json_t *obj, const char *key);
double cli_real(const json_t *obj, const char *key);
bool cli_bool(const json_t *obj, const char *key);

/* format.c: texts for people, in a caller's buffer. */
#define CLI_NUM_MAX 32
const char *cli_bytes(char buf[CLI_NUM_MAX], double bytes);     /* "1.5 MB", decimal units */
const char *cli_count(char buf[CLI_NUM_MAX], double count);     /* "12.3k" */
const char *cli_seconds(char buf[CLI_NUM_MAX], double seconds); /* "3d04h", "5m12s", "1.2s" */
