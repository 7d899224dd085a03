#include "controlplane/auth/scram_impl.h"

#include <stdio.h>
#include <stdlib.h>

/* RFC 5802 5.1: "," and "=" in names. */
static int escape_name(const char *user, char *out, size_t cap)
{
    size_t n = 0;

    for (; *user; user++) {
        const char *as = *user == ',' ? "=2C" : *user == '=' ? "=3D" : NULL;

        if (n + 4 > cap)
            return HR_E_TOO_LARGE;
        if (as) {
            memcpy(out + n, as, 3);
            n += 3;
        } else {
            out[n++] = *user;
        }
    }
    out[n] = '\0';
    return 0;
}

int hr_scram_client_first(struct hr_scram_client *client, enum hr_digest hash, const char *user, const char *nonce,
                          char *ret_out, size_t cap, size_t *ret_len)
{
    char name[HR_SCRAM_USER_MAX * 3 + 1];
    int err, n;

    memset(client, 0, sizeof(*client));
    client->hash = hash;
    if (strlen(user) >= HR_SCRAM_USER_MAX || (nonce && strlen(nonce) >= HR_SCRAM_OWN_NONCE))
        return HR_E_TOO_LARGE;
    if (nonce)
        memcpy(client->nonce, nonce, strlen(nonce) + 1);
    else if ((err = hr_scram_new_nonce(client->nonce)))
        return err;
    if ((err = escape_name(user, name, sizeof(name))))
        return err;
    snprintf(client->first_bare, sizeof(client->first_bare), "n=%s,r=%s", name, client->nonce);
    n = snprintf(ret_out, cap, "n,,%s", client->first_bare);
    if ((size_t)n >= cap)
        return HR_E_TOO_LARGE;
    client->step = 1;
    *ret_len = (size_t)n;
    return 0;
}

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_INVALID;
}

/* By the cache when salt and iterations are those of last time. */
static int find_keys(enum hr_digest hash, const char *password, size_t password_len, struct hr_scram_cache *cache,
                     const struct hr_scram_verifier *want, uint8_t client_key[HR_DIGEST_MAX],
                     uint8_t server_key[HR_DIGEST_MAX])
{
    int err;

    if (cache && cache->keys.hash == hash && cache->keys.iterations == want->iterations &&
        cache->keys.salt_len == want->salt_len && memcmp(cache->keys.salt, want->salt, want->salt_len) == 0) {
        memcpy(client_key, cache->keys.stored_key, HR_DIGEST_MAX);
        memcpy(server_key, cache->keys.server_key, HR_DIGEST_MAX);
        return 0;
    }
    err = hr_scram_keys(hash, password, password_len, want->salt, want->salt_len, want->iterations, client_key,
                        server_key);
    if (!err && cache) {
        cache->keys = *want;
        memcpy(cache->keys.stored_key, client_key, HR_DIGEST_MAX);
        memcpy(cache->keys.server_key, server_key, HR_DIGEST_MAX);
    }
    return err;
}

/* What the server's first message says. */
static int parse_server_first(const struct hr_scram_client *client, const uint8_t *msg, size_t len,
                              struct hr_span *ret_nonce, struct hr_scram_verifier *ret, const char **ret_why)
{
    struct hr_scram_cursor c = {(const char *)msg, len};
    struct hr_span salt, iterations;
    size_t salt_len;
    uint32_t count = 0;

    if (hr_scram_take(&c, 'e', &salt))
        return bad(ret_why, "the broker refused the name");
    if (!hr_scram_take(&c, 'r', ret_nonce) || !hr_scram_take(&c, 's', &salt) || !hr_scram_take(&c, 'i', &iterations))
        return bad(ret_why, "the broker's first SCRAM message is malformed");
    if (!hr_scram_nonce_ok(*ret_nonce) || ret_nonce->len <= strlen(client->nonce) ||
        memcmp(ret_nonce->at, client->nonce, strlen(client->nonce)) != 0)
        return bad(ret_why, "the broker's SCRAM nonce does not begin with ours");
    if (hr_base64_decode(salt.at, salt.len, ret->salt, sizeof(ret->salt), &salt_len) != 0 || salt_len == 0)
        return bad(ret_why, "the broker's SCRAM salt is malformed");
    for (size_t i = 0; i < iterations.len; i++) {
        if (iterations.at[i] < '0' || iterations.at[i] > '9' || count > HR_SCRAM_ITERATIONS_MAX)
            return bad(ret_why, "the broker's SCRAM iterations are not within 4096..16384");
        count = count * 10 + (uint32_t)(iterations.at[i] - '0');
    }
    if (count < HR_SCRAM_ITERATIONS_MIN || count > HR_SCRAM_ITERATIONS_MAX)
        return bad(ret_why, "the broker's SCRAM iterations are not within 4096..16384");
    ret->hash = client->hash;
    ret->salt_len = (uint32_t)salt_len;
    ret->iterations = count;
    return 0;
}

