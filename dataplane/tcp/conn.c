/* Life of a connection: creation, the state machine, the end in its several forms, and the owner's calls.
 *
 * A block is free, or in use and in the flow table, or CLOSED: out of the table, holding nothing but what the
 * owner may still read, until the owner releases it. A connection that the owner does not know yet, or knows
 * no more, is freed as soon as it is CLOSED. */
#include <string.h>

#include "dataplane/tcp/impl.h"

#define RTO_INITIAL_US 1000000     /* RFC 6298 2.1 */
#define RTO_AFTER_LOST_SYN 3000000 /* RFC 6298 5.7 */

struct hr_tcp_conn *hr_tcp_conn_new(struct hr_tcp *tcp, const struct hr_flow *flow)
{
    if (tcp->free_head == 0)
        return NULL;
    struct hr_tcp_conn *c = &tcp->conns[tcp->free_head - 1];
    tcp->free_head = c->hash;

    /* Its last use may have left it in a FIFO. */
    uint32_t next[HR_TCP_FIFO_MAX];
    memcpy(next, c->next, sizeof(next));
    bool event_queued = c->event_queued, dirty_queued = c->dirty_queued, wait_queued = c->wait_queued;
    memset(c, 0, sizeof(*c));
    memcpy(c->next, next, sizeof(next));
    c->event_queued = event_queued;
    c->dirty_queued = dirty_queued;
    c->wait_queued = wait_queued;
    c->in_use = true;
    c->flow = *flow;
    c->hash = hr_tcp_flow_hash(tcp, flow);
    hr_tcp_flow_insert(tcp, c);

    hr_tcp_flow_secrets(tcp, flow, &c->iss, &c->ts_offset);
    c->snd_una = c->snd_nxt = c->iss;
    c->adv_mss = RTE_MAX(tcp->cfg.path_mss(tcp->cfg.owner, &flow->local, &flow->remote), HR_TCP_MSS_MIN);
    if (tcp->cfg.path_port != NULL)
        c->port = tcp->cfg.path_port(tcp->cfg.owner, &flow->local, &flow->remote) % HR_TCP_MAX_PORTS;
    c->ts_on = c->sack_on = c->wscale_on = true; /* offered; the peer's SYN decides */
    c->rcv_wscale = tcp->rcv_wscale;
    hr_tcp_set_mss(c, HR_TCP_MSS_DEFAULT);
    c->rcv_target = tcp->cfg.rcv_wnd_initial;
    c->rcv_adv = RTE_MIN(c->rcv_target, 65535u); /* on top of RCV.NXT, once there is one */
    c->rcv_seg = c->adv_mss;
    hr_tcp_ack_quick(c);
    c->rto_us = RTO_INITIAL_US;
    c->last_rx_us = tcp->now_us;
    c->drained_since_us = (uint32_t)tcp->now_us;
    hr_pieceq_init(&c->rcvq);
    hr_pieceq_init(&c->sndq);
    tcp->n_conns++;
    HR_GAUGE_SET(tcp->stats, tcp_conns, tcp->n_conns);
    return c;
}

/* Out of the table and of every list but the events; nothing held but the receive queue. */
static void leave(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->state == HR_TCP_CLOSED)
        return;
    if (c->state == HR_TCP_SYN_RECEIVED && !c->active) {
        tcp->n_half_open--;
        HR_GAUGE_SET(tcp->stats, tcp_half_open, tcp->n_half_open);
    }
    hr_tcp_flow_remove(tcp, c);
    hr_tcp_timer_stop(tcp, c);
    hr_tcp_unmark_dirty(tcp, c);
    c->waiting = c->acked_asked = false;
    hr_pieceq_clear(tcp->bufs, &c->sndq);
    hr_tcp_reass_clear(tcp, c);
    hr_tcp_reass_reported(tcp, c);
    hr_tcp_flight_detach(tcp, c);
    hr_tcp_set_state(tcp, c, HR_TCP_CLOSED);
    hr_tcp_window_account(tcp, c);
}

void hr_tcp_conn_free(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    leave(tcp, c);
    hr_tcp_unmark_dirty(tcp, c);
    hr_tcp_timer_stop(tcp, c);
    c->events = 0;
    hr_pieceq_clear(tcp->bufs, &c->rcvq);
    c->in_use = false;
    c->hash = tcp->free_head;
    tcp->free_head = hr_tcp_conn_no(tcp, c);
    tcp->n_conns--;
    HR_GAUGE_SET(tcp->stats, tcp_conns, tcp->n_conns);
}

/* ---- state ---- */

