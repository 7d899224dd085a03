/* One struct per client, freed by finish() and nowhere else. Callbacks of connections and timers enter at the top of
 * the file's last part; each does one step and looks at what has become possible (advance). */
#include "controlplane/handshakes/handshakes.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conn/conn.h"
#include "controlplane/loop/loop.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/store.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/config.h"

#define RETRY_US  (5 * HR_US_PER_MS)   /* the ring was full */
#define LINGER_US (1 * HR_US_PER_S)    /* for an alert to leave */
#define LOG_US    (1 * HR_US_PER_S)    /* between two lines of one reason */

/* X(name): in order */
#define STATES(X) X(CLIENT) X(BROKER) X(STARTING) X(LINGER)

enum state {
    STATE_NONE = 0,
#define X(name) STATE_##name,
    STATES(X)
#undef X
};

struct shake {
    struct hr_handshakes *all;
    struct shake *next, *prev;
    enum state state;
    struct hr_timer timer; /* the deadline; while LINGER or STARTING the next try */
    struct hr_conn_accepted from;
    char listener[HR_POLICY_NAME_MAX];
    bool client_tls, by_name;
    int32_t node_id;
    struct hr_conn *client, *broker;
    struct hr_tls *client_session, *broker_session;
    struct hr_handshake_broker to;
    bool secrets_taken;
    struct hr_tls_secrets client_secrets, broker_secrets; /* from the hand-off until the worker has them */
    uint64_t deadline_us;
};

struct hr_handshakes {
    struct hr_loop *loop;
    struct hr_conns *conns;
    struct hr_tls_store *store;
    const struct hr_handshake_ops *ops;
    void *owner;
    struct hr_policy *policy; /* listeners alone: which one a connection came to */
    bool cluster_tls;
    struct shake *first;
    struct hr_handshakes_info info;
    struct {
        uint64_t next_us;
        uint64_t unsaid;
    } said[HR_TLS_LEGS][HR_TLS_REASON_MAX];
};

static void finish(struct shake *s)
{
    hr_timer_cancel(s->all->loop, &s->timer);
    hr_conn_release(s->client);
    hr_conn_release(s->broker);
    hr_tls_free(s->client_session);
    hr_tls_free(s->broker_session);
    *(s->prev ? &s->prev->next : &s->all->first) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->all->info.under_way--;
    OPENSSL_cleanse(s, sizeof(*s));
    free(s);
}

static void set_state(struct shake *s, enum state state)
{
    if (state <= s->state)
        hr_log_error("handshake: from state %d to %d is no legal transition: report this", s->state, state);
    s->state = state;
}

/* -- failing ------------------------------------------------------------------------------------------------------ */

static void say(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail)
{
    struct hr_handshakes *h = s->all;
    uint64_t now = hr_loop_now(h->loop);
    char client[HR_ADDR_STR_MAX], more[48] = "";

    if (now < h->said[leg][reason].next_us) {
        h->said[leg][reason].unsaid++;
        return;
    }
    if (h->said[leg][reason].unsaid)
        snprintf(more, sizeof(more), "; %llu more like it before", (unsigned long long)h->said[leg][reason].unsaid);
    h->said[leg][reason].unsaid = 0;
    h->said[leg][reason].next_us = now + LOG_US;
    hr_log_warn("TLS %s for client %s:%u of listener %s failed: %s: %s%s%s%s%s",
                leg == HR_TLS_CLIENTS ? "handshake" : "with the broker", hr_addr_format(&s->from.client, client),
                s->from.client_port, s->listener, hr_tls_reason_name(reason), hr_tls_reason_text(reason),
                *detail ? " (" : "", detail, *detail ? ")" : "", more);
}

static void flush(struct hr_conn *conn, struct hr_tls *tls)
{
    const uint8_t *data;
    uint32_t n = tls ? hr_tls_output(tls, &data) : 0;

    if (n == 0)
        return;
    (void)!hr_conn_send(conn, data, n); /* who misses bytes runs into the deadline */
    hr_tls_output_done(tls);
}

/* The end of it; what is queued for the client, an alert, still leaves. */
static void fail(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail)
{
    s->all->info.failed++;
    hr_tls_store_count_reason(s->all->store, leg, reason);
    say(s, leg, reason, detail);
    if (s->client_session)
        flush(s->client, s->client_session);
    hr_conn_shutdown(s->client);
    hr_conn_release(s->broker);
    s->broker = NULL;
    set_state(s, STATE_LINGER);
    hr_timer_in(s->all->loop, &s->timer, LINGER_US);
}

static void fail_session(struct shake *s, enum hr_tls_leg leg, struct hr_tls *tls)
{
    fail(s, leg, hr_tls_get_reason(tls), hr_tls_detail(tls));
}

/* -- steps -------------------------------------------------------------------------------------------------------- */

static const struct hr_conn_ops broker_ops;

static bool take_secrets(struct shake *s)
{
    if (s->secrets_taken)
        return true;
    if ((s->client_session && hr_tls_hand_off(s->client_session, &s->client_secrets) != 0) ||
        (s->broker_session && hr_tls_hand_off(s->broker_session, &s->broker_secrets) != 0))
        return false;
    s->secrets_taken = true;
    return true;
}

