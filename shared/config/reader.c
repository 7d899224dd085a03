#include "shared/config/reader.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/nearest.h"

#define MAX_DEPTH 8

/* "listeners[0].node_port_base": libconfig knows parents, so the path is built from the leaf up. */
static void setting_path(const config_setting_t *setting, char *path, size_t cap)
{
    const config_setting_t *chain[MAX_DEPTH];
    int depth = 0;
    size_t len = 0;
    for (; setting != NULL && !config_setting_is_root(setting) && depth < MAX_DEPTH;
         setting = config_setting_parent(setting))
        chain[depth++] = setting;
    path[0] = '\0';
    while (depth-- > 0 && len + 1 < cap) {
        const char *name = config_setting_name(chain[depth]);
        int n = name != NULL ? snprintf(path + len, cap - len, "%s%s", len > 0 ? "." : "", name)
                             : snprintf(path + len, cap - len, "[%d]", config_setting_index(chain[depth]));
        len += n > 0 ? (size_t)n : 0;
    }
}

/* " = 70000", or nothing for groups and lists. */
static void setting_value(const config_setting_t *setting, char *text, size_t cap)
{
    char escaped[96];
    const char *string;
    text[0] = '\0';
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(text, cap, " = %lld", config_setting_get_int64(setting));
        break;
    case CONFIG_TYPE_FLOAT:
        snprintf(text, cap, " = %g", config_setting_get_float(setting));
        break;
    case CONFIG_TYPE_BOOL:
        snprintf(text, cap, " = %s", config_setting_get_bool(setting) ? "true" : "false");
        break;
    case CONFIG_TYPE_STRING:
        string = config_setting_get_string(setting);
        hr_log_escape(escaped, sizeof(escaped), string != NULL ? string : "", string != NULL ? (uint32_t)strlen(string) : 0);
        snprintf(text, cap, " = \"%s\"", escaped);
        break;
    default:
        break;
    }
}

static void write_text(const struct hr_cfg_reader *reader, const config_setting_t *at, const char *fmt, va_list args,
                       char *text, size_t cap)
{
    char path[160] = "", value[128] = "", what[300];
    int n;
    vsnprintf(what, sizeof(what), fmt, args);
    if (at != NULL) {
        setting_path(at, path, sizeof(path));
        setting_value(at, value, sizeof(value));
    }
    if (at == NULL || config_setting_is_root(at))
        n = snprintf(text, cap, "%s: %s", reader->file, what);
    else
        n = snprintf(text, cap, "%s:%d: %s%s: %s", reader->file, (int)config_setting_source_line(at), path, value,
                     what);
    if (n >= (int)cap)
        memcpy(text + cap - 4, "...", 4);
}

void hr_cfg_error(struct hr_cfg_reader *reader, const config_setting_t *at, const char *fmt, ...)
{
    struct hr_config_errors *errors = reader->errors;
    va_list args;
    if (errors->n >= HR_CONFIG_MAX_ERRORS)
        return;
    va_start(args, fmt);
    write_text(reader, at, fmt, args, errors->text[errors->n++], sizeof(errors->text[0]));
    va_end(args);
}

void hr_cfg_warn(struct hr_cfg_reader *reader, const config_setting_t *at, const char *fmt, ...)
{
    struct hr_config_errors *errors = reader->errors;
    va_list args;
    if (errors->n_warnings >= HR_CONFIG_MAX_WARNINGS)
        return;
    va_start(args, fmt);
    write_text(reader, at, fmt, args, errors->warnings[errors->n_warnings++], sizeof(errors->warnings[0]));
    va_end(args);
}

static void report_unknown(struct hr_cfg_reader *reader, const struct hr_cfg_section *section,
                           const config_setting_t *setting)
{
    const char *name = config_setting_name(setting), *nearest = NULL;
    unsigned least = UINT32_MAX;
    for (const struct hr_cfg_key *key = section->keys; key->name != NULL; key++)
        hr_nearest(name, key->name, &nearest, &least);
    for (const char *const *other = section->others; *other != NULL; other++)
        hr_nearest(name, *other, &nearest, &least);
    if (nearest != NULL)
        hr_cfg_error(reader, setting, "unknown key, did you mean \"%s\"?", nearest);
    else
        hr_cfg_error(reader, setting, "unknown key, config/headrace.cfg lists all that exist");
}

static void read_key(struct hr_cfg_reader *reader, const struct hr_cfg_key *key, const config_setting_t *setting,
                     void *base)
{
    int64_t number;
    int index;
    const char *string;
    switch (key->type) {
    case HR_CFG_NUMBER:
        if (hr_cfg_number(reader, setting, key->min, key->max, &number))
            hr_cfg_store(key, base, number);
        break;
    case HR_CFG_BOOL:
        if (config_setting_type(setting) != CONFIG_TYPE_BOOL)
            hr_cfg_error(reader, setting, "must be true or false");
        else
            hr_cfg_store(key, base, config_setting_get_bool(setting) != 0);
        break;
    case HR_CFG_STRING:
        if ((string = hr_cfg_string(reader, setting, key->size)) == NULL)
            break;
        if ((int64_t)strlen(string) < key->min)
            hr_cfg_error(reader, setting, "must not be empty");
        else
            snprintf((char *)base + key->offset, key->size, "%s", string);
        break;
    case HR_CFG_CHOICE:
        if (hr_cfg_choice(reader, setting, key->choices, &index))
            hr_cfg_store(key, base, key->min + index);
        break;
    case HR_CFG_NONE:
    case HR_CFG_MAX:
        break;
    }
}

