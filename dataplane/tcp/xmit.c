/* The transmit records behind xmit.h. Each function leaves: no gap, no empty record, no two neighbours that are
 * both SACKed, every list in order, the sums right (xmit_test.c checks all of it against a map of bytes). */
#include "dataplane/tcp/xmit.h"

#include "dataplane/tcp/impl.h"

bool hr_txrec_sent_after(uint64_t t1, uint32_t end1, uint64_t t2, uint32_t end2)
{
    return t1 > t2 || (t1 == t2 && hr_seq_gt(end1, end2));
}

/* ---- records ---- */

void hr_tcp_xmit_init(struct hr_tcp_xmit *x, struct hr_tcp_slab *slab, uint32_t seed)
{
    hr_seqtree_init(&x->tree, seed);
    TAILQ_INIT(&x->in_time);
    TAILQ_INIT(&x->lost);
    x->sacked_bytes = x->lost_bytes = x->n_sacked = 0;
    x->first_used = false;
    x->ahead_us = 0;
    x->slab = slab;
}

/* spare: only as long as half of the slab is left for those who send. */
static struct hr_txrec *get(struct hr_tcp_xmit *x, bool spare)
{
    struct hr_tcp_slab *s = x->slab;

    if (!x->first_used) {
        x->first_used = true;
        return &x->first;
    }
    if (x->tree.n > RTE_MAX(s->n / 16, 64u) || (spare && s->n_free <= s->n / 2))
        return NULL;
    return hr_tcp_slab_get(s);
}

static void put(struct hr_tcp_xmit *x, struct hr_txrec *r)
{
    if (r == &x->first)
        x->first_used = false;
    else
        hr_tcp_slab_put(x->slab, r);
}

static struct hr_txrec *next_of(const struct hr_txrec *r)
{
    return hr_txrec_of(hr_seqtree_next(&r->node));
}

static struct hr_txrec *prev_of(const struct hr_txrec *r)
{
    return hr_txrec_of(hr_seqtree_prev(&r->node));
}

static bool is_sacked(const struct hr_txrec *r)
{
    return r != NULL && r->state == HR_TXREC_SACKED;
}

static uint32_t length(const struct hr_txrec *r)
{
    return r->end - r->node.seq;
}

static void unlist(struct hr_tcp_xmit *x, struct hr_txrec *r)
{
    if (r->state == HR_TXREC_IN_FLIGHT)
        TAILQ_REMOVE(&x->in_time, r, link);
    else if (r->state == HR_TXREC_LOST)
        TAILQ_REMOVE(&x->lost, r, link);
}

static void drop(struct hr_tcp_xmit *x, struct hr_txrec *r)
{
    unlist(x, r);
    hr_seqtree_remove(&x->tree, &r->node);
    put(x, r);
}

void hr_tcp_xmit_clear(struct hr_tcp_xmit *x)
{
    while (x->tree.first != NULL)
        drop(x, hr_txrec_of(x->tree.first));
    x->sacked_bytes = x->lost_bytes = x->n_sacked = 0;
}

/* A record like r for [seq, end) behind prev, listed behind r; for SACKed ranges in no list. */
static void add_like(struct hr_tcp_xmit *x, struct hr_txrec *n, const struct hr_txrec *r, struct hr_txrec *prev,
                     uint32_t seq, uint32_t end, enum hr_txrec_state state)
{
    n->node.seq = seq;
    n->end = end;
    n->state = (uint8_t)state;
    n->retransmitted = r->retransmitted;
    n->known = r->known;
    n->xmit_us = r->xmit_us;
    hr_seqtree_insert(&x->tree, prev == NULL ? NULL : &prev->node, &n->node);
}

/* Cuts r at seq, which lies inside; the rear part is the result. NULL: no record is free. */
static struct hr_txrec *split(struct hr_tcp_xmit *x, struct hr_txrec *r, uint32_t seq, bool spare)
{
    struct hr_txrec *n = get(x, spare);

    if (n == NULL)
        return NULL;
    add_like(x, n, r, r, seq, r->end, r->state);
    r->end = seq;
    if (r->state == HR_TXREC_IN_FLIGHT)
        TAILQ_INSERT_AFTER(&x->in_time, r, n, link);
    else if (r->state == HR_TXREC_LOST)
        TAILQ_INSERT_AFTER(&x->lost, r, n, link);
    return n;
}

/* ---- sending ---- */

