/* Private to users*.c. */
#pragma once

#include "controlplane/auth/users.h"

#define HR_USERS_LINE_MAX 1024

struct hr_user {
    char name[HR_SCRAM_USER_MAX];
    struct hr_scram_verifier verifier;
};

/* A user's place on the ring of its mechanism. */
struct hr_users_point {
    uint64_t at; /* keyed hash of the name */
    uint32_t line;
};

struct hr_users {
    uint8_t secret[32];
    uint32_t n, cap;
    struct hr_user *table; /* sorted by name, then mechanism */
    /* By mechanism, sorted: whom an unknown name looks like, the next behind its own hash. So decoys are spread over
     * iterations and lengths of salts as users are, and another user changes the looks of few. */
    struct hr_users_point *ring[HR_DIGEST_KINDS];
    uint32_t n_ring[HR_DIGEST_KINDS];
};

/* The user's line with its newline. */
HR_MUST_CHECK int hr_users_format(const struct hr_user *user, char *ret_line, size_t cap);
