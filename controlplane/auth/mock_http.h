/* A mock of whatever is asked over HTTP, for tests: libmicrohttpd in a thread of its own on a loopback port. Requests
 * are answered by a function of the test, which runs in that thread. */
#pragma once

#include <stdint.h>

struct mock_request {
    const char *method, *path, *query; /* query: as it was sent, "" if none */
    const char *body;
    void *connection; /* for mock_header() */
};

struct mock_reply {
    unsigned status;
    char body[8192];
    const char *header, *value; /* one header, NULL: none */
};

typedef void mock_answer_fn(const struct mock_request *request, struct mock_reply *reply);

/* Returns the port. */
uint16_t mock_http_start(mock_answer_fn *answer);
void mock_http_stop(void);
/* The request's header, or NULL. */
const char *mock_header(const struct mock_request *request, const char *name);
