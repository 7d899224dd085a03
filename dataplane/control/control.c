/* Commands and events of one worker. See control.h for the model.
 *
 * Connection ids: worker in the top byte, a generation, the table index; an id of an earlier connection
 * finds nothing. News of a connection that do not fit into the ring are kept as flags in its entry and sent
 * on a later turn, so that none is lost. */
#include "dataplane/control/control.h"

#include <rte_malloc.h>
#include <string.h>

#include "dataplane/control/impl.h"
#include "shared/base/wipe.h"

int hr_control_create(const struct hr_control_config *cfg, struct hr_control **ret_control)
{
    struct hr_control *control = rte_zmalloc_socket("hr_control", sizeof(*control), 64, cfg->socket_id);
    if (!control)
        return HR_E_NOMEM;
    control->cfg = *cfg;
    *ret_control = control;
    return 0;
}

static uint64_t conn_id(const struct hr_control *control, const struct hr_control_conn *c)
{
    return (uint64_t)control->cfg.worker_id << 56 | (uint64_t)(c->generation & 0xffffff) << 32 |
           (uint64_t)(c - control->conns);
}

struct hr_control_conn *hr_control_find(struct hr_control *control, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index >= HR_CONTROL_MAX_CONNS)
        return NULL;
    struct hr_control_conn *c = &control->conns[index];
    return c->used && conn_id(control, c) == id ? c : NULL;
}

struct hr_control_conn *hr_control_take(struct hr_control *control)
{
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        struct hr_control_conn *c = &control->conns[(control->first_free_hint + i) % HR_CONTROL_MAX_CONNS];
        if (c->used || c->waiting)
            continue;
        uint32_t generation = c->generation + 1;
        *c = (struct hr_control_conn){.used = true, .generation = generation};
        c->leg = (struct hr_leg){.kind = HR_LEG_CONTROL};
        control->first_free_hint = (uint32_t)(c - control->conns) + 1;
        return c;
    }
    return NULL;
}

void hr_control_drop(struct hr_control *control, struct hr_control_conn *c, bool reset)
{
    if (c->leg.conn) {
        if (c->handshake) /* the client's login, or what was to be one */
            hr_pieceq_wipe(hr_tcp_rcvq(c->leg.conn), hr_tcp_rcvq(c->leg.conn)->bytes);
        hr_tcp_set_user(c->leg.conn, NULL);
        if (reset)
            hr_tcp_abort(control->cfg.tcp, c->leg.conn);
        else
            hr_tcp_release(control->cfg.tcp, c->leg.conn);
        c->leg.conn = NULL;
    }
}

void hr_control_count_handshake(struct hr_control *control, const struct hr_control_conn *c, int change)
{
    if (!c->handshake || c->listener >= HR_POLICY_MAX_LISTENERS)
        return;
    control->n_handshakes[c->listener] += (uint32_t)change;
    hr_proxy_set_handshakes(control->cfg.proxy, c->listener, control->n_handshakes[c->listener]);
}

/* -- who has event slots: clients that the control plane does a handshake on, and logins in mid-session, have bounds -- */

static bool may_take_slot(const struct hr_control *control, const struct hr_control_conn *c)
{
    return !c->handshake || (c->slots < HR_CONTROL_SLOTS_CONN && control->slots_from[c->source] < HR_CONTROL_SLOTS_SOURCE);
}

static void slot_out(struct hr_control *control, uint32_t slot, struct hr_control_conn *c)
{
    if (!c->handshake)
        return;
    control->slot_users[slot] =
        (struct slot_user){.kind = SLOT_USER_CONN, .index = (uint32_t)(c - control->conns), .source = c->source};
    c->slots++;
    control->slots_from[c->source]++;
}

