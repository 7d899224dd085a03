/* Reading libconfig settings into fields, with errors that say where, what, and what would be right.
 *
 * A reader collects errors and goes on, so that one run shows them all (up to HR_CONFIG_MAX_ERRORS). Every
 * function leaves its result untouched when the key is missing or wrong. */
#pragma once

#include <libconfig.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/config/config.h"
#include "shared/config/keys.h"

struct hr_cfg_reader {
    const char *file; /* as the user named it */
    struct hr_config_errors *errors;
};

/* "FILE:LINE: path.to.key = value: text"; at = NULL names the file alone. */
void hr_cfg_error(struct hr_cfg_reader *reader, const config_setting_t *at, const char *fmt, ...) HR_PRINTF(3, 4);

/* The same for what is allowed. */
void hr_cfg_warn(struct hr_cfg_reader *reader, const config_setting_t *at, const char *fmt, ...) HR_PRINTF(3, 4);

/* Every key of the section's table that group has; unknown keys are errors, with the nearest known one. */
void hr_cfg_read_section(struct hr_cfg_reader *reader, const struct hr_cfg_section *section,
                         const config_setting_t *group, void *base);

/* The member, or NULL; required: its absence is an error. */
config_setting_t *hr_cfg_member(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                                bool required);
/* The member if it is a group; like: a right one, for errors. */
config_setting_t *hr_cfg_group(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                               bool required, const char *like);
/* The member if it is a list or array of at most max elements (0 when missing or wrong). */
config_setting_t *hr_cfg_list(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                              bool required, uint32_t max, uint32_t *ret_n);

/* A list of groups that all have the same keys. */
struct hr_cfg_groups {
    const struct hr_cfg_section *section;
    uint32_t max;
    const char *like; /* a right element, for errors */
    bool required;
};
/* A section whose keys are all read by hand, by their names. */
#define HR_CFG_BY_HAND(...) \
    (&(const struct hr_cfg_section){"", hr_cfg_no_keys, (const char *const[]){__VA_ARGS__, NULL}})

/* Its groups one after the other; what is no group is an error, and passed over. */
struct hr_cfg_walk {
    struct hr_cfg_reader *reader;
    const struct hr_cfg_groups *groups;
    const config_setting_t *list;
    uint32_t n, next;
};
struct hr_cfg_walk hr_cfg_walk(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                               const struct hr_cfg_groups *groups);
/* The section's plain keys, or their defaults, go to base (NULL where there are none). NULL at the end. */
config_setting_t *hr_cfg_next(struct hr_cfg_walk *walk, void *base);

/* The value of one setting. False after an error has been reported. */
bool hr_cfg_number(struct hr_cfg_reader *reader, const config_setting_t *setting, int64_t min, int64_t max,
                   int64_t *ret_value);
bool hr_cfg_range(struct hr_cfg_reader *reader, const config_setting_t *setting, int64_t min, int64_t max,
                  int64_t *ret_low, int64_t *ret_high);
const char *hr_cfg_string(struct hr_cfg_reader *reader, const config_setting_t *setting, size_t cap);
bool hr_cfg_choice(struct hr_cfg_reader *reader, const config_setting_t *setting, const char *const *choices,
                   int *ret_index);
bool hr_cfg_address(struct hr_cfg_reader *reader, const config_setting_t *setting, struct hr_addr *ret_addr);
/* "10.0.0.5/24". network: the host bits must be 0. */
bool hr_cfg_prefix(struct hr_cfg_reader *reader, const config_setting_t *setting, bool network,
                   struct hr_config_addr *ret_addr);
bool hr_cfg_hostport(struct hr_cfg_reader *reader, const config_setting_t *setting,
                     struct hr_config_hostport *ret_hostport);
