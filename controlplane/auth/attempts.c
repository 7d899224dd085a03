#include "controlplane/auth/attempts.h"

#include "shared/base/siphash.h"

bool hr_attempts_take(struct hr_attempts *attempts, const struct hr_addr *source, uint64_t now_us)
{
    struct hr_addr owner = hr_addr_owner(source);
    uint64_t *full, limit = attempts->burst * attempts->refill_us;

    full = &attempts->places[hr_siphash(attempts->key, &owner, sizeof(owner)) % HR_ATTEMPTS_PLACES].full_us;
    if (*full < now_us)
        *full = now_us;
    if (*full + attempts->refill_us > now_us + limit)
        return false;
    *full += attempts->refill_us;
    return true;
}