void hr_cfg_read_section(struct hr_cfg_reader *reader, const struct hr_cfg_section *section,
                         const config_setting_t *group, void *base)
{
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        const char *name = config_setting_name(setting);
        const struct hr_cfg_key *key = section->keys;
        const char *const *other = section->others;
        while (key->name != NULL && strcmp(key->name, name) != 0)
            key++;
        while (*other != NULL && strcmp(*other, name) != 0)
            other++;
        if (key->name != NULL)
            read_key(reader, key, setting, base);
        else if (*other == NULL)
            report_unknown(reader, section, setting);
    }
}

config_setting_t *hr_cfg_member(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                                bool required)
{
    config_setting_t *setting = config_setting_get_member(group, key);
    if (setting == NULL && required)
        hr_cfg_error(reader, group, "\"%s\" is missing", key);
    return setting;
}

config_setting_t *hr_cfg_list(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                              bool required, uint32_t max, uint32_t *ret_n)
{
    config_setting_t *setting = hr_cfg_member(reader, group, key, required);
    *ret_n = 0;
    if (setting == NULL)
        return NULL;
    int n = config_setting_length(setting);
    if (!config_setting_is_list(setting) && !config_setting_is_array(setting)) {
        hr_cfg_error(reader, setting, "must be a list: ( ..., ... )");
    } else if (required && n == 0) {
        hr_cfg_error(reader, setting, "must not be empty");
    } else if (n > (int)max) {
        hr_cfg_error(reader, setting, "has %d elements: at most %u are possible", n, max);
    } else {
        *ret_n = (uint32_t)n;
        return setting;
    }
    return NULL;
}

config_setting_t *hr_cfg_group(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                               bool required, const char *like)
{
    config_setting_t *setting = hr_cfg_member(reader, group, key, required);
    if (setting == NULL || config_setting_is_group(setting))
        return setting;
    hr_cfg_error(reader, setting, "must be a group: %s: %s", key, like);
    return NULL;
}

struct hr_cfg_walk hr_cfg_walk(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                               const struct hr_cfg_groups *groups)
{
    struct hr_cfg_walk walk = {.reader = reader, .groups = groups};
    walk.list = hr_cfg_list(reader, group, key, groups->required, groups->max, &walk.n);
    return walk;
}

config_setting_t *hr_cfg_next(struct hr_cfg_walk *walk, void *base)
{
    while (walk->next < walk->n) {
        config_setting_t *one = config_setting_get_elem(walk->list, walk->next++);
        hr_cfg_set_defaults(walk->groups->section, base);
        if (config_setting_is_group(one)) {
            hr_cfg_read_section(walk->reader, walk->groups->section, one, base);
            return one;
        }
        hr_cfg_error(walk->reader, one, "must be a group: %s", walk->groups->like);
    }
    return NULL;
}

bool hr_cfg_number(struct hr_cfg_reader *reader, const config_setting_t *setting, int64_t min, int64_t max,
                   int64_t *ret_value)
{
    int type = config_setting_type(setting);
    int64_t value = config_setting_get_int64(setting);
    if (type != CONFIG_TYPE_INT && type != CONFIG_TYPE_INT64) {
        hr_cfg_error(reader, setting, "must be an integer, %" PRId64 "..%" PRId64, min, max);
        return false;
    }
    if (value < min || value > max) {
        hr_cfg_error(reader, setting, "must be %" PRId64 "..%" PRId64, min, max);
        return false;
    }
    *ret_value = value;
    return true;
}

bool hr_cfg_range(struct hr_cfg_reader *reader, const config_setting_t *setting, int64_t min, int64_t max,
                  int64_t *ret_low, int64_t *ret_high)
{
    if ((!config_setting_is_list(setting) && !config_setting_is_array(setting)) ||
        config_setting_length(setting) != 2) {
        hr_cfg_error(reader, setting, "must be two numbers: [ lowest, highest ]");
        return false;
    }
    int64_t low, high;
    if (!hr_cfg_number(reader, config_setting_get_elem(setting, 0), min, max, &low) ||
        !hr_cfg_number(reader, config_setting_get_elem(setting, 1), min, max, &high))
        return false;
    if (low > high) {
        hr_cfg_error(reader, setting, "lowest %" PRId64 " is above highest %" PRId64 ": swap them", low, high);
        return false;
    }
    *ret_low = low;
    *ret_high = high;
    return true;
}