static void slot_back(struct hr_control *control, uint32_t slot)
{
    const struct slot_user user = control->slot_users[slot];

    control->slot_users[slot] = (struct slot_user){0};
    if (user.kind == SLOT_USER_CONN)
        control->conns[user.index].slots--;
    if (user.kind == SLOT_USER_CONN || user.kind == SLOT_USER_SOURCE)
        control->slots_from[user.source]--;
    if (user.kind == SLOT_USER_AUTH)
        control->slots_auth--;
}

/* Another connection may have its place before they are back. */
static void disown_slots(struct hr_control *control, struct hr_control_conn *c)
{
    for (uint32_t slot = 0; c->slots > 0 && slot < HR_SLOTS; slot++) {
        struct slot_user *user = &control->slot_users[slot];
        if (user->kind != SLOT_USER_CONN || user->index != (uint32_t)(c - control->conns))
            continue;
        user->kind = SLOT_USER_SOURCE;
        c->slots--;
    }
}

void hr_control_forget(struct hr_control *control, struct hr_control_conn *c)
{
    disown_slots(control, c);
    hr_control_drop(control, c, true);
    hr_control_count_handshake(control, c, -1);
    if (c->handshake) {
        control->n_handshakes_all--;
        hr_proxy_handshake_over(control->cfg.proxy, c->source);
    }
    c->handshake = false;
    c->used = false;
    c->owed = 0;
}

static bool send_msg(struct hr_control *control, struct hr_msg *msg)
{
    return control->linked && hr_link_send(&control->link, msg) == 0;
}

void hr_control_report(struct hr_control *control, struct hr_msg *msg)
{
    if (!send_msg(control, msg))
        HR_COUNT(control->cfg.stats, ipc_lost);
}

static void wait_turn(struct hr_control *control, struct hr_control_conn *c)
{
    if (c->waiting)
        return;
    c->waiting = true;
    c->next_waiting = control->waiting;
    control->waiting = c;
}

/* Received bytes, as far as slots go. False when something is left for lack of slots or ring room. */
static bool send_bytes_up(struct hr_control *control, struct hr_control_conn *c)
{
    if (!c->leg.conn || !c->opened)
        return true;
    struct hr_pieceq *q = hr_tcp_rcvq(c->leg.conn);
    uint32_t taken = 0;
    while (q->bytes > c->told) {
        uint32_t slot, n = q->bytes - c->told < HR_SLOT_SIZE ? q->bytes - c->told : HR_SLOT_SIZE;
        uint8_t *data;
        if (!may_take_slot(control, c) || hr_link_slot_alloc(&control->link, &slot, &data) != 0) {
            if (!c->starved)
                HR_DROP(control->cfg.stats, ipc_slots);
            c->starved = true;
            break;
        }
        c->starved = false;
        hr_pieceq_peek(q, c->told, data, n);
        struct hr_msg msg = {.type = HR_EV_CONN_DATA, .id = conn_id(control, c), .u.data = {slot, n}};
        if (!send_msg(control, &msg)) {
            hr_link_slot_cancel(&control->link, slot);
            break;
        }
        hr_link_slot_sent(&control->link, slot);
        slot_out(control, slot, c);
        /* The bytes go to the other process by copy, on purpose: they are not forwarded payload. */
        if (c->hold) {
            c->told += n;
        } else {
            hr_pieceq_drop(control->cfg.bufs, q, n);
            taken += n;
        }
    }
    if (taken)
        hr_tcp_consumed(control->cfg.tcp, c->leg.conn, taken, 0, 0);
    return q->bytes == c->told;
}

static void say_accepted(const struct hr_control *control, const struct hr_control_conn *c, struct hr_msg *msg)
{
    const struct hr_flow *flow = hr_tcp_flow(c->leg.conn);
    msg->u.accepted.client = c->has_origin ? c->origin.addr : flow->remote;
    msg->u.accepted.client_port = c->has_origin ? c->origin.port : flow->remote_port;
    msg->u.accepted.local = flow->local;
    msg->u.accepted.local_port = flow->local_port;
    msg->u.accepted.waited_ms = (uint32_t)((control->now_us - c->accepted_us) / 1000);
}

