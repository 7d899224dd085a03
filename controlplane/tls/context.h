/* What handshakes of one kind have in common: a listener's certificates, ticket keys and rules for clients'
 * certificates; the cluster's CA, our certificate and the sessions that brokers let us resume.
 *
 * A context never changes. A reload makes a new one and drops its reference to the old one, which lives on as
 * long as handshakes do that began under it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/tls/files.h"
#include "shared/base/error.h"
#include "shared/config/config.h"

struct hr_tls_client;
struct hr_tls_server;

#define HR_TLS_TICKET_LIFETIME_S 7200
#define HR_TLS_ROTATE_S          3600 /* of ticket keys: each can be used for two hours at least */

/* Reads the listener's files. previous (NULL: none): the context that this one replaces; its ticket keys are
 * taken over when the rules for clients' certificates are what they were, CA and CRL included; else earlier
 * tickets are of no use any more. CONFIG with why. */
HR_MUST_CHECK int hr_tls_server_create(const struct hr_config_listener *listener,
                                       const struct hr_tls_server *previous, struct hr_tls_server **ret_server,
                                       struct hr_tls_why *why);
struct hr_tls_server *hr_tls_server_ref(struct hr_tls_server *server);
void hr_tls_server_unref(struct hr_tls_server *server);
/* A new ticket key. */
HR_MUST_CHECK int hr_tls_server_rotate(struct hr_tls_server *server);
const struct hr_tls_cert *hr_tls_server_certs(const struct hr_tls_server *server, uint32_t *ret_n);

/* Which node a name (SNI) stands for on this listener: -1 is the bootstrap name. NOT_FOUND: it is none of its
 * names. Only for listeners that tell nodes apart by name. */
HR_MUST_CHECK int hr_tls_sni_node(const struct hr_config_listener *listener, const char *name, int32_t *ret_node_id);

/* The broker leg. CONFIG with why. */
HR_MUST_CHECK int hr_tls_client_create(const struct hr_config_cluster_tls *tls, struct hr_tls_client **ret_client,
                                       struct hr_tls_why *why);
struct hr_tls_client *hr_tls_client_ref(struct hr_tls_client *client);
void hr_tls_client_unref(struct hr_tls_client *client);
/* NULL when we show none. */
const struct hr_tls_cert *hr_tls_client_cert(const struct hr_tls_client *client);
