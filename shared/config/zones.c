/* The group "zones", and "client_zones" of listeners. Zones are kept by number in a table of names that aliases have
 * been resolved for, so that whoever reads them later need not know of aliases; only what brokers and the instance's
 * metadata say has yet to be looked up (hr_config_zone_name()). */
#include <stdio.h>
#include <string.h>

#include "shared/config/impl.h"

static const struct hr_cfg_groups
    aliases_shape = {HR_CFG_BY_HAND("name", "zone"), HR_CONFIG_ZONE_ALIASES, "{ name = \"us-east-1a\"; zone = \"use1-az1\"; }"},
    brokers_shape = {HR_CFG_BY_HAND("node", "host", "zone"), HR_CONFIG_ZONE_BROKERS, "{ node = 1; zone = \"use1-az1\"; }"},
    nets_shape = {HR_CFG_BY_HAND("cidr", "zone"), HR_ZONE_NETS_MAX, "{ cidr = \"10.0.1.0/24\"; zone = \"use1-az1\"; }"},
    prices_shape = {HR_CFG_BY_HAND("zone", "other", "per_gb"), HR_CONFIG_ZONE_PRICES,
                    "{ zone = \"use1-az1\"; other = \"use1-az4\"; per_gb = 0.02; }"},
    peers_shape = {HR_CFG_BY_HAND("zone", "advertised_host", "advertised_port", "health"), HR_POLICY_MAX_PEERS,
                   "{ zone = \"use1-az2\"; advertised_host = ...; }"},
    nearest_shape = {HR_CFG_BY_HAND("zone", "others"), HR_ZONES_MAX - 1, "{ zone = \"use1-az1\"; others = [\"use1-az2\"]; }"},
    reads_shape = {HR_CFG_BY_HAND("topic", "reads"), HR_CONFIG_ZONE_READS, "{ topic = \"logs-*\"; reads = \"on\"; }"};

static const char *read_name(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key)
{
    config_setting_t *setting = hr_cfg_member(reader, group, key, true);
    const char *name = setting != NULL ? hr_cfg_string(reader, setting, HR_ZONE_NAME_MAX) : NULL;
    if (name != NULL && name[0] == '\0') {
        hr_cfg_error(reader, setting, "must name a zone, like \"use1-az1\"");
        return NULL;
    }
    return name;
}

const char *hr_config_zone_name(const struct hr_config *config, const char *name)
{
    const struct hr_config_zones *zones = &config->zones;
    for (uint32_t i = 0; i < zones->n_aliases; i++) {
        if (strcmp(zones->aliases[i].name, name) == 0)
            return zones->names[zones->aliases[i].zone];
    }
    return name;
}

/* The number of the zone that has this name or alias; 0 after an error. */
static uint8_t number(struct hr_cfg_reader *reader, const config_setting_t *at, const char *name, struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    name = hr_config_zone_name(config, name);
    for (uint8_t i = 1; i < zones->n_names; i++) {
        if (strcmp(zones->names[i], name) == 0)
            return i;
    }
    if (zones->n_names >= HR_ZONES_MAX) {
        hr_cfg_error(reader, at, "is zone number %u: at most %u may be named", zones->n_names, HR_ZONES_MAX - 1);
        return 0;
    }
    snprintf(zones->names[zones->n_names], HR_ZONE_NAME_MAX, "%s", name);
    return (uint8_t)zones->n_names++;
}

/* Of the zone that a member of group names. */
static uint8_t read_zone(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key,
                         struct hr_config *config)
{
    const char *name = read_name(reader, group, key);
    return name != NULL ? number(reader, group, name, config) : 0;
}

static void read_aliases(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    struct hr_cfg_walk aliases = hr_cfg_walk(reader, group, "aliases", &aliases_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&aliases, NULL)) != NULL) {
        const char *name = read_name(reader, one, "name");
        uint8_t zone = read_zone(reader, one, "zone", config);
        if (name == NULL || zone == 0)
            continue;
        bool taken = strcmp(hr_config_zone_name(config, name), name) != 0;
        for (uint32_t j = 1; j < zones->n_names && !taken; j++)
            taken = strcmp(zones->names[j], name) == 0;
        if (taken) {
            hr_cfg_error(reader, hr_cfg_member(reader, one, "name", true),
                         "is the name of a zone or another alias already: an alias is one more name of one zone");
            continue;
        }
        struct hr_config_zone_alias *alias = &zones->aliases[zones->n_aliases++];
        snprintf(alias->name, sizeof(alias->name), "%s", name);
        alias->zone = zone;
    }
}

