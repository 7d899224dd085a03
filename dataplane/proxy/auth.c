/* Logins in mid-session (KIP-368): between the relay, which knows where the frames stand (dataplane/kafka/reauth.h), and
 * the control plane, which logs in and judges.
 *
 * What goes up is copied into slots, and wiped where it stood before its buffers go back: a client's frame stays in its
 * queue until its answer is there, so that a control plane that was restarted meanwhile is asked again. What has been
 * begun and lives in the old one's memory cannot go on: such a session is closed. Who finds no slot or no room in the
 * ring tries again when the sweep comes by. */
#include <string.h>

#include "dataplane/proxy/impl.h"

/* How long requests wait for a login that is due and that the control plane has not begun: it may be dead, or have no
 * credentials, and then they go on as long as the old login lasts. */
#define WAIT_US (500 * 1000ULL)

static struct hr_pieceq *queue_of(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return leg->tls ? hr_rec_plain(hr_rec_leg_at(proxy->cfg.rec, leg->tls)) : hr_tcp_rcvq(leg->conn);
}

/* The first n bytes that a leg has received are gone for good. */
static void wipe_and_drop(struct hr_proxy *proxy, const struct hr_leg *leg, uint32_t n)
{
    struct hr_pieceq *q = queue_of(proxy, leg);

    hr_pieceq_wipe(q, n);
    hr_pieceq_drop(proxy->cfg.bufs, q, n);
    if (!leg->tls)
        hr_tcp_consumed(proxy->cfg.tcp, leg->conn, n, 0, 0); /* the relay says what the other leg holds */
}

/* -- up --------------------------------------------------------------------------------------------------- */

static bool send_up(struct hr_proxy *proxy, const struct hr_session *s, struct hr_msg *msg, uint16_t type,
                    enum hr_auth_leg leg)
{
    msg->type = type;
    msg->id = hr_session_id(proxy, s);
    msg->u.auth.leg = (uint8_t)leg;
    return proxy->cfg.slot_send(proxy->cfg.owner, msg);
}

static bool say_begin(struct hr_proxy *proxy, const struct hr_session *s, enum hr_auth_leg leg)
{
    struct hr_msg msg = {0};
    uint8_t *data = proxy->cfg.slot_take(proxy->cfg.owner, &msg.u.auth.slot);
    struct hr_session_auth_begin begin;

    if (!data)
        return false;
    memset(&begin, 0, sizeof(begin));
    begin.login = *hr_logins_at(proxy, s->login);
    begin.client = *hr_session_client(proxy, s, &begin.client_port);
    begin.listener = s->listener;
    begin.node_id = s->node_id;
    memcpy(data, &begin, sizeof(begin));
    msg.u.auth.len = sizeof(begin);
    return send_up(proxy, s, &msg, HR_EV_SESSION_AUTH_BEGIN, leg);
}

/* The first len bytes of the leg's queue, from *told on. True: all have gone. */
static bool say_frame(struct hr_proxy *proxy, const struct hr_session *s, enum hr_auth_leg which, uint32_t len,
                      uint32_t *told)
{
    const struct hr_pieceq *q = queue_of(proxy, which == HR_AUTH_LEG_CLIENT ? &s->client : &s->broker);

    while (*told < len) {
        struct hr_msg msg = {0};
        uint32_t n = len - *told < HR_SLOT_SIZE ? len - *told : HR_SLOT_SIZE;
        uint8_t *data = proxy->cfg.slot_take(proxy->cfg.owner, &msg.u.auth.slot);

        if (!data)
            return false;
        hr_pieceq_peek(q, *told, data, n);
        msg.u.auth.len = n;
        msg.u.auth.more = *told + n < len;
        if (!send_up(proxy, s, &msg, HR_EV_SESSION_AUTH, which))
            return false;
        *told += n;
    }
    *told = 0;
    return true;
}

