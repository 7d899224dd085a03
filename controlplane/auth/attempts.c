#include "controlplane/auth/attempts.h"

#include "shared/base/siphash.h"

static uint32_t place_of(const struct hr_attempts *attempts, const struct hr_addr *source)
{
    struct hr_addr owner = hr_addr_owner(source);

    return (uint32_t)(hr_siphash(attempts->key, &owner, sizeof(owner)) % HR_ATTEMPTS_PLACES);
}

bool hr_attempts_left(const struct hr_attempts *attempts, const struct hr_addr *source, uint64_t now_us)
{
    uint64_t full = attempts->places[place_of(attempts, source)].full_us;

    return (full < now_us ? now_us : full) + attempts->refill_us <= now_us + attempts->burst * attempts->refill_us;
}

bool hr_attempts_take(struct hr_attempts *attempts, const struct hr_addr *source, uint64_t now_us)
{
    uint64_t *full = &attempts->places[place_of(attempts, source)].full_us;

    if (!hr_attempts_left(attempts, source, now_us))
        return false;
    *full = (*full < now_us ? now_us : *full) + attempts->refill_us;
    return true;
}
