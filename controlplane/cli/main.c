#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/cli/cli.h"

enum option_bit {
    OPT_WORKER = 1 << 0,
    OPT_ALL = 1 << 1,
    OPT_FRAMES = 1 << 2, /* --once, -n, --interval */
    OPT_LIMIT = 1 << 3,
    OPT_USERS = 1 << 4, /* --file, --iterations, --kill */
    OPT_WIDE = 1 << 5,
};

static const struct command {
    const char *name;
    const char *args; /* as usage shows them */
    int min_args, max_args;
    unsigned options; /* enum option_bit */
    cli_command_fn *fn;
    const char *summary; /* NULL: not listed */
    const char *help;
} commands[] = {
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
    {"zones", "[explain IP|advise]", 0, 2, 0, cli_zones, "bytes and dollars between zones; who is where and why",
     "Lists how each broker's zone was found, the bytes of frames by the zones of clients and brokers, what\n"
     "they cost and would cost direct, and who moves most of them. UP is from clients. Counts begin with the\n"
     "dataplane; rates are of the last minute; topics and clients are estimates. `explain IP` says which zone a client with that\n"
     "address is in, by which rule, for each listener. `advise` lists the partition leaders that would cost\n"
     "least in another zone; `advise reassignment` and `advise election` print the files with which Kafka's own\n"
     "tools move them. It changes nothing.\n"},
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
    {"drain", "[NODE|LISTENER]", 0, 1, 0, cli_drain,
     "takes the instance, a broker or a listener out of service",
     "New sessions are refused; open ones end when no request is without its answer, at the latest at\n"
     "limits.drain_timeout_ms. Without an argument the whole instance drains and /ready says no. A\n"
     "listener's name is tried before a node id. Holds until undrain or until the control plane restarts.\n"},
    {"undrain", "[NODE|LISTENER]", 0, 1, 0, cli_undrain, "takes a drain back",
     "Without an argument: all drains.\n"},
    {"reload", "", 0, 0, 0, cli_reload, "reads the configuration again and shows what changed",
     "An invalid file changes nothing. Values given by `set` end with a reload. SIGHUP does the same.\n"},
    {"config", "check FILE", 1, 2, 0, cli_config, "validates a configuration file; needs no running instance",
     "Prints every mistake with its line and what would be right.\n"},
    {"users", "list|add|passwd|remove [NAME]", 1, 2, OPT_USERS, cli_users,
     "the users whom Headrace itself authenticates; needs no running instance",
     "Changes the file of SCRAM verifiers (both SHA-256 and SHA-512; no password is stored), which a running\n"
     "control plane reads again within a second. A password is asked for, or is the first line of stdin.\n"
     "`add` creates the file when it is not there. `remove --kill` then ends that user's connections, too.\n"},
    {"explain", "", 0, 0, 0, cli_explain, NULL,
     "Prints all counters, gauges and drop reasons as Markdown: docs/counters.md.\n"},
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void usage(FILE *to)
{
    fputs("Usage: headracectl [--socket PATH] [--json] COMMAND [ARGUMENTS]\n\nCommands:\n", to);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[64];

        if (!commands[i].summary)
            continue;
        snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
        fprintf(to, "  %-26s %s\n", left, commands[i].summary);
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

static void command_usage(FILE *to, const struct command *command)
{
    fprintf(to, "Usage: headracectl %s%s%s [OPTIONS]\n\n%s", command->name, *command->args ? " " : "",
            command->args, command->help);
    if (command->options)
        fputs("\nOptions:\n", to);
    if (command->options & OPT_WORKER)
        fputs("  -w, --worker N      only that worker\n", to);
    if (command->options & OPT_ALL)
        fputs("  -a, --all           also what is left out otherwise\n", to);
    if (command->options & OPT_FRAMES)
        fputs("      --once          one frame, as -n 1\n"
              "  -n N                end after N frames\n"
              "      --interval S    seconds between frames (default 1)\n",
              to);
    if (command->options & OPT_LIMIT)
        fputs("      --limit N       at most so many sessions\n", to);
    if (command->options & OPT_WIDE)
        fputs("      --wide          every column\n", to);
    if (command->options & OPT_USERS)
        fputs("      --kill          with remove: ends the user's connections, by the control plane\n"
              "      --file FILE     the file (default " CLI_DEFAULT_USERS ")\n"
              "      --iterations N  what trying a password costs, 4096 (default) to 16384\n",
              to);
}

static int number(const char *text, const char *option, int min)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < min || n > 1000000000) {
        fprintf(stderr, "headracectl: %s %s: must be a number from %d on\n", option, text, min);
        exit(CLI_USAGE);
    }
    return (int)n;
}