#define TO(name) (1u << HR_TCP_##name)
static const uint16_t legal[HR_TCP_STATE_MAX] = {
    [HR_TCP_CLOSED] = TO(SYN_SENT) | TO(SYN_RECEIVED),
    [HR_TCP_SYN_SENT] = TO(SYN_RECEIVED) | TO(ESTABLISHED) | TO(CLOSED),
    [HR_TCP_SYN_RECEIVED] = TO(ESTABLISHED) | TO(CLOSED),
    [HR_TCP_ESTABLISHED] = TO(FIN_WAIT_1) | TO(CLOSE_WAIT) | TO(CLOSED),
    [HR_TCP_FIN_WAIT_1] = TO(FIN_WAIT_2) | TO(CLOSING) | TO(CLOSED),
    [HR_TCP_FIN_WAIT_2] = TO(TIME_WAIT) | TO(CLOSED),
    [HR_TCP_CLOSE_WAIT] = TO(LAST_ACK) | TO(CLOSED),
    [HR_TCP_CLOSING] = TO(TIME_WAIT) | TO(CLOSED),
    [HR_TCP_LAST_ACK] = TO(CLOSED),
    [HR_TCP_TIME_WAIT] = TO(CLOSED),
};

/* The peer has not acknowledged our FIN, and thus not all bytes. */
static bool fin_unacked(enum hr_tcp_state state)
{
    return (TO(ESTABLISHED) | TO(CLOSE_WAIT) | TO(FIN_WAIT_1) | TO(CLOSING) | TO(LAST_ACK)) & 1u << state;
}

void hr_tcp_set_state(struct hr_tcp *tcp, struct hr_tcp_conn *c, enum hr_tcp_state state)
{
    if (!(legal[c->state] & 1u << state))
        tcp->illegal_transitions++; /* a bug; the tests look at it. What a peer sent never stops a worker. */
    if (c->released && fin_unacked(c->state) && !fin_unacked(state))
        tcp->n_lingering--;
    c->state = (uint8_t)state;
}

void hr_tcp_post(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t events)
{
    if (c->released || !c->announced)
        return;
    c->events |= (uint8_t)events;
    if (c->event_queued)
        return;
    c->event_queued = true;
    hr_tcp_fifo_push(tcp, &tcp->fifo[HR_TCP_FIFO_EVENTS], HR_TCP_FIFO_EVENTS, c);
}

struct hr_tcp_conn *hr_tcp_next_event(struct hr_tcp *tcp, uint32_t *ret_events)
{
    struct hr_tcp_conn *c;
    while ((c = hr_tcp_fifo_pop(tcp, &tcp->fifo[HR_TCP_FIFO_EVENTS], HR_TCP_FIFO_EVENTS)) != NULL) {
        c->event_queued = false;
        if (c->events == 0)
            continue;
        *ret_events = c->events;
        c->events = 0;
        return c;
    }
    *ret_events = 0;
    return NULL;
}

void hr_tcp_set_mss(struct hr_tcp_conn *c, uint16_t mss)
{
    c->mss = mss;
    c->smss = (uint16_t)(mss - (c->ts_on && !HR_MUTANT(TIMESTAMPS_FREE) ? HR_TCP_TS_OPT_BYTES : 0)); /* RFC 6691 */
}

void hr_tcp_apply_syn(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    const struct hr_tcp_opts *o = &seg->opts;
    uint16_t peer_mss = o->has_mss ? RTE_MAX(o->mss, HR_MUTANT(TINY_MSS) ? 40 : HR_TCP_MSS_MIN) : HR_TCP_MSS_DEFAULT;

    c->irs = seg->seq;
    c->rcv_nxt = c->last_ack_sent = seg->seq + 1;
    c->rcv_adv = c->rcv_nxt + RTE_MIN(c->rcv_target, 65535u);
    c->ts_on = o->has_ts;
    c->ts_recent = o->tsval;
    c->ts_recent_ms = tcp->now_ms;
    c->sack_on = o->sack_ok;
    c->wscale_on = o->has_wscale;
    c->snd_wscale = o->has_wscale ? o->wscale : 0;
    if (!o->has_wscale)
        c->rcv_wscale = 0;
    c->snd_wnd = c->snd_wnd_max = seg->wnd; /* never scaled in a SYN */
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    hr_tcp_pmtu_open(tcp, c, RTE_MIN(peer_mss, c->adv_mss));
    hr_tcp_window_account(tcp, c);
}

