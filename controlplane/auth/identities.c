#include "controlplane/auth/identities.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/log.h"
#include "shared/config/config.h"

struct entry {
    char principal[HR_CONFIG_PRINCIPAL_TEXT]; /* "": broker_auth itself, which stands first */
    struct hr_config_broker_auth as;
    struct hr_identity *identity; /* NULL: it could not be made */
};

struct hr_identities {
    struct hr_loop *loop;
    struct hr_http *http;
    void (*changed)(void *owner);
    void *owner;
    uint32_t n; /* 0: brokers are asked without a login */
    struct entry *entries;
    char metadata_principal[HR_CONFIG_PRINCIPAL_TEXT];
};

int hr_identities_create(struct hr_loop *loop, struct hr_http *http, void (*changed)(void *owner), void *owner,
                         struct hr_identities **ret_identities)
{
    struct hr_identities *all = calloc(1, sizeof(*all));

    if (!all)
        return HR_E_NOMEM;
    *all = (struct hr_identities){.loop = loop, .http = http, .changed = changed, .owner = owner};
    *ret_identities = all;
    return 0;
}

static void drop(struct entry *entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        hr_identity_destroy(entries[i].identity);
    free(entries);
}

void hr_identities_destroy(struct hr_identities *all)
{
    if (!all)
        return;
    drop(all->entries, all->n);
    free(all);
}

/* What an entry is made of: broker_auth, and in it what the principal has of its own. */
static void fill(struct entry *e, const struct hr_config *config, const struct hr_config_principal *p)
{
    memset(e, 0, sizeof(*e));
    memcpy(&e->as, &config->broker_auth, sizeof(e->as)); /* the bytes between, too: they are compared */
    if (!p)
        return;
    memcpy(e->principal, p->principal, sizeof(e->principal));
    if (p->role_arn[0]) {
        memcpy(e->as.aws_role_arn, p->role_arn, sizeof(e->as.aws_role_arn));
        memset(e->as.aws_session_name, 0, sizeof(e->as.aws_session_name));
        hr_config_session_name(p->principal, e->as.aws_session_name);
    } else {
        memcpy(e->as.username, p->username, sizeof(e->as.username));
        memcpy(&e->as.secret, &p->secret, sizeof(e->as.secret));
    }
}

/* The identity of before where it is the same, else a new one. */
static void make(struct hr_identities *all, struct entry *e)
{
    int err;

    for (uint32_t i = 0; i < all->n; i++) {
        struct entry *old = &all->entries[i];

        if (old->identity && strcmp(old->principal, e->principal) == 0 && memcmp(&old->as, &e->as, sizeof(e->as)) == 0) {
            e->identity = old->identity;
            old->identity = NULL;
            return;
        }
    }
    err = hr_identity_create(all->loop, all->http, &e->as, all->changed, all->owner, &e->identity);
    if (err)
        hr_log_error("broker_auth%s%s: cannot be taken into use: %s", e->principal[0] ? ".principals: " : "", e->principal,
                     hr_strerror(err));
}

void hr_identities_configure(struct hr_identities *all, const struct hr_config *config)
{
    uint32_t n = config->broker_auth.mechanism != HR_CONFIG_MECH_NONE ? 1 + config->n_principals : 0;
    struct entry *entries = calloc(n + 1, sizeof(*entries));

    if (!entries) {
        hr_log_error("broker_auth: out of memory, it stays what it was");
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        fill(&entries[i], config, i > 0 ? &config->principals[i - 1] : NULL);
        make(all, &entries[i]);
    }
    drop(all->entries, all->n);
    all->entries = entries;
    all->n = n;
    memcpy(all->metadata_principal, config->metadata_principal, sizeof(all->metadata_principal));
}

struct hr_identity *hr_identities_at(const struct hr_identities *all, uint32_t place, const char **ret_principal)
{
    if (place >= all->n)
        return NULL;
    *ret_principal = all->entries[place].principal;
    return all->entries[place].identity;
}

struct hr_identity *hr_identities_shared(const struct hr_identities *all)
{
    return all->n > 0 ? all->entries[0].identity : NULL;
}

struct hr_identity *hr_identities_of(const struct hr_identities *all, const char *principal, uint16_t *ret_index)
{
    for (uint32_t i = 1; i < all->n; i++) {
        if (strcmp(all->entries[i].principal, principal) == 0) {
            *ret_index = (uint16_t)i;
            return all->entries[i].identity;
        }
    }
    return NULL;
}

struct hr_identity *hr_identities_metadata(const struct hr_identities *all)
{
    uint16_t index;

    return all->metadata_principal[0] ? hr_identities_of(all, all->metadata_principal, &index) : hr_identities_shared(all);
}
