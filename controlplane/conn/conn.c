/* A table of HR_CONN_MAX entries. An event names a connection by the worker's id, whose low half is a place in the
 * worker's table, or by our request, whose low half is a place in ours: either way the entry is found at once. Commands that find no room in the
 * ring, and bytes that find no free slot, stay pending in the entry and are tried again by hr_conns_pump():
 * after each batch of events (a worker that makes room says so by SLOT_FREE) and by a 5 ms timer while
 * something is pending.
 *
 * A released connection whose opening is not answered yet stays in the table as a zombie, because only the
 * answer brings the id by which the worker can be told to abort it. */
#include "controlplane/conn/conn.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/wipebuf.h"
#include "shared/ipc/link.h"
#include "shared/ipc/messages.h"
#include "shared/tls/start.h"

#define RETRY_US (5 * HR_US_PER_MS)
/* Beyond the worker's own connect timeout: it has died or lost the command. */
#define OPEN_GRACE_US (2 * HR_US_PER_S)
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

static void on_retry(struct hr_timer *timer);
static void on_deadline(struct hr_timer *timer);

static uint16_t *place_of(struct hr_conns *conns, uint32_t worker, uint64_t id)
{
    return (uint32_t)id < PLACES ? &conns->place[worker][(uint32_t)id] : NULL;
}

static void leave_place(struct hr_conn *conn)
{
    uint16_t *place = place_of(conn->conns, conn->worker, conn->id);

    if (conn->state == CONN_OPEN && place && *place == conn - conn->conns->table + 1)
        *place = 0;
}

static void free_entry(struct hr_conn *conn)
{
    struct hr_conns *conns = conn->conns;
    uint32_t index = (uint32_t)(conn - conns->table);

    leave_place(conn);
    hr_wipebuf_free(&conn->queue);
    memset(conn, 0, sizeof(*conn));
    if (index < conns->free_hint)
        conns->free_hint = index;
    while (conns->top > 0 && conns->table[conns->top - 1].state == CONN_FREE)
        conns->top--;
}

static struct hr_conn *take_entry(struct hr_conns *conns)
{
    for (uint32_t i = conns->free_hint; i < HR_CONN_MAX; i++) {
        if (conns->table[i].state != CONN_FREE)
            continue;
        conns->free_hint = i + 1;
        if (i >= conns->top)
            conns->top = i + 1;
        return &conns->table[i];
    }
    conns->free_hint = HR_CONN_MAX;
    return NULL;
}

/* A life goes forward only, in the order of the enum; what lies between may be left out. */
static void set_state(struct hr_conn *conn, enum conn_state state)
{
    if (state <= conn->state)
        hr_log_error("connection: from state %d to %d is no legal transition: report this", conn->state,
                     state);
    conn->state = state;
}

static void owe_retry(struct hr_conns *conns)
{
    if (!hr_timer_is_set(&conns->retry))
        hr_timer_in(conns->loop, &conns->retry, RETRY_US);
}

static int send_msg(struct hr_conn *conn, struct hr_link *link, uint16_t type, struct hr_msg *msg)
{
    msg->type = type;
    msg->id = conn->id;
    return hr_link_send(link, msg);
}

/* The worker has forgotten the connection, or never had it. */
static void end(struct hr_conn *conn, int err, const char *why)
{
    if (conn->state == CONN_FREE || conn->state == CONN_ENDED)
        return;
    leave_place(conn);
    set_state(conn, CONN_ENDED);
    hr_wipebuf_clear(&conn->queue);
    conn->head = 0;
    if (!conn->released) {
        conn->in_callback = true;
        conn->ops->closed(conn->owner, err, why);
        conn->in_callback = false;
    }
    if (conn->released)
        free_entry(conn);
}

