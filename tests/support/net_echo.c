/* hr-net-echo: the network layer alone on a real interface.
 *
 * It brings up the EAL and one port as the dataplane does, answers ARP and ping, and refuses every TCP
 * segment by a reset, so a kernel peer's view (ping loss and time, "connection refused") shows that
 * reception, routes, neighbours, checksums and the port's set-up are right. At the end it prints one JSON
 * object of counters, per worker.
 *
 *   hr-net-echo DEVICE ADDR/PREFIX MTU WORKERS SECONDS [GATEWAY]
 *
 * With HUGEPAGES=1 in the environment it uses hugepages. SIGTERM ends it early. Workers sleep on the port's descriptor when idle where there is one. */
#include <errno.h>
#include <poll.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <rte_tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/buf/segment.h"
#include "dataplane/net/eal.h"
#include "dataplane/net/net.h"
#include "dataplane/net/port.h"
#include "shared/base/clock.h"

#define BURST 32
#define RX_MBUFS 6144 /* af_xdp alone keeps 2,048 in its fill ring */
#define SPINS 200 /* empty polls before a sleep */

struct worker {
    uint16_t index;
    struct hr_net *net;
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct rte_ring *news; /* neighbours that other workers heard of */
};

static struct hr_config config;
static struct hr_port port;
static struct worker workers[HR_CONFIG_MAX_WORKERS];
static atomic_bool stopping;

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(&stopping, true);
}

/* RFC 9293 3.5.2: a segment for no connection is answered by a reset. */
static void refuse(struct worker *w, const struct rte_mbuf *m)
{
    const struct rte_tcp_hdr *in = rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *);
    if ((in->tcp_flags & RTE_TCP_RST_FLAG) == 0) {
        struct rte_mbuf *reply = rte_pktmbuf_alloc(w->bufs.hdr_pool);
        if (reply != NULL) {
            bool ack = (in->tcp_flags & RTE_TCP_ACK_FLAG) != 0;
            uint32_t seg_len = m->pkt_len - (in->data_off >> 4) * 4U +
                               ((in->tcp_flags & RTE_TCP_SYN_FLAG) != 0) + ((in->tcp_flags & RTE_TCP_FIN_FLAG) != 0);
            struct rte_tcp_hdr out = {
                .src_port = in->dst_port,
                .dst_port = in->src_port,
                .sent_seq = ack ? in->recv_ack : 0,
                .recv_ack = rte_cpu_to_be_32(rte_be_to_cpu_32(in->sent_seq) + seg_len),
                .data_off = 0x50,
                .tcp_flags = (uint8_t)(RTE_TCP_RST_FLAG | (ack ? 0 : RTE_TCP_ACK_FLAG)),
            };
            reply->data_len = sizeof(out);
            reply->pkt_len = sizeof(out);
            memcpy(rte_pktmbuf_mtod(reply, void *), &out, sizeof(out));
            struct hr_flow flow;
            hr_segment_flow(m, &flow);
            HR_COUNT(&w->stats, tcp_rst_tx);
            hr_net_emit_tcp_take(w->net, &flow, reply);
        }
    }
}

static void refuse_take(void *owner, struct rte_mbuf **segs, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        refuse(owner, segs[i]);
    rte_pktmbuf_free_bulk(segs, n);
}

static void on_news(void *owner, const struct hr_net_news *news)
{
    struct worker *self = owner;
    struct hr_net_news copy = *news; /* the ring's interface knows no const */
    for (uint32_t i = 0; i < config.dataplane.n_workers; i++) {
        if (i != self->index && rte_ring_enqueue_elem(workers[i].news, &copy, sizeof(copy)) == 0)
            HR_COUNT(&self->stats, handoff_out);
    }
}

static void sleep_for_packets(struct worker *w, uint64_t next_us)
{
    int fd = hr_port_rx_fd(&port, w->index);
    uint64_t now = hr_now_us();
    uint64_t ms = next_us <= now ? 0 : (next_us - now + 999) / 1000; /* rounded up, or the last one spins */
    if (hr_port_sleep_arm(&port, w->index) != 0)
        return;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    HR_COUNT(&w->stats, loop_sleeps);
    if (poll(&p, 1, ms > 100 ? 100 : (int)ms) > 0)
        HR_COUNT(&w->stats, loop_wakeups);
    hr_port_sleep_disarm(&port, w->index);
}

static int run(void *arg)
{
    struct worker *w = arg;
    struct rte_mbuf *burst[BURST];
    uint32_t idle = 0;
    hr_net_advance(w->net, hr_now_us());
    if (w->index == 0)
        hr_net_announce(w->net);
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        uint64_t next = hr_net_advance(w->net, hr_now_us());
        struct hr_net_news news;
        while (rte_ring_dequeue_elem(w->news, &news, sizeof(news)) == 0) {
            HR_COUNT(&w->stats, handoff_in);
            hr_net_learn(w->net, &news);
        }
        uint16_t n = rte_eth_rx_burst(port.port_id, w->index, burst, BURST);
        hr_net_input_take(w->net, 0, burst, n);
        hr_net_flush(w->net);
        idle = n > 0 ? 0 : idle + 1;
        if (idle > SPINS)
            sleep_for_packets(w, next);
    }
    return 0;
}

