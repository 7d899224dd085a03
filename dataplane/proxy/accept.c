/* Who may open a session: the policy's answer to a SYN, and what happens when the handshake is done. */
#include <rte_common.h>
#include <stdatomic.h>

#include "dataplane/proxy/impl.h"
#include "shared/base/siphash.h"

enum hr_drop hr_proxy_over_limit(const struct hr_proxy *proxy, const struct hr_policy_listener *listener)
{
    uint32_t index = (uint32_t)(listener - proxy->policy->listeners), sessions = 0, of_listener = 0;
    for (uint32_t i = 0; i < proxy->cfg.n_workers; i++) {
        const struct hr_open_counts *counts = &proxy->cfg.counts[i];
        sessions += atomic_load_explicit(&counts->sessions, memory_order_relaxed);
        of_listener += atomic_load_explicit(&counts->of_listener[index], memory_order_relaxed);
    }
    if (sessions >= proxy->policy->max_sessions || !proxy->free)
        return HR_DROP_session_limit;
    return of_listener >= listener->max_connections ? HR_DROP_listener_limit : HR_DROP_MAX;
}

struct hr_tcp_accept hr_proxy_on_syn(struct hr_proxy *proxy, const struct hr_flow *flow)
{
    struct hr_tcp_accept answer = {.accept = false};
    const struct hr_policy *policy = proxy->policy;
    struct hr_stats *stats = proxy->cfg.stats;
    int32_t node_id;

    if (!policy) {
        HR_DROP(stats, no_policy);
        return answer;
    }
    const struct hr_policy_listener *listener =
        hr_policy_find_listener(policy, &flow->local, flow->local_port, &node_id);
    if (!listener) {
        HR_DROP(stats, tcp_no_listener);
        return answer;
    }
    uint32_t index = (uint32_t)(listener - policy->listeners);
    if (listener->n_trusted > 0 && !hr_origin_trusted(listener, &flow->remote)) {
        HR_DROP(stats, origin_untrusted);
        return answer;
    }
    if (hr_proxy_drains(proxy, listener)) {
        HR_DROP(stats, draining);
        return answer;
    }
    if (listener->mode == HR_LISTENER_KAFKA) {
        if (!policy->cluster_known) {
            HR_DROP(stats, no_policy);
            return answer;
        }
        if (node_id >= 0) {
            const struct hr_policy_broker *broker = hr_policy_find_broker(policy, node_id);
            if (!broker || !(broker->flags & HR_BROKER_ALIVE)) {
                HR_DROP(stats, unknown_node);
                proxy->cfg.hint(proxy->cfg.owner, (uint16_t)index, node_id);
                return answer;
            }
            if (broker->flags & HR_BROKER_DRAINING) {
                HR_DROP(stats, draining);
                return answer;
            }
        }
    } else if (!listener->target_valid) {
        HR_DROP(stats, no_broker);
        return answer;
    }
    enum hr_drop limit = hr_proxy_over_limit(proxy, listener);
    if (limit != HR_DROP_MAX) {
        stats->drops[limit]++;
        return answer;
    }
    answer.accept = true;
    return answer;
}

static bool needs_handshake(const struct hr_policy *policy, const struct hr_policy_listener *listener)
{
    return listener->mode == HR_LISTENER_KAFKA && (listener->tls || listener->login || listener->broker_login || policy->cluster_tls);
}

/* Where a client is counted. */
static uint32_t source_of(const struct hr_proxy *proxy, const struct hr_addr *client)
{
    struct hr_addr owner = hr_addr_owner(client);
    return (uint32_t)(hr_siphash(proxy->cfg.port_key, &owner, sizeof(owner)) % HR_RATE_CLIENTS);
}

/* A handshake costs the control plane's time, of which there is one core: bounded for the listener, and for one
 * source, which gets a quarter of the places, and of the rate (of that at each worker). */
static enum hr_drop handshake_refused(struct hr_proxy *proxy, const struct hr_policy_listener *listener,
                                      uint32_t source, uint64_t now_us)
{
    uint32_t index = (uint32_t)(listener - proxy->policy->listeners), under_way = 0, from_source = 0, rate = listener->handshake_rate;
    uint64_t now_ns = now_us * 1000;
    uint64_t *of_listener = &proxy->handshakes_of_listener[index];
    uint64_t *of_client = &proxy->handshakes_of_clients[source];

    for (uint32_t i = 0; i < proxy->cfg.n_workers; i++) {
        under_way += atomic_load_explicit(&proxy->cfg.counts[i].handshakes[index], memory_order_relaxed);
        from_source += atomic_load_explicit(&proxy->cfg.counts[i].handshakes_from[source], memory_order_relaxed);
    }
    if (under_way >= listener->max_handshakes || from_source >= RTE_MAX(listener->max_handshakes / 4, 1u))
        return HR_DROP_handshake_limit;
    if (!hr_rate_conforms(*of_listener, now_ns) || !hr_rate_conforms(*of_client, now_ns))
        return HR_DROP_handshake_rate;
    hr_rate_take(of_listener, now_ns, rate);
    hr_rate_take(of_client, now_ns, rate > 4 ? rate / 4 : 1);
    return HR_DROP_MAX;
}

/* Written by this worker alone, read by all. */
static void count_source(struct hr_proxy *proxy, uint32_t source, int change)
{
    _Atomic uint32_t *n = &proxy->cfg.counts[proxy->cfg.worker_id].handshakes_from[source];
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + (uint32_t)change, memory_order_relaxed);
}