/* Tells what is owed, in order. True when nothing is left; the entry may be free afterwards. */
static bool tell(struct hr_control *control, struct hr_control_conn *c)
{
    if (c->owed & OWED_ACCEPTED) {
        struct hr_msg msg = {.type = HR_EV_CONN_ACCEPTED, .id = conn_id(control, c)};
        if (c->owed & (OWED_FAILED | OWED_CLOSED) || !c->leg.conn) {
            hr_control_forget(control, c); /* came and went: nobody knows it */
            return true;
        }
        say_accepted(control, c, &msg);
        if (!send_msg(control, &msg))
            return false;
        c->owed &= (uint8_t)~OWED_ACCEPTED;
        c->opened = true;
    }
    if (c->owed & OWED_STARTED) {
        struct hr_msg msg = {.type = HR_EV_SESSION_STARTED, .id = conn_id(control, c)};
        if (!send_msg(control, &msg))
            return false;
        hr_control_forget(control, c);
        return true;
    }
    if (c->owed & OWED_OPENED) {
        struct hr_msg msg = {.type = HR_EV_CONN_OPENED, .id = c->request};
        msg.u.opened.conn = conn_id(control, c);
        msg.u.opened.local_port = c->leg.conn ? hr_tcp_flow(c->leg.conn)->local_port : 0;
        if (!send_msg(control, &msg))
            return false;
        c->owed &= (uint8_t)~OWED_OPENED;
        c->opened = true;
    }
    if (!send_bytes_up(control, c))
        return false;
    if (c->eof_pending) {
        c->eof_pending = false;
        c->owed |= OWED_EOF;
    }
    if (c->owed & OWED_EOF) {
        struct hr_msg msg = {.type = HR_EV_CONN_EOF, .id = conn_id(control, c)};
        if (!send_msg(control, &msg))
            return false;
        c->owed &= (uint8_t)~OWED_EOF;
    }
    if (c->owed & OWED_FAILED) {
        struct hr_msg msg = {.type = HR_EV_CONN_FAILED, .id = c->opened ? conn_id(control, c) : c->request};
        msg.u.failed.failure = c->failure;
        if (!send_msg(control, &msg))
            return false;
        hr_control_drop(control, c, false);
        hr_control_forget(control, c);
        return true;
    }
    if (c->owed & OWED_CLOSED) {
        struct hr_msg msg = {.type = HR_EV_CONN_CLOSED, .id = conn_id(control, c)};
        if (!send_msg(control, &msg))
            return false;
        hr_control_drop(control, c, false);
        hr_control_forget(control, c);
    }
    return true;
}

void hr_control_tell(struct hr_control *control, struct hr_control_conn *c)
{
    if (!tell(control, c))
        wait_turn(control, c);
}

void hr_control_event(struct hr_control *control, struct hr_leg *leg, uint32_t events)
{
    struct hr_control_conn *c = (struct hr_control_conn *)(void *)leg;

    if (events & HR_TCP_EV_CONNECTED)
        c->owed |= OWED_OPENED;
    if (events & HR_TCP_EV_FIN)
        c->fin = c->eof_pending = true;
    if (events & (HR_TCP_EV_FAILED | HR_TCP_EV_CLOSED)) {
        /* Bytes that arrived before the end are still readable until the release. */
        if (events & HR_TCP_EV_FAILED) {
            struct hr_tcp_conn_info info;
            hr_tcp_conn_get_info(control->cfg.tcp, leg->conn, &info);
            c->failure = (uint8_t)info.error;
            c->owed |= OWED_FAILED;
        } else {
            c->owed |= OWED_CLOSED;
        }
    }
    hr_control_tell(control, c);
}

static void refuse_open(struct hr_control *control, uint64_t request, enum hr_tcp_failure failure)
{
    struct hr_msg msg = {.type = HR_EV_CONN_FAILED, .id = request, .u.failed.failure = failure};
    hr_control_report(control, &msg);
}

