/* The policy snapshot: all that a worker must know to accept, route and edit.
 *
 * The control plane builds one in the shared region and publishes it by generation; the dataplane's main
 * thread copies it out, checks every field against its bounds (hr_policy_validate), and hands the private
 * copy to the workers, which adopt it between two batches. It has a fixed size and holds no pointer and no
 * offset, so validation is a walk over arrays.
 *
 * Strings are NUL-terminated within their arrays. Ports are host order, addresses as struct hr_addr. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/addr.h"
#include "shared/base/error.h"
#include "shared/ipc/replicas.h"
#include "shared/ipc/zones.h"

#define HR_POLICY_MAGIC 0x48525031u /* "HRP1" */
#define HR_POLICY_MAX_LISTENERS 32
#define HR_POLICY_MAX_BROKERS 512
#define HR_POLICY_MAX_TRUSTED 8
#define HR_POLICY_NAME_MAX 32
#define HR_POLICY_HOST_MAX 256 /* RFC 1035: 253 and a NUL */
#define HR_CLUSTER_ID_MAX 64

enum hr_listener_mode {
    HR_LISTENER_NONE = 0,
    HR_LISTENER_KAFKA, /* frames are parsed and edited */
    HR_LISTENER_TCP,   /* bytes to one fixed target */
    HR_LISTENER_MAX
};

/* A listener. Kafka: clients reach the cluster at bind:bootstrap_port and broker N at
 * bind:(node_port_base + N) for node_id_min <= N <= node_id_max, or all of them at bind:bootstrap_port by the name
 * that TLS names. TCP: bind:bootstrap_port to the target. */
struct hr_policy_listener {
    char name[HR_POLICY_NAME_MAX];
    uint8_t mode; /* enum hr_listener_mode */
    uint8_t draining; /* refuse new connections, end sessions at a frame boundary */
    uint16_t bootstrap_port;
    struct hr_addr bind;
    int32_t node_port_base;
    int32_t node_id_min, node_id_max;
    /* What clients are told for node N: adv_host with "$(nodeId)" replaced, port adv_port_base + N
     * (adv_port_per_node) or adv_port_base alone. */
    char adv_host[HR_POLICY_HOST_MAX];
    int32_t adv_port_base;
    uint8_t adv_port_per_node;
    uint8_t target_valid; /* TCP: the target's name has been resolved */
    uint16_t target_port;
    struct hr_addr target;
    uint32_t max_connections;
    uint32_t max_frame_bytes;
    uint32_t max_in_flight;      /* requests per connection without a response; <= HR_MAX_IN_FLIGHT */
    uint32_t connect_timeout_ms; /* broker leg */
    uint32_t idle_timeout_ms;    /* no byte either way; 0 = never */
    uint32_t request_timeout_ms; /* a request frame that has begun must complete within; 0 = never */
    /* Client connections go to the control plane first, which does the TLS handshake and hands them back. */
    uint8_t tls;
    uint8_t login;        /* so do those of clients that log in here, with or without TLS, until they have */
    uint8_t broker_login; /* and those whose broker leg the control plane logs in */
    uint8_t zone_reads; /* enum hr_zone_reads, NONE is off: for topics that have no word of their own */
    uint8_t by_name; /* nodes are told apart by SNI: there are no node ports, bootstrap_port is for all */
    uint8_t n_trusted; /* 0: no PROXY protocol. Else none but these networks may connect, and each must tell for whom */
    struct hr_policy_trusted {
        struct hr_addr net; /* host bits 0 */
        uint8_t bits;       /* of 128 */
    } trusted[HR_POLICY_MAX_TRUSTED];
    uint32_t handshake_timeout_ms;
    uint32_t max_handshakes; /* with the control plane at once, over all workers */
    uint32_t handshake_rate; /* per second and worker; a quarter of it for one client address */
};

enum hr_broker_flags {
    HR_BROKER_ALIVE = 1 << 0,    /* in the newest metadata, address known */
    HR_BROKER_DRAINING = 1 << 1, /* operator asked: no new sessions */
    HR_BROKER_BOOTSTRAP = 1 << 2, /* a bootstrap address, node id not known yet: used before metadata exists.
                                     Its node id is negative, as in Kafka's own clients; all others are not. */
    HR_BROKER_FLAGS = HR_BROKER_ALIVE | HR_BROKER_DRAINING | HR_BROKER_BOOTSTRAP
};

