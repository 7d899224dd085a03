#include "tests/support/family.h"
#include "tests/support/proxy_rig.h"

#include <rte_mempool.h>
#include <rte_tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/control/control.h"
#include "dataplane/kafka/relay.h"
#include "dataplane/proxy/leg.h"
#include "dataplane/tcp/impl.h"
#include "dataplane/tls/record.h"
#include "shared/ipc/policy_sample.h"
#include "tests/support/eal.h"
#include "tests/support/inject.h"

#define DELAY_US 1000
#define N_WIRE   16384

struct packet {
    uint64_t at_us;
    bool to_proxy;
    struct hr_flow flow; /* as the sender sees it */
    struct rte_mbuf *m;
};

static struct hr_buf_ctx pools[2];
static struct hr_stats pool_stats[2];
static struct hr_zone_stats zone_stats;
static struct hr_open_counts counts[4];
static struct packet *wire; /* a ring: the delay is the same for all */
static uint32_t wire_head, wire_tail;

static void die(const char *what)
{
    fprintf(stderr, "proxy rig: %s\n", what);
    abort();
}

static void global_init(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    hr_test_eal_init();
    for (unsigned i = 0; i < 2; i++) {
        const struct hr_buf_config cfg = {.worker_id = i,
                                          .socket_id = SOCKET_ID_ANY,
                                          .rx_mbufs = 4096,
                                          .rx_data_room = RTE_PKTMBUF_HEADROOM + 2048,
                                          .hdr_mbufs = 4096,
                                          .chunks = 1024};
        if (hr_buf_ctx_init(&pools[i], &cfg, &pool_stats[i]) != 0)
            die("no pools");
    }
    wire = calloc(N_WIRE, sizeof(*wire));
    if (!wire)
        die("no memory");
}

/* ---- wire ------------------------------------------------------------------------------------------- */

static bool is_silent(const struct pr *r, const struct hr_flow *flow)
{
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t ip_be = htonl(r->hosts[i].ip);
        if (r->hosts[i].silent &&
            (hr_addr_v4_be(&flow->local) == ip_be || hr_addr_v4_be(&flow->remote) == ip_be))
            return true;
    }
    return false;
}

static struct pr *rig; /* the one that is open: callbacks of both ends need it */

static void emit(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    if (is_silent(rig, flow)) {
        rte_pktmbuf_free(m);
        return;
    }
    if (wire_tail - wire_head == N_WIRE)
        die("the wire is full");
    wire[wire_tail++ % N_WIRE] = (struct packet){
        .at_us = rig->now_us + DELAY_US, .to_proxy = owner == &rig->out, .flow = *flow, .m = m};
}

static void deliver(struct pr *r, struct packet *p)
{
    struct pr_end *to = p->to_proxy ? &r->in : &r->out;
    uint8_t flat[4096];
    uint32_t len = p->m->pkt_len;
    struct rte_mbuf *m = rte_pktmbuf_alloc(to->bufs.rx_pool);

    if (!m || len > sizeof(flat))
        die("no buffer for a segment");
    memcpy(rte_pktmbuf_append(m, (uint16_t)len), rte_pktmbuf_read(p->m, 0, len, flat), len);
    rte_pktmbuf_free(p->m);
    hr_inject_take(to->tcp, &p->flow.local, &p->flow.remote, m);
}

/* ---- the world -------------------------------------------------------------------------------------- */

struct pr_host *pr_host(struct pr *r, uint32_t ip)
{
    for (uint32_t i = 0; i < 8; i++)
        if (r->hosts[i].ip == ip || r->hosts[i].ip == 0) {
            r->hosts[i].ip = ip;
            return &r->hosts[i];
        }
    die("too many hosts");
    return NULL;
}

static struct pr_peer *new_peer(struct pr *r, struct hr_tcp_conn *conn)
{
    if (r->n_peers == PR_PEERS)
        die("too many peers");
    struct pr_peer *p = &r->peers[r->n_peers++];
    *p = (struct pr_peer){.conn = conn, .flow = *hr_tcp_flow(conn)};
    hr_tcp_set_user(conn, p);
    return p;
}

