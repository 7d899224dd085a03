#include "bench/ring/proxy.h"

#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/ring/peers.h"
#include "bench/ring/rings.h"
#include "dataplane/worker/impl.h"
#include "shared/ipc/doorbell.h"
#include "shared/ipc/link.h"

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

static const char config_text[] =
    "dataplane: {\n"
    "  main_lcore = 0; workers = [0]; hugepages = false; mbufs_per_worker = %u; memory_mb = %u;\n"
    "  source_ports = [12000, 60999];\n"
    "  ports = ({ name = \"card\"; device = \"0000:00:00.0\"; mtu = %u; addresses = (\"10.0.0.5/8\"); });\n"
    "};\n"
    "limits: { max_connections = %u; connect_rate = 0; };\n"
    "cluster: { bootstrap = (\"10.0.1.5:9092\"); tls: { enabled = %s; }; };\n"
    "listeners = (\n"
    "  { name = \"kafka\"; mode = \"kafka\"; address = \"10.0.0.5\"; bootstrap_port = 9092; node_port_base = 9200;\n"
    "    node_ids = [0, 99]; max_connections = %u;\n"
    "    tls: { enabled = %s; max_handshakes = 4096; handshake_rate = 100000; handshake_timeout_ms = 60000;\n"
    "      certificates = ({ chain = \"/none\"; key = \"/none\"; }); }; },\n"
    "  { name = \"tcp\"; mode = \"tcp\"; address = \"10.0.0.5\"; port = 8081; target = \"10.0.1.5:8081\";\n"
    "    max_connections = %u; });\n";

static void load_config(struct rb_proxy *p, const struct rb_proxy_config *cfg)
{
    static struct hr_config_errors errors;
    char path[] = "/tmp/headrace-ring-XXXXXX";
    int fd = mkstemp(path);
    uint32_t max = cfg->max_connections;

    if (fd < 0 || dprintf(fd, config_text, cfg->mbufs, cfg->memory_mb, cfg->mtu, max,
                          cfg->broker_tls ? "true" : "false", max, cfg->client_tls ? "true" : "false", max) < 0)
        die("cannot write a configuration");
    close(fd);
    int err = hr_config_load(path, p->config, &errors);
    unlink(path);
    if (err)
        die(errors.n ? errors.text[0] : "configuration refused");
    p->config->dataplane.n_workers = p->group.n_workers; /* on one CPU, in turns */
}

static void make_policy(struct rb_proxy *p, const struct rb_proxy_config *cfg)
{
    const struct hr_config *config = p->config;
    struct hr_policy *policy = p->policy;
    const char *why;

    policy->magic = HR_POLICY_MAGIC;
    policy->size = sizeof(*policy);
    policy->generation = 1;
    policy->zones.n = 1;
    policy->cluster_known = 1;
    policy->cluster_tls = cfg->broker_tls;
    policy->idle_busy = 1;
    policy->log_level = HR_LOG_INFO;
    policy->max_sessions = config->limits.max_connections;
    policy->hold_max_bytes = config->limits.hold_max_bytes;
    policy->drain_timeout_ms = config->limits.drain_timeout_ms;
    policy->n_listeners = config->n_listeners;
    for (uint32_t i = 0; i < config->n_listeners; i++) {
        policy->listeners[i] = config->listeners[i].policy;
        if (config->listeners[i].has_target) {
            policy->listeners[i].target = hr_addr_from_v4(htonl(RB_BROKER_IP(0)));
            policy->listeners[i].target_port = RB_TCP_PORT;
            policy->listeners[i].target_valid = 1;
        }
    }
    policy->n_brokers = RB_N_BROKERS;
    for (uint32_t i = 0; i < RB_N_BROKERS; i++)
        policy->brokers[i] = (struct hr_policy_broker){.node_id = (int32_t)i,
                                                       .port = RB_KAFKA_PORT,
                                                       .flags = HR_BROKER_ALIVE,
                                                       .addr = hr_addr_from_v4(htonl(RB_BROKER_IP(i)))};
    if (hr_policy_validate(policy, &why) != 0)
        die(why);
}

static void open_port(struct rb_proxy *p, bool cksum, const struct hr_rss *rss)
{
    struct hr_port *port = &p->port;
    char why[HR_WHY_MAX];

    if (hr_port_init_routes(port, &p->config->dataplane.ports[0], why) != 0)
        die(why);
    port->kind = HR_PORT_KIND_PCI;
    port->n_queues = (uint16_t)p->group.n_workers;
    if (rss) {
        port->spreads = true;
        port->rss = *rss;
    }
    memset(&port->mac, 0x06, sizeof(port->mac));
    for (int q = 0; q < HR_PORT_MAX_QUEUES; q++)
        port->rx_fd[q] = -1;
    port->rx_ip_cksum = port->rx_tcp_cksum = port->tx_ip_cksum = port->tx_tcp_cksum = cksum;
    port->hw_tx_segs = port->max_tx_segs = RB_CARD_MAX_SEGS;
}

/* One card, a queue of it for each worker. */
static void open_cards(struct rb_proxy *p, const struct rb_proxy_config *cfg)
{
    for (uint32_t i = 0; i < p->group.n_workers; i++) {
        p->queues[i] = rb_proxy_card(p, i);
        rb_card_open(rb_proxy_card(p, i), 0, hr_worker_rx_pool(rb_proxy_worker(p, i)), cfg->rx_desc, cfg->cksum);
    }
    rte_eth_fp_ops[0].rxq.data = rte_eth_fp_ops[0].txq.data = p->queues;
    rte_eth_fp_ops[0].rxq.clbk = rte_eth_fp_ops[0].txq.clbk = p->callbacks;
}

