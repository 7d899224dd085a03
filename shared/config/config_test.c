/* The example file, its documented defaults and ranges, every error with its line and advice, and the
 * differences that a reload shows. */
#include "shared/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/config/impl.h"
#include "shared/config/keys.h"

static const char *example_path, *manual_path;
static char example[65536];
static struct hr_config config, other;
static struct hr_config_errors errors;

static int load_example(void **s)
{
    FILE *f = fopen(example_path, "r");
    assert_non_null(f);
    size_t n = fread(example, 1, sizeof(example) - 1, f);
    example[n] = '\0';
    fclose(f);
    return 0;
}

/* The smallest file that does something. */
#define MINIMAL                                                                                              \
    "dataplane: { workers = [0]; ports = ({ name = \"p\"; device = \"d\"; addresses = (\"10.0.0.5/24\"); }); };\n" \
    "cluster: { bootstrap = (\"b:9092\"); };\n"                                                              \
    "listeners = ({ name = \"k\"; address = \"10.0.0.5\"; bootstrap_port = 9092; node_port_base = 9200; });\n"

static int load(const char *text)
{
    errors.n = errors.n_warnings = 0;
    memset(&config, 0xee, sizeof(config));
    return hr_cfg_load_text("t.cfg", "/nonexistent", text, &config, &errors);
}

/* The example with one piece replaced. */
static char *edited(const char *old, const char *new)
{
    char *at = strstr(example, old);
    if (at == NULL)
        fail_msg("the example does not hold: %s", old);
    size_t size = strlen(example) + strlen(new) + 1;
    char *text = malloc(size);
    snprintf(text, size, "%.*s%s%s", (int)(at - example), example, new, at + strlen(old));
    return text;
}

static unsigned line_of(const char *text, const char *piece)
{
    unsigned line = 1;
    for (const char *p = text, *end = strstr(text, piece); p < end; p++)
        line += *p == '\n';
    return line;
}

static void example_loads(void **s)
{
    errors.n = 0;
    int err = hr_config_load(example_path, &config, &errors);
    if (err < 0)
        fail_msg("%s", errors.text[0]);
    assert_string_equal(config.path, example_path);
    assert_string_equal(config.zones.own, "use1-az1");
    assert_int_equal(config.dataplane.n_workers, 1);
    assert_int_equal(config.dataplane.worker_lcores[0], 1);
    assert_false(config.dataplane.idle_busy);
    assert_true(config.dataplane.hugepages);
    const struct hr_config_port *port = &config.dataplane.ports[0];
    assert_int_equal(port->mtu, 9001);
    assert_int_equal(port->addrs[0].prefix, 24);
    assert_int_equal(hr_addr_v4_be(&port->addrs[0].addr), htonl(0x0a000005));
    assert_true(port->has_gateway);
    assert_int_equal(hr_addr_v4_be(&port->gateway), htonl(0x0a000001));
    assert_int_equal(port->n_addrs, 2);
    assert_int_equal(port->addrs[1].prefix, 64);
    assert_false(hr_addr_is_v4(&port->addrs[1].addr));
    assert_true(port->accept_ra && !port->has_gateway6);
    assert_int_equal(port->n_routes, 2);
    assert_int_equal(port->routes[0].to.prefix, 16);
    assert_int_equal(port->routes[0].mtu, 1500);
    assert_int_equal(port->routes[1].to.prefix, 48);
    assert_int_equal(port->routes[1].mtu, 0);
    assert_int_equal(config.cluster.n_bootstrap, 2);
    assert_string_equal(config.cluster.bootstrap[1].host, "b-2.example.internal");
    assert_int_equal(config.n_listeners, 2);
    const struct hr_policy_listener *l = &config.listeners[0].policy;
    assert_int_equal(l->mode, HR_LISTENER_KAFKA);
    assert_int_equal(l->adv_port_base, 9200);
    assert_int_equal(l->adv_port_per_node, 1);
    assert_int_equal(l->node_id_max, 99);
    assert_int_equal(config.listeners[1].policy.bootstrap_port, 8081);
    assert_true(config.listeners[1].has_target);
    assert_string_equal(config.listeners[1].target.host, "registry.example.internal");
    assert_string_equal(config.control.metrics_host, "127.0.0.1");
    assert_int_equal(config.control.metrics_port, 9644);

    /* The listeners are ready for a snapshot. */
    struct hr_policy policy = {.magic = HR_POLICY_MAGIC, .size = sizeof(policy), .generation = 1, .zones.n = 1};
    policy.log_level = (uint8_t)config.log.level;
    policy.max_sessions = config.limits.max_connections;
    policy.hold_max_bytes = config.limits.hold_max_bytes;
    policy.n_listeners = 2;
    policy.listeners[0] = config.listeners[0].policy;
    policy.listeners[1] = config.listeners[1].policy;
    const char *why = "";
    if (hr_policy_validate(&policy, &why) < 0)
        fail_msg("%s", why);
}

/* Where the section begins in the example; keys of the same name may stand in an earlier one. */
static const char *section_start(const struct hr_cfg_section *section)
{
    char needle[64];
    bool list = section == &hr_cfg_port_section || section == &hr_cfg_listener_section;
    const char *start = example, *name = section->name;
    if (strchr(name, '.') != NULL) { /* a group within another: "cluster.tls" */
        snprintf(needle, sizeof(needle), "\n%.*s", (int)(strchr(name, '.') - name), name);
        start = strstr(example, needle);
        name = strrchr(name, '.') + 1;
    }
    snprintf(needle, sizeof(needle), "%s%s", name, list ? " = (" : ": {");
    if (start != NULL && name[0] != '\0')
        start = strstr(start, needle);
    if (start == NULL)
        fail_msg("the example lacks the section %s", section->name);
    return start;
}

static const char *line_start(const char *p)
{
    while (p > example && p[-1] != '\n')
        p--;
    return p;
}

/* What the comment above the section's key says between label and ". " or the end of the line. */
static void documented(const struct hr_cfg_section *section, const char *key, const char *label, char *text,
                       size_t cap)
{
    char needle[64];
    const char *line = section_start(section);
    bool group = strcmp(key, "tls") == 0 || strcmp(key, "auth") == 0 || strcmp(key, "oauth") == 0;
    snprintf(needle, sizeof(needle), "%s%s", key, group ? ": {" : " = ");
    for (;; line++) {
        line = strstr(line, needle);
        if (line == NULL)
            fail_msg("the example lacks the key %s of section %s", key, section->name);
        if (line_start(line) + strspn(line_start(line), " ") == line)
            break;
    }
    text[0] = '\0';
    for (line = line_start(line); line > example;) {
        const char *previous = line_start(line - 1);
        if (previous[strspn(previous, " ")] != '#')
            break;
        const char *in = strstr(previous, label);
        if (in != NULL && in < line) {
            in += strlen(label);
            const char *end = strstr(in, ". ");
            const char *stop = end != NULL && end < line ? end : line - 2; /* "." and the newline */
            snprintf(text, cap, "%.*s", (int)(stop - in), in);
            return;
        }
        line = previous;
    }
}