static struct hr_tcp_accept world_on_syn(void *owner, const struct hr_flow *flow)
{
    struct hr_tcp_accept answer = {.accept = true};
    for (uint32_t i = 0; i < 8; i++)
        if (rig->hosts[i].refuse && htonl(rig->hosts[i].ip) == hr_addr_v4_be(&flow->local))
            answer.accept = false;
    return answer;
}

static void read_all(struct pr *r, struct pr_peer *p)
{
    uint8_t bytes[2048];
    struct hr_pieceq *q = hr_tcp_rcvq(p->conn);
    uint32_t total = 0;
    while (q->bytes > 0 && !p->paused) {
        uint32_t n = q->bytes < sizeof(bytes) ? q->bytes : (uint32_t)sizeof(bytes);
        hr_pieceq_peek(q, 0, bytes, n);
        rf_append(&p->got, bytes, n);
        hr_pieceq_drop(&r->out.bufs, q, n);
        total += n;
    }
    if (total)
        hr_tcp_consumed(r->out.tcp, p->conn, total, 0, 0);
}

static void world_events(struct pr *r)
{
    struct hr_tcp_conn *conn;
    uint32_t events;
    while ((conn = hr_tcp_next_event(r->out.tcp, &events)) != NULL) {
        struct pr_peer *p = hr_tcp_user(conn);
        if (!p)
            p = new_peer(r, conn);
        p->connected |= (events & (HR_TCP_EV_CONNECTED | HR_TCP_EV_ACCEPTED)) != 0;
        p->fin |= (events & HR_TCP_EV_FIN) != 0;
        read_all(r, p);
        if (events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED)) {
            struct hr_tcp_conn_info info;
            hr_tcp_conn_get_info(r->out.tcp, conn, &info);
            p->closed = events & HR_TCP_EV_CLOSED;
            p->failed = events & HR_TCP_EV_FAILED;
            p->failure = info.error;
            p->conn = NULL;
            hr_tcp_release(r->out.tcp, conn);
        }
    }
    for (uint32_t i = 0; i < r->n_peers; i++)
        if (r->peers[i].conn)
            read_all(r, &r->peers[i]);
}

struct pr_peer *pr_connect(struct pr *r, uint16_t port)
{
    struct hr_tcp_conn *conn;
    const struct hr_flow flow = {.local = hr_test_addr(PR_CLIENT_IP),
                                 .remote = hr_test_addr(PR_PROXY_IP),
                                 .local_port = r->client_port++,
                                 .remote_port = port};
    if (hr_tcp_connect(r->out.tcp, &flow, 0, &conn) != 0)
        die("a client cannot connect");
    return new_peer(r, conn);
}

struct pr_peer *pr_accepted_at(struct pr *r, uint32_t ip)
{
    for (uint32_t i = r->n_peers; i-- > 0;)
        if (hr_addr_v4_be(&r->peers[i].flow.local) == htonl(ip))
            return &r->peers[i];
    return NULL;
}

uint32_t pr_n_accepted(const struct pr *r)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n_peers; i++)
        n += hr_addr_v4_be(&r->peers[i].flow.local) != htonl(PR_CLIENT_IP);
    return n;
}

void pr_send(struct pr *r, struct pr_peer *p, const void *data, uint32_t len)
{
    if (!p->conn || hr_tcp_send_bytes_copy(r->out.tcp, p->conn, data, len) != 0)
        die("a peer cannot send");
}

void pr_shutdown(struct pr *r, struct pr_peer *p)
{
    hr_tcp_shutdown(r->out.tcp, p->conn);
}

void pr_reset(struct pr *r, struct pr_peer *p)
{
    hr_tcp_abort(r->out.tcp, p->conn);
    p->conn = NULL;
}

