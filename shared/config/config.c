/* Reading goes section by section: defaults first, then the plain keys by table, then the keys with a shape of
 * their own; then the cross checks, if everything was well-formed. */
#include "shared/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/config/impl.h"
#include "shared/config/keys.h"

static const struct hr_cfg_groups
    ports_shape = {&hr_cfg_port_section, HR_CONFIG_MAX_PORTS, "{ name = ...; device = ...; addresses = ...; }", .required = true},
    routes_shape = {HR_CFG_BY_HAND("to", "via", "mtu"), HR_CONFIG_MAX_ROUTES, "{ to = \"10.1.0.0/16\"; via = \"10.0.0.1\"; }"};

static void read_addresses(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_port *port)
{
    uint32_t n;
    config_setting_t *list = hr_cfg_list(reader, group, "addresses", true, HR_CONFIG_MAX_ADDRS, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (hr_cfg_prefix(reader, config_setting_get_elem(list, i), false, &port->addrs[port->n_addrs]))
            port->n_addrs++;
    }
}

static void read_routes(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_port *port)
{
    struct hr_cfg_walk routes = hr_cfg_walk(reader, group, "routes", &routes_shape);
    config_setting_t *route;
    while ((route = hr_cfg_next(&routes, NULL)) != NULL) {
        config_setting_t *to = hr_cfg_member(reader, route, "to", true), *via = hr_cfg_member(reader, route, "via", true);
        config_setting_t *mtu = hr_cfg_member(reader, route, "mtu", false);
        struct hr_config_route *ret = &port->routes[port->n_routes];
        int64_t bytes = 0;
        if (to != NULL && via != NULL && hr_cfg_prefix(reader, to, true, &ret->to) &&
            hr_cfg_address(reader, via, &ret->via) &&
            (mtu == NULL || hr_cfg_number(reader, mtu, hr_addr_is_v4(&ret->to.addr) ? 576 : 1280, port->mtu, &bytes))) {
            ret->mtu = (uint16_t)bytes;
            port->n_routes++;
        }
    }
}

/* "advertised", or an address. */
static void read_gateway6(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_port *port)
{
    config_setting_t *setting = hr_cfg_member(reader, group, "gateway6", false);
    const char *text = setting != NULL ? config_setting_get_string(setting) : NULL;
    port->accept_ra = text != NULL && strcmp(text, "advertised") == 0;
    if (setting == NULL || port->accept_ra)
        return;
    if (text == NULL || !hr_addr_parse(text, &port->gateway6) || hr_addr_is_v4(&port->gateway6))
        hr_cfg_error(reader, setting, "must be an IPv6 address like \"fe80::1\", or \"advertised\"");
    else
        port->has_gateway6 = true;
}

static void read_ports(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_dataplane *dp)
{
    struct hr_cfg_walk ports = hr_cfg_walk(reader, group, "ports", &ports_shape);
    config_setting_t *one, *gateway;
    for (struct hr_config_port *port = dp->ports; (one = hr_cfg_next(&ports, port)) != NULL; port++) {
        hr_cfg_member(reader, one, "name", true);
        hr_cfg_member(reader, one, "device", true);
        read_addresses(reader, one, port);
        gateway = hr_cfg_member(reader, one, "gateway", false);
        port->has_gateway = gateway != NULL && hr_cfg_address(reader, gateway, &port->gateway);
        read_gateway6(reader, one, port);
        read_routes(reader, one, port);
        dp->n_ports++;
    }
}

static void read_dataplane(struct hr_cfg_reader *reader, const config_setting_t *group,
                           struct hr_config_dataplane *dp)
{
    uint32_t n;
    int64_t low = 32768, high = 60999, lcore;
    config_setting_t *list = hr_cfg_list(reader, group, "workers", true, HR_CONFIG_MAX_WORKERS, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (hr_cfg_number(reader, config_setting_get_elem(list, i), 0, 127, &lcore))
            dp->worker_lcores[dp->n_workers++] = (uint32_t)lcore;
    }
    config_setting_t *range = hr_cfg_member(reader, group, "source_ports", false);
    if (range == NULL || hr_cfg_range(reader, range, 1024, 65535, &low, &high)) {
        dp->source_port_min = (uint16_t)low;
        dp->source_port_max = (uint16_t)high;
    }
    read_ports(reader, group, dp);
}

static void read_bootstrap(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    uint32_t n;
    config_setting_t *list = hr_cfg_list(reader, group, "bootstrap", true, HR_CONFIG_MAX_BOOTSTRAP, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (hr_cfg_hostport(reader, config_setting_get_elem(list, i), &config->cluster.bootstrap[config->cluster.n_bootstrap]))
            config->cluster.n_bootstrap++;
    }
}

static void read_metrics(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_config_hostport at = {"127.0.0.1", 9644};
    config_setting_t *setting = group != NULL ? hr_cfg_member(reader, group, "metrics_address", false) : NULL;
    if (setting != NULL) {
        const char *text = config_setting_get_string(setting);
        if (text != NULL && text[0] == '\0')
            memset(&at, 0, sizeof(at)); /* off */
        else if (!hr_cfg_hostport(reader, setting, &at))
            return;
    }
    memcpy(config->control.metrics_host, at.host, sizeof(at.host));
    config->control.metrics_port = at.port;
}

