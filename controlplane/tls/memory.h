/* What OpenSSL frees is overwritten. It wipes keys itself where it knows of them, but not the copies in a connection's own
 * structure: TLS 1.3's traffic secrets would outlive their hand-over to the worker there. */
#pragma once

#include "shared/base/error.h"

/* Before anything else of OpenSSL is used; BUSY: too late. */
HR_MUST_CHECK int hr_tls_memory_init(void);
