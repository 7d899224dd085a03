/* Sessions made of connections that the control plane had: their handshakes are done, and what it learned of them
 * comes along. */
#include "dataplane/proxy/impl.h"

static int open_tls(struct hr_proxy *proxy, struct hr_leg *leg, const struct hr_join_leg *from)
{
    struct hr_rec_leg *tls;

    if (!from->secrets)
        return 0;
    if (!proxy->cfg.rec)
        return HR_E_UNSUPPORTED;
    if (from->secrets->role != (leg->kind == HR_LEG_CLIENT ? HR_TLS_SERVER : HR_TLS_CLIENT))
        return HR_E_INVALID;
    int err = hr_rec_leg_open(proxy->cfg.rec, from->secrets, &tls);
    if (err != 0)
        return err;
    leg->tls = hr_rec_leg_place(proxy->cfg.rec, tls);
    if (from->unread == NULL)
        return 0;
    return hr_pieceq_move(proxy->cfg.bufs, hr_rec_plain(tls), from->unread, from->unread->bytes);
}

static void take_over(struct hr_proxy *proxy, struct hr_leg *leg, const struct hr_join_leg *from)
{
    leg->conn = from->conn;
    hr_tcp_set_user(leg->conn, leg);
    if (!from->secrets)
        hr_pieceq_wipe(hr_tcp_rcvq(leg->conn), from->skip);
    if (from->skip > 0)
        hr_pieceq_drop(proxy->cfg.bufs, hr_tcp_rcvq(leg->conn), from->skip);
    hr_tcp_consumed(proxy->cfg.tcp, leg->conn, from->skip, 0, 0);
}

/* Whether the legs speak what the policy asks for, and whoever has to log in has. A reload in mid-handshake may have
 * changed that: whoever begins now must not get a session of before, least of all one whose broker leg would go out as
 * plain text. */
static bool as_agreed(const struct hr_policy *policy, const struct hr_policy_listener *listener,
                      const struct hr_join_leg *client, const struct hr_join_leg *broker,
                      const struct hr_session_login *login)
{
    bool broker_tls = broker->conn && broker->secrets, broker_login = broker->conn && login && login->broker_mechanism;
    /* Where a connection is Headrace's own at the broker, no client logs in on it in mid-session either. */
    bool terminates = listener->login || listener->broker_login;
    if (terminates != (login && login->terminates) || (listener->broker_login != 0) != broker_login)
        return false;
    return listener->mode == HR_LISTENER_KAFKA && (client->secrets != NULL) == (listener->tls != 0) &&
           broker_tls == (policy->cluster_tls != 0);
}

int hr_proxy_join(struct hr_proxy *proxy, uint32_t listener_index, int32_t node_id, const struct hr_join_leg *client,
                  const struct hr_join_leg *broker, const struct hr_session_login *login, uint64_t now_us,
                  uint64_t *ret_session_id)
{
    if (!proxy->policy || listener_index >= proxy->policy->n_listeners)
        return HR_E_INVALID;
    if (client->skip > hr_tcp_rcvq(client->conn)->bytes ||
        (broker->conn && broker->skip > hr_tcp_rcvq(broker->conn)->bytes) || (client->unread && !client->secrets))
        return HR_E_INVALID;
    const struct hr_policy_listener *listener = &proxy->policy->listeners[listener_index];
    if (!as_agreed(proxy->policy, listener, client, broker, login))
        return HR_E_INVALID;
    enum hr_drop refusal = hr_proxy_drains(proxy, listener) ? HR_DROP_draining : hr_proxy_over_limit(proxy, listener);
    if (refusal != HR_DROP_MAX) {
        proxy->cfg.stats->drops[refusal]++;
        return HR_E_FULL;
    }
    struct hr_session *s = hr_session_take(proxy);
    s->listener = (uint16_t)listener_index;
    s->mode = listener->mode;
    s->asked_node_id = node_id;
    s->opened_us = s->last_active_us = now_us;
    s->state = HR_SESSION_CONNECTING;
    hr_session_set_origin(proxy, s, client->origin);
    hr_proxy_count_open(proxy, s->listener, 1);
    int err = open_tls(proxy, &s->client, client);
    if (err == 0 && broker->conn)
        err = open_tls(proxy, &s->broker, broker);
    if (err == 0 && login && (s->login = hr_logins_take(proxy, s, login)) == 0)
        err = HR_E_FULL;
    if (err == 0 && s->mode == HR_LISTENER_KAFKA)
        err = hr_relay_open(proxy->cfg.relays, node_id, &s->relay);
    if (err != 0) {
        hr_leg_close_tls(proxy, &s->client);
        hr_leg_close_tls(proxy, &s->broker);
        hr_session_end(proxy, s, HR_DROP_MAX, HR_END_RST, HR_END_RST);
        if (err == HR_E_INVALID)
            return err;
        HR_DROP(proxy->cfg.stats, session_limit);
        return HR_E_FULL;
    }
    take_over(proxy, &s->client, client);
    hr_leg_set_zone(&s->client, hr_zone_of_client(&proxy->policy->zones, s->listener, hr_session_client(proxy, s, NULL)));
    s->client_fin = client->fin;
    *ret_session_id = hr_session_id(proxy, s);
    if (!broker->conn) {
        s->connect_deadline_us = now_us + listener->connect_timeout_ms * 1000ULL;
        hr_session_connect(proxy, s, now_us);
        return 0;
    }
    const struct hr_policy_broker *known = hr_policy_find_broker(proxy->policy, node_id);
    s->node_id = node_id;
    take_over(proxy, &s->broker, broker);
    hr_leg_set_zone(&s->broker, known ? known->zone : HR_ZONE_NONE);
    s->broker_fin = broker->fin;
    s->request_begun_us = 0;
    s->requests_seen = s->branch = 0;
    s->state = HR_SESSION_RELAYING;
    hr_session_run(proxy, s, now_us);
    return 0;
}
