#include "shared/config/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shared/config/keys.h"

struct diff {
    void (*emit)(void *arg, const char *key, const char *from_value, const char *to_value, bool needs_restart);
    void *arg;
};

static bool needs_restart(const struct hr_cfg_key *key, const void *from, const void *to)
{
    switch (key->apply) {
    case HR_CFG_LIVE:
        return false;
    case HR_CFG_RESTART:
        return true;
    case HR_CFG_LIVE_LOWER:
        return hr_cfg_fetch(key, to) > hr_cfg_fetch(key, from);
    }
    return true;
}

/* Plain keys of two structs; prefix is "tcp." or "listeners[kafka].". */
static void diff_section(const struct diff *d, const struct hr_cfg_section *section, const char *prefix,
                         const void *from, const void *to)
{
    for (const struct hr_cfg_key *key = section->keys; key->name != NULL; key++) {
        char name[128], a[HR_CONFIG_PATH_MAX + 8], b[HR_CONFIG_PATH_MAX + 8];
        hr_cfg_format(key, from, a, sizeof(a));
        hr_cfg_format(key, to, b, sizeof(b));
        if (strcmp(a, b) == 0)
            continue;
        snprintf(name, sizeof(name), "%s%s", prefix, key->name);
        d->emit(d->arg, name, a, b, needs_restart(key, from, to));
    }
}

/* A text under construction; what does not fit is cut. */
struct text {
    char s[2048];
    size_t len;
};

static void HR_PRINTF(2, 3) add(struct text *t, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(t->s + t->len, sizeof(t->s) - t->len, fmt, args);
    va_end(args);
    if (n > 0)
        t->len = t->len + (size_t)n < sizeof(t->s) ? t->len + (size_t)n : sizeof(t->s) - 1;
}

static void add_addr(struct text *t, const struct hr_addr *addr)
{
    char s[HR_ADDR_STR_MAX];
    add(t, "%s", hr_addr_format(addr, s));
}

static void add_hostport(struct text *t, const char *before, const struct hr_config_hostport *hostport)
{
    char s[HR_POLICY_HOST_MAX + 8];
    hr_hostport_format(hostport->host, hostport->port, s, sizeof(s));
    add(t, "%s%s", before, s);
}

static void diff_text(const struct diff *d, const char *key, const struct text *from, const struct text *to,
                      bool restart)
{
    if (strcmp(from->s, to->s) != 0)
        d->emit(d->arg, key, from->s, to->s, restart);
}

static void workers_text(const struct hr_config *c, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < c->dataplane.n_workers; i++)
        add(t, "%s%u", i > 0 ? ", " : "", c->dataplane.worker_lcores[i]);
}

static void ports_text(const struct hr_config *c, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < c->dataplane.n_ports; i++) {
        const struct hr_config_port *p = &c->dataplane.ports[i];
        add(t, "%s%s: %s mtu %u", i > 0 ? "; " : "", p->name, p->device, p->mtu);
        if (p->tx_mbps != 0 || p->tx_kpps != 0)
            add(t, " tx %u Mbit/s %u kpps %u us", p->tx_mbps, p->tx_kpps, p->tx_burst_us);
        for (uint32_t j = 0; j < p->n_addrs; j++) {
            add(t, " ");
            add_addr(t, &p->addrs[j].addr);
            add(t, "/%u", p->addrs[j].prefix);
        }
        if (p->has_gateway) {
            add(t, " gateway ");
            add_addr(t, &p->gateway);
        }
        if (p->has_gateway6) {
            add(t, " gateway6 ");
            add_addr(t, &p->gateway6);
        }
        if (p->accept_ra)
            add(t, " gateway6 advertised");
        for (uint32_t j = 0; j < p->n_routes; j++) {
            add(t, " route ");
            add_addr(t, &p->routes[j].to.addr);
            add(t, "/%u via ", p->routes[j].to.prefix);
            add_addr(t, &p->routes[j].via);
            if (p->routes[j].mtu != 0)
                add(t, " mtu %u", p->routes[j].mtu);
        }
    }
}

static void bootstrap_text(const struct hr_config *c, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < c->cluster.n_bootstrap; i++)
        add_hostport(t, i > 0 ? ", " : "", &c->cluster.bootstrap[i]);
}

/* Where it is, not what it is; a command's arguments may be telling. */
static void secret_text(const struct hr_config_secret *secret, struct text *t)
{
    memset(t, 0, sizeof(*t));
    if (secret->file[0] != '\0')
        add(t, "file %s", secret->file);
    else if (secret->n_args > 0)
        add(t, "exec %s (%u arguments)", secret->args[0], secret->n_args - 1);
}