static void read_brokers(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    struct hr_cfg_walk brokers = hr_cfg_walk(reader, group, "brokers", &brokers_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&brokers, NULL)) != NULL) {
        config_setting_t *node = hr_cfg_member(reader, one, "node", false);
        config_setting_t *host = hr_cfg_member(reader, one, "host", false);
        struct hr_config_zone_broker rule = {.node_id = -1, .zone = read_zone(reader, one, "zone", config)};
        int64_t id;
        if ((node == NULL) == (host == NULL)) {
            hr_cfg_error(reader, one, "needs one of node = 1 and host = \"b-1.*\"");
            continue;
        }
        const char *pattern = host != NULL ? hr_cfg_string(reader, host, sizeof(rule.host)) : NULL;
        if (node != NULL ? !hr_cfg_number(reader, node, 0, INT32_MAX, &id) : pattern == NULL)
            continue;
        if (node != NULL)
            rule.node_id = (int32_t)id;
        else if (pattern[0] == '\0')
            hr_cfg_error(reader, host, "must be a broker's name, or a pattern like \"b-1.*\"");
        else
            snprintf(rule.host, sizeof(rule.host), "%s", pattern);
        zones->brokers[zones->n_brokers++] = rule;
    }
}

static bool known_net(struct hr_cfg_reader *reader, const config_setting_t *setting, const struct hr_config_zones *zones,
                      const struct hr_config_zone_net *net)
{
    for (uint32_t i = 0; i < zones->n_nets; i++) {
        const struct hr_config_zone_net *other = &zones->nets[i];
        if (other->scope != net->scope || other->bits != net->bits || !hr_addr_equal(&other->addr, &net->addr))
            continue;
        hr_cfg_error(reader, setting, "stands on line %u already: give each network one zone", other->line);
        return true;
    }
    return false;
}

static void read_nets(struct hr_cfg_reader *reader, const config_setting_t *group, const char *key, uint8_t scope,
                      struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    struct hr_cfg_walk nets = hr_cfg_walk(reader, group, key, &nets_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&nets, NULL)) != NULL) {
        config_setting_t *cidr = hr_cfg_member(reader, one, "cidr", true);
        struct hr_config_addr prefix;
        struct hr_config_zone_net net = {.zone = read_zone(reader, one, "zone", config), .scope = scope};
        if (cidr == NULL || !hr_cfg_prefix(reader, cidr, true, &prefix) || net.zone == 0)
            continue;
        net.addr = prefix.addr;
        net.bits = hr_addr_prefix_bits(&prefix.addr, prefix.prefix);
        net.line = (uint32_t)config_setting_source_line(cidr);
        if (known_net(reader, cidr, zones, &net))
            continue;
        if (zones->n_nets >= HR_ZONE_NETS_MAX) {
            hr_cfg_error(reader, cidr, "is one too many: all lists together hold at most %d networks", HR_ZONE_NETS_MAX);
            return;
        }
        zones->nets[zones->n_nets++] = net;
    }
}

/* Dollars; a price may be written without a point. */
static bool read_price(struct hr_cfg_reader *reader, const config_setting_t *setting, double *ret_price)
{
    int type = config_setting_type(setting);
    double price = type == CONFIG_TYPE_FLOAT ? config_setting_get_float(setting)
                   : type == CONFIG_TYPE_INT ? (double)config_setting_get_int(setting)
                                             : -1;
    if (!(price >= 0 && price <= 100)) {
        hr_cfg_error(reader, setting, "must be dollars for a gigabyte, 0.0..100.0, like 0.01");
        return false;
    }
    *ret_price = price;
    return true;
}

static void read_prices(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    config_setting_t *per_gb = hr_cfg_member(reader, group, "price_per_gb", false);
    struct hr_cfg_walk prices = hr_cfg_walk(reader, group, "prices", &prices_shape);
    config_setting_t *one;

    if (per_gb != NULL)
        read_price(reader, per_gb, &zones->price_per_gb);
    while ((one = hr_cfg_next(&prices, NULL)) != NULL) {
        config_setting_t *price = hr_cfg_member(reader, one, "per_gb", true);
        struct hr_config_zone_price *to = &zones->prices[zones->n_prices];
        if (price == NULL || !read_price(reader, price, &to->per_gb))
            continue;
        to->a = read_zone(reader, one, "zone", config);
        to->b = read_zone(reader, one, "other", config);
        if (to->a != 0 && to->a == to->b)
            hr_cfg_error(reader, one, "names one zone twice: within a zone nothing is paid");
        else if (to->a != 0 && to->b != 0)
            zones->n_prices++;
    }
}

