#include "controlplane/auth/realm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "controlplane/auth/jwks.h"
#include "controlplane/auth/sasl_frame.h"
#include "controlplane/auth/users.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/config/config.h"
#include "shared/kafka/schema.h"

#define APIS_MAX          128
#define API_VERSIONS_LAST 4 /* later ones name a cluster and a node: a login is to none in particular */
#define REFETCH_US        (10 * HR_US_PER_S)
#define KEEP_KEYS_US      (24 * 3600 * HR_US_PER_S)
#define FETCH_TIMEOUT_MS  10000

/* A watched file; several realms may name it. */
struct file {
    struct file *next;
    struct hr_user_store *store;
    uint32_t refs;
    char path[HR_CONFIG_PATH_MAX];
};

struct hr_realm {
    struct hr_realm *next; /* among those in force */
    struct hr_realms *realms;
    uint32_t refs;
    char name[HR_POLICY_NAME_MAX];
    struct hr_config_listener_auth auth;
    struct hr_sasl_realm sasl;
    struct file *users;           /* NULL: none by password */
    struct hr_jwks_source *keys;  /* NULL: no tokens */
    struct hr_jwt_rules rules;
    char scopes[HR_CONFIG_TEXT_MAX]; /* what rules point into */
    struct hr_attempts attempts;
    struct hr_plain_cache plain;
};

struct hr_realms {
    struct hr_loop *loop;
    struct hr_http *http;
    struct hr_realm *first;
    struct file *files;
    struct hr_sasl_api apis[APIS_MAX];
    uint32_t n_apis;
};

/* -- what clients may do ---------------------------------------------------------------------------------- */

/* Headrace's own part in it. */
static struct hr_sasl_api as_ours(struct hr_sasl_api api)
{
    if (api.key == HR_KAPI_API_VERSIONS && api.max > API_VERSIONS_LAST)
        api.max = API_VERSIONS_LAST;
    return api;
}

static void default_apis(struct hr_realms *realms)
{
    for (uint16_t i = 0; i < hr_kapis_n && realms->n_apis < APIS_MAX; i++) {
        const struct hr_kapi *api = &hr_kapis[i];

        if (api->latest_stable.min <= api->latest_stable.max)
            realms->apis[realms->n_apis++] =
                as_ours((struct hr_sasl_api){api->key, api->latest_stable.min, api->latest_stable.max});
    }
}

void hr_realms_set_apis(struct hr_realms *realms, const struct hr_sasl_api *apis, uint32_t n)
{
    /* These are answered here, whatever brokers know. */
    static const struct hr_sasl_api ours[] = {
        {HR_KAPI_SASL_HANDSHAKE, 0, 1},
        {HR_KAPI_API_VERSIONS, 0, API_VERSIONS_LAST},
        {HR_KAPI_SASL_AUTHENTICATE, 0, 2},
    };

    memcpy(realms->apis, ours, sizeof(ours));
    realms->n_apis = sizeof(ours) / sizeof(ours[0]);
    for (uint32_t i = 0; i < n && realms->n_apis < APIS_MAX; i++) {
        if (apis[i].key != HR_KAPI_SASL_HANDSHAKE && apis[i].key != HR_KAPI_API_VERSIONS &&
            apis[i].key != HR_KAPI_SASL_AUTHENTICATE)
            realms->apis[realms->n_apis++] = apis[i];
    }
    for (struct hr_realm *realm = realms->first; realm; realm = realm->next)
        realm->sasl.n_apis = realms->n_apis;
}

/* -- files of users --------------------------------------------------------------------------------------- */

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    const struct file *file = arg;

    return hr_users_lookup(hr_user_store_users(file->store), user, hash, ret);
}

static int file_get(struct hr_realms *realms, const char *path, struct file **ret_file)
{
    struct file *file;
    int err;

    for (file = realms->files; file; file = file->next) {
        if (strcmp(file->path, path) == 0) {
            file->refs++;
            *ret_file = file;
            return 0;
        }
    }
    if (!(file = calloc(1, sizeof(*file))))
        return HR_E_NOMEM;
    snprintf(file->path, sizeof(file->path), "%s", path);
    file->refs = 1;
    if ((err = hr_user_store_create(realms->loop, path, NULL, NULL, &file->store)) != 0) {
        free(file);
        return err;
    }
    file->next = realms->files;
    realms->files = file;
    *ret_file = file;
    return 0;
}

