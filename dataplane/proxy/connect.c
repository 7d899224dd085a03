/* The broker leg: whether it may be opened now, to which broker, and what to do when that does not answer. */
#include "dataplane/proxy/impl.h"

#include <string.h>

#include "shared/base/siphash.h"

/* A bucket that holds a tenth of a second's tokens (GCRA): theoretical_ns is when the next one would be due if
 * none had come early. */
bool hr_rate_conforms(uint64_t theoretical_ns, uint64_t now_ns)
{
    return theoretical_ns <= now_ns + HR_RATE_BURST_NS;
}

void hr_rate_take(uint64_t *theoretical_ns, uint64_t now_ns, uint32_t rate)
{
    *theoretical_ns = (*theoretical_ns > now_ns ? *theoretical_ns : now_ns) + 1000000000u / rate;
}

/* Half of the rate is the most that one address gets, so a
 * single one that connects in a loop leaves room for the others. */
bool hr_session_rate_allows(struct hr_proxy *proxy, const struct hr_session *s, uint64_t now_us)
{
    uint32_t rate = proxy->cfg.connect_rate;
    uint64_t now_ns = now_us * 1000;

    if (rate == 0)
        return true;
    const struct hr_addr *from = hr_session_client(proxy, s, NULL);
    uint64_t hash = hr_siphash(proxy->cfg.port_key, from, sizeof(*from));
    uint64_t *of_client = &proxy->rate_of_clients[hash % HR_RATE_CLIENTS];
    if (!hr_rate_conforms(proxy->rate_of_all, now_ns) || !hr_rate_conforms(*of_client, now_ns))
        return false;
    hr_rate_take(&proxy->rate_of_all, now_ns, rate);
    hr_rate_take(of_client, now_ns, rate > 1 ? rate / 2 : 1);
    return true;
}

static bool suspect(const struct hr_proxy *proxy, int32_t node_id, uint64_t now_us)
{
    for (uint32_t i = 0; i < HR_MAX_SUSPECTS; i++)
        if (proxy->suspects[i].until_us > now_us && proxy->suspects[i].node_id == node_id)
            return true;
    return false;
}

static void make_suspect(struct hr_proxy *proxy, int32_t node_id, uint64_t now_us)
{
    struct hr_suspect *slot = &proxy->suspects[proxy->next_suspect++ % HR_MAX_SUSPECTS];
    for (uint32_t i = 0; i < HR_MAX_SUSPECTS; i++)
        if (proxy->suspects[i].node_id == node_id && proxy->suspects[i].until_us)
            slot = &proxy->suspects[i];
    slot->node_id = node_id;
    slot->until_us = now_us + HR_SUSPECT_US;
}

static bool tried(const struct hr_session *s, int32_t node_id)
{
    for (uint32_t i = 0; i < s->tries; i++)
        if (s->tried[i] == node_id)
            return true;
    return false;
}

/* For a bootstrap connection: a live broker that was not tried yet, in our zone if there is one; suspects
 * only when nobody else is left. Equal candidates are chosen among at random. */
static const struct hr_policy_broker *choose_broker(struct hr_proxy *proxy, const struct hr_session *s,
                                                    uint64_t now_us)
{
    const struct hr_policy *policy = proxy->policy;
    const struct hr_policy_broker *best = NULL;
    int best_rank = -1;
    uint32_t equals = 0;

    for (uint32_t i = 0; i < policy->n_brokers; i++) {
        const struct hr_policy_broker *b = &policy->brokers[i];
        if (!(b->flags & HR_BROKER_ALIVE) || (b->flags & HR_BROKER_DRAINING) || tried(s, b->node_id))
            continue;
        int rank = suspect(proxy, b->node_id, now_us) ? 0 : 2;
        if (policy->zones.own != HR_ZONE_NONE && b->zone == policy->zones.own)
            rank++;
        equals = rank == best_rank ? equals + 1 : 1;
        if (rank > best_rank || (rank == best_rank && hr_proxy_random(proxy) % equals == 0)) {
            best = b;
            best_rank = rank;
        }
    }
    return best;
}

