/* Which fault is switched on; only in builds with mutants. */
#include "dataplane/tcp/mutant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum hr_mutant hr_mutant_selected;

static void select_mutant(void) __attribute__((constructor));
static void select_mutant(void)
{
    static const char *const names[] = {
#define X(name, program, text) [HR_MUTANT_##name] = #name,
        HR_MUTANTS(X)
#undef X
    };
    const char *want = getenv("HR_MUTANT");

    if (want == NULL)
        return;
    for (unsigned i = 1; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], want) == 0) {
            hr_mutant_selected = (enum hr_mutant)i;
            return;
        }
    }
    fprintf(stderr, "HR_MUTANT=%s: no such mutant\n", want);
    exit(3);
}
