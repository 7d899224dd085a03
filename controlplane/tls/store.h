/* The contexts in force: one per listener that speaks TLS, and the cluster's. Their files are looked at every
 * HR_TLS_LOOK_S seconds; what has changed is loaded, and used from the next handshake on; what cannot be loaded is
 * said once, and the context before stays. Ticket keys rotate here, and certificates that run out are told of. Also
 * counts what became of handshakes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/reasons.h"
#include "shared/base/error.h"
#include "shared/config/config.h"

#define HR_TLS_LOOK_S 5
/* Days before the end of a certificate at which it is warned of. */
#define HR_TLS_WARN_DAYS   30
#define HR_TLS_URGENT_DAYS 7

struct hr_loop;
struct hr_tls;
struct hr_tls_store;

enum hr_tls_leg { HR_TLS_CLIENTS = 0, HR_TLS_BROKERS, HR_TLS_LEGS };

struct hr_tls_counters {
    uint64_t done, resumed;
    uint64_t failed[HR_TLS_REASON_MAX];
};

struct hr_tls_cert_info {
    const char *owner;  /* the listener's name, or "cluster" */
    const char *use;    /* "server", "client", "client_ca", "ca" */
    const char *file;
    char subject[256];  /* RFC 2253 */
    char names[512];    /* subjectAltName: "DNS:a, IP:b" */
    char key[32];       /* "RSA 2048", "EC prime256v1"; "" of CAs */
    int64_t not_before_s, not_after_s; /* seconds since 1970 */
};

HR_MUST_CHECK int hr_tls_store_create(struct hr_loop *loop, struct hr_tls_store **ret_store);
void hr_tls_store_destroy(struct hr_tls_store *store);
/* Makes what config asks for, as far as it is not there already; mistakes are logged. config is not kept. */
void hr_tls_store_configure(struct hr_tls_store *store, const struct hr_config *config);
/* Borrowed until the next turn of the loop; NULL: no such listener, or its files could not be loaded yet. */
struct hr_tls_server *hr_tls_store_server(const struct hr_tls_store *store, const char *listener);
/* NULL: brokers speak plaintext, or the files could not be loaded yet. */
struct hr_tls_client *hr_tls_store_client(const struct hr_tls_store *store);
/* As the timer does: files that changed are loaded. */
void hr_tls_store_look(struct hr_tls_store *store);

/* A handshake that is over, whichever way. */
void hr_tls_store_count(struct hr_tls_store *store, enum hr_tls_leg leg, const struct hr_tls *tls);
void hr_tls_store_count_reason(struct hr_tls_store *store, enum hr_tls_leg leg, enum hr_tls_reason reason);
const struct hr_tls_counters *hr_tls_store_counters(const struct hr_tls_store *store, enum hr_tls_leg leg);

/* Our certificates and those of the CAs, in order of the configuration. */
void hr_tls_store_list(const struct hr_tls_store *store, void (*emit)(void *arg, const struct hr_tls_cert_info *info),
                       void *arg);
/* What the last attempt to load the owner's files said; "" when all is well. */
const char *hr_tls_store_trouble(const struct hr_tls_store *store, const char *owner);