void rb_proxy_open(struct rb_proxy *p, const struct rb_proxy_config *cfg, uint64_t now_us)
{
    static const uint32_t lcores[RB_MAX_WORKERS];
    uint32_t n = cfg->n_workers ? cfg->n_workers : 1;
    struct hr_worker_group *group = &p->group;

    memset(p, 0, sizeof(*p));
    p->config = calloc(1, sizeof(*p->config));
    p->policy = calloc(1, sizeof(*p->policy));
    if (!p->config || !p->policy)
        die("no memory");
    group->n_workers = n;
    load_config(p, cfg);
    make_policy(p, cfg);
    group->config = p->config;
    group->ports = &p->port;
    group->n_ports = 1;
    group->steer = (struct hr_steer){.n_workers = n,
                                     .by_arrival = cfg->rss != NULL,
                                     .source_port_min = p->config->dataplane.source_port_min,
                                     .source_port_max = p->config->dataplane.source_port_max};
    memset(group->hash_key, 3, sizeof(group->hash_key));
    memset(group->isn_key, 4, sizeof(group->isn_key));
    if (hr_region_create(n, lcores, "ring bench", &p->memfd, &group->region) != 0 ||
        hr_doorbell_create(&p->doorbells[0], &p->doorbells[1]) != 0 ||
        hr_doorbell_create(&p->doorbells[2], &p->doorbells[3]) != 0)
        die("no region");
    for (uint32_t i = 0; i < n; i++)
        group->doorbell_fds[i] = p->doorbells[1];
    group->control_doorbell_fd = p->doorbells[2];
    p->data_room = hr_port_data_room(&p->config->dataplane.ports[0]);
    if (n > 1 && hr_handoff_create(n, &group->handoff) != 0)
        die("no memory for the rings between workers");
    for (uint32_t i = 0; i < n; i++) {
        struct hr_worker **w = i == 0 ? &p->worker : &p->more[i - 1].worker;
        if (hr_worker_create(group, i, p->data_room, w) != 0)
            die("no memory for the worker's pools: give it more with --memory");
        group->workers[i] = *w;
    }
    open_port(p, cfg->cksum, cfg->rss);
    if (cfg->two_cores)
        p->port.port_id = rb_rings_open(&p->to, &p->from, hr_worker_rx_pool(p->worker));
    else
        open_cards(p, cfg);
    for (uint32_t i = 0; i < n; i++) {
        if (hr_worker_build(rb_proxy_worker(p, i), now_us) != 0)
            die("no memory for the worker: give it more with --memory");
        hr_worker_ask_policy(rb_proxy_worker(p, i), p->policy);
        hr_worker_ask_relink(rb_proxy_worker(p, i), 1);
    }
    if (cfg->two_cores && rte_eal_remote_launch(hr_worker_main, p->worker, rte_get_next_lcore(-1, 1, 0)) != 0)
        die("the worker does not start on a core of its own");
}

uint64_t rb_proxy_counter(const struct rb_proxy *p, enum hr_counter c)
{
    uint64_t sum = p->worker->stats->counters[c];
    for (uint32_t i = 1; i < p->group.n_workers; i++)
        sum += p->more[i - 1].worker->stats->counters[c];
    return sum;
}

uint32_t rb_proxy_held(const struct rb_proxy *p)
{
    const struct rte_mempool *pool = p->card.pool;
    return pool->size - rte_mempool_avail_count(pool) - (p->card.rx_posted - p->card.rx_next);
}

static void check_full(const struct rte_mempool *pool)
{
    if (rte_mempool_avail_count(pool) == pool->size)
        return;
    fprintf(stderr, "ring bench: %u of %u objects of %s are not back at the end\n",
            pool->size - rte_mempool_avail_count(pool), pool->size, pool->name);
    exit(1);
}

void rb_proxy_close(struct rb_proxy *p)
{
    uint32_t n = p->group.n_workers;
    uint64_t due_us;

    if (p->to) {
        hr_worker_ask_stop(p->worker);
        rte_eal_mp_wait_lcore();
        rb_rings_close(p->port.port_id, p->to, p->from);
    }
    for (uint32_t i = 0; i < n && !p->to; i++) {
        struct hr_worker *w = rb_proxy_worker(p, i);
        hr_proxy_end_all(w->proxy);
        hr_worker_turn(w, w->now_us, &due_us);
    }
    hr_handoff_destroy(p->group.handoff);
    for (uint32_t i = 0; i < n && !p->to; i++)
        rb_card_close(rb_proxy_card(p, i));
    for (uint32_t i = 0; i < n; i++) {
        struct hr_worker *w = rb_proxy_worker(p, i);
        check_full(w->bufs.rx_pool);
        check_full(w->bufs.hdr_pool);
        check_full(w->bufs.indirect_pool);
        check_full(w->bufs.chunk_pool);
        hr_worker_destroy(w);
    }
    hr_region_unmap(p->group.region, hr_region_size(n));
    close(p->memfd);
    for (int i = 0; i < 4; i++)
        close(p->doorbells[i]);
    free(p->config);
    free(p->policy);
}
