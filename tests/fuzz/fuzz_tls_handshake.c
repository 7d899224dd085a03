/* A hostile client in a handshake. The first byte says how it begins: with the input's bytes alone, or as an honest
 * client whose flights are edited by triples of the input (offset, offset, value) and followed by the rest of it,
 * so that damage reaches every message. What a handshake may take is bounded, whatever comes. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/tls/context.h"
#include "controlplane/tls/handshake.h"
#include "controlplane/tls/test_pki.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct pki pki;
static struct hr_tls_server *servers[2]; /* without and with certificates of clients */
static SSL_CTX *client;

static void cleanup(void)
{
    pki_close(&pki);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct hr_config_listener l = {.policy = {.name = "fuzz"}, .tls = {.n_certs = 2}};
    struct hr_tls_why why;

    (void)argc, (void)argv;
    pki_open(&pki);
    atexit(cleanup);
    pki_leaf(&pki, &(struct pki_leaf){.name = "ec", .cn = "ec", .san = "DNS:*.kafka.test"});
    pki_leaf(&pki, &(struct pki_leaf){.name = "rsa", .cn = "rsa", .san = "DNS:*.kafka.test", .rsa = true});
    l.tls.certs[0] = pki_cert(&pki, "ec");
    l.tls.certs[1] = pki_cert(&pki, "rsa");
    if (hr_tls_server_create(&l, NULL, &servers[0], &why) != 0)
        abort();
    l.tls.client_auth = HR_CONFIG_CLIENT_AUTH_OPTIONAL;
    l.tls.client_ca = pki_file(&pki, "ca.crt");
    if (hr_tls_server_create(&l, NULL, &servers[1], &why) != 0)
        abort();
    client = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_use_certificate_chain_file(client, l.tls.certs[0].chain.path) != 1 ||
        SSL_CTX_use_PrivateKey_file(client, l.tls.certs[0].key.path, SSL_FILETYPE_PEM) != 1)
        abort();
    return 0;
}

static int give(struct hr_tls *t, const uint8_t *data, size_t size, uint32_t piece)
{
    for (size_t at = 0; at < size; at += piece) {
        uint32_t n = size - at < piece ? (uint32_t)(size - at) : piece;

        if (hr_tls_input(t, data + at, n) != 0)
            return -1;
        if (hr_tls_get_state(t) == HR_TLS_RUNNING && hr_tls_consumed(t) > HR_TLS_HANDSHAKE_MAX)
            abort();
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hr_tls_secrets secrets;
    uint8_t buf[8192];
    const uint8_t *out;
    struct hr_tls *t;
    uint32_t n, piece, sent = 0, edits;
    SSL *ssl = NULL;

    if (size < 2)
        return 0;
    piece = (data[0] >> 4) * 300u + 1;
    if (hr_tls_accept(servers[data[0] & 1], 1, &t) != 0)
        abort();
    edits = data[0] & 2 ? data[1] % 8u : 0;
    if (data[0] & 2) {
        ssl = SSL_new(client);
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
        SSL_set_connect_state(ssl);
        SSL_set_max_proto_version(ssl, data[0] & 4 ? TLS1_2_VERSION : TLS1_3_VERSION);
    }
    data += 2;
    size -= 2;
    for (int round = 0; ssl && round < 3; round++) {
        int got;

        ERR_clear_error();
        SSL_do_handshake(ssl);
        got = BIO_read(SSL_get_wbio(ssl), buf, sizeof(buf));
        for (uint32_t i = 0; i < edits && 3 * i + 2 < size; i++) {
            uint32_t at = (uint32_t)(data[3 * i] << 8 | data[3 * i + 1]) % 4096;

            if (at >= sent && got > 0 && at < sent + (uint32_t)got)
                buf[at - sent] ^= data[3 * i + 2];
        }
        if (got > 0 && give(t, buf, (size_t)got, piece) != 0)
            break;
        sent += got > 0 ? (uint32_t)got : 0;
        n = hr_tls_output(t, &out);
        if (n > 0 && BIO_write(SSL_get_rbio(ssl), out, (int)n) != (int)n)
            abort();
        hr_tls_output_done(t);
    }
    if (size > 3 * edits)
        (void)!give(t, data + 3 * edits, size - 3 * edits, piece);
    if (hr_tls_get_state(t) == HR_TLS_OPEN) {
        (void)!hr_tls_read(t, buf, sizeof(buf), &n);
        hr_tls_output_done(t);
        if (hr_tls_get_state(t) == HR_TLS_OPEN && hr_tls_hand_off(t, &secrets) == 0 &&
            hr_tls_secrets_check(&secrets) != 0)
            abort();
    }
    if ((hr_tls_get_state(t) == HR_TLS_FAILED) != (hr_tls_get_reason(t) != HR_TLS_REASON_NONE))
        abort();
    SSL_free(ssl);
    hr_tls_free(t);
    ERR_clear_error();
    return 0;
}
