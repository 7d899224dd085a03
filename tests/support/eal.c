#include "tests/support/eal.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

void hr_test_eal_init(void)
{
    static bool done;
    static char *args[] = {"test", "--no-huge", "--no-pci", "-m", "192", "--no-shconf",
                           "--no-telemetry", "--log-level=error", "-l", "0"};
    if (done)
        return;
    if (rte_eal_init(sizeof(args) / sizeof(args[0]), args) < 0) {
        fprintf(stderr, "the EAL does not start: %s\n", rte_strerror(rte_errno));
        exit(2);
    }
    done = true;
}
