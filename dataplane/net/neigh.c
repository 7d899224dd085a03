/* The neighbour table: which MAC an address on the link has.
 *
 * A fixed number of entries in buckets of eight; a full bucket gives up its least recently used entry, so
 * the table never fills and nothing is searched for long. The states are those of RFC 4861 7.3.2, for ARP too: a known MAC stays in use while it is being checked, so traffic does not pause every 30 seconds. */
#include <string.h>

#include "dataplane/net/impl.h"

static void set_state(struct hr_net *net, struct hr_neigh *n, enum hr_neigh_state state, uint64_t after_us)
{
    n->state = (uint8_t)state;
    n->deadline_us = state == HR_NEIGH_FREE ? UINT64_MAX : net->now_us + after_us;
    if (n->deadline_us < net->next_deadline_us)
        net->next_deadline_us = n->deadline_us;
}

static struct hr_neigh *bucket_of(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    uint64_t h = hr_net_mix(net->seed + port_index, addr);
    return &net->neigh[(h % HR_NEIGH_BUCKETS) * HR_NEIGH_WAYS];
}

/* Packets that waited in vain. */
static void pending_drop(struct hr_net *net, struct hr_neigh *n)
{
    if (n->pending == 0)
        return;
    struct hr_net_pending *q = &net->pending[n->pending - 1];
    net->stats->drops[HR_DROP_neigh_unresolved] += q->n;
    rte_pktmbuf_free_bulk(q->pkts, q->n);
    q->n = 0;
    net->pending_free[net->n_pending_free++] = n->pending;
    n->pending = 0;
}

static uint16_t ether_type_of(const struct hr_neigh *n)
{
    return hr_addr_is_v4(&n->addr) ? RTE_ETHER_TYPE_IPV4 : RTE_ETHER_TYPE_IPV6;
}

static void pending_send(struct hr_net *net, struct hr_neigh *n)
{
    if (n->pending == 0)
        return;
    struct hr_net_pending *q = &net->pending[n->pending - 1];
    for (uint16_t i = 0; i < q->n; i++) {
        hr_net_fill_eth(net, n->port, q->pkts[i], n->mac, ether_type_of(n));
        hr_net_tx_take(net, n->port, q->pkts[i]);
    }
    q->n = 0;
    net->pending_free[net->n_pending_free++] = n->pending;
    n->pending = 0;
}

/* The oldest waiting packet is displaced: TCP has given it up first. */
static void pending_add_take(struct hr_net *net, struct hr_neigh *n, struct rte_mbuf *m)
{
    if (n->pending == 0) {
        if (net->n_pending_free == 0) {
            HR_DROP(net->stats, neigh_pending_full);
            rte_pktmbuf_free(m);
            return;
        }
        n->pending = net->pending_free[--net->n_pending_free];
    }
    struct hr_net_pending *q = &net->pending[n->pending - 1];
    if (q->n == HR_NEIGH_PENDING) {
        HR_DROP(net->stats, neigh_pending_full);
        rte_pktmbuf_free(q->pkts[0]);
        memmove(q->pkts, q->pkts + 1, (HR_NEIGH_PENDING - 1) * sizeof(q->pkts[0]));
        q->n--;
    }
    q->pkts[q->n++] = m;
}

struct hr_neigh *hr_neigh_find(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    struct hr_neigh *b = bucket_of(net, port_index, addr);
    for (int i = 0; i < HR_NEIGH_WAYS; i++) {
        if (b[i].state != HR_NEIGH_FREE && b[i].port == port_index && hr_addr_equal(&b[i].addr, addr))
            return &b[i];
    }
    return NULL;
}

/* The entry of the bucket that a new neighbour may have: a free one, else the least recently used of those
 * without a MAC, else of all. So a flood of addresses that do not exist displaces itself. */
static struct hr_neigh *victim_of(struct hr_neigh *b)
{
    struct hr_neigh *victim = &b[0];
    for (int i = 0; i < HR_NEIGH_WAYS; i++) {
        if (b[i].state == HR_NEIGH_FREE)
            return &b[i];
        bool has_mac = b[i].state >= HR_NEIGH_REACHABLE, victim_has_mac = victim->state >= HR_NEIGH_REACHABLE;
        if (has_mac != victim_has_mac ? victim_has_mac : b[i].used_us < victim->used_us)
            victim = &b[i];
    }
    return victim;
}

static void reset_entry(struct hr_net *net, struct hr_neigh *n, uint32_t port_index, const struct hr_addr *addr)
{
    pending_drop(net, n);
    *n = (struct hr_neigh){.addr = *addr, .port = (uint8_t)port_index, .generation = n->generation + 1};
}

struct hr_neigh *hr_neigh_get(struct hr_net *net, uint32_t port_index, const struct hr_addr *addr)
{
    struct hr_neigh *n = hr_neigh_find(net, port_index, addr);
    if (n == NULL) {
        n = victim_of(bucket_of(net, port_index, addr));
        reset_entry(net, n, port_index, addr);
    }
    return n;
}

static void ask(struct hr_net *net, struct hr_neigh *n)
{
    bool unicast = n->state == HR_NEIGH_PROBE && n->tries < HR_NEIGH_PROBES;
    if (hr_addr_is_v4(&n->addr))
        hr_arp_request(net, n->port, &n->addr, unicast ? n->mac : NULL);
    else
        hr_nd_solicit(net, n->port, &n->addr, unicast ? n->mac : NULL);
    n->tries++;
}

