#include "bench/ring/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST 32u
#define SEGMENTS_PER_TURN 256u
#define TLS_PIECE 1024u /* of plain text in a buffer: records of 16 KiB come out full */

static void die(const char *what)
{
    fprintf(stderr, "ring bench: %s\n", what);
    exit(1);
}

/* ---- the lists -------------------------------------------------------------------------------------- */

static struct rb_peer *take_free(struct rb_peers *p, struct hr_tcp_conn *conn, bool client)
{
    if (!p->free_head)
        die("more connections than the generator has room for");
    struct rb_peer *peer = &p->peers[p->free_head - 1];
    p->free_head = peer->next;
    *peer = (struct rb_peer){.conn = conn, .client = client, .index = (uint32_t)(peer - p->peers)};
    hr_tcp_set_user(conn, peer);
    return peer;
}

static void put_wants(struct rb_peers *p, struct rb_peer *peer)
{
    if (peer->wants || !peer->up || peer->owed == 0)
        return;
    peer->wants = true;
    peer->next = 0;
    if (p->wants_tail)
        p->peers[p->wants_tail - 1].next = peer->index + 1;
    else
        p->wants_head = peer->index + 1;
    p->wants_tail = peer->index + 1;
}

/* ---- applications ----------------------------------------------------------------------------------- */

static void answered(struct rb_peers *p, struct rb_peer *peer)
{
    p->n_answers++;
    peer->in_flight--;
    if (p->cfg.on_answer)
        p->cfg.on_answer(p->cfg.owner, peer);
}

/* What has been received, as plain text. */
static struct hr_pieceq *opened(struct rb_peers *p, struct rb_peer *peer)
{
    struct hr_rec_opened o;
    uint32_t taken = 0;

    if (!peer->tls)
        return hr_tcp_rcvq(peer->conn);
    do {
        hr_rec_open(p->rec, peer->tls, hr_tcp_rcvq(peer->conn), UINT32_MAX, &o);
        taken += o.taken;
    } while (o.again);
    if (o.verdict != HR_DROP_MAX)
        die("a record does not open");
    hr_tcp_consumed(p->tcp, peer->conn, taken, 0, 0);
    return hr_rec_plain(peer->tls);
}

static void received(struct rb_peers *p, struct rb_peer *peer)
{
    const struct rb_frame *expected = peer->client ? &p->response : &p->request;
    if (peer->stalled)
        return;
    struct hr_pieceq *q = opened(p, peer);
    uint32_t n = q->bytes;
    if (n == 0)
        return;
    if (p->verify && !rb_frame_equal(expected, peer->got, q, n))
        die("a byte arrived that was not sent");
    hr_pieceq_drop(&p->bufs, q, n);
    if (!peer->tls)
        hr_tcp_consumed(p->tcp, peer->conn, n, 0, 0);
    for (peer->got += n; peer->got >= expected->len; peer->got -= expected->len) {
        if (peer->client) {
            answered(p, peer);
        } else {
            p->n_requests++;
            peer->owed++;
        }
    }
    put_wants(p, peer);
}

/* A frame into the send queue. Plain, it goes by reference; sealed in place, it has to be a copy. */
static void send_frame(struct rb_peers *p, struct rb_peer *peer, const struct rb_frame *frame)
{
    struct hr_pieceq plain, *q = peer->tls ? hr_rec_unsealed(peer->tls) : &plain;
    bool again = false;

    if (!peer->tls) {
        hr_pieceq_init(q);
        if (!rb_frame_append(frame, &p->bufs, q) || hr_tcp_send_move(p->tcp, peer->conn, q, frame->len) != 0)
            die("the generator is out of queue chunks");
        return;
    }
    for (uint32_t at = 0, n; at < frame->len; at += n) {
        struct rte_mbuf *m = rte_pktmbuf_alloc(p->bufs.rx_pool);
        n = RTE_MIN(frame->len - at, TLS_PIECE);
        if (!m)
            die("the generator is out of buffers to send");
        memcpy(rte_pktmbuf_append(m, (uint16_t)n), frame->bytes + at, n);
        if (hr_pieceq_push_mbuf_take(&p->bufs, q, m) != 0)
            die("the generator is out of queue chunks");
    }
    hr_rec_seal(p->rec, peer->tls, hr_tcp_sndq(peer->conn), &again);
    if (again)
        die("the generator has no memory to seal with");
    hr_tcp_send_appended(p->tcp, peer->conn);
}