static void check_documented(const struct hr_cfg_section *section)
{
    for (const struct hr_cfg_key *key = section->keys; key->name != NULL; key++) {
        char said[128], is[128];
        documented(section, key->name, "Default: ", said, sizeof(said));
        hr_cfg_format_default(key, is, sizeof(is));
        bool required = said[0] == '\0' && key->type == HR_CFG_STRING && key->min > 0;
        if (!required && strcmp(said, is) != 0)
            fail_msg("%s.%s: the example says default %s, the code %s", section->name, key->name, said, is);
        documented(section, key->name, "Range: ", said, sizeof(said));
        if (key->type == HR_CFG_NUMBER) {
            snprintf(is, sizeof(is), "%" PRId64 "..%" PRId64, key->min, key->max);
            if (strcmp(said, is) != 0)
                fail_msg("%s.%s: the example says range %s, the code %s", section->name, key->name, said, is);
        } else if (said[0] == '\0') {
            fail_msg("%s.%s: the example gives no range", section->name, key->name);
        }
    }
    /* Keys read by hand: named, with a comment of their own; sections are groups at the top. */
    for (const char *const *key = section->others; *key != NULL && section->name[0] != '\0'; key++) {
        char said[256], required[256];
        documented(section, *key, "Default: ", said, sizeof(said));
        documented(section, *key, "# Require", required, sizeof(required));
        if (said[0] == '\0' && required[0] == '\0')
            fail_msg("%s.%s: the example says neither a default nor that it is required", section->name, *key);
    }
}

static void documented_defaults(void **s)
{
    for (const struct hr_cfg_section *section = hr_cfg_sections; section->name != NULL; section++)
        check_documented(section);
    check_documented(&hr_cfg_port_section);
    check_documented(&hr_cfg_listener_section);
    check_documented(&hr_cfg_cluster_tls_section);
    check_documented(&hr_cfg_listener_tls_section);
    check_documented(&hr_cfg_listener_auth_section);
    check_documented(&hr_cfg_listener_oauth_section);
}

static char manual[65536];

static void check_manual(const struct hr_cfg_section *section)
{
    char row[128], is[64];
    snprintf(row, sizeof(row), "\n## `%s`", section->name);
    const char *start = strstr(manual, row); /* the top level and ports have no heading of their own */
    if (start == NULL)
        start = manual;
    for (const struct hr_cfg_key *key = section->keys; key->name != NULL; key++) {
        snprintf(row, sizeof(row), "\n| `%s` |", key->name);
        const char *at = strstr(start, row), *end = at != NULL ? strchr(at + 1, '\n') : NULL;
        if (end == NULL)
            fail_msg("docs/configuration.md lacks %s.%s", section->name, key->name);
        hr_cfg_format_default(key, is, sizeof(is));
        if (key->type == HR_CFG_NUMBER && memmem(at, (size_t)(end - at), is, strlen(is)) == NULL)
            fail_msg("docs/configuration.md: %s.%s: default is %s", section->name, key->name, is);
    }
    for (const char *const *key = section->others; *key != NULL && section->name[0] != '\0'; key++) {
        snprintf(row, sizeof(row), "\n| `%s` |", *key);
        if (strstr(start, row) == NULL)
            fail_msg("docs/configuration.md lacks %s.%s", section->name, *key);
    }
}

static void manual_is_complete(void **s)
{
    FILE *f = fopen(manual_path, "r");
    assert_non_null(f);
    manual[fread(manual, 1, sizeof(manual) - 1, f)] = '\0';
    fclose(f);
    for (const struct hr_cfg_section *section = hr_cfg_sections; section->name != NULL; section++)
        check_manual(section);
    check_manual(&hr_cfg_port_section);
    check_manual(&hr_cfg_listener_section);
    check_manual(&hr_cfg_cluster_tls_section);
    check_manual(&hr_cfg_listener_tls_section);
    check_manual(&hr_cfg_listener_auth_section);
    check_manual(&hr_cfg_listener_oauth_section);
}

static void ipv6(void **s)
{
#define SIX(addresses, more, listen)                                                                         \
    "dataplane: { workers = [0]; ports = ({ name = \"p\"; device = \"d\"; addresses = (" addresses "); " more "}); };\n" \
    "cluster: { bootstrap = (\"[2600::9]:9092\"); prefer = \"ipv6\"; };\n"                                    \
    "listeners = ({ name = \"k\"; address = \"" listen "\"; bootstrap_port = 9092; node_port_base = 9200; });\n"
    int err = load(SIX("\"2600::5/64\"", "gateway6 = \"fe80::1\"; ", "2600::5"));
    if (err < 0)
        fail_msg("%s", errors.text[0]);
    const struct hr_config_port *port = &config.dataplane.ports[0];
    struct hr_addr want;
    assert_true(hr_addr_parse("fe80::1", &want));
    assert_true(port->has_gateway6 && hr_addr_equal(&port->gateway6, &want));
    assert_false(port->accept_ra || port->has_gateway);
    assert_string_equal(config.cluster.bootstrap[0].host, "2600::9");
    assert_int_equal(config.cluster.bootstrap[0].port, 9092);
    assert_true(config.cluster.prefer_ipv6);
    assert_string_equal(config.listeners[0].policy.adv_host, "2600::5");
    assert_int_equal(load(SIX("\"2600::5/64\"", "mtu = 1279; ", "2600::5")), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "at least 1280"));
    assert_int_equal(load(SIX("\"10.0.0.5/24\"", "gateway6 = \"advertised\"; ", "10.0.0.5")), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "needs an IPv6 address"));
    assert_int_equal(load(SIX("\"2600::5/64\"", "", "2600::6")), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "is not among the addresses"));
    assert_int_equal(load(SIX("\"2600::5/64\"", "", "::")), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "advertised_host"));
}

static void defaults(void **s)
{
    int err = load(MINIMAL);
    if (err < 0)
        fail_msg("%s", errors.text[0]);
    assert_int_equal(config.tcp.rcv_wnd_initial, 65536);
    assert_int_equal(config.tcp.rcv_wnd_max, 4 << 20);
    assert_int_equal(config.tcp.keepalive_s, 240);
    assert_int_equal(config.limits.max_connections, 10000);
    assert_int_equal(config.limits.hold_max_bytes, 1 << 20);
    assert_int_equal(config.limits.drain_timeout_ms, 30000);
    assert_int_equal(config.dataplane.source_port_min, 32768);
    assert_int_equal(config.dataplane.source_port_max, 60999);
    assert_string_equal(config.dataplane.file_prefix, "headrace");
    assert_string_equal(config.control.runtime_dir, "/run/headrace");
    assert_string_equal(config.control.user, "nobody");
    assert_int_equal(config.control.metrics_port, 9644);
    assert_int_equal(config.log.level, HR_LOG_INFO);
    assert_int_equal(config.log.format, HR_LOG_TEXT);
    const struct hr_policy_listener *l = &config.listeners[0].policy;
    assert_int_equal(l->max_frame_bytes, 104857600);
    assert_int_equal(l->max_in_flight, 1024);
    assert_int_equal(l->connect_timeout_ms, 3000);
    assert_int_equal(l->node_id_min, 0);
    assert_int_equal(l->node_id_max, 99);
    assert_string_equal(l->adv_host, "10.0.0.5");
    assert_int_equal(l->adv_port_base, 9200);
    assert_int_equal(l->adv_port_per_node, 1);
}

