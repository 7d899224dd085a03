/* What the files of this folder share. */
#pragma once

#include <openssl/ssl.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/principal.h"
#include "controlplane/tls/reasons.h"
#include "controlplane/tls/tickets.h"

/* RFC 8446 5.1: bytes of a record's header, the lowest type of a record and the highest. */
#define HEADER    5
#define TYPE_CCS  20
#define TYPE_DATA 23

/* What a direction's record layer is at: counted, not assumed. */
struct hr_tls_count {
    uint8_t secret[48]; /* TLS 1.3 */
    uint32_t secret_len;
    uint32_t generation;
    uint64_t records;   /* under the keys of the generation */
};

struct hr_tls {
    SSL *ssl;
    struct hr_tls_server *server; /* one of the two */
    struct hr_tls_client *client;
    enum hr_tls_state state;
    enum hr_tls_reason reason;
    char detail[160];
    uint64_t deadline_us;
    int32_t node_id;                  /* of the name, where nodes have names */
    char sni[HR_POLICY_HOST_MAX];     /* what the client asked for, or what we ask for */
    uint16_t port;                    /* client role */
    uint8_t *in;                      /* bytes not given to OpenSSL yet: the end of a record is missing */
    uint32_t in_len, in_cap;
    uint64_t consumed;                /* bytes of whole records that OpenSSL has had */
    uint32_t out_seen;                /* bytes of the output that were looked at for explicit nonces */
    uint64_t last_nonce;              /* of TLS 1.2's records written */
    bool wrote_nonce;
    struct hr_tls_count rd, wr;
    bool keys_lost;                   /* a secret could not be derived: no hand-off */
    int64_t chain_until_s;            /* of the client's certificates the first ends then; 0: it showed none */
};

/* The connection that an SSL belongs to. */
static inline struct hr_tls *hr_tls_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

struct hr_tls_server {
    uint32_t refs;
    SSL_CTX *ctx;
    struct hr_config_listener listener; /* a copy: certs[].files point into it */
    struct hr_tls_cert certs[HR_CONFIG_MAX_CERTS];
    uint32_t n_certs;
    struct hr_tls_tickets *tickets;
    STACK_OF(X509_CRL) *crls;
    struct hr_principal *principal;
    uint8_t trust[32]; /* over what clients' certificates are judged by */
};

struct hr_tls_client {
    uint32_t refs;
    SSL_CTX *ctx;
    struct hr_config_cluster_tls config;
    struct hr_tls_cert cert;
    bool has_cert;
    struct hr_tls_resume *resume;
};

/* sessions.c: sessions that brokers offered to resume, the newest of each host and port. */
HR_MUST_CHECK int hr_tls_resume_create(struct hr_tls_resume **ret_resume);
void hr_tls_resume_destroy(struct hr_tls_resume *resume);
/* Takes the reference. */
void hr_tls_resume_put(struct hr_tls_resume *resume, const char *host, uint16_t port, SSL_SESSION *session);
/* Gives a reference. TLS 1.3: and forgets, a ticket is for one use (RFC 8446 C.4). NULL: none. */
SSL_SESSION *hr_tls_resume_take(struct hr_tls_resume *resume, const char *host, uint16_t port);

/* clients.c: sets what OpenSSL calls to judge clients, at their handshake and when they resume. */
bool hr_tls_judge_clients(SSL_CTX *ctx);

/* reasons.c: what an error of OpenSSL's is to us. */
enum hr_tls_reason hr_tls_reason_of(const SSL *ssl, unsigned long err);

/* hand_off.c: explicit nonces of TLS 1.2's records among what was just written; whole records only are in the output. */
void hr_tls_look_at_output(struct hr_tls *t);
/* The same, called by OpenSSL: keys and records as they come. */
void hr_tls_on_keylog(const SSL *ssl, const char *line);
void hr_tls_on_message(int written, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg);
