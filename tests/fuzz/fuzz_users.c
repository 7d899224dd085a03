/* A users' file: what parses is read through. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/users.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users;

    if (hr_users_parse("f", (const char *)data, size, &users, why) != 0) {
        if (!why[0])
            abort();
        return 0;
    }
    for (uint32_t i = 0; i < hr_users_count(users); i++) {
        struct hr_scram_verifier v;
        enum hr_digest hash;
        uint32_t iterations;
        const char *name = hr_users_at(users, i, &hash, &iterations);

        if (!hr_users_name_ok(name) || !hr_users_lookup(users, name, hash, &v) || v.iterations != iterations)
            abort();
    }
    hr_users_free(users);
    return 0;
}