static struct hr_leg *hand_up(struct hr_proxy *proxy, struct hr_tcp_conn *conn,
                              const struct hr_policy_listener *listener, const struct hr_origin *origin, uint64_t now_us)
{
    uint32_t source = source_of(proxy, origin ? &origin->addr : &hr_tcp_flow(conn)->remote);
    enum hr_drop refusal = handshake_refused(proxy, listener, source, now_us);
    struct hr_leg *leg = NULL;

    if (refusal == HR_DROP_MAX) {
        leg = proxy->cfg.hand_up(proxy->cfg.owner, conn, (uint16_t)(listener - proxy->policy->listeners),
                                 origin, source, listener->handshake_timeout_ms);
        refusal = HR_DROP_handshake_limit;
    }
    if (leg) {
        count_source(proxy, source, 1);
    } else {
        proxy->cfg.stats->drops[refusal]++;
        hr_tcp_abort(proxy->cfg.tcp, conn);
    }
    return leg;
}

struct hr_leg *hr_proxy_accepted(struct hr_proxy *proxy, struct hr_tcp_conn *conn, uint64_t now_us)
{
    const struct hr_flow *flow = hr_tcp_flow(conn);
    int32_t node_id;
    const struct hr_policy_listener *listener =
        hr_policy_find_listener(proxy->policy, &flow->local, flow->local_port, &node_id);

    if (!listener || listener->n_trusted == 0)
        return hr_proxy_admit(proxy, conn, NULL, now_us);
    if (hr_origin_trusted(listener, &flow->remote))
        return hr_preface_begin(proxy, conn, now_us);
    HR_DROP(proxy->cfg.stats, origin_untrusted); /* it was trusted when its SYN came */
    hr_tcp_abort(proxy->cfg.tcp, conn);
    return NULL;
}

struct hr_leg *hr_proxy_admit(struct hr_proxy *proxy, struct hr_tcp_conn *conn, const struct hr_origin *origin,
                              uint64_t now_us)
{
    const struct hr_flow *flow = hr_tcp_flow(conn);
    int32_t node_id;
    const struct hr_policy_listener *listener =
        hr_policy_find_listener(proxy->policy, &flow->local, flow->local_port, &node_id);
    /* The listener may have gone away since the SYN, or drains, or a burst of handshakes completes at the limit. */
    enum hr_drop refusal = !listener                           ? HR_DROP_tcp_no_listener
                           : hr_proxy_drains(proxy, listener) ? HR_DROP_draining
                                                              : hr_proxy_over_limit(proxy, listener);
    uint32_t index = listener ? (uint32_t)(listener - proxy->policy->listeners) : 0;
    uint8_t zone = hr_zone_of_client(&proxy->policy->zones, index, origin ? &origin->addr : &flow->remote);
    hr_tcp_set_peer(conn, HR_ZONE_PEER_CLIENT, zone);
    if (refusal == HR_DROP_MAX && needs_handshake(proxy->policy, listener))
        return hand_up(proxy, conn, listener, origin, now_us);
    struct hr_session *s = refusal == HR_DROP_MAX ? hr_session_take(proxy) : NULL;

    if (!s) {
        proxy->cfg.stats->drops[refusal]++;
        hr_tcp_abort(proxy->cfg.tcp, conn);
        return NULL;
    }
    s->client.conn = conn;
    hr_tcp_set_user(conn, &s->client);
    hr_leg_set_zone(&s->client, zone);
    s->listener = (uint16_t)index;
    s->mode = listener->mode;
    s->asked_node_id = node_id;
    s->opened_us = s->last_active_us = now_us;
    s->connect_deadline_us = now_us + listener->connect_timeout_ms * 1000ULL;
    s->state = HR_SESSION_CONNECTING;
    hr_session_set_origin(proxy, s, origin);
    hr_proxy_count_open(proxy, s->listener, 1);
    if (s->mode == HR_LISTENER_KAFKA && hr_relay_open(proxy->cfg.relays, node_id, &s->relay) != 0) {
        s->relay = NULL;
        hr_session_end(proxy, s, HR_DROP_session_limit, HR_END_RST, HR_END_RST);
        return NULL;
    }
    hr_session_connect(proxy, s, now_us);
    return s->state == HR_SESSION_FREE ? NULL : &s->client;
}

uint32_t hr_proxy_listener_of(const struct hr_proxy *proxy, const struct hr_tcp_conn *conn)
{
    const struct hr_flow *flow = hr_tcp_flow(conn);
    int32_t node_id;
    const struct hr_policy_listener *listener =
        proxy->policy ? hr_policy_find_listener(proxy->policy, &flow->local, flow->local_port, &node_id) : NULL;

    return listener ? (uint32_t)(listener - proxy->policy->listeners) : HR_POLICY_MAX_LISTENERS;
}

void hr_proxy_handshake_over(struct hr_proxy *proxy, uint32_t source)
{
    count_source(proxy, source, -1);
}

void hr_proxy_set_handshakes(struct hr_proxy *proxy, uint32_t listener, uint32_t n)
{
    if (listener < HR_POLICY_MAX_LISTENERS)
        atomic_store_explicit(&proxy->cfg.counts[proxy->cfg.worker_id].handshakes[listener], n, memory_order_relaxed);
}
