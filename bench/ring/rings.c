#include "bench/ring/rings.h"

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <stdlib.h>

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

uint16_t rb_rings_open(struct rte_ring **ret_to, struct rte_ring **ret_from, struct rte_mempool *pool)
{
    const struct rte_eth_conf conf = {0};
    struct rte_ring *to = rte_ring_create("rb_to", RB_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    struct rte_ring *from = rte_ring_create("rb_from", RB_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (!to || !from)
        die("no memory for rings");
    int port = rte_eth_from_rings("rb", &to, 1, &from, 1, 0);
    if (port < 0)
        die("net_ring refuses");
    uint16_t id = (uint16_t)port;
    if (rte_eth_dev_configure(id, 1, 1, &conf) != 0 || rte_eth_rx_queue_setup(id, 0, RB_RING, 0, NULL, pool) != 0 ||
        rte_eth_tx_queue_setup(id, 0, RB_RING, 0, NULL) != 0 || rte_eth_dev_start(id) != 0)
        die("the net_ring port does not start");
    *ret_to = to;
    *ret_from = from;
    return id;
}

void rb_rings_close(uint16_t port_id, struct rte_ring *to, struct rte_ring *from)
{
    void *m;
    while (rte_ring_dequeue(to, &m) == 0)
        rte_pktmbuf_free(m);
    while (rte_ring_dequeue(from, &m) == 0)
        rte_pktmbuf_free(m);
    rte_eth_dev_stop(port_id);
    rte_eth_dev_close(port_id);
    rte_ring_free(to);
    rte_ring_free(from);
}
