/* The configuration file (libconfig), read into one plain struct.
 *
 * The dataplane reads its own part at start-up (ports, workers, memory), the control plane all of it, and
 * `headracectl config check` any file without a running instance: one reader, so they cannot disagree. Every
 * key, its unit, default and range is documented in config/headrace.cfg; a test loads that file and checks
 * that each default there equals the default here.
 *
 * Errors name file, line, what is wrong and what would be right:
 *   headrace.cfg:41: listeners[0].node_port_base = 70000: must be 1..65535
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"
#include "shared/base/log.h"
#include "shared/ipc/policy.h"

#define HR_CONFIG_MAX_PORTS 8
#define HR_CONFIG_MAX_WORKERS 32
#define HR_CONFIG_MAX_ADDRS 8
#define HR_CONFIG_MAX_ROUTES 32
#define HR_CONFIG_MAX_BOOTSTRAP 16
#define HR_CONFIG_PATH_MAX 256
#define HR_CONFIG_DEVICE_MAX 256
#define HR_CONFIG_MAX_CERTS 8

struct hr_config_addr {
    struct hr_addr addr;
    uint8_t prefix; /* bits: 0-32, or 0-128 for IPv6 */
};

struct hr_config_route {
    struct hr_config_addr to;
    struct hr_addr via;
    uint16_t mtu; /* bytes of an IP packet; 0 = the port's */
};

struct hr_config_port {
    char name[HR_POLICY_NAME_MAX];
    char device[HR_CONFIG_DEVICE_MAX]; /* PCI address, or a vdev with its arguments */
    uint16_t mtu;
    uint32_t tx_mbps, tx_kpps; /* what all workers together may send; 0: no limit */
    uint32_t tx_burst_us;
    uint32_t n_addrs;
    struct hr_config_addr addrs[HR_CONFIG_MAX_ADDRS];
    bool has_gateway, has_gateway6;
    struct hr_addr gateway, gateway6;
    bool accept_ra; /* gateway6 = "advertised" */
    uint32_t n_routes;
    struct hr_config_route routes[HR_CONFIG_MAX_ROUTES];
};

struct hr_config_dataplane {
    uint32_t n_workers;
    uint32_t worker_lcores[HR_CONFIG_MAX_WORKERS];
    uint32_t main_lcore;
    bool idle_busy;
    bool hugepages;
    uint32_t memory_mb;
    uint32_t mbufs_per_worker; /* 0 = from memory_mb */
    char user[HR_POLICY_NAME_MAX]; /* "" = stay who we are */
    char file_prefix[HR_POLICY_NAME_MAX];
    uint32_t n_ports;
    struct hr_config_port ports[HR_CONFIG_MAX_PORTS];
    uint16_t source_port_min, source_port_max; /* broker legs, partitioned by worker */
};

enum hr_config_congestion {
    HR_CONFIG_CONGESTION_NONE = 0,
    HR_CONFIG_CUBIC,
    HR_CONFIG_RENO,
    HR_CONFIG_CONGESTION_MAX
};

struct hr_config_tcp {
    enum hr_config_congestion congestion;
    uint32_t rcv_wnd_initial, rcv_wnd_max, snd_buf_max; /* bytes */
    uint32_t conn_bufs_max;
    uint32_t keepalive_s;
    uint32_t rto_min_ms;
    uint32_t msl_ms;
    uint32_t user_timeout_ms, zero_window_timeout_ms, half_close_timeout_ms;
};

struct hr_config_limits {
    uint32_t max_connections;  /* sessions, over all workers */
    uint32_t max_half_open;    /* per worker */
    uint32_t max_time_wait;    /* per worker */
    uint32_t connect_rate;     /* per worker and second; 0: not limited */
    uint32_t tls_rekey_records; /* full-size records under one key */
    uint32_t hold_max_bytes;
    uint32_t drain_timeout_ms;
};

struct hr_config_hostport {
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
};

/* A file that the control plane alone opens; line: where the configuration names it, for errors found later. */
struct hr_config_file {
    char path[HR_CONFIG_PATH_MAX]; /* "" = none */
    uint32_t line;
};

struct hr_config_certificate {
    struct hr_config_file chain, key; /* PEM: the certificate and those that lead to its CA; its private key */
};

enum hr_config_client_auth {
    HR_CONFIG_CLIENT_AUTH_NONE = 0,
    HR_CONFIG_CLIENT_AUTH_OPTIONAL,
    HR_CONFIG_CLIENT_AUTH_REQUIRED,
    HR_CONFIG_CLIENT_AUTH_MAX
};

