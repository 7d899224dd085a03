/* The receive window: what the budgets leave, offered so that nothing has to be taken back.
 *
 * Three limits: rcv_target bytes less what waits in the receive queue and downstream; conn_bufs_max buffers
 * less those held, at the mean segment size; and, beyond the initial window, what the pool can back. The
 * offered edge only moves forward. A held frame's want goes over the first two, or both sides would wait for
 * ever.
 *
 * rcv_target begins at the initial window and grows to three times what the other leg's peer takes per round trip of
 * this one, and to twice what the other leg may have in flight: what is merely moved into a send queue does not count,
 * or the slowest consumer would own the largest queue. Until the owner takes the first byte there may be nobody to
 * pass it to: 64 KiB at most. */
#include "dataplane/tcp/impl.h"

#define WND_UNTAKEN (64u << 10)

static uint32_t offered(const struct hr_tcp_conn *c)
{
    return hr_seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
}

static uint32_t used(const struct hr_tcp_conn *c)
{
    return HR_MUTANT(WINDOW_WITHOUT_LIMIT) ? 0 : c->rcvq.bytes + c->down_bytes;
}

/* What the first limit leaves beyond what is offered; below 0: more is offered. Receiving does not change it. */
static int32_t slack(const struct hr_tcp_conn *c)
{
    uint32_t target = c->taken || HR_MUTANT(WINDOW_BEFORE_TAKEN) ? c->rcv_target : RTE_MIN(c->rcv_target, WND_UNTAKEN);
    return (int32_t)(target - used(c) - offered(c));
}

/* Receiver side of the silly window (RFC 9293 3.8.6.2.2): by a segment or half the buffer at least. */
static int32_t step(const struct hr_tcp_conn *c)
{
    return (int32_t)RTE_MIN((uint32_t)c->adv_mss, c->rcv_target / 2);
}

/* What could be offered now, from RCV.NXT on; no more than offered is: nothing new. *ret_each: buffers are what is
 * short, not bytes, so each that is given back may make the difference. */
static int32_t room(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, bool *ret_each)
{
    int32_t old = (int32_t)offered(c), want = (int32_t)RTE_MIN(c->want, (uint32_t)INT32_MAX);
    *ret_each = tcp->pool_free <= tcp->cfg.rx_pool_reserve;
    if (*ret_each)
        return RTE_MAX(old, RTE_MIN(want, (int32_t)c->rcv_seg));

    int64_t bytes = old + slack(c);
    uint32_t held = c->rcvq.n_pieces + hr_tcp_reass_pieces(c) + c->down_bufs;
    uint32_t bufs = held < tcp->cfg.conn_bufs_max ? tcp->cfg.conn_bufs_max - held : 0;
    if ((int64_t)bufs * c->rcv_seg < bytes) {
        bytes = (int64_t)bufs * c->rcv_seg;
        *ret_each = true;
    }
    /* More than the initial window only where the pool stands behind all that is offered. */
    int64_t base = (int64_t)tcp->cfg.rcv_wnd_initial - used(c);
    if (bytes > base) {
        uint32_t others = tcp->offered_bufs - c->offered_bufs;
        uint32_t backed = tcp->pool_free - tcp->cfg.rx_pool_reserve;
        int64_t left = backed > others ? (int64_t)(backed - others) * c->rcv_seg : 0;
        bytes = RTE_MAX(base, RTE_MIN(bytes, left));
    }
    /* The window field is 16 bits and a scale. */
    int64_t most = hr_tcp_synchronized(c) ? 65535 << c->rcv_wscale : 65535;
    return (int32_t)RTE_MIN(RTE_MAX(bytes, want), most);
}

void hr_tcp_window_account(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t bytes = c->state == HR_TCP_CLOSED ? 0 : offered(c);

    if (c->offered_bufs * c->rcv_seg - bytes < c->rcv_seg) /* that many still: nearly always, and no division */
        return;
    uint32_t bufs = (bytes + c->rcv_seg - 1) / c->rcv_seg;
    tcp->offered_bufs += bufs - c->offered_bufs;
    c->offered_bufs = bufs;
}

static bool peer_may_send(const struct hr_tcp_conn *c)
{
    return hr_tcp_can_receive(c) && !c->rcv_fin_known;
}

