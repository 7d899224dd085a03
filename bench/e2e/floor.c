/* hr-floor: what moving packets costs before anything is done with them.
 *
 * An L2 forward between two ports with Headrace's own ports (dataplane/net/port) and idle policy
 * (dataplane/worker/idle): what comes in on one leaves by the other, unread. What Headrace costs beyond this is
 * its own; what this costs is the driver's and the kernel's.
 *
 *   hr-floor DEVICE_A DEVICE_B MTU CPU      devices as in the configuration: "net_af_packet0,iface=eth1"
 *
 * SIGTERM ends it and prints packets, bytes and TSC cycles inside the driver's receive and transmit calls as JSON. */
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dataplane/net/eal.h"
#include "dataplane/net/port.h"
#include "dataplane/worker/idle.h"
#include "shared/base/clock.h"
#include "shared/ipc/doorbell.h"

#define BURST 32
#define POOL_MBUFS 4095 /* of both ports */
#define DEADLINE_US 50000 /* as far as a worker without sessions sleeps: its gauges */

static struct hr_config config;
static struct hr_port ports[2];
static struct hr_stats stats;
static struct hr_idle idle;
static atomic_bool stopping;
static uint64_t packets, bytes, dropped, rx_cycles, tx_cycles, busy_cycles;

static void on_signal(int sig)
{
    (void)sig;
    atomic_store(&stopping, true);
}

static bool may_sleep(void *arg)
{
    (void)arg;
    return !atomic_load(&stopping);
}

static void awake(void *arg)
{
    (void)arg;
}

/* One burst from port `from` to the other. */
static uint32_t forward(uint32_t from)
{
    struct rte_mbuf *burst[BURST];
    uint64_t begun = rte_rdtsc();
    uint16_t n = rte_eth_rx_burst(ports[from].port_id, 0, burst, BURST);
    if (n == 0)
        return 0;
    uint64_t received = rte_rdtsc();
    for (uint16_t i = 0; i < n; i++)
        bytes += burst[i]->pkt_len;
    uint64_t begun_tx = rte_rdtsc();
    uint16_t sent = rte_eth_tx_burst(ports[1 - from].port_id, 0, burst, n);
    uint64_t end = rte_rdtsc();
    for (uint16_t i = sent; i < n; i++) {
        rte_pktmbuf_free(burst[i]);
        dropped++;
    }
    packets += n;
    rx_cycles += received - begun;
    tx_cycles += end - begun_tx;
    return n;
}

static int run(void *arg)
{
    const struct hr_idle_ops ops = {.may_sleep = may_sleep, .awake = awake};
    (void)arg;
    while (!atomic_load_explicit(&stopping, memory_order_relaxed)) {
        uint64_t begun = rte_rdtsc(), now_us = hr_now_us();
        if (forward(0) + forward(1) > 0) {
            busy_cycles += rte_rdtsc() - begun;
            hr_idle_worked(&idle);
        } else {
            hr_idle_rest(&idle, now_us, now_us + DEADLINE_US, &ops, &stats);
        }
    }
    return 0;
}

static void configure(char **argv)
{
    struct hr_config_dataplane *dp = &config.dataplane;
    dp->main_lcore = 0;
    dp->n_workers = 1;
    dp->worker_lcores[0] = (uint32_t)atoi(argv[4]);
    dp->memory_mb = 512;
    snprintf(dp->file_prefix, sizeof(dp->file_prefix), "hr-floor-%d", (int)getpid());
    dp->n_ports = 2;
    for (int i = 0; i < 2; i++) {
        struct hr_config_port *p = &dp->ports[i];
        snprintf(p->name, sizeof(p->name), "floor%d", i);
        snprintf(p->device, sizeof(p->device), "%s", argv[1 + i]);
        p->mtu = (uint16_t)atoi(argv[3]);
        /* A port wants an address; nothing here ever looks at one. */
        p->addrs[p->n_addrs++] = (struct hr_config_addr){.addr = hr_addr_from_v4(inet_addr("169.254.0.1")), .prefix = 24};
    }
}

static int start(char why[HR_WHY_MAX])
{
    struct rte_mempool *pool = NULL;
    int ring_fd, wait_fd, err = hr_eal_start(&config, why);
    if (!err) {
        pool = rte_pktmbuf_pool_create("floor", POOL_MBUFS, 256, 0, (uint16_t)hr_port_data_room(&config.dataplane.ports[0]),
                                       SOCKET_ID_ANY);
        err = pool ? 0 : HR_E_NOMEM;
    }
    for (int i = 0; !err && i < 2; i++) {
        uint16_t port_id;
        err = hr_port_find(&config.dataplane.ports[i], &port_id, why);
        if (!err)
            err = hr_port_setup(&ports[i], &config.dataplane.ports[i], port_id, 1, &pool, why);
    }
    if (!err)
        err = hr_doorbell_create(&ring_fd, &wait_fd);
    if (!err)
        err = hr_idle_init(&idle, wait_fd, ports, 2, 0);
    return err;
}

int main(int argc, char **argv)
{
    char why[HR_WHY_MAX] = "out of memory";
    if (argc != 5) {
        fprintf(stderr, "usage: hr-floor DEVICE_A DEVICE_B MTU CPU\n");
        return 2;
    }
    configure(argv);
    if (start(why) != 0) {
        fprintf(stderr, "hr-floor: %s\n", why);
        return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    rte_eal_remote_launch(run, NULL, hr_eal_worker_lcore(0));
    printf("{\"ready\": true}\n");
    fflush(stdout);
    while (!atomic_load(&stopping))
        pause();
    hr_idle_wake(&idle);
    rte_eal_mp_wait_lcore();
    printf("{\"packets\": %llu, \"bytes\": %llu, \"dropped\": %llu, \"rx_cycles\": %llu, \"tx_cycles\": %llu, "
           "\"busy_cycles\": %llu, \"tsc_hz\": %llu}\n",
           (unsigned long long)packets, (unsigned long long)bytes, (unsigned long long)dropped,
           (unsigned long long)rx_cycles, (unsigned long long)tx_cycles, (unsigned long long)busy_cycles,
           (unsigned long long)rte_get_tsc_hz());
    for (int i = 0; i < 2; i++)
        hr_port_close(&ports[i]);
    hr_eal_stop();
    return 0;
}
