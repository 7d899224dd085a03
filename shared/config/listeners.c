#include "shared/config/impl.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const modes[] = {"kafka", "tcp", NULL};
static const char *const kafka_keys[] = {"bootstrap_port", "node_port_base", "node_ids",      "advertised_host",
                                         "advertised_port", "max_frame_bytes", "max_in_flight", "request_timeout_ms",
                                         "zone_reads",
                                         "routing",         "bootstrap_host",  "tls", "peers",           "auth", NULL};
static const char *const tcp_keys[] = {"port", "target", NULL};

#define NODE_ID   "$(nodeId)"
#define NODE_PORT "$(nodePort)"

/* Host characters and "$(nodeId)", at most 253 characters once expanded (RFC 1035 2.3.4). */
static void read_advertised_host(struct hr_cfg_reader *reader, const config_setting_t *group,
                                 struct hr_policy_listener *l)
{
    config_setting_t *setting = hr_cfg_member(reader, group, "advertised_host", false);
    if (setting == NULL) {
        if (hr_addr_is_any(&l->bind))
            hr_cfg_error(reader, group, "\"advertised_host\" is missing: address = \"0.0.0.0\" is nothing to advertise");
        else
            hr_addr_format(&l->bind, l->adv_host);
        return;
    }
    const char *text = hr_cfg_string(reader, setting, 254);
    if (text == NULL)
        return;
    struct hr_addr literal;
    for (const char *p = text; *p != '\0' && !hr_addr_parse(text, &literal);) {
        if (strncmp(p, NODE_ID, strlen(NODE_ID)) == 0) {
            p += strlen(NODE_ID);
        } else if (isalnum((unsigned char)*p) || strchr("-._", *p) != NULL) {
            p++;
        } else {
            hr_cfg_error(reader, setting, "may hold letters, digits, \"-\", \".\", \"_\" and the pattern " NODE_ID
                                          ", not '%c'", *p);
            return;
        }
    }
    if (text[0] == '\0')
        hr_cfg_error(reader, setting, "must not be empty");
    else
        snprintf(l->adv_host, sizeof(l->adv_host), "%s", text);
}

/* "$(nodePort)", "9200+$(nodeId)", "19092" or 19092. */
static void read_advertised_port(struct hr_cfg_reader *reader, const config_setting_t *group,
                                 struct hr_policy_listener *l)
{
    config_setting_t *setting = hr_cfg_member(reader, group, "advertised_port", false);
    l->adv_port_base = l->by_name ? l->bootstrap_port : l->node_port_base;
    l->adv_port_per_node = !l->by_name;
    if (setting == NULL)
        return;
    int64_t number;
    if (config_setting_type(setting) == CONFIG_TYPE_INT) {
        if (hr_cfg_number(reader, setting, 1, 65535, &number)) {
            l->adv_port_base = (int32_t)number;
            l->adv_port_per_node = 0;
        }
        return;
    }
    const char *text = hr_cfg_string(reader, setting, 32);
    if (text == NULL || strcmp(text, NODE_PORT) == 0)
        return; /* by name, that is the one port for all */
    char *end;
    number = isdigit((unsigned char)text[0]) ? strtol(text, &end, 10) : -1;
    bool per_node = number >= 0 && strcmp(end, "+" NODE_ID) == 0;
    if (number < 0 || number > 65535 || (!per_node && (*end != '\0' || number == 0))) {
        hr_cfg_error(reader, setting, "must be \"" NODE_PORT "\", a port like \"19092\", or a base like \"9200+" NODE_ID "\"");
        return;
    }
    if (per_node && (number + l->node_id_min < 1 || number + l->node_id_max > 65535)) {
        hr_cfg_error(reader, setting, "gives ports %" PRId64 "..%" PRId64 " with node_ids %d..%d: must stay in 1..65535",
                     number + l->node_id_min, number + l->node_id_max, l->node_id_min, l->node_id_max);
        return;
    }
    l->adv_port_base = (int32_t)number;
    l->adv_port_per_node = per_node;
}

void hr_cfg_read_advertised(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_policy_listener *l)
{
    read_advertised_host(reader, group, l);
    read_advertised_port(reader, group, l);
}

static void read_kafka(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_policy_listener *l)
{
    int64_t number, low = 0, high = 99;
    config_setting_t *port = hr_cfg_member(reader, group, "bootstrap_port", true);
    config_setting_t *base = hr_cfg_member(reader, group, "node_port_base", !l->by_name);
    config_setting_t *ids = hr_cfg_member(reader, group, "node_ids", false);
    if (l->by_name && base != NULL)
        hr_cfg_error(reader, base, "has no meaning with routing = \"sni\": all nodes are reached at bootstrap_port");
    bool have_base = base != NULL && hr_cfg_number(reader, base, 0, 65535, &number);
    if (have_base)
        l->node_port_base = (int32_t)number;
    if (port != NULL && hr_cfg_number(reader, port, 1, 65535, &number))
        l->bootstrap_port = (uint16_t)number;
    if (ids != NULL && !hr_cfg_range(reader, ids, 0, 65535, &low, &high))
        return;
    l->node_id_min = (int32_t)low;
    l->node_id_max = (int32_t)high;
    if (have_base && (l->node_port_base + low < 1 || l->node_port_base + high > 65535))
        hr_cfg_error(reader, base, "gives node ports %" PRId64 "..%" PRId64 " with node_ids %" PRId64 "..%" PRId64
                                   ": must stay in 1..65535", l->node_port_base + low, l->node_port_base + high, low, high);
    hr_cfg_read_advertised(reader, group, l);
}

