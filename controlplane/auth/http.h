/* HTTP requests out of the control plane's loop: libcurl's multi interface, whose sockets and timer are watches and
 * timers of ours. For key sets (jwks.h) and for AWS credentials (credentials.h).
 *
 * Nothing blocks: names are resolved by libcurl's own thread. Sockets are the kernel's, on the management network. No
 * redirect is followed, only http and https are spoken, and answers are bounded. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_HTTP_WHY_MAX     256
#define HR_HTTP_HEADERS_MAX 8

struct hr_http;
struct hr_http_call;
struct hr_loop;

struct hr_http_request {
    const char *method; /* NULL: GET, or POST with a body */
    const char *url;
    const char *headers[HR_HTTP_HEADERS_MAX]; /* "Name: value" */
    const char *body;                         /* NULL: none; copied, and wiped after use */
    const char *ca_file;                      /* PEM; NULL: the system's */
    uint32_t timeout_ms;
    uint32_t max_bytes; /* of the answer's body */
    bool direct;        /* not through a proxy that the environment names: link-local services */
};

struct hr_http_reply {
    int err;          /* 0: there is a status, whichever; TIMEOUT, REFUSED, TOO_LARGE, CLOSED */
    const char *why;  /* when err is set */
    uint32_t status;  /* of HTTP */
    int64_t date_s;   /* the server's clock (Date header), seconds since 1970; 0: not told */
    int64_t max_age_s; /* Cache-Control's max-age; -1: not told */
    const char *body; /* NUL behind its end, wiped after the callback */
    size_t len;
};

typedef void hr_http_done_fn(void *arg, const struct hr_http_reply *reply);

HR_MUST_CHECK int hr_http_create(struct hr_loop *loop, struct hr_http **ret_http);
/* Calls under way end without a callback. */
void hr_http_destroy(struct hr_http *http);
/* done is called once, never from within this call; the call is over when it returns. request is not kept. */
HR_MUST_CHECK int hr_http_send(struct hr_http *http, const struct hr_http_request *request, hr_http_done_fn *done,
                               void *arg, struct hr_http_call **ret_call);
/* No callback follows; not within the call's own callback. NULL is allowed. */
void hr_http_cancel(struct hr_http_call *call);