/* Instances in other zones, as clients of this listener reach them. */
static void read_peers(struct hr_cfg_reader *reader, const config_setting_t *listener, uint8_t index,
                       struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    struct hr_cfg_walk peers = hr_cfg_walk(reader, listener, "peers", &peers_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&peers, NULL)) != NULL) {
        config_setting_t *health = hr_cfg_member(reader, one, "health", false);
        struct hr_policy_listener as = config->listeners[index].policy;
        if (hr_cfg_member(reader, one, "advertised_host", true) == NULL)
            continue;
        if (zones->n_peers >= HR_POLICY_MAX_PEERS) {
            hr_cfg_error(reader, one, "is one too many: all listeners together have at most %d peers", HR_POLICY_MAX_PEERS);
            return;
        }
        struct hr_config_peer *to = &zones->peers[zones->n_peers];
        hr_cfg_read_advertised(reader, one, &as);
        to->zone = read_zone(reader, one, "zone", config);
        to->policy.listener = index;
        to->policy.adv_port_base = as.adv_port_base;
        to->policy.adv_port_per_node = as.adv_port_per_node;
        memcpy(to->policy.adv_host, as.adv_host, sizeof(as.adv_host));
        const char *url = health != NULL ? hr_cfg_string(reader, health, sizeof(to->health)) : "";
        if (url == NULL || to->zone == 0)
            continue;
        if (url[0] != '\0' && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
            hr_cfg_error(reader, health, "must be a URL like \"http://10.0.2.5:9644/ready\"");
            continue;
        }
        snprintf(to->health, sizeof(to->health), "%s", url);
        zones->n_peers++;
    }
}

static void read_nearest(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    struct hr_config_zones *zones = &config->zones;
    uint32_t n_others;
    struct hr_cfg_walk nearest = hr_cfg_walk(reader, group, "nearest", &nearest_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&nearest, NULL)) != NULL) {
        uint8_t zone = read_zone(reader, one, "zone", config);
        config_setting_t *others = zone != 0 ? hr_cfg_list(reader, one, "others", true, HR_ZONES_MAX - 2, &n_others) : NULL;
        for (uint32_t k = 0; others != NULL && k < n_others; k++) {
            const char *name = hr_cfg_string(reader, config_setting_get_elem(others, k), HR_ZONE_NAME_MAX);
            uint8_t other = name != NULL ? number(reader, config_setting_get_elem(others, k), name, config) : 0;
            if (other == zone)
                hr_cfg_error(reader, config_setting_get_elem(others, k), "is the zone itself");
            zones->nearest[zone][k] = other;
        }
    }
}

static void read_reads(struct hr_cfg_reader *reader, const config_setting_t *group, struct hr_config *config)
{
    static const char *const choices[] = {
#define X(name, text) text,
        HR_ZONE_READS(X)
#undef X
            NULL};
    struct hr_cfg_walk rules = hr_cfg_walk(reader, group, "reads", &reads_shape);
    config_setting_t *one;

    while ((one = hr_cfg_next(&rules, NULL)) != NULL) {
        config_setting_t *topic = hr_cfg_member(reader, one, "topic", true);
        config_setting_t *reads = hr_cfg_member(reader, one, "reads", true);
        struct hr_config_zone_reads *rule = &config->zones.reads[config->zones.n_reads];
        const char *pattern = topic != NULL ? hr_cfg_string(reader, topic, sizeof(rule->topic)) : NULL;
        int choice;
        if (pattern == NULL || reads == NULL || !hr_cfg_choice(reader, reads, choices, &choice))
            continue;
        if (pattern[0] == '\0') {
            hr_cfg_error(reader, topic, "must be a topic's name, or a pattern like \"logs-*\"");
            continue;
        }
        snprintf(rule->topic, sizeof(rule->topic), "%s", pattern);
        rule->reads = (uint8_t)(HR_ZONE_READS_NONE + 1 + choice);
        config->zones.n_reads++;
    }
}

void hr_cfg_read_zones(struct hr_cfg_reader *reader, const config_setting_t *root, struct hr_config *config)
{
    config_setting_t *group = config_setting_get_member(root, "zones");
    config_setting_t *listeners = config_setting_get_member(root, "listeners");

    config->zones.n_names = 1; /* number 0 is none */
    config->zones.price_per_gb = HR_CONFIG_ZONE_PRICE;
    if (group != NULL && config_setting_is_group(group)) {
        read_aliases(reader, group, config);
        read_brokers(reader, group, config);
        read_nets(reader, group, "clients", HR_ZONE_GLOBAL, config);
        read_prices(reader, group, config);
        read_nearest(reader, group, config);
        read_reads(reader, group, config);
    }
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        config_setting_t *listener = config_setting_get_elem(listeners, i);
        if (config_setting_is_group(listener)) {
            read_nets(reader, listener, "client_zones", (uint8_t)i, config);
            read_peers(reader, listener, (uint8_t)i, config);
        }
    }
}
