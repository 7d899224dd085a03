/* Timers: each connection keeps its deadlines and one entry in the wheel, which stands at or before the
 * earliest of them. A deadline that moves back leaves the entry where it is; when that fires too early it is
 * armed again (RFC 9293 3.8, RFC 6298 5, RFC 1122 4.2.3.6). */
#include <stddef.h>

#include "dataplane/tcp/impl.h"

/* Entries fired per call of hr_tcp_advance(): what arrives meanwhile waits for them, and for what they send. */
#define FIRE_MAX 32
/* Where buffers are short: connections looked at per call, and how long a window has to be closed, ms. */
#define STALLED_STEP 256
#define STALLED_PAUSE_US 1000
#define STALLED_MIN_MS 500

static bool due(const struct hr_tcp *tcp, uint64_t at)
{
    return at != 0 && at <= tcp->now_us;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : RTE_MIN(a, b);
}

void hr_tcp_timer_arm(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint64_t at = earlier(earlier(c->rtx_at, hr_tcp_ack_at(tcp, c)), earlier(c->ka_at, c->end_at));
    if (at == 0)
        return;
    uint64_t tick = hr_wheel_tick_from(at);
    if (hr_wheel_after(&c->timer, tick))
        hr_wheel_arm(&tcp->wheel, &c->timer, tick);
}

void hr_tcp_timer_stop(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->rtx_at = c->ka_at = c->end_at = 0;
    c->ack_at_us = 0;
    c->persist = false;
    hr_wheel_disarm(&tcp->wheel, &c->timer);
}

/* How long the peer may leave things as they are: its window may be closed for longer than its ACKs may be missing,
 * also when it was closed upon what is in flight. */
static uint64_t stall_limit_us(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    return c->snd_wnd == 0 ? tcp->cfg.zero_window_us : tcp->cfg.user_timeout_us;
}

static uint64_t stalled_us(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    return (tcp->now_ms - c->stalled_since_ms) * 1000ULL;
}

/* The next timeout, not after the limit. */
static uint64_t next_rto(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint64_t limit = stall_limit_us(tcp, c), stalled = stalled_us(tcp, c), rto = hr_tcp_rto(tcp, c);
    return tcp->now_us + (stalled < limit ? RTE_MIN(rto, limit - stalled) : rto);
}

void hr_tcp_rtx_restart(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->persist) {
        c->persist = false;
        c->backoff = 0;
    }
    if (c->flight == NULL) {
        c->rtx_at = 0;
        return;
    }
    if (!HR_MUTANT(RTO_NOT_RESTARTED) || c->flight->rto_at == 0)
        c->flight->rto_at = next_rto(tcp, c);
    hr_tcp_tlp_schedule(tcp, c);
    hr_tcp_rtx_sync(tcp, c);
}

void hr_tcp_rtx_plain(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    uint64_t was = c->rtx_at, at = tcp->now_us + RTE_MIN(c->rto_us, tcp->cfg.user_timeout_us);

    if (HR_MUTANT(RTO_NOT_RESTARTED) && f->rto_at != 0)
        at = f->rto_at;
    f->rto_at = at;
    f->pto_at = f->reo_at = 0;
    if (c->sack_on && c->rtt_fresh && !HR_MUTANT(NO_TLP))
        f->pto_at = at = RTE_MIN(at, tcp->now_us + hr_tcp_tlp_wait_us(c));
    c->rtx_at = at;
    if (was == 0 || at < was)
        hr_tcp_timer_arm(tcp, c);
}

void hr_tcp_rtx_sync(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    const struct hr_tcp_flight *f = c->flight;

    uint64_t was = c->rtx_at;

    c->rtx_at = earlier(f->rto_at, earlier(f->pto_at, f->reo_at));
    if (was == 0 || c->rtx_at < was) /* else the entry stands early enough */
        hr_tcp_timer_arm(tcp, c);
}

