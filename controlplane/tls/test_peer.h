/* The other side of a handshake, for tests: plain OpenSSL on memory BIOs, client or server, beside a driver of ours. Its
 * certificates are made by peer_setup() in one folder for all tests of a program, and the clock that certificates and
 * tickets are judged by, OpenSSL's included, is the test's. Whatever fails here fails the test. */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <time.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/test_pki.h"
#include "shared/tls/secrets.h"

#define PEER_DEADLINE 1000000u

/* "rsa" and "ec": *.kafka.test and kafka.test; "third": other.test; "client": CN=alice; "expired"; "foreign": of another CA. */
extern struct pki pki;
extern time_t peer_clock_ahead_s;

int peer_setup(void **s);
int peer_teardown(void **s);

struct peer {
    SSL_CTX *ctx;
    SSL *ssl;
};

/* cert: NULL for none. peer_open() makes p->ctx, which may be changed until peer_start() makes p->ssl of it. */
void peer_open(struct peer *p, bool server, const char *cert);
void peer_start(struct peer *p, const char *sni);
void peer_close(struct peer *p);

/* Of TLS 1.3, or of 1.2, by OpenSSL's name; the first of each version are [0] and [3]. */
#define PEER_SUITES 7
struct peer_suite {
    bool tls13;
    const char *name;
    uint8_t suite;
};
extern const struct peer_suite peer_suites[PEER_SUITES];
/* The peer speaks this version and suite alone. */
void peer_only(struct peer *p, bool tls13, const char *suite);

/* What the peer has to say, in pieces of at most `piece` bytes, to ours; and ours to the peer. */
int peer_say(struct peer *p, struct hr_tls *t, uint32_t piece);
uint32_t peer_hear(struct hr_tls *t, struct peer *p);
/* Until nobody has more to say. Returns the error of our side. */
int peer_shake(struct hr_tls *t, struct peer *p, uint32_t piece);
/* The common name of the certificate that ours has shown. */
void peer_sees_cn(const struct peer *p, const char *cn);

/* Our side. */
struct hr_config_listener peer_listener(int n, const char *const *certs);
struct hr_tls_server *peer_server(const struct hr_config_listener *l, const struct hr_tls_server *previous);
struct hr_tls_server *peer_default_server(void); /* of "ec" and "rsa" */
struct hr_tls_client *peer_client(const char *ca, const char *cert);

/* The newest session that a client peer was offered, NULL: none. */
extern SSL_SESSION *peer_session;
void peer_forget_session(void);
/* One connection to server under sni, resuming what the one before was offered, and on after the hand-off; true when it
 * was resumed. */
bool peer_visit(struct hr_tls_server *server, bool tls13, const char *sni, const char *cert);
/* One that server refuses: returns the reason. The peer must have had the alert (NULL: any). */
enum hr_tls_reason peer_refused(struct hr_tls_server *server, const char *sni, const char *cert, const char *alert);
