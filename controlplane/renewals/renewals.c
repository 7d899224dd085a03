/* One struct for each login under way, found by session and leg, freed by finish() and nowhere else. What cannot be sent
 * because ring or slots are full stays in its output and is tried again. */
#include "controlplane/renewals/renewals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/auth/identity.h"
#include "controlplane/auth/realm.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/base/wipe.h"
#include "shared/base/wipebuf.h"
#include "shared/ipc/link.h"
#include "shared/ipc/messages.h"

#define BUCKETS     1024
#define SEND_US     (5 * HR_US_PER_MS)    /* the ring was full */
#define RETRY_US    (1 * HR_US_PER_S)     /* there were no credentials */
#define CLIENT_US   (60 * HR_US_PER_S)    /* from a client's frame to its next: nobody tells when its session ends */
#define QUIET_US    (1800 * HR_US_PER_S)  /* longer than any request holds a broker; the session has gone, or is lost */

/* X(name): what the timer is for */
#define STATES(X)                                                                                                      \
    X(OPEN)    /* the worker's next message is awaited: until it has been quiet for too long */                        \
    X(TRYING)  /* there is nothing to log in with yet */                                                               \
    X(SENDING) /* there was no room for what is to be said */                                                          \
    X(DELAY)   /* the answer to a login that failed is held back */

enum state {
    STATE_NONE = 0,
#define X(name) STATE_##name,
    STATES(X)
#undef X
};

struct renewal {
    struct hr_renewals *all;
    struct renewal *next; /* in its bucket */
    uint64_t id;
    uint32_t worker;
    enum hr_auth_leg leg;
    enum state state;
    struct hr_timer timer;
    struct hr_session_auth_begin begin;
    struct hr_realm *realm;      /* client's */
    struct hr_sasl_server *sasl;
    struct hr_identity *identity; /* broker's: a reference */
    struct hr_login *login;
    uint64_t asked_us;           /* the broker's newest answer is to something that was sent no earlier */
    struct hr_wipebuf output;
    uint32_t output_at;
    enum hr_auth_over over;      /* what the output means */
    uint64_t due_us, expires_us; /* DONE */
};

struct hr_renewals {
    struct hr_loop *loop;
    struct hr_realms *realms;
    const struct hr_renewal_ops *ops;
    void *owner;
    uint32_t n_workers; /* 0: detached */
    struct hr_link *(*link)(void *arg, uint32_t worker);
    void *link_arg;
    struct renewal *buckets[BUCKETS];
    struct hr_renewals_info info;
    struct hr_log_pace said[HR_AUTH_LEG_MAX];
};

static struct renewal **bucket(struct hr_renewals *all, uint64_t id)
{
    return &all->buckets[(id ^ id >> 32) % BUCKETS];
}

static struct renewal *find(struct hr_renewals *all, uint64_t id, unsigned leg)
{
    struct renewal *r = *bucket(all, id);

    while (r && (r->id != id || r->leg != leg))
        r = r->next;
    return r;
}

static void finish(struct renewal *r)
{
    struct renewal **at = bucket(r->all, r->id);

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    hr_timer_cancel(r->all->loop, &r->timer);
    hr_sasl_server_destroy(r->sasl);
    hr_realm_unref(r->realm);
    hr_login_destroy(r->login);
    hr_identity_release(r->identity);
    hr_wipebuf_free(&r->output);
    r->all->info.under_way--;
    free(r);
}

static void await(struct renewal *r, enum state state, uint64_t us)
{
    r->state = state;
    hr_timer_in(r->all->loop, &r->timer, us);
}

static void say(struct renewal *r, const char *what, const char *why)
{
    struct hr_renewals *all = r->all;
    const struct hr_session_login *login = &r->begin.login;
    char client[HR_ADDR_STR_MAX], principal[HR_PRINCIPAL_MAX * 4], more[HR_LOG_MORE_MAX];

    if (!hr_log_may(&all->said[r->leg], hr_loop_now(all->loop), more))
        return;
    hr_log_escape(principal, sizeof(principal), login->principal, (uint32_t)strlen(login->principal));
    hr_log_warn("re-authentication of %s for User:%s at %s:%u, node %d as \"%s\", %s: %s%s",
                r->leg == HR_AUTH_LEG_CLIENT ? "the client" : "Headrace at the broker", principal,
                hr_addr_format(&r->begin.client, client), r->begin.client_port, r->begin.node_id, login->identity_name,
                what, why, more);
}

