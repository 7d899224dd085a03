/* What workers report, as log lines.
 *
 * A worker sends numbers; here they become text by the formats of HR_LOG_EVENTS. Each event and reason has a
 * budget of lines, so that a storm of bad clients is a few lines with a count and not a full disk. */
#pragma once

#include <stdint.h>

struct hr_logevents;
struct hr_loop;
struct hr_msg;

#define HR_LOGEVENTS_BURST      10 /* lines of one event and reason at once */
#define HR_LOGEVENTS_PER_SECOND 1  /* and further ones */

struct hr_logevents *hr_logevents_create(struct hr_loop *loop);
void hr_logevents_destroy(struct hr_logevents *events);
/* An HR_EV_LOG message; logs it, or counts it for later. */
void hr_logevents_event(struct hr_logevents *events, uint32_t worker, const struct hr_msg *msg);

/* The text of one event, always terminated. Unknown events and reasons are named by their numbers. */
void hr_logevents_format(const struct hr_msg *msg, char *text, uint32_t cap);