/* Those that have something to send, each once; who finds no room comes again later. */
static void send_owed(struct rb_peers *p)
{
    uint32_t last = p->wants_tail;
    while (p->wants_head) {
        struct rb_peer *peer = &p->peers[p->wants_head - 1];
        bool is_last = peer->index + 1 == last;
        p->wants_head = peer->next;
        if (!p->wants_head)
            p->wants_tail = 0;
        peer->wants = false;
        const struct rb_frame *frame = peer->client ? &p->request : &p->response;
        bool mute = p->brokers_mute && !peer->client;
        while (peer->conn && !mute && peer->owed > 0 && hr_tcp_send_room(p->tcp, peer->conn) >= frame->len) {
            send_frame(p, peer, frame);
            peer->owed--;
        }
        if (peer->conn)
            put_wants(p, peer);
        if (is_last)
            break;
    }
}

static void gone(struct rb_peers *p, struct rb_peer *peer, uint32_t events)
{
    if (peer->up)
        *(peer->client ? &p->n_clients_up : &p->n_brokers_up) -= 1;
    if (events & HR_TCP_EV_FAILED)
        p->n_failed++;
    if (peer->tls)
        hr_rec_leg_close(p->rec, peer->tls);
    hr_tcp_release(p->tcp, peer->conn);
    peer->conn = NULL;
    if (p->cfg.on_gone)
        p->cfg.on_gone(p->cfg.owner, peer);
    if (peer->wants)
        die("a connection ended that had something to send");
    peer->next = p->free_head;
    p->free_head = peer->index + 1;
}

static void begin_tls(struct rb_peers *p, struct rb_peer *peer)
{
    struct hr_tls_secrets secrets;

    if (!(peer->client ? p->cfg.tls.client : p->cfg.tls.broker))
        return;
    rb_tls_secrets(&p->cfg.tls, peer->client, false, &secrets);
    if (hr_rec_leg_open(p->rec, &secrets, &peer->tls) != 0)
        die("no room for a generator's TLS leg");
}

static void event(struct rb_peers *p, struct hr_tcp_conn *conn, uint32_t events)
{
    struct rb_peer *peer = hr_tcp_user(conn);
    if (!peer)
        peer = take_free(p, conn, false);
    if ((events & (HR_TCP_EV_ACCEPTED | HR_TCP_EV_CONNECTED)) && !peer->up) {
        peer->up = true;
        begin_tls(p, peer);
        *(peer->client ? &p->n_clients_up : &p->n_brokers_up) += 1;
        put_wants(p, peer);
        if (peer->client && p->cfg.on_up)
            p->cfg.on_up(p->cfg.owner, peer);
    }
    received(p, peer);
    if ((events & HR_TCP_EV_FIN) && !peer->closing) {
        peer->closing = true;
        hr_tcp_shutdown(p->tcp, conn);
    }
    if (events & (HR_TCP_EV_CLOSED | HR_TCP_EV_FAILED))
        gone(p, peer, events);
}

struct rb_peer *rb_peers_connect(struct rb_peers *p)
{
    uint32_t i = p->n_connects;
    struct hr_tcp_conn *conn;
    const struct hr_flow flow = {.local = hr_addr_from_v4(htonl(RB_CLIENT_IP(i % RB_N_CLIENT_IPS))),
                                 .remote = hr_addr_from_v4(htonl(RB_PROXY_IP)),
                                 .local_port = (uint16_t)(2000 + i / RB_N_CLIENT_IPS % 60000),
                                 .remote_port = p->cfg.port};
    if (!p->free_head || hr_tcp_connect(p->tcp, &flow, 0, &conn) != 0)
        return NULL;
    p->n_connects++;
    p->deadline_us = 0;
    return take_free(p, conn, true);
}

void rb_peers_ask(struct rb_peers *p, struct rb_peer *peer, uint32_t n)
{
    peer->owed += n;
    p->n_asked += n;
    peer->in_flight += n;
    put_wants(p, peer);
    p->deadline_us = 0;
}