const char *hr_cfg_string(struct hr_cfg_reader *reader, const config_setting_t *setting, size_t cap)
{
    const char *string = config_setting_get_string(setting);
    if (config_setting_type(setting) != CONFIG_TYPE_STRING || string == NULL) {
        hr_cfg_error(reader, setting, "must be a string in double quotes");
        return NULL;
    }
    if (strlen(string) >= cap) {
        hr_cfg_error(reader, setting, "is %zu characters long: at most %zu are possible", strlen(string), cap - 1);
        return NULL;
    }
    for (const char *p = string; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            hr_cfg_error(reader, setting, "holds a control character");
            return NULL;
        }
    }
    return string;
}

bool hr_cfg_choice(struct hr_cfg_reader *reader, const config_setting_t *setting, const char *const *choices,
                   int *ret_index)
{
    char list[128] = "";
    size_t len = 0;
    const char *string = config_setting_get_string(setting);
    for (int i = 0; choices[i] != NULL; i++) {
        if (config_setting_type(setting) == CONFIG_TYPE_STRING && string != NULL && strcmp(string, choices[i]) == 0) {
            *ret_index = i;
            return true;
        }
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s\"%s\"", i > 0 ? " or " : "", choices[i]);
    }
    hr_cfg_error(reader, setting, "must be %s", list);
    return false;
}

bool hr_cfg_address(struct hr_cfg_reader *reader, const config_setting_t *setting, struct hr_addr *ret_addr)
{
    const char *string = config_setting_get_string(setting);
    if (config_setting_type(setting) != CONFIG_TYPE_STRING || string == NULL || !hr_addr_parse(string, ret_addr)) {
        hr_cfg_error(reader, setting, "must be an IP address like \"10.0.0.5\" or \"2600:1f14::5\"");
        return false;
    }
    return true;
}

/* Digits only, no sign, no blanks; false when it is not a number or above max. */
static bool parse_decimal(const char *text, unsigned long max, unsigned long *ret_value)
{
    unsigned long value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        value = value * 10 + (unsigned long)(*text - '0');
        if (value > max)
            return false;
    }
    *ret_value = value;
    return true;
}

bool hr_cfg_prefix(struct hr_cfg_reader *reader, const config_setting_t *setting, bool network,
                   struct hr_config_addr *ret_addr)
{
    static const char shape[] = "must be an IP address and a prefix length like \"10.0.0.5/24\" or \"2600:1f14::5/64\"";
    const char *string = hr_cfg_string(reader, setting, 64);
    if (string == NULL)
        return false;
    char text[64];
    unsigned long bits;
    struct hr_addr addr;
    snprintf(text, sizeof(text), "%s", string);
    char *slash = strchr(text, '/');
    if (slash != NULL)
        *slash = '\0';
    if (slash == NULL || !hr_addr_parse(text, &addr) ||
        !parse_decimal(slash + 1, hr_addr_is_v4(&addr) ? 32 : 128, &bits)) {
        hr_cfg_error(reader, setting, "%s", shape);
        return false;
    }
    struct hr_addr right = hr_addr_network(&addr, hr_addr_prefix_bits(&addr, (uint8_t)bits));
    if (network && !hr_addr_equal(&right, &addr)) {
        hr_cfg_error(reader, setting, "has bits behind its prefix: write \"%s/%lu\"", hr_addr_format(&right, text), bits);
        return false;
    }
    ret_addr->addr = addr;
    ret_addr->prefix = (uint8_t)bits;
    return true;
}

bool hr_cfg_hostport(struct hr_cfg_reader *reader, const config_setting_t *setting,
                     struct hr_config_hostport *ret_hostport)
{
    const char *string = hr_cfg_string(reader, setting, HR_POLICY_HOST_MAX + 6);
    if (string == NULL)
        return false;
    const char *colon = strrchr(string, ':');
    size_t len = colon != NULL ? (size_t)(colon - string) : 0;
    unsigned long port = 0;
    bool ok = len > 0 && len < HR_POLICY_HOST_MAX && parse_decimal(colon + 1, 65535, &port) && port > 0;
    char host[HR_POLICY_HOST_MAX] = "";
    if (ok && string[0] == '[' && string[len - 1] == ']') {
        struct hr_addr addr;
        memcpy(host, string + 1, len - 2);
        ok = hr_addr_parse(host, &addr) && !hr_addr_is_v4(&addr);
    } else if (ok) {
        memcpy(host, string, len);
        for (size_t i = 0; ok && i < len; i++)
            ok = isalnum((unsigned char)string[i]) || strchr("-._", string[i]) != NULL;
    }
    if (!ok) {
        hr_cfg_error(reader, setting, "must be a name or address and a port like \"broker-1.example.com:9092\" or \"[2600::5]:9092\"");
        return false;
    }
    memcpy(ret_hostport->host, host, sizeof(host));
    ret_hostport->port = (uint16_t)port;
    return true;
}
