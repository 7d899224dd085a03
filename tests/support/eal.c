#include "tests/support/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

void hr_test_eal_init(void)
{
    hr_test_eal_init_mb(192);
}

void hr_test_eal_init_mb(unsigned mb)
{
    static bool done;
    static char memory[16];
    static char *args[] = {"test", "--no-huge", "--no-pci", "-m", memory, "--no-shconf",
                           "--no-telemetry", "--log-level=error", "-l", "0"};
    if (done)
        return;
    snprintf(memory, sizeof(memory), "%u", mb);
    if (rte_eal_init(sizeof(args) / sizeof(args[0]), args) < 0) {
        fprintf(stderr, "the EAL does not start: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    done = true;
}