/* The clock stands still during a turn, and turns may be shorter than its tick; yet RACK must know what left after
 * what. Ties go by sequence number, which is right for new data behind a retransmission. For one that follows what
 * stands above it the stamp is a tick ahead. */
static uint64_t stamp(struct hr_tcp_xmit *x, uint32_t end, uint64_t now_us)
{
    const struct hr_txrec *last = TAILQ_LAST(&x->in_time, hr_txrec_list);

    if (last == NULL || last->xmit_us < now_us || HR_MUTANT(ORDER_BY_SEQUENCE))
        return now_us;
    x->ahead_us = last->xmit_us + hr_seq_lt(end, last->end);
    return x->ahead_us;
}

bool hr_tcp_xmit_room(const struct hr_tcp_xmit *x)
{
    const struct hr_tcp_slab *s = x->slab;
    return !is_sacked(hr_txrec_of(x->tree.last)) || !x->first_used ||
           (s->n_free > 0 && x->tree.n <= RTE_MAX(s->n / 16, 64u));
}

void hr_tcp_xmit_sent_first(struct hr_tcp_xmit *x, uint32_t seq, uint32_t end, uint64_t now_us)
{
    struct hr_txrec *last = hr_txrec_of(x->tree.last), *n = get(x, false);

    if (n == NULL) { /* shares the last one's record, and counts as sent with it or lost with it */
        if (last->state == HR_TXREC_LOST)
            x->lost_bytes += end - seq;
        last->end = end;
        return;
    }
    n->node.seq = seq;
    n->end = end;
    n->state = HR_TXREC_IN_FLIGHT;
    n->retransmitted = n->known = false;
    n->xmit_us = RTE_MAX(now_us, x->ahead_us);
    hr_seqtree_insert(&x->tree, x->tree.last, &n->node);
    TAILQ_INSERT_TAIL(&x->in_time, n, link);
}

void hr_tcp_xmit_sent_again(struct hr_tcp_xmit *x, uint32_t seq, uint32_t end, uint64_t now_us)
{
    struct hr_txrec *r = hr_txrec_of(hr_seqtree_floor(&x->tree, seq)), *n;

    if (r == NULL || r->state == HR_TXREC_SACKED || hr_seq_leq(r->end, seq))
        return;
    end = hr_seq_min(end, r->end);
    now_us = stamp(x, end, now_us);
    if (r->state == HR_TXREC_LOST)
        x->lost_bytes -= end - seq;
    /* Goes on where the retransmission before it ended, in the same burst: that record grows. */
    struct hr_txrec *prev = seq == r->node.seq ? prev_of(r) : NULL;
    if (prev != NULL && prev->state == HR_TXREC_IN_FLIGHT && prev->retransmitted && prev->xmit_us == now_us &&
        prev->known == r->known && TAILQ_NEXT(prev, link) == NULL) {
        prev->end = end;
        r->node.seq = end;
        if (length(r) == 0)
            drop(x, r);
        return;
    }
    /* Cut out [seq, end). Where records are short, the whole counts as sent again. */
    if (seq != r->node.seq && (n = split(x, r, seq, false)) != NULL)
        r = n;
    if (end != r->end && split(x, r, end, false) == NULL && r->state == HR_TXREC_LOST)
        x->lost_bytes -= r->end - end;
    if (seq != r->node.seq && r->state == HR_TXREC_LOST)
        x->lost_bytes -= seq - r->node.seq;
    unlist(x, r);
    r->state = HR_TXREC_IN_FLIGHT;
    r->retransmitted = true;
    r->xmit_us = now_us;
    TAILQ_INSERT_TAIL(&x->in_time, r, link);
}

/* ---- what the peer says ---- */

/* Bytes of r that end at end were delivered, by this ACK first; in_order: below SND.UNA. */
static void deliver(struct hr_tcp_delivered *d, const struct hr_txrec *r, uint32_t end, bool in_order)
{
    if (!r->retransmitted) {
        d->original |= !r->known && hr_seq_leq(end, d->recover);
        d->reordered |= hr_seq_lt(end, d->fack);
    } else {
        /* RFC 8985 6.2 step 2: it may be an earlier copy that arrived. The echo is of a segment in order (RFC 7323
         * 4.3), so it says nothing about one that stands behind a gap. */
        if (in_order && d->has_echo && hr_seq_lt(d->echo_ms, (uint32_t)(r->xmit_us / 1000))) {
            d->earlier = true;
            return;
        }
        if (d->now_us < r->xmit_us + d->min_rtt_us)
            return;
    }
    if (d->xmit_us == 0 || hr_txrec_sent_after(r->xmit_us, end, d->xmit_us, d->end)) {
        d->xmit_us = r->xmit_us;
        d->end = end;
    }
}

