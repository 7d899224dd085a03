#include "controlplane/cli/commands.h"

#include <string.h>

#include "shared/base/nearest.h"

static const struct command commands[] = {
    {"status", "", 0, 0, 0, cli_status, "whether all is well: dataplane, policy, cluster, listeners",
     "Shows versions, readiness and why not, the attachment to the dataplane, the policy snapshot in\n"
     "use, what is known of the cluster and how, and the listeners.\n"},
    {"top", "", 0, 0, OPT_FRAMES, cli_top, "rates per worker, refreshed each second",
     "Shows what each worker does per second. BUSY is the share of time spent in loop turns that did\n"
     "work; UP and DOWN are payload from and to clients.\n"},
    {"workers", "", 0, 0, 0, cli_workers, "the workers: whether they answer, their buffers and sessions",
     "RESPONDS is the time that a message to the worker and back took. HEAP CALLS must be 0.\n"},
    {"connections", "[kill ID]", 0, 2, OPT_LIMIT | OPT_WIDE, cli_connections,
     "the sessions of clients; or end one of them",
     "Lists client sessions. TLS is the version on the client's and on the broker's leg, \"-\" for plain text;\n"
     "UP is from the client, DOWN towards it. --wide adds the load balancer or PrivateLink endpoint that a\n"
     "client came through (VIA, ENDPOINT), ciphers, the name asked for (SNI), how client and Headrace have\n"
     "logged in and when that ends, the broker's leg, and the smoothed round trips of both (RTT MS).\n"
     "`kill ID` resets both legs.\n"},
    {"brokers", "", 0, 0, 0, cli_brokers, "the cluster's brokers and their addresses",
     "LEADS counts the partitions that a broker leads. A departed broker was named until recently; a\n"
     "fenced one is known to the controller and does not serve.\n"},
    {"topics", "[TOPIC]", 0, 1, OPT_ALL, cli_topics, "the cluster's topics; or one topic's partitions",
     "--all also lists internal topics.\n"},
    {"identities", "", 0, 0, 0, cli_identities, "who Headrace is to the brokers, and how it proves it",
     "EXPIRES is the end of temporary AWS credentials, which are renewed before it. REFUSED counts logins that\n"
     "brokers refused; ERROR is why there is nothing to log in with.\n"},
    {"logins", "", 0, 0, 0, cli_logins, "logins of clients, and at brokers for them, and why some failed",
     "Counts start with the control plane. Listeners with auth.mode = \"passthrough\" have none of their own.\n"},
    {"certificates", "", 0, 0, 0, cli_certificates, "certificates and CAs in use, and until when they are valid",
     "Lists what listeners and the cluster use, and what is wrong with files that could not be loaded.\n"
     "STATE is renew from 30 days before the end on, renew now from 7.\n"},
    {"tls", "", 0, 0, 0, cli_tls, "handshakes with clients and brokers, and why some failed",
     "Counts start with the control plane.\n"},
    {"zones", "[explain IP | advise [reassignment | election]]", 0, 2, 0, cli_zones, "bytes and dollars between zones; who is where and why",
     "Lists how each broker's zone was found, the bytes of frames by the zones of clients and brokers, what\n"
     "they cost and would cost direct, and who moves most of them. UP is from clients. Counts begin with the\n"
     "dataplane; rates are of the last minute; topics and clients are estimates.\n"
     "`explain IP` says which zone a client with that address is in, by which rule, for each listener.\n"
     "`advise` lists the partition leaders that would cost least in another zone, and changes nothing;\n"
     "`advise reassignment` and `advise election` print the files with which Kafka's own tools move them.\n"},
    {"counters", "", 0, 0, OPT_WORKER | OPT_ALL, cli_counters, "what workers counted, with what it means",
     "Sums over all workers; those that are 0 are left out. Counters start with the dataplane.\n"},
    {"drops", "", 0, 0, OPT_WORKER | OPT_ALL, cli_drops,
     "why packets and connections were dropped, and what to do",
     "Sums over all workers; reasons that never occurred are left out.\n"},
    {"set", "KEY VALUE", 2, 2, 0, cli_set, "changes a value while traffic flows",
     "Holds until the next reload or restart. Keys and ranges are those of the configuration file, those\n"
     "marked live there with a number or a choice as value:\n"
     "  log.level, dataplane.idle\n"
     "  limits.KEY, cluster.KEY          \"live down\": up to the value at start\n"
     "  listeners.NAME.KEY               max_connections, max_frame_bytes, max_in_flight,\n"
     "                                   connect_timeout_ms, idle_timeout_ms, request_timeout_ms\n"},
    {"drain", "[NODE | LISTENER]", 0, 1, 0, cli_drain,
     "takes the instance, a broker or a listener out of service",
     "New sessions are refused; open ones end when no request is without its answer, at the latest at\n"
     "limits.drain_timeout_ms. Without an argument the whole instance drains and /ready says no. A\n"
     "listener's name is tried before a node id. Holds until undrain or until the control plane restarts.\n"},
    {"undrain", "[NODE | LISTENER]", 0, 1, 0, cli_undrain, "takes a drain back",
     "Without an argument: all drains.\n"},
    {"reload", "", 0, 0, 0, cli_reload, "reads the configuration again and shows what changed",
     "An invalid file changes nothing. Values given by `set` end with a reload. SIGHUP does the same.\n"},
    {"config", "check FILE", 1, 2, 0, cli_config, "validates a configuration file; needs no running instance",
     "Prints every mistake with its line and what would be right.\n"},
    {"users", "list | add NAME | passwd NAME | remove NAME", 1, 2, OPT_USERS, cli_users,
     "the users whom Headrace itself authenticates; needs no running instance",
     "Changes the file of SCRAM verifiers (both SHA-256 and SHA-512; no password is stored), which a running\n"
     "control plane reads again within a second. A password is asked for, or is the first line of stdin.\n"
     "`add` creates the file when it is not there. `remove --kill` then ends that user's connections, too.\n"},
    {"explain", "", 0, 0, 0, cli_explain, NULL,
     "Prints all counters, gauges and drop reasons as Markdown: docs/counters.md.\n"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* What only some commands have. */
static const struct {
    unsigned bit;
    const char *names, *help;
} some_options[] = {
    {OPT_WORKER, "--worker", "  -w, --worker N      only that worker\n"},
    {OPT_ALL, "--all", "  -a, --all           also what is left out otherwise\n"},
    {OPT_FRAMES, "--once, -n or --interval",
     "      --once          one frame, as -n 1\n"
     "  -n N                end after N frames\n"
     "      --interval S    seconds between frames (default 1)\n"},
    {OPT_LIMIT, "--limit", "      --limit N       at most so many sessions\n"},
    {OPT_WIDE, "--wide", "      --wide          every column\n"},
    {OPT_USERS, "--kill, --file or --iterations",
     "      --kill          with remove: ends the user's connections, by the control plane\n"
     "      --file FILE     the file (default " CLI_DEFAULT_USERS ")\n"
     "      --iterations N  what trying a password costs, 4096 (default) to 16384\n"},
};
#define N_SOME_OPTIONS (sizeof(some_options) / sizeof(some_options[0]))

void cli_overview(FILE *to)
{
    fputs("Usage: headracectl [--socket PATH] [--json] COMMAND [ARGUMENTS]\n\nCommands:\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[64];
        int n;

        if (!commands[i].summary)
            continue;
        n = snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
        fprintf(to, n > 26 ? "  %s\n%29s%s\n" : "  %-26s%s%s\n", left, n > 26 ? "" : " ", commands[i].summary);
    }
    fputs("\n"
          "Options:\n"
          "  -s, --socket PATH   the control plane's socket (default $HEADRACE_SOCKET or\n"
          "                      " CLI_DEFAULT_SOCKET ")\n"
          "  -j, --json          print the answer as JSON\n"
          "  -h, --help          print this, or with a command its own help\n"
          "  -V, --version       print the version\n"
          "\n"
          "Exit status: 0 done, 1 the control plane refused, 2 wrong usage or a wrong configuration file,\n"
          "3 no control plane answers.\n",
          to);
}

void cli_command_help(FILE *to, const struct command *command)
{
    fprintf(to, "Usage: headracectl %s%s%s%s\n\n%s", command->name, *command->args ? " " : "", command->args,
            command->options ? " [OPTIONS]" : "", command->help);
    if (command->options)
        fputs("\nOptions:\n", to);
    for (size_t i = 0; i < N_SOME_OPTIONS; i++) {
        if (command->options & some_options[i].bit)
            fputs(some_options[i].help, to);
    }
}

int cli_usage(const struct cli *cli)
{
    const struct command *command = cli->command;

    fprintf(stderr, "headracectl: usage: headracectl %s%s%s%s\n", command->name, *command->args ? " " : "", command->args,
            command->options ? " [OPTIONS]" : "");
    fprintf(stderr, "headracectl: \"headracectl %s --help\" says more.\n", command->name);
    return CLI_USAGE;
}

const struct command *cli_find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int cli_no_command(const char *name)
{
    const char *nearest = NULL;
    unsigned least = UINT32_MAX;

    for (size_t i = 0; i < N_COMMANDS; i++)
        hr_nearest(name, commands[i].name, &nearest, &least);
    fprintf(stderr, "headracectl: no command \"%s\"", name);
    if (nearest)
        fprintf(stderr, ", did you mean \"%s\"?", nearest);
    fputs("\nheadracectl: \"headracectl --help\" lists them.\n", stderr);
    return CLI_USAGE;
}

int cli_no_option(const struct cli *cli, unsigned options)
{
    for (size_t i = 0; i < N_SOME_OPTIONS; i++) {
        if (options & some_options[i].bit)
            fprintf(stderr, "headracectl: %s has no option %s\n", cli->command->name, some_options[i].names);
    }
    return cli_usage(cli);
}
