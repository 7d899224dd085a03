/* Kafka requests over one control-owned connection, one at a time.
 *
 * Bodies are JSON as shared/kafka/json.h has it. A response is collected up to its frame size, which is
 * bounded, in a buffer that grows with what has arrived: a size field alone allocates nothing. Any violation
 * ends the connection. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"

struct hr_conns;
struct hr_kclient;
struct hr_login;
struct hr_loop;
struct hr_tls_store;

struct hr_kclient_ops {
    /* There is a TCP connection, on which a login comes next; called only when there is one to come. */
    void (*opened)(void *owner);
    /* Requests may be sent. */
    void (*connected)(void *owner);
    /* The answer to the request; body is borrowed until return. */
    void (*answered)(void *owner, int16_t api_key, int16_t version, const json_t *body);
    /* The end, once, for whatever reason; only hr_kclient_close() is left to do. */
    void (*failed)(void *owner, int err, const char *why);
};

/* Callbacks never come from within this call. Errors, tls and host as hr_stream_open() has them. login: run before
 * connected(), NULL: none; it is the client's from now on, also on failure, and has login_timeout_ms for the whole. A
 * refusal ends the client with REFUSED. */
HR_MUST_CHECK int hr_kclient_open(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *tls,
                                  const char *host, const struct hr_addr *addr, uint16_t port,
                                  uint32_t connect_timeout_ms, uint32_t max_frame_bytes, struct hr_login *login,
                                  uint32_t login_timeout_ms, const struct hr_kclient_ops *ops, void *owner,
                                  struct hr_kclient **ret_client);
/* How long the broker lets the login last, milliseconds from connected(); 0: for ever. */
uint64_t hr_kclient_lifetime_ms(const struct hr_kclient *client);
/* May be called within a callback of the client; NULL is allowed. */
void hr_kclient_close(struct hr_kclient *client);

/* body is borrowed. BUSY while another request waits for its answer; UNSUPPORTED when the schema table has no
 * such version. A broker that does not know the version of ApiVersions answers in version 0 (KIP-511):
 * `answered` then says version 0. */
HR_MUST_CHECK int hr_kclient_request(struct hr_kclient *client, int16_t api_key, int16_t version,
                                     const json_t *body, uint32_t timeout_ms);

/* One whole response frame without its size: header, then body. The parser behind `answered`, apart for tests
 * and fuzzing. INVALID, TRUNCATED, ... with why filled. *ret_version is 0 for the KIP-511 case. */
#define HR_KCLIENT_WHY_MAX 192
HR_MUST_CHECK int hr_kclient_parse(const uint8_t *frame, uint32_t len, int16_t api_key, int16_t version,
                                   int32_t correlation_id, json_t **ret_body, int16_t *ret_version,
                                   char why[HR_KCLIENT_WHY_MAX]);
