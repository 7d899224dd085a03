/* The control socket: a unix stream socket on which a client sends one JSON object a line and gets one back.
 *
 *   {"cmd": "status"}                        -> {"ok": true, ...}
 *   {"cmd": "drain", "node": 3}              -> {"ok": false, "code": "NOT_FOUND", "error": "no broker 3"}
 *
 * Requests of one client are answered in order, one at a time. Everything is bounded: clients, the length of
 * a line, the bytes that wait for a slow reader. Who may connect is decided by the socket's permissions
 * (0660). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

struct hr_admin;
struct hr_admin_request; /* one that waits for its answer */
struct hr_loop;

#define HR_ADMIN_CLIENTS_MAX 64
#define HR_ADMIN_LINE_MAX    (16 * 1024)
#define HR_ADMIN_ANSWER_MAX  (64u * 1024 * 1024)

struct hr_admin_ops {
    /* Answers now or later with hr_admin_reply() or hr_admin_fail(), exactly once. args is the whole object,
     * borrowed until return. */
    void (*request)(void *owner, struct hr_admin_request *request, const char *cmd, const json_t *args);
};

/* Replaces a socket file that nobody listens on. EXISTS: somebody does. SYSTEM: see errno. */
HR_MUST_CHECK int hr_admin_create(struct hr_loop *loop, const char *socket_path,
                                  const struct hr_admin_ops *ops, void *owner, struct hr_admin **ret_admin);
/* Removes the socket file. */
void hr_admin_destroy(struct hr_admin *admin);

/* Takes result (an object, NULL for none), adds "ok": true. */
void hr_admin_reply(struct hr_admin_request *request, json_t *result);
void hr_admin_fail(struct hr_admin_request *request, int err, const char *fmt, ...) HR_PRINTF(3, 4);

/* One line without its newline, as a client sent it: an object with a string "cmd". The caller owns
 * *ret_args. INVALID with why filled. Apart for tests and fuzzing. */
HR_MUST_CHECK int hr_admin_parse(const char *line, uint32_t len, json_t **ret_args, const char **ret_cmd,
                                 char why[160]);
