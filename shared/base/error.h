/* One error enum for the whole of Headrace.
 *
 * A fallible function returns 0 or a negative code of this list, is marked HR_MUST_CHECK, and writes its
 * results through ret_* parameters only on success. What a peer sends never ends in an assertion: it ends
 * in a drop reason (shared/base/counters.h). */
#pragma once

#define HR_MUST_CHECK __attribute__((warn_unused_result))
#define HR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* X(name, text) */
#define HR_ERRORS(X)                                                                                         \
    X(INVALID, "invalid argument or malformed input")                                                        \
    X(NOMEM, "out of memory or pool empty")                                                                  \
    X(FULL, "queue or table is full")                                                                        \
    X(EMPTY, "nothing there")                                                                                \
    X(AGAIN, "not possible now, try again later")                                                            \
    X(NOT_FOUND, "no such entry")                                                                            \
    X(EXISTS, "entry exists already")                                                                        \
    X(TRUNCATED, "input ends too early")                                                                     \
    X(TOO_LARGE, "larger than the limit")                                                                    \
    X(UNSUPPORTED, "not supported")                                                                          \
    X(VERSION, "version mismatch")                                                                           \
    X(CLOSED, "peer or connection closed")                                                                   \
    X(TIMEOUT, "timed out")                                                                                  \
    X(REFUSED, "refused")                                                                                    \
    X(SYSTEM, "system call failed, see errno")                                                               \
    X(CONFIG, "configuration is wrong")                                                                      \
    X(BUSY, "busy")

enum hr_error_index {
    HR_EI_NONE = 0,
#define X(name, text) HR_EI_##name,
    HR_ERRORS(X)
#undef X
    HR_EI_MAX
};

/* The codes as functions return them: HR_E_NOMEM == -HR_EI_NOMEM. */
enum hr_error {
#define X(name, text) HR_E_##name = -HR_EI_##name,
    HR_ERRORS(X)
#undef X
};

/* The text of a code; never NULL. */
const char *hr_strerror(int err);

/* The name of a code without its prefix ("NOMEM"); never NULL. */
const char *hr_errname(int err);