/* Sends what the entry owes to the worker, as far as the ring and the slots allow. False: try again later. */
static bool pump_one(struct hr_conn *conn, struct hr_link *link)
{
    struct hr_msg msg = {0};

    if (conn->state == CONN_QUEUED) {
        msg.u.open.addr = conn->addr;
        msg.u.open.port = conn->port;
        msg.u.open.timeout_ms = conn->timeout_ms;
        msg.u.open.hold = conn->hold;
        if (send_msg(conn, link, HR_CMD_CONN_OPEN, &msg) != 0)
            return false;
        set_state(conn, CONN_OPENING);
        return true;
    }
    if (conn->state != CONN_OPEN)
        return true;
    if (conn->released && conn->given) {
        free_entry(conn); /* what the worker still says of it finds nobody */
        return true;
    }
    if (conn->released) {
        if (send_msg(conn, link, HR_CMD_CONN_ABORT, &msg) != 0)
            return false;
        free_entry(conn);
        return true;
    }
    while (conn->head < conn->queue.len) {
        uint32_t slot, len = conn->queue.len - conn->head;
        uint8_t *data;

        if (len > HR_SLOT_SIZE)
            len = HR_SLOT_SIZE;
        if (hr_link_slot_alloc(link, &slot, &data) != 0)
            return false;
        memcpy(data, conn->queue.data + conn->head, len);
        msg = (struct hr_msg){.u.data = {.slot = slot, .len = len}};
        if (send_msg(conn, link, HR_CMD_CONN_DATA, &msg) != 0) {
            hr_link_slot_cancel(link, slot);
            return false;
        }
        hr_link_slot_sent(link, slot);
        hr_wipe(conn->queue.data + conn->head, len);
        conn->head += len;
        conn->conns->info.bytes_out += len;
    }
    conn->queue.len = conn->head = 0; /* each byte was wiped as it went */
    if (conn->shutdown_due && !conn->shutdown_sent) {
        msg = (struct hr_msg){0};
        if (send_msg(conn, link, HR_CMD_CONN_SHUTDOWN, &msg) != 0)
            return false;
        conn->shutdown_sent = true;
    }
    return true;
}

void hr_conns_pump(struct hr_conns *conns, uint32_t worker)
{
    struct hr_link *link = worker < conns->n_workers ? conns->link(conns->link_arg, worker) : NULL;
    bool all = true;

    if (!link)
        return;
    for (uint32_t i = 0; i < conns->top; i++) {
        struct hr_conn *conn = &conns->table[i];

        if (conn->state != CONN_FREE && conn->worker == worker && !conn->in_callback)
            all = pump_one(conn, link) && all;
    }
    hr_link_flush(link);
    if (!all)
        owe_retry(conns);
}

static void on_retry(struct hr_timer *timer)
{
    struct hr_conns *conns = timer->arg;

    for (uint32_t w = 0; w < conns->n_workers; w++)
        hr_conns_pump(conns, w);
}

/* Openings that the worker never answered: rare, so a walk over the table each second is enough. */
static void on_deadline(struct hr_timer *timer)
{
    struct hr_conns *conns = timer->arg;
    uint64_t now = hr_loop_now(conns->loop);
    bool left = false;

    for (uint32_t i = 0; i < conns->top; i++) {
        struct hr_conn *conn = &conns->table[i];

        if (conn->state != CONN_QUEUED && conn->state != CONN_OPENING)
            continue;
        if (conn->deadline_us <= now)
            end(conn, HR_E_TIMEOUT, "the dataplane did not answer");
        else
            left = true;
    }
    if (left && !hr_timer_is_set(&conns->deadline))
        hr_timer_in(conns->loop, &conns->deadline, HR_US_PER_S);
}

int hr_conns_create(struct hr_loop *loop, struct hr_conns **ret_conns)
{
    struct hr_conns *conns = calloc(1, sizeof(*conns));

    if (!conns)
        return HR_E_NOMEM;
    conns->loop = loop;
    conns->retry = (struct hr_timer){.fn = on_retry, .arg = conns};
    conns->deadline = (struct hr_timer){.fn = on_deadline, .arg = conns};
    *ret_conns = conns;
    return 0;
}

void hr_conns_destroy(struct hr_conns *conns)
{
    if (!conns)
        return;
    hr_timer_cancel(conns->loop, &conns->retry);
    hr_timer_cancel(conns->loop, &conns->deadline);
    for (uint32_t i = 0; i < HR_CONN_MAX; i++)
        hr_wipebuf_free(&conns->table[i].queue);
    free(conns);
}

void hr_conns_attached(struct hr_conns *conns, uint32_t n_workers,
                       struct hr_link *(*link)(void *arg, uint32_t worker), void *arg)
{
    conns->n_workers = n_workers < HR_MAX_WORKERS ? n_workers : HR_MAX_WORKERS;
    conns->link = link;
    conns->link_arg = arg;
}

void hr_conns_detached(struct hr_conns *conns)
{
    conns->n_workers = 0;
    for (uint32_t i = conns->top; i-- > 0;)
        end(&conns->table[i], HR_E_CLOSED, "the dataplane went away");
}

