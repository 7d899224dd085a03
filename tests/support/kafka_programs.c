#include "tests/support/kafka_programs.h"

#include <stdlib.h>

#define PLACES 4096 /* a power of two, well above the table's messages times versions */

static struct {
    const struct hr_kmessage *message;
    int16_t version;
    struct hr_kprogram *program;
} made[PLACES];

const struct hr_kprogram *every_role(const struct hr_kmessage *message, int16_t version)
{
    uint32_t i = (uint32_t)(((uintptr_t)message >> 3) * 31 + (uint32_t)version) % PLACES;

    for (uint32_t n = 0; n < PLACES; n++, i = (i + 1) % PLACES) {
        if (made[i].program && made[i].message == message && made[i].version == version)
            return made[i].program;
        if (made[i].program)
            continue;
        struct hr_kprogram_spec spec = {
            .body = message, .version = version, .roles = HR_KPROGRAM_EVERY_ROLE, .tags = true};
        if (hr_kprogram_create(&spec, &made[i].program) != 0)
            abort();
        made[i].message = message;
        made[i].version = version;
        return made[i].program;
    }
    abort();
}