void hr_session_auth_up(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    struct hr_login_place *place = hr_logins_place(proxy, s->login);
    struct hr_reauth *a = &place->reauth;

    if (a->wanted && place->broker_waits_until_us == 0)
        place->broker_waits_until_us = now_us + WAIT_US;
    if (a->wanted && !place->broker_begun && say_begin(proxy, s, HR_AUTH_LEG_BROKER))
        place->broker_begun = true;
    a->wanted = false;
    if (a->client == HR_REAUTH_CLIENT_FRAME) {
        if (!place->client_begun && !say_begin(proxy, s, HR_AUTH_LEG_CLIENT))
            return;
        place->client_begun = true;
        if (say_frame(proxy, s, HR_AUTH_LEG_CLIENT, a->client_frame, &place->client_told))
            a->client = HR_REAUTH_CLIENT_ASKED;
    }
    if (a->broker == HR_REAUTH_BROKER_ANSWER &&
        say_frame(proxy, s, HR_AUTH_LEG_BROKER, a->broker_answer, &place->broker_told)) {
        wipe_and_drop(proxy, &s->broker, a->broker_answer);
        hr_reauth_answered(proxy->cfg.relays, s->relay, a);
    }
}

/* -- down ------------------------------------------------------------------------------------------------- */

/* Wipes what has been begun and is not complete, too. */
static int end_failed(struct hr_proxy *proxy, struct hr_session *s)
{
    hr_session_cut(proxy, s, HR_DROP_auth_failed);
    return 0;
}

/* A frame of the control plane's grows by what the message brings. */
static bool take_part(struct hr_proxy *proxy, struct hr_pieceq *frame, const struct hr_msg *msg, const uint8_t *data)
{
    uint32_t len = msg->u.auth.len;

    return len <= HR_REAUTH_FRAME_MAX - frame->bytes && hr_pieceq_push_bytes(proxy->cfg.bufs, frame, data, len) == 0;
}

static int client_answer(struct hr_proxy *proxy, struct hr_session *s, struct hr_login_place *place,
                         const struct hr_msg *msg, const uint8_t *data, uint64_t now_us)
{
    struct hr_reauth *a = &place->reauth;

    if (a->client != HR_REAUTH_CLIENT_ASKED)
        return HR_E_INVALID;
    if (!take_part(proxy, &a->reply, msg, data))
        return end_failed(proxy, s);
    if (msg->u.auth.more)
        return 0;
    if (a->reply.bytes == 0) /* nothing is said to whom nothing helps */
        return msg->u.auth.over == HR_AUTH_FAILED ? end_failed(proxy, s) : HR_E_INVALID;
    wipe_and_drop(proxy, &s->client, a->client_frame);
    a->client = HR_REAUTH_CLIENT_REPLY;
    a->client_begun = place->client_begun = msg->u.auth.over == HR_AUTH_NEXT;
    a->client_ends = msg->u.auth.over == HR_AUTH_FAILED;
    if (msg->u.auth.over == HR_AUTH_DONE) {
        place->login.expires_us = msg->u.auth.expires_us;
        HR_COUNT(proxy->cfg.stats, auth_clients);
    }
    hr_session_run(proxy, s, now_us);
    return 0;
}

static int broker_frame(struct hr_proxy *proxy, struct hr_session *s, struct hr_login_place *place,
                        const struct hr_msg *msg, const uint8_t *data, uint64_t now_us)
{
    struct hr_reauth *a = &place->reauth;

    if (place->broker_begun && msg->u.auth.over == HR_AUTH_FAILED)
        return end_failed(proxy, s);
    if (!place->broker_begun || (a->broker != HR_REAUTH_BROKER_NEXT && a->broker != HR_REAUTH_BROKER_IDLE))
        return HR_E_INVALID;
    if (msg->u.auth.over == HR_AUTH_DONE) {
        if (a->broker != HR_REAUTH_BROKER_NEXT || a->frame.bytes > 0 || msg->u.auth.len > 0)
            return HR_E_INVALID;
        place->login.broker_due_us = msg->u.auth.due_us;
        place->login.broker_expires_us = msg->u.auth.expires_us;
        place->broker_begun = false;
        hr_reauth_over(a);
        HR_COUNT(proxy->cfg.stats, auth_brokers);
    } else {
        if (!take_part(proxy, &a->frame, msg, data))
            return end_failed(proxy, s);
        if (msg->u.auth.more)
            return 0;
        if (!hr_reauth_ready(a)) {
            end_failed(proxy, s);
            return HR_E_INVALID;
        }
    }
    hr_session_run(proxy, s, now_us);
    return 0;
}