static int open_on(struct hr_conns *conns, uint32_t worker, bool hold, const struct hr_addr *addr, uint16_t port,
                   uint32_t timeout_ms, const struct hr_conn_ops *ops, void *owner, struct hr_conn **ret_conn)
{
    struct hr_conn *conn = take_entry(conns);

    if (!conn)
        return HR_E_FULL;
    conns->next_request = (conns->next_request + 1) & 0x3fffffff;
    *conn = (struct hr_conn){
        .conns = conns,
        .ops = ops,
        .owner = owner,
        .state = CONN_QUEUED,
        .worker = worker,
        .id = REQUEST_BIT | conns->next_request << 32 | (uint64_t)(conn - conns->table),
        .addr = *addr,
        .port = port,
        .timeout_ms = timeout_ms,
        .hold = hold,
        .deadline_us = hr_loop_now(conns->loop) + timeout_ms * HR_US_PER_MS + OPEN_GRACE_US,
    };
    if (!hr_timer_is_set(&conns->deadline))
        hr_timer_in(conns->loop, &conns->deadline, HR_US_PER_S);
    hr_conns_pump(conns, conn->worker);
    *ret_conn = conn;
    return 0;
}

int hr_conn_open(struct hr_conns *conns, const struct hr_addr *addr, uint16_t port, uint32_t timeout_ms,
                 const struct hr_conn_ops *ops, void *owner, struct hr_conn **ret_conn)
{
    if (conns->n_workers == 0)
        return HR_E_AGAIN;
    return open_on(conns, conns->next_worker++ % conns->n_workers, false, addr, port, timeout_ms, ops, owner, ret_conn);
}

int hr_conn_open_beside(struct hr_conn *beside, const struct hr_addr *addr, uint16_t port, uint32_t timeout_ms,
                        const struct hr_conn_ops *ops, void *owner, struct hr_conn **ret_conn)
{
    if (beside->conns->n_workers == 0)
        return HR_E_AGAIN;
    return open_on(beside->conns, beside->worker, true, addr, port, timeout_ms, ops, owner, ret_conn);
}

void hr_conns_on_accept(struct hr_conns *conns,
                        bool (*accept)(void *arg, struct hr_conn *conn, const struct hr_conn_accepted *accepted,
                                       const struct hr_conn_ops **ret_ops, void **ret_owner),
                        void *arg)
{
    conns->accept = accept;
    conns->accept_arg = arg;
}

static void pump_conn(struct hr_conn *conn)
{
    struct hr_conns *conns = conn->conns;
    struct hr_link *link = conns->n_workers ? conns->link(conns->link_arg, conn->worker) : NULL;

    if (!link || conn->in_callback)
        return; /* hr_conns_pump() follows the batch of events that the callback belongs to */
    if (!pump_one(conn, link))
        owe_retry(conns);
    hr_link_flush(link);
}

int hr_conn_send(struct hr_conn *conn, const void *data, uint32_t len)
{
    if (conn->state == CONN_ENDED || conn->shutdown_due || conn->given)
        return HR_E_CLOSED;
    if (conn->queue.len - conn->head + len > HR_CONN_QUEUE_MAX || len > HR_CONN_QUEUE_MAX)
        return HR_E_FULL;
    hr_wipebuf_drop(&conn->queue, conn->head);
    conn->head = 0;
    if (hr_wipebuf_append(&conn->queue, data, len) != 0)
        return HR_E_NOMEM;
    pump_conn(conn);
    return 0;
}

void hr_conn_shutdown(struct hr_conn *conn)
{
    conn->shutdown_due = true;
    pump_conn(conn);
}

void hr_conn_release(struct hr_conn *conn)
{
    if (!conn || conn->released)
        return;
    conn->released = true;
    hr_wipebuf_clear(&conn->queue);
    conn->head = 0;
    if (conn->in_callback)
        return; /* whoever called the callback looks at `released` */
    if (conn->state == CONN_ENDED || conn->state == CONN_QUEUED)
        free_entry(conn);
    else
        pump_conn(conn);
}

static void fill_start(const struct hr_conn_start *how, struct hr_session_start *start)
{
    memset(start, 0, sizeof(*start));
    start->client_tls = how->client_secrets != NULL;
    start->broker_tls = how->broker_secrets != NULL;
    if (how->login)
        start->login = *how->login;
    if (how->client_secrets)
        start->client = *how->client_secrets;
    if (how->broker_secrets)
        start->broker = *how->broker_secrets;
}

/* Slots for what starts a session: the first for hr_session_start, the others for what is unread. */
#define START_SLOTS (1 + HR_UNREAD_SLOTS)
_Static_assert(HR_UNREAD_SLOTS * HR_SLOT_SIZE == HR_CONN_UNREAD_MAX, "each byte has a place");

