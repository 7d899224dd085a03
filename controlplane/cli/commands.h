/* The commands of headracectl, and what is said of them. A new one: a function in cli.h and a line in commands.c. */
#pragma once

#include "controlplane/cli/cli.h"

/* Options that only some commands have. */
enum option_bit {
    OPT_WORKER = 1 << 0,
    OPT_ALL = 1 << 1,
    OPT_FRAMES = 1 << 2, /* --once, -n, --interval */
    OPT_LIMIT = 1 << 3,
    OPT_USERS = 1 << 4, /* --file, --iterations, --kill */
    OPT_WIDE = 1 << 5,
};

struct command {
    const char *name;
    const char *args; /* as usage shows them */
    int min_args, max_args;
    unsigned options; /* enum option_bit */
    cli_command_fn *fn;
    const char *summary; /* NULL: not listed */
    const char *help;
};

/* NULL: there is none of this name. */
const struct command *cli_find_command(const char *name);
void cli_overview(FILE *to);
void cli_command_help(FILE *to, const struct command *command);

/* Each says what is wrong and returns CLI_USAGE: no command has this name; options (bits) that the command does not have. */
int cli_no_command(const char *name);
int cli_no_option(const struct cli *cli, unsigned options);