static void start(struct shake *s)
{
    const struct hr_conn_start how = {
        .client_skip = s->client_session ? (uint32_t)hr_tls_consumed(s->client_session) : 0,
        .broker_skip = s->broker_session ? (uint32_t)hr_tls_consumed(s->broker_session) : 0,
        .client_secrets = s->client_session ? &s->client_secrets : NULL,
        .broker_secrets = s->broker_session ? &s->broker_secrets : NULL,
        .broker = s->broker,
        .node_id = s->broker ? s->to.node_id : s->node_id,
    };
    int err;

    if (!take_secrets(s)) {
        fail(s, HR_TLS_CLIENTS, HR_TLS_REASON_internal, "its keys cannot be handed over");
        return;
    }
    err = hr_conn_start_session(s->client, &how);
    if (err == HR_E_AGAIN) {
        hr_timer_in(s->all->loop, &s->timer, RETRY_US);
        return;
    }
    OPENSSL_cleanse(&s->client_secrets, sizeof(s->client_secrets));
    OPENSSL_cleanse(&s->broker_secrets, sizeof(s->broker_secrets));
    hr_timer_cancel(s->all->loop, &s->timer); /* the worker answers, or it goes away */
    if (err)
        fail(s, HR_TLS_CLIENTS, HR_TLS_REASON_internal, hr_strerror(err));
}

static void open_broker(struct shake *s)
{
    uint64_t now = hr_loop_now(s->all->loop);
    uint64_t left_ms = (s->deadline_us > now ? s->deadline_us - now : 0) / HR_US_PER_MS + 1;

    if (!s->all->ops->broker(s->all->owner, s->node_id, &s->to)) {
        fail(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "no broker serves that it could go to");
        return;
    }
    if (hr_conn_open_beside(s->client, &s->to.addr, s->to.port, (uint32_t)left_ms, &broker_ops, s, &s->broker) != 0)
        fail(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "no connection to the broker could be begun");
}

/* What has become possible. */
static void advance(struct shake *s)
{
    if (s->state == STATE_CLIENT) {
        if (s->client_session && hr_tls_get_state(s->client_session) != HR_TLS_OPEN)
            return;
        if (s->client_session)
            hr_tls_store_count(s->all->store, HR_TLS_CLIENTS, s->client_session);
        if (s->by_name)
            s->node_id = hr_tls_node_id(s->client_session);
        set_state(s, s->all->cluster_tls ? STATE_BROKER : STATE_STARTING);
        if (s->state == STATE_BROKER)
            open_broker(s);
        else
            start(s);
    } else if (s->state == STATE_BROKER && s->broker_session && hr_tls_get_state(s->broker_session) == HR_TLS_OPEN) {
        hr_tls_store_count(s->all->store, HR_TLS_BROKERS, s->broker_session);
        set_state(s, STATE_STARTING);
        start(s);
    }
}

static void on_timer(struct hr_timer *timer)
{
    struct shake *s = timer->arg;

    switch (s->state) {
    case STATE_LINGER:
        finish(s);
        break;
    case STATE_STARTING:
        start(s);
        break;
    case STATE_CLIENT:
    case STATE_BROKER:
        fail(s, s->state == STATE_CLIENT ? HR_TLS_CLIENTS : HR_TLS_BROKERS, HR_TLS_REASON_timeout, "");
        break;
    case STATE_NONE:
        break;
    }
}

/* -- the broker's connection -------------------------------------------------------------------------------------- */

static void broker_opened(void *owner)
{
    struct shake *s = owner;
    struct hr_tls_client *client = hr_tls_store_client(s->all->store);

    if (!client || hr_tls_connect(client, s->to.host, s->to.port, s->deadline_us, &s->broker_session) != 0) {
        fail(s, HR_TLS_BROKERS, HR_TLS_REASON_internal, "its files could not be loaded, see the log");
        return;
    }
    flush(s->broker, s->broker_session);
}

static void broker_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct shake *s = owner;
    int err;

    if (s->state != STATE_BROKER || !s->broker_session)
        return; /* the worker keeps it for the session */
    err = hr_tls_input(s->broker_session, data, len);
    flush(s->broker, s->broker_session);
    if (err)
        fail_session(s, HR_TLS_BROKERS, s->broker_session);
    else
        advance(s);
}

static void broker_eof(void *owner)
{
    struct shake *s = owner;

    if (s->state == STATE_BROKER)
        fail(s, HR_TLS_BROKERS, HR_TLS_REASON_closed, "");
}

static void broker_closed(void *owner, int err, const char *why)
{
    struct shake *s = owner;

    (void)err;
    if (s->state == STATE_BROKER)
        fail(s, HR_TLS_BROKERS, HR_TLS_REASON_closed, why);
}

static const struct hr_conn_ops broker_ops = {
    .opened = broker_opened, .data = broker_data, .eof = broker_eof, .closed = broker_closed};

/* -- the client's connection -------------------------------------------------------------------------------------- */

