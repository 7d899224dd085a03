/* A password or token that the configuration names and does not hold: the content of a file, or what a command prints.
 *
 * A file is read anew whenever it is asked for and has changed. A command runs in the background, without a shell, with
 * 10 s to end: at start, each five minutes, and again after hr_secret_doubt() (the broker refused it), at most each ten
 * seconds. It has a process group of its own; what is left of that when the command ends, or is ended, is killed. One
 * line end at its end is not part of the secret. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/config/config.h"

#define HR_SECRET_MAX     16384
#define HR_SECRET_WHY_MAX 400

struct hr_loop;
struct hr_secret;

/* changed: a command's new output is there, or its failure; may be NULL. */
HR_MUST_CHECK int hr_secret_create(struct hr_loop *loop, const struct hr_config_secret *config,
                                   void (*changed)(void *owner), void *owner, struct hr_secret **ret_secret);
/* What the configuration says, without using it: a file is read, a command is looked for and not run. INVALID: why says
 * what is wrong. */
HR_MUST_CHECK int hr_secret_check(const struct hr_config_secret *config, char why[HR_SECRET_WHY_MAX]);
/* NULL is allowed; everything is wiped, a running command is ended. */
void hr_secret_destroy(struct hr_secret *secret);

/* Borrowed until the loop's next turn or the next call. AGAIN: the command has not ended yet; SYSTEM, INVALID: why says
 * what is wrong. */
HR_MUST_CHECK int hr_secret_get(struct hr_secret *secret, const char **ret_text, size_t *ret_len,
                                char why[HR_SECRET_WHY_MAX]);
/* Counts what was taken: another number, another secret. */
uint64_t hr_secret_generation(const struct hr_secret *secret);
/* It was refused: a newer one may be had. */
void hr_secret_doubt(struct hr_secret *secret);
