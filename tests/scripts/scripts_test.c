/* Every packet script of tests/scripts against our stack, over IPv4 and over IPv6 addresses.
 *
 *   test-tcp-scripts FOLDER           all
 *   test-tcp-scripts FILE.pkt [-v]    one; -v prints the conversation */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/scripts/backends.h"

#define SCRIPTS_MAX 400

static char paths[SCRIPTS_MAX][256];
static char names[2 * SCRIPTS_MAX][80];
static bool verbose;

struct what {
    const char *path;
    bool ipv6;
};

static void play(void **state)
{
    const struct what *w = *state;
    static struct ps_script script;
    static char report[16384];
    const char *error;

    int line = ps_load(w->path, &script, &error);
    if (line != 0) {
        print_error("%s:%d: %s\n", w->path, line, error);
        fail();
    }
    bool ok = ps_play(&script, ps_stack_open(&script, w->ipv6), PS_US, report, sizeof(report));
    const char *left = ps_stack_close();
    ps_unload(&script);
    if (!ok || verbose)
        print_error("%s", report);
    if (left != NULL)
        print_error("%s: %s\n", w->path, left);
    if (!ok || left != NULL)
        fail();
}

int main(int argc, char **argv)
{
    static struct CMUnitTest tests[2 * SCRIPTS_MAX];
    static struct what whats[2 * SCRIPTS_MAX];
    unsigned n = 0;

    if (argc < 2)
        return 2;
    verbose = argc > 2 && strcmp(argv[2], "-v") == 0;
    if (strlen(argv[1]) > 4 && strcmp(argv[1] + strlen(argv[1]) - 4, ".pkt") == 0)
        snprintf(paths[n++], sizeof(paths[0]), "%s", argv[1]);
    else
        n = ps_find(argv[1], paths, SCRIPTS_MAX);
    if (n == 0) {
        fprintf(stderr, "no scripts in %s\n", argv[1]);
        return 1;
    }
    for (unsigned i = 0; i < 2 * n; i++) {
        const char *base = strrchr(paths[i / 2], '/') ? strrchr(paths[i / 2], '/') + 1 : paths[i / 2];
        whats[i] = (struct what){paths[i / 2], i % 2};
        snprintf(names[i], sizeof(names[0]), "%.*s%s", (int)strlen(base) - 4, base, i % 2 ? "/ipv6" : "");
        tests[i] = (struct CMUnitTest){.name = names[i], .test_func = play, .initial_state = &whats[i]};
    }
    return _cmocka_run_group_tests("scripts", tests, 2 * n, NULL, NULL);
}
