/* Creating a worker, and the callbacks through which its layers call each other. */
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_tcp.h>
#include <string.h>

#include "dataplane/buf/segment.h"
#include "dataplane/control/control.h"
#include "dataplane/kafka/reader.h"
#include "dataplane/kafka/relay.h"
#include "dataplane/net/net.h"
#include "dataplane/proxy/proxy.h"
#include "dataplane/tcp/tcp.h"
#include "dataplane/tls/record.h"
#include "dataplane/worker/impl.h"
#include "shared/ipc/link.h"

#define HINT_INTERVAL_US 50000 /* metadata hints to the control plane, at most one per this time */
/* Full-sized and control segments on the wire at once; header buffers come back with transmission. */
#define HDR_MBUFS 16384u
#define HDR_SPARE_CHUNKS 8192u
#define OTHERS_MIN (16u << 20) /* bytes */
/* Legs without a session that finish what is queued. */
#define LINGERING_MAX 8192u
/* Expanded TLS keys that are kept, about 1 KB each. */
#define TLS_KEYS 8192u

/* ---- joining the layers ---------------------------------------------------------------------------- */

static void give(struct hr_worker *w, uint32_t owner, struct rte_mbuf *m)
{
    if (hr_handoff_give(w->group->handoff, w->id, owner, m, w->stats))
        w->wake_mask |= 1u << owner;
}

static bool opens(const struct rte_mbuf *m)
{
    return rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *)->tcp_flags & RTE_TCP_SYN_FLAG;
}

/* What opens connections (SYN, SYN-ACK) shows by which queue the card delivers their flows. */
static void learn_queue(struct hr_worker *w, const struct hr_flow *flow, const struct rte_mbuf *m)
{
    for (uint32_t i = 0; i < w->group->n_ports; i++) {
        const struct hr_port *port = &w->group->ports[i];
        uint32_t hash = m->hash.rss;
        if (port->port_id == m->port && port->spreads)
            hr_rss_observe(&w->queues[i], &port->rss, flow, (uint16_t)w->id,
                           m->ol_flags & RTE_MBUF_F_RX_RSS_HASH ? &hash : NULL);
    }
}

/* Will the answers to a flow that begins here come by our queue? True where that cannot be known. */
static bool arrives_here(void *arg, const struct hr_flow *flow)
{
    struct hr_worker *w = arg;
    for (uint32_t i = 0; i < w->group->n_ports; i++) {
        const struct hr_port *port = &w->group->ports[i];
        if (!port->spreads || !hr_port_has(port, &flow->local))
            continue;
        int queue = hr_rss_queue(&w->queues[i], &port->rss, flow);
        return queue < 0 || (uint32_t)queue == w->id;
    }
    return true;
}

/* Gives away what other workers own; returns how many segments are left. Where cards keep flows together, the local
 * port tells of nearly every segment that it is ours: it lies in our share, or it is a listener's. */
static uint32_t keep_ours(struct hr_worker *w, struct rte_mbuf **segs, uint32_t n)
{
    const struct hr_steer *steer = &w->group->steer;
    uint32_t kept = 0, shared = (uint32_t)steer->source_port_max - steer->source_port_min;
    uint16_t first, last;
    bool ours = false; /* the one before; what was given away must not be looked at any more */

    hr_steer_ports(steer, w->id, &first, &last);
    for (uint32_t i = 0; i < n; i++) {
        struct rte_mbuf *m = segs[i];
        uint32_t port = rte_be_to_cpu_16(rte_pktmbuf_mtod(m, const struct rte_tcp_hdr *)->dst_port);
        bool plain = port - first <= (uint32_t)last - first ||
                     (steer->by_arrival && port - steer->source_port_min > shared);
        if (plain && !opens(m)) {
            ours = true;
            segs[kept++] = m;
            continue;
        }
        if (!ours || !hr_segment_same_flow(segs[kept - 1], m) || opens(m)) {
            struct hr_flow flow;
            hr_segment_flow(m, &flow);
            if (opens(m))
                learn_queue(w, &flow, m);
            uint32_t owner = hr_steer_owner(steer, &flow);
            ours = owner == w->id || owner == HR_STEER_ARRIVAL;
            if (!ours) {
                give(w, owner, m);
                continue;
            }
        }
        segs[kept++] = m;
    }
    return kept;
}