/* Loads the example with `old` replaced and expects an error on the line where `new` stands. */
static void wrong(const char *old, const char *new, const char *expected)
{
    char *text = edited(old, new), where[64];
    int err = load(text);
    if (err != HR_E_CONFIG || errors.n == 0)
        fail_msg("accepted: %s", new);
    for (size_t i = 0; i < sizeof(config); i++)
        assert_int_equal(((uint8_t *)&config)[i], 0xee); /* written only on success */
    bool found = false;
    for (uint32_t i = 0; i < errors.n; i++)
        found = found || strstr(errors.text[i], expected) != NULL;
    if (!found)
        fail_msg("%s gave: %s", new, errors.text[0]);
    snprintf(where, sizeof(where), "t.cfg:%u: ", line_of(text, new));
    found = false;
    for (uint32_t i = 0; i < errors.n; i++)
        found = found || strncmp(errors.text[i], where, strlen(where)) == 0;
    if (!found)
        fail_msg("%s: expected %s, got: %s", new, where, errors.text[0]);
    free(text);
}

#define ADDRESSES "addresses = (\"10.0.0.5/24\", \"2600:1f14:0:10::5/64\")"

#define SECRET "secret = { file = \"/etc/headrace/broker.secret\"; }"

static void zones(void **s)
{
    load(example);
    assert_int_equal(config.zones.n_names, 3);
    assert_string_equal(config.zones.names[2], "use1-az2");
    assert_string_equal(hr_config_zone_name(&config, "us-east-1a"), "use1-az1");
    assert_string_equal(hr_config_zone_name(&config, "use1-az9"), "use1-az9");
    assert_int_equal(config.zones.n_brokers, 2);
    assert_int_equal(config.zones.brokers[0].node_id, 7);
    assert_string_equal(config.zones.brokers[1].host, "b-8.*");
    assert_int_equal(config.zones.n_nets, 4);
    assert_int_equal(config.zones.nets[1].bits, 96 + 24);
    assert_int_equal(config.zones.nets[2].bits, 64);
    assert_int_equal(config.zones.nets[2].zone, 2); /* by its alias */
    assert_int_equal(config.zones.nets[2].scope, HR_ZONE_GLOBAL);
    assert_int_equal(config.zones.nets[3].scope, 0);
    assert_true(config.zones.price_per_gb > 0.0099 && config.zones.price_per_gb < 0.0101);
    assert_int_equal(config.zones.n_prices, 1);
    assert_int_equal(config.zones.n_peers, 1);
    assert_int_equal(config.zones.peers[0].zone, 2);
    assert_string_equal(config.zones.peers[0].policy.adv_host, "b$(nodeId).az2.kafka.example.com");
    assert_int_equal(config.zones.peers[0].policy.adv_port_base, 9200);
    assert_true(config.zones.peers[0].policy.adv_port_per_node);
    assert_string_equal(config.zones.peers[0].health, "http://10.0.2.5:9644/ready");
    assert_int_equal(config.zones.nearest[2][0], 1);
    assert_int_equal(config.zones.nearest[2][1], 0);
    assert_int_equal(config.zones.n_reads, 2);
    assert_string_equal(config.zones.reads[0].topic, "logs-*");
    assert_int_equal(config.zones.reads[0].reads, HR_ZONE_READS_ON);
    assert_int_equal(config.zones.reads[1].reads, HR_ZONE_READS_OFF);
    assert_int_equal(config.listeners[0].policy.zone_reads, HR_ZONE_READS_OFF);
    assert_int_equal(config.zones.reads_min_bytes, 16384);
    wrong("cidr = \"10.0.2.0/24\"", "cidr = \"10.0.2.1/24\"", "10.0.2.0/24");
    wrong("cidr = \"10.0.2.0/24\"", "cidr = \"10.0.2.0/33\"", "prefix");
    wrong("cidr = \"2600:1f14:0:20::/64\"; zone = \"us-east-1b\"", "cidr = \"10.0.2.0/24\"; zone = \"us-east-1b\"",
          "stands on line");
    wrong("cidr = \"10.0.2.0/24\"; zone = \"use1-az2\"", "cidr = \"10.0.2.0/24\"; zone = \"\"", "must name a zone");
    wrong("cidr = \"10.0.2.0/24\"; zone = \"use1-az2\"", "cidr = \"10.0.2.0/24\"; zon = \"use1-az2\"", "zone");
    wrong("{ name = \"us-east-1b\"; zone = \"use1-az2\"; }", "{ name = \"us-east-1a\"; zone = \"use1-az2\"; }",
          "another alias already");
    wrong("{ name = \"us-east-1b\"; zone = \"use1-az2\"; }", "{ name = \"use1-az1\"; zone = \"use1-az2\"; }",
          "the name of a zone");
    wrong("health = \"http://10.0.2.5:9644/ready\"", "health = \"10.0.2.5:9644\"", "must be a URL");
    wrong("others = [\"use1-az1\"]", "others = [\"use1-az2\"]", "the zone itself");
    wrong("advertised_host = \"b$(nodeId).az2", "advertised_host = \"b$(nodeID).az2", "may hold letters");
    wrong("price_per_gb = 0.01", "price_per_gb = -0.01", "0.0..100.0");
    wrong("price_per_gb = 0.01", "price_per_gb = \"0.01\"", "0.0..100.0");
    wrong("other = \"use1-az2\"; per_gb", "other = \"use1-az1\"; per_gb", "one zone twice");
    wrong("node = 7; zone", "node = -7; zone", "0");
    wrong("{ node = 7; zone = \"use1-az1\"; }", "{ node = 7; host = \"b\"; zone = \"use1-az1\"; }", "needs one of");
    wrong("clients = (\n    {", "clients = ( 5, {", "must be a group");
}

