/* See worker.h. The turn is at the end; above it are its parts. */
#include "dataplane/worker/worker.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>

#include "dataplane/control/control.h"
#include "dataplane/kafka/relay.h"
#include "dataplane/net/net.h"
#include "dataplane/proxy/proxy.h"
#include "dataplane/tcp/tcp.h"
#include "dataplane/worker/heap.h"
#include "dataplane/worker/impl.h"
#include "shared/base/clock.h"

#define RX_BURST 32
#define TX_SEGMENTS 256     /* per turn: bounds how long received packets wait */
#define EVENTS_PER_TURN 512
#define GAUGE_INTERVAL_US 50000

/* ---- requests of the main thread -------------------------------------------------------------------- */

void hr_worker_ask_policy(struct hr_worker *w, const struct hr_policy *policy)
{
    atomic_store_explicit(&w->asked_policy, policy, memory_order_release);
    hr_idle_wake(&w->idle);
}

uint64_t hr_worker_generation(const struct hr_worker *w)
{
    return atomic_load_explicit(&w->generation, memory_order_acquire);
}

void hr_worker_ask_replicas(struct hr_worker *w, const struct hr_replicas *map)
{
    atomic_store_explicit(&w->asked_replicas, map, memory_order_release);
    hr_idle_wake(&w->idle);
}

uint64_t hr_worker_replicas_generation(const struct hr_worker *w)
{
    return atomic_load_explicit(&w->replicas_generation, memory_order_acquire);
}

void hr_worker_ask_relink(struct hr_worker *w, uint32_t session)
{
    atomic_store_explicit(&w->asked_session, session, memory_order_release);
    hr_idle_wake(&w->idle);
}

uint32_t hr_worker_session(const struct hr_worker *w)
{
    return atomic_load_explicit(&w->session, memory_order_acquire);
}

void hr_worker_ask_drain(struct hr_worker *w, uint64_t deadline_us)
{
    atomic_store_explicit(&w->asked_drain_deadline_us, deadline_us, memory_order_release);
    hr_idle_wake(&w->idle);
}

uint32_t hr_worker_unfinished(const struct hr_worker *w)
{
    return atomic_load_explicit(&w->unfinished, memory_order_acquire);
}

void hr_worker_ask_stop(struct hr_worker *w)
{
    atomic_store_explicit(&w->asked_stop, true, memory_order_release);
    hr_idle_wake(&w->idle);
}

static bool asked_anything(struct hr_worker *w)
{
    return atomic_load_explicit(&w->asked_policy, memory_order_acquire) != w->policy ||
           atomic_load_explicit(&w->asked_replicas, memory_order_acquire) != w->replicas ||
           atomic_load_explicit(&w->asked_session, memory_order_acquire) !=
               atomic_load_explicit(&w->session, memory_order_relaxed) ||
           (atomic_load_explicit(&w->asked_drain_deadline_us, memory_order_acquire) && !w->draining) ||
           atomic_load_explicit(&w->asked_stop, memory_order_acquire);
}

static void honour_requests(struct hr_worker *w)
{
    const struct hr_policy *policy = atomic_load_explicit(&w->asked_policy, memory_order_acquire);
    if (policy != w->policy) {
        w->policy = policy;
        hr_proxy_set_policy(w->proxy, policy);
        hr_control_policy_changed(w->control);
        w->idle.busy = policy->idle_busy;
        HR_COUNT(w->stats, policy_adopted);
        HR_GAUGE_SET(w->stats, policy_generation, policy->generation);
        atomic_store_explicit(&w->generation, policy->generation, memory_order_release);
    }
    const struct hr_replicas *replicas = atomic_load_explicit(&w->asked_replicas, memory_order_acquire);
    if (replicas != w->replicas) {
        w->replicas = replicas;
        hr_proxy_set_replicas(w->proxy, replicas);
        atomic_store_explicit(&w->replicas_generation, replicas->generation, memory_order_release);
    }
    uint32_t session = atomic_load_explicit(&w->asked_session, memory_order_acquire);
    if (session != atomic_load_explicit(&w->session, memory_order_relaxed)) {
        hr_control_relink(w->control, session);
        atomic_store_explicit(&w->session, session, memory_order_release);
    }
    uint64_t deadline_us = atomic_load_explicit(&w->asked_drain_deadline_us, memory_order_acquire);
    if (deadline_us && !w->draining) {
        w->draining = true;
        hr_proxy_drain(w->proxy, deadline_us);
    }
}

