/* The address family that a sans-IO test runs with: IPv4, or IPv6 where the environment says HR_TEST_FAMILY=6. The
 * same tests are run with both; the last four bytes of an address are the same in both (hr_addr_v4_be()). */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "shared/base/addr.h"

static inline bool hr_test_ipv6(void)
{
    const char *family = getenv("HR_TEST_FAMILY");
    return family != NULL && strcmp(family, "6") == 0;
}

/* a.b.c.d in host order, or fd00::a.b.c.d. */
static inline struct hr_addr hr_test_addr(uint32_t ip)
{
    struct hr_addr a = hr_addr_from_v4(htonl(ip));
    if (hr_test_ipv6()) {
        memset(a.b, 0, 12);
        a.b[0] = 0xfd;
    }
    return a;
}