void rb_peers_close_one(struct rb_peers *p, struct rb_peer *peer)
{
    peer->closing = true;
    hr_tcp_shutdown(p->tcp, peer->conn);
    p->deadline_us = 0;
}

/* ---- the turn --------------------------------------------------------------------------------------- */

bool rb_peers_turn(struct rb_peers *p, uint64_t now_us)
{
    uint32_t n_in = rb_queue_n(&p->in), n_out = rb_queue_n(&p->out), events;
    struct hr_tcp_conn *conn;

    if (n_in == 0 && !p->wants_head && now_us < p->deadline_us)
        return false;
    hr_tcp_set_now(p->tcp, now_us);
    uint64_t net_due_us = hr_net_advance(p->net, now_us);
    while (rb_queue_n(&p->in) > 0) {
        struct rte_mbuf *pkts[BURST];
        uint16_t n = 0;
        while (n < BURST && rb_queue_n(&p->in) > 0)
            pkts[n++] = p->in.frame[p->in.head++ % RB_QUEUE];
        hr_net_input_take(p->net, 0, pkts, n);
    }
    uint64_t tcp_due_us = hr_tcp_advance(p->tcp);
    while ((conn = hr_tcp_next_event(p->tcp, &events)) != NULL)
        event(p, conn, events);
    send_owed(p);
    uint32_t room = RB_QUEUE / 2 > n_out ? RB_QUEUE / 2 - n_out : 0;
    bool more = hr_tcp_flush(p->tcp, RTE_MIN(room, SEGMENTS_PER_TURN));
    hr_net_flush(p->net);
    p->deadline_us = more ? now_us : RTE_MIN(net_due_us, tcp_due_us);
    return n_in > 0 || rb_queue_n(&p->out) > n_out;
}

/* ---- callbacks -------------------------------------------------------------------------------------- */

static uint16_t to_wire(void *owner, uint32_t port_index, struct rte_mbuf **pkts, uint16_t n)
{
    struct rb_peers *p = owner;
    for (uint16_t i = 0; i < n; i++) {
        if (rb_queue_n(&p->out) == RB_QUEUE)
            return i;
        p->out.frame[p->out.tail++ % RB_QUEUE] = pkts[i];
    }
    return n;
}

static void on_tcp_take(void *owner, struct rte_mbuf **segs, uint32_t n)
{
    hr_tcp_input_take(((struct rb_peers *)owner)->tcp, segs, n);
}

static void emit_take(void *owner, const struct hr_flow *flow, struct rte_mbuf *m)
{
    hr_net_emit_tcp_take(((struct rb_peers *)owner)->net, flow, m);
}

static uint16_t path_mss(void *owner, const struct hr_addr *local, const struct hr_addr *remote)
{
    return hr_net_path_mss(((struct rb_peers *)owner)->net, local, remote);
}

static struct hr_tcp_accept on_syn(void *owner, const struct hr_flow *flow)
{
    return (struct hr_tcp_accept){.accept = flow->local_port == ((struct rb_peers *)owner)->cfg.broker_port};
}

/* ---- opening and closing ---------------------------------------------------------------------------- */

static void open_port(struct rb_peers *p)
{
    struct hr_config_port cfg = {.mtu = p->cfg.mtu, .n_addrs = HR_CONFIG_MAX_ADDRS};
    char why[HR_WHY_MAX];
    snprintf(cfg.name, sizeof(cfg.name), "peers");
    for (uint32_t i = 0; i < HR_CONFIG_MAX_ADDRS; i++)
        cfg.addrs[i] = (struct hr_config_addr){.addr = hr_addr_from_v4(htonl(RB_CLIENT_IP(i))), .prefix = 16};
    if (hr_port_init_routes(&p->port, &cfg, why) != 0)
        die(why);
    memset(&p->port.mac, 0x02, sizeof(p->port.mac));
    p->port.n_queues = 1;
    p->port.hw_tx_segs = p->port.max_tx_segs = 32;
    p->port.rx_ip_cksum = p->port.rx_tcp_cksum = p->port.tx_ip_cksum = p->port.tx_tcp_cksum = p->cfg.cksum;
}

