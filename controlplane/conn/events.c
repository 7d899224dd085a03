/* What workers tell of connections. */
#include "controlplane/conn/impl.h"

static int on_accepted(struct hr_conns *conns, uint32_t worker, const struct hr_msg *msg)
{
    const struct hr_conn_accepted accepted = {
        .client = msg->u.accepted.client,
        .local = msg->u.accepted.local,
        .client_port = msg->u.accepted.client_port,
        .local_port = msg->u.accepted.local_port,
        .waited_ms = msg->u.accepted.waited_ms,
    };
    struct hr_conn *conn = hr_conn_entry_take(conns);

    if (!conn) { /* it must not wait for its deadline there */
        struct hr_msg abort_msg = {.type = HR_CMD_CONN_ABORT, .id = msg->id};

        return hr_link_send(conns->link(conns->link_arg, worker), &abort_msg);
    }
    *conn = (struct hr_conn){.conns = conns, .state = CONN_QUEUED, .worker = worker, .hold = true};
    if (hr_conn_place_take(conn, msg->id) != 0) {
        hr_conn_entry_free(conn);
        return HR_E_INVALID;
    }
    hr_conn_set_state(conn, CONN_OPEN);
    conns->info.accepted++;
    conn->in_callback = true;
    if (!conns->accept || !conns->accept(conns->accept_arg, conn, &accepted, &conn->ops, &conn->owner))
        conn->released = true;
    conn->in_callback = false;
    return 0; /* a refused one is aborted by the pump that follows */
}

static int on_opened(struct hr_conns *conns, struct hr_conn *conn, const struct hr_msg *msg)
{
    if (conn->state != CONN_OPENING || hr_conn_place_take(conn, msg->u.opened.conn) != 0)
        return HR_E_INVALID;
    hr_conn_set_state(conn, CONN_OPEN);
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
    conn = hr_conn_entry_find(conns, worker, msg->id);
    switch (msg->type) {
    case HR_EV_CONN_ACCEPTED:
        return conn ? HR_E_INVALID : on_accepted(conns, worker, msg);
    case HR_EV_SESSION_STARTED:
        if (!conn || !conn->given)
            return conn ? HR_E_INVALID : 0;
        hr_conn_place_leave(conn);
        hr_conn_set_state(conn, CONN_ENDED);
        if (!conn->released && conn->ops->started) {
            conn->in_callback = true;
            conn->ops->started(conn->owner);
            conn->in_callback = false;
        }
        if (conn->released)
            hr_conn_entry_free(conn);
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
            hr_conn_end(conn, err, why);
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
            hr_conn_end(conn, HR_E_CLOSED, "closed by the peer");
        return 0;
    default:
        return HR_E_INVALID;
    }
}
