#include "controlplane/auth/check.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/auth/jwks.h"
#include "controlplane/auth/secret.h"
#include "controlplane/auth/users.h"

static uint32_t wrong(const struct hr_config *config, uint32_t line, const char *why, struct hr_config_errors *errors)
{
    if (errors->n < HR_CONFIG_MAX_ERRORS)
        snprintf(errors->text[errors->n++], sizeof(errors->text[0]), "%.100s:%u: %.390s", config->path, line, why);
    return 1;
}

static uint32_t check_users(const struct hr_config *config, const struct hr_config_listener *l,
                            struct hr_config_errors *errors)
{
    char why[HR_USERS_WHY_MAX] = "", text[HR_USERS_WHY_MAX + 64];
    struct hr_users *users;
    int err = hr_users_load(l->auth.users, &users, why);

    if (err) {
        snprintf(text, sizeof(text), "%s%s", why,
                 err == HR_E_NOT_FOUND ? ": \"headracectl users add\" creates it" : "");
        return wrong(config, l->auth_lines.users, text, errors);
    }
    hr_users_free(users);
    return 0;
}

static uint32_t check_key_set(const struct hr_config *config, const struct hr_config_listener *l,
                              struct hr_config_errors *errors)
{
    const char *path = l->auth.oauth.jwks_file;
    char why[HR_JWKS_WHY_MAX] = "", text[HR_JWKS_WHY_MAX + HR_CONFIG_PATH_MAX + 8];
    struct hr_jwks *keys;

    if (hr_jwks_load(path, &keys, why) == 0) {
        hr_jwks_free(keys);
        return 0;
    }
    snprintf(text, sizeof(text), "%s: %s", path, why);
    return wrong(config, l->auth_lines.jwks_file, text, errors);
}

static uint32_t check_ca(const struct hr_config *config, const struct hr_config_listener *l, struct hr_config_errors *errors)
{
    const struct hr_config_oauth *oauth = &l->auth.oauth;
    char text[HR_CONFIG_PATH_MAX + 64];
    X509_STORE *store = X509_STORE_new();
    bool good = store && X509_STORE_load_file(store, oauth->ca) == 1;

    X509_STORE_free(store);
    ERR_clear_error();
    if (good)
        return 0;
    snprintf(text, sizeof(text), "%s: cannot be opened, or holds no certificate (PEM)", oauth->ca);
    return wrong(config, l->auth_lines.ca, text, errors);
}

uint32_t hr_auth_check(const struct hr_config *config, struct hr_config_errors *errors)
{
    const struct hr_config_broker_auth *broker = &config->broker_auth;
    char why[HR_SECRET_WHY_MAX];
    uint32_t n = 0;

    if (broker->mechanism != HR_CONFIG_MECH_NONE && hr_secret_check(&broker->secret, why) != 0)
        n += wrong(config, broker->secret.line, why, errors);
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_config_listener *l = &config->listeners[i];
        const struct hr_config_oauth *oauth = &l->auth.oauth;

        if (l->auth.mode != HR_CONFIG_AUTH_TERMINATE)
            continue;
        if (l->auth.mechanisms & ~(1u << HR_CONFIG_MECH_OAUTHBEARER))
            n += check_users(config, l, errors);
        if (!(l->auth.mechanisms & 1u << HR_CONFIG_MECH_OAUTHBEARER))
            continue;
        if (oauth->jwks_file[0])
            n += check_key_set(config, l, errors);
        if (oauth->ca[0])
            n += check_ca(config, l, errors);
    }
    return n;
}