static void file_put(struct hr_realms *realms, struct file *file)
{
    struct file **at;

    if (!file || --file->refs > 0)
        return;
    for (at = &realms->files; *at != file;)
        at = &(*at)->next;
    *at = file->next;
    hr_user_store_destroy(file->store);
    free(file);
}

void hr_realms_look(struct hr_realms *realms)
{
    for (struct file *file = realms->files; file; file = file->next)
        hr_user_store_look(file->store);
}

/* -- a realm ---------------------------------------------------------------------------------------------- */

static bool allowed(void *arg, const char *principal)
{
    return hr_realm_allows(arg, principal);
}

bool hr_realm_allows(const struct hr_realm *realm, const char *principal)
{
    for (uint32_t i = 0; i < realm->auth.n_allow; i++) {
        const char *pattern = realm->auth.allow[i];
        size_t n = strcspn(pattern, "*");

        if (pattern[n] == '*' ? strncmp(pattern, principal, n) == 0 : strcmp(pattern, principal) == 0)
            return true;
    }
    return realm->auth.n_allow == 0;
}

static const char *text_or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static int begin_oauth(struct hr_realm *realm)
{
    const struct hr_config_oauth *oauth = &realm->auth.oauth;
    const struct hr_jwks_config config = {.url = text_or_null(oauth->jwks_url),
                                          .file = text_or_null(oauth->jwks_file),
                                          .ca_file = text_or_null(oauth->ca),
                                          .refresh_us = oauth->refresh_s * HR_US_PER_S,
                                          .refetch_us = REFETCH_US,
                                          .keep_us = KEEP_KEYS_US,
                                          .timeout_ms = FETCH_TIMEOUT_MS};
    char *save = NULL;
    uint32_t n = 0;

    realm->rules = (struct hr_jwt_rules){.issuer = text_or_null(oauth->issuer),
                                         .audience = text_or_null(oauth->audience),
                                         .principal_claim = text_or_null(oauth->principal_claim),
                                         .skew_s = oauth->clock_skew_s};
    snprintf(realm->scopes, sizeof(realm->scopes), "%s", oauth->scope);
    for (char *scope = strtok_r(realm->scopes, " ", &save); scope && n < HR_JWT_SCOPES; scope = strtok_r(NULL, " ", &save))
        realm->rules.scopes[n++] = scope;
    realm->sasl.rules = &realm->rules;
    if (hr_jwks_source_create(realm->realms->loop, realm->realms->http, &config, &realm->keys) != 0)
        return HR_E_NOMEM;
    realm->sasl.keys = realm->keys;
    return 0;
}

static int realm_create(struct hr_realms *realms, const struct hr_config_listener *listener, struct hr_realm **ret_realm)
{
    const uint32_t by_password = 1u << HR_MECH_PLAIN | 1u << HR_MECH_SCRAM_SHA_256 | 1u << HR_MECH_SCRAM_SHA_512;
    struct hr_realm *realm = calloc(1, sizeof(*realm));
    int err = HR_E_NOMEM;

    if (!realm)
        return HR_E_NOMEM;
    realm->realms = realms;
    realm->refs = 1;
    realm->auth = listener->auth;
    snprintf(realm->name, sizeof(realm->name), "%s", listener->policy.name);
    realm->attempts.burst = listener->auth.attempts_per_minute;
    realm->attempts.refill_us = 60 * HR_US_PER_S / listener->auth.attempts_per_minute;
    realm->sasl = (struct hr_sasl_realm){.mechanisms = listener->auth.mechanisms,
                                         .lookup = lookup,
                                         .plain = &realm->plain,
                                         .attempts = &realm->attempts,
                                         .lifetime_ms = listener->auth.session_lifetime_s * 1000ULL,
                                         .apis = realms->apis,
                                         .n_apis = realms->n_apis,
                                         .allowed = allowed,
                                         .allowed_arg = realm};
    if (getrandom(realm->attempts.key, sizeof(realm->attempts.key), 0) != sizeof(realm->attempts.key) ||
        (err = hr_plain_cache_init(&realm->plain)) != 0)
        goto out;
    if ((realm->auth.mechanisms & by_password) != 0 &&
        (err = file_get(realms, realm->auth.users, &realm->users)) != 0)
        goto out;
    realm->sasl.lookup_arg = realm->users;
    if ((realm->auth.mechanisms & 1u << HR_MECH_OAUTHBEARER) != 0 && (err = begin_oauth(realm)) != 0)
        goto out;
    *ret_realm = realm;
    return 0;
out:
    hr_realm_unref(realm);
    return err;
}