/* What a try may take: a bootstrap connection keeps time for the brokers that it has not tried yet, or one that
 * does not answer would use it up. */
static uint64_t time_for_try(struct hr_proxy *proxy, const struct hr_session *s, uint64_t now_us)
{
    uint64_t left_us = s->connect_deadline_us > now_us ? s->connect_deadline_us - now_us : 1;
    bool others = s->mode == HR_LISTENER_KAFKA && s->asked_node_id < 0 && s->tries < HR_SESSION_MAX_TRIES &&
                  choose_broker(proxy, s, now_us);
    return others ? left_us / (HR_SESSION_MAX_TRIES + 1u - s->tries) + 1 : left_us;
}

void hr_session_connect(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);
    enum hr_drop reason = HR_DROP_no_broker;
    struct hr_addr addr;
    uint16_t port;

    if (!listener)
        goto refuse;
    if (s->mode == HR_LISTENER_TCP) {
        addr = listener->target;
        port = listener->target_port;
        s->broker.zone = hr_proxy_zone_of(proxy, &addr);
    } else {
        const struct hr_policy_broker *broker = s->asked_node_id >= 0
                                                    ? hr_policy_find_broker(proxy->policy, s->asked_node_id)
                                                    : choose_broker(proxy, s, now_us);
        if (!broker)
            goto refuse;
        addr = broker->addr;
        port = broker->port;
        s->node_id = broker->node_id;
        s->broker.zone = broker->zone;
    }
    if (!hr_session_rate_allows(proxy, s, now_us)) {
        reason = HR_DROP_connect_rate;
        goto refuse;
    }
    if (s->tries < HR_SESSION_MAX_TRIES)
        s->tried[s->tries] = s->node_id;
    s->tries++;

    int err = hr_proxy_connect(proxy, &addr, port, (uint32_t)time_for_try(proxy, s, now_us), &s->broker.conn);
    if (err == 0) {
        hr_tcp_set_user(s->broker.conn, &s->broker);
        hr_leg_set_zone(&s->broker, s->broker.zone);
        return;
    }
    s->broker.conn = NULL;
    reason = err == HR_E_NOT_FOUND ? HR_DROP_ip_no_route
             : err == HR_E_FULL    ? HR_DROP_no_source_port
                                   : HR_DROP_tcp_conn_limit;
refuse:
    hr_proxy_log(proxy, HR_LOGEV_SESSION_OPEN_FAILED, s, reason, 0, 0);
    hr_session_end(proxy, s, reason, HR_END_RST, HR_END_RST);
}

void hr_session_connect_failed(struct hr_proxy *proxy, struct hr_session *s, enum hr_tcp_failure failure,
                               uint64_t now_us)
{
    enum hr_drop reason = failure == HR_TCP_FAIL_TIMEOUT ? HR_DROP_broker_timeout : HR_DROP_broker_refused;

    hr_tcp_release(proxy->cfg.tcp, s->broker.conn);
    s->broker.conn = NULL;
    if (s->mode == HR_LISTENER_KAFKA)
        make_suspect(proxy, s->node_id, now_us);
    proxy->cfg.hint(proxy->cfg.owner, s->listener, s->node_id);
    if (s->mode == HR_LISTENER_KAFKA && s->asked_node_id < 0 && s->tries < HR_SESSION_MAX_TRIES &&
        now_us < s->connect_deadline_us && choose_broker(proxy, s, now_us)) {
        hr_session_connect(proxy, s, now_us);
        return;
    }
    hr_proxy_log(proxy, HR_LOGEV_SESSION_OPEN_FAILED, s, reason, 0, 0);
    hr_session_end(proxy, s, reason, HR_END_RST, HR_END_RST);
}
