/* HTTP on the management interface: /metrics for Prometheus, /live and /ready for whoever routes traffic.
 *
 * libmicrohttpd runs inside our loop, without a thread. /live answers as long as the loop turns; /ready says
 * 503 and why when no traffic should be sent here (hr_daemon_ready). */
#pragma once

#include "shared/base/error.h"

struct hr_daemon;
struct hr_metrics;
struct hr_text;

/* Nothing listens (and *ret_metrics is NULL) when control.metrics_address is empty. Logs what failed. */
HR_MUST_CHECK int hr_metrics_create(struct hr_daemon *daemon, struct hr_metrics **ret_metrics);
void hr_metrics_destroy(struct hr_metrics *metrics);

/* The text of /metrics. */
void hr_metrics_write(struct hr_daemon *daemon, struct hr_text *text);