static void move_edge(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    bool each;
    int32_t old = (int32_t)offered(c), wnd = room(tcp, c, &each);

    if (HR_MUTANT(WINDOW_RETRACTED) && wnd < old)
        c->rcv_adv = c->rcv_nxt + (uint32_t)RTE_MAX(wnd, 0);
    if (wnd <= old)
        return;
    if (wnd - old < step(c) && c->want <= (uint32_t)old && !HR_MUTANT(SILLY_RECEIVER))
        return;
    c->rcv_adv = c->rcv_nxt + (uint32_t)wnd;
    /* With less than a segment the peer may be waiting, and check() will not see it any more: it is to be told, also
     * where this turn sends nothing else. */
    if (old < step(c) && peer_may_send(c) && !HR_MUTANT(EDGE_UNTOLD))
        c->ack_now = true;
}

void hr_tcp_window_advance(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (slack(c) >= step(c) || c->want > offered(c) || HR_MUTANT(WINDOW_RETRACTED) || HR_MUTANT(SILLY_RECEIVER))
        move_edge(tcp, c);
    hr_tcp_window_account(tcp, c);
}

/* Asks for a window update where the peer needs to know. Returns how many bytes have to leave downstream before that
 * may be so (again). */
static uint32_t check(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    int32_t old = (int32_t)offered(c), more = slack(c), small = step(c);
    int32_t large = RTE_MAX(2 * small, (int32_t)(c->rcv_target / 4));
    int32_t due = old < small ? small : large; /* with less than a segment the peer may be waiting */
    bool wanted = c->want > (uint32_t)old, each = wanted;

    if (!peer_may_send(c))
        return UINT32_MAX;
    if (more >= due || wanted)
        more = room(tcp, c, &each) - old;
    if (more < due && !(wanted && more > 0))
        return each ? 1 : (uint32_t)(due - more);
    if (!HR_MUTANT(NO_WINDOW_UPDATE))
        hr_tcp_ack_soon(tcp, c);
    return (uint32_t)large;
}

/* n bytes went for good. Dynamic right-sizing: while more than a third of the window goes in a round trip it grows by
 * what goes, so it doubles as the window of a sender in slow start does, without a step that would release a burst. */
static void grow(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n)
{
    uint32_t rtt_us = RTE_MAX(c->srtt_us, 1000u);
    uint32_t elapsed_us = (uint32_t)tcp->now_us - c->drained_since_us;

    c->drained += n;
    if (c->rcv_growing && c->rcv_target < tcp->cfg.rcv_wnd_max && tcp->pool_free > 2 * tcp->cfg.rx_pool_reserve)
        c->rcv_target = (uint32_t)RTE_MIN((uint64_t)c->rcv_target + n, (uint64_t)tcp->cfg.rcv_wnd_max);
    if (elapsed_us < rtt_us)
        return;
    c->rcv_growing = 3 * ((uint64_t)c->drained * rtt_us / elapsed_us) > c->rcv_target;
    c->drained = 0;
    c->drained_since_us = (uint32_t)tcp->now_us;
}

static void note_downstream(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n, uint32_t downstream_bytes,
                            uint32_t downstream_bufs)
{
    uint32_t before = (HR_MUTANT(MOVED_IS_DRAINED) ? downstream_bytes : c->down_bytes) + n;

    c->down_bytes = downstream_bytes;
    c->down_bufs = downstream_bufs;
    if (n > 0)
        c->taken = true;
    if (before > downstream_bytes)
        grow(tcp, c, before - downstream_bytes);
}

void hr_tcp_consumed(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n, uint32_t downstream_bytes,
                     uint32_t downstream_bufs)
{
    note_downstream(tcp, c, n, downstream_bytes, downstream_bufs);
    check(tcp, c);
}

void hr_tcp_relayed(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n, struct hr_tcp_conn *to)
{
    /* What is in flight there waits in its queue for a round trip of that path, which may be much longer than ours. */
    uint64_t target = 2 * (uint64_t)RTE_MIN(to->cwnd, to->snd_wnd);
    if (target > c->rcv_target && c->taken && tcp->pool_free > 2 * tcp->cfg.rx_pool_reserve)
        c->rcv_target = (uint32_t)RTE_MIN(target, (uint64_t)tcp->cfg.rcv_wnd_max);
    note_downstream(tcp, c, n, to->sndq.bytes, to->sndq.n_pieces);
    /* Where all of it could leave without an update being due, none of it needs to be told. */
    uint32_t needed = check(tcp, c);
    to->acked_asked = false;
    if (needed <= to->sndq.bytes && !HR_MUTANT(ACKED_UNTOLD))
        hr_tcp_ask_acked(to, needed);
}

void hr_tcp_want(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t bytes)
{
    /* And a segment: a sender that avoids silly windows leaves the rest of an offer that is less alone (RFC 9293
     * 3.8.6.2.1), and would probe for the last bytes. */
    if (bytes > 0)
        bytes += c->adv_mss;
    if (c->want == bytes)
        return;
    c->want = bytes;
    check(tcp, c);
}