static void report(void)
{
    printf("{\"kind\": %d, \"mtu\": %u, \"sleep\": %d, \"hw_tx_segs\": %u, \"workers\": [", port.kind, port.mtu,
           port.sleep, port.hw_tx_segs);
    for (uint32_t i = 0; i < config.dataplane.n_workers; i++) {
        printf("%s{", i > 0 ? ", " : "");
        const char *comma = "";
        for (int c = 0; c < HR_CTR_MAX; c++) {
            if (workers[i].stats.counters[c] != 0) {
                printf("%s\"%s\": %llu", comma, hr_counter_info[c].name,
                       (unsigned long long)workers[i].stats.counters[c]);
                comma = ", ";
            }
        }
        for (int c = 0; c < HR_DROP_MAX; c++) {
            if (workers[i].stats.drops[c] != 0) {
                printf("%s\"drop_%s\": %llu", comma, hr_drop_info[c].name,
                       (unsigned long long)workers[i].stats.drops[c]);
                comma = ", ";
            }
        }
        printf("}");
    }
    printf("]}\n");
}

static int parse(int argc, char **argv)
{
    struct hr_config_port *p = &config.dataplane.ports[0];
    char addr[64];
    uint32_t v4_be;
    if (argc < 6)
        return -1;
    snprintf(p->name, sizeof(p->name), "echo");
    snprintf(p->device, sizeof(p->device), "%s", argv[1]);
    snprintf(addr, sizeof(addr), "%s", argv[2]);
    char *slash = strchr(addr, '/');
    if (slash == NULL)
        return -1;
    *slash = 0;
    if (inet_pton(AF_INET, addr, &v4_be) != 1)
        return -1;
    p->n_addrs = 1;
    p->addrs[0] = (struct hr_config_addr){hr_addr_from_v4(v4_be), (uint8_t)atoi(slash + 1)};
    p->mtu = (uint16_t)atoi(argv[3]);
    config.dataplane.n_workers = (uint32_t)atoi(argv[4]);
    if (config.dataplane.n_workers < 1 || config.dataplane.n_workers > HR_CONFIG_MAX_WORKERS)
        return -1;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (uint32_t i = 0; i < config.dataplane.n_workers; i++)
        config.dataplane.worker_lcores[i] = (uint32_t)((cpus - 1 + i) % cpus);
    config.dataplane.n_ports = 1;
    config.dataplane.hugepages = getenv("HUGEPAGES") != NULL;
    config.dataplane.memory_mb =
        64 + config.dataplane.n_workers * (8 + RX_MBUFS * (hr_port_data_room(p) + 256) / 1000000);
    snprintf(config.dataplane.file_prefix, sizeof(config.dataplane.file_prefix), "hr_net_echo_%d", getpid());
    if (argc > 6) {
        if (inet_pton(AF_INET, argv[6], &v4_be) != 1)
            return -1;
        p->has_gateway = true;
        p->gateway = hr_addr_from_v4(v4_be);
    }
    return 0;
}

static int start_worker(struct worker *w, uint16_t index)
{
    char name[32];
    struct hr_buf_config bufs = {.worker_id = index,
                                 .socket_id = SOCKET_ID_ANY,
                                 .rx_mbufs = RX_MBUFS,
                                 .rx_data_room = hr_port_data_room(&config.dataplane.ports[0]),
                                 .hdr_mbufs = 2048,
                                 .chunks = 16};
    w->index = index;
    snprintf(name, sizeof(name), "news_%u", index);
    w->news = rte_ring_create_elem(name, sizeof(struct hr_net_news), 256, SOCKET_ID_ANY, RING_F_SC_DEQ);
    return w->news == NULL ? HR_E_NOMEM : hr_buf_ctx_init(&w->bufs, &bufs, &w->stats);
}

int main(int argc, char **argv)
{
    char why[HR_WHY_MAX];
    struct rte_mempool *pools[HR_CONFIG_MAX_WORKERS];
    uint16_t port_id;
    if (parse(argc, argv) != 0) {
        fprintf(stderr, "usage: hr-net-echo DEVICE ADDR/PREFIX MTU WORKERS SECONDS [GATEWAY]\n");
        return 2;
    }
    uint32_t n = config.dataplane.n_workers;
    const struct hr_config_port *cfg = &config.dataplane.ports[0];
    if (hr_eal_start(&config, why) != 0 || hr_port_find(cfg, &port_id, why) != 0)
        goto failed;
    for (uint32_t i = 0; i < n; i++) {
        if (start_worker(&workers[i], (uint16_t)i) != 0) {
            snprintf(why, sizeof(why), "no memory for worker %u", i);
            goto failed;
        }
        pools[i] = workers[i].bufs.rx_pool;
    }
    if (hr_port_setup(&port, cfg, port_id, (uint16_t)n, pools, why) != 0)
        goto failed;
    for (uint32_t i = 0; i < n; i++) {
        struct hr_net_config net = {.ports = &port,
                                    .n_ports = 1,
                                    .queue = (uint16_t)i,
                                    .bufs = &workers[i].bufs,
                                    .stats = &workers[i].stats,
                                    .hash_seed = hr_now_us(),
                                    .owner = &workers[i],
                                    .on_tcp_take = refuse_take,
                                    .on_news = on_news};
        if (hr_net_create(&net, &workers[i].net) != 0) {
            snprintf(why, sizeof(why), "no memory for the network layer");
            goto failed;
        }
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    for (uint32_t i = 0; i < n; i++)
        rte_eal_remote_launch(run, &workers[i], hr_eal_worker_lcore(i));
    fprintf(stderr, "ready\n");
    uint64_t end = hr_now_us() + (uint64_t)atoi(argv[5]) * HR_US_PER_S;
    while (!atomic_load(&stopping) && hr_now_us() < end)
        poll(NULL, 0, 50);
    atomic_store(&stopping, true);
    rte_eal_mp_wait_lcore();
    hr_port_stop(&port);
    report();
    for (uint32_t i = 0; i < n; i++)
        hr_net_destroy(workers[i].net);
    hr_port_close(&port);
    hr_eal_stop();
    return 0;
failed:
    fprintf(stderr, "hr-net-echo: %s\n", why);
    return 1;
}
