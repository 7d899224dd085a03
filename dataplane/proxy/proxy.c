/* The session table: creation, ids, ends, listing. Everything is allocated once. */
#include "dataplane/proxy/proxy.h"

#include <rte_malloc.h>
#include <stdatomic.h>
#include <string.h>

#include "dataplane/proxy/impl.h"

int hr_proxy_create(const struct hr_proxy_config *cfg, uint64_t now_us, struct hr_proxy **ret_proxy)
{
    struct hr_proxy *proxy = rte_zmalloc_socket("hr_proxy", sizeof(*proxy), 64, cfg->socket_id);
    if (!proxy)
        return HR_E_NOMEM;
    proxy->cfg = *cfg;
    proxy->sessions =
        rte_zmalloc_socket("hr_sessions", sizeof(struct hr_session) * cfg->max_sessions, 64, cfg->socket_id);
    proxy->branches =
        rte_zmalloc_socket("hr_branches", sizeof(struct hr_branch) * (cfg->max_branches + 1), 64, cfg->socket_id);
    if (!proxy->sessions || !proxy->branches || hr_logins_create(proxy) != 0 || hr_prefaces_create(proxy) != 0) {
        rte_free(proxy->logins);
        rte_free(proxy->branches);
        rte_free(proxy->sessions);
        rte_free(proxy);
        return HR_E_NOMEM;
    }
    for (uint32_t i = cfg->max_branches; i-- > 0;) {
        proxy->branches[i].next_free = proxy->free_branch;
        proxy->free_branch = i + 1;
    }
    for (uint32_t i = cfg->max_sessions; i-- > 0;) {
        struct hr_session *s = &proxy->sessions[i];
        s->index = i;
        s->next = proxy->free;
        proxy->free = s;
    }
    proxy->rng = now_us ^ ((uint64_t)cfg->worker_id << 56);
    for (uint32_t i = 0; i < HR_PORT_COUNTERS; i++)
        proxy->next_port[i] = (uint32_t)hr_proxy_random(proxy);
    proxy->next_sweep_us = now_us;
    hr_pieceq_init(&proxy->waste);
    *ret_proxy = proxy;
    return 0;
}

void hr_proxy_end_all(struct hr_proxy *proxy)
{
    hr_prefaces_end_all(proxy);
    for (uint32_t i = 0; i < proxy->cfg.max_sessions; i++)
        if (proxy->sessions[i].state != HR_SESSION_FREE)
            hr_session_end(proxy, &proxy->sessions[i], HR_DROP_MAX, HR_END_ABORT, HR_END_ABORT);
}

void hr_proxy_destroy(struct hr_proxy *proxy)
{
    if (!proxy)
        return;
    hr_proxy_end_all(proxy);
    hr_prefaces_destroy(proxy);
    rte_free(proxy->logins);
    rte_free(proxy->sessions);
    rte_free(proxy->branches);
    rte_free(proxy);
}

