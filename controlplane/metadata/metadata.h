/* Knowing the cluster: one long-lived connection to some live broker, asked again and again.
 *
 * The connection is control-owned (controlplane/conn). When it fails, the next candidate is tried at once:
 * the brokers known so far in turn, then the bootstrap list; after a round without success it waits, longer
 * each time. A refresh happens every refresh_ms, soon after a worker's hint (but not within refresh_min_ms
 * of the last one), and each second for a minute after a broker has vanished, because that is when clients
 * come back to it.
 *
 * What was learnt stays valid until something newer is learnt: a lost connection or dataplane takes nothing
 * away. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/metadata/cluster.h"
#include "shared/base/addr.h"
#include "shared/base/error.h"

struct hr_config;
struct hr_conns;
struct hr_dns;
struct hr_identity;
struct hr_loop;
struct hr_metadata;
struct hr_tls_store;

#define HR_METADATA_FRAME_MAX (64u * 1024 * 1024)

/* X(name, text): in the order in which a connection passes them */
#define HR_METADATA_STATES(X)                                                                                \
    X(STOPPED, "no bootstrap address, or no dataplane to connect through")                                   \
    X(WAITING, "no broker answered; next attempt is scheduled")                                              \
    X(RESOLVING, "resolving a broker's name")                                                                \
    X(CONNECTING, "connecting to a broker")                                                                  \
    X(LOGIN, "logging in to a broker")                                                                       \
    X(VERSIONS, "asking a broker for its API versions")                                                      \
    X(ASKING, "asking for metadata")                                                                         \
    X(DESCRIBING, "asking for the cluster's description")                                                    \
    X(READY, "connected; next refresh is scheduled")

enum hr_metadata_state {
    HR_METADATA_NONE = 0,
#define X(name, text) HR_METADATA_##name,
    HR_METADATA_STATES(X)
#undef X
        HR_METADATA_MAX
};

/* tls: for brokers that speak it, if the configuration says so. changed: the cluster is another object than before (also when it says the same). */
HR_MUST_CHECK int hr_metadata_create(struct hr_loop *loop, struct hr_conns *conns, struct hr_dns *dns,
                                     struct hr_tls_store *tls, void (*changed)(void *owner), void *owner,
                                     struct hr_metadata **ret_metadata);
void hr_metadata_destroy(struct hr_metadata *metadata);

/* Takes over bootstrap list and intervals; at start and after a reload. */
void hr_metadata_configure(struct hr_metadata *metadata, const struct hr_config *config);
/* Who to log in as, borrowed; NULL: brokers ask for no login. A connection of the one before ends. */
void hr_metadata_set_identity(struct hr_metadata *metadata, struct hr_identity *identity);
/* The identity says that a login may be possible now. */
void hr_metadata_identity_changed(struct hr_metadata *metadata);
/* A dataplane is attached, so connections can be opened; or is gone. */
void hr_metadata_start(struct hr_metadata *metadata);
void hr_metadata_stop(struct hr_metadata *metadata);
/* A worker saw signs of stale metadata. */
void hr_metadata_hint(struct hr_metadata *metadata);
/* hr_dns says that names have changed. */
void hr_metadata_dns_changed(struct hr_metadata *metadata);

/* What all brokers can do that were asked, and Headrace too (controlplane/metadata/apis.h). 0: none was asked yet.
 * Borrowed until the next turn. */
struct hr_sasl_api;
uint32_t hr_metadata_apis(const struct hr_metadata *metadata, const struct hr_sasl_api **ret_apis);

/* NULL before the first answer; borrowed until the next `changed`. */
const struct hr_cluster *hr_metadata_cluster(const struct hr_metadata *metadata);
/* Brokers that were named until recently (controlplane/metadata/departed.h). */
const struct hr_cluster_broker *hr_metadata_departed(const struct hr_metadata *metadata, uint32_t *ret_n);

struct hr_metadata_info {
    enum hr_metadata_state state;
    char host[HR_POLICY_HOST_MAX]; /* of the broker asked now or last */
    uint16_t port;
    uint64_t refreshed_us; /* last success, 0 = never */
    uint64_t next_us;      /* next scheduled step, 0 = none */
    uint64_t refreshes, failures, hints;
    uint64_t illegal_transitions; /* of the state machine: a bug */
    char last_error[256];         /* "" if none since the last success */
};
void hr_metadata_get_info(const struct hr_metadata *metadata, struct hr_metadata_info *ret_info);
const char *hr_metadata_state_name(enum hr_metadata_state state);
const char *hr_metadata_state_text(enum hr_metadata_state state);
