/* Connections from load balancers that have not yet said whose they are: on listeners with proxy_protocol the header
 * (origin.h) comes before anything else, in plain text also where TLS follows. Only the networks that the listener
 * trusts may connect at all, so a header is never guessed at: who is trusted must send one.
 *
 * What waits is no session yet and costs little: a place in a table of its own. Its time is short, and the same for all,
 * so that the list of them is in the order in which it runs out. */
#include <rte_malloc.h>

#include "dataplane/proxy/impl.h"

struct hr_preface {
    struct hr_leg leg; /* the first member */
    uint64_t deadline_us;
    struct hr_preface *next, *prev; /* of those who wait, oldest first; or the free list */
};

int hr_prefaces_create(struct hr_proxy *proxy)
{
    struct hr_prefaces *all = &proxy->prefaces;

    if (!proxy->cfg.proxy_protocol)
        return 0;
    all->table = rte_zmalloc_socket("hr_prefaces", HR_PREFACES_MAX * sizeof(*all->table), 64, proxy->cfg.socket_id);
    all->origins = rte_zmalloc_socket("hr_origins", proxy->cfg.max_sessions * sizeof(*all->origins), 64,
                                      proxy->cfg.socket_id);
    if (!all->table || !all->origins) {
        hr_prefaces_destroy(proxy);
        return HR_E_NOMEM;
    }
    for (uint32_t i = HR_PREFACES_MAX; i-- > 0;) {
        all->table[i].next = all->free;
        all->free = &all->table[i];
    }
    return 0;
}

void hr_prefaces_destroy(struct hr_proxy *proxy)
{
    rte_free(proxy->prefaces.table);
    rte_free(proxy->prefaces.origins);
}

bool hr_origin_trusted(const struct hr_policy_listener *listener, const struct hr_addr *addr)
{
    for (uint32_t i = 0; i < listener->n_trusted; i++) {
        if (hr_addr_in_prefix(addr, &listener->trusted[i].net, listener->trusted[i].bits))
            return true;
    }
    return false;
}

/* The connection has no owner afterwards. */
static struct hr_tcp_conn *leave(struct hr_proxy *proxy, struct hr_preface *p)
{
    struct hr_prefaces *all = &proxy->prefaces;
    struct hr_tcp_conn *conn = p->leg.conn;

    *(p->prev ? &p->prev->next : &all->first) = p->next;
    *(p->next ? &p->next->prev : &all->last) = p->prev;
    p->leg.conn = NULL;
    p->next = all->free;
    all->free = p;
    hr_tcp_set_user(conn, NULL);
    return conn;
}

static void refuse(struct hr_proxy *proxy, struct hr_tcp_conn *conn, enum hr_drop reason)
{
    const struct hr_flow *flow = hr_tcp_flow(conn);
    struct hr_msg msg = {.type = HR_EV_LOG};

    proxy->cfg.stats->drops[reason]++;
    msg.u.log.event = HR_LOGEV_ORIGIN_BAD;
    msg.u.log.reason = (uint16_t)reason;
    msg.u.log.node_id = -1;
    msg.u.log.addr = flow->remote;
    msg.u.log.port = flow->remote_port;
    proxy->cfg.log(proxy->cfg.owner, &msg);
    hr_tcp_abort(proxy->cfg.tcp, conn);
}

struct hr_leg *hr_preface_begin(struct hr_proxy *proxy, struct hr_tcp_conn *conn, uint64_t now_us)
{
    struct hr_prefaces *all = &proxy->prefaces;
    struct hr_preface *p = all->free;

    if (!p) {
        HR_DROP(proxy->cfg.stats, session_limit);
        hr_tcp_abort(proxy->cfg.tcp, conn);
        return NULL;
    }
    all->free = p->next;
    *p = (struct hr_preface){.leg = {.conn = conn, .kind = HR_LEG_PREFACE}, .deadline_us = now_us + HR_PREFACE_US};
    p->prev = all->last;
    *(all->last ? &all->last->next : &all->first) = p;
    all->last = p;
    hr_tcp_set_user(conn, &p->leg);
    return hr_proxy_preface(proxy, &p->leg, 0, now_us);
}

struct hr_leg *hr_proxy_preface(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us)
{
    struct hr_preface *p = (struct hr_preface *)(void *)leg;
    struct hr_pieceq *q = hr_tcp_rcvq(leg->conn);
    uint8_t data[HR_ORIGIN_HEADER_MAX];
    uint32_t len = q->bytes < sizeof(data) ? q->bytes : sizeof(data), header_len;
    struct hr_origin origin;

    hr_pieceq_peek(q, 0, data, len);
    int err = hr_origin_read(data, len, &header_len, &origin);
    if (err == HR_E_AGAIN && !(events & (HR_TCP_EV_FIN | HR_TCP_EV_FAILED | HR_TCP_EV_CLOSED)))
        return leg;
    struct hr_tcp_conn *conn = leave(proxy, p);
    if (err == HR_E_AGAIN && len == 0) { /* looked whether somebody listens, and went away */
        hr_tcp_release(proxy->cfg.tcp, conn);
        return NULL;
    }
    if (err != 0) {
        refuse(proxy, conn, HR_DROP_origin_bad);
        return NULL;
    }
    hr_pieceq_drop(proxy->cfg.bufs, q, header_len);
    hr_tcp_consumed(proxy->cfg.tcp, conn, header_len, 0, 0);
    HR_COUNT(proxy->cfg.stats, origins_told);
    return hr_proxy_admit(proxy, conn, hr_addr_is_any(&origin.addr) ? NULL : &origin, now_us);
}

uint64_t hr_prefaces_advance(struct hr_proxy *proxy, uint64_t now_us)
{
    struct hr_prefaces *all = &proxy->prefaces;

    while (all->first && now_us >= all->first->deadline_us)
        refuse(proxy, leave(proxy, all->first), HR_DROP_origin_timeout);
    return all->first ? all->first->deadline_us : UINT64_MAX;
}

void hr_prefaces_end_all(struct hr_proxy *proxy)
{
    while (proxy->prefaces.first)
        hr_tcp_abort(proxy->cfg.tcp, leave(proxy, proxy->prefaces.first));
}

void hr_prefaces_drain(struct hr_proxy *proxy)
{
    while (proxy->prefaces.first) {
        HR_DROP(proxy->cfg.stats, draining);
        hr_tcp_abort(proxy->cfg.tcp, leave(proxy, proxy->prefaces.first));
    }
}

/* -- sessions whose client somebody has told of ----------------------------------------------------------------- */

void hr_session_set_origin(struct hr_proxy *proxy, struct hr_session *s, const struct hr_origin *origin)
{
    s->has_origin = origin && proxy->prefaces.origins;
    if (s->has_origin)
        proxy->prefaces.origins[s->index] = *origin;
}

const struct hr_origin *hr_session_origin(const struct hr_proxy *proxy, const struct hr_session *s)
{
    return s->has_origin ? &proxy->prefaces.origins[s->index] : NULL;
}

const struct hr_addr *hr_session_client(const struct hr_proxy *proxy, const struct hr_session *s, uint16_t *ret_port)
{
    const struct hr_origin *origin = hr_session_origin(proxy, s);
    const struct hr_flow *flow = hr_tcp_flow(s->client.conn);

    if (ret_port)
        *ret_port = origin ? origin->port : flow->remote_port;
    return origin ? &origin->addr : &flow->remote;
}
