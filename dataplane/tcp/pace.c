/* Pacing: when data may leave that the windows would let go. Two things can make a connection wait.
 *
 * Its own burst. Up to an initial window leaves at once; what goes beyond (after a stretch ACK, or when much is
 * written into a window that stands open) follows at twice the window per round trip in slow start, 5/4 of it
 * later. flight.burst is what was sent and not worked off at that rate yet; it is looked at only when a burst
 * reaches its limit, so a connection that its ACKs clock, or that has little to say, never gets here.
 *
 * Its port's allowance, where one is configured: a token bucket in units of time, so that one bucket serves bytes
 * and packets (a packet costs the longer of its two times). ACKs and resets are charged and never wait. Who finds
 * the bucket empty, or others waiting, joins the port's FIFO; hr_tcp_flush() serves that in deficit round robin.
 *
 * Waiting is done in FIFOs: one for each 16 us of the next millisecond, and one for each
 * port. */
#include "dataplane/tcp/impl.h"

#define SLOT_US 16
#define SLOTS HR_TCP_PACE_SLOTS
#define PS_PER_US 1000000
#define PS_PER_S 1000000000000
/* A burst may also be what the rate sends in so many slots: a worker's turn may take that long. */
#define BURST_SLOTS 4
#define LINK_BYTES 14 /* Ethernet's header counts */

void hr_tcp_pace_init(struct hr_tcp *tcp)
{
    struct hr_tcp_pace *p = &tcp->pace;

    p->slot_now = tcp->now_us / SLOT_US;
    p->refilled_us = tcp->now_us;
    for (unsigned i = 0; i < HR_TCP_MAX_PORTS; i++) {
        const struct hr_tcp_allowance *a = &tcp->cfg.allowance[i];
        struct hr_tcp_port *port = &p->port[i];
        port->ps_per_byte = a->bytes_per_s == 0 ? 0 : PS_PER_S / a->bytes_per_s;
        port->ps_per_packet = a->packets_per_s == 0 ? 0 : PS_PER_S / a->packets_per_s;
        port->burst_ps = (uint64_t)a->burst_us * PS_PER_US;
        if (port->ps_per_byte != 0 || port->ps_per_packet != 0)
            p->limited |= 1u << i;
    }
}

/* ---- FIFOs ---- */

static void push(struct hr_tcp *tcp, struct hr_tcp_fifo *q, struct hr_tcp_conn *c, bool front)
{
    c->waiting = true;
    if (c->wait_queued) /* since an earlier life, in another: its turn there will do */
        return;
    c->wait_queued = true;
    if (front)
        hr_tcp_fifo_push_front(tcp, q, HR_TCP_FIFO_WAIT, c);
    else
        hr_tcp_fifo_push(tcp, q, HR_TCP_FIFO_WAIT, c);
}

static struct hr_tcp_conn *pop(struct hr_tcp *tcp, struct hr_tcp_fifo *q)
{
    struct hr_tcp_conn *c;

    while ((c = hr_tcp_fifo_pop(tcp, q, HR_TCP_FIFO_WAIT)) != NULL) {
        c->wait_queued = false;
        if (c->waiting) {
            c->waiting = false;
            return c;
        }
    }
    return NULL;
}

/* ---- bursts ---- */

static void wait_slots(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint64_t slots)
{
    struct hr_tcp_pace *p = &tcp->pace;
    uint64_t slot = tcp->now_us / SLOT_US + RTE_MIN(slots, (uint64_t)SLOTS - 1);

    slot = RTE_MIN(RTE_MAX(slot, p->slot_now + 1), p->slot_now + SLOTS - 1);
    push(tcp, &p->slot[slot % SLOTS], c, false);
    p->used |= 1ULL << slot % SLOTS;
    HR_COUNT(tcp->stats, tcp_paced);
}

bool hr_tcp_pace_burst(struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t len)
{
    struct hr_tcp_flight *f = c->flight;
    uint32_t rtt_us = c->min_rtt_us != 0 ? c->min_rtt_us : c->srtt_us;

    f->burst_max = hr_tcp_pace_initial(tcp, c);
    if (f->burst + len <= f->burst_max || rtt_us == 0 || HR_MUTANT(NO_PACING))
        return true;
    /* Bytes per slot, times 256. */
    uint64_t rate = RTE_MAX(1ULL, (uint64_t)c->cwnd * (c->cwnd < c->ssthresh ? 8 : 5) * SLOT_US * 64 / rtt_us);
    uint32_t elapsed_us = (uint32_t)tcp->now_us - f->burst_us;
    uint64_t gone = elapsed_us >= rtt_us ? f->burst : rate * elapsed_us / SLOT_US >> 8;
    f->burst -= (uint32_t)RTE_MIN(gone, (uint64_t)f->burst);
    f->burst_us = (uint32_t)tcp->now_us;
    f->burst_max = (uint32_t)RTE_MAX((uint64_t)f->burst_max, rate * BURST_SLOTS >> 8);
    if (f->burst + len <= f->burst_max)
        return true;
    /* Until half of the burst may go again: waking up for each segment would cost more than it smooths. */
    wait_slots(tcp, c, ((uint64_t)(f->burst - f->burst_max / 2) << 8) / rate + 1);
    return false;
}

