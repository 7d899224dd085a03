/* How many logins one source may try: a bucket per client address (per /64 of IPv6), refilled with time.
 *
 * The table is fixed. Two sources that share a place share its bucket, which can only make the bound tighter; the
 * hash is keyed, so that nobody can choose whom to share with. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"

#define HR_ATTEMPTS_PLACES 4096

struct hr_attempts {
    uint8_t key[16];     /* random */
    uint32_t burst;      /* a bucket's size */
    uint64_t refill_us;  /* time for one more attempt */
    struct {
        uint64_t full_us; /* when the bucket is full again; that far in the future it is empty */
    } places[HR_ATTEMPTS_PLACES];
};

/* Whether the source has one left. */
bool hr_attempts_left(const struct hr_attempts *attempts, const struct hr_addr *source, uint64_t now_us);
/* Takes one attempt of the source at the time now_us; false when it has none left. */
bool hr_attempts_take(struct hr_attempts *attempts, const struct hr_addr *source, uint64_t now_us);
