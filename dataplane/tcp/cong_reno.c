/* Reno: RFC 5681 with byte counting (RFC 3465 2.1). */
#include "dataplane/tcp/impl.h"

static void avoid(const struct hr_tcp *tcp, struct hr_tcp_conn *c, uint32_t acked)
{
    c->cwnd += RTE_MAX(1u, (uint32_t)((uint64_t)acked * c->smss / c->cwnd));
}

static uint32_t reduce(struct hr_tcp_conn *c, uint32_t flight, bool timeout)
{
    return flight / 2; /* RFC 5681 equation (4) */
}

const struct hr_tcp_cong_ops hr_tcp_cong_reno = {
    .name = "reno",
    .avoid = avoid,
    .reduce = reduce,
};