/* ---- the turn ---------------------------------------------------------------------------------------- */

static uint32_t receive(struct hr_worker *w)
{
    struct rte_mbuf *pkts[RX_BURST];
    uint32_t total = 0;
    for (uint32_t i = 0; i < w->group->n_ports; i++) {
        uint16_t n = rte_eth_rx_burst(w->group->ports[i].port_id, (uint16_t)w->id, pkts, RX_BURST);
        if (n)
            hr_net_input_take(w->net, i, pkts, n);
        total += n;
    }
    return total;
}

static uint32_t take_handed_over(struct hr_worker *w)
{
    struct rte_mbuf *pkts[RX_BURST];
    if (w->group->n_workers == 1)
        return 0;
    uint32_t n = hr_handoff_take(w->group->handoff, w->id, pkts, RX_BURST), n_segs = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct hr_news *news = hr_handoff_news(w->group->handoff, pkts[i]);
        if (!news) {
            pkts[n_segs++] = pkts[i];
            continue;
        }
        if (news->kind == HR_NEWS_NET)
            hr_net_learn(w->net, &news->net);
        else if (news->kind == HR_NEWS_ICMP_ERROR)
            hr_tcp_icmp_error(w->tcp, &news->flow, news->seq, news->hard, news->mtu);
        rte_pktmbuf_free(pkts[i]);
    }
    HR_COUNT_N(w->stats, handoff_in, n_segs);
    hr_tcp_input_take(w->tcp, pkts, n_segs);
    return n;
}

static bool dispatch_events(struct hr_worker *w)
{
    uint32_t events;
    for (uint32_t i = 0; i < EVENTS_PER_TURN; i++) {
        struct hr_tcp_conn *conn = hr_tcp_next_event(w->tcp, &events);
        if (!conn)
            return false;
        struct hr_leg *leg = hr_tcp_user(conn);
        if (!leg && (events & HR_TCP_EV_ACCEPTED)) {
            leg = hr_proxy_accepted(w->proxy, conn, w->now_us);
            if (!leg)
                continue;
            events &= ~(uint32_t)HR_TCP_EV_ACCEPTED;
        }
        if (leg && leg->kind == HR_LEG_PREFACE)
            leg = hr_proxy_preface(w->proxy, leg, events, w->now_us);
        if (!leg || !events || leg->kind == HR_LEG_PREFACE)
            continue;
        if (leg->kind == HR_LEG_CONTROL)
            hr_control_event(w->control, leg, events);
        else
            hr_proxy_event(w->proxy, leg, events, w->now_us);
    }
    return true;
}

/* Told once when an eighth is left (TCP grows no window then), and again only after half was free. */
static void watch_pool(struct hr_worker *w, uint32_t n_free)
{
    uint32_t n = w->bufs.rx_pool->size;
    if (n_free > n / 2)
        w->pool_low = false;
    if (w->pool_low || n_free > n / 8)
        return;
    w->pool_low = true;
    struct hr_msg msg = {.type = HR_EV_LOG};
    msg.u.log.event = HR_LOGEV_POOL_LOW;
    msg.u.log.reason = HR_DROP_MAX;
    msg.u.log.node_id = -1;
    msg.u.log.a = n_free;
    msg.u.log.b = n;
    hr_control_report(w->control, &msg);
}

