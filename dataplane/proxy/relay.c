/* Moving bytes between the legs of a session, and what the end of one leg means for the other.
 *
 * Pieces leave the receive queue of one leg and enter the send queue of the other; the window offered on the
 * first follows what the second still holds. An orderly end (FIN) passes through after the bytes before it. So
 * does the death of a leg: what it had received is delivered, and what follows is FIN where a frame ends and RST
 * inside one or in an opaque stream, so that nobody takes a part for the whole. */
#include <rte_branch_prediction.h>

#include "dataplane/proxy/impl.h"

/* Moves per call before the session yields to others: what was left runs next turn. */
#define HR_RUN_ROUNDS 4

struct direction {
    struct hr_leg *from, *to;
    bool up;      /* requests, client to broker */
    bool discard; /* nobody is left to read it; responses still free what holds requests back */
};

/* What one round of one direction did. */
struct moved {
    uint32_t taken;       /* bytes that the relay took */
    uint32_t made;        /* and made for the other leg */
    uint32_t want;        /* so many more must be able to come */
    bool blocked;         /* bytes are waiting that could not move now */
    bool again;           /* for lack of memory: no event will tell when, so run again next turn */
    bool own_reply;
    bool switched;        /* what comes next is for, or from, another broker leg */
    bool ask_reader;      /* the relay wants to know whether fetches may go elsewhere */
    bool appended;        /* to the queue of a leg that takes it */
    enum hr_drop verdict; /* HR_DROP_MAX: none */
};

bool hr_session_at_boundary(const struct hr_session *s)
{
    struct hr_relay_state relay;
    if (!s->relay)
        return false; /* an opaque stream has no boundaries */
    hr_relay_get_state(s->relay, &relay);
    return relay.in_flight == 0 && !relay.request_mid_frame && !relay.response_mid_frame;
}

bool hr_session_draining(const struct hr_proxy *proxy, const struct hr_session *s)
{
    if (proxy->draining || ((s->client.tls | s->broker.tls) && hr_session_worn_out(proxy, s)))
        return true;
    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);
    if (!listener || listener->draining)
        return true;
    if (s->mode != HR_LISTENER_KAFKA || !proxy->brokers_drain)
        return false;
    const struct hr_policy_broker *broker = hr_policy_find_broker(proxy->policy, s->node_id);
    return broker && (broker->flags & HR_BROKER_DRAINING);
}

static void move_opaque(struct hr_proxy *proxy, const struct hr_session *s, const struct direction *d, struct hr_pieceq *in, uint32_t room,
                        struct moved *ret)
{
    uint32_t n = in->bytes < room ? in->bytes : room;
    struct hr_pieceq *out = d->discard ? NULL : hr_leg_out(proxy, d->to);
    if (d->discard)
        hr_pieceq_drop(proxy->cfg.bufs, in, n);
    else if (n && (!out || hr_pieceq_move(proxy->cfg.bufs, out, in, n) != 0)) {
        n = 0;
        ret->again = true;
    }
    proxy->cfg.zones->bytes[s->client.zone][s->broker.zone][d->up ? HR_ZONE_UP : HR_ZONE_DOWN][HR_ZONE_OPAQUE] += n;
    ret->taken += n;
    ret->made += d->discard ? 0 : n;
    ret->appended |= ret->made > 0;
    ret->blocked = in->bytes > 0;
}

