/* Validation is a walk over fixed arrays: every string is checked for its terminator before anything reads it,
 * every sum of a port base and a node id is made in 64 bits, and every loop is bounded by a count that has been
 * checked. */
#include "shared/ipc/policy.h"

#include <stdio.h>
#include <string.h>

#include "shared/base/log.h"

_Static_assert(HR_ZONE_GLOBAL == HR_POLICY_MAX_LISTENERS, "each listener has a scope, and one is for all");

#define NODE_ID_PATTERN "$(nodeId)"

static bool terminated(const char *text, size_t cap)
{
    return memchr(text, '\0', cap) != NULL;
}

static bool is_any(const struct hr_addr *addr)
{
    static const struct hr_addr any6;
    struct hr_addr any4 = hr_addr_from_v4(0);
    return hr_addr_equal(addr, &any4) || hr_addr_equal(addr, &any6);
}

static bool port_ok(int64_t port)
{
    return port >= 1 && port <= UINT16_MAX;
}

/* Ports that a listener owns: its bootstrap port, and a range that is empty (first > last) for mode tcp. */
static void node_ports(const struct hr_policy_listener *l, int64_t *ret_first, int64_t *ret_last)
{
    bool kafka = l->mode == HR_LISTENER_KAFKA && !l->by_name;
    *ret_first = kafka ? (int64_t)l->node_port_base + l->node_id_min : 1;
    *ret_last = kafka ? (int64_t)l->node_port_base + l->node_id_max : 0;
}

static bool within(int64_t port, int64_t first, int64_t last)
{
    return port >= first && port <= last;
}

static bool listeners_overlap(const struct hr_policy_listener *a, const struct hr_policy_listener *b)
{
    if (!hr_addr_equal(&a->bind, &b->bind) && !is_any(&a->bind) && !is_any(&b->bind))
        return false;
    int64_t a_first, a_last, b_first, b_last;
    node_ports(a, &a_first, &a_last);
    node_ports(b, &b_first, &b_last);
    return a->bootstrap_port == b->bootstrap_port || within(a->bootstrap_port, b_first, b_last) ||
           within(b->bootstrap_port, a_first, a_last) ||
           (a_first <= a_last && b_first <= b_last && a_first <= b_last && b_first <= a_last);
}

static const char *check_kafka(const struct hr_policy_listener *l)
{
    int64_t first, last;
    if (l->node_id_min < 0 || l->node_id_max < l->node_id_min)
        return "listener: node id range is empty or negative";
    if (l->by_name && !l->tls)
        return "listener: nodes by name need TLS";
    node_ports(l, &first, &last);
    if (!l->by_name && (!port_ok(first) || !port_ok(last)))
        return "listener: node ports outside 1..65535";
    if (within(l->bootstrap_port, first, last))
        return "listener: bootstrap port lies among the node ports";
    if (!terminated(l->adv_host, sizeof(l->adv_host)) || l->adv_host[0] == '\0')
        return "listener: advertised host empty or not terminated";
    if (l->adv_port_per_node > 1)
        return "listener: advertised port kind unknown";
    int64_t adv_first = (int64_t)l->adv_port_base + (l->adv_port_per_node ? l->node_id_min : 0);
    int64_t adv_last = (int64_t)l->adv_port_base + (l->adv_port_per_node ? l->node_id_max : 0);
    if (!port_ok(adv_first) || !port_ok(adv_last))
        return "listener: advertised ports outside 1..65535";
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    if (hr_policy_advertised(l, l->node_id_max, host, sizeof(host), &port) < 0)
        return "listener: advertised host too long with the highest node id";
    if (l->max_frame_bytes == 0 || l->max_frame_bytes > INT32_MAX)
        return "listener: max_frame_bytes out of range";
    if (l->zone_reads >= HR_ZONE_READS_MAX)
        return "listener: zone_reads unknown";
    if (l->max_in_flight == 0 || l->max_in_flight > HR_MAX_IN_FLIGHT)
        return "listener: max_in_flight out of range";
    return NULL;
}

static const char *check_peer(const struct hr_policy *p, const struct hr_policy_peer *peer)
{
    if (peer->listener >= p->n_listeners || p->listeners[peer->listener].mode != HR_LISTENER_KAFKA)
        return "peer: its listener is none of mode kafka";
    const struct hr_policy_listener *l = &p->listeners[peer->listener];
    if (!terminated(peer->adv_host, sizeof(peer->adv_host)) || peer->adv_host[0] == '\0')
        return "peer: advertised host empty or not terminated";
    if (peer->adv_port_per_node > 1)
        return "peer: advertised port kind unknown";
    if (!port_ok((int64_t)peer->adv_port_base + (peer->adv_port_per_node ? l->node_id_min : 0)) ||
        !port_ok((int64_t)peer->adv_port_base + (peer->adv_port_per_node ? l->node_id_max : 0)))
        return "peer: advertised ports outside 1..65535";
    char host[HR_POLICY_HOST_MAX];
    uint16_t port;
    if (hr_policy_advertised_by(l, peer, l->node_id_max, host, sizeof(host), &port) < 0)
        return "peer: advertised host too long with the highest node id";
    return NULL;
}

