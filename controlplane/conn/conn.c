/* What the owners of connections ask for, and what is owed to the workers. Commands that find no room in the ring, and bytes
 * that find no free slot, stay pending in the entry and are tried again by hr_conns_pump(): after each batch of events (a
 * worker that makes room says so by SLOT_FREE) and by a 5 ms timer while something is pending. */
#include "controlplane/conn/conn.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/conn/impl.h"
#include "shared/base/clock.h"
#include "shared/tls/start.h"

#define RETRY_US (5 * HR_US_PER_MS)
/* Beyond the worker's own connect timeout: it has died or lost the command. */
#define OPEN_GRACE_US (2 * HR_US_PER_S)

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
        hr_conn_set_state(conn, CONN_OPENING);
        return true;
    }
    if (conn->state != CONN_OPEN)
        return true;
    if (conn->released && conn->given) {
        hr_conn_entry_free(conn); /* what the worker still says of it finds nobody */
        return true;
    }
    if (conn->released) {
        if (send_msg(conn, link, HR_CMD_CONN_ABORT, &msg) != 0)
            return false;
        hr_conn_entry_free(conn);
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
            hr_conn_end(conn, HR_E_TIMEOUT, "the dataplane did not answer");
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
        hr_conn_end(&conns->table[i], HR_E_CLOSED, "the dataplane went away");
}

static int open_on(struct hr_conns *conns, uint32_t worker, bool hold, const struct hr_addr *addr, uint16_t port,
                   uint32_t timeout_ms, const struct hr_conn_ops *ops, void *owner, struct hr_conn **ret_conn)
{
    struct hr_conn *conn = hr_conn_entry_take(conns);

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
        hr_conn_entry_free(conn);
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
