/* Clients of OpenSSL's, or by hand, against the control plane's half, with the worker's end of the rings played by the test
 * and a clock that is the test's. Listener 0 ("ports", at 9092 and from 9200) and listener 1 ("names", at 9093) speak TLS;
 * the one broker is node 3, or what the client asked for. Whatever fails here fails the test. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/identity.h"
#include "controlplane/auth/realm.h"
#include "controlplane/conn/conn.h"
#include "controlplane/conn/mock_dataplane.h"
#include "controlplane/handshakes/handshakes.h"
#include "controlplane/loop/loop.h"
#include "controlplane/tls/store.h"
#include "controlplane/tls/test_pki.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"
#include "shared/tls/start.h"

#define RIG_WORKER 1

extern struct rig {
    uint64_t now_us;
    struct mock_dataplane mock;
    struct hr_loop *loop;
    struct hr_conns *conns;
    struct hr_tls_store *store;
    struct hr_http *http;
    struct hr_realms *realms;
    struct hr_identity *identity; /* ours at brokers; NULL: none */
    struct hr_handshakes *handshakes;
    struct hr_config *config;               /* rig_configure() after a change */
    char users_file[64], secret_file[64];   /* alice has "pencil", bob "rubber"; the secret is "pencil" */
    int no_broker;                          /* an error instead of a broker; 0: there is one */
    uint64_t sent_id;                       /* the connection of heard.sent */
    struct {                                /* what the worker has heard */
        uint32_t n[HR_CMD_MAX];
        struct hr_msg last[HR_CMD_MAX];
        struct hr_session_start start;
        uint8_t unread[HR_CONN_UNREAD_MAX];
        uint8_t sent[65536];
        uint32_t n_sent;
    } heard;
} rig;

int rig_set_up_all(void **state);
int rig_tear_down_all(void **state);
int rig_set_up(void **state);
int rig_tear_down(void **state);
void rig_configure(void);
void rig_write_file(const char *path, const char *text);

void rig_control_plane_runs(void);
/* Takes its commands; bytes for connection `id` go to the peer (NULL: nowhere). */
void rig_worker_runs(uint64_t id, SSL *peer);
/* Both, without a peer. */
void rig_runs(void);

/* What the worker tells of: a client at this port; something without more to say; the connection that was asked for
 * last, under this id; bytes. The control plane has heard the first two and the last. */
uint64_t rig_conn(uint32_t index);
void rig_accept(uint64_t id, uint16_t port);
void rig_event(uint16_t type, uint64_t id);
void rig_opened(uint64_t conn);
void rig_input(uint64_t id, const void *data, uint32_t len);

/* A peer that speaks TLS; sni: NULL for none. */
SSL *rig_peer(bool server, const char *sni);
/* Bytes both ways until nobody has more. Returns how many the peer has sent. */
uint32_t rig_talk(uint64_t id, SSL *peer);

#define PLAIN    (1u << HR_MECH_PLAIN)
#define SCRAM512 (1u << HR_MECH_SCRAM_SHA_512)
/* Listener 0: clients log in by these mechanisms, with or without TLS. */
void rig_let_log_in(uint32_t mechanisms, bool tls);
/* Listener 1: plain text and no login of clients'; we are alice at the broker. */
void rig_log_in_at_brokers(enum hr_config_mechanism mechanism);
struct hr_login *rig_login(enum hr_mechanism mechanism, const char *user, const char *password);
/* A client's login on a plaintext connection. Returns the bytes of the login. */
uint32_t rig_log_in(uint64_t id, struct hr_login *login, enum hr_login_verdict want);
