/* What the hand-off needs and OpenSSL does not tell is learnt from its callbacks: traffic secrets from the key log, records
 * of either direction from the message callback, which is called for each record header in the order in which keys
 * change. TLS 1.2's explicit nonces are read from the records that go out. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/tls/impl.h"
#include "controlplane/tls/secrets.h"

#define KEY_UPDATE  24 /* RFC 8446 4: the message's type */
#define SERVER_KEYS "SERVER_TRAFFIC_SECRET_0 "
#define CLIENT_KEYS "CLIENT_TRAFFIC_SECRET_0 "

static bool from_hex(const char *hex, uint8_t *out, uint32_t cap, uint32_t *ret_len)
{
    uint32_t n = 0;

    for (; isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]); hex += 2) {
        unsigned byte;

        if (n == cap || sscanf(hex, "%2x", &byte) != 1)
            return false;
        out[n++] = (uint8_t)byte;
    }
    *ret_len = n;
    return *hex == '\0' && n > 0;
}

/* "LABEL client_random secret" in hex, in the moment in which the keys come into use. */
void hr_tls_on_keylog(const SSL *ssl, const char *line)
{
    struct hr_tls *t = hr_tls_of(ssl);
    bool by_server = strncmp(line, SERVER_KEYS, strlen(SERVER_KEYS)) == 0;
    const char *secret = strrchr(line, ' ');

    if (!t || (!by_server && strncmp(line, CLIENT_KEYS, strlen(CLIENT_KEYS)) != 0))
        return;
    struct hr_tls_count *count = by_server == (t->server != NULL) ? &t->wr : &t->rd;

    *count = (struct hr_tls_count){0};
    if (!from_hex(secret + 1, count->secret, sizeof(count->secret), &count->secret_len))
        t->keys_lost = true;
}

static const EVP_MD *handshake_md(const struct hr_tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

    return cipher ? SSL_CIPHER_get_handshake_digest(cipher) : NULL;
}

/* RFC 8446 7.2: the next generation, which OpenSSL does not log. */
static void key_update(struct hr_tls *t, struct hr_tls_count *count)
{
    const EVP_MD *md = handshake_md(t);
    uint8_t next[48];

    if (!md || !hr_tls_expand_label(md, count->secret, count->secret_len, "traffic upd", next, count->secret_len)) {
        t->keys_lost = true;
        return;
    }
    memcpy(count->secret, next, count->secret_len);
    OPENSSL_cleanse(next, sizeof(next));
    count->records = 0;
    count->generation++;
}

void hr_tls_on_message(int written, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg)
{
    struct hr_tls *t = hr_tls_of(ssl);
    const uint8_t *bytes = buf;

    (void)version, (void)arg;
    if (!t || len == 0)
        return;
    struct hr_tls_count *count = written ? &t->wr : &t->rd;
    bool tls13 = SSL_version(ssl) == TLS1_3_VERSION;

    if (type == SSL3_RT_HEADER) {
        if (tls13 && bytes[0] == TYPE_DATA)
            count->records++;
        else if (!tls13 && bytes[0] == TYPE_CCS)
            count->records = 0; /* the next one is the first under the new keys */
        else if (!tls13)
            count->records++;
    } else if (type == SSL3_RT_HANDSHAKE && bytes[0] == KEY_UPDATE && tls13 && count->secret_len > 0) {
        key_update(t, count);
    }
}

void hr_tls_look_at_output(struct hr_tls *t)
{
    const uint8_t *data;
    uint32_t len = hr_tls_output(t, &data);

    while (len - t->out_seen >= HEADER) {
        const uint8_t *record = data + t->out_seen;
        uint32_t body = (uint32_t)(record[3] << 8 | record[4]);

        if (len - t->out_seen < HEADER + body)
            return;
        t->out_seen += HEADER + body;
        if (record[0] == TYPE_CCS || body < 8)
            continue;
        t->last_nonce = 0;
        for (int i = 0; i < 8; i++)
            t->last_nonce = t->last_nonce << 8 | record[HEADER + i];
        t->wrote_nonce = true;
    }
}

