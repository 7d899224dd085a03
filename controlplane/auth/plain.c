#include "controlplane/auth/plain.h"

#include <string.h>

static int bad(const char **ret_why, const char *why)
{
    *ret_why = why;
    return HR_E_INVALID;
}

int hr_plain_parse(const uint8_t *msg, size_t len, struct hr_plain *ret_plain, const char **ret_why)
{
    const char *authzid = (const char *)msg, *user, *password, *end = authzid + len;
    size_t n_authzid, n_user;

    if (len > 2 * HR_SCRAM_USER_MAX + HR_SCRAM_PASSWORD_MAX)
        return bad(ret_why, "the message is too long");
    user = len > 0 ? memchr(authzid, '\0', len) : NULL;
    password = user ? memchr(user + 1, '\0', (size_t)(end - user - 1)) : NULL;
    if (!password || memchr(password + 1, '\0', (size_t)(end - password - 1)))
        return bad(ret_why, "the message is not authzid NUL user NUL password");
    n_authzid = (size_t)(user++ - authzid);
    n_user = (size_t)(password++ - user);
    if (n_user == 0 || password == end)
        return bad(ret_why, "user or password is empty");
    if (n_user >= HR_SCRAM_USER_MAX || (size_t)(end - password) > HR_SCRAM_PASSWORD_MAX)
        return bad(ret_why, "user or password is too long");
    if (n_authzid > 0 && (n_authzid != n_user || memcmp(authzid, user, n_user) != 0))
        return bad(ret_why, "the authorization id differs from the user name");
    memcpy(ret_plain->user, user, n_user);
    ret_plain->user[n_user] = '\0';
    ret_plain->password = password;
    ret_plain->password_len = (size_t)(end - password);
    return 0;
}

int hr_plain_format(const char *user, const char *password, size_t password_len, char *ret_out, size_t cap,
                    size_t *ret_len)
{
    size_t n_user = strlen(user);

    if (memchr(password, '\0', password_len))
        return HR_E_INVALID;
    if (n_user + password_len + 2 > cap)
        return HR_E_TOO_LARGE;
    ret_out[0] = '\0';
    memcpy(ret_out + 1, user, n_user);
    ret_out[1 + n_user] = '\0';
    memcpy(ret_out + 2 + n_user, password, password_len);
    *ret_len = n_user + password_len + 2;
    return 0;
}

int hr_plain_cache_init(struct hr_plain_cache *cache)
{
    memset(cache, 0, sizeof(*cache));
    return hr_random(cache->key, sizeof(cache->key));
}

/* Lengths are fixed or stand before what they measure, so no two logins give the same bytes. */
static int mac_of(const struct hr_plain_cache *cache, const struct hr_scram_verifier *verifier,
                  const struct hr_plain *plain, uint8_t ret_mac[HR_DIGEST_MAX])
{
    uint8_t text[2 + HR_SCRAM_USER_MAX + HR_DIGEST_MAX + HR_SCRAM_PASSWORD_MAX];
    size_t n_user = strlen(plain->user), n = 0;
    int err;

    text[n++] = (uint8_t)verifier->hash;
    text[n++] = (uint8_t)n_user;
    memcpy(text + n, plain->user, n_user);
    n += n_user;
    memcpy(text + n, verifier->stored_key, HR_DIGEST_MAX);
    n += HR_DIGEST_MAX;
    memcpy(text + n, plain->password, plain->password_len);
    n += plain->password_len;
    err = hr_hmac(HR_SHA256, cache->key, sizeof(cache->key), text, n, ret_mac);
    hr_wipe(text, sizeof(text));
    return err;
}

int hr_plain_check(struct hr_plain_cache *cache, struct hr_attempts *attempts, const struct hr_addr *source,
                   uint64_t now_us, hr_scram_lookup_fn *lookup, void *arg, const struct hr_plain *plain)
{
    struct hr_scram_verifier verifier;
    uint8_t mac[HR_DIGEST_MAX];
    uint32_t place;
    bool known;
    int err;

    known = lookup(arg, plain->user, HR_SHA256, &verifier) || lookup(arg, plain->user, HR_SHA512, &verifier);
    if (!known) /* as costly as most who are known */
        (void)lookup(arg, plain->user, HR_SHA256, &verifier);
    if ((err = mac_of(cache, &verifier, plain, mac)))
        goto out;
    memcpy(&place, mac, sizeof(place));
    place %= HR_PLAIN_CACHE_PLACES;
    if (known && cache->places[place].until_us > now_us && hr_equal_secret(cache->places[place].mac, mac, 32))
        goto out;
    if (!hr_attempts_take(attempts, source, now_us)) {
        err = HR_E_BUSY;
        goto out;
    }
    err = hr_scram_check_password(&verifier, plain->password, plain->password_len);
    if (!err && !known)
        err = HR_E_REFUSED;
    if (!err) {
        memcpy(cache->places[place].mac, mac, 32);
        cache->places[place].until_us = now_us + HR_PLAIN_KEEP_US;
    }
out:
    hr_wipe(&verifier, sizeof(verifier));
    hr_wipe(mac, sizeof(mac));
    return err;
}
