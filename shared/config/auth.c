/* The groups "auth" of listeners: whether clients log in to Headrace itself, how, and who may; and what of it goes
 * together with the rest of the configuration. */
#include "shared/config/impl.h"

#include <stdio.h>
#include <string.h>

static const char *const mechanism_names[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM", NULL};
#define SCRAMS (1u << HR_CONFIG_MECH_SCRAM_SHA_256 | 1u << HR_CONFIG_MECH_SCRAM_SHA_512)
#define BY_PASSWORD (1u << HR_CONFIG_MECH_PLAIN | SCRAMS)
#define OAUTH (1u << HR_CONFIG_MECH_OAUTHBEARER)

static void read_mechanisms(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_listener_auth *auth)
{
    uint32_t n;
    int index;
    config_setting_t *list = hr_cfg_list(reader, group, "mechanisms", false, HR_CONFIG_MECH_MAX, &n);
    if (list == NULL)
        return;
    auth->mechanisms = 0;
    for (uint32_t i = 0; i < n; i++) {
        const config_setting_t *one = config_setting_get_elem(list, i);
        if (!hr_cfg_choice(reader, one, mechanism_names, &index))
            continue;
        if (HR_CONFIG_MECH_PLAIN + index == HR_CONFIG_MECH_AWS_MSK_IAM)
            hr_cfg_error(reader, one, "cannot be checked by anybody but AWS, who have the secret: leave such clients to the"
                                      " brokers by mode = \"passthrough\" on a listener of their own");
        else
            auth->mechanisms |= 1u << (HR_CONFIG_MECH_PLAIN + index);
    }
    if (n == 0)
        hr_cfg_error(reader, list, "must not be empty: name what clients log in by, like \"SCRAM-SHA-512\"");
}

/* "User:alice", "User:team-a-*". */
static void read_allow(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_listener_auth *auth)
{
    uint32_t n;
    config_setting_t *list = hr_cfg_list(reader, group, "allow", false, HR_CONFIG_ALLOW_MAX, &n);
    for (uint32_t i = 0; i < n; i++) {
        const config_setting_t *one = config_setting_get_elem(list, i);
        const char *text = hr_cfg_string(reader, one, HR_CONFIG_ALLOW_TEXT), *star;
        if (text == NULL)
            continue;
        star = strchr(text, '*');
        if (strncmp(text, "User:", 5) != 0 || text[5] == '\0' || (star != NULL && star[1] != '\0'))
            hr_cfg_error(reader, one, "must be \"User:\" and a name, or the beginning of names and a \"*\":"
                                      " \"User:team-a-*\"");
        else
            snprintf(auth->allow[auth->n_allow++], HR_CONFIG_ALLOW_TEXT, "%s", text + 5);
    }
}

static void check_path(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key, const char *path)
{
    if (path[0] != '\0' && path[0] != '/')
        hr_cfg_error(reader, hr_cfg_member(reader, group, key, false), "must be an absolute path");
}

/* For those who open the file. */
static uint32_t line_of(const config_setting_t *group, const char *key)
{
    const config_setting_t *setting = config_setting_get_member(group, key);
    return (uint32_t)config_setting_source_line(setting != NULL ? setting : group);
}

/* A key set over HTTP could be anybody's; this very machine is trusted. */
static bool url_ok(const char *url)
{
    return strncmp(url, "https://", 8) == 0 || strncmp(url, "http://127.0.0.1", 16) == 0 ||
           strncmp(url, "http://localhost", 16) == 0;
}

static void read_oauth(struct hr_cfg_reader *reader, const config_setting_t *auth_group, struct hr_config_listener *listener)
{
    struct hr_config_oauth *oauth = &listener->auth.oauth;
    config_setting_t *group = hr_cfg_group(reader, auth_group, "oauth", false, "{ issuer = ...; jwks_url = ...; }");
    if (group == NULL)
        return;
    hr_cfg_read_section(reader, &hr_cfg_listener_oauth_section, group, oauth);
    check_path(reader, group, "jwks_file", oauth->jwks_file);
    check_path(reader, group, "ca", oauth->ca);
    listener->auth_lines.jwks_file = line_of(group, "jwks_file");
    listener->auth_lines.ca = line_of(group, "ca");
    if ((oauth->jwks_url[0] != '\0') == (oauth->jwks_file[0] != '\0'))
        hr_cfg_error(reader, group, "needs either jwks_url or jwks_file: the keys that the issuer signs tokens with");
    if (oauth->jwks_url[0] != '\0' && !url_ok(oauth->jwks_url))
        hr_cfg_error(reader, hr_cfg_member(reader, group, "jwks_url", false),
                     "must begin with https:// (or http://localhost): whoever sends the keys decides who is let in");
    if (oauth->issuer[0] == '\0')
        hr_cfg_error(reader, group, "needs issuer, as tokens name it in \"iss\"");
}

/* The modes that no key shows alone. Errors stand at the key that has to change. */
static void check_group(struct hr_cfg_reader *reader, const config_setting_t *group, const struct hr_config_listener *listener)
{
    const struct hr_config_listener_auth *auth = &listener->auth;
    bool terminates = auth->mode == HR_CONFIG_AUTH_TERMINATE;
    const config_setting_t *mechanisms = config_setting_get_member(group, "mechanisms");
    const config_setting_t *oauth = config_setting_get_member(group, "oauth");
    if (!terminates && mechanisms != NULL)
        hr_cfg_error(reader, mechanisms, "has a meaning with mode = \"terminate\" alone, remove it");
    if (terminates && (auth->mechanisms & OAUTH) != 0 && oauth == NULL)
        hr_cfg_error(reader, mechanisms, "OAUTHBEARER needs a group oauth, whose keys tokens are checked with. MSK's own"
                                         " tokens are no JWTs, and only AWS can check them: mode = \"passthrough\"");
    if (oauth != NULL && (!terminates || (auth->mechanisms & OAUTH) == 0))
        hr_cfg_error(reader, oauth, "has a meaning with mode = \"terminate\" and mechanism OAUTHBEARER alone, remove it");
    if (auth->mode == HR_CONFIG_AUTH_PASSTHROUGH && auth->n_allow > 0 && listener->tls.client_auth == HR_CONFIG_CLIENT_AUTH_NONE)
        hr_cfg_error(reader, hr_cfg_member(reader, group, "allow", false),
                     "nobody's name is known with mode = \"passthrough\": the brokers decide who is let in");
    if (auth->mode == HR_CONFIG_AUTH_PASSTHROUGH && auth->broker_identity != HR_CONFIG_BROKER_IDENTITY_AUTO)
        hr_cfg_error(reader, hr_cfg_member(reader, group, "broker_identity", false),
                     "with mode = \"passthrough\" clients log in to the brokers themselves: sessions cannot log in with"
                     " broker_auth as well. Write mode = \"terminate\", or \"none\"");
    if ((auth->mechanisms & BY_PASSWORD) != 0)
        check_path(reader, group, "users", auth->users);
    if (terminates && (auth->mechanisms & BY_PASSWORD) != 0 && auth->users[0] == '\0')
        hr_cfg_error(reader, hr_cfg_member(reader, group, "users", false), "must not be empty with PLAIN or SCRAM");
}

void hr_cfg_read_listener_auth(struct hr_cfg_reader *reader, const config_setting_t *listener_group,
                               struct hr_config_listener *listener)
{
    struct hr_config_listener_auth *auth = &listener->auth;
    config_setting_t *group = hr_cfg_group(reader, listener_group, "auth", false, "{ mode = ...; ... }");
    if (group != NULL) {
        uint32_t before = reader->errors->n;
        auth->mechanisms = SCRAMS;
        hr_cfg_read_section(reader, &hr_cfg_listener_auth_section, group, listener);
        listener->auth_lines.users = line_of(group, "users");
        read_mechanisms(reader, group, auth);
        read_allow(reader, group, auth);
        read_oauth(reader, group, listener);
        if (reader->errors->n == before)
            check_group(reader, group, listener);
    }
    if (auth->mode != HR_CONFIG_AUTH_TERMINATE)
        auth->mechanisms = 0;
}

/* -- with the rest of the configuration ------------------------------------------------------------------------ */

void hr_cfg_check_listener_auth(struct hr_cfg_reader *reader, const config_setting_t *listener_group,
                                const struct hr_config *config, struct hr_config_listener *listener)
{
    const struct hr_config_listener_auth *auth = &listener->auth;
    const config_setting_t *group = listener_group != NULL ? config_setting_get_member(listener_group, "auth") : NULL;
    bool passes = listener->policy.mode != HR_LISTENER_KAFKA || auth->mode == HR_CONFIG_AUTH_PASSTHROUGH;
    listener->policy.login = !passes && auth->mode == HR_CONFIG_AUTH_TERMINATE;
    listener->policy.broker_login = !passes && config->broker_auth.mechanism != HR_CONFIG_MECH_NONE;
    if (passes)
        return;
    if (auth->broker_identity == HR_CONFIG_BROKER_IDENTITY_SHARED && !listener->policy.broker_login)
        hr_cfg_error(reader, group, "broker_identity = \"shared\" needs broker_auth, which says who that is");
    if (auth->broker_identity == HR_CONFIG_BROKER_IDENTITY_PRINCIPAL && config->n_principals == 0)
        hr_cfg_error(reader, group, "broker_identity = \"principal\" needs broker_auth.principals, which says who each client is");
    if (auth->broker_identity == HR_CONFIG_BROKER_IDENTITY_PRINCIPAL && auth->mode != HR_CONFIG_AUTH_TERMINATE &&
        listener->tls.client_auth == HR_CONFIG_CLIENT_AUTH_NONE)
        hr_cfg_error(reader, group, "broker_identity = \"principal\" needs clients whose names are known: mode = \"terminate\","
                                    " or TLS with client certificates");
    if (listener->policy.broker_login && auth->n_allow == 0 && auth->broker_identity != HR_CONFIG_BROKER_IDENTITY_PRINCIPAL)
        hr_cfg_warn(reader, group, "%s is the one identity \"%s\" to the brokers: give allow = [ \"User:...\" ],"
                                   " or each of them can do whatever it may do",
                    auth->mode == HR_CONFIG_AUTH_TERMINATE ? "every user of this listener" : "everybody who connects here",
                    config->broker_auth.username);
    if ((auth->mechanisms & 1u << HR_CONFIG_MECH_PLAIN) != 0 && !listener->policy.tls)
        hr_cfg_warn(reader, group, "PLAIN without TLS: passwords can be read on the way");
    if ((auth->mechanisms & OAUTH) != 0 && auth->oauth.audience[0] == '\0')
        hr_cfg_warn(reader, group, "oauth without audience: tokens that were made for another service are good here");
}

bool hr_config_has_logins(const struct hr_config *config)
{
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        const struct hr_config_listener *l = &config->listeners[i];
        if (l->policy.login || l->policy.broker_login ||
            (l->policy.tls && l->tls.client_auth != HR_CONFIG_CLIENT_AUTH_NONE))
            return true;
    }
    return false;
}
