/* A segment into a TCP stack, for tests without a network layer. */
#pragma once

#include "dataplane/buf/segment.h"
#include "dataplane/tcp/tcp.h"

static inline void hr_inject_take(struct hr_tcp *into, const struct hr_addr *src, const struct hr_addr *dst,
                                  struct rte_mbuf *m)
{
    hr_segment_set_addrs(m, src, dst);
    hr_tcp_input_take(into, &m, 1);
}
