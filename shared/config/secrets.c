/* What the configuration says of secrets: where they are, never what they are; and the checks of broker_auth. */
#include "shared/config/impl.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "shared/ipc/login.h"

static bool path_ok(struct hr_cfg_reader *reader, const config_setting_t *setting, const char *path)
{
    if (path[0] != '/')
        hr_cfg_error(reader, setting, "must be an absolute path");
    return path[0] == '/';
}

void hr_cfg_read_secret(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_secret *ret_secret)
{
    config_setting_t *setting = hr_cfg_member(reader, group, "secret", false), *file, *exec;
    struct hr_config_secret secret = {0};
    const char *text;
    uint32_t n;
    if (setting == NULL)
        return;
    if (!config_setting_is_group(setting)) {
        hr_cfg_error(reader, NULL, "broker_auth.secret (line %u) must be { file = \"...\"; } or { exec = [ \"...\" ]; }: "
                                   "a secret itself does not belong into this file", config_setting_source_line(setting));
        return;
    }
    hr_cfg_read_section(reader, HR_CFG_BY_HAND("file", "exec"), setting, NULL);
    file = hr_cfg_member(reader, setting, "file", false);
    exec = hr_cfg_list(reader, setting, "exec", false, HR_CONFIG_SECRET_ARGS, &n);
    if ((file != NULL) == (exec != NULL)) {
        hr_cfg_error(reader, setting, "needs either file or exec");
        return;
    }
    if (file != NULL) {
        text = hr_cfg_string(reader, file, sizeof(secret.file));
        if (text == NULL || !path_ok(reader, file, text))
            return;
        snprintf(secret.file, sizeof(secret.file), "%s", text);
    }
    for (uint32_t i = 0; exec != NULL && i < n; i++) {
        const config_setting_t *arg = config_setting_get_elem(exec, i);
        text = hr_cfg_string(reader, arg, sizeof(secret.args[0]));
        if (text == NULL || (i == 0 && !path_ok(reader, arg, text)))
            return;
        snprintf(secret.args[secret.n_args++], sizeof(secret.args[0]), "%s", text);
    }
    secret.line = (uint32_t)config_setting_source_line(file != NULL ? file : exec);
    if (exec != NULL && secret.n_args == 0)
        hr_cfg_error(reader, exec, "must not be empty");
    else
        *ret_secret = secret;
}

static bool session_name_ok(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && strchr("_+=,.@-", name[i]) == NULL)
            return false;
    }
    return n == 0 || n >= 2;
}

void hr_cfg_check_identity_name(struct hr_cfg_reader *reader, const config_setting_t *setting, const char *name)
{
    if (strlen(name) >= HR_IDENTITY_NAME_MAX)
        hr_cfg_error(reader, setting, "may have at most %d bytes: sessions are told apart by it", HR_IDENTITY_NAME_MAX - 1);
}

/* The key's setting, or the group where it is missing. */
static const config_setting_t *at(const config_setting_t *group, const char *key)
{
    const config_setting_t *setting = group != NULL ? config_setting_get_member(group, key) : NULL;
    return setting != NULL ? setting : group;
}

void hr_cfg_check_broker_auth(struct hr_cfg_reader *reader, const config_setting_t *group,
                              const struct hr_config_broker_auth *auth)
{
    bool secret = auth->secret.file[0] != '\0' || auth->secret.n_args > 0;
    bool client = auth->mechanism == HR_CONFIG_MECH_OAUTHBEARER && auth->token_url[0] != '\0';
    bool named = client || auth->mechanism == HR_CONFIG_MECH_PLAIN || auth->mechanism == HR_CONFIG_MECH_SCRAM_SHA_256 ||
                 auth->mechanism == HR_CONFIG_MECH_SCRAM_SHA_512;
    if (named && auth->username[0] == '\0')
        hr_cfg_error(reader, at(group, "username"), "this mechanism needs a username");
    hr_cfg_check_identity_name(reader, at(group, "username"), auth->username);
    hr_cfg_check_identity_name(reader, at(group, "aws_role_arn"), auth->aws_role_arn);
    if (named && !secret)
        hr_cfg_error(reader, at(group, "secret"), "this mechanism needs a secret: { file = \"/path\"; }");
    if (!named && auth->mechanism != HR_CONFIG_MECH_NONE && auth->username[0] != '\0')
        hr_cfg_error(reader, at(group, "username"), "has no meaning with this mechanism, remove it");
    if (auth->mechanism == HR_CONFIG_MECH_AWS_MSK_IAM && secret)
        hr_cfg_error(reader, at(group, "secret"), "has no meaning with AWS_MSK_IAM, whose credentials are AWS's");
    if (auth->mechanism == HR_CONFIG_MECH_OAUTHBEARER && !secret && auth->aws_region[0] == '\0')
        hr_cfg_error(reader, at(group, "mechanism"), "needs a secret (the token), or aws_region for MSK's own tokens");
    if (auth->token_url[0] != '\0' && strncmp(auth->token_url, "https://", 8) != 0)
        hr_cfg_error(reader, at(group, "token_url"), "must begin with https://: the client's secret is sent there");
    if (auth->token_url[0] != '\0' && !client && auth->mechanism != HR_CONFIG_MECH_NONE)
        hr_cfg_error(reader, at(group, "token_url"), "has a meaning with OAUTHBEARER alone, remove it");
    if (auth->aws_role_arn[0] != '\0' && auth->aws_region[0] == '\0')
        hr_cfg_error(reader, at(group, "aws_role_arn"), "needs aws_region, whose STS is asked for the role");
    if (!session_name_ok(auth->aws_session_name))
        hr_cfg_error(reader, at(group, "aws_session_name"), "must be 2 to 64 letters, digits and _+=,.@-");
}