/* The owner's FIN starts its way (RFC 9293 3.10.4). */
static void begin_close(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->state == HR_TCP_ESTABLISHED)
        hr_tcp_set_state(tcp, c, HR_TCP_FIN_WAIT_1);
    else if (c->state == HR_TCP_CLOSE_WAIT)
        hr_tcp_set_state(tcp, c, HR_TCP_LAST_ACK);
    hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_established(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    hr_tcp_set_state(tcp, c, HR_TCP_ESTABLISHED);
    c->announced = true;
    c->rtx_at = c->end_at = 0;
    c->backoff = c->retries = 0;
    c->last_rx_us = c->last_tx_us = tcp->now_us;
    if (c->syn_lost && c->srtt_us == 0)
        c->rto_us = RTO_AFTER_LOST_SYN;
    hr_tcp_cong_init(tcp, c);
    hr_tcp_ka_restart(tcp, c);
    if (c->active) {
        HR_COUNT(tcp->stats, tcp_connected);
        hr_tcp_post(tcp, c, HR_TCP_EV_CONNECTED);
    } else {
        HR_COUNT(tcp->stats, tcp_accepted);
        hr_tcp_post(tcp, c, HR_TCP_EV_ACCEPTED);
    }
    if (c->fin_queued)
        begin_close(tcp, c);
    hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_fail(struct hr_tcp *tcp, struct hr_tcp_conn *c, enum hr_tcp_failure failure)
{
    if (c->active && !hr_tcp_synchronized(c))
        HR_COUNT(tcp->stats, tcp_connect_failed);
    leave(tcp, c);
    c->failure = (uint8_t)failure;
    if (c->released || !c->announced)
        hr_tcp_conn_free(tcp, c);
    else
        hr_tcp_post(tcp, c, HR_TCP_EV_FAILED);
}

void hr_tcp_closed(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    leave(tcp, c);
    HR_COUNT(tcp->stats, tcp_closed);
    if (c->released || !c->announced)
        hr_tcp_conn_free(tcp, c);
    else
        hr_tcp_post(tcp, c, HR_TCP_EV_CLOSED);
}

void hr_tcp_enter_time_wait(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    hr_tcp_set_state(tcp, c, HR_TCP_TIME_WAIT);
    hr_tcp_time_wait_add(tcp, c);
    hr_tcp_closed(tcp, c);
}

/* ---- the owner's calls ---- */

int hr_tcp_connect(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t timeout_us,
                   struct hr_tcp_conn **ret_conn)
{
    uint32_t hash = hr_tcp_flow_hash(tcp, flow), after = 0;

    if (hr_addr_is_any(&flow->remote) || hr_addr_is_group(&flow->remote)) /* RFC 9293 3.9.2.3 */
        return HR_E_INVALID;
    if (hr_tcp_flow_find(tcp, flow, hash) != NULL)
        return HR_E_EXISTS;
    struct hr_tcp_time_wait *tw = hr_tcp_time_wait_find(tcp, flow, hash);
    if (tw != NULL) {
        if (!tw->ts_on) /* RFC 6191 2: with timestamps the peer can tell the two apart */
            return HR_E_EXISTS;
        after = tw->snd_nxt + 65536;
    }
    struct hr_tcp_conn *c = hr_tcp_conn_new(tcp, flow);
    if (c == NULL)
        return HR_E_FULL;
    if (tw != NULL) {
        HR_COUNT(tcp->stats, tcp_time_wait_reused);
        hr_tcp_time_wait_remove(tcp, tw);
        if (hr_seq_leq(c->iss, after))
            c->iss = c->snd_una = c->snd_nxt = after + 1;
    }
    c->active = c->announced = true;
    hr_tcp_set_state(tcp, c, HR_TCP_SYN_SENT);
    if (timeout_us != 0) {
        c->end_at = tcp->now_us + timeout_us;
        hr_tcp_timer_arm(tcp, c);
    }
    HR_COUNT(tcp->stats, tcp_connect);
    c->syn_due = true;
    hr_tcp_mark_dirty(tcp, c);
    *ret_conn = c;
    return 0;
}

struct hr_pieceq *hr_tcp_rcvq(struct hr_tcp_conn *c)
{
    return &c->rcvq;
}

uint32_t hr_tcp_send_bytes(const struct hr_tcp_conn *c)
{
    return c->sndq.bytes;
}

uint32_t hr_tcp_send_bufs(const struct hr_tcp_conn *c)
{
    return c->sndq.n_pieces;
}

static bool may_queue(const struct hr_tcp_conn *c)
{
    return !c->fin_queued && !c->released &&
           (c->state == HR_TCP_SYN_SENT || c->state == HR_TCP_SYN_RECEIVED ||
            c->state == HR_TCP_ESTABLISHED || c->state == HR_TCP_CLOSE_WAIT);
}

uint32_t hr_tcp_send_room(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint32_t max = tcp->cfg.snd_buf_max;
    return may_queue(c) && max > c->sndq.bytes ? max - c->sndq.bytes : 0;
}

int hr_tcp_send_move(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_pieceq *src, uint32_t n)
{
    if (!may_queue(c))
        return HR_E_CLOSED;
    int err = hr_pieceq_move(tcp->bufs, &c->sndq, src, n);
    if (err == 0 && n > 0)
        hr_tcp_mark_dirty(tcp, c);
    return err;
}

struct hr_pieceq *hr_tcp_sndq(struct hr_tcp_conn *c)
{
    return may_queue(c) ? &c->sndq : NULL;
}

void hr_tcp_send_appended(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    hr_tcp_mark_dirty(tcp, c);
}

int hr_tcp_send_bytes_copy(struct hr_tcp *tcp, struct hr_tcp_conn *c, const void *data, uint32_t n)
{
    if (!may_queue(c))
        return HR_E_CLOSED;
    int err = hr_pieceq_push_bytes(tcp->bufs, &c->sndq, data, n);
    if (err == 0 && n > 0)
        hr_tcp_mark_dirty(tcp, c);
    return err;
}

void hr_tcp_ask_acked(struct hr_tcp_conn *c, uint32_t n)
{
    c->acked_asked = c->sndq.bytes > 0;
    c->acked_mark = c->snd_una + RTE_MIN(n, c->sndq.bytes);
}

void hr_tcp_shutdown(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->fin_queued || c->state == HR_TCP_CLOSED)
        return;
    c->fin_queued = true;
    if (hr_tcp_synchronized(c))
        begin_close(tcp, c);
}

