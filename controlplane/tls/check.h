/* What the configuration's reader cannot see, because it opens no file: certificates, keys, CAs, and whether they fit
 * what clients are told. For `headracectl config check`, and before a reload. */
#pragma once

#include <stdint.h>

#include "shared/config/config.h"

struct hr_tls_why;

/* "headrace.cfg:41: /etc/headrace/tls/kafka.key: is not the key of ...". FULL is not told: errors holds what fits. */
void hr_tls_error(const struct hr_config *config, const struct hr_tls_why *why, struct hr_config_errors *errors);

/* Opens every file that is named and in use; adds to errors. now_s: seconds since 1970, dates are checked; 0: they are
 * not, since a certificate that has expired is no reason to refuse a reload that changes something else. Returns how
 * many mistakes it found. */
uint32_t hr_tls_check(const struct hr_config *config, int64_t now_s, struct hr_config_errors *errors);