struct hr_realm *hr_realm_ref(struct hr_realm *realm)
{
    realm->refs++;
    return realm;
}

void hr_realm_unref(struct hr_realm *realm)
{
    if (!realm || --realm->refs > 0)
        return;
    hr_jwks_source_destroy(realm->keys);
    file_put(realm->realms, realm->users);
    hr_wipe(realm, sizeof(*realm));
    free(realm);
}

const struct hr_sasl_realm *hr_realm_sasl(const struct hr_realm *realm)
{
    return &realm->sasl;
}

const char *hr_realm_trouble(const struct hr_realm *realm)
{
    struct hr_jwks_info info;

    if (realm->users && hr_user_store_error(realm->users->store)[0])
        return hr_user_store_error(realm->users->store);
    if (!realm->keys)
        return "";
    hr_jwks_source_get_info(realm->keys, &info);
    return info.error;
}

/* -- all of them ------------------------------------------------------------------------------------------ */

int hr_realms_create(struct hr_loop *loop, struct hr_http *http, struct hr_realms **ret_realms)
{
    struct hr_realms *realms = calloc(1, sizeof(*realms));

    if (!realms)
        return HR_E_NOMEM;
    realms->loop = loop;
    realms->http = http;
    default_apis(realms);
    *ret_realms = realms;
    return 0;
}

static void unref_list(struct hr_realm *first)
{
    while (first) {
        struct hr_realm *next = first->next;

        hr_realm_unref(first);
        first = next;
    }
}

void hr_realms_destroy(struct hr_realms *realms)
{
    if (!realms)
        return;
    unref_list(realms->first);
    free(realms);
}

struct hr_realm *hr_realms_find(const struct hr_realms *realms, const char *listener)
{
    for (struct hr_realm *realm = realms->first; realm; realm = realm->next) {
        if (strcmp(realm->name, listener) == 0)
            return realm;
    }
    return NULL;
}

static bool asks(const struct hr_config_listener *listener)
{
    return listener->policy.mode == HR_LISTENER_KAFKA &&
           (listener->auth.mode == HR_CONFIG_AUTH_TERMINATE || listener->auth.mode == HR_CONFIG_AUTH_OPEN ||
            listener->auth.n_allow > 0);
}

void hr_realms_configure(struct hr_realms *realms, const struct hr_config *config)
{
    struct hr_realm *before = realms->first, *fresh = NULL;

    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_config_listener *listener = &config->listeners[i];
        struct hr_realm *realm = asks(listener) ? hr_realms_find(realms, listener->policy.name) : NULL;
        int err;

        if (!asks(listener))
            continue;
        if (realm && memcmp(&realm->auth, &listener->auth, sizeof(realm->auth)) == 0) {
            struct hr_realm **at = &realms->first;

            while (*at != realm)
                at = &(*at)->next;
            *at = realm->next;
            before = realms->first;
        } else if ((err = realm_create(realms, listener, &realm)) != 0) {
            /* Its clients are refused: rules of before must not let them in. */
            hr_log_error("listener %s: its users cannot be known: %s", listener->policy.name, hr_strerror(err));
            continue;
        }
        realm->next = fresh;
        fresh = realm;
    }
    realms->first = fresh;
    unref_list(before);
}
