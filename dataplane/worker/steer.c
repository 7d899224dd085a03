#include "dataplane/worker/steer.h"

#include "shared/base/siphash.h"

static uint32_t share(const struct hr_steer *steer)
{
    return ((uint32_t)steer->source_port_max - steer->source_port_min + 1) / steer->n_workers;
}

void hr_steer_ports(const struct hr_steer *steer, uint32_t worker, uint16_t *ret_min, uint16_t *ret_max)
{
    uint32_t n = share(steer);
    *ret_min = (uint16_t)(steer->source_port_min + worker * n);
    *ret_max = (uint16_t)(*ret_min + n - 1);
}

uint32_t hr_steer_owner(const struct hr_steer *steer, const struct hr_flow *flow)
{
    if (steer->n_workers == 1)
        return 0;
    if (flow->local_port >= steer->source_port_min && flow->local_port <= steer->source_port_max) {
        uint32_t owner = ((uint32_t)flow->local_port - steer->source_port_min) / share(steer);
        return owner < steer->n_workers ? owner : steer->n_workers - 1; /* the division's remainder */
    }
    if (steer->by_arrival)
        return HR_STEER_ARRIVAL;
    return (uint32_t)(hr_siphash(steer->key, flow, sizeof(*flow)) % steer->n_workers);
}