static void broker_logins(void **s)
{
    wrong("username = \"headrace\"", "username = \"\"", "this mechanism needs a username");
    wrong("mechanism = \"SCRAM-SHA-512\"", "mechanism = \"GSSAPI\"", "SCRAM-SHA-512");
    wrong(SECRET, "secret = { file = \"broker.secret\"; }", "must be an absolute path");
    wrong(SECRET, "secret = { exec = [\"pass\"]; }", "must be an absolute path");
    wrong(SECRET, "secret = { exec = []; }", "must not be empty");
    wrong(SECRET, "secret = { file = \"/a\"; exec = [\"/b\"]; }", "needs either file or exec");
    wrong(SECRET, "secret = { files = \"/a\"; }", "files");
    wrong("token_url = \"\"", "token_url = \"http://i\"", "must begin with https://");
    wrong("aws_session_name = \"\"", "aws_session_name = \"a b\"", "2 to 64 letters");
    wrong("aws_role_arn = \"\"", "aws_role_arn = \"arn:x\"", "needs aws_region");

    /* A secret that somebody has written into the file is not shown. */
    char *text = edited(SECRET, "secret = \"hunter2\"");
    assert_int_equal(load(text), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "does not belong into this file"));
    for (uint32_t i = 0; i < errors.n; i++)
        assert_null(strstr(errors.text[i], "hunter2"));
    free(text);
    text = edited(SECRET, "secret = { exec = [\"/usr/bin/pass\", \"show\"]; }");
    assert_int_equal(load(text), 0);
    assert_int_equal(config.broker_auth.secret.n_args, 2);
    free(text);
}

static void session_names(void **s)
{
    char a[HR_CONFIG_SESSION_NAME_MAX], b[HR_CONFIG_SESSION_NAME_MAX];
    char longest[65], longer[200];
    hr_config_session_name("team-a+b=c,d.e@f_9", a);
    assert_string_equal(a, "team-a+b=c,d.e@f_9");
    memset(longest, 'x', 64), longest[64] = '\0';
    hr_config_session_name(longest, a);
    assert_string_equal(a, longest);
    memset(longer, 'x', 199), longer[199] = '\0';
    hr_config_session_name(longer, a);
    assert_int_equal(strlen(a), 64);
    longer[198] = 'y'; /* beyond what is shown */
    hr_config_session_name(longer, b);
    assert_string_not_equal(a, b);
    hr_config_session_name("CN=a b,O=c/d", a);
    assert_int_equal(strncmp(a, "CN=a-b,O=c-d-", 13), 0);
    hr_config_session_name("CN=a-b,O=c-d", b);
    assert_string_equal(b, "CN=a-b,O=c-d");
    hr_config_session_name("CN=a b,O=c/d", b); /* for ever */
    assert_string_equal(a, b);
    hr_config_session_name("a", a); /* one letter is none to AWS */
    assert_int_equal(strlen(a), 18);
}

static void principals(void **s)
{
#define WITH(mechanism, list) \
    "dataplane: { workers = [0]; ports = ({ name = \"p\"; device = \"d\"; addresses = (\"10.0.0.5/24\"); }); };\n" \
    "cluster: { bootstrap = (\"b:9092\"); };\nbroker_auth: { mechanism = " mechanism "; principals = (" list "); };\n" \
    "listeners = ({ name = \"k\"; address = \"10.0.0.5\"; bootstrap_port = 9092; node_port_base = 9200;\n" \
    "  auth: { mode = \"terminate\"; broker_identity = \"principal\"; }; });\n"
#define SCRAM "\"SCRAM-SHA-512\"; username = \"us\"; secret = { file = \"/s\"; }"
#define IAM   "\"AWS_MSK_IAM\"; aws_region = \"eu-west-1\""
#define ALICE "{ principal = \"alice\"; username = \"a\"; secret = { file = \"/a\"; }; }"
    assert_int_equal(load(WITH(SCRAM, ALICE ", { principal = \"bob\"; username = \"b\"; secret = { exec = [\"/b\"]; }; }")), 0);
    assert_int_equal(config.n_principals, 2);
    assert_string_equal(config.principals[0].secret.file, "/a");
    assert_string_equal(config.principals[1].username, "b");
    assert_int_equal(config.listeners[0].auth.broker_identity, HR_CONFIG_BROKER_IDENTITY_PRINCIPAL);
    assert_int_equal(errors.n_warnings, 0); /* nobody shares an identity */
    assert_int_equal(load(WITH(IAM "; metadata_principal = \"bob\"; broker_type = \"kafka.t3.small\"; instances = 3",
                               "{ principal = \"bob\"; role_arn = \"arn:r\"; }")), 0);
    assert_string_equal(config.principals[0].role_arn, "arn:r");
    assert_int_equal(config.pacing.instances, 3);
    static const struct {
        const char *text, *said;
    } cases[] = {
        {WITH(SCRAM, ALICE ", " ALICE), "stands here twice"},
        {WITH(SCRAM, "{ principal = \"alice\"; role_arn = \"arn:r\"; }"), "needs username and secret"},
        {WITH(IAM, ALICE), "needs role_arn, and nothing else"},
        {WITH("\"AWS_MSK_IAM\"", "{ principal = \"a\"; role_arn = \"arn:r\"; }"), "needs broker_auth.aws_region"},
        {WITH(IAM, "{ role_arn = \"arn:r\"; }"), "needs principal"},
        {WITH(IAM "; metadata_principal = \"eve\"", "{ principal = \"bob\"; role_arn = \"arn:r\"; }"), "is none of"},
        {WITH(IAM "; broker_type = \"t3.small\"", "{ principal = \"bob\"; role_arn = \"arn:r\"; }"), "type of MSK's"},
        {WITH(IAM, "\"bob\""), "must be a group"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(load(cases[i].text), HR_E_CONFIG);
        if (strstr(errors.text[0], cases[i].said) == NULL)
            fail_msg("case %zu: %s", i, errors.text[0]);
    }
    /* Sessions have room for so much of a name; what is longer would be another's when it is cut. */
    char text[4096], name[HR_CONFIG_SESSION_NAME_MAX], arn[129];
    memset(arn, 'r', sizeof(arn));
    for (int len = 127; len <= 128; len++) {
        snprintf(text, sizeof(text), WITH(IAM, "{ principal = \"a\"; role_arn = \"%.*s\"; }"), len, arn);
        assert_int_equal(load(text), len == 127 ? 0 : HR_E_CONFIG);
        assert_true(len == 127 || strstr(errors.text[0], "at most 127 bytes") != NULL);
        snprintf(text, sizeof(text), WITH("\"PLAIN\"; username = \"%.*s\"; secret = { file = \"/s\"; }", ALICE), len, arn);
        assert_int_equal(load(text), len == 127 ? 0 : HR_E_CONFIG);
        assert_true(len == 127 || strstr(errors.text[0], "at most 127 bytes") != NULL);
    }
    /* A name that is made of a principal may be another principal's own. */
    hr_config_session_name("a b", name);
    snprintf(text, sizeof(text), WITH(IAM, "{ principal = \"a b\"; role_arn = \"arn:r\"; }, { principal = \"%s\"; role_arn = \"arn:r\"; }"), name);
    assert_int_equal(load(text), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "rename one of them"));
}

#define LISTENER_WITH(more, rest)                                                                                       \
    "dataplane: { workers = [0]; ports = ({ name = \"p\"; device = \"d\"; addresses = (\"10.0.0.5/24\"); }); };\n"             \
    "cluster: { bootstrap = (\"b:9092\"); };\n" rest                                                                     \
    "listeners = ({ name = \"k\"; address = \"10.0.0.5\"; bootstrap_port = 9092; node_port_base = 9200;\n" more " });\n"