int hr_proxy_auth(struct hr_proxy *proxy, const struct hr_msg *msg, const uint8_t *data, uint64_t now_us)
{
    struct hr_session *s = hr_session_find(proxy, msg->id);

    if (!s)
        return 0; /* it has ended meanwhile */
    if (!s->login || !s->relay || msg->u.auth.over >= HR_AUTH_OVER_MAX || msg->u.auth.more > 1 ||
        msg->u.auth.leg >= HR_AUTH_LEG_MAX)
        return HR_E_INVALID;
    struct hr_login_place *place = hr_logins_place(proxy, s->login);
    return msg->u.auth.leg == HR_AUTH_LEG_CLIENT ? client_answer(proxy, s, place, msg, data, now_us)
                                                 : broker_frame(proxy, s, place, msg, data, now_us);
}

/* -- beginning, end, restart ------------------------------------------------------------------------------ */

void hr_session_auth_clock(struct hr_proxy *proxy, const struct hr_session *s, uint64_t now_us)
{
    struct hr_login_place *place = hr_logins_place(proxy, s->login);
    const struct hr_session_login *login = &place->login;

    place->reauth.client_expired = login->expires_us && now_us >= login->expires_us;
    place->reauth.broker_due = login->broker_due_us && now_us >= login->broker_due_us;
    place->reauth.broker_expired = login->broker_expires_us && now_us >= login->broker_expires_us;
    if (!place->reauth.broker_due)
        place->broker_waits_until_us = 0;
    place->reauth.broker_waits =
        place->reauth.broker_due && (place->broker_waits_until_us == 0 || now_us < place->broker_waits_until_us);
}

void hr_session_auth_end(struct hr_proxy *proxy, struct hr_session *s)
{
    struct hr_reauth *a = &hr_logins_place(proxy, s->login)->reauth;
    bool under_way = a->client_begun || a->client == HR_REAUTH_CLIENT_FRAME || a->client == HR_REAUTH_CLIENT_ASKED;

    if (under_way && s->client.conn) { /* also what has come behind the frame: the next one of the login */
        struct hr_pieceq *q = queue_of(proxy, &s->client);
        hr_pieceq_wipe(q, q->bytes);
    }
    hr_reauth_fini(proxy->cfg.bufs, a);
}

void hr_proxy_auth_restart(struct hr_proxy *proxy)
{
    for (uint32_t i = 1; i <= proxy->cfg.max_logins; i++) {
        struct hr_login_place *place = &proxy->logins[i];
        struct hr_reauth *a = &place->reauth;

        if (!place->used)
            continue;
        if (a->broker_holds || a->client_begun) {
            hr_session_cut(proxy, &proxy->sessions[place->session], HR_DROP_auth_interrupted);
            continue;
        }
        hr_pieceq_wipe(&a->frame, a->frame.bytes);
        hr_pieceq_clear(proxy->cfg.bufs, &a->frame);
        a->broker = HR_REAUTH_BROKER_IDLE;
        if (a->client == HR_REAUTH_CLIENT_ASKED) {
            a->client = HR_REAUTH_CLIENT_FRAME;
            hr_pieceq_clear(proxy->cfg.bufs, &a->reply);
        }
        place->client_told = place->broker_told = 0;
        place->client_begun = place->broker_begun = false;
    }
}