static void principals_text(const struct hr_config *config, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < config->n_principals; i++) {
        const struct hr_config_principal *p = &config->principals[i];
        add(t, "%s%s as %s%s%s%s", i > 0 ? ", " : "", p->principal, p->username, p->role_arn, p->secret.file[0] ? " by " : "",
            p->secret.file[0] ? p->secret.file : p->secret.n_args > 0 ? p->secret.args[0] : "");
    }
}

/* The parts of a listener that are not plain keys. */
static void listener_text(const struct hr_config_listener *listener, struct text *t)
{
    const struct hr_policy_listener *l = &listener->policy;
    memset(t, 0, sizeof(*t));
    add(t, "%s ", l->mode == HR_LISTENER_KAFKA ? "kafka" : "tcp");
    char at[HR_ADDR_STR_MAX], text[HR_ADDR_STR_MAX + 8];
    hr_hostport_format(hr_addr_format(&l->bind, at), l->bootstrap_port, text, sizeof(text));
    add(t, "%s", text);
    if (l->mode == HR_LISTENER_KAFKA && l->by_name)
        add(t, " nodes %d..%d by name, advertised %s:%d%s", l->node_id_min, l->node_id_max, l->adv_host,
            l->adv_port_base, l->adv_port_per_node ? "+id" : "");
    else if (l->mode == HR_LISTENER_KAFKA)
        add(t, " nodes %d..%d at %d+id, advertised %s:%d%s", l->node_id_min, l->node_id_max, l->node_port_base,
            l->adv_host, l->adv_port_base, l->adv_port_per_node ? "+id" : "");
    else
        add_hostport(t, " to ", &listener->target);
}

static void listener_files_text(const struct hr_config_listener_tls *tls, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < tls->n_certs; i++)
        add(t, "certificate %s key %s ", tls->certs[i].chain.path, tls->certs[i].key.path);
    if (tls->client_ca.path[0] != '\0')
        add(t, "client_ca %s ", tls->client_ca.path);
    if (tls->client_crl.path[0] != '\0')
        add(t, "client_crl %s", tls->client_crl.path);
}

static void zone_nets_text(const struct hr_config *c, uint32_t scope, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < z->n_nets; i++) {
        const struct hr_config_zone_net *net = &z->nets[i];
        if (net->scope != scope)
            continue;
        add(t, "%s", t->len > 0 ? ", " : "");
        add_addr(t, &net->addr);
        add(t, "/%u %s", hr_addr_is_v4(&net->addr) && net->bits >= 96 ? net->bits - 96u : net->bits,
            z->names[net->zone]);
    }
}

static void zone_brokers_text(const struct hr_config *c, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < z->n_brokers; i++) {
        const struct hr_config_zone_broker *rule = &z->brokers[i];
        add(t, "%s", i > 0 ? ", " : "");
        if (rule->host[0] != '\0')
            add(t, "%s %s", rule->host, z->names[rule->zone]);
        else
            add(t, "node %d %s", rule->node_id, z->names[rule->zone]);
    }
}

static void zone_prices_text(const struct hr_config *c, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    add(t, "%g", z->price_per_gb);
    for (uint32_t i = 0; i < z->n_prices; i++)
        add(t, ", %s-%s %g", z->names[z->prices[i].a], z->names[z->prices[i].b], z->prices[i].per_gb);
}

static void zone_peers_text(const struct hr_config *c, uint32_t listener, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < z->n_peers; i++) {
        const struct hr_config_peer *p = &z->peers[i];
        if (p->policy.listener == listener)
            add(t, "%s%s as %s:%d%s%s%s", t->len > 0 ? ", " : "", z->names[p->zone], p->policy.adv_host,
                p->policy.adv_port_base, p->policy.adv_port_per_node ? "+id" : "", p->health[0] != '\0' ? " while " : "",
                p->health);
    }
}

static void zone_nearest_text(const struct hr_config *c, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 1; i < z->n_names; i++)
        for (uint32_t k = 0; z->nearest[i][k] != 0; k++)
            add(t, "%s%s", k > 0 ? ", " : t->len > 0 ? "; " : "", z->names[z->nearest[i][k]]);
}

static void zone_aliases_text(const struct hr_config *c, struct text *t)
{
    const struct hr_config_zones *z = &c->zones;
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < z->n_aliases; i++)
        add(t, "%s%s = %s", i > 0 ? ", " : "", z->aliases[i].name, z->names[z->aliases[i].zone]);
}

