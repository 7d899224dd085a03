#include "shared/tls/secrets.h"

#include <string.h>

static const uint8_t key_lens[HR_TLS_SUITE_MAX] = {
#define X(name, key, hash, text) [HR_TLS_##name] = key,
    HR_TLS_SUITES(X)
#undef X
};

static const uint8_t hash_lens[HR_TLS_SUITE_MAX] = {
#define X(name, key, hash, text) [HR_TLS_##name] = hash,
    HR_TLS_SUITES(X)
#undef X
};

static const char *const suite_texts[HR_TLS_SUITE_MAX] = {
    [HR_TLS_SUITE_NONE] = "?",
#define X(name, key, hash, text) [HR_TLS_##name] = text,
    HR_TLS_SUITES(X)
#undef X
};

static const char *const version_texts[HR_TLS_VERSION_MAX] = {
    [HR_TLS_VERSION_NONE] = "?",
#define X(name, wire, text) [HR_TLS_##name] = text,
    HR_TLS_VERSIONS(X)
#undef X
};

uint32_t hr_tls_key_len(uint8_t suite)
{
    return suite < HR_TLS_SUITE_MAX ? key_lens[suite] : 0;
}

uint32_t hr_tls_hash_len(uint8_t suite)
{
    return suite < HR_TLS_SUITE_MAX ? hash_lens[suite] : 0;
}

const char *hr_tls_suite_text(uint8_t suite)
{
    return suite_texts[suite < HR_TLS_SUITE_MAX ? suite : HR_TLS_SUITE_NONE];
}

const char *hr_tls_version_text(uint8_t version)
{
    return version_texts[version < HR_TLS_VERSION_MAX ? version : HR_TLS_VERSION_NONE];
}

static bool all_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= p[i];
    return any == 0;
}

static bool direction_ok(const struct hr_tls_secrets *s, const struct hr_tls_direction *d, bool write)
{
    uint32_t key = hr_tls_key_len(s->suite), hash = hr_tls_hash_len(s->suite);

    if (d->reserved != 0 || d->seq == UINT64_MAX)
        return false;
    if (s->version == HR_TLS_1_3)
        return d->explicit_nonce == 0 && all_zero(d->traffic_secret + hash, HR_TLS_SECRET_MAX - hash);
    return d->generation == 0 && (write || d->explicit_nonce == 0) && all_zero(d->key + key, HR_TLS_KEY_MAX - key) &&
           all_zero(d->traffic_secret + HR_TLS_KEY_MAX + HR_TLS_FIXED_IV_LEN,
                    HR_TLS_SECRET_MAX - HR_TLS_KEY_MAX - HR_TLS_FIXED_IV_LEN);
}

int hr_tls_secrets_check(const struct hr_tls_secrets *s)
{
    if (s->version == HR_TLS_VERSION_NONE || s->version >= HR_TLS_VERSION_MAX || s->suite == HR_TLS_SUITE_NONE ||
        s->suite >= HR_TLS_SUITE_MAX || s->role == HR_TLS_ROLE_NONE || s->role >= HR_TLS_ROLE_MAX ||
        s->reserved != 0 || s->reserved2 != 0)
        return HR_E_INVALID;
    if (s->version == HR_TLS_1_2 && s->suite == HR_TLS_CHACHA20_POLY1305_SHA256)
        return HR_E_INVALID; /* not offered: RFC 7905's nonces are not those of AES-GCM */
    if (s->fragment_max < HR_TLS_FRAGMENT_MIN || s->fragment_max > HR_TLS_FRAGMENT_MAX)
        return HR_E_INVALID;
    return direction_ok(s, &s->read, false) && direction_ok(s, &s->write, true) ? 0 : HR_E_INVALID;
}
