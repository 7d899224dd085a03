/* The table of connections, private to this folder.
 *
 * HR_CONN_MAX entries. An event names a connection by the worker's id, whose low half is a place in the worker's table, or
 * by our request, whose low half is a place in ours: either way the entry is found at once.
 *
 * A released connection whose opening is not answered yet stays in the table as a zombie, because only the answer brings
 * the id by which the worker can be told to abort it. */
#pragma once

#include "controlplane/conn/conn.h"
#include "controlplane/loop/loop.h"
#include "shared/base/wipebuf.h"
#include "shared/ipc/link.h"
#include "shared/ipc/messages.h"

/* Request ids have the top bit, so they are not mistaken for the workers' connection ids. */
#define REQUEST_BIT (1ULL << 63)
/* Places in a worker's table that are looked up without a search: HR_CONTROL_MAX_CONNS of dataplane/control. */
#define PLACES 1024

/* X(name): the life of a connection, in order */
#define CONN_STATES(X)                                                                                       \
    X(FREE)                                                                                                  \
    X(QUEUED)  /* CONN_OPEN did not fit into the ring yet */                                                 \
    X(OPENING) /* CONN_OPEN sent; id is our request */                                                       \
    X(OPEN)    /* id is the worker's connection */                                                           \
    X(ENDED)   /* closed was called; waits for the owner to release it */

enum conn_state {
#define X(name) CONN_##name,
    CONN_STATES(X)
#undef X
};

struct hr_conn {
    struct hr_conns *conns;
    const struct hr_conn_ops *ops;
    void *owner;
    enum conn_state state;
    uint32_t worker;
    uint64_t id;
    struct hr_addr addr;
    uint16_t port;
    uint32_t timeout_ms;
    uint64_t deadline_us; /* QUEUED, OPENING */
    bool released;        /* the owner is gone; CONN_ABORT is due if the worker has it */
    bool in_callback;
    bool shutdown_due, shutdown_sent;
    bool hold;
    bool given;           /* it is becoming a session, or part of one: nothing is told to the worker any more */
    struct hr_wipebuf queue; /* may hold a login */
    uint32_t head;           /* so many of its bytes have gone */
};

struct hr_conns {
    struct hr_loop *loop;
    struct hr_timer retry;    /* something could not be sent */
    struct hr_timer deadline; /* earliest opening deadline */
    uint32_t n_workers;       /* 0 = detached */
    struct hr_link *(*link)(void *arg, uint32_t worker);
    void *link_arg;
    uint32_t next_worker;
    uint64_t next_request;
    struct hr_conns_info info;
    bool (*accept)(void *arg, struct hr_conn *conn, const struct hr_conn_accepted *accepted,
                   const struct hr_conn_ops **ret_ops, void **ret_owner);
    void *accept_arg;
    uint16_t place[HR_MAX_WORKERS][PLACES]; /* index in the table plus one, of what is OPEN there; 0: none */
    uint32_t top;         /* no entry at or above it is used */
    uint32_t free_hint;   /* none below it is free */
    struct hr_conn table[HR_CONN_MAX];
};

/* table.c. NULL: all entries are taken. A taken one is the caller's to fill. */
struct hr_conn *hr_conn_entry_take(struct hr_conns *conns);
void hr_conn_entry_free(struct hr_conn *conn);
/* Of an event, OPENING or OPEN. */
struct hr_conn *hr_conn_entry_find(struct hr_conns *conns, uint32_t worker, uint64_t id);
/* Notes where the worker's id leads. INVALID: it is no id that a worker gives, or another connection has it. */
HR_MUST_CHECK int hr_conn_place_take(struct hr_conn *conn, uint64_t id);
void hr_conn_place_leave(struct hr_conn *conn);
/* A life goes forward only, in the order of the enum; what lies between may be left out. */
void hr_conn_set_state(struct hr_conn *conn, enum conn_state state);
/* The worker has forgotten the connection, or never had it. */
void hr_conn_end(struct hr_conn *conn, int err, const char *why);
