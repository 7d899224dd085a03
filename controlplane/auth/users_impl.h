/* Private to users*.c. */
#pragma once

#include "controlplane/auth/users.h"

#define HR_USERS_LINE_MAX 1024

struct hr_user {
    char name[HR_SCRAM_USER_MAX];
    struct hr_scram_verifier verifier;
};

struct hr_users {
    uint8_t secret[32];
    uint32_t n, cap;
    struct hr_user *table; /* sorted by name, then mechanism */
};

/* The user's line with its newline. */
HR_MUST_CHECK int hr_users_format(const struct hr_user *user, char *ret_line, size_t cap);