bool hr_tcp_xmit_plain_bursts(const struct hr_tcp_xmit *x, uint32_t una)
{
    const struct hr_txrec *r = hr_txrec_of(x->tree.first);

    while (hr_txrec_is_plain(r)) {
        if (hr_seq_geq(r->end, una))
            return true;
        r = next_of(r);
    }
    return false;
}

uint64_t hr_tcp_xmit_drop_bursts(struct hr_tcp_xmit *x, uint32_t una)
{
    for (;;) {
        struct hr_txrec *r = hr_txrec_of(x->tree.first);
        uint64_t at_us = r->xmit_us;
        bool last = hr_seq_geq(r->end, una);
        if (hr_seq_gt(r->end, una))
            r->node.seq = una;
        else
            drop(x, r);
        if (last)
            return at_us;
    }
}

void hr_tcp_xmit_acked(struct hr_tcp_xmit *x, uint32_t una, struct hr_tcp_delivered *d)
{
    struct hr_txrec *r;

    while ((r = hr_txrec_of(x->tree.first)) != NULL && hr_seq_lt(r->node.seq, una)) {
        uint32_t end = hr_seq_min(r->end, una), len = end - r->node.seq;
        if (r->state == HR_TXREC_SACKED) {
            x->sacked_bytes -= len;
        } else {
            d->acked += len;
            d->ambiguous |= r->retransmitted;
            if (d->oldest_us == 0 || r->xmit_us < d->oldest_us)
                d->oldest_us = r->xmit_us;
            if (r->state == HR_TXREC_LOST)
                x->lost_bytes -= len;
            deliver(d, r, end, true);
        }
        if (hr_seq_gt(r->end, una)) {
            r->node.seq = una;
            return;
        }
        x->n_sacked -= r->state == HR_TXREC_SACKED;
        drop(x, r);
    }
}

/* [lo, hi) of r becomes SACKed; false: no record is free. Neighbours that are SACKed already grow into it. */
static bool mark(struct hr_tcp_xmit *x, struct hr_txrec *r, uint32_t lo, uint32_t hi)
{
    bool front = lo == r->node.seq, rear = hi == r->end;
    struct hr_txrec *before = front ? prev_of(r) : NULL, *behind = rear ? next_of(r) : NULL;

    if (is_sacked(before)) {
        if (rear && is_sacked(behind)) { /* closes the gap */
            uint32_t end = behind->end;
            before->xmit_us = RTE_MAX(before->xmit_us, RTE_MAX(r->xmit_us, behind->xmit_us));
            drop(x, r);
            drop(x, behind);
            before->end = end;
            x->n_sacked--;
            return true;
        }
        before->xmit_us = RTE_MAX(before->xmit_us, r->xmit_us);
        if (rear)
            drop(x, r);
        else
            r->node.seq = hi;
        before->end = hi;
        return true;
    }
    if (is_sacked(behind)) {
        behind->xmit_us = RTE_MAX(behind->xmit_us, r->xmit_us);
        if (front)
            drop(x, r);
        else
            r->end = lo;
        behind->node.seq = lo;
        return true;
    }
    if (front && rear) {
        unlist(x, r);
        r->state = HR_TXREC_SACKED;
        x->n_sacked++;
        return true;
    }
    struct hr_txrec *n = get(x, true);
    if (n == NULL)
        return false;
    if (front) {
        struct hr_txrec *prev = prev_of(r);
        r->node.seq = hi;
        add_like(x, n, r, prev, lo, hi, HR_TXREC_SACKED);
    } else {
        if (!rear && split(x, r, hi, true) == NULL) {
            put(x, n);
            return false;
        }
        r->end = lo;
        add_like(x, n, r, r, lo, hi, HR_TXREC_SACKED);
    }
    x->n_sacked++;
    return true;
}