void hr_neigh_send_take(struct hr_net *net, struct hr_neigh *n, struct rte_mbuf *m)
{
    n->used_us = net->now_us;
    switch ((enum hr_neigh_state)n->state) {
    case HR_NEIGH_STALE:
        n->tries = 0;
        set_state(net, n, HR_NEIGH_PROBE, HR_NEIGH_RETRY_US);
        ask(net, n);
        /* fall through */
    case HR_NEIGH_REACHABLE:
    case HR_NEIGH_PROBE:
        hr_net_fill_eth(net, n->port, m, n->mac, ether_type_of(n));
        hr_net_tx_take(net, n->port, m);
        break;
    case HR_NEIGH_FREE:
        n->tries = 0;
        set_state(net, n, HR_NEIGH_INCOMPLETE, HR_NEIGH_RETRY_US);
        ask(net, n);
        pending_add_take(net, n, m);
        break;
    case HR_NEIGH_INCOMPLETE:
        pending_add_take(net, n, m);
        break;
    case HR_NEIGH_FAILED:
    case HR_NEIGH_STATE_MAX:
        HR_DROP(net->stats, neigh_unresolved);
        rte_pktmbuf_free(m);
        break;
    }
}

void hr_neigh_heard(struct hr_net *net, const struct hr_net_news *news)
{
    struct hr_neigh *n = hr_neigh_find(net, news->port_index, &news->addr);
    if (n == NULL) {
        if (!(news->heard & HR_HEARD_ASKED_US))
            return;
        n = victim_of(bucket_of(net, news->port_index, &news->addr));
        if (n->state != HR_NEIGH_FREE && n->used_us != 0 && net->now_us - n->used_us < HR_NEIGH_IDLE_US)
            return; /* who only asks displaces nobody to whom we talk */
        reset_entry(net, n, news->port_index, &news->addr);
    }
    /* RFC 4861 7.2.5: what is known yields only to an override; who did not answer us is believed, not confirmed. */
    bool known = n->state >= HR_NEIGH_REACHABLE;
    bool same = known && memcmp(n->mac, news->mac, sizeof(n->mac)) == 0;
    if (known && !same && !(news->heard & HR_HEARD_OVERRIDE)) {
        if (n->state == HR_NEIGH_REACHABLE)
            set_state(net, n, HR_NEIGH_STALE, HR_NEIGH_IDLE_US);
        return;
    }
    memcpy(n->mac, news->mac, sizeof(n->mac));
    if (news->heard & HR_HEARD_CONFIRMED) {
        n->tries = 0;
        set_state(net, n, HR_NEIGH_REACHABLE, HR_NEIGH_REACHABLE_US);
    } else if (!same) {
        set_state(net, n, HR_NEIGH_STALE, HR_NEIGH_IDLE_US);
    }
    pending_send(net, n);
}

/* One entry whose deadline has come. */
static void expire(struct hr_net *net, struct hr_neigh *n)
{
    switch ((enum hr_neigh_state)n->state) {
    case HR_NEIGH_INCOMPLETE:
    case HR_NEIGH_PROBE: {
        bool probing = n->state == HR_NEIGH_PROBE;
        if (n->tries < HR_NEIGH_TRIES + (probing ? HR_NEIGH_PROBES : 0)) {
            set_state(net, n, n->state, HR_NEIGH_RETRY_US);
            ask(net, n);
        } else {
            pending_drop(net, n);
            set_state(net, n, HR_NEIGH_FAILED, HR_NEIGH_FAILED_US);
            hr_net_cache_clear(net); /* another router may do */
        }
        break;
    }
    case HR_NEIGH_REACHABLE:
        set_state(net, n, HR_NEIGH_STALE, HR_NEIGH_IDLE_US);
        break;
    case HR_NEIGH_STALE:
    case HR_NEIGH_FAILED:
        set_state(net, n, HR_NEIGH_FREE, 0);
        break;
    case HR_NEIGH_FREE:
    case HR_NEIGH_STATE_MAX:
        break;
    }
}

void hr_neigh_scan(struct hr_net *net)
{
    uint64_t next = UINT64_MAX;
    net->next_deadline_us = UINT64_MAX;
    for (uint32_t i = 0; i < HR_NEIGH_MAX; i++) {
        struct hr_neigh *n = &net->neigh[i];
        if (n->state == HR_NEIGH_FREE)
            continue;
        if (n->deadline_us <= net->now_us)
            expire(net, n);
        if (n->deadline_us < next)
            next = n->deadline_us;
    }
    /* Looks at the whole table are kept apart; a deadline may so be late by that much. */
    if (next != UINT64_MAX && next < net->now_us + HR_NEIGH_SCAN_US)
        next = net->now_us + HR_NEIGH_SCAN_US;
    net->next_deadline_us = next;
}

void hr_neigh_clear(struct hr_net *net)
{
    for (uint32_t i = 0; i < HR_NEIGH_MAX; i++) {
        pending_drop(net, &net->neigh[i]);
        set_state(net, &net->neigh[i], HR_NEIGH_FREE, 0);
    }
}