int hr_conn_start_session(struct hr_conn *client, const struct hr_conn_start *how)
{
    struct hr_conns *conns = client->conns;
    struct hr_link *link = conns->n_workers ? conns->link(conns->link_arg, client->worker) : NULL;
    struct hr_conn *broker = how->broker;
    struct hr_msg msg = {0};
    uint32_t slots[START_SLOTS], n = 0, n_slots = 1 + (how->unread_len + HR_SLOT_SIZE - 1) / HR_SLOT_SIZE;
    uint8_t *data[START_SLOTS];

    if (!link || client->state != CONN_OPEN || client->given || (broker && broker->state != CONN_OPEN))
        return HR_E_CLOSED;
    if (how->unread_len > HR_CONN_UNREAD_MAX)
        return HR_E_TOO_LARGE;
    if (!pump_one(client, link) || (broker && !pump_one(broker, link)))
        return HR_E_AGAIN;
    while (n < n_slots && hr_link_slot_alloc(link, &slots[n], &data[n]) == 0)
        n++;
    if (n < n_slots)
        goto out;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t at = (i - 1) * HR_SLOT_SIZE, left = how->unread_len - at;

        memcpy(data[i], how->unread + at, left < HR_SLOT_SIZE ? left : HR_SLOT_SIZE);
        msg.u.start.unread[i - 1] = slots[i];
    }
    fill_start(how, (struct hr_session_start *)(void *)data[0]);
    msg.u.start.slot = slots[0];
    msg.u.start.unread_len = how->unread_len;
    msg.u.start.broker = broker ? broker->id : 0;
    msg.u.start.node_id = how->node_id;
    msg.u.start.client_skip = how->client_skip;
    msg.u.start.broker_skip = how->broker_skip;
    if (send_msg(client, link, HR_CMD_SESSION_START, &msg) != 0)
        goto out;
    for (uint32_t i = 0; i < n; i++)
        hr_link_slot_sent(link, slots[i]);
    client->given = true;
    if (broker)
        broker->given = true;
    hr_link_flush(link);
    return 0;
out:
    for (uint32_t i = 0; i < n; i++)
        hr_link_slot_cancel(link, slots[i]);
    return HR_E_AGAIN;
}

static struct hr_conn *find(struct hr_conns *conns, uint32_t worker, uint64_t id)
{
    uint16_t *place = place_of(conns, worker, id);
    struct hr_conn *conn;

    if (id & REQUEST_BIT)
        conn = (uint32_t)id < HR_CONN_MAX ? &conns->table[(uint32_t)id] : NULL;
    else
        conn = place && *place ? &conns->table[*place - 1] : NULL;
    return conn && (conn->state == CONN_OPENING || conn->state == CONN_OPEN) && conn->worker == worker &&
                   conn->id == id
               ? conn
               : NULL;
}

/* Notes where the worker's id leads. INVALID: it is no id that a worker gives, or another connection has it. */
static int take_place(struct hr_conn *conn, uint64_t id)
{
    uint16_t *place = place_of(conn->conns, conn->worker, id);

    if ((id & REQUEST_BIT) || !place || *place)
        return HR_E_INVALID;
    *place = (uint16_t)(conn - conn->conns->table + 1);
    conn->id = id;
    return 0;
}

static int on_accepted(struct hr_conns *conns, uint32_t worker, const struct hr_msg *msg)
{
    const struct hr_conn_accepted accepted = {
        .client = msg->u.accepted.client,
        .local = msg->u.accepted.local,
        .client_port = msg->u.accepted.client_port,
        .local_port = msg->u.accepted.local_port,
        .waited_ms = msg->u.accepted.waited_ms,
    };
    struct hr_conn *conn = take_entry(conns);

    if (!conn) { /* it must not wait for its deadline there */
        struct hr_msg abort_msg = {.type = HR_CMD_CONN_ABORT, .id = msg->id};

        return hr_link_send(conns->link(conns->link_arg, worker), &abort_msg);
    }
    *conn = (struct hr_conn){.conns = conns, .state = CONN_QUEUED, .worker = worker, .hold = true};
    if (take_place(conn, msg->id) != 0) {
        free_entry(conn);
        return HR_E_INVALID;
    }
    set_state(conn, CONN_OPEN);
    conns->info.accepted++;
    conn->in_callback = true;
    if (!conns->accept || !conns->accept(conns->accept_arg, conn, &accepted, &conn->ops, &conn->owner))
        conn->released = true;
    conn->in_callback = false;
    return 0; /* a refused one is aborted by the pump that follows */
}

