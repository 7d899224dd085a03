/* The groups "tls". Files are named here and opened elsewhere, by the control plane (controlplane/tls/check.h): the
 * dataplane reads the same configuration and must not see a key. So that what is wrong with a file can still be said
 * with the line that names it, the line is kept. */
#include <stdio.h>
#include <string.h>

#include "shared/config/impl.h"

/* An absolute path; "" for none where that is allowed. */
static void read_file_name(struct hr_cfg_reader *reader, const config_setting_t *setting, bool required,
                           struct hr_config_file *ret_file)
{
    const char *path = setting != NULL ? hr_cfg_string(reader, setting, sizeof(ret_file->path)) : NULL;
    if (path == NULL)
        return;
    if (path[0] == '\0' ? required : path[0] != '/') {
        hr_cfg_error(reader, setting, "must be an absolute path like \"/etc/headrace/tls/name.pem\"");
        return;
    }
    snprintf(ret_file->path, sizeof(ret_file->path), "%s", path);
    ret_file->line = (uint32_t)config_setting_source_line(setting);
}

static const struct hr_cfg_groups certificates_shape = {
    HR_CFG_BY_HAND("chain", "key"), HR_CONFIG_MAX_CERTS,
    "{ chain = \"/etc/headrace/tls/kafka.crt\"; key = \"/etc/headrace/tls/kafka.key\"; }"};

static config_setting_t *tls_group(struct hr_cfg_reader *reader, const config_setting_t *parent)
{
    return parent != NULL ? hr_cfg_group(reader, parent, "tls", false, "{ enabled = true; ... }") : NULL;
}

void hr_cfg_read_cluster_tls(struct hr_cfg_reader *reader, const config_setting_t *cluster, struct hr_config *config)
{
    struct hr_config_cluster_tls *tls = &config->cluster.tls;
    hr_cfg_set_defaults(&hr_cfg_cluster_tls_section, config);
    config_setting_t *group = tls_group(reader, cluster);
    if (group == NULL)
        return;
    hr_cfg_read_section(reader, &hr_cfg_cluster_tls_section, group, config);
    config_setting_t *certificate = hr_cfg_member(reader, group, "certificate", false);
    config_setting_t *key = hr_cfg_member(reader, group, "key", false);
    read_file_name(reader, hr_cfg_member(reader, group, "ca", false), false, &tls->ca);
    read_file_name(reader, certificate, false, &tls->cert.chain);
    read_file_name(reader, key, false, &tls->cert.key);
    if (tls->cert.chain.path[0] != '\0' && tls->cert.key.path[0] == '\0')
        hr_cfg_error(reader, certificate, "needs its key: name it by key");
    if (tls->cert.chain.path[0] == '\0' && tls->cert.key.path[0] != '\0')
        hr_cfg_error(reader, key, "needs its certificate: name it by certificate");
}

static void read_certificates(struct hr_cfg_reader *reader, const config_setting_t *group,
                              struct hr_config_listener_tls *tls)
{
    struct hr_cfg_walk certificates = hr_cfg_walk(reader, group, "certificates", &certificates_shape);
    config_setting_t *one;
    while ((one = hr_cfg_next(&certificates, NULL)) != NULL) {
        struct hr_config_certificate *cert = &tls->certs[tls->n_certs++];
        read_file_name(reader, hr_cfg_member(reader, one, "chain", true), true, &cert->chain);
        read_file_name(reader, hr_cfg_member(reader, one, "key", true), true, &cert->key);
    }
}

void hr_cfg_read_listener_tls(struct hr_cfg_reader *reader, const config_setting_t *listener_group,
                              struct hr_config_listener *listener)
{
    struct hr_config_listener_tls *tls = &listener->tls;
    config_setting_t *group = tls_group(reader, listener_group);
    if (group != NULL) {
        hr_cfg_read_section(reader, &hr_cfg_listener_tls_section, group, listener);
        read_certificates(reader, group, tls);
        read_file_name(reader, hr_cfg_member(reader, group, "client_ca", false), false, &tls->client_ca);
        read_file_name(reader, hr_cfg_member(reader, group, "client_crl", false), false, &tls->client_crl);
        if (listener->policy.tls && tls->n_certs == 0)
            hr_cfg_error(reader, group, "needs a certificate: certificates = ( { chain = ...; key = ...; } )");
        if (tls->client_auth != HR_CONFIG_CLIENT_AUTH_NONE && tls->client_ca.path[0] == '\0')
            hr_cfg_error(reader, hr_cfg_member(reader, group, "client_auth", false),
                         "needs client_ca, the CAs whose certificates clients may show");
    }
    if (listener->policy.by_name && !listener->policy.tls)
        hr_cfg_error(reader, hr_cfg_member(reader, listener_group, "routing", false),
                     "needs TLS: plaintext has no names (tls: { enabled = true; ... })");
}
