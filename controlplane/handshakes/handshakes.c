/* What comes after what. Callbacks of connections enter in client.c and broker.c, those of timers here. */
#include "controlplane/handshakes/handshakes.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/identity.h"
#include "controlplane/handshakes/impl.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/config.h"

#define RETRY_US  (5 * HR_US_PER_MS) /* the ring was full */
#define LINGER_US (1 * HR_US_PER_S)  /* for the last word to leave */
#define NOBODY    "ANONYMOUS"        /* as Kafka calls who shows no certificate and does not log in */

void hr_shake_finish(struct shake *s)
{
    hr_timer_cancel(s->all->loop, &s->timer);
    hr_shake_turn_over(s);
    hr_conn_release(s->client);
    hr_conn_release(s->broker);
    hr_tls_free(s->client_session);
    hr_tls_free(s->broker_session);
    hr_sasl_server_destroy(s->sasl);
    hr_realm_unref(s->realm);
    hr_login_destroy(s->broker_sasl);
    hr_identity_release(s->identity);
    hr_wipebuf_free(&s->input);
    *(s->prev ? &s->prev->next : &s->all->first) = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->all->info.under_way--;
    OPENSSL_cleanse(s, sizeof(*s));
    free(s);
}

void hr_shake_set_state(struct shake *s, enum shake_state state)
{
    if (state <= s->state)
        hr_log_error("handshake: from state %d to %d is no legal transition: report this", s->state, state);
    s->state = state;
}

/* -- failing ------------------------------------------------------------------------------------------------------ */

void hr_shake_end(struct shake *s)
{
    hr_shake_flush(s->client, s->client_session);
    hr_shake_turn_over(s);
    hr_conn_shutdown(s->client);
    hr_conn_release(s->broker);
    s->broker = NULL;
    hr_shake_set_state(s, SHAKE_LINGER);
    hr_timer_in(s->all->loop, &s->timer, LINGER_US);
}

void hr_shake_fail_tls(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail)
{
    s->all->info.failed++;
    hr_shake_say_tls(s, leg, reason, detail);
    hr_shake_end(s);
}

void hr_shake_fail_login(struct shake *s, unsigned reason, const char *detail)
{
    s->all->info.failed++;
    hr_shake_say_login(s, reason, detail);
    if (s->client_session)
        hr_tls_close(s->client_session);
    hr_shake_end(s);
}

/* -- steps -------------------------------------------------------------------------------------------------------- */

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
        .client_skip = s->client_session ? (uint32_t)hr_tls_consumed(s->client_session) : s->used,
        .broker_skip = s->broker_session ? (uint32_t)hr_tls_consumed(s->broker_session) : s->broker_used,
        .client_secrets = s->client_session ? &s->client_secrets : NULL,
        .broker_secrets = s->broker_session ? &s->broker_secrets : NULL,
        .unread = s->client_session ? s->input.data : NULL,
        .unread_len = s->client_session ? s->input.len : 0,
        .broker = s->broker,
        .node_id = s->broker ? s->to.node_id : s->node_id,
        .login = hr_session_login_empty(&s->login) ? NULL : &s->login,
    };
    int err;

    if (!take_secrets(s)) {
        hr_shake_fail_tls(s, HR_TLS_CLIENTS, HR_TLS_REASON_internal, "its keys cannot be handed over");
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
        hr_shake_fail_tls(s, HR_TLS_CLIENTS, HR_TLS_REASON_internal, hr_strerror(err));
}

void hr_shake_broker_ready(struct shake *s)
{
    /* A reload keeps the realm of a listener whose rules are the same. */
    if (hr_realms_find(s->all->realms, s->listener) != s->realm) {
        hr_shake_fail_login(s, HR_SASL_REASON_not_allowed, "the listener's rules have changed meanwhile");
        return;
    }
    hr_shake_set_state(s, SHAKE_STARTING);
    start(s);
}

void hr_shake_client_known(struct shake *s)
{
    if (!s->broker_tls && !s->broker_login) {
        hr_shake_broker_ready(s);
        return;
    }
    hr_shake_set_state(s, SHAKE_BROKER);
    hr_shake_open_broker(s);
}

/* Who the client is where it need not say so: its certificate does. */
static void ask_certificate(struct shake *s)
{
    if (s->client_session && hr_tls_principal(s->client_session, s->login.principal, sizeof(s->login.principal)) == 0) {
        size_t n = strlen(s->login.principal);

        memset(s->login.principal + n, 0, sizeof(s->login.principal) - n);
    } else if (s->realm) {
        memcpy(s->login.principal, NOBODY, sizeof(NOBODY));
    }
}

void hr_shake_client_open(struct shake *s)
{
    if (s->client_session)
        hr_tls_store_count(s->all->store, HR_TLS_CLIENTS, s->client_session);
    if (s->by_name)
        s->node_id = hr_tls_node_id(s->client_session);
    if (s->terminates) {
        hr_shake_login_begin(s);
        return;
    }
    ask_certificate(s);
    if (s->realm && !hr_realm_allows(s->realm, s->login.principal))
        hr_shake_fail_login(s, HR_SASL_REASON_not_allowed, "its name is not in the listener's list");
    else
        hr_shake_client_known(s);
}

