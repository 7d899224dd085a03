/* Telling the service manager how we are (sd_notify(3), Type=notify). Without NOTIFY_SOCKET in the
 * environment every call does nothing, so the mains need no condition. */
#pragma once

#include "shared/base/error.h"

/* Start-up is complete; status is one line for `systemctl status`. */
void hr_notify_ready(const char *status);
/* A new status line. */
void hr_notify_status(const char *fmt, ...) HR_PRINTF(1, 2);
/* A reload has begun; hr_notify_ready() says that it is over. */
void hr_notify_reloading(void);
/* Shutdown or drain has begun. */
void hr_notify_stopping(const char *status);