static void move_kafka(struct hr_proxy *proxy, struct hr_session *s, const struct direction *d,
                       struct hr_pieceq *in, uint32_t room, struct moved *ret)
{
    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);
    struct hr_relay_result result = {.verdict = HR_DROP_MAX};
    struct hr_reauth *reauth = s->login ? &hr_logins_place(proxy, s->login)->reauth : NULL;

    /* Where the leg to write to has failed, the session ends by that: the event is on its way. */
    struct hr_pieceq *out = d->discard ? NULL : hr_leg_out(proxy, d->to), *waste = out ? NULL : &proxy->waste;
    uint32_t before = out ? out->bytes : 0;
    hr_relay_between(proxy->cfg.relays, s->client.zone, d->up ? d->to->zone : d->from->zone);
    if (d->up)
        hr_relay_requests(proxy->cfg.relays, s->relay, reauth, proxy->policy, listener, in, out ? out : waste, room,
                          &result);
    else
        hr_relay_responses(proxy->cfg.relays, s->relay, reauth, proxy->policy, listener, in, out ? out : waste, room,
                           &result);
    ret->taken += result.taken;
    ret->made += (out ? out : waste)->bytes - before;
    ret->want = result.want;
    ret->blocked = result.blocked;
    ret->again |= result.again;
    ret->own_reply |= result.own_reply;
    ret->switched = result.switched;
    ret->ask_reader = result.ask_reader;
    ret->verdict = result.verdict;
    if (waste)
        hr_pieceq_clear(proxy->cfg.bufs, waste);
    else
        ret->appended |= ret->made > 0;
    if (result.leader_hint)
        proxy->cfg.hint(proxy->cfg.owner, s->listener, s->node_id);
}

static void relay(struct hr_proxy *proxy, struct hr_session *s, const struct direction *d, struct hr_pieceq *in,
                  uint32_t room, struct moved *ret)
{
    if (s->relay)
        move_kafka(proxy, s, d, in, room, ret);
    else
        move_opaque(proxy, s, d, in, room, ret);
}

/* The same from a leg that speaks TLS: records are opened as far as the relay has use for them. What has been opened
 * stands in no window any more, so it is no more than the other leg has room for, or a frame being held, and the
 * rest of a record. Returns the bytes that left the receive queue. */
static uint32_t relay_opened(struct hr_proxy *proxy, struct hr_session *s, const struct direction *d, uint32_t room,
                             struct moved *ret)
{
    struct hr_rec_leg *tls = hr_rec_leg_at(proxy->cfg.rec, d->from->tls);
    struct hr_pieceq *in = hr_tcp_rcvq(d->from->conn), *plain = hr_rec_plain(tls);
    uint32_t enough = room, taken = 0;
    struct hr_rec_opened o;

    for (unsigned round = 0;; round++) {
        hr_rec_open(proxy->cfg.rec, tls, in, enough, &o);
        taken += o.taken;
        if (o.reply)
            ret->again |= hr_leg_seal(proxy, d->from);
        relay(proxy, s, d, plain, room - (ret->made < room ? ret->made : room), ret);
        if (o.verdict != HR_DROP_MAX && ret->verdict == HR_DROP_MAX)
            ret->verdict = o.verdict; /* what was verified before has gone on */
        if (ret->verdict != HR_DROP_MAX || ret->want == 0 || ret->switched || o.want > 0 || o.again || round == HR_RUN_ROUNDS)
            break;
        enough = plain->bytes + ret->want;
    }
    /* A record that is not complete is no reason to wait for us. */
    ret->blocked |= o.again || (in->bytes > 0 && o.want == 0);
    ret->again |= o.again || (ret->want > 0 && in->bytes > 0 && o.want == 0);
    ret->want = o.want;
    if (hr_rec_ended(tls)) {
        if (d->up)
            s->client_fin = true;
        else
            s->broker_fin = true;
    }
    return taken;
}

static struct moved move(struct hr_proxy *proxy, struct hr_session *s, const struct direction *d, uint64_t now_us)
{
    struct moved moved = {.verdict = HR_DROP_MAX};
    struct hr_tcp *tcp = proxy->cfg.tcp;
    uint32_t room = d->discard ? UINT32_MAX : hr_tcp_send_room(tcp, d->to->conn), left;