/* With routing = "sni" each node has a name of its own, and so has the cluster. */
static void check_names(struct hr_cfg_reader *reader, const config_setting_t *group,
                        const struct hr_config_listener *listener)
{
    const struct hr_policy_listener *l = &listener->policy;
    char name[HR_POLICY_HOST_MAX];
    uint16_t port;
    if (!l->by_name)
        return;
    config_setting_t *host = hr_cfg_member(reader, group, "advertised_host", false);
    if (strstr(l->adv_host, NODE_ID) == NULL)
        hr_cfg_error(reader, host != NULL ? host : group, "with routing = \"sni\", advertised_host must hold " NODE_ID
                                                          ", like \"b" NODE_ID ".kafka.example.com\"");
    config_setting_t *bootstrap = hr_cfg_member(reader, group, "bootstrap_host", true);
    if (bootstrap == NULL)
        return;
    if (listener->bootstrap_host[0] == '\0')
        hr_cfg_error(reader, bootstrap, "must not be empty with routing = \"sni\"");
    for (int32_t id = l->node_id_min; id <= l->node_id_max; id++) {
        if (hr_policy_advertised(l, id, name, sizeof(name), &port) == 0 &&
            strcasecmp(name, listener->bootstrap_host) == 0)
            hr_cfg_error(reader, bootstrap, "is the name of node %d", id);
    }
}

static void read_tcp(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config_listener *listener)
{
    int64_t number;
    config_setting_t *port = hr_cfg_member(reader, group, "port", true);
    config_setting_t *target = hr_cfg_member(reader, group, "target", true);
    if (port != NULL && hr_cfg_number(reader, port, 1, 65535, &number))
        listener->policy.bootstrap_port = (uint16_t)number;
    listener->has_target = target != NULL && hr_cfg_hostport(reader, target, &listener->target);
}

/* proxy_protocol = { from = [ "10.0.0.0/8" ]; }; an empty list: none. */
static void read_proxy_protocol(struct hr_cfg_reader *reader, const config_setting_t *group,
                                struct hr_policy_listener *l)
{
    config_setting_t *one = hr_cfg_group(reader, group, "proxy_protocol", false, "{ from = [ \"10.0.0.0/8\" ]; }");
    struct hr_config_addr net;
    uint32_t n;

    if (one == NULL)
        return;
    hr_cfg_read_section(reader, HR_CFG_BY_HAND("from"), one, NULL);
    hr_cfg_member(reader, one, "from", true);
    config_setting_t *list = hr_cfg_list(reader, one, "from", false, HR_POLICY_MAX_TRUSTED, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (!hr_cfg_prefix(reader, config_setting_get_elem(list, i), true, &net))
            continue;
        l->trusted[l->n_trusted].net = net.addr;
        l->trusted[l->n_trusted++].bits = hr_addr_prefix_bits(&net.addr, net.prefix);
    }
}

static void read_listener(struct hr_cfg_reader *reader, const config_setting_t *group,
                          struct hr_config_listener *listener)
{
    int mode = 0;
    hr_cfg_set_defaults(&hr_cfg_listener_tls_section, listener);
    hr_cfg_set_defaults(&hr_cfg_listener_auth_section, listener);
    hr_cfg_set_defaults(&hr_cfg_listener_oauth_section, &listener->auth.oauth);
    hr_cfg_member(reader, group, "name", true);
    config_setting_t *address = hr_cfg_member(reader, group, "address", true);
    if (address != NULL && !hr_cfg_address(reader, address, &listener->policy.bind))
        return;
    config_setting_t *setting = hr_cfg_member(reader, group, "mode", false);
    if (setting != NULL && !hr_cfg_choice(reader, setting, modes, &mode))
        return;
    listener->policy.mode = (uint8_t)(HR_LISTENER_KAFKA + mode);
    read_proxy_protocol(reader, group, &listener->policy);
    bool kafka = listener->policy.mode == HR_LISTENER_KAFKA;
    for (const char *const *key = kafka ? tcp_keys : kafka_keys; *key != NULL; key++) {
        config_setting_t *foreign = config_setting_get_member(group, *key);
        if (foreign != NULL)
            hr_cfg_error(reader, foreign, "has no meaning with mode = \"%s\"%s", modes[mode],
                         strcmp(*key, "port") == 0             ? ", write bootstrap_port"
                         : strcmp(*key, "bootstrap_port") == 0 ? ", write port"
                                                               : ", remove it");
    }
    if (!kafka) {
        read_tcp(reader, group, listener);
        return;
    }
    read_kafka(reader, group, &listener->policy);
    hr_cfg_read_listener_tls(reader, group, listener);
    hr_cfg_read_listener_auth(reader, group, listener);
    check_names(reader, group, listener);
}

void hr_cfg_read_listeners(struct hr_cfg_reader *reader, const config_setting_t *root, struct hr_config *config)
{
    static const struct hr_cfg_groups shape = {&hr_cfg_listener_section, HR_POLICY_MAX_LISTENERS,
                                               "{ name = ...; mode = ...; address = ...; }", .required = true};
    struct hr_cfg_walk listeners = hr_cfg_walk(reader, root, "listeners", &shape);
    config_setting_t *group;
    for (struct hr_config_listener *l = config->listeners; (group = hr_cfg_next(&listeners, l)) != NULL; l++) {
        read_listener(reader, group, l);
        config->n_listeners++;
    }
}
