/* TIME-WAIT: what is left of a connection that we closed first, 64 bytes each in a table of its own.
 *
 * All stay for the same time, so the list in order of arrival is also in order of expiry; a FIN that comes again
 * moves its entry to the end. When the table is full the oldest gives way. A tuple is free for a new
 * connection before that where the two can be told apart (RFC 6191, RFC 9293 3.6.1): by timestamps, or by
 * sequence numbers beyond the old ones. Resets are ignored (RFC 1337 3). */
#include <rte_malloc.h>
#include <string.h>

#include "dataplane/tcp/impl.h"

/* Expiry is kept in ticks of 8 ms, modulo 2^16: 2 MSL is at most 240 s, less than half of that. */
#define TICK_SHIFT 13
/* ACKs that one entry sends at most: enough for FINs that come again, too few to be worth anything else. */
#define ANSWERS_MAX 100
/* Entries that expire per call. */
#define EXPIRE_MAX 32

static struct hr_tcp_time_wait *at(const struct hr_tcp *tcp, uint32_t index1)
{
    return index1 == 0 ? NULL : &tcp->time_wait.entries[index1 - 1];
}

static uint32_t index1_of(const struct hr_tcp *tcp, const struct hr_tcp_time_wait *tw)
{
    return (uint32_t)(tw - tcp->time_wait.entries) + 1;
}

static uint16_t ticks(uint64_t us)
{
    return (uint16_t)(us >> TICK_SHIFT);
}

int hr_tcp_time_wait_init(struct hr_tcp *tcp)
{
    struct hr_tcp_time_waits *t = &tcp->time_wait;
    uint32_t n = tcp->cfg.max_time_wait, n_buckets = rte_align32pow2(n);

    t->bucket_mask = n_buckets - 1;
    t->entries = rte_zmalloc_socket("hr_tcp_time_wait", (size_t)n * sizeof(*t->entries), RTE_CACHE_LINE_SIZE,
                                    tcp->cfg.socket_id);
    t->buckets = rte_zmalloc_socket("hr_tcp_tw_buckets", n_buckets * sizeof(*t->buckets), RTE_CACHE_LINE_SIZE,
                                    tcp->cfg.socket_id);
    if (t->entries == NULL || t->buckets == NULL)
        return HR_E_NOMEM;
    for (uint32_t i = n; i-- > 0;) {
        t->entries[i].next = t->free;
        t->free = i + 1;
    }
    return 0;
}

void hr_tcp_time_wait_fini(struct hr_tcp *tcp)
{
    rte_free(tcp->time_wait.buckets);
    rte_free(tcp->time_wait.entries);
}

/* ---- the list ---- */

static void append(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw)
{
    struct hr_tcp_time_waits *t = &tcp->time_wait;

    tw->until = (uint16_t)(ticks(tcp->now_us + (HR_MUTANT(SHORT_TIME_WAIT) ? 1ULL : 2ULL) * tcp->cfg.msl_us) + 1);
    tw->next = 0;
    tw->prev = t->last;
    t->last = index1_of(tcp, tw);
    if (tw->prev == 0)
        t->first = t->last;
    else
        at(tcp, tw->prev)->next = t->last;
}

static void unlink_entry(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw)
{
    struct hr_tcp_time_waits *t = &tcp->time_wait;

    if (tw->prev == 0)
        t->first = tw->next;
    else
        at(tcp, tw->prev)->next = tw->next;
    if (tw->next == 0)
        t->last = tw->prev;
    else
        at(tcp, tw->next)->prev = tw->prev;
}

static void count(struct hr_tcp *tcp, int change)
{
    tcp->n_time_wait += (uint32_t)change;
    HR_GAUGE_SET(tcp->stats, tcp_time_wait, tcp->n_time_wait);
}

struct hr_tcp_time_wait *hr_tcp_time_wait_find(const struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash)
{
    struct hr_tcp_time_wait *tw = at(tcp, tcp->time_wait.buckets[hash & tcp->time_wait.bucket_mask]);

    while (tw != NULL && memcmp(&tw->flow, flow, sizeof(*flow)) != 0)
        tw = at(tcp, tw->hash_next);
    return tw;
}

void hr_tcp_time_wait_remove(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw)
{
    struct hr_tcp_time_waits *t = &tcp->time_wait;
    uint32_t self = index1_of(tcp, tw);
    uint32_t *bucket = &t->buckets[hr_tcp_flow_hash(tcp, &tw->flow) & t->bucket_mask];

    if (*bucket == self) {
        *bucket = tw->hash_next;
    } else {
        struct hr_tcp_time_wait *before = at(tcp, *bucket);
        while (before->hash_next != self)
            before = at(tcp, before->hash_next);
        before->hash_next = tw->hash_next;
    }
    unlink_entry(tcp, tw);
    tw->next = t->free;
    t->free = self;
    count(tcp, -1);
}

