/* Clients' connections that the control plane does a handshake on: from being accepted to being part of a session, or
 * to the end of their time. */
#include <string.h>

#include "dataplane/control/impl.h"
#include "shared/tls/start.h"

struct hr_leg *hr_control_accepted(struct hr_control *control, struct hr_tcp_conn *conn, uint16_t listener,
                                   const struct hr_origin *origin, uint32_t source, uint32_t timeout_ms, uint64_t now_us)
{
    if (control->n_handshakes_all >= HR_CONTROL_MAX_CONNS - HR_CONTROL_KEPT_CONNS)
        return NULL;
    struct hr_control_conn *c = hr_control_take(control);
    if (!c)
        return NULL;
    control->now_us = now_us;
    c->leg.conn = conn;
    c->hold = c->handshake = true;
    c->listener = listener;
    c->source = source;
    c->has_origin = origin != NULL;
    if (origin)
        c->origin = *origin;
    c->accepted_us = now_us;
    c->deadline_us = now_us + timeout_ms * 1000ULL;
    c->owed = OWED_ACCEPTED;
    control->n_handshakes_all++;
    hr_tcp_set_user(conn, &c->leg);
    hr_control_count_handshake(control, c, 1);
    hr_control_tell(control, c);
    return &c->leg;
}

void hr_control_policy_changed(struct hr_control *control)
{
    memset(control->n_handshakes, 0, sizeof(control->n_handshakes));
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++)
        hr_proxy_set_handshakes(control->cfg.proxy, i, 0);
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        struct hr_control_conn *c = &control->conns[i];
        if (c->used && c->dialled && c->leg.conn)
            hr_control_find_zone(control, c);
        if (!c->used || !c->handshake)
            continue;
        /* Whose connection has gone is in nobody's count any more. */
        c->listener = HR_POLICY_MAX_LISTENERS;
        if (c->leg.conn)
            c->listener = (uint16_t)hr_proxy_listener_of(control->cfg.proxy, c->leg.conn);
        hr_control_count_handshake(control, c, 1);
    }
}

uint64_t hr_control_deadline(const struct hr_control *control)
{
    return control->n_handshakes_all > 0 ? control->next_sweep_us : UINT64_MAX;
}

/* Handshakes that take too long, whoever is to blame. */
void hr_control_sweep(struct hr_control *control, uint64_t now_us)
{
    if (now_us < hr_control_deadline(control))
        return;
    control->next_sweep_us = now_us + HR_CONTROL_SWEEP_US;
    for (uint32_t i = 0; i < HR_CONTROL_MAX_CONNS; i++) {
        struct hr_control_conn *c = &control->conns[i];
        if (!c->used || !c->handshake || !c->leg.conn ||
            now_us < c->deadline_us + (c->owed & OWED_ACCEPTED ? 0 : HR_CONTROL_GRACE_US))
            continue;
        if (c->owed & OWED_ACCEPTED) {
            HR_DROP(control->cfg.stats, handshake_absent);
            hr_control_forget(control, c);
            continue;
        }
        HR_DROP(control->cfg.stats, handshake_timeout);
        hr_control_drop(control, c, true);
        c->failure = HR_TCP_FAIL_TIMEOUT;
        c->owed |= OWED_FAILED;
        hr_control_tell(control, c);
    }
}

/* Its connection is a session's from now on. */
static void let_go(struct hr_control_conn *c, struct hr_join_leg *ret_leg, uint32_t skip,
                   const struct hr_tls_secrets *secrets)
{
    *ret_leg = (struct hr_join_leg){.conn = c->leg.conn, .secrets = secrets, .skip = skip, .fin = c->fin};
    hr_tcp_set_user(c->leg.conn, NULL);
    c->leg.conn = NULL;
}

/* Copied out of its slots, on purpose: these bytes went through the control plane because the client sent them in the
 * same record as the end of its login. */
