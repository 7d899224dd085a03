/* One SSL_CTX per listener, however many certificates it has: which of them serve a connection is decided when its
 * ClientHello is there (choose_certs), by name and, between one RSA and one ECDSA certificate, by OpenSSL from
 * what the client can verify. */
#include "controlplane/tls/context.h"

#include <ctype.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "controlplane/tls/impl.h"

#define NODE_ID "$(nodeId)"
#define SUITES  "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS                                                                                              \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"               \
    "ECDHE-RSA-AES256-GCM-SHA384"
#define GROUPS         "X25519:P-256"
#define CERT_LIST_MAX  (32 * 1024) /* bytes of a peer's certificate chain */

/* -- both legs ------------------------------------------------------------------------------------------------ */

static SSL_CTX *common(const SSL_METHOD *method, bool tls13_only)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx)
        return NULL;
    SSL_CTX_set_security_level(ctx, 2);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CLEANSE_PLAINTEXT |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_recv_max_early_data(ctx, 0);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_timeout(ctx, HR_TLS_TICKET_LIFETIME_S);
    SSL_CTX_set_keylog_callback(ctx, hr_tls_on_keylog);
    SSL_CTX_set_msg_callback(ctx, hr_tls_on_message);
    if (SSL_CTX_set_min_proto_version(ctx, tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 && SSL_CTX_set_ciphersuites(ctx, SUITES) == 1 &&
        SSL_CTX_set_cipher_list(ctx, CIPHERS) == 1 && SSL_CTX_set1_groups_list(ctx, GROUPS) == 1)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* -- names ---------------------------------------------------------------------------------------------------- */

int hr_tls_sni_node(const struct hr_config_listener *listener, const char *name, int32_t *ret_node_id)
{
    const char *pattern = listener->policy.adv_host, *mark = strstr(pattern, NODE_ID), *p;
    size_t before = mark ? (size_t)(mark - pattern) : 0;
    int32_t node = 0;

    if (strcasecmp(name, listener->bootstrap_host) == 0) {
        *ret_node_id = -1;
        return 0;
    }
    if (!mark || strncasecmp(name, pattern, before) != 0)
        return HR_E_NOT_FOUND;
    p = name + before;
    /* As it is advertised: no leading zeros. */
    if (!isdigit((unsigned char)*p) || (p[0] == '0' && isdigit((unsigned char)p[1])))
        return HR_E_NOT_FOUND;
    while (isdigit((unsigned char)*p) && node <= listener->policy.node_id_max)
        node = node * 10 + (*p++ - '0');
    if (strcasecmp(p, mark + strlen(NODE_ID)) != 0 || node < listener->policy.node_id_min ||
        node > listener->policy.node_id_max)
        return HR_E_NOT_FOUND;
    *ret_node_id = node;
    return 0;
}

/* RFC 6066 3: a list with one entry of type host_name. False when it is malformed; "" in name when absent. */
static bool read_sni(SSL *ssl, char name[HR_POLICY_HOST_MAX])
{
    const unsigned char *ext;
    size_t n, host;

    name[0] = '\0';
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &n) != 1)
        return true;
    if (n < 5 || (size_t)(ext[0] << 8 | ext[1]) != n - 2 || ext[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    host = (size_t)(ext[3] << 8 | ext[4]);
    if (host != n - 5 || host == 0 || host >= HR_POLICY_HOST_MAX)
        return false;
    for (size_t i = 0; i < host; i++) {
        if (!isalnum(ext[5 + i]) && !strchr("-._", ext[5 + i]))
            return false;
        name[i] = (char)tolower(ext[5 + i]);
    }
    name[host] = '\0';
    return ext[5] != '.';
}

/* The first look at a ClientHello: does it name somebody whom we are? */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct hr_tls_server *server = arg;
    struct hr_tls *t = hr_tls_of(ssl);

    if (!read_sni(ssl, t->sni)) {
        t->reason = HR_TLS_REASON_bad_message;
        *alert = SSL_AD_DECODE_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (!server->listener.policy.by_name)
        return SSL_CLIENT_HELLO_SUCCESS;
    if (t->sni[0] != '\0' && hr_tls_sni_node(&server->listener, t->sni, &t->node_id) == 0)
        return SSL_CLIENT_HELLO_SUCCESS;
    t->reason = t->sni[0] ? HR_TLS_REASON_unrecognized_name : HR_TLS_REASON_no_name;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_CLIENT_HELLO_ERROR;
}

/* Uses the certificates for the name, one of each key type; where none is for it, the first of each type. */
static int choose_certs(SSL *ssl, void *arg)
{
    struct hr_tls_server *server = arg;
    const char *sni = hr_tls_of(ssl)->sni;
    bool named = false;
    int used[2] = {0};

    for (uint32_t i = 0; sni[0] && i < server->n_certs; i++)
        named = named || hr_tls_cert_matches(&server->certs[i], sni);
    SSL_certs_clear(ssl);
    for (uint32_t i = 0; i < server->n_certs; i++) {
        const struct hr_tls_cert *cert = &server->certs[i];
        int kind = EVP_PKEY_get_base_id(cert->key) == EVP_PKEY_RSA;

        if (used[kind] || (named && !hr_tls_cert_matches(cert, sni)))
            continue;
        if (SSL_use_cert_and_key(ssl, cert->leaf, cert->key, cert->chain, 1) != 1)
            return 0;
        used[kind] = 1;
    }
    return 1;
}

/* -- tickets -------------------------------------------------------------------------------------------------- */

static int on_ticket_key(SSL *ssl, unsigned char name[16], unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int seal)
{
    return hr_tls_tickets_use(hr_tls_of(ssl)->server->tickets, name, iv, cipher, mac, seal,
                              SSL_version(ssl) == TLS1_3_VERSION);
}

/* -- clients' certificates ------------------------------------------------------------------------------------ */

/* A digest over everything that decides which client certificate is good. */
static bool trust_digest(const struct hr_config_listener_tls *tls, STACK_OF(X509) *cas, STACK_OF(X509_CRL) *crls,
                         uint8_t digest[32])
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t rule = (uint8_t)tls->client_auth;
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, &rule, 1) == 1;

    for (int i = 0; ok && i < sk_X509_num(cas); i++) {
        unsigned char *der = NULL;
        int n = i2d_X509(sk_X509_value(cas, i), &der);

        ok = n > 0 && EVP_DigestUpdate(md, der, (size_t)n) == 1;
        OPENSSL_free(der);
    }
    for (int i = 0; ok && i < sk_X509_CRL_num(crls); i++) {
        unsigned char *der = NULL;
        int n = i2d_X509_CRL(sk_X509_CRL_value(crls, i), &der);

        ok = n > 0 && EVP_DigestUpdate(md, der, (size_t)n) == 1;
        OPENSSL_free(der);
    }
    ok = ok && EVP_DigestFinal_ex(md, digest, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

/* A chain that leads to one of these CAs; the leaf must not be on a list where lists were given. */
static bool set_trust(SSL_CTX *ctx, STACK_OF(X509) *cas, STACK_OF(X509_CRL) *crls, bool announce)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    for (int i = 0; i < sk_X509_num(cas); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(cas, i)) != 1 ||
            (announce && SSL_CTX_add_client_CA(ctx, sk_X509_value(cas, i)) != 1))
            return false;
    }
    for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
        if (X509_STORE_add_crl(store, sk_X509_CRL_value(crls, i)) != 1)
            return false;
    }
    return sk_X509_CRL_num(crls) <= 0 || X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK) == 1;
}