void hr_control_find_zone(struct hr_control *control, struct hr_control_conn *c)
{
    hr_tcp_set_peer(c->leg.conn, HR_ZONE_PEER_CONTROL, hr_proxy_zone_of(control->cfg.proxy, &hr_tcp_flow(c->leg.conn)->remote));
}

static void do_open(struct hr_control *control, const struct hr_msg *msg)
{
    if (msg->u.open.port == 0 || hr_addr_is_any(&msg->u.open.addr)) {
        HR_DROP(control->cfg.stats, ipc_invalid);
        refuse_open(control, msg->id, HR_TCP_FAIL_UNREACHABLE);
        return;
    }
    struct hr_control_conn *c = hr_control_take(control);
    if (!c) {
        refuse_open(control, msg->id, HR_TCP_FAIL_ABORTED);
        return;
    }
    c->request = msg->id;
    c->hold = msg->u.open.hold != 0;
    uint32_t timeout_ms =
        msg->u.open.timeout_ms < HR_CONTROL_OPEN_MAX_MS ? msg->u.open.timeout_ms : HR_CONTROL_OPEN_MAX_MS;
    if (hr_proxy_connect(control->cfg.proxy, &msg->u.open.addr, msg->u.open.port, timeout_ms * 1000u,
                         &c->leg.conn) != 0) {
        c->leg.conn = NULL;
        c->failure = HR_TCP_FAIL_UNREACHABLE;
        c->owed = OWED_FAILED;
        hr_control_tell(control, c);
        return;
    }
    c->dialled = true;
    hr_tcp_set_user(c->leg.conn, &c->leg);
    hr_control_find_zone(control, c);
}

static void do_adopt(struct hr_control *control, const struct hr_msg *msg)
{
    struct hr_tcp_conn *conn;
    struct hr_control_conn *c = hr_control_take(control);
    if (!c) {
        refuse_open(control, msg->id, HR_TCP_FAIL_ABORTED);
        return;
    }
    c->request = msg->id;
    if (hr_proxy_detach_client(control->cfg.proxy, msg->id, &conn) != 0) {
        c->failure = HR_TCP_FAIL_ABORTED;
        c->owed = OWED_FAILED;
    } else {
        c->leg.conn = conn;
        hr_tcp_set_user(conn, &c->leg);
        c->owed = OWED_OPENED;
    }
    hr_control_tell(control, c);
}

static void do_data(struct hr_control *control, const struct hr_msg *msg)
{
    const uint8_t *data;
    if (hr_link_slot_read(&control->link, msg->u.data.slot, msg->u.data.len, &data) != 0) {
        HR_DROP(control->cfg.stats, ipc_invalid);
        return;
    }
    struct hr_control_conn *c = hr_control_find(control, msg->id);
    if (c && c->leg.conn && hr_tcp_send_bytes_copy(control->cfg.tcp, c->leg.conn, data, msg->u.data.len) != 0) {
        /* A hole in the stream would be worse than its end. */
        hr_control_drop(control, c, true);
        c->failure = HR_TCP_FAIL_ABORTED;
        c->owed |= OWED_FAILED;
        hr_control_tell(control, c);
    }
    if (hr_link_slot_done(&control->link, msg->u.data.slot, HR_EV_SLOT_FREE) != 0)
        HR_DROP(control->cfg.stats, ipc_invalid);
}

