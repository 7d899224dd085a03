#include "controlplane/auth/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/auth/credentials.h"
#include "controlplane/auth/iam.h"
#include "controlplane/auth/secret.h"
#include "controlplane/auth/token.h"
#include "controlplane/loop/loop.h"

/* The configuration is read without this folder: its lists have the same order. */
_Static_assert((int)HR_CONFIG_MECH_PLAIN == (int)HR_MECH_PLAIN &&
                   (int)HR_CONFIG_MECH_AWS_MSK_IAM == (int)HR_MECH_AWS_MSK_IAM &&
                   (int)HR_CONFIG_MECH_MAX == (int)HR_MECHANISM_MAX, "mechanisms");
_Static_assert((int)HR_CONFIG_AWS_DEFAULT == (int)HR_AWS_DEFAULT &&
                   (int)HR_CONFIG_AWS_INSTANCE == (int)HR_AWS_INSTANCE &&
                   (int)HR_CONFIG_AWS_MAX == (int)HR_AWS_SOURCE_MAX, "sources of AWS credentials");

struct hr_identity {
    struct hr_loop *loop;
    struct hr_config_broker_auth config;
    void (*changed)(void *owner);
    void *owner;
    uint32_t refs;
    struct hr_secret *secret;           /* PLAIN, SCRAM, OAUTHBEARER with a token */
    struct hr_token *token;             /* OAUTHBEARER by client credentials: the secret is the client's */
    struct hr_credentials *credentials; /* AWS_MSK_IAM, OAUTHBEARER with MSK's token */
    struct hr_scram_cache cache;
    uint64_t cache_generation; /* of the secret that the cache's keys are made of */
    uint64_t logins, refused;
};

static void on_changed(void *owner)
{
    struct hr_identity *identity = owner;

    if (identity->changed)
        identity->changed(identity->owner);
}

static bool uses_aws(const struct hr_config_broker_auth *config)
{
    return config->mechanism == HR_CONFIG_MECH_AWS_MSK_IAM ||
           (config->mechanism == HR_CONFIG_MECH_OAUTHBEARER && !config->token_url[0] && !config->secret.file[0] &&
            config->secret.n_args == 0);
}

static int create_credentials(struct hr_identity *identity, struct hr_http *http)
{
    const struct hr_config_broker_auth *config = &identity->config;
    struct hr_aws_config aws = {.source = (enum hr_aws_source)config->aws_credentials};

    /* Its sizes are those of the configuration, or larger. */
    snprintf(aws.region, sizeof(aws.region), "%s", config->aws_region);
    snprintf(aws.file, sizeof(aws.file), "%s", config->aws_file);
    snprintf(aws.profile, sizeof(aws.profile), "%s", config->aws_profile);
    snprintf(aws.role_arn, sizeof(aws.role_arn), "%s", config->aws_role_arn);
    snprintf(aws.session_name, sizeof(aws.session_name), "%s", config->aws_session_name);
    snprintf(aws.external_id, sizeof(aws.external_id), "%s", config->aws_external_id);
    return hr_credentials_create(identity->loop, http, &hr_aws_real_world, &aws, on_changed, identity,
                                 &identity->credentials);
}

int hr_identity_create(struct hr_loop *loop, struct hr_http *http, const struct hr_config_broker_auth *config,
                       void (*changed)(void *owner), void *owner, struct hr_identity **ret_identity)
{
    struct hr_identity *identity = calloc(1, sizeof(*identity));
    int err;

    if (!identity)
        return HR_E_NOMEM;
    identity->refs = 1;
    identity->loop = loop;
    identity->config = *config;
    identity->changed = changed;
    identity->owner = owner;
    if (uses_aws(config))
        err = create_credentials(identity, http);
    else
        err = hr_secret_create(loop, &config->secret, on_changed, identity, &identity->secret);
    if (!err && config->token_url[0] && config->mechanism == HR_CONFIG_MECH_OAUTHBEARER)
        err = hr_token_create(loop, http, config->token_url, config->username, config->token_scope, identity->secret,
                              on_changed, identity, &identity->token);
    if (err)
        hr_identity_destroy(identity);
    else
        *ret_identity = identity;
    return err;
}

struct hr_identity *hr_identity_ref(struct hr_identity *identity)
{
    identity->refs++;
    return identity;
}