/* -- to the worker ---------------------------------------------------------------------------------------- */

/* False: no room. */
static bool send_part(struct renewal *r)
{
    struct hr_renewals *all = r->all;
    struct hr_link *link = all->link(all->link_arg, r->worker);
    uint32_t left = r->output.len - r->output_at, n = left < HR_SLOT_SIZE ? left : HR_SLOT_SIZE;
    struct hr_msg msg = {.type = HR_CMD_SESSION_AUTH, .id = r->id};
    uint8_t *data;

    if (n > 0) {
        if (hr_link_slot_alloc(link, &msg.u.auth.slot, &data) != 0)
            return false;
        memcpy(data, r->output.data + r->output_at, n);
    }
    msg.u.auth.len = n;
    msg.u.auth.leg = (uint8_t)r->leg;
    msg.u.auth.more = n < left;
    msg.u.auth.over = (uint8_t)r->over;
    msg.u.auth.due_us = r->due_us;
    msg.u.auth.expires_us = r->expires_us;
    if (hr_link_send(link, &msg) != 0) {
        if (n > 0)
            hr_link_slot_cancel(link, msg.u.auth.slot);
        return false;
    }
    if (n > 0)
        hr_link_slot_sent(link, msg.u.auth.slot);
    r->output_at += n;
    return true;
}

/* What is in the output, and what it means. Over means that r is gone. */
static void send_all(struct renewal *r)
{
    struct hr_link *link = r->all->link(r->all->link_arg, r->worker);
    bool sent;

    do
        sent = send_part(r);
    while (sent && r->output_at < r->output.len);
    hr_link_flush(link);
    if (!sent) {
        await(r, STATE_SENDING, SEND_US);
        return;
    }
    hr_wipebuf_clear(&r->output);
    r->output_at = 0;
    r->asked_us = hr_loop_now(r->all->loop);
    if (r->over == HR_AUTH_NEXT)
        await(r, STATE_OPEN, r->leg == HR_AUTH_LEG_CLIENT ? CLIENT_US : QUIET_US);
    else
        finish(r);
}

/* The session ends; for a client behind what the output has. */
static void fail(struct renewal *r, const char *why)
{
    say(r, "failed", why);
    if (r->leg == HR_AUTH_LEG_CLIENT)
        r->all->info.clients_failed++;
    else
        r->all->info.brokers_failed++;
    r->over = HR_AUTH_FAILED;
    send_all(r);
}

/* -- a client --------------------------------------------------------------------------------------------- */

static bool put_output(struct renewal *r, const uint8_t *data, size_t len)
{
    return !data || hr_wipebuf_append(&r->output, data, (uint32_t)len) == 0;
}

static void client_step(struct renewal *r, const uint8_t *data, uint32_t len)
{
    struct hr_renewals *all = r->all;
    uint64_t now = hr_loop_now(all->loop);
    size_t used, n;
    enum hr_sasl_verdict verdict = hr_sasl_server_feed(r->sasl, now, time(NULL), data, len, &used);
    const uint8_t *out = hr_sasl_server_output(r->sasl, &n);
    bool said = out != NULL, fits = put_output(r, out, n);

    if (said)
        hr_sasl_server_sent(r->sasl);
    if (!fits || used < len) {
        fail(r, fits ? "more than one frame came where one was awaited" : "out of memory");
        return;
    }
    switch (verdict) {
    case HR_SASL_WAIT:
        break;
    case HR_SASL_MORE:
        r->over = HR_AUTH_NEXT;
        if (said)
            send_all(r);
        break;
    case HR_SASL_DONE:
        all->info.clients++;
        r->over = HR_AUTH_DONE;
        n = hr_sasl_server_identity(r->sasl)->lifetime_ms;
        r->expires_us = n ? now + n * HR_US_PER_MS : 0;
        send_all(r);
        break;
    case HR_SASL_FAILED:
        await(r, STATE_DELAY, HR_SASL_DELAY_MS * HR_US_PER_MS);
        break;
    case HR_SASL_CLOSE:
        fail(r, hr_sasl_server_why(r->sasl));
        break;
    }
}