void hr_tcp_ka_restart(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (tcp->cfg.keepalive_us == 0)
        return;
    c->ka_at = tcp->now_us + tcp->cfg.keepalive_us;
    c->ka_probes = 0;
    hr_tcp_timer_arm(tcp, c);
}

/* False: c is gone or going. */
static bool fire_end(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->end_at = 0;
    switch ((enum hr_tcp_state)c->state) {
    case HR_TCP_SYN_SENT:
    case HR_TCP_SYN_RECEIVED:
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_TIMEOUT);
        return false;
    case HR_TCP_FIN_WAIT_2:
        HR_DROP(tcp->stats, tcp_fin_wait);
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_HALF_CLOSE);
        return false;
    case HR_TCP_TIME_WAIT:
    case HR_TCP_CLOSED:
    case HR_TCP_ESTABLISHED:
    case HR_TCP_FIN_WAIT_1:
    case HR_TCP_CLOSE_WAIT:
    case HR_TCP_CLOSING:
    case HR_TCP_LAST_ACK:
    case HR_TCP_STATE_MAX:
        return true;
    }
    return true;
}

static bool fire_syn(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (c->retries >= tcp->cfg.syn_retries && !HR_MUTANT(SYN_WITHOUT_END)) {
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_TIMEOUT);
        return false;
    }
    c->retries++;
    c->backoff += !HR_MUTANT(NO_SYN_BACKOFF);
    c->syn_lost = true;
    c->syn_due = true;
    c->rtx_at = tcp->now_us + hr_tcp_rto(tcp, c);
    hr_tcp_mark_dirty(tcp, c);
    return true;
}

static bool fire_persist(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (stalled_us(tcp, c) >= tcp->cfg.zero_window_us) {
        HR_DROP(tcp->stats, tcp_persist);
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_PERSIST);
        return false;
    }
    if (c->backoff < UINT8_MAX && !HR_MUTANT(NO_PERSIST_BACKOFF))
        c->backoff++;
    c->probe_due = true;
    c->rtx_at = RTE_MIN(tcp->now_us + hr_tcp_rto(tcp, c), tcp->now_us + tcp->cfg.zero_window_us - stalled_us(tcp, c));
    hr_tcp_mark_dirty(tcp, c);
    return true;
}

static bool fire_rto(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (stalled_us(tcp, c) >= stall_limit_us(tcp, c) && !HR_MUTANT(RETRIES_WITHOUT_END)) {
        HR_DROP(tcp->stats, tcp_user_timeout);
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_TIMEOUT);
        return false;
    }
    HR_COUNT(tcp->stats, tcp_rto);
    hr_tcp_recovery_timeout(tcp, c);
    if (c->retries < UINT8_MAX)
        c->retries++;
    if (c->backoff < UINT8_MAX && !HR_MUTANT(NO_BACKOFF))
        c->backoff++;
    hr_tcp_pmtu_timeout(tcp, c);
    c->flight->rto_at = next_rto(tcp, c);
    hr_tcp_mark_dirty(tcp, c);
    return true;
}

static bool fire_rtx(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->rtx_at = 0;
    if (!hr_tcp_synchronized(c))
        return fire_syn(tcp, c);
    if (c->persist)
        return fire_persist(tcp, c);
    if (c->flight == NULL)
        return true;
    struct hr_tcp_flight *f = c->flight;
    if (due(tcp, f->reo_at))
        hr_tcp_recovery_reo_timer(tcp, c);
    if (due(tcp, f->pto_at))
        hr_tcp_tlp_fire(tcp, c);
    if (due(tcp, f->rto_at) && !fire_rto(tcp, c))
        return false;
    hr_tcp_rtx_sync(tcp, c);
    return true;
}