void hr_tcp_xmit_sacked(struct hr_tcp_xmit *x, uint32_t start, uint32_t end, struct hr_tcp_delivered *d)
{
    struct hr_txrec *r = NULL;

    while (hr_seq_lt(start, end)) {
        if (r == NULL)
            r = hr_txrec_of(hr_seqtree_floor(&x->tree, start));
        if (r == NULL || hr_seq_leq(r->end, start))
            return;
        uint32_t stop = hr_seq_min(end, r->end);
        if (r->state == HR_TXREC_SACKED) {
            r = stop == end ? NULL : next_of(r);
        } else {
            struct hr_txrec was = *r;
            if (!mark(x, r, start, stop))
                return; /* the peer keeps saying it */
            uint32_t len = stop - start;
            x->sacked_bytes += len;
            x->lost_bytes -= was.state == HR_TXREC_LOST ? len : 0;
            d->sacked += len;
            deliver(d, &was, stop, false);
            r = NULL; /* may be gone */
        }
        start = stop;
    }
}

void hr_tcp_xmit_unsack(struct hr_tcp_xmit *x)
{
    for (struct hr_seqnode *n = x->tree.first; n != NULL && x->n_sacked > 0; n = hr_seqtree_next(n)) {
        struct hr_txrec *r = hr_txrec_of(n);
        x->tree.visited++;
        if (r->state != HR_TXREC_SACKED)
            continue;
        r->state = HR_TXREC_IN_FLIGHT;
        r->known = true;
        TAILQ_INSERT_TAIL(&x->in_time, r, link); /* behind the others: it is there, most likely */
        x->n_sacked--;
    }
    x->sacked_bytes = 0;
}

/* ---- loss ---- */

static bool lost_and_new(const struct hr_txrec *r)
{
    return r != NULL && r->state == HR_TXREC_LOST && !r->known;
}

/* By sequence number where the neighbours tell, which is nearly always; what the peer had already comes last. */
void hr_tcp_xmit_lose(struct hr_tcp_xmit *x, struct hr_txrec *r)
{
    struct hr_txrec *head = TAILQ_FIRST(&x->lost), *prev = prev_of(r), *next;

    TAILQ_REMOVE(&x->in_time, r, link);
    r->state = HR_TXREC_LOST;
    x->lost_bytes += length(r);
    x->tree.visited++;
    if (head == NULL || r->known)
        TAILQ_INSERT_TAIL(&x->lost, r, link);
    else if (lost_and_new(prev))
        TAILQ_INSERT_AFTER(&x->lost, prev, r, link);
    else if (lost_and_new(next = next_of(r)))
        TAILQ_INSERT_BEFORE(next, r, link);
    else if (hr_seq_lt(r->node.seq, head->node.seq) || head->known)
        TAILQ_INSERT_HEAD(&x->lost, r, link);
    else
        TAILQ_INSERT_TAIL(&x->lost, r, link);
}

void hr_tcp_xmit_lose_first(struct hr_tcp_xmit *x, uint32_t len)
{
    struct hr_txrec *r = hr_txrec_of(x->tree.first);

    if (r == NULL || r->state != HR_TXREC_IN_FLIGHT)
        return;
    if (length(r) > len)
        split(x, r, r->node.seq + len, false); /* where records are short, all of it */
    hr_tcp_xmit_lose(x, r);
}

void hr_tcp_xmit_lose_all(struct hr_tcp_xmit *x)
{
    struct hr_txrec *r;

    while ((r = TAILQ_FIRST(&x->in_time)) != NULL)
        hr_tcp_xmit_lose(x, r);
}

void hr_tcp_xmit_found(struct hr_tcp_xmit *x)
{
    struct hr_txrec *r;

    /* They left before most that is in flight. */
    while ((r = TAILQ_LAST(&x->lost, hr_txrec_list)) != NULL) {
        TAILQ_REMOVE(&x->lost, r, link);
        r->state = HR_TXREC_IN_FLIGHT;
        TAILQ_INSERT_HEAD(&x->in_time, r, link);
        x->tree.visited++;
    }
    x->lost_bytes = 0;
}

bool hr_tcp_xmit_next_lost(const struct hr_tcp_xmit *x, struct hr_tcp_range *ret)
{
    const struct hr_txrec *r = TAILQ_FIRST(&x->lost), *first = hr_txrec_of(x->tree.first);

    if (r == NULL)
        return false;
    if (first->state == HR_TXREC_LOST) /* all else waits for it */
        r = first;
    *ret = (struct hr_tcp_range){r->node.seq, r->end};
    return true;
}
