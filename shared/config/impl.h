/* The steps of hr_config_load(), private to this folder. */
#pragma once

#include <libconfig.h>

#include "shared/config/config.h"
#include "shared/config/reader.h"

#define HR_CFG_FILE_MAX (1u << 20) /* bytes of a configuration file */

/* As hr_config_load(), from memory; file is the name for errors. */
HR_MUST_CHECK int hr_cfg_load_text(const char *file, const char *include_dir, const char *text,
                                   struct hr_config *ret_config, struct hr_config_errors *errors);

/* listeners.c: the listeners list. */
void hr_cfg_read_listeners(struct hr_cfg_reader *reader, const config_setting_t *root, struct hr_config *config);

/* A group's advertised_host and advertised_port, as l's. */
void hr_cfg_read_advertised(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_policy_listener *l);

/* tls.c: the groups "tls" of the cluster and of a listener; group may be NULL. */
void hr_cfg_read_cluster_tls(struct hr_cfg_reader *reader, const config_setting_t *cluster, struct hr_config *config);
void hr_cfg_read_listener_tls(struct hr_cfg_reader *reader, const config_setting_t *group,
                              struct hr_config_listener *listener);

/* zones.c: the group "zones", and "client_zones" of the listeners that have been read. */
void hr_cfg_read_zones(struct hr_cfg_reader *reader, const config_setting_t *root, struct hr_config *config);

/* auth.c: the group "auth" of a listener; and, when all is well-formed, its part of the policy. */
void hr_cfg_read_listener_auth(struct hr_cfg_reader *reader, const config_setting_t *listener_group,
                               struct hr_config_listener *listener);
void hr_cfg_check_listener_auth(struct hr_cfg_reader *reader, const config_setting_t *listener_group,
                                const struct hr_config *config, struct hr_config_listener *listener);

/* check.c: what no key shows alone. Called when every key is well-formed. */
void hr_cfg_check(struct hr_cfg_reader *reader, const config_t *tree, struct hr_config *config);

/* secrets.c: { file = ... } or { exec = [ ... ] } as group's member "secret", which may be missing. */
void hr_cfg_read_secret(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_secret *ret_secret);
/* principals.c: the list "principals" of broker_auth; group: not NULL. And, when all is well-formed, whether it fits the
 * rest; group: NULL when it is missing. */
void hr_cfg_read_principals(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config);
void hr_cfg_check_principals(struct hr_cfg_reader *reader, const config_setting_t *group,
                             const struct hr_config *config);
/* Who Headrace is to the brokers, as sessions have it. */
void hr_cfg_check_identity_name(struct hr_cfg_reader *reader, const config_setting_t *setting, const char *name);
/* group: NULL when it is missing. */
void hr_cfg_check_broker_auth(struct hr_cfg_reader *reader, const config_setting_t *group,
                              const struct hr_config_broker_auth *auth);
