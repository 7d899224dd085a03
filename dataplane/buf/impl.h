/* What the files of this folder share. */
#pragma once

#include "dataplane/buf/buf.h"

/* From hdr_pool, for bytes that may be held: NULL when only the headers' share is left. */
struct rte_mbuf *hr_buf_alloc_payload(struct hr_buf_ctx *ctx);

/* rte_pktmbuf_alloc, failures counted. */
struct rte_mbuf *hr_buf_alloc(struct hr_buf_ctx *ctx, struct rte_mempool *pool);

#ifdef HR_MBUF_DEBUG
/* Makes an empty pool one of debug_pool.c's; before it is populated. */
int hr_buf_debug_pool(struct rte_mempool *pool);
#endif
