/* Loss recovery. With SACK it is RFC 6675: the scoreboard says what is lost, and pipe, the estimate of what
 * is in the network, is kept below cwnd. Without, the same variables carry NewReno (RFC 6582): the lost part
 * is the one segment at SND.UNA, and cwnd is inflated by duplicate ACKs instead.
 *
 *   snd_una       high_rxt        lost_edge            recover    snd_nxt
 *      |  sent again  |     lost      |   in flight       |          |
 *
 * Holes in the scoreboard are meant throughout; what the peer has SACKed is never sent again. After a timeout
 * lost_edge stands at what was SND.NXT then. */
#include <string.h>

#include "dataplane/tcp/impl.h"

#define DUP_THRESH 3

bool hr_tcp_flight_attach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = hr_tcp_slab_get(&tcp->flight_slab);
    if (f == NULL)
        return false;
    memset(f, 0, sizeof(*f));
    f->recover = f->high_rxt = f->lost_edge = c->snd_una;
    c->flight = f;
    return true;
}

void hr_tcp_flight_detach(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    if (f == NULL)
        return;
    if (f->sb != NULL)
        hr_tcp_slab_put(&tcp->sb_slab, f->sb);
    hr_tcp_slab_put(&tcp->flight_slab, f);
    c->flight = NULL;
}

static void update_lost_edge(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t edge = hr_tcp_sack_lost_edge(f->sb, c->snd_una, c->smss);
    f->lost_edge = hr_seq_max(f->lost_edge, edge);
}

/* The first segment is presumed lost, whatever the scoreboard proves. */
static void lose_first(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t end = hr_seq_min(c->snd_una + c->smss, c->snd_nxt);
    f->lost_edge = hr_seq_max(f->lost_edge, end);
    f->high_rxt = c->snd_una;
    f->rtx_force = true;
}

static void enter_fast(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    HR_COUNT(tcp->stats, tcp_fast_recovery);
    c->recovery = HR_TCP_RECOVERY_FAST;
    f->recover = c->snd_nxt;
    f->rescue_done = false;
    hr_tcp_cong_loss(tcp, c);
    lose_first(c);
}

void hr_tcp_recovery_dupack(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    switch ((enum hr_tcp_recovery)c->recovery) {
    case HR_TCP_RECOVERY_NONE:
        f->lost_edge = c->snd_una;
        update_lost_edge(c);
        if (c->dupacks < UINT8_MAX)
            c->dupacks++;
        /* RFC 6582 3.2 step 2: not again for losses of the window that was recovered last. */
        if ((c->dupacks >= DUP_THRESH || hr_seq_gt(f->lost_edge, c->snd_una)) &&
            hr_seq_geq(c->snd_una, f->recover))
            enter_fast(tcp, c);
        break;
    case HR_TCP_RECOVERY_FAST:
        if (c->sack_on)
            update_lost_edge(c);
        else
            c->cwnd += c->smss;
        break;
    case HR_TCP_RECOVERY_RTO:
        break;
    }
    hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_recovery_sacked(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    if (c->recovery == HR_TCP_RECOVERY_FAST) {
        update_lost_edge(c);
    } else if (c->recovery == HR_TCP_RECOVERY_NONE) {
        f->lost_edge = c->snd_una;
        update_lost_edge(c);
        if (hr_seq_gt(f->lost_edge, c->snd_una) && hr_seq_geq(c->snd_una, f->recover))
            enter_fast(tcp, c);
    }
    hr_tcp_mark_dirty(tcp, c);
}

void hr_tcp_recovery_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked)
{
    struct hr_tcp_flight *f = c->flight;

    c->dupacks = 0;
    if (c->recovery == HR_TCP_RECOVERY_NONE) {
        f->recover = c->snd_una; /* moves along, or it would seem to lie ahead after 2 GiB */
        return;
    }
    if (hr_seq_geq(c->snd_una, f->recover)) {
        if (c->recovery == HR_TCP_RECOVERY_FAST)
            hr_tcp_cong_recovered(c);
        c->recovery = HR_TCP_RECOVERY_NONE;
        f->rtx_force = false;
        return;
    }
    f->high_rxt = hr_seq_max(f->high_rxt, c->snd_una);
    f->lost_edge = hr_seq_max(f->lost_edge, c->snd_una);
    if (c->recovery == HR_TCP_RECOVERY_FAST) {
        if (c->sack_on) {
            update_lost_edge(c);
        } else { /* RFC 6582 3.2 step 3, partial ACK: the next segment is lost too */
            f->lost_edge = c->snd_una;
            lose_first(c);
            c->cwnd -= RTE_MIN(acked, c->cwnd);
            if (acked >= c->smss)
                c->cwnd += c->smss;
            c->cwnd = RTE_MAX(c->cwnd, (uint32_t)c->smss);
        }
    }
}