int hr_scram_client_final(struct hr_scram_client *client, const char *password, size_t password_len,
                          struct hr_scram_cache *cache, const uint8_t *msg, size_t len, char *ret_out, size_t cap,
                          size_t *ret_len, const char **ret_why)
{
    struct hr_scram_verifier want = {0};
    uint8_t client_key[HR_DIGEST_MAX], server_key[HR_DIGEST_MAX], stored_key[HR_DIGEST_MAX];
    uint8_t signature[HR_DIGEST_MAX];
    char auth[HR_SCRAM_MESSAGE_MAX * 2], without_proof[HR_SCRAM_NONCE_MAX + 16], proof[HR_DIGEST_MAX * 2];
    uint32_t n = hr_digest_len(client->hash);
    struct hr_span nonce;
    int err, written;

    if (client->step != 1 || len > HR_SCRAM_MESSAGE_MAX)
        return bad(ret_why, "a SCRAM message out of order or too long");
    client->step = 2;
    if ((err = parse_server_first(client, msg, len, &nonce, &want, ret_why)))
        return err;
    snprintf(without_proof, sizeof(without_proof), "c=biws,r=%.*s", (int)nonce.len, nonce.at);
    auth[0] = '\0';
    if ((err = hr_scram_append(auth, sizeof(auth), hr_span_of(client->first_bare))) ||
        (err = hr_scram_append(auth, sizeof(auth), hr_span_of(","))) ||
        (err = hr_scram_append(auth, sizeof(auth), (struct hr_span){(const char *)msg, len})) ||
        (err = hr_scram_append(auth, sizeof(auth), hr_span_of(","))) ||
        (err = hr_scram_append(auth, sizeof(auth), hr_span_of(without_proof))))
        return bad(ret_why, "the broker's first SCRAM message is too long");
    *ret_why = "out of memory";
    if ((err = find_keys(client->hash, password, password_len, cache, &want, client_key, server_key)) ||
        (err = hr_digest(client->hash, client_key, n, stored_key)) ||
        (err = hr_hmac(client->hash, stored_key, n, auth, strlen(auth), signature)) ||
        (err = hr_hmac(client->hash, server_key, n, auth, strlen(auth), client->server_signature)))
        goto out;
    for (uint32_t i = 0; i < n; i++)
        signature[i] ^= client_key[i];
    if ((err = hr_base64_encode(signature, n, proof, sizeof(proof))))
        goto out;
    written = snprintf(ret_out, cap, "%s,p=%s", without_proof, proof);
    if ((size_t)written >= cap)
        err = HR_E_TOO_LARGE;
    else
        *ret_len = (size_t)written;
out:
    hr_wipe(client_key, sizeof(client_key));
    hr_wipe(server_key, sizeof(server_key));
    hr_wipe(stored_key, sizeof(stored_key));
    hr_wipe(signature, sizeof(signature));
    hr_wipe(proof, sizeof(proof));
    return err;
}

int hr_scram_client_verify(struct hr_scram_client *client, const uint8_t *msg, size_t len, const char **ret_why)
{
    struct hr_scram_cursor c = {(const char *)msg, len};
    uint8_t signature[HR_DIGEST_MAX];
    struct hr_span value;
    size_t n;

    if (client->step != 2)
        return bad(ret_why, "a SCRAM message out of order");
    client->step = 3;
    if (hr_scram_take(&c, 'e', &value)) {
        *ret_why = "the broker refused the login";
        return HR_E_REFUSED;
    }
    if (!hr_scram_take(&c, 'v', &value) ||
        hr_base64_decode(value.at, value.len, signature, sizeof(signature), &n) != 0)
        return bad(ret_why, "the broker's last SCRAM message is malformed");
    if (n != hr_digest_len(client->hash) || !hr_equal_secret(signature, client->server_signature, n))
        return bad(ret_why, "the broker's SCRAM signature is wrong: it does not know the password");
    return 0;
}

void hr_scram_client_end(struct hr_scram_client *client)
{
    hr_wipe(client, sizeof(*client));
}
