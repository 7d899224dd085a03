#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/commands.h"

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

    argv[0] = (char[]){"headracectl"}; /* how getopt begins its messages */
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
            fputs("headracectl: \"headracectl --help\" lists commands and options.\n", stderr);
            return CLI_USAGE;
        }
    }
    if (optind < argc && strcmp(argv[optind], "help") == 0) {
        help = true;
        optind++;
    }
    if (optind == argc) {
        cli_overview(help ? stdout : stderr);
        return help ? CLI_OK : CLI_USAGE;
    }
    command = cli_find_command(argv[optind]);
    if (!command)
        return cli_no_command(argv[optind]);
    if (help) {
        cli_command_help(stdout, command);
        return CLI_OK;
    }
    cli.command = command;
    for (optind++; optind < argc && cli.n_args < CLI_ARGS_MAX; optind++)
        cli.args[cli.n_args++] = argv[optind];
    if (optind < argc || cli.n_args < command->min_args || cli.n_args > command->max_args)
        return cli_usage(&cli);
    if (given & ~command->options)
        return cli_no_option(&cli, given & ~command->options);
    ret = command->fn(&cli);
    if (fflush(stdout) != 0 && ret == CLI_OK)
        ret = CLI_FAILED;
    return ret;
}