/* ---- ports ---- */

static bool open(const struct hr_tcp_port *port)
{
    return port->debt_ps < port->burst_ps || HR_MUTANT(PORT_UNLIMITED);
}

bool hr_tcp_pace_port(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    struct hr_tcp_port *port = &tcp->pace.port[c->port];

    if (!(tcp->pace.limited & 1u << c->port))
        return true;
    bool its_turn = HR_MUTANT(PORT_WITHOUT_TURNS) || port->backlog.first == 0 || tcp->pace.turn_of == c;
    if (open(port) && its_turn)
        return true;
    push(tcp, &port->backlog, c, its_turn); /* its turn goes on when the port does */
    HR_COUNT(tcp->stats, tcp_port_waits);
    return false;
}

void hr_tcp_pace_charge(struct hr_tcp *tcp, const struct hr_tcp_conn *c, uint32_t len)
{
    struct hr_tcp_port *port = &tcp->pace.port[c->port];
    uint64_t bytes = len + LINK_BYTES + (hr_addr_is_v4(&c->flow.remote) ? 20 : 40);

    if (tcp->pace.limited & 1u << c->port)
        port->debt_ps += RTE_MAX(bytes * port->ps_per_byte, port->ps_per_packet);
}

void hr_tcp_pace_refill(struct hr_tcp *tcp)
{
    struct hr_tcp_pace *p = &tcp->pace;
    uint64_t gone_ps = RTE_MIN(tcp->now_us - p->refilled_us, 1000000ULL) * PS_PER_US;

    p->refilled_us = tcp->now_us;
    for (uint32_t left = p->limited; left != 0; left &= left - 1) {
        struct hr_tcp_port *port = &p->port[__builtin_ctz(left)];
        port->debt_ps -= RTE_MIN(port->debt_ps, gone_ps);
    }
}

void hr_tcp_pace_again(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    if (tcp->pace.limited & 1u << c->port)
        push(tcp, &tcp->pace.port[c->port].backlog, c, false);
    else
        hr_tcp_mark_dirty(tcp, c);
}

struct hr_tcp_conn *hr_tcp_pace_next(struct hr_tcp *tcp)
{
    struct hr_tcp_pace *p = &tcp->pace;

    for (uint32_t left = p->limited; left != 0; left &= left - 1) {
        struct hr_tcp_port *port = &p->port[__builtin_ctz(left)];
        if (!open(port))
            continue;
        struct hr_tcp_conn *c = pop(tcp, &port->backlog);
        if (c != NULL)
            return c;
    }
    return NULL;
}

bool hr_tcp_pace_ready(const struct hr_tcp *tcp)
{
    for (uint32_t left = tcp->pace.limited; left != 0; left &= left - 1) {
        const struct hr_tcp_port *port = &tcp->pace.port[__builtin_ctz(left)];
        if (port->backlog.first != 0 && open(port))
            return true;
    }
    return false;
}

/* ---- time ---- */

void hr_tcp_pace_advance(struct hr_tcp *tcp)
{
    struct hr_tcp_pace *p = &tcp->pace;
    uint64_t now = tcp->now_us / SLOT_US;

    if (now <= p->slot_now)
        return;
    uint64_t n = RTE_MIN(now - p->slot_now, (uint64_t)SLOTS);
    for (uint64_t i = 1; i <= n && p->used != 0; i++) {
        unsigned s = (p->slot_now + i) % SLOTS;
        struct hr_tcp_conn *c;
        if (!(p->used & 1ULL << s))
            continue;
        p->used &= ~(1ULL << s);
        while ((c = pop(tcp, &p->slot[s])) != NULL)
            hr_tcp_mark_dirty(tcp, c);
    }
    p->slot_now = now;
}

uint64_t hr_tcp_pace_deadline(const struct hr_tcp *tcp)
{
    const struct hr_tcp_pace *p = &tcp->pace;
    uint64_t at = UINT64_MAX;

    if (p->used != 0) {
        unsigned s = (p->slot_now + 1) % SLOTS;
        uint64_t ahead = p->used >> s | (s == 0 ? 0 : p->used << (SLOTS - s));
        at = (p->slot_now + 1 + (uint64_t)__builtin_ctzll(ahead)) * SLOT_US;
    }
    for (uint32_t left = p->limited; left != 0; left &= left - 1) {
        const struct hr_tcp_port *port = &p->port[__builtin_ctz(left)];
        if (port->backlog.first == 0)
            continue;
        /* Not for the first free picosecond: for half of the bucket. */
        uint64_t full = port->burst_ps / 2;
        uint64_t wait_ps = port->debt_ps > full ? port->debt_ps - full : 0;
        at = RTE_MIN(at, p->refilled_us + wait_ps / PS_PER_US + 1);
    }
    return at;
}