/* The bytes are copied out first: what was checked is what is used, and nothing of it stays in the slot. */
static void do_auth(struct hr_control *control, const struct hr_msg *msg)
{
    uint8_t copy[HR_SLOT_SIZE];
    const uint8_t *data;
    uint32_t len = msg->u.auth.len;

    if (len > 0) {
        if (hr_link_slot_read(&control->link, msg->u.auth.slot, len, &data) != 0) {
            HR_DROP(control->cfg.stats, ipc_invalid);
            return;
        }
        memcpy(copy, data, len);
        if (hr_link_slot_done(&control->link, msg->u.auth.slot, HR_EV_SLOT_FREE) != 0)
            HR_DROP(control->cfg.stats, ipc_invalid);
    }
    if (hr_proxy_auth(control->cfg.proxy, msg, copy, control->now_us) != 0)
        HR_DROP(control->cfg.stats, ipc_invalid);
    hr_wipe(copy, len);
}

uint8_t *hr_control_slot_take(struct hr_control *control, uint32_t *ret_slot)
{
    uint8_t *data;

    if (!control->linked || control->slots_auth >= HR_CONTROL_SLOTS_AUTH)
        return NULL;
    return hr_link_slot_alloc(&control->link, ret_slot, &data) == 0 ? data : NULL;
}

bool hr_control_slot_send(struct hr_control *control, struct hr_msg *msg)
{
    if (!send_msg(control, msg)) {
        hr_link_slot_cancel(&control->link, msg->u.data.slot);
        return false;
    }
    hr_link_slot_sent(&control->link, msg->u.data.slot);
    control->slot_users[msg->u.data.slot].kind = SLOT_USER_AUTH;
    control->slots_auth++;
    return true;
}

/* Session records go up while slots and ring have room; the rest follows on later turns. True when it stopped for
 * the sake of the turn alone. */
static bool continue_list(struct hr_control *control)
{
    for (int step = 0; control->listing; step++) {
        if (step == HR_CONTROL_LIST_STEPS)
            return true;
        uint32_t slot, next, per_slot = HR_SLOT_SIZE / sizeof(struct hr_session_info);
        uint8_t *data;
        struct hr_msg msg = {.id = control->list_request};
        if (control->list_left == 0) {
            msg.type = HR_EV_SESSION_LIST_END;
            msg.u.list.from = control->list_from;
            if (send_msg(control, &msg))
                control->listing = false;
            return false;
        }
        if (hr_link_slot_alloc(&control->link, &slot, &data) != 0)
            return false;
        uint32_t max = control->list_left < per_slot ? control->list_left : per_slot;
        uint32_t n = hr_proxy_list(control->cfg.proxy, control->list_from, (struct hr_session_info *)data, max, &next);
        msg.type = HR_EV_SESSION_INFO;
        msg.u.data.slot = slot;
        msg.u.data.len = n * (uint32_t)sizeof(struct hr_session_info);
        if (n == 0) {
            hr_link_slot_cancel(&control->link, slot);
        } else if (!send_msg(control, &msg)) {
            hr_link_slot_cancel(&control->link, slot);
            return false;
        } else {
            hr_link_slot_sent(&control->link, slot);
        }
        control->list_from = next;
        control->list_left = next ? control->list_left - n : 0;
    }
    return false;
}

static void handle(struct hr_control *control, const struct hr_msg *msg)
{
    struct hr_control_conn *c;
    struct hr_msg answer = {.id = msg->id};

    switch (msg->type) {
    case HR_CMD_CONN_OPEN:
        do_open(control, msg);
        return;
    case HR_CMD_CONN_ADOPT:
        do_adopt(control, msg);
        return;
    case HR_CMD_CONN_DATA:
        do_data(control, msg);
        return;
    case HR_CMD_CONN_SHUTDOWN:
        c = hr_control_find(control, msg->id);
        if (c && c->leg.conn)
            hr_tcp_shutdown(control->cfg.tcp, c->leg.conn);
        return;
    case HR_CMD_CONN_ABORT:
        c = hr_control_find(control, msg->id);
        if (c)
            hr_control_forget(control, c);
        return;
    case HR_CMD_SLOT_FREE:
        if (hr_link_slot_returned(&control->link, msg->u.data.slot) != 0)
            HR_DROP(control->cfg.stats, ipc_invalid);
        else
            slot_back(control, msg->u.data.slot);
        return;
    case HR_CMD_SESSION_START:
        hr_control_start(control, msg);
        return;
    case HR_CMD_SESSION_LIST:
        control->listing = true;
        control->list_request = msg->id;
        control->list_from = msg->u.list.from;
        control->list_left = msg->u.list.max;
        return;
    case HR_CMD_SESSION_AUTH:
        do_auth(control, msg);
        return;
    case HR_CMD_SESSION_KILL:
        answer.type = HR_EV_SESSION_KILLED;
        answer.u.failed.failure = hr_proxy_kill(control->cfg.proxy, msg->id) == 0 ? 0 : 1;
        hr_control_report(control, &answer);
        return;
    case HR_CMD_PING:
        answer.type = HR_EV_PONG;
        hr_control_report(control, &answer);
        return;
    }
    HR_DROP(control->cfg.stats, ipc_invalid);
}