void rb_peers_open(struct rb_peers *p, const struct rb_peers_config *cfg, uint32_t data_room, uint64_t now_us)
{
    memset(p, 0, sizeof(*p));
    p->cfg = *cfg;
    open_port(p);
    /* What is queued towards the wire are references; what comes from it is read in the same turn. */
    const struct hr_buf_config buf_cfg = {.worker_id = 100,
                                          .socket_id = SOCKET_ID_ANY,
                                          .rx_mbufs = cfg->rx_mbufs ? cfg->rx_mbufs : 4096,
                                          .rx_data_room = data_room,
                                          .hdr_mbufs = 2 * RB_QUEUE,
                                          .chunks = cfg->max_peers + 4096};
    if (hr_buf_ctx_init(&p->bufs, &buf_cfg, &p->stats) != 0)
        die("no memory for the generator's pools");
    const struct hr_net_config net_cfg = {.ports = &p->port,
                                          .n_ports = 1,
                                          .bufs = &p->bufs,
                                          .stats = &p->stats,
                                          .hash_seed = 1,
                                          .owner = p,
                                          .on_tcp_take = on_tcp_take,
                                          .tx_burst = to_wire};
    if (hr_net_create(&net_cfg, &p->net) != 0)
        die("no network layer for the generator");
    struct hr_tcp_config tcp_cfg;
    hr_tcp_config_default(&tcp_cfg);
    tcp_cfg.max_conns = cfg->max_peers;
    tcp_cfg.max_half_open = cfg->max_peers;
    tcp_cfg.rx_pool_reserve = 64;
    tcp_cfg.msl_us = 1000; /* the generator's own TIME-WAIT is of no interest */
    tcp_cfg.keepalive_us = 0;
    tcp_cfg.max_tx_segs = p->port.max_tx_segs;
    memset(tcp_cfg.hash_key, 1, sizeof(tcp_cfg.hash_key));
    memset(tcp_cfg.isn_key, 2, sizeof(tcp_cfg.isn_key));
    tcp_cfg.bufs = &p->bufs;
    tcp_cfg.stats = &p->stats;
    tcp_cfg.owner = p;
    tcp_cfg.on_syn = on_syn;
    tcp_cfg.path_mss = path_mss;
    tcp_cfg.emit_take = emit_take;
    const struct hr_rec_config rec_cfg = {
        .max_legs = cfg->max_peers, .max_keys = 512, .rekey_records = 1u << 24, .bufs = &p->bufs, .stats = &p->stats};
    if ((cfg->tls.client || cfg->tls.broker) && hr_rec_create(&rec_cfg, &p->rec) != 0)
        die("no record layer for the generator: may so much memory be locked (ulimit -l)?");
    p->peers = calloc(cfg->max_peers, sizeof(*p->peers));
    if (!p->peers || hr_tcp_create(&tcp_cfg, now_us, &p->tcp) != 0)
        die("no TCP for the generator");
    for (uint32_t i = cfg->max_peers; i-- > 0;) {
        p->peers[i].index = i;
        p->peers[i].next = p->free_head;
        p->free_head = i + 1;
    }
    rb_frame_request(&p->request, cfg->request_bytes);
    rb_frame_response(&p->response, cfg->response_bytes);
    p->verify = true;
}

void rb_peers_close(struct rb_peers *p)
{
    while (rb_queue_n(&p->in) > 0)
        rte_pktmbuf_free(p->in.frame[p->in.head++ % RB_QUEUE]);
    while (rb_queue_n(&p->out) > 0)
        rte_pktmbuf_free(p->out.frame[p->out.head++ % RB_QUEUE]);
    for (uint32_t i = 0; i < p->cfg.max_peers; i++)
        if (p->peers[i].conn && p->peers[i].tls)
            hr_rec_leg_close(p->rec, p->peers[i].tls);
    hr_rec_destroy(p->rec);
    hr_tcp_destroy(p->tcp);
    hr_net_destroy(p->net);
    rb_frame_free(&p->request);
    rb_frame_free(&p->response);
    hr_buf_ctx_fini(&p->bufs);
    free(p->peers);
}