static void on_tcp_take(void *arg, struct rte_mbuf **segs, uint32_t n)
{
    struct hr_worker *w = arg;
    if (w->group->n_workers > 1)
        n = keep_ours(w, segs, n);
    hr_tcp_input_take(w->tcp, segs, n);
}

static void tell_others(struct hr_worker *w, const struct hr_news *news)
{
    for (uint32_t to = 0; to < w->group->n_workers; to++)
        if (to != w->id && hr_handoff_tell(w->group->handoff, w->id, to, news, w->bufs.hdr_pool, w->stats))
            w->wake_mask |= 1u << to;
}

static void on_icmp_error(void *arg, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu)
{
    struct hr_worker *w = arg;
    uint32_t owner = hr_steer_owner(&w->group->steer, flow);
    if (owner == w->id || (owner == HR_STEER_ARRIVAL && hr_tcp_flow_exists(w->tcp, flow))) {
        hr_tcp_icmp_error(w->tcp, flow, seq, hard, mtu);
        return;
    }
    struct hr_news news = {.kind = HR_NEWS_ICMP_ERROR, .flow = *flow, .seq = seq, .hard = hard, .mtu = mtu};
    if (owner == HR_STEER_ARRIVAL)
        tell_others(w, &news);
    else if (hr_handoff_tell(w->group->handoff, w->id, owner, &news, w->bufs.hdr_pool, w->stats))
        w->wake_mask |= 1u << owner;
}

static void on_net_news(void *arg, const struct hr_net_news *heard)
{
    struct hr_worker *w = arg;
    struct hr_news news = {.kind = HR_NEWS_NET, .net = *heard};
    if (heard->heard & HR_HEARD_DUPLICATE) {
        struct hr_msg msg = {.type = HR_EV_LOG};
        msg.u.log.event = HR_LOGEV_ADDR_DUPLICATE;
        msg.u.log.reason = HR_DROP_ip_tentative;
        msg.u.log.node_id = -1;
        msg.u.log.addr = heard->addr;
        hr_control_report(w->control, &msg);
    }
    tell_others(w, &news);
}

static struct hr_tcp_accept on_syn(void *arg, const struct hr_flow *flow)
{
    return hr_proxy_on_syn(((struct hr_worker *)arg)->proxy, flow);
}

static uint16_t path_mss(void *arg, const struct hr_addr *local, const struct hr_addr *remote)
{
    return hr_net_path_mss(((struct hr_worker *)arg)->net, local, remote);
}

_Static_assert(HR_TCP_MAX_PORTS >= HR_CONFIG_MAX_PORTS, "an allowance for each port");

static uint8_t path_port(void *arg, const struct hr_addr *local, const struct hr_addr *remote)
{
    return (uint8_t)hr_net_path_port(((struct hr_worker *)arg)->net, local, remote);
}

static void emit_take(void *arg, const struct hr_flow *flow, struct rte_mbuf *m)
{
    hr_net_emit_tcp_take(((struct hr_worker *)arg)->net, flow, m);
}

static struct hr_net_way *way(void *arg, const struct hr_flow *flow)
{
    return hr_net_way(((struct hr_worker *)arg)->net, flow);
}

static uint32_t source_addrs(void *arg, const struct hr_addr *remote, struct hr_addr *ret_locals, uint32_t max)
{
    return hr_net_sources(((struct hr_worker *)arg)->net, remote, ret_locals, max);
}

static void hint(void *arg, uint16_t listener, int32_t node_id)
{
    struct hr_worker *w = arg;
    if (w->now_us < w->next_hint_us)
        return;
    w->next_hint_us = w->now_us + HINT_INTERVAL_US;
    struct hr_msg msg = {.type = HR_EV_HINT, .u.hint = {.node_id = node_id, .listener = listener}};
    HR_COUNT(w->stats, hints_sent);
    hr_control_report(w->control, &msg);
}

