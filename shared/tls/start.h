/* What lies in the slot of a SESSION_START command: which legs speak TLS, with which keys, and who has logged in. */
#pragma once

#include <stdint.h>

#include "shared/ipc/login.h"
#include "shared/tls/secrets.h"

struct hr_session_start {
    uint8_t client_tls, broker_tls; /* 0 or 1 */
    uint8_t reserved[6];            /* 0 */
    struct hr_tls_secrets client, broker; /* all 0 for a plaintext leg */
    struct hr_session_login login;
};