static int take_unread(struct hr_control *control, const struct hr_msg *msg, struct hr_pieceq *ret_unread)
{
    uint32_t left = msg->u.start.unread_len;
    int err = 0;

    for (uint32_t i = 0; i < HR_UNREAD_SLOTS && left > 0; i++) {
        uint32_t slot = msg->u.start.unread[i], n = left < HR_SLOT_SIZE ? left : HR_SLOT_SIZE;
        const uint8_t *data;
        if (hr_link_slot_read(&control->link, slot, n, &data) != 0)
            return HR_E_INVALID;
        if (err == 0)
            err = hr_pieceq_push_bytes(control->cfg.bufs, ret_unread, data, n);
        if (hr_link_slot_done(&control->link, slot, HR_EV_SLOT_FREE) != 0)
            return HR_E_INVALID;
        left -= n;
    }
    return left > 0 ? HR_E_INVALID : err;
}

static int start_session(struct hr_control *control, const struct hr_msg *msg, const struct hr_session_start *start,
                         struct hr_control_conn *c, struct hr_control_conn *broker, struct hr_pieceq *unread)
{
    struct hr_join_leg legs[2] = {0};
    uint64_t id;
    if (!c->hold || (broker && (!broker->hold || !broker->leg.conn)) || msg->u.start.client_skip > c->told ||
        (broker && msg->u.start.broker_skip > broker->told) || start->client_tls > 1 || start->broker_tls > 1 ||
        !hr_session_login_ok(&start->login))
        return HR_E_INVALID;
    let_go(c, &legs[0], msg->u.start.client_skip, start->client_tls ? &start->client : NULL);
    legs[0].origin = c->has_origin ? &c->origin : NULL;
    legs[0].unread = unread->bytes > 0 ? unread : NULL;
    if (broker)
        let_go(broker, &legs[1], msg->u.start.broker_skip, start->broker_tls ? &start->broker : NULL);
    int err = hr_proxy_join(control->cfg.proxy, c->listener, msg->u.start.node_id, &legs[0], &legs[1],
                            hr_session_login_empty(&start->login) ? NULL : &start->login, control->now_us, &id);
    if (!err)
        return 0;
    c->leg.conn = legs[0].conn;
    if (broker)
        broker->leg.conn = legs[1].conn;
    return err;
}

void hr_control_start(struct hr_control *control, const struct hr_msg *msg)
{
    const uint8_t *data;
    struct hr_session_start start;
    struct hr_pieceq unread;
    if (hr_link_slot_read(&control->link, msg->u.start.slot, sizeof(start), &data) != 0) {
        HR_DROP(control->cfg.stats, ipc_invalid);
        return;
    }
    memcpy(&start, data, sizeof(start));
    if (hr_link_slot_done(&control->link, msg->u.start.slot, HR_EV_SLOT_FREE) != 0)
        HR_DROP(control->cfg.stats, ipc_invalid);
    hr_pieceq_init(&unread);
    int err = take_unread(control, msg, &unread);
    if (err == HR_E_INVALID)
        HR_DROP(control->cfg.stats, ipc_invalid);
    struct hr_control_conn *c = hr_control_find(control, msg->id), *broker = NULL;
    if (msg->u.start.broker)
        broker = hr_control_find(control, msg->u.start.broker);
    if (broker && broker->handshake) /* a client's is nobody's broker */
        broker = NULL;
    bool lasts = c && c->leg.conn && !(c->owed & OWED_OVER) && c->handshake;
    bool broker_lasts = broker ? !(broker->owed & OWED_OVER) : !msg->u.start.broker;
    if (err == 0 && lasts && broker_lasts && start_session(control, msg, &start, c, broker, &unread) == 0) {
        c->owed = OWED_STARTED;
        hr_control_tell(control, c);
    } else if (c && c->leg.conn) { /* or one of the two has gone meanwhile */
        HR_DROP(control->cfg.stats, handshake_refused);
        hr_control_drop(control, c, true);
        c->failure = HR_TCP_FAIL_ABORTED;
        c->owed |= OWED_FAILED;
        hr_control_tell(control, c);
    }
    /* Part of a session by now, or of nothing: nobody else will end it. */
    if (broker)
        hr_control_forget(control, broker);
    hr_pieceq_clear(control->cfg.bufs, &unread);
    hr_wipe(&start, sizeof(start));
}