/* The issuer's keys have come, or will not. */
static void on_resumed(void *owner)
{
    client_step(owner, NULL, 0);
}

static void client_begin(struct renewal *r)
{
    struct hr_renewals *all = r->all;
    const char *listener = all->ops->listener(all->owner, r->begin.listener);
    struct hr_realm *realm = listener ? hr_realms_find(all->realms, listener) : NULL;

    if (!realm) {
        fail(r, "its listener does not ask who clients are any more");
        return;
    }
    r->realm = hr_realm_ref(realm);
    if (hr_sasl_server_create(hr_realm_sasl(realm), &r->begin.client, on_resumed, r, &r->sasl) != 0) {
        fail(r, "out of memory");
        return;
    }
    hr_sasl_server_expect(r->sasl, (enum hr_mechanism)r->begin.login.mechanism, r->begin.login.principal);
    await(r, STATE_OPEN, CLIENT_US);
}

/* -- a broker --------------------------------------------------------------------------------------------- */

static void send_login(struct renewal *r)
{
    size_t len;
    const uint8_t *out = hr_login_output(r->login, &len);
    bool fits = put_output(r, out, len);

    if (out)
        hr_login_sent(r->login);
    r->over = HR_AUTH_NEXT;
    if (!fits)
        fail(r, "out of memory");
    else if (out)
        send_all(r);
}

static void broker_try(struct renewal *r)
{
    struct hr_renewals *all = r->all;
    const struct hr_session_login *was = &r->begin.login;
    char host[HR_POLICY_HOST_MAX], why[HR_LOGIN_WHY_MAX] = "the broker is not known at the moment";
    uint16_t index;
    const char *listener = all->ops->listener(all->owner, r->begin.listener);
    struct hr_identity *identity = listener ? all->ops->identity(all->owner, listener, was->principal, &index, why) : NULL;
    struct hr_identity_info info;

    if (identity) {
        hr_identity_get_info(identity, &info);
        if (strcmp(info.name, was->identity_name) != 0 || info.mechanism != was->broker_mechanism) {
            fail(r, "the configuration has another identity by now, and a broker lets none change");
            return;
        }
        if (all->ops->host(all->owner, r->begin.node_id, host) &&
            hr_identity_login(identity, host, &r->login, why) == 0) {
            r->identity = hr_identity_ref(identity);
            send_login(r);
            return;
        }
    }
    say(r, "waits", why);
    await(r, STATE_TRYING, RETRY_US);
}

static void broker_step(struct renewal *r, const uint8_t *data, uint32_t len)
{
    size_t used;
    uint64_t life_us;

    if (!r->login) {
        fail(r, "the broker answers what nobody asked");
        return;
    }
    switch (hr_login_feed(r->login, data, len, &used)) {
    case HR_LOGIN_MORE:
        send_login(r);
        break;
    case HR_LOGIN_DONE:
        life_us = hr_login_lifetime_ms(r->login) * HR_US_PER_MS;
        r->due_us = life_us ? r->asked_us + hr_login_due(life_us) : 0;
        r->expires_us = life_us ? r->asked_us + life_us : 0;
        r->all->info.brokers++;
        r->over = HR_AUTH_DONE;
        send_all(r);
        break;
    case HR_LOGIN_REFUSED:
        hr_identity_refused(r->identity);
        fail(r, hr_login_why(r->login));
        break;
    case HR_LOGIN_BROKEN:
        fail(r, hr_login_why(r->login));
        break;
    }
}

/* -- events ----------------------------------------------------------------------------------------------- */

static void on_timer(struct hr_timer *timer)
{
    struct renewal *r = timer->arg;

    switch (r->state) {
    case STATE_OPEN:
        fail(r, "nothing was heard of it for too long");
        break;
    case STATE_TRYING:
        broker_try(r);
        break;
    case STATE_SENDING:
        send_all(r);
        break;
    case STATE_DELAY:
        fail(r, hr_sasl_server_why(r->sasl));
        break;
    case STATE_NONE:
        break;
    }
}