static void answer(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw)
{
    struct hr_tcp_opts o = {.has_ts = tw->ts_on, .tsecr = tw->ts_recent};
    uint32_t iss, ts_offset;

    if (tw->answers >= ANSWERS_MAX)
        return;
    tw->answers++;
    hr_tcp_flow_secrets(tcp, &tw->flow, &iss, &ts_offset);
    o.tsval = tcp->now_ms + ts_offset;
    (void)hr_tcp_send_stateless(tcp, &tw->flow, tw->snd_nxt, tw->rcv_nxt, RTE_TCP_ACK_FLAG, tw->wnd, &o);
}

void hr_tcp_time_wait_add(struct hr_tcp *tcp, const struct hr_tcp_conn *c)
{
    struct hr_tcp_time_waits *t = &tcp->time_wait;

    if (t->free == 0) {
        HR_COUNT(tcp->stats, tcp_time_wait_recycled);
        hr_tcp_time_wait_remove(tcp, at(tcp, t->first));
    }
    struct hr_tcp_time_wait *tw = at(tcp, t->free);
    t->free = tw->next;
    uint32_t wnd = hr_seq_gt(c->rcv_adv, c->rcv_nxt) ? c->rcv_adv - c->rcv_nxt : 0;
    uint32_t *bucket = &t->buckets[c->hash & t->bucket_mask];
    *tw = (struct hr_tcp_time_wait){
        .flow = c->flow,
        .snd_nxt = c->snd_nxt,
        .rcv_nxt = c->rcv_nxt,
        .ts_recent = c->ts_recent,
        .ts_on = c->ts_on,
        .wnd = (uint16_t)RTE_MIN(wnd >> c->rcv_wscale, 65535u),
        .hash_next = *bucket & HR_TCP_TIME_WAIT_MAX,
    };
    *bucket = index1_of(tcp, tw);
    append(tcp, tw);
    count(tcp, 1);
    if (c->ack_now) /* of the FIN that brought it here, most often */
        answer(tcp, tw);
}

bool hr_tcp_time_wait_reusable(const struct hr_tcp_time_wait *tw, const struct hr_tcp_seg *seg)
{
    if ((seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG)) != RTE_TCP_SYN_FLAG)
        return false;
    if (HR_MUTANT(TIME_WAIT_ANY_SYN))
        return true;
    if (seg->opts.has_ts) {
        if (!tw->ts_on)
            return true;
        if (seg->opts.tsval != tw->ts_recent)
            return hr_seq_gt(seg->opts.tsval, tw->ts_recent);
    }
    return hr_seq_gt(seg->seq, tw->rcv_nxt);
}

void hr_tcp_time_wait_input(struct hr_tcp *tcp, struct hr_tcp_time_wait *tw, const struct hr_tcp_seg *seg)
{
    bool fin = seg->flags & RTE_TCP_FIN_FLAG;

    if (seg->flags & RTE_TCP_RST_FLAG) {
        HR_DROP(tcp->stats, tcp_time_wait);
        return;
    }
    if (tw->ts_on && !(seg->flags & RTE_TCP_SYN_FLAG) &&
        (!seg->opts.has_ts || hr_seq_lt(seg->opts.tsval, tw->ts_recent))) {
        HR_DROP(tcp->stats, tcp_paws);
        if (seg->opts.has_ts)
            answer(tcp, tw);
        return;
    }
    if (fin && seg->seq + seg->len + 1 == tw->rcv_nxt) { /* our last ACK was lost: 2 MSL from here */
        unlink_entry(tcp, tw);
        append(tcp, tw);
    } else {
        HR_DROP(tcp->stats, tcp_time_wait);
    }
    if (seg->len > 0 || fin || seg->flags & RTE_TCP_SYN_FLAG) /* an ACK asks nothing */
        answer(tcp, tw);
}

uint64_t hr_tcp_time_wait_advance(struct hr_tcp *tcp)
{
    for (unsigned i = 0; i < EXPIRE_MAX; i++) {
        struct hr_tcp_time_wait *tw = at(tcp, tcp->time_wait.first);
        if (tw == NULL)
            return UINT64_MAX;
        int16_t left = (int16_t)(uint16_t)(tw->until - ticks(tcp->now_us));
        if (left > 0)
            return ((tcp->now_us >> TICK_SHIFT) + (uint64_t)left) << TICK_SHIFT;
        hr_tcp_time_wait_remove(tcp, tw);
    }
    return tcp->now_us;
}
