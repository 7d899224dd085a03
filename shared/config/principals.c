/* Identities of clients' own: who the sessions of which principal are to the brokers. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "shared/base/siphash.h"
#include "shared/config/impl.h"

static const struct hr_cfg_groups principals_shape = {
    &hr_cfg_principal_section, HR_CONFIG_MAX_PRINCIPALS,
    "{ principal = \"alice\"; username = \"a\"; secret = { file = \"/path\"; }; }"};

static bool allowed(char c)
{
    return isalnum((unsigned char)c) || (c != '\0' && strchr("_+=,.@-", c) != NULL);
}

void hr_config_session_name(const char *principal, char ret_name[HR_CONFIG_SESSION_NAME_MAX])
{
    static const uint8_t key[16] = {0}; /* no secret: it has to be the same on every instance, after every restart */
    size_t n = strlen(principal), shown = n < 47 ? n : 47;
    bool good = n >= 2 && n < HR_CONFIG_SESSION_NAME_MAX;
    for (size_t i = 0; i < n; i++)
        good &= allowed(principal[i]);
    if (good) {
        memcpy(ret_name, principal, n + 1);
        return;
    }
    for (size_t i = 0; i < shown; i++)
        ret_name[i] = allowed(principal[i]) ? principal[i] : '-';
    snprintf(ret_name + shown, HR_CONFIG_SESSION_NAME_MAX - shown, "-%016llx",
             (unsigned long long)hr_siphash(key, principal, n));
}

void hr_cfg_read_principals(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_cfg_walk principals = hr_cfg_walk(reader, group, "principals", &principals_shape);
    struct hr_config_principal *p = config->principals;
    config_setting_t *one;
    for (; (one = hr_cfg_next(&principals, p)) != NULL; p++) {
        hr_cfg_read_secret(reader, one, &p->secret);
        if (p->principal[0] == '\0')
            hr_cfg_error(reader, one, "needs principal = \"alice\": the client's name, without \"User:\"");
        config->n_principals++;
    }
}

/* Two names that are one session to AWS would be one principal to the brokers. */
static void check_pair(struct hr_cfg_reader *reader, const config_setting_t *at, const struct hr_config_principal *a,
                       const struct hr_config_principal *b)
{
    char names[2][HR_CONFIG_SESSION_NAME_MAX];
    if (strcmp(a->principal, b->principal) == 0) {
        hr_cfg_error(reader, at, "principal %s stands here twice", a->principal);
        return;
    }
    hr_config_session_name(a->principal, names[0]);
    hr_config_session_name(b->principal, names[1]);
    if (a->role_arn[0] != '\0' && strcmp(a->role_arn, b->role_arn) == 0 && strcmp(names[0], names[1]) == 0)
        hr_cfg_error(reader, at, "the session name %s of principal %s is that of %s in the same role: rename one of them",
                     names[1], b->principal, a->principal);
}

static bool known(const struct hr_config *config, const char *principal)
{
    for (uint32_t i = 0; i < config->n_principals; i++) {
        if (strcmp(config->principals[i].principal, principal) == 0)
            return true;
    }
    return false;
}

void hr_cfg_check_principals(struct hr_cfg_reader *reader, const config_setting_t *group, const struct hr_config *config)
{
    const struct hr_config_broker_auth *auth = &config->broker_auth;
    const config_setting_t *list = group != NULL ? config_setting_get_member(group, "principals") : NULL;
    bool password = auth->mechanism == HR_CONFIG_MECH_PLAIN || auth->mechanism == HR_CONFIG_MECH_SCRAM_SHA_256 ||
                    auth->mechanism == HR_CONFIG_MECH_SCRAM_SHA_512;
    bool aws = auth->mechanism == HR_CONFIG_MECH_AWS_MSK_IAM;
    for (uint32_t i = 0; i < config->n_principals; i++) {
        const struct hr_config_principal *p = &config->principals[i];
        const config_setting_t *one = config_setting_get_elem(list, i);
        bool secret = p->secret.file[0] != '\0' || p->secret.n_args > 0, role = p->role_arn[0] != '\0';
        if (!password && !aws)
            hr_cfg_error(reader, one, "needs broker_auth.mechanism PLAIN, SCRAM or AWS_MSK_IAM");
        else if (password && (p->username[0] == '\0' || !secret || role))
            hr_cfg_error(reader, one, "needs username and secret, and nothing else, with this mechanism");
        else if (aws && (!role || p->username[0] != '\0' || secret))
            hr_cfg_error(reader, one, "needs role_arn, and nothing else, with AWS_MSK_IAM");
        else if (aws && auth->aws_region[0] == '\0')
            hr_cfg_error(reader, one, "needs broker_auth.aws_region, whose STS is asked for the role");
        hr_cfg_check_identity_name(reader, config_setting_get_member(one, "username"), p->username);
        hr_cfg_check_identity_name(reader, config_setting_get_member(one, "role_arn"), p->role_arn);
        for (uint32_t j = 0; j < i; j++)
            check_pair(reader, one, &config->principals[j], p);
    }
    if (config->metadata_principal[0] != '\0' && !known(config, config->metadata_principal))
        hr_cfg_error(reader, group, "metadata_principal is none of broker_auth.principals");
    if (config->pacing.broker_type[0] != '\0' && strncmp(config->pacing.broker_type, "kafka.", 6) != 0 &&
        strncmp(config->pacing.broker_type, "express.", 8) != 0)
        hr_cfg_error(reader, group, "broker_type must be a type of MSK's, like \"kafka.t3.small\" or \"kafka.m7g.large\"");
}