bool hr_control_poll(struct hr_control *control, uint64_t now_us)
{
    struct hr_msg msgs[HR_CONTROL_BATCH];

    control->now_us = now_us;
    hr_control_sweep(control, now_us);
    if (!control->linked)
        return false;
    /* Each command has one answer at most that is not kept elsewhere. */
    uint32_t room = hr_link_send_room(&control->link);
    int n = hr_link_recv(&control->link, msgs, room < HR_CONTROL_BATCH ? room : HR_CONTROL_BATCH);
    if (n < 0) {
        /* Tampered geometry: nothing on this link can be trusted until the next attach. */
        HR_DROP(control->cfg.stats, ipc_invalid);
        control->linked = false;
        return false;
    }
    for (int i = 0; i < n; i++)
        handle(control, &msgs[i]);

    struct hr_control_conn *c = control->waiting;
    control->waiting = NULL;
    while (c) {
        struct hr_control_conn *next = c->next_waiting;
        c->waiting = false;
        if (c->used)
            hr_control_tell(control, c);
        c = next;
    }
    return continue_list(control) || n > 0;
}

bool hr_control_sleep_begin(struct hr_control *control)
{
    /* While nobody reads our events, commands wait: they are looked at on the next turn, whatever brings it. */
    return !control->linked || hr_link_send_room(&control->link) == 0 || hr_link_sleep_begin(&control->link);
}

void hr_control_sleep_end(struct hr_control *control)
{
    if (control->linked)
        hr_link_sleep_end(&control->link);
}

void hr_control_flush(struct hr_control *control)
{
    if (control->linked)
        hr_link_flush(&control->link);
}

void hr_control_end_all(struct hr_control *control)
{
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        if (control->conns[i].used)
            hr_control_forget(control, &control->conns[i]);
        control->conns[i].waiting = false;
    }
    control->waiting = NULL;
}

/* What the last control plane knew ends with it; who it never heard of waits for the next. */
static void end_known(struct hr_control *control)
{
    control->waiting = NULL;
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        struct hr_control_conn *c = &control->conns[i];
        c->waiting = false;
        if (c->used && (c->owed & OWED_ACCEPTED))
            wait_turn(control, c);
        else if (c->used)
            hr_control_forget(control, c);
    }
}

void hr_control_relink(struct hr_control *control, uint32_t session)
{
    end_known(control);
    hr_proxy_auth_restart(control->cfg.proxy);
    control->listing = false;
    memset(control->slot_users, 0, sizeof(control->slot_users));
    memset(control->slots_from, 0, sizeof(control->slots_from));
    control->slots_auth = 0;
    control->linked = session != 0 && hr_link_init_worker(&control->link, control->cfg.region, control->cfg.worker_id,
                                                          session, control->cfg.doorbell_fd, control->cfg.stats) == 0;
}

void hr_control_destroy(struct hr_control *control)
{
    if (!control)
        return;
    hr_control_end_all(control);
    rte_free(control);
}
