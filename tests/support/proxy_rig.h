/* A worker's sessions with real TCP on both sides, in one process under a virtual clock: for unit tests.
 *
 * The proxy's end is what a worker has (TCP, relays, sessions, and the control plane's end if a test adds one);
 * the world's end is one more TCP that plays all clients and all brokers. Segments travel one millisecond. The
 * policy is hr_policy_sample(): a Kafka listener 10.0.0.5:9092 with brokers 1, 3 and 5 at 10.1.0.1-3:9092, and a
 * TCP listener 10.0.0.5:5201 to 10.0.0.9:5201. */
#pragma once

#include "dataplane/proxy/proxy.h"
#include "tests/support/relay_fixture.h"

struct hr_control;

#define PR_SESSIONS  8
#define PR_PEERS     128
#define PR_HOLD_MAX  (64u * 1024)
#define PR_MS        1000ULL
#define PR_S         1000000ULL
#define PR_CLIENT_IP 0x0a000064u
#define PR_PROXY_IP  0x0a000005u
#define PR_TARGET_IP 0x0a000009u
#define PR_BROKER_IP(i) (0x0a010001u + (i)) /* of the policy's i-th broker */

/* An application of the world: a client, or what a broker accepted. */
struct pr_peer {
    struct hr_tcp_conn *conn; /* NULL when it is gone */
    struct hr_flow flow;
    struct rf_bytes got;
    bool connected, fin, closed, failed;
    bool paused; /* leaves bytes in the receive queue */
    enum hr_tcp_failure failure;
};

/* How a host of the world answers; others accept. */
struct pr_host {
    uint32_t ip;
    bool refuse; /* RST */
    bool silent; /* nothing gets there or comes from there */
};

struct pr_end {
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_tcp *tcp;
};

struct pr {
    struct hr_zone_stats *zones; /* what the proxy counts by zone */
    uint64_t now_us;
    struct pr_end in, out; /* the proxy's end, the world's */
    struct hr_policy *policy, *spare;
    struct hr_relay_ctx *relays;
    struct hr_rec *rec;            /* for as many TLS legs as the sessions have */
    uint32_t rekey_records;        /* of its configuration; set it before pr_open(), which keeps it */
    struct hr_proxy *proxy;        /* of worker 2 of 4 */
    struct hr_open_counts *counts; /* of all of them */
    struct hr_control *control; /* the test's; NULL: none */
    struct pr_peer peers[PR_PEERS];
    uint32_t n_peers;
    struct pr_host hosts[8];
    uint16_t client_port;
    uint32_t n_hints;
    int32_t hint_node;
    uint32_t n_logs[HR_LOGEV_MAX];
    struct hr_msg last_log[HR_LOGEV_MAX];
};

/* tweak, if given, changes the proxy's TCP configuration. Aborts on failure. */
void pr_open(struct pr *r, void (*tweak)(struct hr_tcp_config *cfg));
/* Ends everything. NULL, or what was left that should not be. */
const char *pr_close(struct pr *r);

/* Adopts a changed policy: edit pr_next_policy()'s answer, then call pr_adopt(). */
struct hr_policy *pr_next_policy(struct pr *r);
void pr_adopt(struct pr *r);

struct pr_host *pr_host(struct pr *r, uint32_t ip);
/* A client's active open to the proxy. */
struct pr_peer *pr_connect(struct pr *r, uint16_t port);
/* The newest connection that the world accepted at this address, NULL if none. */
struct pr_peer *pr_accepted_at(struct pr *r, uint32_t ip);
uint32_t pr_n_accepted(const struct pr *r);

void pr_send(struct pr *r, struct pr_peer *p, const void *data, uint32_t len);
void pr_shutdown(struct pr *r, struct pr_peer *p);
void pr_reset(struct pr *r, struct pr_peer *p);
/* A router tells the proxy that its oldest segment in flight toward p cannot be delivered (its next segment, where
 * none is in flight). */
void pr_icmp_error(struct pr *r, const struct pr_peer *p, bool hard);

/* Lets so much time pass. */
void pr_run(struct pr *r, uint64_t us);

#define PR_DROPS(r, name)   ((r)->in.stats.drops[HR_DROP_##name])
#define PR_COUNT(r, name)   ((r)->in.stats.counters[HR_CTR_##name])
