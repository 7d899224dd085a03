/* What the files of this folder share. */
#pragma once

#include "dataplane/buf/buf.h"

/* rte_pktmbuf_alloc, failures counted. */
struct rte_mbuf *hr_buf_alloc(struct hr_buf_ctx *ctx, struct rte_mempool *pool);