#define BROKER_AUTH "broker_auth: { mechanism = \"PLAIN\"; username = \"us\"; secret = { file = \"/s\"; }; };\n"

static void auth(void **s)
{
    const struct hr_config_listener *l = &config.listeners[0];
    assert_int_equal(load(LISTENER_WITH("", BROKER_AUTH)), 0);
    assert_int_equal(l->auth.mode, HR_CONFIG_AUTH_PASSTHROUGH);
    assert_int_equal(l->policy.login | l->policy.broker_login | l->auth.mechanisms, 0);
    assert_false(hr_config_has_logins(&config));
    assert_int_equal(errors.n_warnings, 0);

    assert_int_equal(load(LISTENER_WITH("auth: { mode = \"terminate\"; allow = [\"User:a-*\", \"User:bob\"]; };", "")), 0);
    assert_int_equal(l->auth.mechanisms, 1u << HR_CONFIG_MECH_SCRAM_SHA_256 | 1u << HR_CONFIG_MECH_SCRAM_SHA_512);
    assert_true(l->policy.login && !l->policy.broker_login && hr_config_has_logins(&config));
    assert_string_equal(l->auth.users, "/etc/headrace/users");
    assert_int_equal(l->auth.n_allow, 2);
    assert_string_equal(l->auth.allow[0], "a-*");
    assert_int_equal(errors.n_warnings, 0);

    assert_int_equal(load(LISTENER_WITH("auth: { mode = \"none\"; };", BROKER_AUTH)), 0);
    assert_true(!l->policy.login && l->policy.broker_login);
    assert_int_equal(errors.n_warnings, 1);
    assert_non_null(strstr(errors.warnings[0], "t.cfg:5: listeners[0].auth: everybody who connects here is the one identity \"us\""));

    assert_int_equal(load(LISTENER_WITH("auth: { mode = \"terminate\"; mechanisms = [\"PLAIN\", \"OAUTHBEARER\"]; oauth: {"
                                        " issuer = \"i\"; jwks_file = \"/keys\"; }; };", BROKER_AUTH)), 0);
    assert_int_equal(errors.n_warnings, 3);
    assert_non_null(strstr(errors.warnings[1], "PLAIN without TLS"));
    assert_non_null(strstr(errors.warnings[2], "without audience"));
    assert_string_equal(l->auth.oauth.principal_claim, "sub");

    static const struct {
        const char *group, *said;
    } cases[] = {
        {"mode = \"terminate\"; mechanisms = [\"AWS_MSK_IAM\"];", "cannot be checked by anybody but AWS"},
        {"mode = \"terminate\"; mechanisms = [\"GSSAPI\"];", "must be \"PLAIN\""},
        {"mode = \"terminate\"; mechanisms = [];", "must not be empty"},
        {"mode = \"terminate\"; mechanisms = [\"OAUTHBEARER\"];", "MSK's own tokens are no JWTs"},
        {"mechanisms = [\"PLAIN\"];", "with mode = \"terminate\" alone"},
        {"mode = \"terminate\"; users = \"users\";", "must be an absolute path"},
        {"mode = \"terminate\"; allow = [\"bob\"];", "must be \"User:\" and a name"},
        {"mode = \"terminate\"; allow = [\"User:*a\"];", "must be \"User:\" and a name"},
        {"allow = [\"User:a\"];", "nobody's name is known with mode = \"passthrough\""},
        {"broker_identity = \"shared\";", "clients log in to the brokers themselves"},
        {"mode = \"none\"; broker_identity = \"shared\";", "needs broker_auth"},
        {"broker_identity = \"principal\";", "clients log in to the brokers themselves"},
        {"mode = \"terminate\"; broker_identity = \"principal\";", "needs broker_auth.principals"},
        {"mode = \"none\"; oauth: { issuer = \"i\"; jwks_file = \"/k\"; };", "has a meaning with mode"},
        {"mode = \"terminate\"; mechanisms = [\"OAUTHBEARER\"]; oauth: { issuer = \"i\"; };", "needs either jwks_url or jwks_file"},
        {"mode = \"terminate\"; mechanisms = [\"OAUTHBEARER\"]; oauth: { jwks_file = \"/k\"; };", "needs issuer"},
        {"mode = \"terminate\"; mechanisms = [\"OAUTHBEARER\"]; oauth: { issuer = \"i\"; jwks_url = \"http://x\"; };",
         "must begin with https://"},
    };
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), LISTENER_WITH("auth: { %s };", ""), cases[i].group);
        assert_int_equal(load(text), HR_E_CONFIG);
        if (strstr(errors.text[0], cases[i].said) == NULL)
            fail_msg("%s: said %s", cases[i].group, errors.text[0]);
    }
}

