/* Clients are judged twice: by OpenSSL when they show a certificate, with the principal that it must give; and again
 * when they come back with a ticket, because time has passed, a list may have run out, and rules may have changed.
 *
 * A ticket holds the leaf alone. What else is needed is written into it when it is made, sealed with the rest: a digest
 * of the name that the client asked for (ticket keys are a listener's own already), and the end of the certificate in
 * the client's chain that ends first. Who is not good enough to resume may still do a full handshake, and is told
 * there what is wrong. */
#include <openssl/err.h>
#include <string.h>
#include <time.h>

#include "controlplane/tls/impl.h"

struct bound {
    uint8_t name[32]; /* SHA-256 */
    int64_t until_s;  /* hr_tls.chain_until_s */
};
_Static_assert(sizeof(struct bound) == 40, "no padding: all of it is written and read as bytes");

static bool bind_to(const struct hr_tls *t, struct bound *ret_bound)
{
    ret_bound->until_s = t->chain_until_s;
    return EVP_Digest(t->sni, strlen(t->sni), ret_bound->name, NULL, EVP_sha256(), NULL) == 1;
}

/* -- at the handshake ------------------------------------------------------------------------------------------- */

static int64_t first_end(const STACK_OF(X509) *chain)
{
    int64_t first = INT64_MAX;

    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t end = hr_tls_time(X509_get0_notAfter(sk_X509_value(chain, i)));

        if (end < first)
            first = end;
    }
    return first;
}

static int on_verify(X509_STORE_CTX *store, void *arg)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct hr_tls *t = hr_tls_of(ssl);
    char name[HR_PRINCIPAL_MAX];

    (void)arg;
    if (X509_verify_cert(store) <= 0)
        return 0;
    if (hr_principal_of(t->server->principal, X509_STORE_CTX_get0_cert(store), name, sizeof(name)) != 0) {
        t->reason = HR_TLS_REASON_no_principal;
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    t->chain_until_s = first_end(X509_STORE_CTX_get0_chain(store));
    return 1;
}

static int on_ticket_made(SSL *ssl, void *arg)
{
    struct bound bound;

    (void)arg;
    return bind_to(hr_tls_of(ssl), &bound) &&
           SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &bound, sizeof(bound)) == 1;
}

/* -- when they come back ---------------------------------------------------------------------------------------- */

/* A list that has run out says nothing about the certificate any more, as at the handshake. */
static bool revoked(const struct hr_tls_server *server, X509 *cert, int64_t now_s)
{
    X509_REVOKED *entry;

    for (int i = 0; i < sk_X509_CRL_num(server->crls); i++) {
        X509_CRL *crl = sk_X509_CRL_value(server->crls, i);
        const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);

        if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_issuer_name(cert)) == 0 &&
            ((next && hr_tls_time(next) < now_s) || X509_CRL_get0_by_cert(crl, &entry, cert) == 1))
            return true;
    }
    return false;
}

static bool still_good(const struct hr_tls_server *server, SSL_SESSION *session, int64_t until_s)
{
    X509 *cert = SSL_SESSION_get0_peer(session);
    int64_t now_s = time(NULL);
    char name[HR_PRINCIPAL_MAX];

    if (!cert)
        return server->listener.tls.client_auth != HR_CONFIG_CLIENT_AUTH_REQUIRED;
    return now_s >= hr_tls_time(X509_get0_notBefore(cert)) && now_s <= until_s && !revoked(server, cert, now_s) &&
           hr_principal_of(server->principal, cert, name, sizeof(name)) == 0;
}

static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
                                          SSL_TICKET_STATUS status, void *arg)
{
    struct hr_tls *t = hr_tls_of(ssl);
    struct bound here, there;
    void *data;
    size_t n;

    (void)name, (void)name_len, (void)arg;
    if (status == SSL_TICKET_EMPTY || status == SSL_TICKET_NO_DECRYPT)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_ABORT;
    if (!bind_to(t, &here) || SSL_SESSION_get0_ticket_appdata(session, &data, &n) != 1 || n != sizeof(there))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    memcpy(&there, data, sizeof(there));
    if (memcmp(here.name, there.name, sizeof(here.name)) != 0 || !still_good(t->server, session, there.until_s))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    t->chain_until_s = there.until_s; /* for the ticket that follows this one */
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

bool hr_tls_judge_clients(SSL_CTX *ctx)
{
    SSL_CTX_set_cert_verify_callback(ctx, on_verify, NULL);
    return SSL_CTX_set_session_ticket_cb(ctx, on_ticket_made, on_ticket_opened, NULL) == 1;
}