uint64_t hr_proxy_random(struct hr_proxy *proxy)
{
    uint64_t z = (proxy->rng += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static void publish(_Atomic uint32_t *count, uint32_t n)
{
    atomic_store_explicit(count, n, memory_order_relaxed);
}

void hr_proxy_count_open(struct hr_proxy *proxy, uint32_t listener, int change)
{
    if (listener >= HR_POLICY_MAX_LISTENERS)
        return;
    proxy->listener_open[listener] += (uint32_t)change;
    publish(&proxy->cfg.counts[proxy->cfg.worker_id].of_listener[listener], proxy->listener_open[listener]);
}

static void count_session(struct hr_proxy *proxy, int change)
{
    proxy->n_open += (uint32_t)change;
    publish(&proxy->cfg.counts[proxy->cfg.worker_id].sessions, proxy->n_open);
    HR_GAUGE_SET(proxy->cfg.stats, sessions, proxy->n_open);
}

/* Sessions name their listener by index; a reload may have moved it. Listeners keep their identity by name and
 * mode: what was read as frames is not read as anything else. */
void hr_proxy_set_policy(struct hr_proxy *proxy, const struct hr_policy *policy)
{
    uint16_t moved_to[HR_POLICY_MAX_LISTENERS];
    const struct hr_policy *old = proxy->policy;
    bool moved = false;

    memset(moved_to, 0xff, sizeof(moved_to));
    for (uint32_t i = 0; old && i < old->n_listeners; i++) {
        for (uint32_t j = 0; j < policy->n_listeners; j++)
            if (strcmp(old->listeners[i].name, policy->listeners[j].name) == 0 &&
                old->listeners[i].mode == policy->listeners[j].mode)
                moved_to[i] = (uint16_t)j;
        moved |= moved_to[i] != i;
    }
    proxy->policy = policy;
    if (proxy->cfg.relays)
        hr_relay_adopt(proxy->cfg.relays, policy, proxy->replicas);
    proxy->brokers_drain = false;
    for (uint32_t i = 0; i < policy->n_brokers; i++)
        proxy->brokers_drain |= (policy->brokers[i].flags & HR_BROKER_DRAINING) != 0;
    if (!moved)
        return;
    for (uint32_t i = 0; i < HR_POLICY_MAX_LISTENERS; i++)
        hr_proxy_count_open(proxy, i, -(int)proxy->listener_open[i]);
    for (uint32_t i = 0; i < proxy->cfg.max_sessions; i++) {
        struct hr_session *s = &proxy->sessions[i];
        if (s->state == HR_SESSION_FREE || s->listener >= HR_POLICY_MAX_LISTENERS)
            continue;
        s->listener = moved_to[s->listener];
        hr_proxy_count_open(proxy, s->listener, 1);
    }
}

void hr_proxy_set_replicas(struct hr_proxy *proxy, const struct hr_replicas *map)
{
    proxy->replicas = map;
    if (proxy->policy)
        hr_relay_adopt(proxy->cfg.relays, proxy->policy, map);
}

uint32_t hr_proxy_sessions(const struct hr_proxy *proxy)
{
    return proxy->n_open;
}

uint64_t hr_session_id(const struct hr_proxy *proxy, const struct hr_session *s)
{
    return (uint64_t)proxy->cfg.worker_id << 56 | (uint64_t)(s->generation & 0xffffff) << 32 | s->index;
}

struct hr_session *hr_session_find(const struct hr_proxy *proxy, uint64_t id)
{
    uint32_t index = (uint32_t)id;
    if (index >= proxy->cfg.max_sessions)
        return NULL;
    struct hr_session *s = &proxy->sessions[index];
    return s->state != HR_SESSION_FREE && hr_session_id(proxy, s) == id ? s : NULL;
}

struct hr_session *hr_session_take(struct hr_proxy *proxy)
{
    struct hr_session *s = proxy->free;
    if (!s)
        return NULL;
    proxy->free = s->next;
    uint32_t index = s->index, generation = s->generation + 1;
    bool in_run_list = s->in_run_list;
    struct hr_session *next = s->next;
    memset(s, 0, sizeof(*s));
    s->index = index;
    s->generation = generation;
    s->in_run_list = in_run_list;
    s->next = in_run_list ? next : NULL;
    s->client.kind = HR_LEG_CLIENT;
    s->broker.kind = HR_LEG_BROKER;
    s->node_id = s->asked_node_id = -1;
    count_session(proxy, 1);
    HR_COUNT(proxy->cfg.stats, sessions_opened);
    return s;
}

void hr_leg_end(struct hr_proxy *proxy, struct hr_leg *leg, enum hr_leg_end how)
{
    struct hr_tcp_conn *conn = leg->conn;
    if (!conn)
        return;
    if ((leg->tls && how == HR_END_FIN) || (how == HR_END_RST && hr_leg_alert_due(proxy, leg)))
        hr_leg_goodbye(proxy, leg);
    hr_leg_close_tls(proxy, leg);
    leg->conn = NULL;
    hr_tcp_set_user(conn, NULL);
    switch (how) {
    case HR_END_FIN:
        hr_tcp_release(proxy->cfg.tcp, conn);
        break;
    case HR_END_RST:
        hr_tcp_release_reset(proxy->cfg.tcp, conn);
        break;
    case HR_END_ABORT:
        hr_tcp_abort(proxy->cfg.tcp, conn);
        break;
    }
}

static void leave_run_list(struct hr_proxy *proxy, struct hr_session *s)
{
    if (!s->in_run_list)
        return;
    struct hr_session **at = &proxy->run_first, *prev = NULL;
    while (*at && *at != s) {
        prev = *at;
        at = &(*at)->next;
    }
    if (*at) {
        *at = s->next;
        if (proxy->run_last == s)
            proxy->run_last = prev;
    }
    s->in_run_list = false;
}

void hr_session_end(struct hr_proxy *proxy, struct hr_session *s, enum hr_drop reason,
                    enum hr_leg_end client_end, enum hr_leg_end broker_end)
{
    if (reason != HR_DROP_MAX) {
        proxy->cfg.stats->drops[reason]++;
        hr_proxy_log(proxy, HR_LOGEV_SESSION_CLOSED, s, reason, 0, 0);
    }
    leave_run_list(proxy, s);
    if (s->login)
        hr_session_auth_end(proxy, s);
    hr_leg_end(proxy, &s->client, client_end);
    hr_leg_end(proxy, &s->broker, broker_end);
    hr_branch_close(proxy, s, broker_end);
    if (s->relay)
        hr_relay_close(proxy->cfg.relays, s->relay);
    s->relay = NULL;
    hr_logins_give_back(proxy, s->login);
    s->login = 0;
    hr_proxy_count_open(proxy, s->listener, -1);
    s->state = HR_SESSION_FREE;
    s->next = proxy->free;
    proxy->free = s;
    count_session(proxy, -1);
    HR_COUNT(proxy->cfg.stats, sessions_closed);
}

void hr_session_cut(struct hr_proxy *proxy, struct hr_session *s, enum hr_drop reason)
{
    hr_session_end(proxy, s, reason, hr_session_mid_frame(s, false) ? HR_END_RST : HR_END_FIN,
                   hr_session_mid_frame(s, true) ? HR_END_RST : HR_END_FIN);
}

void hr_proxy_log(struct hr_proxy *proxy, enum hr_log_event event, const struct hr_session *s,
                  enum hr_drop reason, uint64_t a, uint64_t b)
{
    struct hr_msg msg = {.type = HR_EV_LOG};
    msg.u.log.event = (uint16_t)event;
    msg.u.log.reason = (uint16_t)reason;
    msg.u.log.node_id = s->node_id;
    if (s->client.conn)
        msg.u.log.addr = *hr_session_client(proxy, s, &msg.u.log.port);
    msg.u.log.a = a;
    msg.u.log.b = b;
    proxy->cfg.log(proxy->cfg.owner, &msg);
}

static void describe(const struct hr_proxy *proxy, const struct hr_session *s, struct hr_session_info *info)
{
    struct hr_tcp_conn_info tcp;
    memset(info, 0, sizeof(*info));
    info->id = hr_session_id(proxy, s);
    info->listener = s->listener;
    info->node_id = s->node_id;
    info->opened_us = s->opened_us;
    info->last_active_us = s->last_active_us;
    info->bytes_up = s->bytes_up;
    info->bytes_down = s->bytes_down;
    info->state = s->state;
    info->mode = s->mode;
    info->last_api_key = -1;
    info->asked_node_id = s->asked_node_id;
    hr_leg_get_protocol(proxy, &s->client, &info->client_version, &info->client_suite);
    hr_leg_get_protocol(proxy, &s->broker, &info->broker_version, &info->broker_suite);
    if (s->login)
        info->login = *hr_logins_at(proxy, s->login);
    if (s->client.conn) {
        const struct hr_flow *flow = hr_tcp_flow(s->client.conn);
        const struct hr_origin *origin = hr_session_origin(proxy, s);
        info->client = *hr_session_client(proxy, s, &info->client_port);
        if (origin) {
            info->via = flow->remote;
            info->via_port = flow->remote_port;
            memcpy(info->vpc_endpoint, origin->vpc_endpoint, sizeof(info->vpc_endpoint));
        }
        info->local_port = flow->local_port;
        hr_tcp_conn_get_info(proxy->cfg.tcp, s->client.conn, &tcp);
        info->client_srtt_us = tcp.srtt_us;
        info->bufs_held += hr_tcp_rcvq(s->client.conn)->n_pieces + hr_tcp_send_bufs(s->client.conn);
    }
    if (s->broker.conn) {
        const struct hr_flow *flow = hr_tcp_flow(s->broker.conn);
        info->broker = flow->remote;
        info->broker_port = flow->remote_port;
        hr_tcp_conn_get_info(proxy->cfg.tcp, s->broker.conn, &tcp);
        info->broker_srtt_us = tcp.srtt_us;
        info->bufs_held += hr_tcp_rcvq(s->broker.conn)->n_pieces + hr_tcp_send_bufs(s->broker.conn);
    }
    if (s->relay) {
        struct hr_relay_state relay;
        hr_relay_get_state(s->relay, &relay);
        info->in_flight = relay.in_flight;
        info->requests = relay.requests;
        info->responses = relay.responses;
        info->last_api_key = relay.last_api_key;
        memcpy(info->client_id, relay.client_id, sizeof(info->client_id));
        info->client_id[sizeof(info->client_id) - 1] = '\0';
    }
}

uint32_t hr_proxy_list(const struct hr_proxy *proxy, uint32_t from, struct hr_session_info *infos, uint32_t max,
                       uint32_t *ret_next)
{
    uint32_t n = 0, i = from;
    for (uint32_t looked_at = 0; i < proxy->cfg.max_sessions && n < max && looked_at < HR_LIST_SCAN; i++, looked_at++)
        if (proxy->sessions[i].state != HR_SESSION_FREE)
            describe(proxy, &proxy->sessions[i], &infos[n++]);
    *ret_next = i < proxy->cfg.max_sessions ? i : 0;
    return n;
}

int hr_proxy_kill(struct hr_proxy *proxy, uint64_t session_id)
{
    struct hr_session *s = hr_session_find(proxy, session_id);
    if (!s)
        return HR_E_NOT_FOUND;
    hr_session_end(proxy, s, HR_DROP_killed, HR_END_ABORT, HR_END_ABORT);
    return 0;
}

int hr_proxy_detach_client(struct hr_proxy *proxy, uint64_t session_id, struct hr_tcp_conn **ret_conn)
{
    struct hr_session *s = hr_session_find(proxy, session_id);
    if (!s || !s->client.conn)
        return HR_E_NOT_FOUND;
    if (s->client.tls || s->login || s->client_fin || s->client_shut || !hr_session_at_boundary(s))
        return HR_E_BUSY;
    struct hr_tcp_conn *conn = s->client.conn;
    s->client.conn = NULL;
    hr_tcp_set_user(conn, NULL);
    /* Nothing of it waits elsewhere any more. */
    hr_tcp_want(proxy->cfg.tcp, conn, 0);
    hr_tcp_consumed(proxy->cfg.tcp, conn, 0, 0, 0);
    hr_session_end(proxy, s, HR_DROP_MAX, HR_END_FIN, HR_END_FIN);
    *ret_conn = conn;
    return 0;
}
