/* One connection of the load: requests that are due, sent and not yet answered, in one queue of their intended
 * times. Answers come in the order of the requests, so the oldest time belongs to the next answer. Nothing is
 * ever left out because the connection is slow: what cannot be sent yet waits with its time running. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bench/e2e/load/request.h"
#include "shared/base/error.h"

#define LD_IN_FLIGHT_MAX 512u /* sent and not answered: below what brokers and relays are willing to hold */

struct ld_conn {
    int fd;
    uint64_t *due_ns; /* ring of cap entries */
    uint32_t cap;     /* a power of two */
    uint32_t head, sent, tail; /* oldest without answer, next to be sent, end */
    uint32_t sent_bytes; /* of the request at `sent` */
    bool writable_wanted;
    bool dirty; /* something became due */
    /* The answer that is arriving: its first bytes, then what is left to pass over. */
    uint8_t prefix[4 + LD_PREFIX_MAX];
    uint32_t n_prefix, left;
    bool judged; /* the first bytes are complete */
};

/* What one read brought. */
struct ld_got {
    uint32_t answers;
    uint64_t bytes;
    int error; /* Kafka's code of an answer that was none; -1: malformed or out of order */
};

/* Called for each complete answer. */
typedef void ld_answered_fn(void *arg, struct ld_conn *conn, uint64_t due_ns, uint32_t answer_bytes);

/* SYSTEM with errno when it cannot connect. */
HR_MUST_CHECK int ld_conn_open(struct ld_conn *conn, uint32_t addr_be, uint16_t port);
void ld_conn_close(struct ld_conn *conn);

/* One request became due. NOMEM. */
HR_MUST_CHECK int ld_conn_due(struct ld_conn *conn, uint64_t due_ns);

static inline uint32_t ld_conn_unanswered(const struct ld_conn *conn)
{
    return conn->tail - conn->head;
}

/* Sends what is due as far as the socket takes it; *ret_blocked: it takes no more. SYSTEM: the peer is gone. */
HR_MUST_CHECK int ld_conn_send(struct ld_conn *conn, const struct ld_request *req, bool *ret_blocked);

/* Reads once. SYSTEM: the peer is gone. */
HR_MUST_CHECK int ld_conn_receive(struct ld_conn *conn, const struct ld_request *req, ld_answered_fn *answered, void *arg,
                                  struct ld_got *ret);
