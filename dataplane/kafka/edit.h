/* What Headrace changes in a message, as hooks of the transcoder: addresses of brokers become those of their
 * virtual brokers, ApiVersions is narrowed to what Headrace understands, configuration values that show
 * addresses are replaced, controller endpoints are left out.
 *
 * Node ids stay as they are. A node that no port of the listener stands for (its id is outside the
 * listener's range, or it has no id) is never shown with its address: it is left out of arrays of brokers,
 * and as a coordinator it becomes COORDINATOR_NOT_AVAILABLE without an address. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/ipc/policy.h"
#include "shared/kafka/schema.h"

struct hr_edit {
    const struct hr_policy_listener *listener; /* borrowed for the call */
    const struct hr_policy_peer *peer;         /* whose addresses the client is told, NULL: ours; the same */
    int16_t api_key;
    bool drop_racks;       /* tails: null instead of a rack, to save its bytes */
    uint32_t nodes_hidden; /* out: brokers that were left out */

    /* The hooks' own. */
    bool drop_brokers;    /* DescribeCluster of controllers */
    uint32_t drop_features; /* a bit per row of the feature table */
    bool config_broker;
    int32_t config_node;
    uint8_t config_kind;
    char host[HR_POLICY_HOST_MAX];
};

void hr_edit_init(struct hr_edit *e, const struct hr_policy_listener *listener, const struct hr_policy_peer *peer,
                  int16_t api_key);

/* Rewrites a response body (no header) from in to out. With stop_after it ends behind that top-level field;
 * *ret_used says how many bytes of in were read. INVALID: the bytes do not follow the schema (or, for a
 * whole message, do not end with it); TOO_LARGE: cap is short. */
HR_MUST_CHECK int hr_edit_response(struct hr_edit *e, const struct hr_kmessage *message, int16_t version,
                                   enum hr_krole stop_after, const uint8_t *in, uint32_t len, uint8_t *out,
                                   uint32_t cap, uint32_t *ret_used, uint32_t *ret_len);

/* Rewrites the value of an array of node endpoints, without its tag. */
HR_MUST_CHECK int hr_edit_endpoints(struct hr_edit *e, const struct hr_kfield *field, bool flexible,
                                    int16_t version, const uint8_t *in, uint32_t len, uint8_t *out,
                                    uint32_t cap, uint32_t *ret_used, uint32_t *ret_len);

/* An ApiVersions request that may name a cluster and a node (KIP-1242), as it was and with both left out. */
struct hr_edit_identity {
    const uint8_t *cluster_id; /* points into in; NULL: null */
    int32_t cluster_id_len;
    int32_t node_id; /* -1: none */
};
HR_MUST_CHECK int hr_edit_identity(const struct hr_kmessage *message, int16_t version, const uint8_t *in,
                                   uint32_t len, uint8_t *out, uint32_t cap, uint32_t *ret_len,
                                   struct hr_edit_identity *ret_identity);