/* Bounds that both the configuration and the snapshot are held to. */
#define HR_MAX_IN_FLIGHT      1024
#define HR_HOLD_MAX_MIN       4096u
#define HR_HOLD_MAX_MAX       (64u << 20)
#define HR_MAX_SESSIONS_MAX   1000000u
#define HR_TIMEOUT_MAX_MS     86400000u /* a day */
#define HR_CONNECT_TIMEOUT_MIN_MS 10u
#define HR_HANDSHAKES_MAX     4096u
#define HR_ZONE_READS_MIN_BYTES_MAX (1u << 30)
#define HR_HANDSHAKE_RATE_MAX 100000u
#define HR_HANDSHAKE_TIMEOUT_MIN_MS 100u
#define HR_HANDSHAKE_TIMEOUT_MAX_MS 60000u

struct hr_policy_broker {
    int32_t node_id;
    uint16_t port;
    uint16_t flags; /* enum hr_broker_flags */
    struct hr_addr addr;
    uint8_t zone; /* number, by rack or as the configuration says; HR_ZONE_NONE: not known */
};

#define HR_POLICY_MAX_PEERS 32

/* Another instance of Headrace with the same nodes: what clients in its zone are told instead of our own addresses. */
struct hr_policy_peer {
    uint8_t listener; /* of ours, by index: whose node ids */
    uint8_t adv_port_per_node;
    int32_t adv_port_base;
    char adv_host[HR_POLICY_HOST_MAX];
};

struct hr_policy {
    uint32_t magic;
    uint32_t size; /* sizeof(struct hr_policy): another build's layout is refused */
    uint64_t generation;
    uint8_t cluster_known; /* a first metadata answer has arrived: the bootstrap listener may accept */
    uint8_t idle_busy;     /* live copy of dataplane.idle: 1 = busy, 0 = adaptive */
    uint8_t log_level;     /* enum hr_log_level */
    uint8_t cluster_tls; /* broker legs are opened by the control plane, which does the handshake */
    uint32_t max_sessions;
    uint32_t hold_max_bytes;
    uint32_t zone_reads_min_bytes; /* per second: what makes zone_reads "auto" worth it */
    uint32_t drain_timeout_ms;
    char cluster_id[HR_CLUSTER_ID_MAX];
    uint32_t n_listeners;
    uint32_t n_brokers; /* sorted by node_id, each once */
    struct hr_zone_map zones;
    uint32_t n_peers;
    struct hr_policy_peer peers[HR_POLICY_MAX_PEERS];
    /* Whose addresses a listener's clients in a zone are told: a peer's number + 1, 0: ours. */
    uint8_t told[HR_POLICY_MAX_LISTENERS][HR_ZONES_MAX];
    struct hr_policy_listener listeners[HR_POLICY_MAX_LISTENERS];
    struct hr_policy_broker brokers[HR_POLICY_MAX_BROKERS];
};

/* Checks magic, size, counts, enums, strings' terminators, ranges (ports 1-65535, node ids against port
 * ranges, overlapping listeners), order of brokers. INVALID with *ret_why set to a static text. */
HR_MUST_CHECK int hr_policy_validate(const struct hr_policy *policy, const char **ret_why);

/* The broker with this node id, NULL if none (binary search). */
const struct hr_policy_broker *hr_policy_find_broker(const struct hr_policy *policy, int32_t node_id);

/* The listener that owns addr:port, NULL if none; *ret_node_id is the node id that the port stands for, -1
 * for the bootstrap port. A bind of 0.0.0.0 owns every address. */
const struct hr_policy_listener *hr_policy_find_listener(const struct hr_policy *policy,
                                                         const struct hr_addr *addr, uint16_t port,
                                                         int32_t *ret_node_id);

/* Whose addresses a client of this listener of the policy's is told; NULL: ours. */
static inline const struct hr_policy_peer *hr_policy_peer_of(const struct hr_policy *policy,
                                                             const struct hr_policy_listener *listener, uint8_t zone)
{
    uint8_t told = policy->told[listener - policy->listeners][zone];
    return told ? &policy->peers[told - 1] : NULL;
}

/* The same as hr_policy_advertised(), by a peer; NULL: by us. */
HR_MUST_CHECK int hr_policy_advertised_by(const struct hr_policy_listener *listener, const struct hr_policy_peer *peer,
                                          int32_t node_id, char *host, uint32_t cap, uint16_t *ret_port);

/* What clients are told for a node: writes the host (NUL-terminated, cap >= HR_POLICY_HOST_MAX) and port.
 * TOO_LARGE when the expansion does not fit; UNSUPPORTED when the node id is outside the listener's range. */
HR_MUST_CHECK int hr_policy_advertised(const struct hr_policy_listener *listener, int32_t node_id, char *host,
                                       uint32_t cap, uint16_t *ret_port);
