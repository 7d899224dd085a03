/* The plain keys of the configuration as one table per section: name, type, default, range, and whether a
 * reload can apply a change. Reading, defaults, differences and the test of the example file all walk these
 * tables; keys with a shape of their own (lists, addresses, patterns) are read by hand, each group in the file of its
 * name. Adding a plain key: a field in config.h, a line here, a paragraph in config/headrace.cfg. */
#pragma once

#include <stddef.h>

#include "shared/config/config.h"

enum hr_cfg_type {
    HR_CFG_NONE = 0,
    HR_CFG_NUMBER, /* unsigned, of 2 or 4 bytes */
    HR_CFG_BOOL,
    HR_CFG_STRING, /* an array of `size` bytes */
    HR_CFG_CHOICE, /* one of `choices`; the value is its place in the list plus min */
    HR_CFG_MAX
};

enum hr_cfg_apply {
    HR_CFG_LIVE = 0,     /* a reload applies it */
    HR_CFG_RESTART,      /* only a new start of the dataplane or the control plane does */
    HR_CFG_LIVE_LOWER,   /* tables are sized by it at start: lower values apply live, higher ones need a restart */
};

struct hr_cfg_key {
    const char *name;
    enum hr_cfg_type type;
    enum hr_cfg_apply apply;
    size_t offset, size; /* of the field in the section's struct */
    int64_t min, max;    /* inclusive; numbers, and the least length of strings */
    int64_t def;
    const char *def_text;         /* strings */
    const char *const *choices;   /* NULL-terminated */
};

struct hr_cfg_section {
    const char *name; /* "" = the top level */
    const struct hr_cfg_key *keys; /* ends with a NULL name */
    const char *const *others;     /* keys read by hand, NULL-terminated */
};

/* Of sections whose keys are all read by hand. */
extern const struct hr_cfg_key hr_cfg_no_keys[];
/* Sections whose fields lie in struct hr_config; ends with a NULL name. */
extern const struct hr_cfg_section hr_cfg_sections[];
/* Fields of struct hr_config_port and of struct hr_config_listener. */
extern const struct hr_cfg_section hr_cfg_port_section, hr_cfg_listener_section;
/* The groups "tls" within: fields of struct hr_config and of struct hr_config_listener. */
extern const struct hr_cfg_section hr_cfg_cluster_tls_section, hr_cfg_listener_tls_section;
/* The groups "auth" of a listener and "oauth" in it: fields of struct hr_config_listener, and of struct hr_config_oauth. */
extern const struct hr_cfg_section hr_cfg_listener_auth_section, hr_cfg_listener_oauth_section;

/* The groups of broker_auth.principals: fields of struct hr_config_principal. */
extern const struct hr_cfg_section hr_cfg_principal_section;

/* Sets every field of the section to its default. */
void hr_cfg_set_defaults(const struct hr_cfg_section *section, void *base);
/* The field's value, or the default, as the configuration would write it. */
void hr_cfg_format(const struct hr_cfg_key *key, const void *base, char *text, size_t cap);
void hr_cfg_format_default(const struct hr_cfg_key *key, char *text, size_t cap);
/* Stores a number, bool or choice. */
void hr_cfg_store(const struct hr_cfg_key *key, void *base, int64_t value);
int64_t hr_cfg_fetch(const struct hr_cfg_key *key, const void *base);