static void client_opened(void *owner)
{
    (void)owner; /* it was when we got it */
}

static void client_data(void *owner, const uint8_t *data, uint32_t len)
{
    struct shake *s = owner;
    int err;

    if (s->state != STATE_CLIENT || !s->client_session)
        return; /* the worker keeps it for the session */
    err = hr_tls_input(s->client_session, data, len);
    flush(s->client, s->client_session);
    if (err)
        fail_session(s, HR_TLS_CLIENTS, s->client_session);
    else
        advance(s);
}

static void client_eof(void *owner)
{
    struct shake *s = owner;

    if (s->state == STATE_CLIENT)
        fail(s, HR_TLS_CLIENTS, HR_TLS_REASON_closed, "");
}

static void client_closed(void *owner, int err, const char *why)
{
    struct shake *s = owner;

    if (s->state != STATE_LINGER) {
        s->all->info.failed++;
        hr_tls_store_count_reason(s->all->store, HR_TLS_CLIENTS,
                                  err == HR_E_TIMEOUT ? HR_TLS_REASON_timeout : HR_TLS_REASON_closed);
        say(s, HR_TLS_CLIENTS, err == HR_E_TIMEOUT ? HR_TLS_REASON_timeout : HR_TLS_REASON_closed, why);
    }
    finish(s);
}

static void client_started(void *owner)
{
    struct shake *s = owner;

    s->all->info.started++;
    finish(s);
}

static const struct hr_conn_ops client_ops = {.opened = client_opened,
                                              .data = client_data,
                                              .eof = client_eof,
                                              .closed = client_closed,
                                              .started = client_started};

static bool on_accept(void *arg, struct hr_conn *conn, const struct hr_conn_accepted *accepted,
                      const struct hr_conn_ops **ret_ops, void **ret_owner)
{
    struct hr_handshakes *h = arg;
    uint64_t now = hr_loop_now(h->loop), waited_us = accepted->waited_ms * HR_US_PER_MS;
    int32_t node_id;
    const struct hr_policy_listener *l =
        hr_policy_find_listener(h->policy, &accepted->local, accepted->local_port, &node_id);
    uint64_t timeout_us = l ? l->handshake_timeout_ms * HR_US_PER_MS : 0;
    struct hr_tls_server *server = l && l->tls ? hr_tls_store_server(h->store, l->name) : NULL;
    struct shake *s = l && (server || (!l->tls && h->cluster_tls)) ? calloc(1, sizeof(*s)) : NULL;

    h->info.accepted++;
    if (!s) {
        h->info.failed++;
        hr_tls_store_count_reason(h->store, HR_TLS_CLIENTS, HR_TLS_REASON_internal);
        return false;
    }
    s->all = h;
    s->state = STATE_CLIENT;
    s->client = conn;
    s->from = *accepted;
    s->client_tls = l->tls;
    s->by_name = l->by_name;
    s->node_id = node_id;
    snprintf(s->listener, sizeof(s->listener), "%s", l->name);
    s->timer = (struct hr_timer){.fn = on_timer, .arg = s};
    s->deadline_us = now + (waited_us < timeout_us ? timeout_us - waited_us : 0);
    if (server && hr_tls_accept(server, s->deadline_us, &s->client_session) != 0) {
        hr_tls_store_count_reason(h->store, HR_TLS_CLIENTS, HR_TLS_REASON_internal);
        h->info.failed++;
        free(s);
        return false;
    }
    s->next = h->first;
    if (h->first)
        h->first->prev = s;
    h->first = s;
    h->info.under_way++;
    hr_timer_set(h->loop, &s->timer, s->deadline_us);
    *ret_ops = &client_ops;
    *ret_owner = s;
    if (!s->client_session)
        advance(s);
    return true;
}

/* -- life --------------------------------------------------------------------------------------------------------- */

int hr_handshakes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *store,
                         const struct hr_handshake_ops *ops, void *owner, struct hr_handshakes **ret_handshakes)
{
    struct hr_handshakes *h = calloc(1, sizeof(*h));

    if (!h || (h->policy = calloc(1, sizeof(*h->policy))) == NULL) {
        free(h);
        return HR_E_NOMEM;
    }
    h->loop = loop;
    h->conns = conns;
    h->store = store;
    h->ops = ops;
    h->owner = owner;
    hr_conns_on_accept(conns, on_accept, h);
    *ret_handshakes = h;
    return 0;
}

void hr_handshakes_destroy(struct hr_handshakes *h)
{
    if (!h)
        return;
    hr_conns_on_accept(h->conns, NULL, NULL);
    while (h->first)
        finish(h->first);
    free(h->policy);
    free(h);
}

void hr_handshakes_configure(struct hr_handshakes *h, const struct hr_config *config)
{
    h->cluster_tls = config->cluster.tls.on;
    h->policy->n_listeners = config->n_listeners;
    for (uint32_t i = 0; i < config->n_listeners; i++)
        h->policy->listeners[i] = config->listeners[i].policy;
}

void hr_handshakes_get_info(const struct hr_handshakes *h, struct hr_handshakes_info *ret_info)
{
    *ret_info = h->info;
}
