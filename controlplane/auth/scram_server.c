#include "controlplane/auth/scram_impl.h"

#include <stdio.h>

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_INVALID;
}

/* RFC 5802 5.1: "=2C" and "=3D"; every other "=" is an error. */
static int unescape_name(struct hr_span in, char out[HR_SCRAM_USER_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.at[i];

        if (c == '\0')
            return HR_E_INVALID;
        if (c == '=') {
            if (in.len - i < 3)
                return HR_E_INVALID;
            if (memcmp(in.at + i, "=2C", 3) == 0)
                c = ',';
            else if (memcmp(in.at + i, "=3D", 3) != 0)
                return HR_E_INVALID;
            i += 2;
        }
        if (n + 1 >= HR_SCRAM_USER_MAX)
            return HR_E_TOO_LARGE;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0 ? 0 : HR_E_INVALID;
}

/* "n,,", or "n,a=name,": the part before the bare message. */
static int take_gs2(struct hr_scram_server *server, struct hr_scram_cursor *c, char authzid[HR_SCRAM_USER_MAX],
                    const char **ret_why)
{
    const char *start = c->at, *comma;
    struct hr_span name;

    if (c->left < 3)
        return bad(ret_why, "the first SCRAM message is malformed");
    if (c->at[0] == 'p' || c->at[0] == 'y')
        return bad(ret_why, "channel binding is not supported");
    if (c->at[0] != 'n' || c->at[1] != ',')
        return bad(ret_why, "the first SCRAM message is malformed");
    comma = memchr(c->at + 2, ',', c->left - 2);
    if (!comma)
        return bad(ret_why, "the first SCRAM message is malformed");
    name = (struct hr_span){c->at + 2, (size_t)(comma - c->at - 2)};
    authzid[0] = '\0';
    if (name.len > 0 && (name.len < 3 || memcmp(name.at, "a=", 2) != 0 ||
                         unescape_name((struct hr_span){name.at + 2, name.len - 2}, authzid) != 0))
        return bad(ret_why, "the authorization id is malformed");
    c->left -= (size_t)(comma + 1 - c->at);
    c->at = comma + 1;
    if (hr_base64_encode(start, (size_t)(c->at - start), server->gs2_base64, sizeof(server->gs2_base64)) != 0)
        return bad(ret_why, "the first SCRAM message is too long");
    return 0;
}

/* "tokenauth=true" means a delegation token, of which Headrace knows none. Other extensions are ignored, as a broker
 * does. */
static bool has_tokenauth(struct hr_scram_cursor c)
{
    return memmem(c.at, c.left, "tokenauth=", 10) != NULL;
}

int hr_scram_server_first(struct hr_scram_server *server, enum hr_digest hash, hr_scram_lookup_fn *lookup, void *arg,
                          const char *nonce, const uint8_t *msg, size_t len, char *ret_out, size_t cap,
                          size_t *ret_len, const char **ret_why)
{
    struct hr_scram_cursor c = {(const char *)msg, len};
    char authzid[HR_SCRAM_USER_MAX], own[HR_SCRAM_OWN_NONCE], salt[HR_SCRAM_SALT_MAX * 2];
    struct hr_span bare, name, client_nonce;
    int err, n;

    memset(server, 0, sizeof(*server));
    server->hash = hash;
    if (len > HR_SCRAM_MESSAGE_MAX / 2)
        return bad(ret_why, "the first SCRAM message is too long");
    if ((err = take_gs2(server, &c, authzid, ret_why)))
        return err;
    bare = (struct hr_span){c.at, c.left};
    if (memchr(bare.at, '\0', bare.len))
        return bad(ret_why, "the first SCRAM message is malformed");
    if (c.left > 1 && c.at[0] == 'm' && c.at[1] == '=')
        return bad(ret_why, "a mandatory SCRAM extension is not supported");
    if (!hr_scram_take(&c, 'n', &name) || unescape_name(name, server->user) != 0)
        return bad(ret_why, "the user name is malformed");
    if (!hr_scram_take(&c, 'r', &client_nonce) || !hr_scram_nonce_ok(client_nonce))
        return bad(ret_why, "the nonce is malformed");
    if (has_tokenauth(c))
        return bad(ret_why, "delegation tokens are not supported");
    if (authzid[0] && strcmp(authzid, server->user) != 0)
        return bad(ret_why, "the authorization id differs from the user name");

    *ret_why = "out of memory";
    if (!nonce) {
        if ((err = hr_scram_new_nonce(own)))
            return err;
        nonce = own;
    }
    if (client_nonce.len + strlen(nonce) >= sizeof(server->nonce))
        return bad(ret_why, "the nonce is too long");
    snprintf(server->nonce, sizeof(server->nonce), "%.*s%s", (int)client_nonce.len, client_nonce.at, nonce);
    server->known = lookup(arg, server->user, hash, &server->verifier);
    if ((err = hr_base64_encode(server->verifier.salt, server->verifier.salt_len, salt, sizeof(salt))))
        return err;
    n = snprintf(ret_out, cap, "r=%s,s=%s,i=%u", server->nonce, salt, server->verifier.iterations);
    if ((size_t)n >= cap)
        return HR_E_TOO_LARGE;
    if ((err = hr_scram_append(server->auth_message, sizeof(server->auth_message), bare)) ||
        (err = hr_scram_append(server->auth_message, sizeof(server->auth_message), hr_span_of(","))) ||
        (err = hr_scram_append(server->auth_message, sizeof(server->auth_message), hr_span_of(ret_out))))
        return err;
    server->step = 1;
    *ret_len = (size_t)n;
    return 0;
}

/* ClientKey = ClientSignature xor proof must hash to StoredKey (RFC 5802 3). */
static int check_proof(const struct hr_scram_server *server, struct hr_span proof_text)
{
    uint8_t proof[HR_DIGEST_MAX], signature[HR_DIGEST_MAX], hashed[HR_DIGEST_MAX];
    uint32_t n = hr_digest_len(server->hash);
    size_t n_proof;
    bool fits;
    int err;

    if (hr_base64_decode(proof_text.at, proof_text.len, proof, sizeof(proof), &n_proof) != 0 || n_proof != n)
        return HR_E_INVALID;
    if ((err = hr_hmac(server->hash, server->verifier.stored_key, n, server->auth_message,
                       strlen(server->auth_message), signature)))
        return err;
    for (uint32_t i = 0; i < n; i++)
        proof[i] ^= signature[i];
    err = hr_digest(server->hash, proof, n, hashed);
    fits = !err && hr_equal_secret(hashed, server->verifier.stored_key, n);
    hr_wipe(proof, sizeof(proof));
    return err ? err : fits && server->known ? 0 : HR_E_REFUSED;
}

int hr_scram_server_final(struct hr_scram_server *server, const uint8_t *msg, size_t len, char *ret_out, size_t cap,
                          size_t *ret_len, const char **ret_why)
{
    struct hr_scram_cursor c = {(const char *)msg, len};
    uint8_t signature[HR_DIGEST_MAX];
    char text[HR_DIGEST_MAX * 2];
    struct hr_span binding, nonce, proof;
    const char *end;
    int err, n;

    if (server->step != 1 || len > HR_SCRAM_MESSAGE_MAX / 2)
        return bad(ret_why, "a SCRAM message out of order or too long");
    server->step = 2;
    if (!hr_scram_take(&c, 'c', &binding) || !hr_scram_take(&c, 'r', &nonce))
        return bad(ret_why, "the last SCRAM message is malformed");
    /* Extensions may stand between nonce and proof; they are part of what the proof covers. */
    while (c.left > 0 && !(c.at[0] == 'p' && c.left > 1 && c.at[1] == '=')) {
        const char *comma = memchr(c.at, ',', c.left);

        if (!comma)
            return bad(ret_why, "the last SCRAM message has no proof");
        c.left -= (size_t)(comma + 1 - c.at);
        c.at = comma + 1;
    }
    end = c.at - 1;
    if (!hr_scram_take(&c, 'p', &proof) || c.left > 0)
        return bad(ret_why, "the last SCRAM message has no proof");
    if (binding.len != strlen(server->gs2_base64) || memcmp(binding.at, server->gs2_base64, binding.len) != 0)
        return bad(ret_why, "the channel binding does not repeat the first message's");
    if (nonce.len != strlen(server->nonce) || memcmp(nonce.at, server->nonce, nonce.len) != 0)
        return bad(ret_why, "the nonce is not this login's");
    if (memchr(msg, '\0', len) ||
        hr_scram_append(server->auth_message, sizeof(server->auth_message), hr_span_of(",")) != 0 ||
        hr_scram_append(server->auth_message, sizeof(server->auth_message),
                        (struct hr_span){(const char *)msg, (size_t)(end - (const char *)msg)}) != 0)
        return bad(ret_why, "the last SCRAM message is malformed or too long");
    *ret_why = "wrong password, or no such user";
    if ((err = check_proof(server, proof)))
        return err;
    if ((err = hr_hmac(server->hash, server->verifier.server_key, hr_digest_len(server->hash), server->auth_message,
                       strlen(server->auth_message), signature)) ||
        (err = hr_base64_encode(signature, hr_digest_len(server->hash), text, sizeof(text))))
        return err;
    n = snprintf(ret_out, cap, "v=%s", text);
    if ((size_t)n >= cap)
        return HR_E_TOO_LARGE;
    *ret_len = (size_t)n;
    return 0;
}

void hr_scram_server_end(struct hr_scram_server *server)
{
    hr_wipe(server, sizeof(*server));
}
