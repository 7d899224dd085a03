/* Keys, and what both roles share. The messages of the roles: scram_client.c, scram_server.c. */
#include "controlplane/auth/scram.h"

#include <string.h>

#include "controlplane/auth/scram_impl.h"

const char *hr_scram_name(enum hr_digest hash)
{
    return hash == HR_SHA512 ? "SCRAM-SHA-512" : "SCRAM-SHA-256";
}

int hr_scram_keys(enum hr_digest hash, const char *password, size_t password_len, const uint8_t *salt,
                  uint32_t salt_len, uint32_t iterations, uint8_t ret_client_key[HR_DIGEST_MAX],
                  uint8_t ret_server_key[HR_DIGEST_MAX])
{
    uint8_t salted[HR_DIGEST_MAX];
    uint32_t n = hr_digest_len(hash);
    int err = hr_pbkdf2(hash, password, password_len, salt, salt_len, iterations, salted);

    if (!err)
        err = hr_hmac(hash, salted, n, "Client Key", 10, ret_client_key);
    if (!err)
        err = hr_hmac(hash, salted, n, "Server Key", 10, ret_server_key);
    hr_wipe(salted, sizeof(salted));
    return err;
}

int hr_scram_derive(enum hr_digest hash, const char *password, size_t password_len, const uint8_t *salt,
                    uint32_t salt_len, uint32_t iterations, struct hr_scram_verifier *ret_verifier)
{
    struct hr_scram_verifier v = {.hash = hash, .iterations = iterations, .salt_len = salt_len};
    uint8_t client_key[HR_DIGEST_MAX];
    int err;

    if (iterations < HR_SCRAM_ITERATIONS_MIN || iterations > HR_SCRAM_ITERATIONS_MAX || salt_len == 0 ||
        salt_len > HR_SCRAM_SALT_MAX || password_len > HR_SCRAM_PASSWORD_MAX)
        return HR_E_INVALID;
    memcpy(v.salt, salt, salt_len);
    err = hr_scram_keys(hash, password, password_len, salt, salt_len, iterations, client_key, v.server_key);
    if (!err)
        err = hr_digest(hash, client_key, hr_digest_len(hash), v.stored_key);
    if (!err)
        *ret_verifier = v;
    hr_wipe(client_key, sizeof(client_key));
    hr_wipe(&v, sizeof(v));
    return err;
}

int hr_scram_decoy(const struct hr_scram_verifier *looks, const uint8_t secret[32], const char *user,
                   struct hr_scram_verifier *ret_verifier)
{
    struct hr_scram_verifier v = {.hash = looks->hash, .iterations = looks->iterations, .salt_len = looks->salt_len};
    uint8_t out[HR_DIGEST_MAX];
    /* A mechanism has a salt of its own, as a user's has; the second step is for salts that are longer than its hash. */
    int err = hr_hmac(looks->hash, secret, 32, user, strlen(user), out);

    _Static_assert(HR_SCRAM_SALT_MAX <= HR_DIGEST_MAX, "one digest of SHA-512 is enough");
    if (err || (err = hr_hmac(HR_SHA512, out, hr_digest_len(looks->hash), user, strlen(user), out)))
        return err;
    memcpy(v.salt, out, v.salt_len);
    /* Keys that follow from no password: nobody can search for one. */
    if ((err = hr_random(v.stored_key, sizeof(v.stored_key))) ||
        (err = hr_random(v.server_key, sizeof(v.server_key))))
        return err;
    *ret_verifier = v;
    return 0;
}

int hr_scram_check_password(const struct hr_scram_verifier *verifier, const char *password, size_t password_len)
{
    struct hr_scram_verifier mine;
    bool fits;
    int err = hr_scram_derive(verifier->hash, password, password_len, verifier->salt, verifier->salt_len,
                              verifier->iterations, &mine);

    if (err)
        return err;
    fits = hr_equal_secret(mine.stored_key, verifier->stored_key, hr_digest_len(verifier->hash));
    hr_wipe(&mine, sizeof(mine));
    return fits ? 0 : HR_E_REFUSED;
}

bool hr_scram_take(struct hr_scram_cursor *c, char key, struct hr_span *ret_value)
{
    const char *end;

    if (c->left < 2 || c->at[0] != key || c->at[1] != '=')
        return false;
    end = memchr(c->at, ',', c->left);
    if (!end)
        end = c->at + c->left;
    *ret_value = (struct hr_span){c->at + 2, (size_t)(end - c->at - 2)};
    c->left -= (size_t)(end - c->at);
    c->at = end;
    if (c->left > 0) {
        c->at++;
        c->left--;
        if (c->left == 0)
            return false; /* a comma and nothing behind it */
    }
    return true;
}

/* Printable characters but the comma (RFC 5802 7). */
bool hr_scram_nonce_ok(struct hr_span s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < 0x21 || s.at[i] > 0x7e || s.at[i] == ',')
            return false;
    }
    return s.len > 0 && s.len < HR_SCRAM_NONCE_MAX;
}

int hr_scram_new_nonce(char ret_nonce[HR_SCRAM_OWN_NONCE])
{
    uint8_t random[18]; /* no padding in base64, hence no character that a nonce may not have */
    int err = hr_random(random, sizeof(random));

    return err ? err : hr_base64_encode(random, sizeof(random), ret_nonce, HR_SCRAM_OWN_NONCE);
}

int hr_scram_append(char *text, size_t cap, struct hr_span more)
{
    size_t n = strlen(text);

    if (more.len >= cap - n)
        return HR_E_TOO_LARGE;
    memcpy(text + n, more.at, more.len);
    text[n + more.len] = '\0';
    return 0;
}
