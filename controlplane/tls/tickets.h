/* Keys of session tickets (RFC 5077, RFC 8446 4.6.1): one seals, those before it still open.
 *
 * They exist in the control plane's memory alone, locked and left out of core dumps, and die with it: after a
 * restart clients do a full handshake. hr_tls_tickets_rotate() is the clock: a ticket can be used for
 * HR_TLS_TICKET_KEYS - 1 rotations after the one that sealed it at most. */
#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

#define HR_TLS_TICKET_KEYS 3

struct hr_tls_tickets;

/* With one fresh key and one reference. */
HR_MUST_CHECK int hr_tls_tickets_create(struct hr_tls_tickets **ret_tickets);
struct hr_tls_tickets *hr_tls_tickets_ref(struct hr_tls_tickets *tickets);
void hr_tls_tickets_unref(struct hr_tls_tickets *tickets);
/* A new key seals from now on; the oldest is wiped. */
HR_MUST_CHECK int hr_tls_tickets_rotate(struct hr_tls_tickets *tickets);

/* What OpenSSL's SSL_CTX_set_tlsext_ticket_key_evp_cb asks for. renew: the client is to get a new ticket whichever key
 * the old one had. */
int hr_tls_tickets_use(const struct hr_tls_tickets *tickets, unsigned char name[16], unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal, bool renew);