static void read_tree(struct hr_cfg_reader *reader, const config_t *tree, struct hr_config *config)
{
    const config_setting_t *root = config_root_setting(tree);
    for (const struct hr_cfg_section *section = hr_cfg_sections; section->name != NULL; section++) {
        hr_cfg_set_defaults(section, config);
        const config_setting_t *group = root;
        if (section->name[0] != '\0')
            group = hr_cfg_group(reader, root, section->name, strcmp(section->name, "dataplane") == 0, "{ ... }");
        if (group != NULL)
            hr_cfg_read_section(reader, section, group, config);
        if (strcmp(section->name, "dataplane") == 0 && group != NULL) {
            read_dataplane(reader, group, &config->dataplane);
        } else if (strcmp(section->name, "cluster") == 0) {
            if (group != NULL)
                read_bootstrap(reader, group, config);
            hr_cfg_read_cluster_tls(reader, group, config);
        } else if (strcmp(section->name, "broker_auth") == 0 && group != NULL) {
            hr_cfg_read_secret(reader, group, &config->broker_auth.secret);
            hr_cfg_read_principals(reader, group, config);
        } else if (strcmp(section->name, "control") == 0) {
            read_metrics(reader, group, config);
        }
    }
    hr_cfg_read_listeners(reader, root, config);
    hr_cfg_read_zones(reader, root, config);
    if (reader->errors->n == 0)
        hr_cfg_check(reader, tree, config);
}

int hr_cfg_load_text(const char *file, const char *include_dir, const char *text, struct hr_config *ret_config,
                     struct hr_config_errors *errors)
{
    struct hr_cfg_reader reader = {file, errors};
    struct hr_config *config = calloc(1, sizeof(*config));
    config_t tree;
    if (config == NULL) {
        hr_cfg_error(&reader, NULL, "out of memory");
        return HR_E_CONFIG;
    }
    config_init(&tree);
    config_set_include_dir(&tree, include_dir);
    if (config_read_string(&tree, text) != CONFIG_TRUE) {
        const char *included = config_error_file(&tree), *why = config_error_text(&tree);
        if (errors->n < HR_CONFIG_MAX_ERRORS)
            snprintf(errors->text[errors->n++], sizeof(errors->text[0]),
                     "%s:%d: %s: a setting is name = value; with strings in double quotes, groups in { }, lists in ( )",
                     included != NULL ? included : file, config_error_line(&tree), why != NULL ? why : "syntax error");
    } else {
        snprintf(config->path, sizeof(config->path), "%s", file);
        read_tree(&reader, &tree, config);
    }
    config_destroy(&tree);
    if (errors->n == 0)
        *ret_config = *config;
    free(config);
    return errors->n == 0 ? 0 : HR_E_CONFIG;
}

/* The whole file, NUL-terminated; NULL after an error has been reported. libconfig's own file reader ends the
 * process when a read fails (a directory, say), so it only ever sees memory. */
static char *read_file(struct hr_cfg_reader *reader, const char *path)
{
    char *text = NULL;
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        hr_cfg_error(reader, NULL, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    if ((text = malloc(HR_CFG_FILE_MAX + 1)) == NULL) {
        hr_cfg_error(reader, NULL, "out of memory");
        goto out;
    }
    for (;;) {
        ssize_t n = read(fd, text + len, HR_CFG_FILE_MAX + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            hr_cfg_error(reader, NULL, "cannot be read: %s", strerror(errno));
            goto bad;
        }
        if (n == 0)
            break;
        len += (size_t)n;
        if (len > HR_CFG_FILE_MAX) {
            hr_cfg_error(reader, NULL, "is larger than %u bytes", HR_CFG_FILE_MAX);
            goto bad;
        }
    }
    text[len] = '\0';
    if (strlen(text) != len) {
        hr_cfg_error(reader, NULL, "holds a NUL byte: not a text file");
        goto bad;
    }
    goto out;
bad:
    free(text);
    text = NULL;
out:
    close(fd);
    return text;
}

int hr_config_load(const char *path, struct hr_config *ret_config, struct hr_config_errors *errors)
{
    struct hr_cfg_reader reader = {path, errors};
    char copy[HR_CONFIG_PATH_MAX];
    errors->n = errors->n_warnings = 0;
    if (strlen(path) >= sizeof(copy)) {
        hr_cfg_error(&reader, NULL, "the path is longer than %zu characters", sizeof(copy) - 1);
        return HR_E_CONFIG;
    }
    char *text = read_file(&reader, path);
    if (text == NULL)
        return HR_E_CONFIG;
    snprintf(copy, sizeof(copy), "%s", path);
    int err = hr_cfg_load_text(path, dirname(copy), text, ret_config, errors);
    free(text);
    return err;
}