void hr_identity_destroy(struct hr_identity *identity)
{
    if (identity)
        identity->changed = NULL;
    hr_identity_release(identity);
}

void hr_identity_release(struct hr_identity *identity)
{
    if (!identity || --identity->refs > 0)
        return;
    hr_token_destroy(identity->token);
    hr_secret_destroy(identity->secret);
    hr_credentials_destroy(identity->credentials);
    hr_wipe(identity, sizeof(*identity));
    free(identity);
}

/* Region and keys for AWS's mechanisms. */
static int with_keys(struct hr_identity *identity, const char *host, struct hr_login_with *with,
                     char region[HR_AWS_REGION_MAX], char why[HR_LOGIN_WHY_MAX])
{
    struct hr_credentials_info info;

    if (identity->config.aws_region[0]) {
        snprintf(region, HR_AWS_REGION_MAX, "%s", identity->config.aws_region);
    } else if (!hr_iam_region(host, region)) {
        snprintf(why, HR_LOGIN_WHY_MAX, "%.120s does not tell its region: set broker_auth.aws_region", host);
        return HR_E_CONFIG;
    }
    with->region = region;
    with->keys = hr_credentials_get(identity->credentials);
    if (with->keys)
        return 0;
    hr_credentials_get_info(identity->credentials, &info);
    snprintf(why, HR_LOGIN_WHY_MAX, "there are no AWS credentials (%s)%s%.220s", hr_aws_source_name(info.source),
             info.error[0] ? ": " : " yet", info.error);
    return HR_E_AGAIN;
}

int hr_identity_login(struct hr_identity *identity, const char *host, struct hr_login **ret_login,
                      char why[HR_LOGIN_WHY_MAX])
{
    struct hr_login_with with = {.mechanism = (enum hr_mechanism)identity->config.mechanism,
                                 .user = identity->config.username,
                                 .cache = &identity->cache,
                                 .host = host,
                                 .now_s = time(NULL),
                                 .client_id = "headrace",
                                 .correlation_id = 1};
    char region[HR_AWS_REGION_MAX], secret_why[HR_SECRET_WHY_MAX] = "";
    int err;

    if (identity->token) {
        if ((err = hr_token_get(identity->token, &with.secret, &with.secret_len, secret_why))) {
            snprintf(why, HR_LOGIN_WHY_MAX, "%.280s", secret_why);
            return err;
        }
    } else if (identity->credentials) {
        if ((err = with_keys(identity, host, &with, region, why)))
            return err;
    } else if ((err = hr_secret_get(identity->secret, &with.secret, &with.secret_len, secret_why))) {
        snprintf(why, HR_LOGIN_WHY_MAX, "broker_auth.secret: %.280s", secret_why);
        return err;
    } else if (hr_secret_generation(identity->secret) != identity->cache_generation) {
        hr_wipe(&identity->cache, sizeof(identity->cache));
        identity->cache_generation = hr_secret_generation(identity->secret);
    }
    err = hr_login_create(&with, ret_login);
    if (err)
        snprintf(why, HR_LOGIN_WHY_MAX, "the login cannot be made: %s", hr_strerror(err));
    else
        identity->logins++;
    return err;
}

void hr_identity_refused(struct hr_identity *identity)
{
    identity->refused++;
    /* Keys of a password that may have changed. */
    hr_wipe(&identity->cache, sizeof(identity->cache));
    if (identity->token)
        hr_token_doubt(identity->token);
    else if (identity->secret)
        hr_secret_doubt(identity->secret);
}

void hr_identity_get_info(const struct hr_identity *identity, struct hr_identity_info *ret_info)
{
    struct hr_credentials_info info;

    *ret_info = (struct hr_identity_info){.mechanism = (enum hr_mechanism)identity->config.mechanism,
                                          .name = identity->config.username,
                                          .source = identity->config.secret.file[0] ? "file" : "command",
                                          .logins = identity->logins,
                                          .refused = identity->refused,
                                          .session = identity->config.aws_session_name,
                                          .error = ""};
    if (!identity->credentials)
        return;
    hr_credentials_get_info(identity->credentials, &info);
    ret_info->name = identity->config.aws_role_arn;
    ret_info->source = hr_aws_source_name(info.source);
    ret_info->expires_s = info.expires_s;
    ret_info->error = info.error;
}