static void zone_reads_text(const struct hr_config *c, struct text *t)
{
    static const char *const texts[HR_ZONE_READS_MAX] = {
        [HR_ZONE_READS_NONE] = "",
#define X(name, text) [HR_ZONE_READS_##name] = text,
        HR_ZONE_READS(X)
#undef X
    };
    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < c->zones.n_reads; i++)
        add(t, "%s%s %s", i > 0 ? ", " : "", c->zones.reads[i].topic, texts[c->zones.reads[i].reads]);
}

/* What of the group "auth" is no plain key. */
static void listener_auth_text(const struct hr_config_listener_auth *auth, struct text *t)
{
    memset(t, 0, sizeof(*t));
    for (int m = HR_CONFIG_MECH_NONE + 1; m < HR_CONFIG_MECH_MAX; m++) {
        if (auth->mechanisms & 1u << m)
            add(t, "%s ", hr_config_mechanism_name((enum hr_config_mechanism)m));
    }
    for (uint32_t i = 0; i < auth->n_allow; i++)
        add(t, "User:%s ", auth->allow[i]);
}

static void cluster_tls_text(const struct hr_config *c, struct text *t)
{
    const struct hr_config_cluster_tls *tls = &c->cluster.tls;
    memset(t, 0, sizeof(*t));
    add(t, "ca %s", tls->ca.path[0] != '\0' ? tls->ca.path : "of the system");
    if (tls->cert.chain.path[0] != '\0')
        add(t, " certificate %s key %s", tls->cert.chain.path, tls->cert.key.path);
}

static void trusted_text(const struct hr_policy_listener *l, struct text *t)
{
    char addr[HR_ADDR_STR_MAX];

    memset(t, 0, sizeof(*t));
    for (uint32_t i = 0; i < l->n_trusted; i++)
        add(t, "%s%s/%d", i > 0 ? ", " : "", hr_addr_format(&l->trusted[i].net, addr),
            l->trusted[i].bits - (hr_addr_is_v4(&l->trusted[i].net) ? 96 : 0));
}

static const struct hr_config_listener *find_listener(const struct hr_config *c, const char *name)
{
    for (uint32_t i = 0; i < c->n_listeners; i++) {
        if (strcmp(c->listeners[i].policy.name, name) == 0)
            return &c->listeners[i];
    }
    return NULL;
}

static void diff_listeners(const struct diff *d, const struct hr_config *from, const struct hr_config *to)
{
    char key[128];
    struct text a, b;
    for (uint32_t i = 0; i < from->n_listeners; i++) {
        const struct hr_config_listener *old = &from->listeners[i];
        const struct hr_config_listener *new = find_listener(to, old->policy.name);
        listener_text(old, &a);
        snprintf(key, sizeof(key), "listeners[%s]", old->policy.name);
        if (new == NULL) {
            d->emit(d->arg, key, a.s, "", false);
            continue;
        }
        listener_text(new, &b);
        diff_text(d, key, &a, &b, false);
        snprintf(key, sizeof(key), "listeners[%s].", old->policy.name);
        diff_section(d, &hr_cfg_listener_section, key, old, new);
        snprintf(key, sizeof(key), "listeners[%s].tls", old->policy.name);
        listener_files_text(&old->tls, &a), listener_files_text(&new->tls, &b);
        diff_text(d, key, &a, &b, false);
        zone_nets_text(from, i, &a), zone_nets_text(to, (uint32_t)(new - to->listeners), &b);
        snprintf(key, sizeof(key), "listeners[%s].client_zones", old->policy.name);
        diff_text(d, key, &a, &b, false);
        trusted_text(&old->policy, &a), trusted_text(&new->policy, &b);
        snprintf(key, sizeof(key), "listeners[%s].proxy_protocol.from", old->policy.name);
        diff_text(d, key, &a, &b, false);
        zone_peers_text(from, i, &a), zone_peers_text(to, (uint32_t)(new - to->listeners), &b);
        snprintf(key, sizeof(key), "listeners[%s].peers", old->policy.name);
        diff_text(d, key, &a, &b, false);
        snprintf(key, sizeof(key), "listeners[%s].tls.", old->policy.name);
        diff_section(d, &hr_cfg_listener_tls_section, key, old, new);
        snprintf(key, sizeof(key), "listeners[%s].auth", old->policy.name);
        listener_auth_text(&old->auth, &a), listener_auth_text(&new->auth, &b);
        diff_text(d, key, &a, &b, false);
        snprintf(key, sizeof(key), "listeners[%s].auth.", old->policy.name);
        diff_section(d, &hr_cfg_listener_auth_section, key, old, new);
        snprintf(key, sizeof(key), "listeners[%s].auth.oauth.", old->policy.name);
        diff_section(d, &hr_cfg_listener_oauth_section, key, &old->auth.oauth, &new->auth.oauth);
    }
    for (uint32_t i = 0; i < to->n_listeners; i++) {
        if (find_listener(from, to->listeners[i].policy.name) != NULL)
            continue;
        listener_text(&to->listeners[i], &b);
        snprintf(key, sizeof(key), "listeners[%s]", to->listeners[i].policy.name);
        d->emit(d->arg, key, "", b.s, false);
    }
}