static void mistakes(void **s)
{
    wrong("node_port_base = 9200", "node_port_base = 70000",
          "listeners[0].node_port_base = 70000: must be 0..65535");
    wrong("node_port_base = 9200", "node_port_base = 65500", "gives node ports 65500..65599 with node_ids 0..99");
    wrong("memory_mb = 1024", "memory_gb = 1024", "unknown key, did you mean \"memory_mb\"?");
    wrong("hold_max_bytes = 1048576", "colour = 1", "unknown key, config/headrace.cfg lists all");
    wrong("tcp: {", "tpc: {", "did you mean \"tcp\"?");
    wrong("memory_mb = 1024", "memory_mb = \"1024\"", "must be an integer, 64..1048576");
    wrong("memory_mb = 1024", "memory_mb = 1.5", "must be an integer");
    wrong("memory_mb = 1024", "memory_mb = 63", "must be 64..1048576");
    wrong("idle = \"adaptive\"", "idle = \"lazy\"", "must be \"adaptive\" or \"busy\"");
    wrong("hugepages = true", "hugepages = 1", "must be true or false");
    wrong("level = \"info\"", "level = \"loud\"", "\"error\" or \"warn\" or \"info\" or \"debug\"");
    wrong("file_prefix = \"headrace\"", "file_prefix = \"\"", "must not be empty");
    wrong("file_prefix = \"headrace\"", "file_prefix = \"../x\"", "may hold letters");
    wrong("workers = [1]", "workers = []", "must not be empty");
    wrong("workers = [1]", "workers = [1, 1]", "two workers on one CPU");
    wrong("workers = [1]", "workers = [127]", "this machine has the CPUs 0..");
    wrong("workers = [1]", "workers = [-1]", "must be 0..127");
    wrong("workers = [1]", "workers = 1", "must be a list");
    wrong("source_ports = [32768, 60999]", "source_ports = [60999, 32768]", "swap them");
    wrong("source_ports = [32768, 60999]", "source_ports = [32768]", "two numbers");
    wrong("source_ports = [32768, 60999]", "source_ports = [32768, 32900]", "at least 256");
    wrong("mbufs_per_worker = 0", "mbufs_per_worker = 16777216", "memory_mb is 1024");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5\")", "like \"10.0.0.5/24\"");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/33\")", "prefix length");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/24\", \"10.0.0.5/16\")", "already");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/24\", \"2600::5/129\")", "prefix length");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/24\", \"fe80::5/64\")", "made from the port's MAC");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/24\", \"ff02::5/64\")", "no address of a port");
    wrong(ADDRESSES, "addresses = (\"10.0.0.5/24\", \"::ffff:10.0.0.6/128\")", "must be an IP address");
    wrong("gateway6 = \"advertised\"", "gateway6 = \"2600::1\"", "lies in no subnet");
    wrong("gateway6 = \"advertised\"", "gateway6 = \"2600:1f14:0:10::5\"", "of our own");
    wrong("gateway6 = \"advertised\"", "gateway6 = \"10.0.0.1\"", "must be an IPv6 address");
    wrong("gateway = \"10.0.0.1\"", "gateway = \"fe80::1\"", "write gateway6");
    wrong("via = \"fe80::2\"", "via = \"10.0.0.3\"", "other family");
    wrong("to = \"2600:1f14:40::/48\"", "to = \"2600:1f14:40::1/48\"", "write \"2600:1f14:40::/48\"");
    wrong("mtu = 1500", "mtu = 9002", "576..9001");
    wrong("gateway = \"10.0.0.1\"", "gateway = \"10.9.0.1\"", "lies in no subnet");
    wrong("gateway = \"10.0.0.1\"", "gateway = \"10.0.0.5\"", "of our own");
    wrong("gateway = \"10.0.0.1\"", "gateway = \"router\"", "must be an IP address");
    wrong("to = \"10.64.0.0/16\"", "to = \"10.64.1.0/16\"", "write \"10.64.0.0/16\"");
    wrong("via = \"10.0.0.2\"", "via = \"10.1.0.2\"", "lies in no subnet");
    wrong("mtu = 9001", "mtu = 100", "must be 576..61000");
    wrong("\"b-2.example.internal:9092\"", "\"b-2.example.internal\"", "a port like");
    wrong("\"b-2.example.internal:9092\"", "\"b-2.example.internal:0\"", "a port like");
    wrong("\"b-2.example.internal:9092\"", "\"b 2:9092\"", "a port like");
    wrong("refresh_min_ms = 1000", "refresh_min_ms = 40000", "is above refresh_ms");
    wrong("rcv_wnd_initial = 65536", "rcv_wnd_initial = 8388608", "is above rcv_wnd_max");
    wrong("hold_max_bytes = 1048576", "hold_max_bytes = 8388608", "a held frame could never arrive");
    wrong("mode = \"kafka\"", "mode = \"http\"", "must be \"kafka\" or \"tcp\"");
    wrong("address = \"10.0.0.5\"", "address = \"10.0.0.6\"", "is not among the addresses");
    wrong("bootstrap_port = 9092", "bootstrap_port = 9250", "own node ports 9200..9299");
    wrong("bootstrap_port = 9092", "bootstrap_port = 40000", "source_ports 32768..60999");
    wrong("node_port_base = 9200", "node_port_base = 32700", "overlap dataplane.source_ports");
    wrong("port = 8081;", "port = 9092 ;", "is the port of listener \"kafka\"");
    wrong("port = 8081;", "port = 9299 ;", "lies in the node ports 9200..9299 of listener \"kafka\"");
    wrong("node_ids = [0, 99]", "node_ids = [-1, 99]", "must be 0..65535");
    wrong("node_ids = [0, 99]", "node_ids = [50, 20]", "swap them");
    wrong("advertised_host = \"b$(nodeId).kafka.example.com\"", "advertised_host = \"b$(node).example.com\"", "not '$'");
    wrong("advertised_host = \"b$(nodeId).kafka.example.com\"", "advertised_host = \"\"", "must not be empty");
    wrong("advertised_port = \"$(nodePort)\"", "advertised_port = \"$(port)\"", "must be \"$(nodePort)\"");
    wrong("advertised_port = \"$(nodePort)\"", "advertised_port = \"65500+$(nodeId)\"", "65500..65599");
    wrong("advertised_port = \"$(nodePort)\"", "advertised_port = \"99999999999999999999\"", "must be");
    wrong("advertised_port = \"$(nodePort)\"", "port  = 9092", "write bootstrap_port");
    wrong("target = \"registry.example.internal:8081\"", "target = \"registry\"", "a port like");
    wrong("name = \"registry\"", "name = \"kafka\" ", "is the name of another listener");
    wrong("max_in_flight = 1024", "max_in_flight = 1025", "must be 1..1024");
    wrong("runtime_dir = \"/run/headrace\"", "runtime_dir = \"run\"", "must be an absolute path");
    wrong("metrics_address = \"127.0.0.1:9644\"", "metrics_address = \"9644\"", "a port like");
    wrong("name = \"eth1\"", "name = \"a name that is far too long for it\"", "at most 31");
    wrong("mode = \"tcp\"", "mode = \"tcp\"; node_ids = [1, 2]", "has no meaning with mode = \"tcp\", remove it");
    wrong("proxy_protocol = { from = [ ]; }", "proxy_protocol = true", "must be a group");
    wrong("proxy_protocol = { from = [ ]; }", "proxy_protocol = { }", "\"from\" is missing");
    wrong("proxy_protocol = { from = [ ]; }", "proxy_protocol = { from = [ \"10.0.0.1/8\" ]; }", "10.0.0.0/8");
    wrong("proxy_protocol = { from = [ ]; }", "proxy_protocol = { to = 1; from = [ ]; }", "unknown key");
    wrong("mode = \"tcp\"", "mode = \"tcp\"; tls: { }", "has no meaning with mode = \"tcp\", remove it");
    wrong("routing = \"port\"", "routing = \"name\"", "must be \"port\" or \"sni\"");
    wrong("routing = \"port\"", "routing = \"sni\"", "needs TLS: plaintext has no names");
    wrong("routing = \"port\"", "routing = \"sni\" ", "must not be empty with routing");
    wrong("certificate = \"\"", "certificate = \"/c.crt\"", "needs its key");
    wrong("ca = \"\"", "ca = \"c.crt\"", "must be an absolute path");
    wrong("client_auth = \"none\"", "client_auth = \"required\"", "needs client_ca");
    wrong("client_auth = \"none\"", "client_auth = \"always\"", "\"none\" or \"optional\" or \"required\"");
    wrong("chain = \"/etc/headrace/tls/kafka.crt\"", "chain = \"\"", "must be an absolute path");
    wrong("{ chain = \"/etc/headrace/tls/kafka.crt\"; key", "{ key", "\"chain\" is missing");
    wrong("handshake_rate = 1000", "handshake_rate = 0", "must be 1..100000");
}

#define BY_NAME(more, tls)                                                                                   \
    "dataplane: { workers = [0]; ports = ({ name = \"p\"; device = \"d\"; addresses = (\"10.0.0.5/24\"); }); };\n" \
    "cluster: { bootstrap = (\"b:9094\"); tls: { enabled = true; ca = \"/ca.pem\"; }; };\n"                    \
    "listeners = ({ name = \"k\"; address = \"10.0.0.5\"; bootstrap_port = 9094; routing = \"sni\"; " more   \
    " tls: { enabled = true; " tls " }; });\n"