    if (d->to->tls && !d->discard) {
        uint32_t waiting = hr_leg_unsealed(proxy, d->to)->bytes;
        room -= waiting < room ? waiting : room;
    }
    if (d->from->tls) {
        left = relay_opened(proxy, s, d, room, &moved);
    } else {
        relay(proxy, s, d, hr_tcp_rcvq(d->from->conn), room, &moved);
        left = moved.taken;
    }
    if (d->to->tls && !d->discard) {
        if (hr_leg_seal(proxy, d->to))
            moved.again = moved.blocked = true;
    } else if (moved.appended) {
        hr_tcp_send_appended(tcp, d->to->conn);
    }
    hr_tcp_want(tcp, d->from->conn, moved.want);
    hr_tcp_relayed(tcp, d->from->conn, left, d->to->conn);
    if (moved.taken) {
        s->last_active_us = now_us;
        hr_session_moved(proxy, s, d->up ? d->to->zone : d->from->zone, d->up ? HR_ZONE_UP : HR_ZONE_DOWN, moved.taken);
        if (d->up) {
            s->bytes_up += moved.taken;
            HR_COUNT_N(proxy->cfg.stats, relay_bytes_up, moved.taken);
        } else {
            s->bytes_down += moved.taken;
            HR_COUNT_N(proxy->cfg.stats, relay_bytes_down, moved.taken);
        }
    }
    return moved;
}

/* What a branch moved, and would have moved over the broker's leg. */
static void count_steered(struct hr_proxy *proxy, const struct hr_session *s, const struct hr_leg *leg, bool up, uint32_t n)
{
    proxy->cfg.zones->steered[s->client.zone][s->broker.zone][leg->zone][up ? HR_ZONE_UP : HR_ZONE_DOWN] += n;
    if (!up && leg->zone == s->client.zone)
        HR_COUNT_N(proxy->cfg.stats, reads_in_zone_bytes, n);
}

/* What one more move did, behind those before it, which has gone where they switched to. */
static void add_moved(struct moved *all, const struct moved *one)
{
    struct moved sum = *one;

    sum.switched = false;
    sum.taken += all->taken;
    sum.made += all->made;
    sum.own_reply |= all->own_reply;
    sum.again |= all->again;
    *all = sum;
}

/* The same with whichever of two broker legs the relay is at, in turn. */
static struct moved move_legs(struct hr_proxy *proxy, struct hr_session *s, struct direction d, uint64_t now_us)
{
    struct moved all = {.verdict = HR_DROP_MAX};

    for (;;) {
        bool branch = d.up ? hr_relay_request_branch(s->relay) : hr_relay_response_branch(s->relay);
        struct hr_branch *b = hr_branch_at(proxy, s);
        struct hr_leg *leg = !branch ? &s->broker : d.up ? hr_branch_for_request(proxy, s, now_us) : &b->leg;
        if (!leg) {
            all.blocked = true;
            return all;
        }
        if (d.up)
            d.to = leg;
        else
            d.from = leg;
        struct moved one = move(proxy, s, &d, now_us);
        if (leg->kind == HR_LEG_BRANCH)
            count_steered(proxy, s, leg, d.up, one.taken);
        add_moved(&all, &one);
        if (!one.switched || one.verdict != HR_DROP_MAX)
            return all;
    }
}

/* A first request for a branch, or the question whether there may be one. */
static void first_of_branch(struct hr_proxy *proxy, struct hr_session *s, struct moved *up, const struct direction *d,
                            uint64_t now_us)
{
    if (up->ask_reader)
        hr_session_may_read_elsewhere(proxy, s);
    struct moved more = move_legs(proxy, s, *d, now_us);
    add_moved(up, &more);
}

bool hr_session_mid_frame(const struct hr_session *s, bool request)
{
    return s->relay && hr_relay_mid_frame(s->relay, request);
}

/* What a dead leg had received has moved: the other ends too. Returns true when the session ended by it. */
static bool pass_failures(struct hr_proxy *proxy, struct hr_session *s, const struct moved *up,
                          const struct moved *down)
{
    if (s->broker_failed && !down->blocked) {
        bool whole = s->relay && !hr_session_mid_frame(s, false) && hr_leg_unread(proxy, &s->broker) == 0;
        hr_session_end(proxy, s, HR_DROP_broker_closed, whole ? HR_END_FIN : HR_END_RST, HR_END_FIN);
        return true;
    }
    if (s->client_failed && !up->blocked) {
        bool whole = s->relay && !hr_session_mid_frame(s, true) && hr_leg_unread(proxy, &s->client) == 0;
        struct hr_tcp_conn_info info;
        hr_tcp_conn_get_info(proxy->cfg.tcp, s->client.conn, &info);
        /* Timeouts and the like were counted by TCP under their own names. */
        hr_session_end(proxy, s, info.error == HR_TCP_FAIL_RESET ? HR_DROP_client_reset : HR_DROP_MAX, HR_END_FIN,
                       whole ? HR_END_FIN : HR_END_RST);
        return true;
    }
    return false;
}

