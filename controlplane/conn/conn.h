/* Control-owned connections: TCP connections that a worker holds and the control plane speaks on.
 *
 * This is the only way in which the control plane talks to brokers: it opens no kernel socket towards them,
 * so it needs no route of its own and sees the network exactly as the proxied traffic does. A connection is
 * a stream with callbacks; bytes travel in payload slots beside the rings (shared/ipc/messages.h).
 *
 * Ownership: hr_conn_open() gives the caller a connection. It stays valid until the caller calls
 * hr_conn_release(), which also resets it when it still lives; after the `closed` callback releasing is all
 * that is left to do. Releasing inside any callback of the connection is allowed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"

struct hr_conn;
struct hr_conns;
struct hr_link;
struct hr_loop;
struct hr_msg;

#define HR_CONN_MAX       256 /* connections at once, released ones that await an answer included */
#define HR_CONN_QUEUE_MAX (1024u * 1024) /* bytes queued for sending, per connection */

struct hr_conn_ops {
    void (*opened)(void *owner);
    /* data is valid until return. */
    void (*data)(void *owner, const uint8_t *data, uint32_t len);
    /* The peer closed its half; sending is still possible. */
    void (*eof)(void *owner);
    /* The end, called once: CLOSED, REFUSED, TIMEOUT, ... and a text. Not called for what the owner releases.
     */
    void (*closed)(void *owner, int err, const char *why);
};

/* The worker chosen is the next in turn. timeout_ms: until opened. AGAIN: no dataplane is attached; FULL: too
 * many. The callbacks never come from within this call. */
HR_MUST_CHECK int hr_conn_open(struct hr_conns *conns, const struct hr_addr *addr, uint16_t port,
                               uint32_t timeout_ms, const struct hr_conn_ops *ops, void *owner,
                               struct hr_conn **ret_conn);
/* Queues a copy. FULL when the queue has no room for all of it; CLOSED after shutdown or the end. */
HR_MUST_CHECK int hr_conn_send(struct hr_conn *conn, const void *data, uint32_t len);
/* FIN after what is queued. */
void hr_conn_shutdown(struct hr_conn *conn);
/* The owner is done with it; NULL is allowed. */
void hr_conn_release(struct hr_conn *conn);

/* The table of connections, for whoever runs the links. */
HR_MUST_CHECK int hr_conns_create(struct hr_loop *loop, struct hr_conns **ret_conns);
void hr_conns_destroy(struct hr_conns *conns);
/* A dataplane is attached: link(arg, worker) gives its links until hr_conns_detached(). */
void hr_conns_attached(struct hr_conns *conns, uint32_t n_workers,
                       struct hr_link *(*link)(void *arg, uint32_t worker), void *arg);
/* It is gone: every connection ends with CLOSED. Links are not touched any more. */
void hr_conns_detached(struct hr_conns *conns);
/* A CONN_* or SLOT_FREE event of that worker. Returns INVALID when it makes no sense (counted by the caller).
 */
HR_MUST_CHECK int hr_conns_event(struct hr_conns *conns, uint32_t worker, const struct hr_msg *msg);
/* After a batch of events of one worker: sends what room there is now for. */
void hr_conns_pump(struct hr_conns *conns, uint32_t worker);

struct hr_conns_info {
    uint32_t open, opening;
    uint64_t opened, failed, bytes_in, bytes_out;
};
void hr_conns_get_info(const struct hr_conns *conns, struct hr_conns_info *ret_info);
