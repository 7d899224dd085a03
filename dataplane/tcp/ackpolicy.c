/* When received data is acknowledged. An ACK costs both ends a packet, so there is at most one per batch of
 * received segments (it leaves with the flush behind the batch, and with data where there is any), and:
 *
 *   quick    each batch: the first 16 segments of a connection, the first 16 after an idle time, 16 after a gap
 *            was filled, and 16 after the timer found several segments waiting. The sender's window is small
 *            then, it grows by ACKs, and a sender that has used it up has nothing to do but wait for one.
 *   thin     at the latest at 8 segments or a quarter of the window (RFC 9293 3.8.6.3 recommends two segments;
 *            deviation), so that a sender that counts bytes (RFC 3465) and paces sees no difference.
 *   delayed  delayed_ack_us after the first that nothing else acknowledged. That is 4 ms: a peer with Nagle's
 *            algorithm, which writes a header and then a body, sends the body at that ACK.
 *
 * What tells the sender of loss is not delayed at all: reass.c and input.c ask for it by hr_tcp_ack_soon(). */
#include "dataplane/tcp/impl.h"

#define QUICK_SEGMENTS 16
#define THIN_SEGMENTS 8

void hr_tcp_ack_quick(struct hr_tcp_conn *c)
{
    c->quickacks = QUICK_SEGMENTS;
}

void hr_tcp_ack_soon(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->ack_now = true;
    hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_ack_received(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t segs)
{
    uint32_t pending = c->rcv_nxt - c->last_ack_sent;
    uint32_t window = c->rcv_adv - c->last_ack_sent;

    c->ack_segs = (uint8_t)RTE_MIN(c->ack_segs + segs, (uint32_t)UINT8_MAX);
    if (c->quickacks > 0 && !HR_MUTANT(NO_QUICK_ACKS)) {
        c->quickacks -= (uint8_t)RTE_MIN(segs, (uint32_t)c->quickacks);
        hr_tcp_ack_soon(tcp, c);
    } else if (c->ack_segs >= (HR_MUTANT(ACK_TOO_THIN) ? 30 : THIN_SEGMENTS) || pending >= window / 4) {
        hr_tcp_ack_soon(tcp, c);
    } else if (c->ack_at_us == 0) {
        c->ack_at_us = (uint32_t)(tcp->now_us + tcp->cfg.delayed_ack_us);
        c->ack_at_us += c->ack_at_us == 0;
        hr_tcp_timer_arm(tcp, c);
    }
}

void hr_tcp_ack_fire(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->ack_at_us = 0;
    HR_COUNT(tcp->stats, tcp_delayed_ack);
    if (c->ack_segs > 1 && !HR_MUTANT(THIN_FOR_SMALL_WINDOWS))
        hr_tcp_ack_quick(c);
    hr_tcp_ack_soon(tcp, c);
}

void hr_tcp_ack_sent(struct hr_tcp_conn *c)
{
    c->ack_now = false;
    c->ack_at_us = 0;
    c->ack_segs = 0;
    c->last_ack_sent = c->rcv_nxt;
}
