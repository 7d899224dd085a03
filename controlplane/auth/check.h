/* What the configuration's reader cannot see, because it opens no file: users, secrets, key sets. For `headracectl config
 * check`; a running control plane says the same of each file when it reads it. */
#pragma once

#include <stdint.h>

#include "shared/config/config.h"

/* Opens every file that is named and in use; runs no command and asks no server. Adds to errors, each with the line that
 * names the file; returns how many mistakes it found. */
uint32_t hr_auth_check(const struct hr_config *config, struct hr_config_errors *errors);