void hr_tcp_abort(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    /* RFC 9293 3.10.5: where the peer believes in a connection it is told. */
    if (c->state != HR_TCP_CLOSED && c->state != HR_TCP_SYN_SENT)
        hr_tcp_send_conn_rst(tcp, c);
    hr_tcp_conn_free(tcp, c);
}

/* What was for the owner is dropped. */
static void leave_owner(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->events = 0;
    c->released = true;
    c->user = NULL;
    hr_pieceq_clear(tcp->bufs, &c->rcvq);
    hr_tcp_reass_clear(tcp, c);
}

void hr_tcp_release_reset(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (!hr_tcp_synchronized(c) || c->sndq.bytes == 0) {
        hr_tcp_abort(tcp, c);
        return;
    }
    leave_owner(tcp, c);
    c->reset_at_end = true;
    tcp->n_lingering += fin_unacked(c->state);
}

void hr_tcp_release(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->state == HR_TCP_CLOSED || c->state == HR_TCP_SYN_SENT) {
        hr_tcp_conn_free(tcp, c);
        return;
    }
    if (c->state == HR_TCP_SYN_RECEIVED) {
        hr_tcp_abort(tcp, c);
        return;
    }
    leave_owner(tcp, c);
    if (c->state == HR_TCP_FIN_WAIT_2) {
        c->end_at = tcp->now_us + tcp->cfg.half_close_us;
        hr_tcp_timer_arm(tcp, c);
    } else {
        tcp->n_lingering += fin_unacked(c->state);
        hr_tcp_shutdown(tcp, c);
    }
}

uint32_t hr_tcp_lingering(const struct hr_tcp *tcp)
{
    return tcp->n_lingering;
}

void hr_tcp_set_user(struct hr_tcp_conn *c, void *user)
{
    c->user = user;
}

void hr_tcp_set_peer(struct hr_tcp_conn *c, enum hr_zone_peer peer, uint8_t zone)
{
    c->peer = (uint8_t)peer & 15;
    c->zone = zone & (HR_ZONES_MAX - 1);
}

void *hr_tcp_user(const struct hr_tcp_conn *c)
{
    return c->user;
}

const struct hr_flow *hr_tcp_flow(const struct hr_tcp_conn *c)
{
    return &c->flow;
}

void hr_tcp_conn_get_info(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, struct hr_tcp_conn_info *ret)
{
    *ret = (struct hr_tcp_conn_info){
        .state = c->state,
        .error = c->failure,
        .srtt_us = c->srtt_us,
        .rto_us = hr_tcp_rto(tcp, c),
        .cwnd = c->cwnd,
        .ssthresh = c->ssthresh,
        .snd_wnd = c->snd_wnd,
        .rcv_wnd = c->rcv_adv - c->rcv_nxt,
        .mss = c->mss,
        .in_flight = c->snd_nxt - c->snd_una,
        .snd_queued = c->sndq.bytes,
        .rcv_queued = c->rcvq.bytes,
        .retransmits = c->retransmits,
        .last_rx_us = c->last_rx_us,
    };
}