static const char *check_peers(const struct hr_policy *p)
{
    const char *why = NULL;
    for (uint32_t i = 0; i < p->n_peers && why == NULL; i++)
        why = check_peer(p, &p->peers[i]);
    for (uint32_t l = 0; l < HR_POLICY_MAX_LISTENERS && why == NULL; l++) {
        for (uint32_t z = 0; z < HR_ZONES_MAX; z++) {
            uint8_t told = p->told[l][z];
            if (told > p->n_peers || (told > 0 && p->peers[told - 1].listener != l))
                why = "peer: clients are told of none, or of another listener's";
        }
    }
    return why;
}

static const char *check_listener(const struct hr_policy_listener *l, bool cluster_tls)
{
    if (!terminated(l->name, sizeof(l->name)) || l->name[0] == '\0')
        return "listener: name empty or not terminated";
    if (l->mode <= HR_LISTENER_NONE || l->mode >= HR_LISTENER_MAX)
        return "listener: mode unknown";
    if (l->draining > 1 || l->target_valid > 1 || l->tls > 1 || l->by_name > 1 || l->login > 1 || l->broker_login > 1)
        return "listener: flag is neither 0 nor 1";
    if (l->bootstrap_port == 0)
        return "listener: port is 0";
    if (l->max_connections == 0 || l->max_connections > HR_MAX_SESSIONS_MAX)
        return "listener: max_connections out of range";
    if (l->connect_timeout_ms < HR_CONNECT_TIMEOUT_MIN_MS || l->connect_timeout_ms > HR_TIMEOUT_MAX_MS ||
        l->idle_timeout_ms > HR_TIMEOUT_MAX_MS || l->request_timeout_ms > HR_TIMEOUT_MAX_MS)
        return "listener: timeout out of range";
    bool handshakes = l->tls || l->login || l->broker_login || (cluster_tls && l->mode == HR_LISTENER_KAFKA);
    if (handshakes && (l->handshake_timeout_ms < HR_HANDSHAKE_TIMEOUT_MIN_MS ||
                       l->handshake_timeout_ms > HR_HANDSHAKE_TIMEOUT_MAX_MS || l->max_handshakes == 0 ||
                       l->max_handshakes > HR_HANDSHAKES_MAX || l->handshake_rate == 0 ||
                       l->handshake_rate > HR_HANDSHAKE_RATE_MAX))
        return "listener: a limit of handshakes is out of range";
    if (l->n_trusted > HR_POLICY_MAX_TRUSTED)
        return "listener: too many trusted networks";
    for (uint32_t i = 0; i < l->n_trusted; i++) {
        const struct hr_policy_trusted *t = &l->trusted[i];
        struct hr_addr net = t->bits <= 128 ? hr_addr_network(&t->net, t->bits) : (struct hr_addr){0};
        if (t->bits > 128 || !hr_addr_equal(&net, &t->net))
            return "listener: a trusted network has host bits";
    }
    if (l->mode == HR_LISTENER_TCP && (l->tls || l->by_name || l->login || l->broker_login))
        return "listener: TLS and logins are for listeners of mode kafka";
    if (l->mode == HR_LISTENER_TCP)
        return l->target_valid && (l->target_port == 0 || is_any(&l->target)) ? "listener: target is not an endpoint"
                                                                              : NULL;
    return check_kafka(l);
}

static const char *check_broker(const struct hr_policy_broker *b, uint32_t n_zones)
{
    if ((b->flags & ~HR_BROKER_FLAGS) != 0)
        return "broker: unknown flag";
    if ((b->node_id < 0) != ((b->flags & HR_BROKER_BOOTSTRAP) != 0))
        return "broker: node id is negative for a bootstrap address, and for nothing else";
    if ((b->flags & (HR_BROKER_ALIVE | HR_BROKER_BOOTSTRAP)) != 0 && (b->port == 0 || is_any(&b->addr)))
        return "broker: alive without an address";
    if (b->zone >= n_zones)
        return "broker: zone unknown";
    return NULL;
}

