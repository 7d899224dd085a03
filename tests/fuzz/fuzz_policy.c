/* hr_policy_validate() on arbitrary snapshots; what it accepts must be safe to use. The input patches a valid
 * snapshot: records of a 4-byte offset and 4 bytes of new content, so that the fuzzer reaches deep fields. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shared/ipc/policy.h"
#include "shared/ipc/policy_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* On the heap and exactly as large as it is, so that AddressSanitizer sees one byte too far. */
    struct hr_policy *policy = malloc(sizeof(*policy));
    hr_policy_sample(policy, 1);
    for (; size >= 8; data += 8, size -= 8) {
        uint32_t offset;
        memcpy(&offset, data, 4);
        offset %= sizeof(*policy) - 3;
        memcpy((uint8_t *)policy + offset, data + 4, 4);
    }

    const char *why;
    if (hr_policy_validate(policy, &why) == 0) {
        for (uint32_t i = 0; i < policy->n_listeners; i++) {
            const struct hr_policy_listener *l = &policy->listeners[i];
            int32_t node_id = -2;
            if (hr_policy_find_listener(policy, &l->bind, l->bootstrap_port, &node_id) != l || node_id != -1)
                abort();
            if (l->mode != HR_LISTENER_KAFKA)
                continue;
            char host[HR_POLICY_HOST_MAX];
            uint16_t port = 0;
            for (int end = 0; end < 2; end++) {
                int32_t id = end ? l->node_id_max : l->node_id_min;
                if (hr_policy_advertised(l, id, host, sizeof(host), &port) < 0 || port == 0)
                    abort();
                if (hr_policy_find_listener(policy, &l->bind, (uint16_t)(l->node_port_base + id), &node_id) != l ||
                    node_id != id)
                    abort();
            }
        }
        for (uint32_t i = 0; i < policy->n_brokers; i++) {
            if (hr_policy_find_broker(policy, policy->brokers[i].node_id) != &policy->brokers[i])
                abort();
        }
    } else if (strlen(why) == 0) {
        abort();
    }
    free(policy);
    return 0;
}