static void log_event(void *arg, struct hr_msg *msg)
{
    hr_control_report(((struct hr_worker *)arg)->control, msg);
}

static struct hr_leg *hand_up(void *arg, struct hr_tcp_conn *conn, uint16_t listener, const struct hr_origin *origin,
                              uint32_t source, uint32_t timeout_ms)
{
    struct hr_worker *w = arg;
    return hr_control_accepted(w->control, conn, listener, origin, source, timeout_ms, w->now_us);
}

static uint8_t *slot_take(void *arg, uint32_t *ret_slot)
{
    return hr_control_slot_take(((struct hr_worker *)arg)->control, ret_slot);
}

static bool slot_send(void *arg, struct hr_msg *msg)
{
    return hr_control_slot_send(((struct hr_worker *)arg)->control, msg);
}

/* ---- creation --------------------------------------------------------------------------------------- */

/* Receive buffers: what the configuration says, or 60 % of the memory shared by the workers. */
static uint32_t rx_mbufs(const struct hr_config *config, uint32_t data_room)
{
    if (config->dataplane.mbufs_per_worker)
        return config->dataplane.mbufs_per_worker;
    uint64_t bytes = (uint64_t)config->dataplane.memory_mb * 1024 * 1024 * 6 / 10 / config->dataplane.n_workers;
    uint64_t n = bytes / (data_room + sizeof(struct rte_mbuf) + 128 /* pool header, alignment */);
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* An equal share of the memory, less what drivers and the rings between workers take. */
static size_t arena_bytes(const struct hr_config *config)
{
    size_t all = (size_t)config->dataplane.memory_mb << 20;
    size_t others = all / 16 > OTHERS_MIN ? all / 16 : OTHERS_MIN;
    return (all - others) / config->dataplane.n_workers;
}

int hr_worker_create(struct hr_worker_group *group, uint32_t id, uint32_t data_room, struct hr_worker **ret_worker)
{
    struct hr_arena arena;
    int err = hr_arena_create(id, arena_bytes(group->config), &arena);
    if (err)
        return err;
    int socket_id = arena.socket_id;
    struct hr_worker *w = rte_zmalloc_socket("hr_worker", sizeof(*w), RTE_CACHE_LINE_SIZE, socket_id);
    if (!w) {
        hr_arena_destroy(&arena);
        return HR_E_NOMEM;
    }
    w->group = group;
    w->id = id;
    w->arena = arena;
    w->socket_id = socket_id;
    w->stats = hr_region_stats(group->region, id);
    w->zones = hr_region_zone_stats(group->region, id);
    uint32_t n = rx_mbufs(group->config, data_room);
    const struct hr_buf_config cfg = {
        .worker_id = id,
        .socket_id = socket_id,
        .rx_mbufs = n,
        .rx_data_room = data_room,
        .hdr_mbufs = HDR_MBUFS,
        /* A queue that holds anything has a chunk of its own, and at least one buffer stands in it: as many queues
         * as connections have, but no more than a quarter of the buffers. */
        .chunks = n / HR_PIECE_CHUNK_N + HDR_SPARE_CHUNKS +
                  RTE_MIN(group->config->limits.max_connections * 2, n / 4),
    };
    err = hr_buf_ctx_init(&w->bufs, &cfg, w->stats);
    if (err) {
        rte_free(w);
        hr_arena_destroy(&arena);
        return err;
    }
    HR_GAUGE_SET(w->stats, mbufs_total, n);
    HR_GAUGE_SET(w->stats, hdr_mbufs_total, HDR_MBUFS);
    *ret_worker = w;
    return 0;
}

struct rte_mempool *hr_worker_rx_pool(struct hr_worker *w)
{
    return w->bufs.rx_pool;
}

static int build_net(struct hr_worker *w)
{
    const struct hr_net_config cfg = {
        .ports = w->group->ports,
        .n_ports = w->group->n_ports,
        .queue = (uint16_t)w->id,
        .bufs = &w->bufs,
        .stats = w->stats,
        .hash_seed = *(const uint64_t *)w->group->hash_key,
        .owner = w,
        .on_tcp_take = on_tcp_take,
        .on_icmp_error = on_icmp_error,
        .on_news = on_net_news,
    };
    return hr_net_create(&cfg, &w->net);
}

static int build_tcp(struct hr_worker *w)
{
    const struct hr_config *config = w->group->config;
    struct hr_tcp_config cfg;
    hr_tcp_config_default(&cfg);
    cfg.worker_id = w->id;
    cfg.socket_id = w->socket_id;
    /* Two legs each and second broker legs, the control plane's, handshakes under way, and legs that end on their own. */
    cfg.max_conns = config->limits.max_connections * 2 + HR_CONTROL_MAX_CONNS + config->limits.max_half_open +
                    RTE_MIN(config->limits.max_connections, LINGERING_MAX) +
                    RTE_MIN(config->limits.max_connections, HR_READERS_MAX);
    cfg.max_time_wait = config->limits.max_time_wait;
    cfg.max_half_open = config->limits.max_half_open;
    cfg.rcv_wnd_initial = config->tcp.rcv_wnd_initial;
    cfg.rcv_wnd_max = config->tcp.rcv_wnd_max;
    cfg.snd_buf_max = config->tcp.snd_buf_max;
    cfg.conn_bufs_max = config->tcp.conn_bufs_max;
    cfg.cong = config->tcp.congestion == HR_CONFIG_RENO ? HR_TCP_CONG_RENO : HR_TCP_CONG_CUBIC;
    cfg.keepalive_us = config->tcp.keepalive_s * 1000000u;
    cfg.rto_min_us = config->tcp.rto_min_ms * 1000u;
    cfg.msl_us = config->tcp.msl_ms * 1000u;
    cfg.user_timeout_us = config->tcp.user_timeout_ms * 1000u;
    cfg.zero_window_us = config->tcp.zero_window_timeout_ms * 1000u;
    cfg.half_close_us = config->tcp.half_close_timeout_ms * 1000u;
    cfg.rx_pool_reserve = w->bufs.rx_pool->size / 8;
    cfg.max_tx_segs = UINT16_MAX;
    for (uint32_t i = 0; i < w->group->n_ports; i++)
        if (w->group->ports[i].max_tx_segs < cfg.max_tx_segs)
            cfg.max_tx_segs = w->group->ports[i].max_tx_segs;
    memcpy(cfg.hash_key, w->group->hash_key, sizeof(cfg.hash_key));
    memcpy(cfg.isn_key, w->group->isn_key, sizeof(cfg.isn_key));
    cfg.bufs = &w->bufs;
    cfg.stats = w->stats;
    cfg.links = w->zones->link;
    cfg.owner = w;
    cfg.on_syn = on_syn;
    cfg.path_mss = path_mss;
    cfg.path_port = path_port;
    for (uint32_t i = 0; i < config->dataplane.n_ports; i++) { /* this worker's part */
        const struct hr_config_port *port = &config->dataplane.ports[i];
        cfg.allowance[i].bytes_per_s = port->tx_mbps * 125000ULL / w->group->n_workers;
        cfg.allowance[i].packets_per_s = (uint32_t)(port->tx_kpps * 1000ULL / w->group->n_workers);
        cfg.allowance[i].burst_us = port->tx_burst_us;
    }
    cfg.emit_take = emit_take;
    cfg.way = way;
    return hr_tcp_create(&cfg, w->now_us, &w->tcp);
}

/* Both legs of every session may speak TLS; expanded keys are kept for those that are busy. */
static int build_rec(struct hr_worker *w)
{
    const struct hr_config *config = w->group->config;
    const struct hr_rec_config cfg = {
        .max_legs = 2 * config->limits.max_connections,
        .max_keys = RTE_MIN(4 * config->limits.max_connections, TLS_KEYS),
        .rekey_records = config->limits.tls_rekey_records,
        .bufs = &w->bufs,
        .stats = w->stats,
    };
    return hr_config_speaks_tls(config) ? hr_rec_create(&cfg, &w->rec) : 0;
}

static int build_proxy(struct hr_worker *w)
{
    const struct hr_config *config = w->group->config;
    const struct hr_relay_config relay_cfg = {
        .worker_id = w->id,
        .socket_id = w->socket_id,
        .max_relays = config->limits.max_connections,
        .max_readers = RTE_MIN(config->limits.max_connections, HR_READERS_MAX),
        .hold_max = config->limits.hold_max_bytes,
        .bufs = &w->bufs,
        .stats = w->stats,
        .zones = w->zones,
    };
    int err = hr_relay_ctx_create(&relay_cfg, &w->relays);
    if (err)
        return err;
    struct hr_proxy_config cfg = {
        .worker_id = w->id,
        .socket_id = w->socket_id,
        .n_workers = w->group->n_workers,
        .counts = w->group->open_counts,
        .max_sessions = config->limits.max_connections,
        .max_branches = RTE_MIN(config->limits.max_connections, HR_READERS_MAX),
        .max_logins = hr_config_has_logins(config) ? config->limits.max_connections : 0,
        .proxy_protocol = hr_config_has_proxy_protocol(config),
        .connect_rate = config->limits.connect_rate,
        .tcp = w->tcp,
        .bufs = &w->bufs,
        .stats = w->stats,
        .zones = w->zones,
        .relays = w->relays,
        .rec = w->rec,
        .owner = w,
        .source_addrs = source_addrs,
        .arrives_here = w->group->n_workers > 1 ? arrives_here : NULL,
        .hint = hint,
        .log = log_event,
        .hand_up = hand_up,
        .slot_take = slot_take,
        .slot_send = slot_send,
    };
    memcpy(cfg.port_key, w->group->isn_key, sizeof(cfg.port_key));
    hr_steer_ports(&w->group->steer, w->id, &cfg.source_port_min, &cfg.source_port_max);
    return hr_proxy_create(&cfg, w->now_us, &w->proxy);
}

int hr_worker_build(struct hr_worker *w, uint64_t now_us)
{
    w->now_us = now_us;
    for (uint32_t i = 0; i < w->group->n_ports; i++)
        hr_rss_learner_init(&w->queues[i]);
    int err = build_net(w);
    if (!err)
        err = build_tcp(w);
    if (!err)
        err = build_rec(w);
    if (!err)
        err = build_proxy(w);
    if (!err) {
        const struct hr_control_config cfg = {
            .worker_id = w->id,
            .socket_id = w->socket_id,
            .region = w->group->region,
            .doorbell_fd = w->group->control_doorbell_fd,
            .bufs = &w->bufs,
            .tcp = w->tcp,
            .proxy = w->proxy,
            .stats = w->stats,
        };
        err = hr_control_create(&cfg, &w->control);
    }
    if (!err)
        err = hr_idle_init(&w->idle, w->group->doorbell_fds[w->id], w->group->ports, w->group->n_ports,
                           (uint16_t)w->id);
    w->idle.busy = w->group->config->dataplane.idle_busy;
    return err;
}

void hr_worker_destroy(struct hr_worker *w)
{
    if (!w)
        return;
    hr_control_destroy(w->control);
    hr_proxy_destroy(w->proxy);
    hr_rec_destroy(w->rec);
    if (w->relays)
        hr_relay_ctx_destroy(w->relays);
    if (w->tcp)
        hr_tcp_destroy(w->tcp);
    if (w->net)
        hr_net_destroy(w->net);
    hr_idle_fini(&w->idle);
    hr_buf_ctx_fini(&w->bufs);
    struct hr_arena arena = w->arena; /* w lies in it */
    rte_free(w);
    hr_arena_destroy(&arena);
}