static int load_trust(struct hr_tls_server *server, struct hr_tls_why *why)
{
    const struct hr_config_listener_tls *tls = &server->listener.tls;
    STACK_OF(X509) *cas = NULL;
    int err = 0;

    if (tls->client_auth != HR_CONFIG_CLIENT_AUTH_NONE) {
        int mode = SSL_VERIFY_PEER;

        if ((err = hr_tls_ca_load(&tls->client_ca, &cas, why)) != 0)
            return err;
        if (tls->client_crl.path[0] && (err = hr_tls_crl_load(&tls->client_crl, &server->crls, why)) != 0)
            goto out;
        if (tls->client_auth == HR_CONFIG_CLIENT_AUTH_REQUIRED)
            mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(server->ctx, mode, NULL);
        if (!set_trust(server->ctx, cas, server->crls, true))
            err = HR_E_NOMEM;
    }
    if (err == 0 && !trust_digest(tls, cas, server->crls, server->trust))
        err = HR_E_NOMEM;
    if (err != 0)
        hr_tls_why_set(why, &tls->client_ca, "OpenSSL does not take it");
out:
    sk_X509_pop_free(cas, X509_free);
    return err;
}

/* -- the client leg ------------------------------------------------------------------------------------------- */

static bool server_ctx(struct hr_tls_server *server)
{
    uint8_t id[32];
    const char *name = server->listener.policy.name;

    server->ctx = common(TLS_server_method(), server->listener.tls.tls13_only);
    if (!server->ctx)
        return false;
    SSL_CTX_set_session_cache_mode(server->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_client_hello_cb(server->ctx, on_client_hello, server);
    SSL_CTX_set_cert_cb(server->ctx, choose_certs, server);
    return EVP_Digest(name, strlen(name), id, NULL, EVP_sha256(), NULL) == 1 &&
           SSL_CTX_set_session_id_context(server->ctx, id, sizeof(id)) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(server->ctx, on_ticket_key) == 1 &&
           hr_tls_judge_clients(server->ctx);
}

/* Why a context could not be made, in words at least; a file in our copy of the configuration, which goes away, is named
 * by its twin in the caller's. */
static void explain(struct hr_tls_why *why, int err, const void *copy, const void *callers)
{
    if (!why->text[0])
        hr_tls_why_set(why, NULL, "%s", hr_strerror(err));
    if (why->file)
        why->file =
            (const struct hr_config_file *)((const char *)callers + ((const char *)why->file - (const char *)copy));
}

int hr_tls_server_create(const struct hr_config_listener *listener, const struct hr_tls_server *previous,
                         struct hr_tls_server **ret_server, struct hr_tls_why *why)
{
    struct hr_tls_server *server = calloc(1, sizeof(*server));
    int err = HR_E_NOMEM;

    *why = (struct hr_tls_why){0};
    if (!server)
        return HR_E_NOMEM;
    server->refs = 1;
    server->listener = *listener;
    if (!server_ctx(server))
        goto out;
    for (uint32_t i = 0; i < listener->tls.n_certs; i++) {
        err = hr_tls_cert_load(&server->listener.tls.certs[i], &server->certs[i], why);
        if (err)
            goto out;
        server->n_certs++;
    }
    err = load_trust(server, why);
    if (!err)
        err = hr_principal_create(&server->listener.tls, &server->principal, why);
    if (err)
        goto out;
    if (previous && memcmp(previous->trust, server->trust, sizeof(server->trust)) == 0)
        server->tickets = hr_tls_tickets_ref(previous->tickets);
    else
        err = hr_tls_tickets_create(&server->tickets);
    if (err)
        goto out;
    *ret_server = server;
    return 0;
out:
    explain(why, err, &server->listener, listener);
    hr_tls_server_unref(server);
    return err;
}

struct hr_tls_server *hr_tls_server_ref(struct hr_tls_server *server)
{
    server->refs++;
    return server;
}

void hr_tls_server_unref(struct hr_tls_server *server)
{
    if (!server || --server->refs > 0)
        return;
    SSL_CTX_free(server->ctx);
    for (uint32_t i = 0; i < server->n_certs; i++)
        hr_tls_cert_free(&server->certs[i]);
    sk_X509_CRL_pop_free(server->crls, X509_CRL_free);
    hr_principal_destroy(server->principal);
    hr_tls_tickets_unref(server->tickets);
    free(server);
}

int hr_tls_server_rotate(struct hr_tls_server *server)
{
    return hr_tls_tickets_rotate(server->tickets);
}

const struct hr_tls_cert *hr_tls_server_certs(const struct hr_tls_server *server, uint32_t *ret_n)
{
    *ret_n = server->n_certs;
    return server->certs;
}

/* -- the broker leg ------------------------------------------------------------------------------------------- */

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    const struct hr_tls *t = hr_tls_of(ssl);

    hr_tls_resume_put(t->client->resume, t->sni, t->port, session);
    return 1; /* the reference is ours now */
}