void pr_icmp_error(struct pr *r, const struct pr_peer *p, bool hard)
{
    const struct hr_flow flow = {.local = p->flow.remote,
                                 .remote = p->flow.local,
                                 .local_port = p->flow.remote_port,
                                 .remote_port = p->flow.local_port};
    const struct hr_tcp_conn *conn = hr_tcp_flow_find(r->in.tcp, &flow, hr_tcp_flow_hash(r->in.tcp, &flow));
    if (!conn)
        die("an ICMP error about a connection that is gone");
    hr_tcp_icmp_error(r->in.tcp, &flow, conn->snd_una, hard, 0);
}

/* ---- the proxy's end -------------------------------------------------------------------------------- */

static struct hr_tcp_accept proxy_on_syn(void *owner, const struct hr_flow *flow)
{
    return hr_proxy_on_syn(rig->proxy, flow);
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    return 1460;
}

static uint32_t source_addrs(void *owner, const struct hr_addr *remote, struct hr_addr *ret, uint32_t max)
{
    ret[0] = hr_test_addr(PR_PROXY_IP);
    return 1;
}

static void hint(void *owner, uint16_t listener, int32_t node_id)
{
    rig->n_hints++;
    rig->hint_node = node_id;
}

static void log_event(void *owner, struct hr_msg *msg)
{
    rig->n_logs[msg->u.log.event]++;
    rig->last_log[msg->u.log.event] = *msg;
}

static struct hr_leg *hand_up(void *owner, struct hr_tcp_conn *conn, uint16_t listener, const struct hr_origin *origin,
                              uint32_t source, uint32_t timeout_ms)
{
    return rig->control ? hr_control_accepted(rig->control, conn, listener, origin, source, timeout_ms, rig->now_us)
                        : NULL;
}

static uint8_t *slot_take(void *owner, uint32_t *ret_slot)
{
    return rig->control ? hr_control_slot_take(rig->control, ret_slot) : NULL;
}

static bool slot_send(void *owner, struct hr_msg *msg)
{
    return hr_control_slot_send(rig->control, msg);
}