/* Which of a client certificate's names is its principal. */
enum hr_config_principal_source {
    HR_CONFIG_PRINCIPAL_NONE = 0,
    HR_CONFIG_PRINCIPAL_DN,
    HR_CONFIG_PRINCIPAL_SAN_DNS,
    HR_CONFIG_PRINCIPAL_SAN_URI,
    HR_CONFIG_PRINCIPAL_SAN_EMAIL,
    HR_CONFIG_PRINCIPAL_MAX
};
#define HR_CONFIG_RULES_MAX 1024

/* A listener that speaks TLS (policy.tls). */
struct hr_config_listener_tls {
    bool tls13_only;
    uint32_t n_certs; /* the first of each key type is for names that no certificate has */
    struct hr_config_certificate certs[HR_CONFIG_MAX_CERTS];
    enum hr_config_client_auth client_auth;
    struct hr_config_file client_ca, client_crl;
    enum hr_config_principal_source principal_source;
    char principal_rules[HR_CONFIG_RULES_MAX]; /* Kafka's ssl.principal.mapping.rules; read by controlplane/tls */
};

/* Brokers that speak TLS. */
struct hr_config_cluster_tls {
    bool on;
    struct hr_config_file ca; /* "" = the system's */
    struct hr_config_certificate cert; /* of ours towards them; "" = none */
};

#define HR_CONFIG_SECRET_ARGS 8
#define HR_CONFIG_TEXT_MAX    256

/* A secret that the configuration names and does not hold: one of both, or neither. */
struct hr_config_secret {
    char file[HR_CONFIG_PATH_MAX];
    uint32_t n_args;
    char args[HR_CONFIG_SECRET_ARGS][HR_CONFIG_PATH_MAX]; /* of a command, which is the first */
    uint32_t line;                                        /* where it is named */
};

/* In the order of enum hr_mechanism (controlplane/auth/login.h). */
enum hr_config_mechanism {
    HR_CONFIG_MECH_NONE = 0,
    HR_CONFIG_MECH_PLAIN,
    HR_CONFIG_MECH_SCRAM_SHA_256,
    HR_CONFIG_MECH_SCRAM_SHA_512,
    HR_CONFIG_MECH_OAUTHBEARER,
    HR_CONFIG_MECH_AWS_MSK_IAM,
    HR_CONFIG_MECH_MAX
};

const char *hr_config_mechanism_name(enum hr_config_mechanism mechanism);

/* In the order of enum hr_aws_source (controlplane/auth/credentials.h). */
enum hr_config_aws {
    HR_CONFIG_AWS_NONE = 0,
    HR_CONFIG_AWS_DEFAULT,
    HR_CONFIG_AWS_ENVIRONMENT,
    HR_CONFIG_AWS_WEB_IDENTITY,
    HR_CONFIG_AWS_FILE,
    HR_CONFIG_AWS_CONTAINER,
    HR_CONFIG_AWS_INSTANCE,
    HR_CONFIG_AWS_MAX
};

/* Who Headrace is to the brokers: the control plane, and sessions where a listener does not say that each client is
 * somebody of its own. No hidden padding counts: it is zeroed, and compared as bytes. */
struct hr_config_broker_auth {
    enum hr_config_mechanism mechanism;
    char username[HR_CONFIG_TEXT_MAX];
    struct hr_config_secret secret;
    char token_url[HR_CONFIG_TEXT_MAX], token_scope[HR_CONFIG_TEXT_MAX];
    enum hr_config_aws aws_credentials;
    char aws_region[32], aws_profile[64], aws_session_name[65];
    char aws_file[HR_CONFIG_TEXT_MAX], aws_role_arn[HR_CONFIG_TEXT_MAX], aws_external_id[HR_CONFIG_TEXT_MAX];
};

/* Who the sessions of one client are to the brokers; all else is as broker_auth has it. */
#define HR_CONFIG_MAX_PRINCIPALS 64
#define HR_CONFIG_PRINCIPAL_TEXT 256
struct hr_config_principal {
    char principal[HR_CONFIG_PRINCIPAL_TEXT]; /* without "User:" */
    char username[HR_CONFIG_TEXT_MAX];       /* PLAIN, SCRAM */
    struct hr_config_secret secret;          /* the same */
    char role_arn[HR_CONFIG_TEXT_MAX];       /* AWS */
};
/* The session name of a client's role: the principal where AWS allows it as one (2 to 64 of [A-Za-z0-9_+=,.@-]), else what
 * it allows of it and a hash. The same principal has the same one for ever: a broker lets no principal change. */
#define HR_CONFIG_SESSION_NAME_MAX 65
void hr_config_session_name(const char *principal, char ret_name[HR_CONFIG_SESSION_NAME_MAX]);