/* Why a half that is over is less than it should have been: a record is not complete, or a frame. */
static enum hr_drop cut_short(const struct hr_proxy *proxy, const struct hr_leg *leg)
{
    return leg->tls && !hr_leg_ended(proxy, leg) && hr_tcp_rcvq(leg->conn)->bytes > 0 ? HR_DROP_tls_truncated
                                                                                      : HR_DROP_kafka_partial_frame;
}

/* Many clients close without close_notify. Where a frame ends that does no harm; who cut the connection is not known
 * (RFC 8446 6.1). */
static void note_bare_fin(struct hr_proxy *proxy, const struct hr_leg *leg)
{
    if (leg->tls && !hr_leg_ended(proxy, leg))
        HR_COUNT(proxy->cfg.stats, tls_fin_bare);
}

/* A half is over and everything before its FIN has moved: pass the FIN on. Requests that a drain holds back will
 * not move any more; their client's FIN waits with them for the answers that are owed. Returns true when the
 * session ended by it. */
static bool pass_fins(struct hr_proxy *proxy, struct hr_session *s, const struct moved *up,
                      const struct moved *down, bool held)
{
    if (s->client_fin && !s->broker_shut && !up->blocked && !held) {
        /* A header or a record that is not complete is not taken: it is still there. */
        if ((s->relay || s->client.tls) &&
            (hr_session_mid_frame(s, true) || hr_leg_unread(proxy, &s->client) > 0)) {
            hr_session_end(proxy, s, cut_short(proxy, &s->client), HR_END_FIN, HR_END_RST);
            return true;
        }
        note_bare_fin(proxy, &s->client);
        hr_leg_shutdown(proxy, &s->broker);
        s->broker_shut = true;
        s->state = HR_SESSION_CLOSING;
    }
    if (s->broker_fin && !s->client_shut && !down->blocked) {
        if (hr_session_mid_frame(s, false) || (s->broker.tls && hr_leg_unread(proxy, &s->broker) > 0)) {
            hr_session_end(proxy, s, cut_short(proxy, &s->broker), HR_END_RST, HR_END_RST);
            return true;
        }
        note_bare_fin(proxy, &s->broker);
        hr_leg_shutdown(proxy, &s->client);
        s->client_shut = true;
        s->state = HR_SESSION_CLOSING;
        /* A Kafka broker that closes will answer nothing more: the session is over with the last byte. An
         * opaque stream may go on in the other direction (half-close). */
        if (s->relay) {
            hr_session_end(proxy, s, s->client_fin ? HR_DROP_MAX : HR_DROP_broker_closed, HR_END_FIN, HR_END_FIN);
            return true;
        }
    }
    if (s->client_shut && s->broker_shut) {
        hr_session_end(proxy, s, HR_DROP_MAX, HR_END_FIN, HR_END_FIN);
        return true;
    }
    return false;
}

static void note_buffers(struct hr_proxy *proxy, const struct hr_session *s)
{
    uint64_t *peak = &proxy->cfg.stats->gauges[HR_GAUGE_conn_bufs_held_peak];
    uint64_t held = 0;
    if (s->client.conn)
        held += hr_tcp_rcvq(s->client.conn)->n_pieces + hr_tcp_send_bufs(s->client.conn);
    if (s->broker.conn)
        held += hr_tcp_rcvq(s->broker.conn)->n_pieces + hr_tcp_send_bufs(s->broker.conn);
    if (held > *peak)
        *peak = held;
}

/* held: we take no further request, so none is late. */
static void note_request_progress(const struct hr_proxy *proxy, struct hr_session *s, const struct moved *up, bool held, uint64_t now_us)
{
    if (!s->relay)
        return;
    bool incomplete = hr_relay_mid_frame(s->relay, true) || hr_leg_unread(proxy, &s->client) > 0;
    uint32_t requests = (uint32_t)hr_relay_count(s->relay);
    bool another = requests != s->requests_seen;
    s->requests_seen = requests;
    if (!incomplete || held)
        s->request_begun_us = 0;
    else if (!s->request_begun_us || another || up->blocked)
        s->request_begun_us = now_us; /* waiting for us is not the client's fault */
}

