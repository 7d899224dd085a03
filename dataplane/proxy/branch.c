/* The second broker leg of a session: to a follower in the client's zone, which answers fetches (dataplane/kafka/reader.h
 * decides which). It is opened for the first of them, and closed when it has not been used for a while.
 *
 * A follower that ends its leg, or that does not answer in time (a frozen host goes on accepting), is left: the branch
 * is opened to the session's own broker instead, on a connection of its own because further requests may be under way on
 * the first, and is asked what is unanswered. So the client notices nothing but the time; where a part of an answer has
 * been passed on, the session ends as it would with one leg. */
#include "dataplane/proxy/impl.h"

/* A follower in the zone answers quickly or not at all. */
#define CONNECT_US 1000000u
/* Without a request for so long, a branch is closed. */
#define IDLE_US (60 * 1000 * 1000ULL)

struct hr_branch *hr_branch_at(const struct hr_proxy *proxy, const struct hr_session *s)
{
    bool later = s->state == HR_SESSION_RELAYING || s->state == HR_SESSION_CLOSING;
    return later && s->branch ? &proxy->branches[s->branch - 1] : NULL;
}

static struct hr_branch *take(struct hr_proxy *proxy, struct hr_session *s)
{
    uint32_t i = proxy->free_branch;

    if (i == 0)
        return NULL;
    struct hr_branch *b = &proxy->branches[i - 1];
    proxy->free_branch = b->next_free;
    *b = (struct hr_branch){.leg.kind = HR_LEG_BRANCH, .session = s};
    s->branch = i;
    return b;
}

void hr_branch_close(struct hr_proxy *proxy, struct hr_session *s, enum hr_leg_end how)
{
    struct hr_branch *b = hr_branch_at(proxy, s);

    if (!b)
        return;
    hr_leg_end(proxy, &b->leg, how);
    b->session = NULL;
    b->next_free = proxy->free_branch;
    proxy->free_branch = s->branch;
    s->branch = 0;
}

/* There is none yet. */
static struct hr_branch *open_to(struct hr_proxy *proxy, struct hr_session *s, int32_t node_id, uint32_t timeout_us,
                                 uint64_t now_us)
{
    const struct hr_policy_broker *broker = hr_policy_find_broker(proxy->policy, node_id);
    struct hr_branch *b;

    if (!broker || !(broker->flags & HR_BROKER_ALIVE) || !hr_session_rate_allows(proxy, s, now_us) ||
        !(b = take(proxy, s)))
        return NULL;
    b->node_id = node_id;
    b->used_us = now_us;
    if (hr_proxy_connect(proxy, &broker->addr, broker->port, timeout_us, &b->leg.conn) != 0) {
        b->leg.conn = NULL;
        hr_branch_close(proxy, s, HR_END_RST);
        return NULL;
    }
    hr_tcp_set_user(b->leg.conn, &b->leg);
    hr_leg_set_zone(&b->leg, broker->zone);
    return b;
}

void hr_session_may_read_elsewhere(struct hr_proxy *proxy, struct hr_session *s)
{
    const struct hr_policy_broker *home = hr_policy_find_broker(proxy->policy, s->node_id);
    bool other = home && home->zone != HR_ZONE_NONE && s->client.zone != HR_ZONE_NONE && home->zone != s->client.zone;

    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);
    if (other && !proxy->policy->cluster_tls && !listener->broker_login)
        hr_relay_make_reader(proxy->cfg.relays, s->relay, s->node_id, s->client.zone);
    else
        hr_relay_no_reader(proxy->cfg.relays, s->relay, other);
}

struct hr_leg *hr_branch_for_request(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    struct hr_relay_ctx *relays = proxy->cfg.relays;
    struct hr_branch *b = hr_branch_at(proxy, s);

    if (hr_session_mid_frame(s, true)) { /* it has begun there; if the leg has died, the rest goes nowhere */
        return &b->leg;
    }
    int32_t node_id = hr_relay_branch_node(relays, s->relay);
    if (b && (b->ended || b->again || b->node_id != node_id) && hr_relay_branch_out(relays, s->relay) == 0) {
        hr_branch_close(proxy, s, HR_END_FIN);
        b = NULL;
    }
    if (!b)
        b = open_to(proxy, s, node_id, CONNECT_US, now_us);
    if (b && !b->ended && !b->again && b->node_id == node_id) {
        b->used_us = now_us;
        return b->up ? &b->leg : NULL;
    }
    hr_relay_go_home(relays, s->relay, b ? 0 : HR_READER_RETRY_US);
    return &s->broker;
}

/* Asks the session's own broker what the follower has not answered. False: the session has ended. */
static bool ask_again(struct hr_proxy *proxy, struct hr_session *s, uint64_t now_us)
{
    const struct hr_policy_listener *listener = hr_session_listener(proxy, s);
    struct hr_relay_ctx *relays = proxy->cfg.relays;

    hr_branch_close(proxy, s, HR_END_ABORT);
    hr_relay_go_home(relays, s->relay, HR_READER_RETRY_US);
    proxy->cfg.hint(proxy->cfg.owner, s->listener, s->node_id);
    struct hr_branch *b = open_to(proxy, s, s->node_id, listener->connect_timeout_ms * 1000, now_us);
    struct hr_pieceq *out = b ? hr_tcp_sndq(b->leg.conn) : NULL;
    if (!out || hr_relay_branch_again(relays, s->relay, out) != 0) {
        hr_session_cut(proxy, s, HR_DROP_broker_closed);
        return false;
    }
    b->again = true;
    hr_tcp_send_appended(proxy->cfg.tcp, b->leg.conn);
    return true;
}

bool hr_branch_settle(struct hr_proxy *proxy, struct hr_session *s, bool blocked, uint64_t now_us)
{
    struct hr_relay_ctx *relays = proxy->cfg.relays;
    struct hr_branch *b = hr_branch_at(proxy, s);
    uint32_t out = hr_relay_branch_out(relays, s->relay);
    bool waits = hr_relay_request_branch(s->relay);

    if (out == 0 && !waits && (b->ended || b->again || now_us - b->used_us > IDLE_US)) {
        hr_branch_close(proxy, s, HR_END_FIN);
        return true;
    }
    if (out == 0)
        return true; /* what waits finds out by itself */
    /* What it had sent before its end is passed on first, when its turn has come. */
    if (b->ended)
        return blocked || !hr_relay_response_branch(s->relay) || ask_again(proxy, s, now_us);
    bool silent = hr_tcp_rcvq(b->leg.conn)->bytes == 0;
    return !(silent && hr_relay_branch_late(relays, s->relay)) || ask_again(proxy, s, now_us);
}

void hr_branch_event(struct hr_proxy *proxy, struct hr_leg *leg, uint32_t events, uint64_t now_us)
{
    struct hr_branch *b = (struct hr_branch *)(void *)leg;

    if (events & HR_TCP_EV_CONNECTED)
        b->up = true;
    if (events & (HR_TCP_EV_FIN | HR_TCP_EV_FAILED | HR_TCP_EV_CLOSED)) {
        b->ended = true;
        if (!b->up || hr_relay_branch_out(proxy->cfg.relays, b->session->relay) > 0)
            hr_relay_go_home(proxy->cfg.relays, b->session->relay, HR_READER_RETRY_US);
    }
    hr_session_run(proxy, b->session, now_us);
}