static double seconds(const char *text)
{
    char *end;
    double s = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(s >= 0.05 && s <= 3600)) {
        fprintf(stderr, "headracectl: --interval %s: must be 0.05 to 3600 seconds\n", text);
        exit(CLI_USAGE);
    }
    return s;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enum { LONG_ONCE = 256, LONG_INTERVAL, LONG_LIMIT, LONG_WIDE, LONG_FILE, LONG_ITERATIONS, LONG_KILL };
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {"worker", required_argument, NULL, 'w'},
        {"all", no_argument, NULL, 'a'},
        {"once", no_argument, NULL, LONG_ONCE},
        {"interval", required_argument, NULL, LONG_INTERVAL},
        {"wide", no_argument, NULL, LONG_WIDE},
        {"limit", required_argument, NULL, LONG_LIMIT},
        {"file", required_argument, NULL, LONG_FILE},
        {"iterations", required_argument, NULL, LONG_ITERATIONS},
        {"kill", no_argument, NULL, LONG_KILL},
        {0},
    };
    const char *env = getenv("HEADRACE_SOCKET");
    struct cli cli = {
        .socket_path = env && *env ? env : CLI_DEFAULT_SOCKET, .worker = -1, .interval_s = 1, .out = stdout};
    const struct command *command;
    unsigned given = 0;
    bool help = false;
    int opt, ret;

    while ((opt = getopt_long(argc, argv, "s:jhVw:an:", options, NULL)) != -1) {
        switch (opt) {
        case 's':
            cli.socket_path = optarg;
            break;
        case 'j':
            cli.json = true;
            break;
        case 'h':
            help = true;
            break;
        case 'V':
            printf("headracectl %s\n", HR_VERSION);
            return CLI_OK;
        case 'w':
            cli.worker = number(optarg, "--worker", 0);
            given |= OPT_WORKER;
            break;
        case 'a':
            cli.all = true;
            given |= OPT_ALL;
            break;
        case 'n':
            cli.count = number(optarg, "-n", 1);
            given |= OPT_FRAMES;
            break;
        case LONG_ONCE:
            cli.once = true;
            given |= OPT_FRAMES;
            break;
        case LONG_INTERVAL:
            cli.interval_s = seconds(optarg);
            given |= OPT_FRAMES;
            break;
        case LONG_LIMIT:
            cli.limit = number(optarg, "--limit", 1);
            given |= OPT_LIMIT;
            break;
        case LONG_WIDE:
            cli.wide = true;
            given |= OPT_WIDE;
            break;
        case LONG_FILE:
            cli.file = optarg;
            given |= OPT_USERS;
            break;
        case LONG_KILL:
            cli.kill = true;
            given |= OPT_USERS;
            break;
        case LONG_ITERATIONS:
            cli.iterations = number(optarg, "--iterations", 1);
            given |= OPT_USERS;
            break;
        default:
            usage(stderr);
            return CLI_USAGE;
        }
    }
    if (optind == argc) {
        usage(help ? stdout : stderr);
        return help ? CLI_OK : CLI_USAGE;
    }
    command = find_command(argv[optind]);
    if (!command) {
        fprintf(stderr, "headracectl: no command \"%s\"\n", argv[optind]);
        usage(stderr);
        return CLI_USAGE;
    }
    if (help) {
        command_usage(stdout, command);
        return CLI_OK;
    }
    for (optind++; optind < argc; optind++) {
        if (cli.n_args == CLI_ARGS_MAX)
            break;
        cli.args[cli.n_args++] = argv[optind];
    }
    if (optind < argc || cli.n_args < command->min_args || cli.n_args > command->max_args ||
        (given & ~command->options)) {
        command_usage(stderr, command);
        return CLI_USAGE;
    }
    ret = command->fn(&cli);
    if (fflush(stdout) != 0 && ret == CLI_OK)
        ret = CLI_FAILED;
    return ret;
}