#define CERTS "certificates = ( { chain = \"/a\"; key = \"/b\"; }, { chain = \"/c\"; key = \"/d\"; } );"

static void tls(void **s)
{
    const char *names = "advertised_host = \"b$(nodeId).k.test\"; bootstrap_host = \"k.test\";";
    char text[2048];
    snprintf(text, sizeof(text), BY_NAME("%s", CERTS " min_version = \"1.3\"; client_auth = \"optional\"; client_ca = \"/e\";"),
             names);
    if (load(text) < 0)
        fail_msg("%s", errors.text[0]);
    const struct hr_config_listener *l = &config.listeners[0];
    assert_true(l->policy.tls && l->policy.by_name && l->tls.tls13_only);
    assert_int_equal(l->tls.n_certs, 2);
    assert_string_equal(l->tls.certs[1].key.path, "/d");
    assert_int_equal(l->tls.certs[1].key.line, 3);
    assert_int_equal(l->tls.client_auth, HR_CONFIG_CLIENT_AUTH_OPTIONAL);
    assert_string_equal(l->bootstrap_host, "k.test");
    assert_int_equal(l->policy.handshake_timeout_ms, 10000);
    assert_true(config.cluster.tls.on);
    assert_string_equal(config.cluster.tls.ca.path, "/ca.pem");
    assert_int_equal(config.cluster.tls.ca.line, 2);
    /* What clients are told: a name per node at the one port. */
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    assert_int_equal(hr_policy_advertised(&l->policy, 7, host, sizeof(host), &port), 0);
    assert_string_equal(host, "b7.k.test");
    assert_int_equal(port, 9094);
    struct hr_policy policy = {.magic = HR_POLICY_MAGIC, .size = sizeof(policy), .generation = 1, .zones.n = 1};
    policy.log_level = HR_LOG_INFO;
    policy.max_sessions = 1;
    policy.hold_max_bytes = 1 << 20;
    policy.n_listeners = 1;
    policy.listeners[0] = l->policy;
    const char *why = "";
    if (hr_policy_validate(&policy, &why) < 0)
        fail_msg("%s", why);
    int32_t node;
    assert_non_null(hr_policy_find_listener(&policy, &l->policy.bind, 9094, &node));
    assert_int_equal(node, -1);
    assert_null(hr_policy_find_listener(&policy, &l->policy.bind, 7, &node)); /* no node ports */
    policy.listeners[0].handshake_rate = 0;
    assert_int_equal(hr_policy_validate(&policy, &why), HR_E_INVALID);

    assert_int_equal(load(BY_NAME("advertised_host = \"b.k.test\"; bootstrap_host = \"k.test\";", CERTS)), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "must hold $(nodeId)"));
    assert_int_equal(load(BY_NAME("advertised_host = \"b$(nodeId).k\"; bootstrap_host = \"b7.k\";", CERTS)), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "is the name of node 7"));
    assert_int_equal(load(BY_NAME("advertised_host = \"b$(nodeId).k\"; bootstrap_host = \"k\"; node_port_base = 1;", CERTS)), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "has no meaning with routing"));
    assert_int_equal(load(BY_NAME("advertised_host = \"b$(nodeId).k\"; bootstrap_host = \"k\";", "")), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "needs a certificate"));
}

static void missing(void **s)
{
    assert_int_equal(load(""), HR_E_CONFIG);
    assert_int_equal(errors.n, 2);
    assert_string_equal(errors.text[0], "t.cfg: \"dataplane\" is missing");
    assert_string_equal(errors.text[1], "t.cfg: \"listeners\" is missing");
    assert_int_equal(load("dataplane: { }; listeners = ( { mode = \"tcp\"; } );"), HR_E_CONFIG);
    assert_int_equal(errors.n, 6); /* workers, ports, name, address, port, target */
    assert_int_equal(load("dataplane = 5; listeners = ( 1 );"), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "must be a group"));
    /* mode = "kafka" needs a cluster. */
    char *text = strstr(MINIMAL, "listeners");
    char both[1024];
    snprintf(both, sizeof(both), "%.*s%s", (int)(strstr(MINIMAL, "cluster") - MINIMAL), MINIMAL, text);
    assert_int_equal(load(both), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "cluster.bootstrap is missing"));
}

static void not_libconfig(void **s)
{
    assert_int_equal(load("dataplane: {\n  workers = [1;\n};"), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "t.cfg:2: syntax error"));
    errors.n = 0;
    assert_int_equal(hr_config_load("/nonexistent.cfg", &config, &errors), HR_E_CONFIG);
    assert_string_equal(errors.text[0], "/nonexistent.cfg: cannot be opened: No such file or directory");
    assert_int_equal(hr_config_load("/", &config, &errors), HR_E_CONFIG);
    assert_string_equal(errors.text[0], "/: cannot be read: Is a directory");
    assert_int_equal(hr_config_load("/dev/zero", &config, &errors), HR_E_CONFIG);
    assert_non_null(strstr(errors.text[0], "is larger than"));
}

static void many_mistakes(void **s)
{
    char text[8192] = "dataplane: { ";
    size_t len = strlen(text);
    for (int i = 0; i < 100; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "key%d = 1; ", i);
    snprintf(text + len, sizeof(text) - len, "};");
    assert_int_equal(load(text), HR_E_CONFIG);
    assert_int_equal(errors.n, HR_CONFIG_MAX_ERRORS);
}

