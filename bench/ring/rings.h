/* Two cores: the worker on one, the generator on the other, a net_ring port between them.
 *
 * The wire runs on the generator's core (two_cores.c). It copies each frame into a fresh buffer of the receiver's pool,
 * as a card would. Time is real. */
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>
#include <stdint.h>

#define RB_RING 4096u

/* A started net_ring port with one queue each way: what is put into *ret_to is received by it. Aborts on failure. */
uint16_t rb_rings_open(struct rte_ring **ret_to, struct rte_ring **ret_from, struct rte_mempool *pool);
/* Frees what is still in the rings. Nobody else uses the port any more. */
void rb_rings_close(uint16_t port_id, struct rte_ring *to, struct rte_ring *from);
