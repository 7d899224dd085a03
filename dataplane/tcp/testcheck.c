#include "dataplane/tcp/testcheck.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static char text[200];

static const char *wrong(const struct hr_tcp_conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static const char *wrong(const struct hr_tcp_conn *c, const char *fmt, ...)
{
    va_list ap;
    int n = 0;
    if (c != NULL)
        n = snprintf(text, sizeof(text), "port %u-%u %s: ", c->flow.local_port, c->flow.remote_port,
                     hr_tcp_state_name(c->state));
    va_start(ap, fmt);
    vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
    va_end(ap);
    return text;
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a == 0 ? b : b == 0 ? a : RTE_MIN(a, b);
}

static const char *timers(const struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    uint64_t at = earliest(earliest(c->rtx_at, hr_tcp_ack_at(tcp, c)), earliest(c->ka_at, c->end_at));

    if (at != 0 && (!hr_wheel_armed(&c->timer) || c->timer.tick > hr_wheel_tick_from(at)))
        return wrong(c, "the wheel would miss a deadline");
    if (c->state == HR_TCP_TIME_WAIT)
        return wrong(c, "a connection block in TIME-WAIT");
    if (!hr_tcp_synchronized(c))
        return c->rtx_at == 0 && !c->syn_due ? wrong(c, "a handshake without timer") : NULL;
    if (c->snd_una != c->snd_nxt && c->rtx_at == 0)
        return wrong(c, "data in flight, and no timer");
    if (c->waiting && (!c->wait_queued || hr_tcp_pace_deadline(tcp) == UINT64_MAX))
        return wrong(c, "it waits for its pace, and no time is set");
    if (hr_tcp_waits(c) && c->rtx_at == 0 && !c->dirty && !c->waiting)
        return wrong(c, "data or a FIN waits, and no timer");
    if (c->rcv_nxt != c->last_ack_sent && c->ack_at_us == 0 && !c->dirty)
        return wrong(c, "received data is not acknowledged, and no timer");
    return NULL;
}

static const char *numbers(const struct hr_tcp_conn *c, struct tc_edge *e)
{
    uint32_t sent = c->snd_nxt - c->snd_una;

    if (!hr_seq_leq(c->snd_una, c->snd_nxt))
        return wrong(c, "SND.UNA is above SND.NXT");
    if (hr_tcp_synchronized(c) && sent > c->sndq.bytes + c->fin_sent)
        return wrong(c, "more in flight than was queued");
    if (c->acked_asked && (!hr_seq_gt(c->acked_mark, c->snd_una) || c->acked_mark - c->snd_una > c->sndq.bytes))
        return wrong(c, "the owner waits for an acknowledgement that will not come, or has");
    if (hr_tcp_synchronized(c) && c->cwnd < c->smss)
        return wrong(c, "a window below one segment: %u", c->cwnd);
    if (c->state == HR_TCP_SYN_SENT)
        return NULL; /* nothing is known of the peer's numbers */
    if (!hr_seq_leq(c->rcv_nxt, c->rcv_adv))
        return wrong(c, "RCV.NXT is beyond what was offered");
    if (e->iss == c->iss && e->irs == c->irs && !hr_seq_leq(e->rcv_adv, c->rcv_adv))
        return wrong(c, "the offered edge moved back by %u", e->rcv_adv - c->rcv_adv);
    *e = (struct tc_edge){c->iss, c->irs, c->rcv_adv};
    return NULL;
}

static const char *gaps(const struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t *ret_pieces)
{
    const struct hr_tcp_gaps *g = c->gaps;
    uint32_t n = 0, islands = 0, end = c->rcv_nxt;

    if (g == NULL)
        return NULL;
    for (const struct hr_seqnode *s = g->tree.first; s != NULL; s = hr_seqtree_next(s)) {
        const struct hr_tcp_island *i = (const struct hr_tcp_island *)(const void *)s;
        uint32_t at = s->seq;
        if (!hr_seq_gt(at, end) || !hr_seq_leq(i->end, c->rcv_adv))
            return wrong(c, "an island touches the one before, or is out of the window");
        for (const struct hr_tcp_ooo *o = i->first; o != NULL; o = o->next, n++) {
            at += o->len;
            if (o->len == 0 || (o->next == NULL && o != i->last))
                return wrong(c, "an empty piece, or the last is not the last");
        }
        if (at != i->end)
            return wrong(c, "the pieces do not fill their island");
        end = at;
        islands++;
    }
    const struct hr_tcp_island *i;
    TAILQ_FOREACH(i, &g->recent, link)
        islands--;
    if (islands != 0 || end != hr_tcp_reass_end(c))
        return wrong(c, "the list of islands differs from the set");
    if (n != g->n || n > tcp->cfg.ooo_max_pieces)
        return wrong(c, "%u pieces out of order, counted %u", n, g->n);
    if (n == 0 && !g->dsack_due)
        return wrong(c, "an idle object for gaps");
    *ret_pieces += n;
    return NULL;
}

static const char *records(const struct hr_tcp_conn *c, uint32_t *ret_records)
{
    const struct hr_tcp_flight *f = c->flight;
    uint32_t in_time = 0, lost = 0, n_time = 0, n_lost = 0, sacked_bytes = 0, lost_bytes = 0, at = c->snd_una, n = 0;

    if (!hr_tcp_synchronized(c))
        return NULL;
    if ((f != NULL) != (c->snd_una != c->snd_nxt))
        return wrong(c, "a flight object without flight, or none with");
    if (f == NULL)
        return NULL;
    for (const struct hr_seqnode *node = f->xmit.tree.first; node != NULL; node = hr_seqtree_next(node), n++) {
        const struct hr_txrec *r = (const struct hr_txrec *)(const void *)node;
        if (node->seq != at || !hr_seq_gt(r->end, node->seq))
            return wrong(c, "transmit records leave a gap or overlap at %u", at - c->snd_una);
        at = r->end;
        n_time += r->state == HR_TXREC_IN_FLIGHT;
        n_lost += r->state == HR_TXREC_LOST;
        lost_bytes += r->state == HR_TXREC_LOST ? r->end - node->seq : 0;
        sacked_bytes += r->state == HR_TXREC_SACKED ? r->end - node->seq : 0;
    }
    if (at != c->snd_nxt || n != f->xmit.tree.n)
        return wrong(c, "transmit records end at %u of %u", at - c->snd_una, c->snd_nxt - c->snd_una);
    if (sacked_bytes != f->xmit.sacked_bytes || lost_bytes != f->xmit.lost_bytes)
        return wrong(c, "%u bytes SACKed and %u lost, counted %u and %u", sacked_bytes, lost_bytes,
                     f->xmit.sacked_bytes, f->xmit.lost_bytes);
    const struct hr_txrec *r;
    TAILQ_FOREACH(r, &f->xmit.in_time, link)
        in_time += r->state == HR_TXREC_IN_FLIGHT ? 1 : n + 1;
    TAILQ_FOREACH(r, &f->xmit.lost, link)
        lost += r->state == HR_TXREC_LOST ? 1 : n + 1;
    if (in_time != n_time || lost != n_lost)
        return wrong(c, "transmit records stand in wrong lists");
    *ret_records += n;
    return NULL;
}

static const char *closed(const struct hr_tcp_conn *c)
{
    if (c->released || c->sndq.bytes > 0 || c->gaps != NULL || c->flight != NULL || hr_wheel_armed(&c->timer) ||
        c->offered_bufs != 0)
        return wrong(c, "a closed connection holds something");
    return NULL;
}

const char *tc_check(struct hr_tcp *tcp, struct tc_memory *memory)
{
    uint32_t used = 0, half_open = 0, armed = 0, offered = 0, pieces = 0, flights = 0, n_gaps = 0;
    uint32_t n_records = 0, held = 0;
    const char *what = NULL;

    if (memory->edge == NULL) {
        memory->edge = calloc(tcp->cfg.max_conns, sizeof(*memory->edge));
        memory->n = tcp->cfg.max_conns;
    }
    for (uint32_t i = 0; i < tcp->cfg.max_conns && used < tcp->n_conns && what == NULL; i++) {
        const struct hr_tcp_conn *c = &tcp->conns[i];
        if (!c->in_use)
            continue;
        used++;
        held += c->rcvq.n_pieces + c->sndq.n_pieces;
        if (c->state == HR_TCP_CLOSED) {
            what = closed(c);
            continue;
        }
        half_open += c->state == HR_TCP_SYN_RECEIVED && !c->active;
        armed += hr_wheel_armed(&c->timer);
        offered += c->offered_bufs;
        flights += c->flight != NULL;
        n_gaps += c->gaps != NULL;
        what = timers(tcp, c);
        what = what ? what : numbers(c, &memory->edge[i]);
        what = what ? what : gaps(tcp, c, &pieces);
        what = what ? what : records(c, &n_records);
    }
    if (what != NULL)
        return what;
    uint32_t time_wait = 0, last = 0;
    for (uint32_t i = tcp->time_wait.first; i != 0 && time_wait <= tcp->n_time_wait; i = tcp->time_wait.entries[i - 1].next) {
        if (tcp->time_wait.entries[i - 1].prev != last)
            return wrong(NULL, "the list of TIME-WAIT is broken");
        last = i;
        time_wait++;
    }
    if (used != tcp->n_conns || half_open != tcp->n_half_open || time_wait != tcp->n_time_wait ||
        last != tcp->time_wait.last)
        return wrong(NULL, "%u connections, %u half open, %u in TIME-WAIT; counted %u, %u, %u", used, half_open, time_wait,
                     tcp->n_conns, tcp->n_half_open, tcp->n_time_wait);
    if (armed != tcp->wheel.armed)
        return wrong(NULL, "%u timers, counted %u", armed, tcp->wheel.armed);
    if (offered != tcp->offered_bufs)
        return wrong(NULL, "windows of %u buffers, counted %u", offered, tcp->offered_bufs);
    if (tcp->ooo_slab.n - tcp->ooo_slab.n_free != pieces || tcp->gaps_slab.n - tcp->gaps_slab.n_free != n_gaps ||
        tcp->flight_slab.n - tcp->flight_slab.n_free != flights ||
        tcp->xmit_slab.n - tcp->xmit_slab.n_free > n_records)
        return wrong(NULL, "slabs do not add up");
    if (held > tcp->bufs->held)
        return wrong(NULL, "%u pieces in queues, counted %u", held, tcp->bufs->held);
    if (tcp->illegal_transitions != 0)
        return wrong(NULL, "a state transition was illegal");
    return NULL;
}

void tc_forget(struct tc_memory *memory)
{
    free(memory->edge);
    *memory = (struct tc_memory){0};
}