static int on_opened(struct hr_conns *conns, struct hr_conn *conn, const struct hr_msg *msg)
{
    if (conn->state != CONN_OPENING || take_place(conn, msg->u.opened.conn) != 0)
        return HR_E_INVALID;
    set_state(conn, CONN_OPEN);
    conns->info.opened++;
    if (!conn->released) {
        conn->in_callback = true;
        conn->ops->opened(conn->owner);
        conn->in_callback = false;
    }
    return 0; /* a released one is aborted by the pump that follows */
}

static int on_data(struct hr_conns *conns, struct hr_conn *conn, uint32_t worker, const struct hr_msg *msg)
{
    struct hr_link *link = conns->link(conns->link_arg, worker);
    uint32_t slot = msg->u.data.slot, len = msg->u.data.len;
    const uint8_t *data;
    int err = hr_link_slot_read(link, slot, len, &data);

    if (err)
        return err;
    if (conn && conn->state == CONN_OPEN && !conn->released && !conn->given) {
        conns->info.bytes_in += len;
        conn->in_callback = true;
        conn->ops->data(conn->owner, data, len);
        conn->in_callback = false;
    }
    /* Also for a connection that we have given up: its last bytes may have been under way. */
    return hr_link_slot_done(link, slot, HR_CMD_SLOT_FREE);
}

/* enum hr_tcp_failure of dataplane/tcp/tcp.h, which this process does not include. */
static int failure_error(uint32_t failure, const char **ret_text)
{
    static const struct {
        int err;
        const char *text;
    } table[] = {
        {HR_E_CLOSED, "closed"},
        {HR_E_CLOSED, "reset by the peer"},
        {HR_E_REFUSED, "connection refused"},
        {HR_E_TIMEOUT, "no answer"},
        {HR_E_TIMEOUT, "keepalive probes unanswered"},
        {HR_E_TIMEOUT, "zero window for too long"},
        {HR_E_REFUSED, "destination unreachable"},
        {HR_E_CLOSED, "aborted by the dataplane"},
    };

    if (failure >= sizeof(table) / sizeof(table[0]))
        failure = 0;
    *ret_text = table[failure].text;
    return table[failure].err;
}

int hr_conns_event(struct hr_conns *conns, uint32_t worker, const struct hr_msg *msg)
{
    struct hr_conn *conn;
    const char *why;
    int err;

    if (worker >= conns->n_workers)
        return HR_E_INVALID;
    if (msg->type == HR_EV_SLOT_FREE)
        return hr_link_slot_returned(conns->link(conns->link_arg, worker), msg->u.data.slot);
    conn = find(conns, worker, msg->id);
    switch (msg->type) {
    case HR_EV_CONN_ACCEPTED:
        return conn ? HR_E_INVALID : on_accepted(conns, worker, msg);
    case HR_EV_SESSION_STARTED:
        if (!conn || !conn->given)
            return conn ? HR_E_INVALID : 0;
        leave_place(conn);
        set_state(conn, CONN_ENDED);
        if (!conn->released && conn->ops->started) {
            conn->in_callback = true;
            conn->ops->started(conn->owner);
            conn->in_callback = false;
        }
        if (conn->released)
            free_entry(conn);
        return 0;
    case HR_EV_CONN_OPENED:
        if (!conn) {
            /* We gave up waiting for it: it must not linger in the worker. */
            struct hr_msg abort_msg = {.type = HR_CMD_CONN_ABORT, .id = msg->u.opened.conn};

            return hr_link_send(conns->link(conns->link_arg, worker), &abort_msg);
        }
        return on_opened(conns, conn, msg);
    case HR_EV_CONN_FAILED:
        err = failure_error(msg->u.failed.failure, &why);
        if (conn) {
            conns->info.failed++;
            end(conn, err, why);
        }
        return 0;
    case HR_EV_CONN_DATA:
        return on_data(conns, conn, worker, msg);
    case HR_EV_CONN_EOF:
        if (conn && conn->state == CONN_OPEN && !conn->released) {
            conn->in_callback = true;
            conn->ops->eof(conn->owner);
            conn->in_callback = false;
        }
        return 0;
    case HR_EV_CONN_CLOSED:
        if (conn)
            end(conn, HR_E_CLOSED, "closed by the peer");
        return 0;
    default:
        return HR_E_INVALID;
    }
}

void hr_conns_get_info(const struct hr_conns *conns, struct hr_conns_info *ret_info)
{
    *ret_info = conns->info;
    ret_info->open = ret_info->opening = 0;
    for (uint32_t i = 0; i < conns->top; i++) {
        if (conns->table[i].state == CONN_OPEN)
            ret_info->open++;
        else if (conns->table[i].state == CONN_QUEUED || conns->table[i].state == CONN_OPENING)
            ret_info->opening++;
    }
}