/* How fast sessions' connections to one broker are opened. */
struct hr_config_pacing {
    uint32_t rate;        /* per second and broker, over all instances; 0: by mechanism and broker_type */
    char broker_type[32]; /* of MSK, "kafka.t3.small" has a lower rate */
    uint32_t instances;   /* of Headrace, which share it */
};

#define HR_CONFIG_ZONE_ALIASES 32
#define HR_CONFIG_ZONE_BROKERS 128
#define HR_CONFIG_ZONE_PRICES  64
#define HR_CONFIG_ZONE_PRICE    0.01 /* dollars, AWS between zones of a region */
#define HR_CONFIG_ZONE_READS   64
#define HR_CONFIG_TOPIC_MAX    250 /* Kafka's bound on names, and a NUL */
#define HR_CONFIG_ZONE_INSTANCE "instance-metadata" /* zones.own: as EC2 says */

/* Zones are numbers in hr_config_zones.names, 0: none. */
struct hr_config_zone_alias {
    char name[HR_ZONE_NAME_MAX]; /* another name of it, as racks or the metadata may say */
    uint8_t zone;
};
/* Where a topic's consumers read, for topics that listeners do not decide. */
struct hr_config_zone_reads {
    char topic[HR_CONFIG_TOPIC_MAX]; /* pattern */
    uint8_t reads;                   /* enum hr_zone_reads */
};
struct hr_config_zone_broker {
    char host[HR_POLICY_HOST_MAX]; /* pattern of names; "": by node_id */
    int32_t node_id;
    uint8_t zone;
};
struct hr_config_zone_net {
    struct hr_addr addr;
    uint8_t bits; /* of 128 */
    uint8_t zone;
    uint8_t scope; /* a listener's index, or HR_ZONE_GLOBAL */
    uint32_t line;
};

struct hr_config_zone_price {
    uint8_t a, b; /* between these, in both directions */
    double per_gb;
};

struct hr_config_peer {
    uint8_t zone;
    struct hr_policy_peer policy;
    char health[HR_CONFIG_TEXT_MAX]; /* URL that answers 200 while it serves; "": nobody asks */
};

struct hr_config_zones {
    char own[HR_ZONE_NAME_MAX]; /* "": not known; or HR_CONFIG_ZONE_INSTANCE */
    uint32_t n_names;           /* with number 0 */
    char names[HR_ZONES_MAX][HR_ZONE_NAME_MAX];
    uint32_t n_peers;
    struct hr_config_peer peers[HR_POLICY_MAX_PEERS]; /* of all listeners */
    uint8_t nearest[HR_ZONES_MAX][HR_ZONES_MAX];      /* zones to try instead of a zone, the best first; 0 ends */
    double price_per_gb;        /* dollars, for who sends and again for who receives */
    uint32_t reads_min_bytes;   /* per second */
    uint32_t n_aliases, n_brokers, n_nets, n_prices, n_reads;
    struct hr_config_zone_price prices[HR_CONFIG_ZONE_PRICES];
    struct hr_config_zone_alias aliases[HR_CONFIG_ZONE_ALIASES];
    struct hr_config_zone_broker brokers[HR_CONFIG_ZONE_BROKERS]; /* the first that fits counts */
    struct hr_config_zone_net nets[HR_ZONE_NETS_MAX];
    struct hr_config_zone_reads reads[HR_CONFIG_ZONE_READS]; /* the first that fits counts */
};

/* What becomes of a client's login. */
enum hr_config_auth_mode {
    HR_CONFIG_AUTH_MODE_NONE = 0,
    HR_CONFIG_AUTH_PASSTHROUGH, /* its frames go to the broker, whose matter it is */
    HR_CONFIG_AUTH_TERMINATE,   /* it logs in here */
    HR_CONFIG_AUTH_OPEN,        /* "none": nobody logs in by SASL */
    HR_CONFIG_AUTH_MODE_MAX
};

/* Who a session is to its broker, where the client does not log in there itself. */
enum hr_config_broker_identity {
    HR_CONFIG_BROKER_IDENTITY_NONE = 0,
    HR_CONFIG_BROKER_IDENTITY_AUTO,   /* broker_auth, if there is one */
    HR_CONFIG_BROKER_IDENTITY_SHARED, /* broker_auth */
    HR_CONFIG_BROKER_IDENTITY_PRINCIPAL, /* broker_auth.principals: each client its own */
    HR_CONFIG_BROKER_IDENTITY_MAX
};

#define HR_CONFIG_ALLOW_MAX  32
#define HR_CONFIG_ALLOW_TEXT 128