void hr_tcp_recovery_resend(struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    c->recovery = HR_TCP_RECOVERY_RTO;
    f->recover = c->snd_nxt;
    f->lost_edge = c->snd_nxt;
    f->high_rxt = c->snd_una;
    f->rtx_force = true;
    c->dupacks = 0;
}

void hr_tcp_recovery_timeout(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_flight *f = c->flight;

    hr_tcp_cong_timeout(tcp, c);
    /* A hole never ends up at SND.UNA while the peer keeps what it SACKed: it has reneged (RFC 2018 8). */
    if (f->sb != NULL && f->sb->n > 0 && f->sb->range[0].start == c->snd_una) {
        hr_tcp_slab_put(&tcp->sb_slab, f->sb);
        f->sb = NULL;
    }
    hr_tcp_recovery_resend(c);
}

/* Bytes of [start, end) that are not SACKed. */
static uint32_t unsacked(const struct hr_tcp_conn *c, uint32_t start, uint32_t end)
{
    return hr_seq_lt(start, end) ? end - start - hr_tcp_sack_bytes(c->flight->sb, start, end) : 0;
}

uint32_t hr_tcp_recovery_pipe(const struct hr_tcp_conn *c)
{
    const struct hr_tcp_flight *f = c->flight;

    if (f == NULL)
        return 0;
    if (c->recovery == HR_TCP_RECOVERY_NONE)
        return c->snd_nxt - c->snd_una - (f->sb == NULL ? 0 : f->sb->bytes);
    return unsacked(c, c->snd_una, f->high_rxt) +
           unsacked(c, hr_seq_max(f->high_rxt, f->lost_edge), c->snd_nxt);
}

static bool hole(const struct hr_tcp_conn *c, uint32_t limit, struct hr_tcp_range *ret)
{
    const struct hr_tcp_flight *f = c->flight;
    uint32_t from = hr_seq_max(f->high_rxt, c->snd_una);
    if (!hr_tcp_sack_hole(f->sb, from, limit, ret))
        return false;
    /* The FIN takes a sequence number but no room in the segment. */
    uint32_t max = c->smss;
    if (c->fin_sent && ret->end == c->snd_nxt)
        max++;
    if (ret->end - ret->start > max)
        ret->end = ret->start + c->smss;
    return true;
}

bool hr_tcp_recovery_lost(const struct hr_tcp_conn *c, struct hr_tcp_range *ret)
{
    return c->recovery != HR_TCP_RECOVERY_NONE && hole(c, c->flight->lost_edge, ret);
}

bool hr_tcp_recovery_maybe_lost(struct hr_tcp_conn *c, struct hr_tcp_range *ret, bool *ret_mark)
{
    struct hr_tcp_flight *f = c->flight;

    *ret_mark = true;
    if (c->recovery != HR_TCP_RECOVERY_FAST || f->sb == NULL || f->sb->n == 0)
        return false;
    if (hole(c, f->sb->range[f->sb->n - 1].end, ret)) /* rule 3 */
        return true;
    if (f->rescue_done || hr_seq_geq(c->snd_una, f->recover)) /* rule 4 */
        return false;
    uint32_t from = hr_seq_max(c->snd_una, f->sb->range[f->sb->n - 1].end);
    if (!hr_seq_lt(from, f->recover))
        return false;
    f->rescue_done = true;
    *ret_mark = false;
    ret->end = f->recover;
    ret->start = hr_seq_max(from, f->recover - c->smss);
    return true;
}
