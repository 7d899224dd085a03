#include "shared/config/keys.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const idles[] = {"adaptive", "busy", NULL};
static const char *const congestions[] = {"cubic", "reno", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const families[] = {"ipv4", "ipv6", NULL};
static const char *const routings[] = {"port", "sni", NULL};
static const char *const principal_sources[] = {"dn", "san.dns", "san.uri", "san.email", NULL};
static const char *const zone_reads[] = {"off", "auto", "on", NULL};
static const char *const tls_versions[] = {"1.2", "1.3", NULL};
static const char *const auth_modes[] = {"passthrough", "terminate", "none", NULL};
static const char *const broker_identities[] = {"auto", "shared", "principal", NULL};
static const char *const client_auths[] = {"none", "optional", "required", NULL};

static const char *const mechanisms[] = {"none",        "PLAIN",       "SCRAM-SHA-256", "SCRAM-SHA-512",
                                        "OAUTHBEARER", "AWS_MSK_IAM", NULL};
static const char *const aws_sources[] = {"default", "environment", "web-identity", "file", "container", "instance", NULL};

#define AT(type, field) offsetof(type, field), sizeof(((type *)0)->field)
#define NUMBER(key, field, lo, hi, default_, apply_)                                                         \
    {.name = key, .type = HR_CFG_NUMBER, .apply = HR_CFG_##apply_, AT(IN, field), .min = (lo), .max = (hi),  \
     .def = (default_)}
#define BOOLEAN(key, field, default_, apply_)                                                                \
    {.name = key, .type = HR_CFG_BOOL, .apply = HR_CFG_##apply_, AT(IN, field), .max = 1, .def = (default_)}
#define STRING(key, field, least, default_, apply_)                                                          \
    {.name = key, .type = HR_CFG_STRING, .apply = HR_CFG_##apply_, AT(IN, field), .min = (least),            \
     .def_text = (default_)}
#define CHOICE(key, field, list, first, default_, apply_)                                                    \
    {.name = key, .type = HR_CFG_CHOICE, .apply = HR_CFG_##apply_, AT(IN, field), .min = (first),            \
     .max = (first) + (int64_t)(sizeof(list) / sizeof(*(list))) - 2, .def = (default_), .choices = (list)}

#define MIB 1048576
#define IN  struct hr_config

const struct hr_cfg_key hr_cfg_no_keys[] = {{0}};

static const struct hr_cfg_key zones_keys[] = {
    STRING("own", zones.own, 0, "", LIVE),
    NUMBER("reads_min_bytes", zones.reads_min_bytes, 0, HR_ZONE_READS_MIN_BYTES_MAX, 16384, LIVE),
    {0},
};

static const struct hr_cfg_key dataplane_keys[] = {
    NUMBER("main_lcore", dataplane.main_lcore, 0, 127, 0, RESTART),
    CHOICE("idle", dataplane.idle_busy, idles, 0, 0, LIVE),
    BOOLEAN("hugepages", dataplane.hugepages, 1, RESTART),
    NUMBER("memory_mb", dataplane.memory_mb, 64, 1048576, 1024, RESTART),
    NUMBER("mbufs_per_worker", dataplane.mbufs_per_worker, 0, 16777216, 0, RESTART),
    STRING("user", dataplane.user, 0, "", RESTART),
    STRING("file_prefix", dataplane.file_prefix, 1, "headrace", RESTART),
    {0},
};

static const struct hr_cfg_key tcp_keys[] = {
    CHOICE("congestion", tcp.congestion, congestions, HR_CONFIG_CUBIC, HR_CONFIG_CUBIC, RESTART),
    NUMBER("rcv_wnd_initial", tcp.rcv_wnd_initial, 4096, 16 * MIB, 65536, RESTART),
    NUMBER("rcv_wnd_max", tcp.rcv_wnd_max, 16384, 256 * MIB, 4 * MIB, RESTART),
    NUMBER("snd_buf_max", tcp.snd_buf_max, 16384, 256 * MIB, 4 * MIB, RESTART),
    NUMBER("conn_bufs_max", tcp.conn_bufs_max, 64, 1048576, 8192, RESTART),
    NUMBER("keepalive_s", tcp.keepalive_s, 0, 7200, 240, RESTART),
    NUMBER("rto_min_ms", tcp.rto_min_ms, 1, 1000, 200, RESTART),
    NUMBER("msl_ms", tcp.msl_ms, 100, 120000, 5000, RESTART),
    NUMBER("user_timeout_ms", tcp.user_timeout_ms, 1000, 3600000, 30000, RESTART),
    NUMBER("zero_window_timeout_ms", tcp.zero_window_timeout_ms, 1000, 3600000, 600000, RESTART),
    NUMBER("half_close_timeout_ms", tcp.half_close_timeout_ms, 1000, 3600000, 60000, RESTART),
    {0},
};

static const struct hr_cfg_key limits_keys[] = {
    NUMBER("max_connections", limits.max_connections, 1, HR_MAX_SESSIONS_MAX, 10000, LIVE_LOWER),
    NUMBER("max_half_open", limits.max_half_open, 1, 1048576, 4096, RESTART),
    NUMBER("max_time_wait", limits.max_time_wait, 1, 4194304, 65536, RESTART),
    NUMBER("connect_rate", limits.connect_rate, 0, 1000000, 10000, RESTART),
    NUMBER("tls_rekey_records", limits.tls_rekey_records, 1, 16777216, 16777216, RESTART),
    NUMBER("hold_max_bytes", limits.hold_max_bytes, HR_HOLD_MAX_MIN, HR_HOLD_MAX_MAX, MIB, LIVE_LOWER),
    NUMBER("drain_timeout_ms", limits.drain_timeout_ms, 0, 3600000, 30000, LIVE),
    {0},
};

static const struct hr_cfg_key cluster_keys[] = {
    NUMBER("refresh_ms", cluster.refresh_ms, 1000, 3600000, 30000, LIVE),
    NUMBER("refresh_min_ms", cluster.refresh_min_ms, 50, 60000, 1000, LIVE),
    NUMBER("request_timeout_ms", cluster.request_timeout_ms, 100, 300000, 10000, LIVE),
    CHOICE("prefer", cluster.prefer_ipv6, families, 0, 0, RESTART),
    {0},
};

static const struct hr_cfg_key broker_auth_keys[] = {
    CHOICE("mechanism", broker_auth.mechanism, mechanisms, HR_CONFIG_MECH_NONE, HR_CONFIG_MECH_NONE, LIVE),
    STRING("username", broker_auth.username, 0, "", LIVE),
    STRING("token_url", broker_auth.token_url, 0, "", LIVE),
    STRING("token_scope", broker_auth.token_scope, 0, "", LIVE),
    CHOICE("aws_credentials", broker_auth.aws_credentials, aws_sources, HR_CONFIG_AWS_DEFAULT, HR_CONFIG_AWS_DEFAULT,
           LIVE),
    STRING("aws_region", broker_auth.aws_region, 0, "", LIVE),
    STRING("aws_file", broker_auth.aws_file, 0, "", LIVE),
    STRING("aws_profile", broker_auth.aws_profile, 0, "", LIVE),
    STRING("aws_role_arn", broker_auth.aws_role_arn, 0, "", LIVE),
    STRING("aws_session_name", broker_auth.aws_session_name, 0, "", LIVE),
    STRING("aws_external_id", broker_auth.aws_external_id, 0, "", LIVE),
    STRING("metadata_principal", metadata_principal, 0, "", LIVE),
    NUMBER("connect_rate", pacing.rate, 0, 100000, 0, LIVE),
    STRING("broker_type", pacing.broker_type, 0, "", LIVE),
    NUMBER("instances", pacing.instances, 1, 1000, 1, LIVE),
    {0},
};

static const struct hr_cfg_key control_keys[] = {
    STRING("runtime_dir", control.runtime_dir, 1, "/run/headrace", RESTART),
    STRING("user", control.user, 0, "nobody", RESTART),
    {0},
};

static const struct hr_cfg_key log_keys[] = {
    CHOICE("level", log.level, levels, HR_LOG_ERROR, HR_LOG_INFO, LIVE),
    CHOICE("format", log.format, formats, HR_LOG_TEXT, HR_LOG_TEXT, LIVE),
    {0},
};

static const char *const top_others[] = {"dataplane", "tcp", "limits", "cluster", "broker_auth", "listeners", "zones", "control", "log", NULL};
static const char *const dataplane_others[] = {"workers", "source_ports", "ports", NULL};
static const char *const cluster_others[] = {"bootstrap", "tls", NULL};
static const char *const broker_auth_others[] = {"secret", "principals", NULL};
static const char *const control_others[] = {"metrics_address", NULL};
static const char *const zones_others[] = {"aliases", "brokers", "clients", "nearest", "price_per_gb", "prices", "reads", NULL};
static const char *const none[] = {NULL};

const struct hr_cfg_section hr_cfg_sections[] = {
    {"", hr_cfg_no_keys, top_others},
    {"dataplane", dataplane_keys, dataplane_others},
    {"tcp", tcp_keys, none},
    {"limits", limits_keys, none},
    {"cluster", cluster_keys, cluster_others},
    {"broker_auth", broker_auth_keys, broker_auth_others},
    {"zones", zones_keys, zones_others},
    {"control", control_keys, control_others},
    {"log", log_keys, none},
    {0},
};

static const struct hr_cfg_key cluster_tls_keys[] = {
    BOOLEAN("enabled", cluster.tls.on, 0, LIVE),
    {0},
};
static const char *const cluster_tls_others[] = {"ca", "certificate", "key", NULL};
const struct hr_cfg_section hr_cfg_cluster_tls_section = {"cluster.tls", cluster_tls_keys, cluster_tls_others};

#undef IN
#define IN struct hr_config_port

static const struct hr_cfg_key port_keys[] = {
    STRING("name", name, 1, "", RESTART),
    STRING("device", device, 1, "", RESTART),
    NUMBER("mtu", mtu, 576, 61000, 1500, RESTART),
    NUMBER("tx_mbps", tx_mbps, 0, 1000000, 0, RESTART),
    NUMBER("tx_kpps", tx_kpps, 0, 1000000, 0, RESTART),
    NUMBER("tx_burst_us", tx_burst_us, 100, 1000000, 2000, RESTART),
    {0},
};
static const char *const port_others[] = {"addresses", "gateway", "gateway6", "routes", NULL};
const struct hr_cfg_section hr_cfg_port_section = {"ports", port_keys, port_others};

#undef IN
#define IN struct hr_config_listener

static const struct hr_cfg_key listener_keys[] = {
    STRING("name", policy.name, 1, "", LIVE),
    NUMBER("max_connections", policy.max_connections, 1, HR_MAX_SESSIONS_MAX, 10000, LIVE),
    NUMBER("connect_timeout_ms", policy.connect_timeout_ms, HR_CONNECT_TIMEOUT_MIN_MS, 60000, 3000, LIVE),
    NUMBER("idle_timeout_ms", policy.idle_timeout_ms, 0, HR_TIMEOUT_MAX_MS, 660000, LIVE),
    NUMBER("max_frame_bytes", policy.max_frame_bytes, 1024, INT32_MAX, 104857600, LIVE),
    NUMBER("max_in_flight", policy.max_in_flight, 1, HR_MAX_IN_FLIGHT, HR_MAX_IN_FLIGHT, LIVE),
    NUMBER("request_timeout_ms", policy.request_timeout_ms, 0, HR_TIMEOUT_MAX_MS, 120000, LIVE),
    CHOICE("zone_reads", policy.zone_reads, zone_reads, HR_ZONE_READS_OFF, HR_ZONE_READS_OFF, LIVE),
    CHOICE("routing", policy.by_name, routings, 0, 0, LIVE),
    STRING("bootstrap_host", bootstrap_host, 0, "", LIVE),
    {0},
};
static const char *const listener_others[] = {"mode",     "address",         "bootstrap_port",  "port", "node_port_base",
                                              "node_ids", "advertised_host", "advertised_port", "target", "tls", "client_zones", "peers", "auth", "proxy_protocol", NULL};
const struct hr_cfg_section hr_cfg_listener_section = {"listeners", listener_keys, listener_others};

static const struct hr_cfg_key listener_tls_keys[] = {
    BOOLEAN("enabled", policy.tls, 0, LIVE),
    CHOICE("min_version", tls.tls13_only, tls_versions, 0, 0, LIVE),
    CHOICE("client_auth", tls.client_auth, client_auths, HR_CONFIG_CLIENT_AUTH_NONE, HR_CONFIG_CLIENT_AUTH_NONE, LIVE),
    CHOICE("principal_source", tls.principal_source, principal_sources, HR_CONFIG_PRINCIPAL_DN, HR_CONFIG_PRINCIPAL_DN, LIVE),
    STRING("principal_rules", tls.principal_rules, 1, "DEFAULT", LIVE),
    NUMBER("handshake_timeout_ms", policy.handshake_timeout_ms, HR_HANDSHAKE_TIMEOUT_MIN_MS,
           HR_HANDSHAKE_TIMEOUT_MAX_MS, 10000, LIVE),
    NUMBER("max_handshakes", policy.max_handshakes, 1, HR_HANDSHAKES_MAX, 256, LIVE),
    NUMBER("handshake_rate", policy.handshake_rate, 1, HR_HANDSHAKE_RATE_MAX, 1000, LIVE),
    {0},
};
static const char *const listener_tls_others[] = {"certificates", "client_ca", "client_crl", NULL};
const struct hr_cfg_section hr_cfg_listener_tls_section = {"listeners.tls", listener_tls_keys, listener_tls_others};

static const struct hr_cfg_key listener_auth_keys[] = {
    CHOICE("mode", auth.mode, auth_modes, HR_CONFIG_AUTH_PASSTHROUGH, HR_CONFIG_AUTH_PASSTHROUGH, LIVE),
    STRING("users", auth.users, 0, "/etc/headrace/users", LIVE),
    NUMBER("session_lifetime_s", auth.session_lifetime_s, 0, 604800, 0, LIVE),
    NUMBER("attempts_per_minute", auth.attempts_per_minute, 1, 1000000, 600, LIVE),
    CHOICE("broker_identity", auth.broker_identity, broker_identities, HR_CONFIG_BROKER_IDENTITY_AUTO,
           HR_CONFIG_BROKER_IDENTITY_AUTO, LIVE),
    {0},
};
static const char *const listener_auth_others[] = {"mechanisms", "allow", "oauth", NULL};
const struct hr_cfg_section hr_cfg_listener_auth_section = {"listeners.auth", listener_auth_keys, listener_auth_others};

#undef IN
#define IN struct hr_config_oauth

static const struct hr_cfg_key listener_oauth_keys[] = {
    STRING("jwks_url", jwks_url, 0, "", LIVE),
    STRING("jwks_file", jwks_file, 0, "", LIVE),
    STRING("ca", ca, 0, "", LIVE),
    STRING("issuer", issuer, 0, "", LIVE),
    STRING("audience", audience, 0, "", LIVE),
    STRING("scope", scope, 0, "", LIVE),
    STRING("principal_claim", principal_claim, 1, "sub", LIVE),
    NUMBER("clock_skew_s", clock_skew_s, 0, 300, 30, LIVE),
    NUMBER("refresh_s", refresh_s, 60, 86400, 3600, LIVE),
    {0},
};
const struct hr_cfg_section hr_cfg_listener_oauth_section = {"listeners.auth.oauth", listener_oauth_keys, none};

#undef IN
#define IN struct hr_config_principal
static const struct hr_cfg_key principal_keys[] = {
    STRING("principal", principal, 0, "", LIVE),
    STRING("username", username, 0, "", LIVE),
    STRING("role_arn", role_arn, 0, "", LIVE),
    {0},
};
static const char *const principal_others[] = {"secret", NULL};
const struct hr_cfg_section hr_cfg_principal_section = {"broker_auth.principals", principal_keys, principal_others};

const char *hr_config_mechanism_name(enum hr_config_mechanism mechanism)
{
    return mechanism >= HR_CONFIG_MECH_NONE && mechanism < HR_CONFIG_MECH_MAX ? mechanisms[mechanism] : "?";
}

void hr_cfg_store(const struct hr_cfg_key *key, void *base, int64_t value)
{
    uint8_t *field = (uint8_t *)base + key->offset;
    uint8_t v8 = (uint8_t)value;
    uint16_t v16 = (uint16_t)value;
    uint32_t v32 = (uint32_t)value;
    memcpy(field, key->size == 1 ? (void *)&v8 : key->size == 2 ? (void *)&v16 : (void *)&v32, key->size);
}

int64_t hr_cfg_fetch(const struct hr_cfg_key *key, const void *base)
{
    const uint8_t *field = (const uint8_t *)base + key->offset;
    uint16_t v16;
    uint32_t v32;
    if (key->size == 1)
        return *field;
    if (key->size == 2) {
        memcpy(&v16, field, 2);
        return v16;
    }
    memcpy(&v32, field, 4);
    return v32;
}

void hr_cfg_set_defaults(const struct hr_cfg_section *section, void *base)
{
    for (const struct hr_cfg_key *key = section->keys; key->name != NULL; key++) {
        if (key->type == HR_CFG_STRING)
            snprintf((char *)base + key->offset, key->size, "%s", key->def_text);
        else
            hr_cfg_store(key, base, key->def);
    }
}

static void format_value(const struct hr_cfg_key *key, int64_t value, const char *string, char *text, size_t cap)
{
    switch (key->type) {
    case HR_CFG_NUMBER:
        snprintf(text, cap, "%" PRId64, value);
        break;
    case HR_CFG_BOOL:
        snprintf(text, cap, "%s", value != 0 ? "true" : "false");
        break;
    case HR_CFG_STRING:
        snprintf(text, cap, "\"%s\"", string);
        break;
    case HR_CFG_CHOICE:
        snprintf(text, cap, "\"%s\"", key->choices[value - key->min]);
        break;
    case HR_CFG_NONE:
    case HR_CFG_MAX:
        snprintf(text, cap, "?");
        break;
    }
}

void hr_cfg_format(const struct hr_cfg_key *key, const void *base, char *text, size_t cap)
{
    const char *string = (const char *)base + key->offset;
    format_value(key, key->type == HR_CFG_STRING ? 0 : hr_cfg_fetch(key, base), string, text, cap);
}

void hr_cfg_format_default(const struct hr_cfg_key *key, char *text, size_t cap)
{
    format_value(key, key->def, key->def_text, text, cap);
}