bool hr_config_has_proxy_protocol(const struct hr_config *config)
{
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        if (config->listeners[i].policy.n_trusted > 0)
            return true;
    }
    return false;
}

bool hr_config_speaks_tls(const struct hr_config *config)
{
    for (uint32_t i = 0; i < config->n_listeners; i++)
        if (config->listeners[i].policy.tls)
            return true;
    return config->cluster.tls.on;
}

void hr_config_diff(const struct hr_config *from, const struct hr_config *to,
                    void (*emit)(void *arg, const char *key, const char *from_value, const char *to_value,
                                 bool needs_restart),
                    void *arg)
{
    struct diff d = {emit, arg};
    struct text a, b;
    for (const struct hr_cfg_section *section = hr_cfg_sections; section->name != NULL; section++) {
        char prefix[32];
        snprintf(prefix, sizeof(prefix), "%s%s", section->name, section->name[0] != '\0' ? "." : "");
        diff_section(&d, section, prefix, from, to);
    }
    workers_text(from, &a), workers_text(to, &b);
    diff_text(&d, "dataplane.workers", &a, &b, true);
    ports_text(from, &a), ports_text(to, &b);
    diff_text(&d, "dataplane.ports", &a, &b, true);
    memset(&a, 0, sizeof(a)), memset(&b, 0, sizeof(b));
    add(&a, "%u..%u", from->dataplane.source_port_min, from->dataplane.source_port_max);
    add(&b, "%u..%u", to->dataplane.source_port_min, to->dataplane.source_port_max);
    diff_text(&d, "dataplane.source_ports", &a, &b, true);
    bootstrap_text(from, &a), bootstrap_text(to, &b);
    diff_text(&d, "cluster.bootstrap", &a, &b, false);
    diff_section(&d, &hr_cfg_cluster_tls_section, "cluster.tls.", from, to);
    cluster_tls_text(from, &a), cluster_tls_text(to, &b);
    diff_text(&d, "cluster.tls", &a, &b, false);
    secret_text(&from->broker_auth.secret, &a), secret_text(&to->broker_auth.secret, &b);
    diff_text(&d, "broker_auth.secret", &a, &b, false);
    principals_text(from, &a), principals_text(to, &b);
    diff_text(&d, "broker_auth.principals", &a, &b, false);
    zone_aliases_text(from, &a), zone_aliases_text(to, &b);
    diff_text(&d, "zones.aliases", &a, &b, false);
    zone_brokers_text(from, &a), zone_brokers_text(to, &b);
    diff_text(&d, "zones.brokers", &a, &b, false);
    zone_nets_text(from, HR_ZONE_GLOBAL, &a), zone_nets_text(to, HR_ZONE_GLOBAL, &b);
    diff_text(&d, "zones.clients", &a, &b, false);
    zone_nearest_text(from, &a), zone_nearest_text(to, &b);
    diff_text(&d, "zones.nearest", &a, &b, false);
    zone_prices_text(from, &a), zone_prices_text(to, &b);
    diff_text(&d, "zones.price_per_gb", &a, &b, false);
    zone_reads_text(from, &a), zone_reads_text(to, &b);
    diff_text(&d, "zones.reads", &a, &b, false);
    memset(&a, 0, sizeof(a)), memset(&b, 0, sizeof(b));
    add(&a, "%s:%u", from->control.metrics_host, from->control.metrics_port);
    add(&b, "%s:%u", to->control.metrics_host, to->control.metrics_port);
    diff_text(&d, "control.metrics_address", &a, &b, true);
    diff_listeners(&d, from, to);
    if (hr_config_speaks_tls(to) && !hr_config_speaks_tls(from))
        emit(arg, "tls", "nowhere", "somewhere", true);
    if (hr_config_has_proxy_protocol(to) && !hr_config_has_proxy_protocol(from))
        emit(arg, "proxy_protocol", "nowhere", "somewhere", true);
    if (hr_config_has_logins(to) && !hr_config_has_logins(from))
        emit(arg, "auth", "nowhere", "somewhere", true);
}
