/* Tail loss probes (RFC 8985 7): when nothing has come back for two round trips, one segment goes out, so that
 * its acknowledgement tells RACK what was lost and no timeout is needed. In use where the peer sends SACK.
 *
 * What the last probe was is kept in the connection: its acknowledgement may be the one that ends the flight. */
#include "dataplane/tcp/impl.h"

/* RFC 8985 7.2; the retransmission timer is running. */
void hr_tcp_tlp_schedule(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    f->pto_at = 0;
    /* 7.3 would skip the probe: one is out, or no round trip was measured since the last. */
    if (HR_MUTANT(NO_TLP) || !c->sack_on || c->recovery != HR_TCP_RECOVERY_NONE || f->xmit.sacked_bytes > 0 || f->xmit.lost_bytes > 0 ||
        c->tlp_out || !c->rtt_fresh)
        return;
    f->pto_at = RTE_MIN(tcp->now_us + hr_tcp_tlp_wait_us(c), f->rto_at);
}

/* RFC 8985 7.3: the timer has fired. */
void hr_tcp_tlp_fire(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->flight->pto_at = 0;
    c->flight->tlp_due = true;
    c->flight->rto_at = tcp->now_us + hr_tcp_rto(tcp, c); /* the last resort, if the probe fails too */
    hr_tcp_mark_dirty(tcp, c);
}

/* The probe has left; again: it repeated the last segment. */
void hr_tcp_tlp_sent(struct hr_tcp *tcp, struct hr_tcp_conn *c, bool again)
{
    HR_COUNT(tcp->stats, tcp_tlp_probe);
    c->flight->tlp_due = false;
    c->tlp_out = true;
    c->tlp_again = again;
    c->tlp_end = c->snd_nxt;
    c->rtt_fresh = false;
}

/* RFC 8985 7.4. dsack may be NULL; dup: the ACK repeats the last one and has no SACK block. True: the block
 * reports the probe, and nothing else. */
bool hr_tcp_tlp_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t ack, const struct hr_tcp_range *dsack,
                      bool dup)
{
    if (!c->tlp_out || hr_seq_lt(ack, c->tlp_end))
        return false;
    if (!c->tlp_again) {
        c->tlp_out = false;
        return false;
    }
    if (dsack != NULL && dsack->end == c->tlp_end) { /* case 1: both copies arrived */
        c->tlp_out = false;
        return true;
    }
    if (hr_seq_gt(ack, c->tlp_end)) { /* case 2: it repaired a loss, and nobody has reacted to that */
        c->tlp_out = false;
        if (c->recovery == HR_TCP_RECOVERY_NONE) {
            HR_COUNT(tcp->stats, tcp_tlp_repair);
            hr_tcp_cong_loss(tcp, c, 0);
            hr_tcp_cong_recovered(c);
        }
    } else if (dup) { /* case 3: both copies arrived, at a peer that does not report duplicates */
        c->tlp_out = false;
    }
    return false;
}
