/* Congestion that was none: the window is given back.
 *
 * F-RTO (RFC 5682 3.1, for peers without SACK 2.1): after a timeout only the first segment goes again. If its
 * acknowledgement moves on, two new segments follow; and if then something is acknowledged that was sent only
 * once, and before the timeout, the segments were late and not lost. Until that is known nothing else is
 * declared lost by the timeout. Where there are timestamps, the echo may tell at once that the first copy had
 * arrived (RFC 3522 3.2).
 *
 * DSACK: if the peer reports each retransmission of a recovery as a duplicate, none was needed (RFC 3708 2;
 * the answer is RFC 4015's: window and threshold return to what they were). */
#include "dataplane/tcp/impl.h"

/* Remembers what a recovery that begins now will take away. */
void hr_tcp_undo_mark(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    f->undo_on = true;
    f->undo_una = c->snd_una;
    f->undo_bytes = 0;
    hr_tcp_cong_save(c, &f->undo);
}

static void undo(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    f->undo_on = false;
    f->frto = HR_TCP_FRTO_OFF;
    f->force_new = 0;
    hr_tcp_cong_undo(c, &f->undo);
    hr_tcp_xmit_found(&f->xmit);
    c->recovery = HR_TCP_RECOVERY_NONE;
    f->rtx_force = false;
    f->recover = c->snd_una;
    c->dupacks = 0;
    hr_tcp_mark_dirty(tcp, c);
}

/* A duplicate of what was sent again is with the peer. */
void hr_tcp_undo_dsack(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_range *r)
{
    struct hr_tcp_flight *f = c->flight;

    if (HR_MUTANT(NO_DSACK_UNDO) || !f->undo_on || f->undo_bytes == 0 || hr_seq_lt(r->start, f->undo_una))
        return;
    f->undo_bytes -= RTE_MIN(f->undo_bytes, r->end - r->start);
    if (f->undo_bytes > 0)
        return;
    if (f->undo_timeout)
        HR_COUNT(tcp->stats, tcp_spurious_rto);
    else
        HR_COUNT(tcp->stats, tcp_spurious_recovery);
    undo(tcp, c);
}

/* RFC 5682 2.1 and 3.1 steps 2 and 3, in recovery after a timeout; advanced: SND.UNA moved, to below the
 * recovery point. True: the timeout was spurious, and is undone. */
bool hr_tcp_frto_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_delivered *d, bool advanced,
                       bool dup)
{
    struct hr_tcp_flight *f = c->flight;

    switch ((enum hr_tcp_frto)f->frto) {
    case HR_TCP_FRTO_OFF:
        return false;
    case HR_TCP_FRTO_FIRST:
        if (!advanced && (!dup || c->sack_on))
            return false; /* 3.1: SACK blocks are noted, and the wait goes on */
        if (advanced && d->earlier) {
            HR_COUNT(tcp->stats, tcp_spurious_rto);
            undo(tcp, c);
            return true;
        }
        if (advanced && hr_tcp_unsent(c) > 0 && hr_seq_gt(c->snd_una + c->snd_wnd, c->snd_nxt)) {
            f->frto = HR_TCP_FRTO_SECOND;
            f->force_new = 2;
            return false;
        }
        break;
    case HR_TCP_FRTO_SECOND:
        if (d->original && (c->sack_on || !d->ambiguous)) {
            HR_COUNT(tcp->stats, tcp_spurious_rto);
            undo(tcp, c);
            return true;
        }
        if (!advanced && !dup)
            return false;
        break;
    }
    /* The loss was real, or there is nothing to find out with. */
    f->frto = HR_TCP_FRTO_OFF;
    f->force_new = 0;
    hr_tcp_recovery_lose_rest(tcp, c);
    return false;
}