static int client_trust(struct hr_tls_client *client, struct hr_tls_why *why)
{
    STACK_OF(X509) *cas = NULL;
    int err;

    SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
    if (!client->config.ca.path[0]) {
        if (SSL_CTX_set_default_verify_paths(client->ctx) == 1)
            return 0;
        hr_tls_why_set(why, NULL, "the system's CA certificates cannot be read: name a bundle by cluster.tls.ca");
        return HR_E_CONFIG;
    }
    if ((err = hr_tls_ca_load(&client->config.ca, &cas, why)) != 0)
        return err;
    if (!set_trust(client->ctx, cas, NULL, false)) {
        hr_tls_why_set(why, &client->config.ca, "OpenSSL does not take it");
        err = HR_E_CONFIG;
    }
    sk_X509_pop_free(cas, X509_free);
    return err;
}

int hr_tls_client_create(const struct hr_config_cluster_tls *tls, struct hr_tls_client **ret_client,
                         struct hr_tls_why *why)
{
    struct hr_tls_client *client = calloc(1, sizeof(*client));
    int err = HR_E_NOMEM;

    *why = (struct hr_tls_why){0};
    if (!client)
        return HR_E_NOMEM;
    client->refs = 1;
    client->config = *tls;
    client->ctx = common(TLS_client_method(), false);
    if (!client->ctx || (err = hr_tls_resume_create(&client->resume)) != 0)
        goto out;
    SSL_CTX_set_session_cache_mode(client->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->ctx, on_new_session);
    err = client_trust(client, why);
    if (err)
        goto out;
    if (tls->cert.chain.path[0]) {
        err = hr_tls_cert_load(&client->config.cert, &client->cert, why);
        if (err)
            goto out;
        client->has_cert = true;
        if (SSL_CTX_use_cert_and_key(client->ctx, client->cert.leaf, client->cert.key, client->cert.chain, 1) != 1) {
            hr_tls_why_set(why, &client->config.cert.chain, "OpenSSL does not take it");
            err = HR_E_CONFIG;
            goto out;
        }
    }
    *ret_client = client;
    return 0;
out:
    explain(why, err, &client->config, tls);
    hr_tls_client_unref(client);
    return err;
}

struct hr_tls_client *hr_tls_client_ref(struct hr_tls_client *client)
{
    client->refs++;
    return client;
}

void hr_tls_client_unref(struct hr_tls_client *client)
{
    if (!client || --client->refs > 0)
        return;
    SSL_CTX_free(client->ctx);
    if (client->has_cert)
        hr_tls_cert_free(&client->cert);
    hr_tls_resume_destroy(client->resume);
    free(client);
}

const struct hr_tls_cert *hr_tls_client_cert(const struct hr_tls_client *client)
{
    return client->has_cert ? &client->cert : NULL;
}