static void advertised_ports(void **s)
{
    static const struct {
        const char *value;
        int32_t base;
        bool per_node;
    } cases[] = {
        {"\"$(nodePort)\"", 9200, true}, {"\"19092\"", 19092, false},       {"19092", 19092, false},
        {"\"0+$(nodeId)\"", 0, true},    {"\"9300+$(nodeId)\"", 9300, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char new[64];
        snprintf(new, sizeof(new), "node_ids = [1, 99]; advertised_port = %s", cases[i].value);
        char *once = edited("node_ids = [0, 99];", ""), *twice;
        snprintf(example, sizeof(example), "%s", once);
        twice = edited("advertised_port = \"$(nodePort)\"", new);
        if (load(twice) < 0)
            fail_msg("%s", errors.text[0]);
        assert_int_equal(config.listeners[0].policy.adv_port_base, cases[i].base);
        assert_int_equal(config.listeners[0].policy.adv_port_per_node, cases[i].per_node);
        free(once);
        free(twice);
        load_example(NULL);
    }
}

static char diff_log[8192];

static void collect(void *arg, const char *key, const char *from, const char *to, bool restart)
{
    size_t len = strlen(diff_log);
    assert_ptr_equal(arg, &config);
    snprintf(diff_log + len, sizeof(diff_log) - len, "%s: %s -> %s%s\n", key, from, to, restart ? " (restart)" : "");
}

static const char *diff_of(const char *old, const char *new)
{
    char *text = edited(old, new);
    assert_int_equal(load(example), 0);
    other = config;
    if (load(text) < 0)
        fail_msg("%s", errors.text[0]);
    diff_log[0] = '\0';
    hr_config_diff(&other, &config, collect, &config);
    free(text);
    return diff_log;
}

#define PORT(gateway)                                                                                        \
    "eth1: 0000:00:06.0 mtu 9001 10.0.0.5/24 2600:1f14:0:10::5/64 gateway " gateway " gateway6 advertised route " \
    "10.64.0.0/16 via 10.0.0.2 mtu 1500 route 2600:1f14:40::/48 via fe80::2"

static void differences(void **s)
{
    assert_string_equal(diff_of("# Headrace's", "# headrace's"), "");
    assert_string_equal(diff_of("level = \"info\"", "level = \"debug\""), "log.level: \"info\" -> \"debug\"\n");
    assert_string_equal(diff_of("idle = \"adaptive\"", "idle = \"busy\""),
                        "dataplane.idle: \"adaptive\" -> \"busy\"\n");
    assert_string_equal(diff_of("msl_ms = 5000", "msl_ms = 6000"), "tcp.msl_ms: 5000 -> 6000 (restart)\n");
    assert_string_equal(diff_of("max_connections = 10000", "max_connections = 9000"),
                        "limits.max_connections: 10000 -> 9000\n");
    assert_string_equal(diff_of("max_connections = 10000", "max_connections = 11000"),
                        "limits.max_connections: 10000 -> 11000 (restart)\n");
    assert_string_equal(diff_of("own = \"use1-az1\"", "own = \"z\""), "zones.own: \"use1-az1\" -> \"z\"\n");
    assert_string_equal(diff_of("cidr = \"10.0.2.0/24\"; zone = \"use1-az2\"", "cidr = \"10.0.2.0/25\"; zone = \"use1-az1\""),
                        "zones.clients: 10.0.1.0/24 use1-az1, 10.0.2.0/24 use1-az2, 2600:1f14:0:20::/64 use1-az2 -> "
                        "10.0.1.0/24 use1-az1, 10.0.2.0/25 use1-az1, 2600:1f14:0:20::/64 use1-az2\n");
    assert_string_equal(diff_of("cidr = \"10.9.0.0/16\"", "cidr = \"10.8.0.0/16\""),
                        "listeners[kafka].client_zones: 10.9.0.0/16 use1-az2 -> 10.8.0.0/16 use1-az2\n");
    assert_string_equal(diff_of("price_per_gb = 0.01", "price_per_gb = 0.02"),
                        "zones.price_per_gb: 0.01, use1-az1-use1-az2 0.01 -> 0.02, use1-az1-use1-az2 0.01\n");
    assert_string_equal(diff_of("proxy_protocol = { from = [ ]", "proxy_protocol = { from = [ \"10.0.0.0/8\", \"2600::/16\" ]"),
                        "listeners[kafka].proxy_protocol.from:  -> 10.0.0.0/8, 2600::/16\n"
                        "proxy_protocol: nowhere -> somewhere (restart)\n");
    assert_string_equal(diff_of("others = [\"use1-az1\"]", "others = [\"use1-az3\"]"), "zones.nearest: use1-az1 -> use1-az3\n");
    assert_string_equal(diff_of("http://10.0.2.5:9644/ready", "http://10.0.2.6:9644/ready"),
                        "listeners[kafka].peers: use1-az2 as b$(nodeId).az2.kafka.example.com:9200+id while "
                        "http://10.0.2.5:9644/ready -> use1-az2 as b$(nodeId).az2.kafka.example.com:9200+id while "
                        "http://10.0.2.6:9644/ready\n");
    assert_string_equal(diff_of("topic = \"alerts\"; reads = \"off\"", "topic = \"alert?\"; reads = \"auto\""),
                        "zones.reads: logs-* on, alerts off -> logs-* on, alert? auto\n");
    assert_string_equal(diff_of("zone_reads = \"off\"", "zone_reads = \"auto\""),
                        "listeners[kafka].zone_reads: \"off\" -> \"auto\"\n");
    assert_string_equal(diff_of("node = 7", "node = 6"),
                        "zones.brokers: node 7 use1-az1, b-8.* use1-az2 -> node 6 use1-az1, b-8.* use1-az2\n");
    assert_string_equal(diff_of("name = \"registry\"", "name = \"other\""),
                        "listeners[registry]: tcp 10.0.0.5:8081 to registry.example.internal:8081 -> \n"
                        "listeners[other]:  -> tcp 10.0.0.5:8081 to registry.example.internal:8081\n");
    assert_string_equal(diff_of("max_in_flight = 1024", "max_in_flight = 5"),
                        "listeners[kafka].max_in_flight: 1024 -> 5\n");
    assert_string_equal(diff_of("node_ids = [0, 99]", "node_ids = [0, 50]"),
                        "listeners[kafka]: kafka 10.0.0.5:9092 nodes 0..99 at 9200+id, advertised "
                        "b$(nodeId).kafka.example.com:9200+id -> kafka 10.0.0.5:9092 nodes 0..50 at 9200+id, "
                        "advertised b$(nodeId).kafka.example.com:9200+id\n");
    assert_string_equal(diff_of("gateway = \"10.0.0.1\"", "gateway = \"10.0.0.9\""),
                        "dataplane.ports: " PORT("10.0.0.1") " -> " PORT("10.0.0.9") " (restart)\n");
    assert_string_equal(diff_of("workers = [1]", "workers = [0, 1]"), "dataplane.workers: 1 -> 0, 1 (restart)\n");
    assert_string_equal(diff_of(", \"b-2.example.internal:9092\"", ""),
                        "cluster.bootstrap: b-1.example.internal:9092, b-2.example.internal:9092 -> "
                        "b-1.example.internal:9092\n");
    assert_string_equal(diff_of("    enabled = false;", "    enabled = true;"),
                        "cluster.tls.enabled: false -> true\ntls: nowhere -> somewhere (restart)\n");
    assert_string_equal(diff_of("\"127.0.0.1:9644\";", "\"\";"), "control.metrics_address: 127.0.0.1:9644 -> :0 (restart)\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_loads), cmocka_unit_test(documented_defaults), cmocka_unit_test(defaults), cmocka_unit_test(ipv6),
        cmocka_unit_test(mistakes), cmocka_unit_test(auth), cmocka_unit_test(session_names), cmocka_unit_test(principals), cmocka_unit_test(missing), cmocka_unit_test(tls),            cmocka_unit_test(not_libconfig),
        cmocka_unit_test(broker_logins), cmocka_unit_test(zones),
        cmocka_unit_test(many_mistakes), cmocka_unit_test(advertised_ports),    cmocka_unit_test(differences),
        cmocka_unit_test(manual_is_complete),
    };
    if (argc < 3 || sysconf(_SC_NPROCESSORS_CONF) < 2)
        return 77; /* the example names CPU 1 */
    example_path = argv[1];
    manual_path = argv[2];
    return cmocka_run_group_tests(tests, load_example, NULL);
}
