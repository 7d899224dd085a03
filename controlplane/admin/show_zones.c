/* `headracectl zones`: which zone everybody is in, and which rule says so. */
#include <string.h>

#include "controlplane/admin/commands.h"
#include "controlplane/admin/zones_json.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/policy/zones.h"
#include "controlplane/zones/instance.h"

json_t *hr_zones_text(const char *name)
{
    json_t *value = json_string(name);

    return value ? value : json_string("(not UTF-8)");
}

json_t *hr_zones_name(const struct hr_zone_map *map, uint8_t zone)
{
    return zone != HR_ZONE_NONE ? hr_zones_text(map->name[zone]) : json_null();
}

static json_t *net_text(const struct hr_zone_net *net)
{
    char addr[HR_ADDR_STR_MAX];
    bool v4 = net->bits >= 96 && hr_addr_is_v4(&net->addr);

    return json_sprintf("%s/%u", hr_addr_format(&net->addr, addr), v4 ? net->bits - 96u : net->bits);
}

/* The line of the configuration that the network stands on. */
static uint32_t line_of(const struct hr_config *config, uint32_t scope, const struct hr_zone_net *net)
{
    for (uint32_t i = 0; i < config->zones.n_nets; i++) {
        const struct hr_config_zone_net *from = &config->zones.nets[i];

        if (from->scope == scope && from->bits == net->bits && hr_addr_equal(&from->addr, &net->addr))
            return from->line;
    }
    return 0;
}

/* As workers look a client up (hr_zone_of_client()), with the rule. */
static json_t *explain_client(const struct hr_daemon *d, const struct hr_zone_map *map, uint32_t listener,
                              const struct hr_addr *addr)
{
    uint32_t scope = listener;
    const struct hr_zone_net *net = hr_zone_find_net(map, scope, addr);
    json_t *obj = json_object();

    if (!net)
        net = hr_zone_find_net(map, scope = HR_ZONE_GLOBAL, addr);
    json_object_set_new(obj, "zone", hr_zones_name(map, hr_zone_of_client(map, listener, addr)));
    json_object_set_new(obj, "rule", json_string(!net                      ? "zones.own"
                                                 : scope == HR_ZONE_GLOBAL ? "zones.clients"
                                                                           : "client_zones"));
    if (net) {
        json_object_set_new(obj, "network", net_text(net));
        json_object_set_new(obj, "line", json_integer(line_of(d->config, scope, net)));
    }
    return obj;
}

static json_t *broker_json(struct hr_daemon *d, const struct hr_policy *policy, const struct hr_cluster_broker *broker)
{
    const struct hr_policy_broker *known = hr_policy_find_broker(policy, broker->id);
    struct hr_zone_map map = policy->zones; /* what is asked must not become one more number */
    enum hr_zone_reason reason;
    bool have_addr = known && !hr_addr_is_any(&known->addr);
    uint8_t zone = hr_zones_of_broker(d->config, &map, broker, have_addr ? &known->addr : NULL, &reason);

    return json_pack("{s:i, s:o, s:o, s:o, s:s}", "node", broker->id, "host", hr_zones_text(broker->host), "rack",
                     hr_zones_text(broker->rack), "zone", hr_zones_name(&map, zone), "by", hr_zone_reason_text(reason));
}

/* The brokers; addr: those with this address. */
static json_t *brokers_at(struct hr_daemon *d, const struct hr_policy *policy, const struct hr_addr *addr)
{
    const struct hr_cluster *cluster = hr_metadata_cluster(d->metadata);
    json_t *array = json_array();

    for (uint32_t i = 0; cluster && i < cluster->n_brokers; i++) {
        const struct hr_policy_broker *known = hr_policy_find_broker(policy, cluster->brokers[i].id);

        if (!addr || (known && hr_addr_equal(&known->addr, addr)))
            json_array_append_new(array, broker_json(d, policy, &cluster->brokers[i]));
    }
    return array;
}

static void explain(struct hr_daemon *d, struct hr_admin_request *request, const struct hr_policy *policy,
                    const char *ip)
{
    json_t *listeners = json_array();
    struct hr_addr addr;

    if (!hr_addr_parse(ip, &addr)) {
        json_decref(listeners);
        hr_admin_fail(request, HR_E_INVALID, "\"%.60s\" is no IPv4 or IPv6 address", ip);
        return;
    }
    for (uint32_t i = 0; i < policy->n_listeners; i++) {
        json_t *obj = explain_client(d, &policy->zones, i, &addr);

        json_object_set_new(obj, "listener", hr_zones_text(policy->listeners[i].name));
        json_array_append_new(listeners, obj);
    }
    hr_admin_reply(request, json_pack("{s:o, s:o, s:o, s:o}", "address", hr_zones_text(ip), "config", hr_zones_text(d->config->path),
                                      "client", listeners, "broker", brokers_at(d, policy, &addr)));
}

static json_t *own_json(const struct hr_daemon *d, const struct hr_zone_map *map)
{
    bool instance = strcmp(d->config->zones.own, HR_CONFIG_ZONE_INSTANCE) == 0;

    return json_pack("{s:o, s:s, s:o}", "zone", hr_zones_name(map, map->own), "by",
                     instance ? "the instance's metadata" : "zones.own", "error",
                     hr_zones_text(instance ? hr_instance_zone_error(d->instance_zone) : ""));
}

void hr_command_zones(struct hr_daemon *d, struct hr_admin_request *request, const json_t *args)
{
    const struct hr_policy *policy = hr_publisher_policy(d->publisher);
    const char *ip = json_string_value(json_object_get(args, "explain"));
    json_t *zones = json_array(), *result;

    if (!policy) {
        json_decref(zones);
        hr_admin_fail(request, HR_E_NOT_FOUND, "no policy was published since the control plane started");
        return;
    }
    if (ip) {
        json_decref(zones);
        explain(d, request, policy, ip);
        return;
    }
    if (json_is_true(json_object_get(args, "advise"))) {
        json_decref(zones);
        result = hr_zones_advice(d, request, policy);
        if (result)
            hr_admin_reply(request, result);
        return;
    }
    for (uint8_t i = 1; i < policy->zones.n; i++)
        json_array_append_new(zones, hr_zones_name(&policy->zones, i));
    result = json_pack("{s:o, s:o, s:o, s:i}", "own", own_json(d, &policy->zones), "zones", zones, "brokers",
                       brokers_at(d, policy, NULL), "networks", policy->zones.n_nets);
    hr_zones_add_bytes(d, &policy->zones, result);
    hr_admin_reply(request, result);
}
