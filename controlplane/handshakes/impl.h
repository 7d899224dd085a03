/* One struct per client, freed by hr_shake_finish() and nowhere else. Private to this folder.
 *
 *   handshakes.c  life, what comes after what, the end
 *   client.c      the client's connection: its handshake and its login
 *   broker.c      the broker's: its handshake and ours
 *   pace.c        when a connection to a broker may be opened
 *   say.c         counting and logging what became of it */
#pragma once

#include "controlplane/auth/realm.h"
#include "controlplane/conn/conn.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/loop/loop.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/store.h"
#include "shared/base/log.h"
#include "shared/base/wipebuf.h"
#include "shared/ipc/login.h"

/* X(name): in order */
#define SHAKE_STATES(X) X(CLIENT) X(LOGIN) X(BROKER) X(BROKER_LOGIN) X(STARTING) X(REFUSING) X(LINGER)

enum shake_state {
    SHAKE_NONE = 0,
#define X(name) SHAKE_##name,
    SHAKE_STATES(X)
#undef X
};

/* What of the client's login has not been looked at: the plain text of a TLS record, or bytes as they came. */
#define SHAKE_BYTES_MAX (64u * 1024 + 4096)

struct shake {
    struct hr_handshakes *all;
    struct shake *next, *prev;
    enum shake_state state;
    struct hr_timer timer; /* the deadline; while LINGER, REFUSING or STARTING the next step */
    struct hr_conn_accepted from;
    char listener[HR_POLICY_NAME_MAX];
    bool client_tls, by_name, terminates, broker_login, broker_tls;
    int32_t node_id;
    uint64_t deadline_us;

    struct hr_conn *client;
    struct hr_tls *client_session;  /* NULL: plain text */
    struct hr_realm *realm;         /* NULL: nobody asks who the client is */
    struct hr_sasl_server *sasl;    /* LOGIN, REFUSING */
    struct hr_wipebuf input;        /* from the client, not looked at */
    uint32_t used; /* of a plaintext client: bytes of its login */

    struct hr_timer turn;     /* its turn at the broker; not set: it has had it */
    uint64_t waits_since_us;  /* for that; 0: it does not wait */
    uint32_t backed_off;      /* times that the broker had too many */
    struct hr_conn *broker;
    struct hr_tls *broker_session;
    struct hr_handshake_broker to;
    uint32_t tries, connect_timeout_ms; /* brokers tried; for each to accept */
    struct hr_identity *identity;   /* a reference, from BROKER_LOGIN on */
    struct hr_login *broker_sasl;   /* BROKER_LOGIN */
    uint32_t broker_used;           /* of a plaintext broker: bytes of our login's answers */

    struct hr_session_login login;  /* what the worker is told */
    bool secrets_taken;
    struct hr_tls_secrets client_secrets, broker_secrets; /* from the hand-off until the worker has them */
};

/* When the next connection to a broker is due if none came early (GCRA). */
struct broker_pace {
    int32_t node_id;
    uint64_t theoretical_us;
};
#define BROKER_PACES 512 /* as many as a policy has */

struct hr_handshakes {
    struct hr_loop *loop;
    struct hr_conns *conns;
    struct hr_tls_store *store;
    struct hr_realms *realms;
    const struct hr_handshake_ops *ops;
    void *owner;
    struct hr_policy *policy; /* listeners alone: which one a connection came to */
    bool cluster_tls;
    uint64_t pace_us; /* between two connections to one broker; 0: they are not paced */
    struct broker_pace paces[BROKER_PACES];
    uint32_t n_paces;
    struct shake *first;
    struct hr_handshakes_info info;
    struct hr_log_pace tls_said[HR_TLS_LEGS][HR_TLS_REASON_MAX], login_said[HR_LOGIN_REASON_MAX];
};

/* handshakes.c */
void hr_shake_set_state(struct shake *s, enum shake_state state);
void hr_shake_finish(struct shake *s);
/* The end of it; what is queued for the client, an alert or an answer, still leaves. */
void hr_shake_end(struct shake *s);
void hr_shake_fail_tls(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail);
/* reason: of enum hr_sasl_reason or enum hr_login_reason. */
void hr_shake_fail_login(struct shake *s, unsigned reason, const char *detail);
/* The client's handshake is done; so is its login; the broker is ready for requests. */
void hr_shake_client_open(struct shake *s);
void hr_shake_client_known(struct shake *s);
void hr_shake_broker_ready(struct shake *s);

/* client.c */
extern const struct hr_conn_ops hr_shake_client_ops;
void hr_shake_flush(struct hr_conn *conn, struct hr_tls *tls);
/* Inside its TLS session where it has one. Who misses bytes runs into the deadline. */
void hr_shake_send(struct hr_conn *conn, struct hr_tls *tls, const uint8_t *data, size_t len);
void hr_shake_login_begin(struct shake *s);
/* The answer to a login that failed, after its delay; then the end. */
void hr_shake_refuse_now(struct shake *s);

/* broker.c */
void hr_shake_open_broker(struct shake *s); /* one is chosen; its connection is opened when its turn comes */
void hr_shake_connect_broker(struct shake *s);

/* pace.c: the connection to s->to is opened when its turn comes, in the order of asking; or the client fails. */
void hr_pace_configure(struct hr_handshakes *h, const struct hr_config *config);
void hr_shake_await_turn(struct shake *s);
/* The broker refused our login; true: it has too many connections, and is tried again. */
bool hr_shake_back_off(struct shake *s, const char *why);
void hr_shake_turn_over(struct shake *s); /* it waits no more, whatever became of it */

/* say.c */
void hr_shake_say_tls(struct shake *s, enum hr_tls_leg leg, enum hr_tls_reason reason, const char *detail);
void hr_shake_say_login(struct shake *s, unsigned reason, const char *detail);
void hr_shake_say_started(const struct shake *s);
