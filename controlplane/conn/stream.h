/* A control-owned connection as those see it who speak Kafka on it: plaintext, or TLS whose handshake is done before
 * `opened` is called. The ownership rules and callbacks are those of controlplane/conn/conn.h. */
#pragma once

#include <stdint.h>

#include "controlplane/conn/conn.h"

struct hr_stream;
struct hr_tls_store;

/* tls: NULL for plaintext; else the connection is TLS under the store's rules for brokers, and host, by which the
 * broker is known, is what its certificate must be for. timeout_ms: until opened, the handshake apart: that has as
 * much again. AGAIN: no dataplane is attached, or TLS has no usable files; FULL: too many. The callbacks never come
 * from within this call. `closed` says why a handshake failed. */
HR_MUST_CHECK int hr_stream_open(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *tls,
                                 const char *host, const struct hr_addr *addr, uint16_t port, uint32_t timeout_ms,
                                 const struct hr_conn_ops *ops, void *owner, struct hr_stream **ret_stream);
HR_MUST_CHECK int hr_stream_send(struct hr_stream *stream, const void *data, uint32_t len);
/* The owner is done with it; allowed within its callbacks, and with NULL. */
void hr_stream_release(struct hr_stream *stream);