/* Input that ends a session: which API it was is worth knowing. */
static void log_bad_input(struct hr_proxy *proxy, const struct hr_session *s, enum hr_drop verdict)
{
    struct hr_relay_state relay;
    if (!s->relay)
        return;
    hr_relay_get_state(s->relay, &relay);
    hr_proxy_log(proxy, HR_LOGEV_BAD_INPUT, s, verdict, (uint16_t)relay.last_api_key,
                 (uint16_t)relay.last_api_version);
}

static void run_again(struct hr_proxy *proxy, struct hr_session *s)
{
    if (s->in_run_list)
        return;
    s->in_run_list = true;
    s->next = NULL;
    if (proxy->run_last)
        proxy->run_last->next = s;
    else
        proxy->run_first = s;
    proxy->run_last = s;
}

/* How a client's leg ends when the session cannot go on. */
static enum hr_leg_end response_end(const struct hr_session *s)
{
    return s->relay && !hr_session_mid_frame(s, false) ? HR_END_FIN : HR_END_RST;
}

/* Has a half or a leg ended? Nothing is to be passed on else. */
static bool has_end(const struct hr_session *s)
{
    return s->client_fin || s->broker_fin || s->client_failed || s->broker_failed;
}

static bool branched(const struct hr_proxy *proxy, const struct hr_session *s)
{
    return unlikely(hr_branch_at(proxy, s) != NULL);
}

/* Which directions to look at. */
enum { UP = 1, DOWN = 2, BOTH = UP | DOWN };

static void run(struct hr_proxy *proxy, struct hr_session *s, unsigned dirs, uint64_t now_us)
{
    const struct direction up_direction = {.from = &s->client, .to = &s->broker, .up = true};
    const struct direction down_direction = {.from = &s->broker, .to = &s->client, .up = false,
                                             .discard = s->client_failed};
    struct moved up = {.verdict = HR_DROP_MAX}, down = up;

    if (s->state == HR_SESSION_CONNECTING || s->state == HR_SESSION_FREE)
        return;
    if (!hr_session_listener(proxy, s)) {
        hr_session_cut(proxy, s, HR_DROP_listener_removed);
        return;
    }
    note_buffers(proxy, s);
    if (s->login)
        hr_session_auth_clock(proxy, s, now_us);
    bool hold_up = false;
    for (unsigned round = 0;; round++, dirs = BOTH) {
        /* A draining session finishes the frame under way and starts no other. */
        if (dirs & UP)
            hold_up = s->relay && hr_session_draining(proxy, s) && !hr_session_mid_frame(s, true);
        if ((dirs & UP) && !hold_up && !s->broker_shut && !s->broker_failed)
            up = branched(proxy, s) ? move_legs(proxy, s, up_direction, now_us) : move(proxy, s, &up_direction, now_us);
        if (unlikely(up.switched || up.ask_reader))
            first_of_branch(proxy, s, &up, &up_direction, now_us);
        if (up.verdict != HR_DROP_MAX) {
            log_bad_input(proxy, s, up.verdict);
            hr_session_end(proxy, s, up.verdict, response_end(s), HR_END_RST);
            return;
        }
        if ((dirs & DOWN) && !s->client_shut)
            down = branched(proxy, s) ? move_legs(proxy, s, down_direction, now_us)
                                      : move(proxy, s, &down_direction, now_us);
        if (down.verdict != HR_DROP_MAX) {
            log_bad_input(proxy, s, down.verdict);
            hr_session_end(proxy, s, down.verdict, response_end(s), HR_END_RST);
            return;
        }
        if (s->login && s->relay)
            hr_session_auth_up(proxy, s, now_us);
        /* Responses free in-flight records, which lets requests go on. */
        if (!(up.blocked && down.made) && !up.own_reply)
            break;
        if (round == HR_RUN_ROUNDS) {
            run_again(proxy, s);
            break;
        }
    }
    if (up.again || down.again)
        run_again(proxy, s);
    s->stuck = up.blocked || down.blocked || hold_up;
    if (s->stuck) { /* room, buffers, answers: any may be it */
        hr_tcp_ask_acked(s->client.conn, 1);
        hr_tcp_ask_acked(s->broker.conn, 1);
    }
    if (branched(proxy, s) && !hr_branch_settle(proxy, s, down.blocked, now_us))
        return;
    bool ends = has_end(s);
    if (ends && pass_failures(proxy, s, &up, &down))
        return;
    if (dirs & UP)
        note_request_progress(proxy, s, &up, hold_up, now_us);
    if (ends)
        pass_fins(proxy, s, &up, &down, hold_up && hr_leg_unread(proxy, &s->client) > 0);
}