static void on_timer(struct hr_timer *timer)
{
    struct shake *s = timer->arg;

    switch (s->state) {
    case SHAKE_LINGER:
        hr_shake_finish(s);
        break;
    case SHAKE_REFUSING:
        hr_shake_refuse_now(s);
        break;
    case SHAKE_STARTING:
        start(s);
        break;
    case SHAKE_CLIENT:
    case SHAKE_BROKER:
        if (s->state == SHAKE_BROKER && !s->broker && !s->waits_since_us) {
            hr_shake_open_broker(s); /* is one known by now? */
            break;
        }
        hr_shake_fail_tls(s, s->state == SHAKE_CLIENT ? HR_TLS_CLIENTS : HR_TLS_BROKERS, HR_TLS_REASON_timeout, "");
        break;
    case SHAKE_LOGIN:
    case SHAKE_BROKER_LOGIN:
        hr_shake_fail_login(s, HR_LOGIN_REASON_timeout, s->state == SHAKE_LOGIN ? "" : "the broker does not answer");
        break;
    case SHAKE_NONE:
        break;
    }
}

/* -- life --------------------------------------------------------------------------------------------------------- */

static void refuse(struct hr_handshakes *h)
{
    h->info.failed++;
    hr_tls_store_count_reason(h->store, HR_TLS_CLIENTS, HR_TLS_REASON_internal);
}

/* NULL: the listener has gone, or lacks what it needs. */
static struct shake *create(struct hr_handshakes *h, const struct hr_policy_listener *l, struct hr_conn *conn,
                            const struct hr_conn_accepted *accepted)
{
    struct hr_tls_server *server = l->tls ? hr_tls_store_server(h->store, l->name) : NULL;
    struct hr_realm *realm = hr_realms_find(h->realms, l->name);
    uint64_t now = hr_loop_now(h->loop), waited_us = accepted->waited_ms * HR_US_PER_MS;
    uint64_t timeout_us = l->handshake_timeout_ms * HR_US_PER_MS;
    struct shake *s;

    if ((l->tls && !server) || ((l->login || l->broker_login) && !realm))
        return NULL;
    if (!l->tls && !l->login && !l->broker_login && !h->cluster_tls)
        return NULL; /* nothing is to be done for it: the worker's policy is another */
    if (!(s = calloc(1, sizeof(*s))))
        return NULL;
    s->all = h;
    s->state = SHAKE_CLIENT;
    s->from = *accepted;
    s->client_tls = l->tls;
    s->by_name = l->by_name;
    s->terminates = l->login;
    s->broker_login = l->broker_login;
    s->broker_tls = h->cluster_tls;
    s->login.terminates = l->login || l->broker_login;
    s->connect_timeout_ms = l->connect_timeout_ms;
    snprintf(s->listener, sizeof(s->listener), "%s", l->name);
    s->timer = (struct hr_timer){.fn = on_timer, .arg = s};
    s->deadline_us = now + (waited_us < timeout_us ? timeout_us - waited_us : 0);
    if (server && hr_tls_accept(server, s->deadline_us, &s->client_session) != 0) {
        free(s);
        return NULL;
    }
    s->client = conn;
    s->realm = realm ? hr_realm_ref(realm) : NULL;
    s->next = h->first;
    if (h->first)
        h->first->prev = s;
    h->first = s;
    h->info.under_way++;
    return s;
}

static bool on_accept(void *arg, struct hr_conn *conn, const struct hr_conn_accepted *accepted,
                      const struct hr_conn_ops **ret_ops, void **ret_owner)
{
    struct hr_handshakes *h = arg;
    int32_t node_id;
    const struct hr_policy_listener *l =
        hr_policy_find_listener(h->policy, &accepted->local, accepted->local_port, &node_id);
    struct shake *s = l ? create(h, l, conn, accepted) : NULL;

    h->info.accepted++;
    if (!s) {
        refuse(h);
        return false;
    }
    s->node_id = node_id;
    hr_timer_set(h->loop, &s->timer, s->deadline_us);
    *ret_ops = &hr_shake_client_ops;
    *ret_owner = s;
    if (!s->client_session)
        hr_shake_client_open(s);
    return true;
}

int hr_handshakes_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_tls_store *store,
                         struct hr_realms *realms, const struct hr_handshake_ops *ops, void *owner,
                         struct hr_handshakes **ret_handshakes)
{
    struct hr_handshakes *h = calloc(1, sizeof(*h));

    if (!h || (h->policy = calloc(1, sizeof(*h->policy))) == NULL) {
        free(h);
        return HR_E_NOMEM;
    }
    h->loop = loop;
    h->conns = conns;
    h->store = store;
    h->realms = realms;
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
        hr_shake_finish(h->first);
    free(h->policy);
    free(h);
}

void hr_handshakes_configure(struct hr_handshakes *h, const struct hr_config *config)
{
    h->cluster_tls = config->cluster.tls.on;
    hr_pace_configure(h, config);
    h->policy->n_listeners = config->n_listeners;
    for (uint32_t i = 0; i < config->n_listeners; i++)
        h->policy->listeners[i] = config->listeners[i].policy;
}

uint32_t hr_handshakes_end_principal(struct hr_handshakes *h, const char *principal)
{
    uint32_t n = 0;

    for (struct shake *s = h->first; s; s = s->next) {
        /* What the worker has been given is a session when the worker hears of anything else. */
        bool given = s->state == SHAKE_STARTING && !hr_timer_is_set(&s->timer);

        if (given || s->state >= SHAKE_REFUSING || strcmp(s->login.principal, principal) != 0)
            continue;
        hr_shake_fail_login(s, HR_SASL_REASON_not_allowed, "the user was removed meanwhile");
        n++;
    }
    return n;
}

void hr_handshakes_get_info(const struct hr_handshakes *h, struct hr_handshakes_info *ret_info)
{
    *ret_info = h->info;
}
