/* Questions to workers about sessions: list them, end one, and whether a worker answers at all.
 *
 * A question goes to the workers as messages and comes back as messages; here they are put together, with a
 * deadline. A handful at once; more are refused with BUSY. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

struct hr_link;
struct hr_loop;
struct hr_msg;
struct hr_session_info;
struct hr_sessions;

#define HR_SESSIONS_LIST_MAX 20000 /* sessions in one answer */

HR_MUST_CHECK int hr_sessions_create(struct hr_loop *loop, struct hr_sessions **ret_sessions);
void hr_sessions_destroy(struct hr_sessions *sessions);
void hr_sessions_attached(struct hr_sessions *sessions, uint32_t n_workers,
                          struct hr_link *(*link)(void *arg, uint32_t worker), void *arg);
/* Open questions end with CLOSED. */
void hr_sessions_detached(struct hr_sessions *sessions);
/* A SESSION_* or PONG event. INVALID when it makes no sense. */
HR_MUST_CHECK int hr_sessions_event(struct hr_sessions *sessions, uint32_t worker, const struct hr_msg *msg);

/* At most limit sessions over all workers. done: infos are borrowed until return; err is TIMEOUT when a
 * worker did not answer in time (infos hold what came), CLOSED when the dataplane went away; complete: there
 * are no more. The callbacks never come from within these calls. CLOSED: not attached. */
HR_MUST_CHECK int hr_sessions_list(struct hr_sessions *sessions, uint32_t limit,
                                   void (*done)(void *arg, int err, const struct hr_session_info *infos,
                                                uint32_t n, bool complete),
                                   void *arg);
/* The same of those alone whose client is this principal. */
HR_MUST_CHECK int hr_sessions_list_of(struct hr_sessions *sessions, const char *principal, uint32_t limit,
                                      void (*done)(void *arg, int err, const struct hr_session_info *infos,
                                                   uint32_t n, bool complete),
                                      void *arg);
/* err: 0 when it was ended, NOT_FOUND, TIMEOUT, CLOSED. INVALID: no worker has such ids. */
HR_MUST_CHECK int hr_sessions_kill(struct hr_sessions *sessions, uint64_t id,
                                   void (*done)(void *arg, int err), void *arg);
/* The same without waiting for the answer. FULL when the ring is. */
HR_MUST_CHECK int hr_sessions_end(struct hr_sessions *sessions, uint64_t id);
/* rtt_us[w] is UINT32_MAX for a worker that did not answer within a second. */
HR_MUST_CHECK int hr_sessions_ping(struct hr_sessions *sessions,
                                   void (*done)(void *arg, const uint32_t *rtt_us, uint32_t n_workers),
                                   void *arg);
