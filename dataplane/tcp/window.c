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

/* What could be offered now, from RCV.NXT on. */
static uint32_t room(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint32_t old = offered(c);
    if (tcp->pool_free <= tcp->cfg.rx_pool_reserve)
        return RTE_MAX(old, RTE_MIN(c->want, (uint32_t)c->rcv_seg));

    uint32_t used = HR_MUTANT(WINDOW_WITHOUT_LIMIT) ? 0 : c->rcvq.bytes + c->down_bytes;
    uint32_t target = c->taken || HR_MUTANT(WINDOW_BEFORE_TAKEN) ? c->rcv_target : RTE_MIN(c->rcv_target, WND_UNTAKEN);
    uint32_t bytes = target > used ? target - used : 0;

    uint32_t held = c->rcvq.n_pieces + hr_tcp_reass_pieces(c) + c->down_bufs;
    uint32_t bufs = held < tcp->cfg.conn_bufs_max ? tcp->cfg.conn_bufs_max - held : 0;
    bytes = (uint32_t)RTE_MIN((uint64_t)bytes, (uint64_t)bufs * c->rcv_seg);

    /* More than the initial window only where the pool stands behind all that is offered. */
    uint32_t base = tcp->cfg.rcv_wnd_initial > used ? tcp->cfg.rcv_wnd_initial - used : 0;
    if (bytes > base) {
        uint32_t others = tcp->offered_bufs - c->offered_bufs;
        uint32_t backed = tcp->pool_free - tcp->cfg.rx_pool_reserve;
        uint64_t left = backed > others ? (uint64_t)(backed - others) * c->rcv_seg : 0;
        bytes = (uint32_t)RTE_MAX((uint64_t)base, RTE_MIN((uint64_t)bytes, left));
    }
    return RTE_MAX(bytes, c->want);
}

/* The window field is 16 bits and a scale. */
static uint32_t representable(const struct hr_tcp_conn *c, uint32_t wnd)
{
    uint32_t max = hr_tcp_synchronized(c) ? 65535u << c->rcv_wscale : 65535u;
    return RTE_MIN(wnd, max);
}

void hr_tcp_window_account(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t bufs = c->state == HR_TCP_CLOSED ? 0 : (offered(c) + c->rcv_seg - 1) / c->rcv_seg;
    tcp->offered_bufs += bufs - c->offered_bufs;
    c->offered_bufs = bufs;
}

void hr_tcp_window_advance(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint32_t old = offered(c);
    uint32_t wnd = representable(c, room(tcp, c));

    if (HR_MUTANT(WINDOW_RETRACTED) && wnd < old)
        c->rcv_adv = c->rcv_nxt + wnd;
    if (wnd <= old)
        return;
    /* Receiver side of the silly window (RFC 9293 3.8.6.2.2): by a segment or half the buffer at least. */
    if (wnd - old < RTE_MIN((uint32_t)c->adv_mss, c->rcv_target / 2) && c->want <= old && !HR_MUTANT(SILLY_RECEIVER))
        return;
    c->rcv_adv = c->rcv_nxt + wnd;
    hr_tcp_window_account(tcp, c);
}

void hr_tcp_window_check(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (!hr_tcp_can_receive(c) || c->rcv_fin_known)
        return;
    uint32_t old = offered(c);
    uint32_t wnd = representable(c, room(tcp, c));
    if (wnd <= old)
        return;
    uint32_t more = wnd - old;
    uint32_t step = RTE_MIN((uint32_t)c->adv_mss, c->rcv_target / 2);
    bool large = more >= 2 * step && more >= c->rcv_target / 4;
    bool stuck = old < step && more >= step; /* the peer may be waiting */
    if ((large || stuck || c->want > old) && !HR_MUTANT(NO_WINDOW_UPDATE))
        hr_tcp_ack_soon(tcp, c);
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

void hr_tcp_consumed(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n, uint32_t downstream_bytes,
                     uint32_t downstream_bufs)
{
    uint32_t before = (HR_MUTANT(MOVED_IS_DRAINED) ? downstream_bytes : c->down_bytes) + n;

    c->down_bytes = downstream_bytes;
    c->down_bufs = downstream_bufs;
    if (n > 0)
        c->taken = true;
    if (before > downstream_bytes)
        grow(tcp, c, before - downstream_bytes);
    hr_tcp_window_check(tcp, c);
}

void hr_tcp_relayed(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t n, const struct hr_tcp_conn *to)
{
    /* What is in flight there waits in its queue for a round trip of that path, which may be much longer than ours. */
    uint64_t target = 2 * (uint64_t)RTE_MIN(to->cwnd, to->snd_wnd);
    if (target > c->rcv_target && c->taken && tcp->pool_free > 2 * tcp->cfg.rx_pool_reserve)
        c->rcv_target = (uint32_t)RTE_MIN(target, (uint64_t)tcp->cfg.rcv_wnd_max);
    hr_tcp_consumed(tcp, c, n, to->sndq.bytes, to->sndq.n_pieces);
}

void hr_tcp_want(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t bytes)
{
    if (c->want == bytes)
        return;
    c->want = bytes;
    hr_tcp_window_check(tcp, c);
}