static void update_gauges(struct hr_worker *w)
{
    if (w->now_us < w->next_gauges_us)
        return;
    w->next_gauges_us = w->now_us + GAUGE_INTERVAL_US;
    uint32_t n_free = rte_mempool_avail_count(w->bufs.rx_pool);
    watch_pool(w, n_free);
    HR_GAUGE_SET(w->stats, mbufs_free, n_free);
    HR_GAUGE_SET(w->stats, hdr_mbufs_free, rte_mempool_avail_count(w->bufs.hdr_pool));
    HR_GAUGE_SET(w->stats, bufs_held, w->bufs.held);
    HR_GAUGE_SET(w->stats, bufs_held_peak, w->bufs.held_peak);
    HR_GAUGE_SET(w->stats, busy_ns, (double)w->busy_cycles * 1e9 / (double)rte_get_tsc_hz());
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

bool hr_worker_turn(struct hr_worker *w, uint64_t now_us, uint64_t *ret_deadline_us)
{
    w->now_us = now_us;
    honour_requests(w);
    hr_tcp_set_now(w->tcp, now_us);
    hr_relay_set_now(w->relays, now_us);
    uint64_t deadline_us = hr_net_advance(w->net, now_us);

    uint32_t n = receive(w) + take_handed_over(w);
    bool worked = n > 0;
    worked |= hr_control_poll(w->control, now_us);
    deadline_us = earlier(deadline_us, hr_tcp_advance(w->tcp));
    bool more = dispatch_events(w);
    more |= hr_proxy_run(w->proxy, now_us);
    deadline_us = earlier(deadline_us, hr_proxy_advance(w->proxy, now_us));
    deadline_us = earlier(deadline_us, hr_control_deadline(w->control));
    more |= hr_tcp_flush(w->tcp, TX_SEGMENTS);
    deadline_us = earlier(deadline_us, hr_tcp_pace_deadline(w->tcp));
    hr_net_flush(w->net);
    hr_control_flush(w->control);

    for (uint32_t mask = w->wake_mask; mask; mask &= mask - 1)
        hr_idle_wake(&w->group->workers[__builtin_ctz(mask)]->idle);
    w->wake_mask = 0;
    atomic_store_explicit(&w->unfinished, hr_proxy_sessions(w->proxy) + hr_tcp_lingering(w->tcp),
                          memory_order_release);
    update_gauges(w);
    *ret_deadline_us = more ? now_us : earlier(deadline_us, w->next_gauges_us);
    return worked || *ret_deadline_us <= now_us;
}

static bool may_sleep(void *arg)
{
    struct hr_worker *w = arg;
    if (!hr_control_sleep_begin(w->control) || asked_anything(w))
        return false;
    if (w->group->n_workers > 1 && hr_handoff_pending(w->group->handoff, w->id))
        return false;
    for (uint32_t i = 0; i < w->group->n_ports; i++)
        if (w->group->ports[i].sleep == HR_PORT_SLEEP_INTR &&
            rte_eth_rx_queue_count(w->group->ports[i].port_id, (uint16_t)w->id) > 0)
            return false;
    return true;
}

static void awake(void *arg)
{
    hr_control_sleep_end(((struct hr_worker *)arg)->control);
}

int hr_worker_main(void *arg)
{
    struct hr_worker *w = arg;
    const struct hr_idle_ops idle_ops = {.may_sleep = may_sleep, .awake = awake, .arg = w};
    if (w->id == 0) {
        hr_net_advance(w->net, hr_now_us());
        hr_net_announce(w->net);
        hr_net_flush(w->net);
    }
    hr_heap_watch(&w->stats->counters[HR_CTR_heap_calls]);
    while (!atomic_load_explicit(&w->asked_stop, memory_order_acquire)) {
        uint64_t deadline_us, begun = rte_rdtsc();
        uint64_t now_us = hr_now_us();
        if (hr_worker_turn(w, now_us, &deadline_us)) {
            HR_COUNT(w->stats, loop_turns);
            w->busy_cycles += rte_rdtsc() - begun;
            hr_idle_worked(&w->idle);
        } else {
            hr_idle_rest(&w->idle, now_us, deadline_us, &idle_ops, w->stats);
        }
    }
    hr_heap_watch(NULL);
    /* While the ports still run: peers need not find out by themselves. */
    hr_proxy_end_all(w->proxy);
    hr_control_end_all(w->control);
    hr_net_flush(w->net);
    return 0;
}