/* NULL: no memory. */
static struct renewal *create(struct hr_renewals *all, uint32_t worker, uint64_t id, enum hr_auth_leg leg)
{
    struct renewal *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->all = all;
    r->id = id;
    r->worker = worker;
    r->leg = leg;
    r->timer = (struct hr_timer){.fn = on_timer, .arg = r};
    r->next = *bucket(all, id);
    *bucket(all, id) = r;
    all->info.under_way++;
    return r;
}

static int begin(struct hr_renewals *all, uint32_t worker, const struct hr_msg *msg, const uint8_t *data)
{
    struct renewal *r = find(all, msg->id, msg->u.auth.leg);

    if (msg->u.auth.len != sizeof(r->begin))
        return HR_E_INVALID;
    if (r)
        finish(r);
    if (!(r = create(all, worker, msg->id, (enum hr_auth_leg)msg->u.auth.leg)))
        return HR_E_NOMEM;
    memcpy(&r->begin, data, sizeof(r->begin));
    if (!hr_session_login_ok(&r->begin.login) || all->info.under_way > HR_RENEWALS_MAX)
        fail(r, "there are too many at once, or the worker's message is malformed");
    else if (r->leg == HR_AUTH_LEG_CLIENT)
        client_begin(r);
    else
        broker_try(r);
    return 0;
}

static void frame(struct hr_renewals *all, uint32_t worker, const struct hr_msg *msg, const uint8_t *data)
{
    struct renewal *r = find(all, msg->id, msg->u.auth.leg);

    if (!r) { /* it began with another control plane, or was given up */
        if ((r = create(all, worker, msg->id, (enum hr_auth_leg)msg->u.auth.leg)) != NULL)
            fail(r, "a message about none that is under way");
        return;
    }
    if (r->state != STATE_OPEN)
        return; /* it has failed, or will be told so */
    if (r->leg == HR_AUTH_LEG_CLIENT)
        client_step(r, data, msg->u.auth.len);
    else
        broker_step(r, data, msg->u.auth.len);
}

int hr_renewals_event(struct hr_renewals *all, uint32_t worker, const struct hr_msg *msg)
{
    struct hr_link *link = worker < all->n_workers ? all->link(all->link_arg, worker) : NULL;
    const uint8_t *data;
    uint8_t copy[HR_SLOT_SIZE];
    int err;

    if (!link || msg->u.auth.leg >= HR_AUTH_LEG_MAX || msg->u.auth.len == 0)
        return HR_E_INVALID;
    if ((err = hr_link_slot_read(link, msg->u.auth.slot, msg->u.auth.len, &data)) != 0)
        return err;
    memcpy(copy, data, msg->u.auth.len); /* what is checked is what is used */
    err = hr_link_slot_done(link, msg->u.auth.slot, HR_CMD_SLOT_FREE);
    if (!err && msg->type == HR_EV_SESSION_AUTH_BEGIN)
        err = begin(all, worker, msg, copy);
    else if (!err)
        frame(all, worker, msg, copy);
    hr_wipe(copy, msg->u.auth.len);
    hr_link_flush(link);
    return err;
}

/* -- life ------------------------------------------------------------------------------------------------- */

int hr_renewals_create(struct hr_loop *loop, struct hr_realms *realms, const struct hr_renewal_ops *ops, void *owner,
                       struct hr_renewals **ret_renewals)
{
    struct hr_renewals *all = calloc(1, sizeof(*all));

    if (!all)
        return HR_E_NOMEM;
    all->loop = loop;
    all->realms = realms;
    all->ops = ops;
    all->owner = owner;
    *ret_renewals = all;
    return 0;
}

void hr_renewals_attached(struct hr_renewals *all, uint32_t n_workers,
                          struct hr_link *(*link)(void *arg, uint32_t worker), void *arg)
{
    all->n_workers = n_workers;
    all->link = link;
    all->link_arg = arg;
}

void hr_renewals_detached(struct hr_renewals *all)
{
    all->n_workers = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (all->buckets[i])
            finish(all->buckets[i]);
    }
}

void hr_renewals_destroy(struct hr_renewals *all)
{
    if (!all)
        return;
    hr_renewals_detached(all);
    free(all);
}

void hr_renewals_get_info(const struct hr_renewals *all, struct hr_renewals_info *ret_info)
{
    *ret_info = all->info;
}
