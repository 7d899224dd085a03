/* Users whom Headrace itself authenticates: a file of salted SCRAM verifiers, no passwords.
 *
 * One line per user and mechanism, and one that holds the secret by which salts of unknown users are derived (so that
 * they stay the same over restarts, as the salts of known users do):
 *
 *   ! <base64 of 32 bytes>
 *   alice SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>
 *   alice SCRAM-SHA-512$4096:<salt>$<StoredKey>:<ServerKey>
 *
 * Empty lines and lines that begin with "#" are skipped. A name is 1 to 255 bytes, without white space and control
 * characters, and does not begin with "#" or "!". Whoever reads the file can try passwords against it, and can pass for
 * Headrace towards its clients: it must not be readable by anybody but its owner.
 *
 * A table is never changed while the daemon uses it: a new file gives a new table. The functions that change one serve
 * headracectl. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/auth/scram.h"
#include "shared/base/error.h"

#define HR_USERS_MAX      100000 /* lines */
#define HR_USERS_FILE_MAX (64u * 1024 * 1024)
#define HR_USERS_WHY_MAX  512

struct hr_loop;
struct hr_users;

/* An empty table with a new secret. */
HR_MUST_CHECK int hr_users_create(struct hr_users **ret_users);
/* file: its name for errors. CONFIG with why = "FILE:LINE: what is wrong". */
HR_MUST_CHECK int hr_users_parse(const char *file, const char *text, size_t len, struct hr_users **ret_users,
                                 char why[HR_USERS_WHY_MAX]);
/* NULL is allowed; everything is wiped. */
void hr_users_free(struct hr_users *users);

/* hr_scram_lookup_fn; arg is the table. */
bool hr_users_lookup(void *users, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret_verifier);
/* Lines in the order of names, then mechanisms. */
uint32_t hr_users_count(const struct hr_users *users);
const char *hr_users_at(const struct hr_users *users, uint32_t i, enum hr_digest *ret_hash, uint32_t *ret_iterations);

bool hr_users_name_ok(const char *name);
/* Both mechanisms, each with a salt of its own; replaces what the user had. FULL. */
HR_MUST_CHECK int hr_users_set(struct hr_users *users, const char *name, const char *password, size_t password_len,
                               uint32_t iterations);
/* NOT_FOUND, NOMEM. */
HR_MUST_CHECK int hr_users_remove(struct hr_users *users, const char *name);

/* -- the file (users_file.c) ---------------------------------------------------------------------------- */

/* NOT_FOUND: there is no such file; SYSTEM, CONFIG: why says more. A file that others may read is refused. */
HR_MUST_CHECK int hr_users_load(const char *path, struct hr_users **ret_users, char why[HR_USERS_WHY_MAX]);
/* Replaces the file at once, of mode 0600 and with the owner of the one before; it is on disk when this returns. */
HR_MUST_CHECK int hr_users_save(const char *path, const struct hr_users *users, char why[HR_USERS_WHY_MAX]);
/* Keeps others from changing the file between load and save; waits for them. Returns a descriptor to be closed, or
 * SYSTEM. */
HR_MUST_CHECK int hr_users_lock(const char *path, char why[HR_USERS_WHY_MAX]);

/* The file, watched: read again within a second of a change. A file that is wrong leaves the old table in force. */
struct hr_user_store;

/* changed may be NULL. Succeeds also when the file is wrong or missing: then nobody is known, and
 * hr_user_store_error() says why. */
HR_MUST_CHECK int hr_user_store_create(struct hr_loop *loop, const char *path, void (*changed)(void *owner),
                                       void *owner, struct hr_user_store **ret_store);
void hr_user_store_destroy(struct hr_user_store *store);
/* Looks at the file now. */
void hr_user_store_look(struct hr_user_store *store);
/* Never NULL; borrowed until the loop's next turn. */
struct hr_users *hr_user_store_users(const struct hr_user_store *store);
/* Why the file's newest content is not in force; "" if it is. */
const char *hr_user_store_error(const struct hr_user_store *store);