static const char *check_head(const struct hr_policy *p)
{
    if (p->magic != HR_POLICY_MAGIC)
        return "magic number wrong";
    if (p->size != sizeof(*p))
        return "size differs: built from other headers";
    if (p->generation == 0)
        return "generation is 0";
    if (p->cluster_known > 1 || p->idle_busy > 1 || p->cluster_tls > 1)
        return "flag is neither 0 nor 1";
    if (p->log_level <= HR_LOG_NONE || p->log_level >= HR_LOG_MAX)
        return "log level unknown";
    if (p->max_sessions == 0 || p->max_sessions > HR_MAX_SESSIONS_MAX)
        return "max_sessions out of range";
    if (p->hold_max_bytes < HR_HOLD_MAX_MIN || p->hold_max_bytes > HR_HOLD_MAX_MAX)
        return "hold_max_bytes out of range";
    if (p->zone_reads_min_bytes > HR_ZONE_READS_MIN_BYTES_MAX)
        return "zone_reads_min_bytes out of range";
    if (p->drain_timeout_ms > HR_TIMEOUT_MAX_MS)
        return "drain_timeout_ms out of range";
    if (!terminated(p->cluster_id, sizeof(p->cluster_id)))
        return "cluster id not terminated";
    if (p->n_listeners > HR_POLICY_MAX_LISTENERS)
        return "too many listeners";
    if (p->n_brokers > HR_POLICY_MAX_BROKERS)
        return "too many brokers";
    if (p->n_peers > HR_POLICY_MAX_PEERS)
        return "too many peers";
    return hr_zone_map_check(&p->zones);
}

static const char *check(const struct hr_policy *p)
{
    const char *why = check_head(p);
    for (uint32_t i = 0; why == NULL && i < p->n_listeners; i++) {
        why = check_listener(&p->listeners[i], p->cluster_tls);
        for (uint32_t j = 0; why == NULL && j < i; j++) {
            if (listeners_overlap(&p->listeners[i], &p->listeners[j]))
                why = "two listeners share a port of one address";
        }
    }
    for (uint32_t i = 0; why == NULL && i < p->n_brokers; i++) {
        why = check_broker(&p->brokers[i], p->zones.n);
        if (why == NULL && i > 0 && p->brokers[i].node_id <= p->brokers[i - 1].node_id)
            why = "brokers are not sorted by node id, each once";
    }
    return why != NULL ? why : check_peers(p);
}

int hr_policy_validate(const struct hr_policy *policy, const char **ret_why)
{
    const char *why = check(policy);
    if (why == NULL)
        return 0;
    *ret_why = why;
    return HR_E_INVALID;
}

const struct hr_policy_broker *hr_policy_find_broker(const struct hr_policy *policy, int32_t node_id)
{
    uint32_t low = 0, high = policy->n_brokers;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (policy->brokers[middle].node_id < node_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < policy->n_brokers && policy->brokers[low].node_id == node_id ? &policy->brokers[low] : NULL;
}

const struct hr_policy_listener *hr_policy_find_listener(const struct hr_policy *policy,
                                                         const struct hr_addr *addr, uint16_t port,
                                                         int32_t *ret_node_id)
{
    for (uint32_t i = 0; i < policy->n_listeners; i++) {
        const struct hr_policy_listener *l = &policy->listeners[i];
        if (!hr_addr_equal(&l->bind, addr) && !is_any(&l->bind))
            continue;
        if (port == l->bootstrap_port) {
            *ret_node_id = -1;
            return l;
        }
        int64_t first, last;
        node_ports(l, &first, &last);
        if (within(port, first, last)) {
            *ret_node_id = port - l->node_port_base;
            return l;
        }
    }
    return NULL;
}

int hr_policy_advertised(const struct hr_policy_listener *listener, int32_t node_id, char *host, uint32_t cap,
                         uint16_t *ret_port)
{
    return hr_policy_advertised_by(listener, NULL, node_id, host, cap, ret_port);
}

int hr_policy_advertised_by(const struct hr_policy_listener *listener, const struct hr_policy_peer *peer,
                            int32_t node_id, char *host, uint32_t cap, uint16_t *ret_port)
{
    if (node_id < listener->node_id_min || node_id > listener->node_id_max)
        return HR_E_UNSUPPORTED;

    /* Expanded into a buffer of our own first, so that nothing is written when it does not fit. */
    char digits[16], text[HR_POLICY_HOST_MAX];
    uint32_t n_digits = (uint32_t)snprintf(digits, sizeof(digits), "%d", (int)node_id), len = 0;
    uint32_t limit = cap < sizeof(text) ? cap : (uint32_t)sizeof(text);
    for (const char *p = peer != NULL ? peer->adv_host : listener->adv_host; *p != '\0';) {
        bool pattern = strncmp(p, NODE_ID_PATTERN, sizeof(NODE_ID_PATTERN) - 1) == 0;
        const char *part = pattern ? digits : p;
        uint32_t n = pattern ? n_digits : 1;
        if (len + n >= limit)
            return HR_E_TOO_LARGE;
        memcpy(text + len, part, n);
        len += n;
        p += pattern ? sizeof(NODE_ID_PATTERN) - 1 : 1;
    }
    if (len >= limit)
        return HR_E_TOO_LARGE;
    text[len] = '\0';
    memcpy(host, text, len + 1);
    bool per_node = peer != NULL ? peer->adv_port_per_node : listener->adv_port_per_node;
    *ret_port = (uint16_t)((peer != NULL ? peer->adv_port_base : listener->adv_port_base) + (per_node ? node_id : 0));
    return 0;
}