/* As a worker does it. */
static void proxy_events(struct pr *r)
{
    struct hr_tcp_conn *conn;
    uint32_t events;
    while ((conn = hr_tcp_next_event(r->in.tcp, &events)) != NULL) {
        struct hr_leg *leg = hr_tcp_user(conn);
        if (!leg && (events & HR_TCP_EV_ACCEPTED)) {
            leg = hr_proxy_accepted(r->proxy, conn, r->now_us);
            events &= ~(uint32_t)HR_TCP_EV_ACCEPTED;
        }
        if (leg && leg->kind == HR_LEG_PREFACE)
            leg = hr_proxy_preface(r->proxy, leg, events, r->now_us);
        if (!leg || !events || leg->kind == HR_LEG_PREFACE)
            continue;
        if (leg->kind == HR_LEG_CONTROL)
            hr_control_event(r->control, leg, events);
        else
            hr_proxy_event(r->proxy, leg, events, r->now_us);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Everything that is due now, on both ends; returns when there will be more. */
static uint64_t turn(struct pr *r)
{
    bool more = false;
    hr_tcp_set_now(r->in.tcp, r->now_us);
    hr_relay_set_now(r->relays, r->now_us);
    hr_tcp_set_now(r->out.tcp, r->now_us);
    while (wire_head != wire_tail && wire[wire_head % N_WIRE].at_us <= r->now_us)
        deliver(r, &wire[wire_head++ % N_WIRE]);
    if (r->control)
        more |= hr_control_poll(r->control, r->now_us);
    uint64_t next_us = earlier(hr_tcp_advance(r->in.tcp), hr_tcp_advance(r->out.tcp));
    proxy_events(r);
    more |= hr_proxy_run(r->proxy, r->now_us);
    next_us = earlier(next_us, hr_proxy_advance(r->proxy, r->now_us));
    if (r->control)
        next_us = earlier(next_us, hr_control_deadline(r->control));
    more |= hr_tcp_flush(r->in.tcp, 256);
    if (r->control)
        hr_control_flush(r->control);
    world_events(r);
    more |= hr_tcp_flush(r->out.tcp, 256);
    next_us = earlier(next_us, earlier(hr_tcp_advance(r->in.tcp), hr_tcp_advance(r->out.tcp)));
    if (wire_head != wire_tail)
        next_us = earlier(next_us, wire[wire_head % N_WIRE].at_us);
    if (more || next_us <= r->now_us)
        next_us = r->now_us + 1;
    return next_us;
}

void pr_run(struct pr *r, uint64_t us)
{
    uint64_t until_us = r->now_us + us;
    for (;;) {
        uint64_t next_us = turn(r);
        if (next_us > until_us)
            break;
        r->now_us = next_us;
    }
    r->now_us = until_us;
    turn(r);
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

static void open_tcp(struct pr *r, struct pr_end *end, bool proxy, void (*tweak)(struct hr_tcp_config *cfg))
{
    struct hr_tcp_config cfg;
    end->bufs = pools[proxy ? 0 : 1];
    end->bufs.stats = &end->stats;
    hr_tcp_config_default(&cfg);
    cfg.max_conns = 128;
    cfg.max_half_open = 32;
    cfg.rcv_wnd_max = 256 << 10;
    cfg.snd_buf_max = 256 << 10;
    cfg.msl_us = 1000;
    cfg.bufs = &end->bufs;
    cfg.stats = &end->stats;
    cfg.links = proxy ? zone_stats.link : NULL;
    cfg.owner = end;
    cfg.on_syn = proxy ? proxy_on_syn : world_on_syn;
    cfg.path_mss = path_mss;
    cfg.emit_take = emit;
    for (unsigned i = 0; i < sizeof(cfg.hash_key); i++)
        cfg.hash_key[i] = cfg.isn_key[i] = (uint8_t)(i * 7 + proxy);
    if (proxy && tweak)
        tweak(&cfg);
    if (hr_tcp_create(&cfg, r->now_us, &end->tcp) != 0)
        die("no TCP");
}

void pr_open(struct pr *r, void (*tweak)(struct hr_tcp_config *cfg))
{
    uint32_t rekey_records = r->rekey_records;
    global_init();
    memset(r, 0, sizeof(*r));
    r->rekey_records = rekey_records;
    memset(counts, 0, sizeof(counts));
    memset(&zone_stats, 0, sizeof(zone_stats));
    r->zones = &zone_stats;
    r->counts = counts;
    rig = r;
    r->now_us = 1000 * PR_S;
    r->client_port = 30000;
    r->policy = calloc(1, sizeof(*r->policy));
    r->spare = calloc(1, sizeof(*r->spare));
    if (!r->policy || !r->spare)
        die("no memory");
    hr_policy_sample(r->policy, 1);
    for (uint32_t i = 0; i < r->policy->n_listeners; i++) {
        struct hr_policy_listener *l = &r->policy->listeners[i];
        l->bind = hr_test_addr(ntohl(hr_addr_v4_be(&l->bind)));
        if (l->target_valid)
            l->target = hr_test_addr(ntohl(hr_addr_v4_be(&l->target)));
    }
    for (uint32_t i = 0; i < r->policy->n_brokers; i++)
        r->policy->brokers[i].addr = hr_test_addr(ntohl(hr_addr_v4_be(&r->policy->brokers[i].addr)));
    open_tcp(r, &r->in, true, tweak);
    open_tcp(r, &r->out, false, NULL);
    const struct hr_relay_config relay_cfg = {.socket_id = SOCKET_ID_ANY,
                                              .max_relays = PR_SESSIONS,
                                              .max_readers = PR_SESSIONS,
                                              .hold_max = PR_HOLD_MAX,
                                              .bufs = &r->in.bufs,
                                              .stats = &r->in.stats,
                                              .zones = &zone_stats};
    if (hr_relay_ctx_create(&relay_cfg, &r->relays) != 0)
        die("no relays");
    const struct hr_rec_config rec_cfg = {.max_legs = 2 * PR_SESSIONS,
                                          .max_keys = 4,
                                          .rekey_records = rekey_records ? rekey_records : 1u << 24,
                                          .bufs = &r->in.bufs,
                                          .stats = &r->in.stats};
    if (hr_rec_create(&rec_cfg, &r->rec) != 0)
        die("no record layer");
    const struct hr_proxy_config cfg = {.worker_id = 2,
                                        .n_workers = 4,
                                        .counts = counts,
                                        .socket_id = SOCKET_ID_ANY,
                                        .max_sessions = PR_SESSIONS,
                                        .max_branches = PR_SESSIONS,
                                        .max_logins = PR_SESSIONS,
                                        .proxy_protocol = true,
                                        .source_port_min = 40000,
                                        .source_port_max = 40999,
                                        .tcp = r->in.tcp,
                                        .bufs = &r->in.bufs,
                                        .stats = &r->in.stats,
                                        .zones = &zone_stats,
                                        .relays = r->relays,
                                        .rec = r->rec,
                                        .source_addrs = source_addrs,
                                        .hint = hint,
                                        .log = log_event,
                                        .hand_up = hand_up,
                                        .slot_take = slot_take,
                                        .slot_send = slot_send};
    if (hr_proxy_create(&cfg, r->now_us, &r->proxy) != 0)
        die("no proxy");
    hr_proxy_set_policy(r->proxy, r->policy);
}

struct hr_policy *pr_next_policy(struct pr *r)
{
    *r->spare = *r->policy;
    r->spare->generation++;
    return r->spare;
}

void pr_adopt(struct pr *r)
{
    struct hr_policy *old = r->policy;
    const char *why = "";
    if (hr_policy_validate(r->spare, &why) != 0)
        die(why);
    hr_proxy_set_policy(r->proxy, r->spare);
    r->policy = r->spare;
    r->spare = old;
    memset(old, 0xa5, sizeof(*old)); /* nobody may look at it any more */
}

static const char *pools_left(const struct pr_end *end)
{
    static char text[160];
    const struct hr_buf_ctx *b = &end->bufs;
    unsigned rx = rte_mempool_in_use_count(b->rx_pool), hdr = rte_mempool_in_use_count(b->hdr_pool),
             ind = rte_mempool_in_use_count(b->indirect_pool), chunks = rte_mempool_in_use_count(b->chunk_pool);
    if (rx + hdr + ind + chunks + b->held == 0)
        return NULL;
    snprintf(text, sizeof(text), "buffers left: rx %u hdr %u indirect %u chunks %u held %u", rx, hdr, ind, chunks,
             b->held);
    return text;
}

const char *pr_close(struct pr *r)
{
    const char *wrong = NULL;
    if (!r->proxy)
        return NULL;
    hr_control_destroy(r->control);
    hr_proxy_destroy(r->proxy);
    for (uint32_t i = 0; i < r->n_peers; i++) {
        if (r->peers[i].conn)
            hr_tcp_abort(r->out.tcp, r->peers[i].conn);
        rf_free(&r->peers[i].got);
    }
    for (; wire_head != wire_tail; wire_head++)
        rte_pktmbuf_free(wire[wire_head % N_WIRE].m);
    if (PR_COUNT(r, sessions_opened) != PR_COUNT(r, sessions_closed))
        wrong = "sessions opened and closed differ";
    if (r->in.stats.gauges[HR_GAUGE_sessions] != 0)
        wrong = "sessions are left";
    if (r->in.stats.gauges[HR_GAUGE_tls_legs] != 0)
        wrong = "TLS legs are left";
    if (PR_COUNT(r, payload_copied_bytes) != 0)
        wrong = "payload was copied";
    hr_rec_destroy(r->rec);
    hr_tcp_destroy(r->in.tcp);
    hr_tcp_destroy(r->out.tcp);
    struct hr_relay *relays[PR_SESSIONS];
    for (uint32_t i = 0; i < PR_SESSIONS; i++)
        if (hr_relay_open(r->relays, 1, &relays[i]) != 0) {
            wrong = "a relay leaked";
            break;
        }
    hr_relay_ctx_destroy(r->relays);
    if (!wrong && !(wrong = pools_left(&r->in)))
        wrong = pools_left(&r->out);
    free(r->policy);
    free(r->spare);
    memset(r, 0, sizeof(*r));
    return wrong;
}