static uint16_t fragment_max(const struct hr_tls *t)
{
    uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get0_session(t->ssl));

    return code >= TLSEXT_max_fragment_length_512 && code <= TLSEXT_max_fragment_length_4096
               ? (uint16_t)(512u << (code - TLSEXT_max_fragment_length_512))
               : HR_TLS_FRAGMENT_MAX;
}

static void direction_13(const struct hr_tls_count *count, struct hr_tls_direction *d)
{
    memcpy(d->traffic_secret, count->secret, count->secret_len);
    d->seq = count->records;
    d->generation = count->generation;
}

static bool directions_12(const struct hr_tls *t, struct hr_tls_secrets *s)
{
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], client[32], server[32];
    uint8_t block[2 * (HR_TLS_KEY_MAX + HR_TLS_FIXED_IV_LEN)];
    size_t key = hr_tls_key_len(s->suite), iv = HR_TLS_FIXED_IV_LEN;
    size_t master_len = SSL_SESSION_get_master_key(SSL_get0_session(t->ssl), master, sizeof(master));
    const EVP_MD *md = handshake_md(t);
    struct hr_tls_direction *by_client = t->server ? &s->read : &s->write;
    struct hr_tls_direction *by_server = t->server ? &s->write : &s->read;
    bool ok = md && t->wrote_nonce && SSL_get_client_random(t->ssl, client, 32) == 32 &&
              SSL_get_server_random(t->ssl, server, 32) == 32 &&
              hr_tls_key_block(md, master, master_len, server, client, block, 2 * (key + iv));

    if (ok) {
        memcpy(by_client->key, block, key);
        memcpy(by_server->key, block + key, key);
        memcpy(by_client->fixed_iv, block + 2 * key, iv);
        memcpy(by_server->fixed_iv, block + 2 * key + iv, iv);
        s->read.seq = t->rd.records;
        s->write.seq = t->wr.records;
        s->write.explicit_nonce = t->last_nonce + 1;
    }
    OPENSSL_cleanse(master, sizeof(master));
    OPENSSL_cleanse(block, sizeof(block));
    return ok;
}

int hr_tls_hand_off(struct hr_tls *t, struct hr_tls_secrets *ret_secrets)
{
    struct hr_tls_secrets s;
    const uint8_t *data;
    bool ok;

    memset(&s, 0, sizeof(s));
    if (t->state != HR_TLS_OPEN)
        return HR_E_INVALID;
    if (hr_tls_output(t, &data) > 0 || hr_tls_pending(t) > 0 || BIO_ctrl_pending(SSL_get_rbio(t->ssl)) > 0)
        return HR_E_BUSY;
    s.version = hr_tls_version(t);
    s.suite = hr_tls_suite(t);
    s.role = t->server ? HR_TLS_SERVER : HR_TLS_CLIENT;
    s.fragment_max = fragment_max(t);
    if (s.version == HR_TLS_1_3) {
        ok = !t->keys_lost && t->rd.secret_len == hr_tls_hash_len(s.suite) && t->rd.secret_len == t->wr.secret_len;
        if (ok) {
            direction_13(&t->rd, &s.read);
            direction_13(&t->wr, &s.write);
        }
    } else {
        ok = !t->keys_lost && s.version == HR_TLS_1_2 && s.suite != HR_TLS_SUITE_NONE && directions_12(t, &s);
    }
    ok = ok && hr_tls_secrets_check(&s) == 0;
    if (ok)
        *ret_secrets = s;
    OPENSSL_cleanse(&s, sizeof(s));
    OPENSSL_cleanse(&t->rd, sizeof(t->rd));
    OPENSSL_cleanse(&t->wr, sizeof(t->wr));
    t->keys_lost = true; /* they are the worker's now */
    return ok ? 0 : HR_E_UNSUPPORTED;
}