void hr_session_run(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    run(proxy, s, BOTH, now_us);
}

/* The usual news of a session in which nothing waits: bytes that arrived have one way to go, and bytes that were
 * acknowledged only make room on the other leg. */
static void run_simple(struct hr_proxy *proxy, struct hr_session *s, const struct hr_leg *leg, uint32_t events,
                       uint64_t now_us)
{
    bool client = leg->kind == HR_LEG_CLIENT;

    if (events & HR_TCP_EV_ACKED)
        hr_tcp_relayed(proxy->cfg.tcp, client ? s->broker.conn : s->client.conn, 0, leg->conn);
    if (events & HR_TCP_EV_READABLE)
        run(proxy, s, client ? UP : DOWN, now_us);
}

static void relaying(struct hr_session *s)
{
    s->state = HR_SESSION_RELAYING;
    s->request_begun_us = 0;
    s->requests_seen = s->branch = 0;
}

void hr_proxy_event(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us)
{
    if (unlikely(leg->kind == HR_LEG_BRANCH)) {
        hr_branch_event(proxy, leg, events, now_us);
        return;
    }
    struct hr_session *s = hr_leg_session(leg);
    bool client = leg->kind == HR_LEG_CLIENT;

    if (events & HR_TCP_EV_FAILED) {
        struct hr_tcp_conn_info info;
        hr_tcp_conn_get_info(proxy->cfg.tcp, leg->conn, &info);
        if (s->state == HR_SESSION_CONNECTING) {
            if (client)
                hr_session_end(proxy, s, info.error == HR_TCP_FAIL_RESET ? HR_DROP_client_reset : HR_DROP_MAX,
                               HR_END_FIN, HR_END_ABORT);
            else
                hr_session_connect_failed(proxy, s, info.error, now_us);
            return;
        }
        if (client)
            s->client_failed = true;
        else
            s->broker_failed = true;
        s->state = HR_SESSION_CLOSING;
    }
    if (!client && (events & HR_TCP_EV_CONNECTED))
        relaying(s);
    if (events & HR_TCP_EV_FIN) {
        if (client)
            s->client_fin = true;
        else
            s->broker_fin = true;
    }
    if (s->state == HR_SESSION_CONNECTING) {
        /* Came and went. On an opaque stream the peer may still have something to say to such a client. */
        if (s->relay && s->client_fin && hr_leg_unread(proxy, &s->client) == 0)
            hr_session_end(proxy, s, HR_DROP_MAX, HR_END_FIN, HR_END_RST);
        return;
    }
    if (s->state == HR_SESSION_RELAYING && !has_end(s) && !s->stuck && !branched(proxy, s) &&
        !(events & ~(uint32_t)(HR_TCP_EV_READABLE | HR_TCP_EV_ACKED)))
        run_simple(proxy, s, leg, events, now_us);
    else
        hr_session_run(proxy, s, now_us);
}

bool hr_proxy_run(struct hr_proxy *proxy, uint64_t now_us)
{
    struct hr_session *s = proxy->run_first;
    proxy->run_first = proxy->run_last = NULL;
    while (s) {
        struct hr_session *next = s->next;
        s->next = NULL;
        s->in_run_list = false;
        hr_session_run(proxy, s, now_us);
        s = next;
    }
    return proxy->run_first != NULL;
}