/* Where tokens come from, for OAUTHBEARER. */
struct hr_config_oauth {
    char jwks_url[HR_CONFIG_TEXT_MAX], jwks_file[HR_CONFIG_PATH_MAX]; /* one of both */
    char ca[HR_CONFIG_PATH_MAX];                                     /* of the URL's server, PEM; "": the system's */
    char issuer[HR_CONFIG_TEXT_MAX], audience[HR_CONFIG_TEXT_MAX];
    char scope[HR_CONFIG_TEXT_MAX]; /* with spaces between */
    char principal_claim[64];
    uint32_t clock_skew_s, refresh_s;
};

struct hr_config_listener_auth {
    enum hr_config_auth_mode mode;
    enum hr_config_broker_identity broker_identity;
    uint32_t mechanisms; /* bits 1 << enum hr_config_mechanism; 0 unless it terminates */
    char users[HR_CONFIG_PATH_MAX];
    uint32_t session_lifetime_s;  /* 0: for ever */
    uint32_t attempts_per_minute; /* of one source */
    uint32_t n_allow;             /* 0: everybody */
    char allow[HR_CONFIG_ALLOW_MAX][HR_CONFIG_ALLOW_TEXT]; /* without "User:" */
    struct hr_config_oauth oauth;
};

struct hr_config_listener {
    struct hr_policy_listener policy; /* ready for the snapshot, target unresolved */
    bool has_target;
    struct hr_config_hostport target;
    struct hr_config_listener_tls tls;
    struct hr_config_listener_auth auth;
    struct {
        uint32_t users, jwks_file, ca;
    } auth_lines; /* where the files of auth are named, or would be */
    char bootstrap_host[HR_POLICY_HOST_MAX]; /* policy.by_name: the name that stands for no node */
};

struct hr_config {
    char path[HR_CONFIG_PATH_MAX];
    struct hr_config_dataplane dataplane;
    struct hr_config_tcp tcp;
    struct hr_config_limits limits;
    struct {
        uint32_t n_bootstrap;
        struct hr_config_hostport bootstrap[HR_CONFIG_MAX_BOOTSTRAP];
        uint32_t refresh_ms;         /* metadata refresh */
        uint32_t refresh_min_ms;     /* least time between two refreshes on hints */
        uint32_t request_timeout_ms;
        bool prefer_ipv6; /* where a name has addresses of both families */
        struct hr_config_cluster_tls tls;
    } cluster;
    struct hr_config_broker_auth broker_auth;
    uint32_t n_principals;
    struct hr_config_principal principals[HR_CONFIG_MAX_PRINCIPALS];
    char metadata_principal[HR_CONFIG_PRINCIPAL_TEXT]; /* whose identity refreshes metadata; "": broker_auth's */
    struct hr_config_pacing pacing;
    uint32_t n_listeners;
    struct hr_config_listener listeners[HR_POLICY_MAX_LISTENERS];
    struct hr_config_zones zones;
    struct {
        char runtime_dir[HR_CONFIG_PATH_MAX];    /* dataplane.sock, control.sock */
        char user[HR_POLICY_NAME_MAX];
        char metrics_host[HR_POLICY_HOST_MAX];   /* "" = off */
        uint16_t metrics_port;
    } control;
    struct {
        enum hr_log_level level;
        enum hr_log_format format;
    } log;
};

/* Up to this many mistakes are reported by one run, and so many things that are allowed and hardly wanted. */
#define HR_CONFIG_MAX_ERRORS   16
#define HR_CONFIG_MAX_WARNINGS 16

struct hr_config_errors {
    uint32_t n;
    char text[HR_CONFIG_MAX_ERRORS][512]; /* file:line: key = value: what would be right */
    uint32_t n_warnings;
    char warnings[HR_CONFIG_MAX_WARNINGS][512]; /* the same; also after success */
};

/* Reads and validates path. CONFIG with errors filled; *ret_config is written only on success.
 * The caller allocates (the struct is some 300 KB). */
HR_MUST_CHECK int hr_config_load(const char *path, struct hr_config *ret_config, struct hr_config_errors *errors);

/* The zone that a name stands for: itself, unless it is an alias. */
const char *hr_config_zone_name(const struct hr_config *config, const char *name);

/* On either leg: what workers need for it is set up at their start alone. */
bool hr_config_speaks_tls(const struct hr_config *config);
/* Somebody logs in, or shows a certificate: workers keep who, in a table that they make at their start. */
bool hr_config_has_logins(const struct hr_config *config);
/* On some listener: the same. */
bool hr_config_has_proxy_protocol(const struct hr_config *config);

/* Every difference between two configurations that a reload can apply, one line each, through emit; and
 * whether something differs that needs a restart (named through emit_restart). */
void hr_config_diff(const struct hr_config *from, const struct hr_config *to,
                    void (*emit)(void *arg, const char *key, const char *from_value, const char *to_value,
                                 bool needs_restart),
                    void *arg);