static bool fire_keepalive(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint64_t idle_end = c->last_rx_us + tcp->cfg.keepalive_us;

    if (c->ka_probes == 0 && idle_end > tcp->now_us) {
        c->ka_at = idle_end;
        return true;
    }
    c->ka_at = tcp->now_us + tcp->cfg.keepalive_interval_us;
    if (c->snd_una != c->snd_nxt || c->persist) /* those timers find out by themselves */
        return true;
    if (c->ka_probes >= tcp->cfg.keepalive_probes && !HR_MUTANT(KEEPALIVE_WITHOUT_END)) {
        HR_DROP(tcp->stats, tcp_keepalive);
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_KEEPALIVE);
        return false;
    }
    c->ka_probes++;
    c->ka_due = true;
    hr_tcp_mark_dirty(tcp, c);
    return true;
}

static void fire(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (due(tcp, c->end_at) && !fire_end(tcp, c))
        return;
    if (due(tcp, c->rtx_at) && !fire_rtx(tcp, c))
        return;
    if (due(tcp, c->ka_at) && !fire_keepalive(tcp, c))
        return;
    if (due(tcp, hr_tcp_ack_at(tcp, c)))
        hr_tcp_ack_fire(tcp, c);
    hr_tcp_timer_arm(tcp, c);
}

/* Is it a connection that holds buffers because its peer does not read, and for how long? */
static bool is_stalled(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t *ret_ms)
{
    *ret_ms = tcp->now_ms - c->stalled_since_ms;
    return c->in_use && c->persist && c->snd_wnd == 0 && c->sndq.n_pieces > 0 && *ret_ms >= STALLED_MIN_MS;
}

/* Buffers are short: of the connections that hold some because their peer does not read, those go that have been at
 * it longest, until there are enough again. One round over the table finds how long that is, the next ends who comes
 * near it. A round takes some calls, so it costs little per turn. Returns when to be called again. */
static uint64_t end_stalled(struct hr_tcp *tcp)
{
    uint32_t reserve = tcp->cfg.rx_pool_reserve, freed = 0, ms;
    if (tcp->pool_free > reserve) {
        tcp->stalled.at = tcp->stalled.oldest_ms = tcp->stalled.limit_ms = 0;
        return UINT64_MAX;
    }
    for (unsigned i = 0; i < STALLED_STEP && tcp->stalled.at < tcp->cfg.max_conns; i++, tcp->stalled.at++) {
        struct hr_tcp_conn *c = &tcp->conns[tcp->stalled.at];
        if (!is_stalled(tcp, c, &ms))
            continue;
        tcp->stalled.oldest_ms = RTE_MAX(tcp->stalled.oldest_ms, ms);
        if (tcp->stalled.limit_ms == 0 || ms < tcp->stalled.limit_ms || tcp->pool_free + freed > reserve + reserve / 4)
            continue;
        freed += c->sndq.n_pieces;
        HR_DROP(tcp->stats, tcp_stalled);
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_PERSIST);
    }
    if (tcp->stalled.at >= tcp->cfg.max_conns) {
        tcp->stalled.limit_ms = tcp->stalled.oldest_ms - tcp->stalled.oldest_ms / 16;
        tcp->stalled.at = tcp->stalled.oldest_ms = 0;
    }
    return tcp->now_us + STALLED_PAUSE_US;
}

uint64_t hr_tcp_advance(struct hr_tcp *tcp)
{
    hr_tcp_pace_advance(tcp);
    uint64_t search_at = end_stalled(tcp);
    for (unsigned i = 0; i < FIRE_MAX; i++) {
        struct hr_wheel_entry *e = hr_wheel_expire(&tcp->wheel, hr_wheel_tick(tcp->now_us));
        if (e == NULL) {
            uint64_t next = hr_wheel_next(&tcp->wheel), paced = hr_tcp_pace_deadline(tcp);
            next = RTE_MIN(next == UINT64_MAX ? next : next << HR_WHEEL_TICK_SHIFT, hr_tcp_time_wait_advance(tcp));
            next = RTE_MIN(next, search_at);
            return paced <= tcp->now_us ? next : RTE_MIN(next, paced); /* what is due now is for the flush */
        }
        fire(tcp, (struct hr_tcp_conn *)(void *)((char *)e - offsetof(struct hr_tcp_conn, timer)));
    }
    return tcp->now_us;
}
