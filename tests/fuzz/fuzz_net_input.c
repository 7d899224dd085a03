/* Frames from anybody, between emissions and the passing of time.
 *
 * The input is a program of steps. A frame's bytes are taken as they are or helped along as a packet of either
 * family (our MAC, right checksums), so that the fuzzer gets past the first gates. Ports have addresses of both
 * families, port 0 listens to routers. Each frame lies in heap memory of exactly its
 * size, so AddressSanitizer sees every byte read beyond it. Checked: what is delivered and sent is
 * consistent, and every buffer comes back. */
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mempool.h>
#include <rte_tcp.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/buf/segment.h"
#include "dataplane/net/cksum.h"
#include "dataplane/net/net.h"
#include "tests/support/eal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct hr_buf_ctx bufs;
static struct hr_stats stats;
static struct hr_port ports[2];
static struct hr_net *net;

#define CHECK(cond)                                                                                          \
    do {                                                                                                     \
        if (!(cond))                                                                                         \
            abort();                                                                                         \
    } while (0)

static void check_chain(const struct rte_mbuf *m)
{
    uint32_t len = 0, n = 0;
    for (const struct rte_mbuf *s = m; s != NULL; s = s->next, n++)
        len += s->data_len;
    CHECK(len == m->pkt_len && n == m->nb_segs);
}

/* The port says that the sums are right. */
#define VOUCHED (RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD)

static void check_segment(const struct rte_mbuf *m)
{
    struct hr_flow f;
    check_chain(m);
    CHECK(m->data_len >= sizeof(struct rte_tcp_hdr));
    hr_segment_flow(m, &f);
    CHECK(m->pkt_len <= (hr_addr_is_v4(&f.remote) ? 65515u : 65535u));
    CHECK(hr_addr_is_v4(&f.remote) == hr_addr_is_v4(&f.local));
    CHECK(hr_addr_is_v4(&f.remote) == (m->packet_type == RTE_PTYPE_L3_IPV4));
    uint64_t sum = hr_cksum_pseudo(&f.remote, &f.local, IPPROTO_TCP, m->pkt_len);
    CHECK(hr_cksum_fold(hr_cksum_add_chain(sum, m, 0, m->pkt_len)) == 0xffff || (m->ol_flags & VOUCHED) == VOUCHED);
    CHECK(hr_net_is_local(net, &f.local) && !hr_net_is_local(net, &f.remote));
}

static void on_tcp(void *owner, struct rte_mbuf **segs, uint32_t n)
{
    (void)owner;
    CHECK(n > 0);
    for (uint32_t i = 0; i < n; i++) {
        check_segment(segs[i]);
        rte_pktmbuf_free(segs[i]);
    }
}

static void on_icmp(void *owner, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu)
{
    (void)owner;
    (void)seq;
    bool v4 = hr_addr_is_v4(&flow->local);
    CHECK(hr_net_is_local(net, &flow->local) && v4 == hr_addr_is_v4(&flow->remote));
    CHECK(mtu == 0 || (mtu >= (v4 ? 552 : 1280) && !hard));
}

static void on_news(void *owner, const struct hr_net_news *news)
{
    (void)owner;
    hr_net_learn(net, news);
}

static uint16_t on_tx(void *owner, uint32_t port_index, struct rte_mbuf **pkts, uint16_t n)
{
    (void)owner;
    CHECK(port_index < 2);
    for (uint16_t i = 0; i < n; i++) {
        check_chain(pkts[i]);
        CHECK(pkts[i]->data_len >= RTE_ETHER_HDR_LEN && pkts[i]->nb_segs <= ports[port_index].hw_tx_segs);
        const struct rte_ether_hdr *eth = rte_pktmbuf_mtod(pkts[i], const struct rte_ether_hdr *);
        CHECK(rte_is_same_ether_addr(&eth->src_addr, &ports[port_index].mac));
        rte_pktmbuf_free(pkts[i]);
    }
    return n;
}

/* fd00::a.b.c.d */
static struct hr_addr addr6(uint32_t v4_be)
{
    struct hr_addr a = {{0xfd}};
    memcpy(a.b + 12, &v4_be, 4);
    return a;
}

static void make_port(struct hr_port *port, uint32_t net_be, uint8_t number)
{
    char why[HR_WHY_MAX];
    struct hr_config_port cfg = {.name = "fuzz", .mtu = 1500, .n_addrs = 2, .has_gateway = number == 1,
                                 .accept_ra = number == 1};
    cfg.addrs[0] = (struct hr_config_addr){hr_addr_from_v4(net_be | RTE_BE32(1)), 16};
    cfg.addrs[1] = (struct hr_config_addr){addr6(net_be | RTE_BE32(1)), 112};
    cfg.gateway = hr_addr_from_v4(net_be | RTE_BE32(254));
    if (hr_port_init_routes(port, &cfg, why) != 0)
        abort();
    hr_port_set_mac(port, &(struct rte_ether_addr){{2, 0, 0, 0, 0, number}});
    port->hw_tx_segs = number == 1 ? 8 : 1;
    port->max_tx_segs = 8;
    port->rx_ip_cksum = port->rx_tcp_cksum = true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    hr_test_eal_init();
    struct hr_buf_config cfg = {.socket_id = SOCKET_ID_ANY, .rx_mbufs = 4096, .rx_data_room = 2304,
                                .hdr_mbufs = 4096, .chunks = 16};
    CHECK(hr_buf_ctx_init(&bufs, &cfg, &stats) == 0);
    make_port(&ports[0], RTE_BE32(0x0a010000), 1);
    make_port(&ports[1], RTE_BE32(0x0a020000), 2);
    return 0;
}

static void free_room(void *addr, void *opaque)
{
    (void)opaque;
    free(addr);
}

/* One mbuf whose buffer ends where its data ends. */
static struct rte_mbuf *exact_mbuf(const uint8_t *data, uint16_t len)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.rx_pool);
    CHECK(m != NULL);
    uint16_t room = (uint16_t)(len + 1), tail = sizeof(struct rte_mbuf_ext_shared_info);
    uint8_t *block = malloc(room);
    struct rte_mbuf_ext_shared_info *info = malloc(tail);
    CHECK(block != NULL && info != NULL);
    info->free_cb = free_room;
    info->fcb_opaque = NULL;
    rte_mbuf_ext_refcnt_set(info, 1);
    /* Data starts at 1, so nothing is aligned by luck. */
    memcpy(block + 1, data, len);
    rte_pktmbuf_attach_extbuf(m, block, RTE_BAD_IOVA, room, info);
    m->data_off = 1;
    m->data_len = len;
    m->pkt_len = len;
    return m;
}

/* The shared info must outlive the mbuf's use of it: collected and freed after each input. */
static void *infos[4096];
static unsigned n_infos;

static void help_along(uint8_t *f, uint32_t len, uint8_t how)
{
    if (len < 34)
        return;
    if (how & 1)
        memcpy(f, ports[0].mac.addr_bytes, 6);
    if (how & 2) {
        f[12] = 8;
        f[13] = how & 4 ? 6 : 0;
    }
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14);
    if (how & 8) {
        ip->version_ihl = 0x45;
        ip->fragment_offset = 0;
        ip->total_length = rte_cpu_to_be_16((uint16_t)(len - 14 - (len > 60 ? f[len - 1] & 7 : 0)));
        ip->dst_addr = hr_addr_v4_be(&ports[0].addrs[0].addr);
        ip->next_proto_id = how & 16 ? IPPROTO_ICMP : IPPROTO_TCP;
    }
    if (how & 32) {
        ip->hdr_checksum = 0;
        ip->hdr_checksum = (uint16_t)~hr_cksum_fold(hr_cksum_add(0, ip, 20));
    }
    uint32_t total = rte_be_to_cpu_16(ip->total_length);
    if ((how & 64) && total >= 20 && 14 + total <= len) {
        uint32_t l4_len = total - 20, at = ip->next_proto_id == IPPROTO_ICMP ? 2 : 16;
        if (l4_len >= at + 2) {
            memset(f + 34 + at, 0, 2);
            uint64_t sum = at == 2 ? 0 : hr_cksum_pseudo_v4(ip->src_addr, ip->dst_addr, 6, (uint16_t)l4_len);
            uint16_t field = (uint16_t)~hr_cksum_fold(hr_cksum_add(sum, f + 34, l4_len));
            memcpy(f + 34 + at, &field, 2);
        }
    }
}

static void help_along6(uint8_t *f, uint32_t len, uint8_t how)
{
    static const uint8_t all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    static const uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    if (len < 58)
        return;
    bool group = how & 4;
    if (how & 1)
        memcpy(f, group ? all_nodes_mac : ports[0].mac.addr_bytes, 6);
    if (how & 2) {
        f[12] = 0x86;
        f[13] = 0xdd;
    }
    struct rte_ipv6_hdr *ip = (struct rte_ipv6_hdr *)(f + 14);
    if (how & 8) {
        ip->vtc_flow = RTE_BE32(0x60000000);
        ip->payload_len = rte_cpu_to_be_16((uint16_t)(len - 54));
        ip->proto = how & 16 ? IPPROTO_ICMPV6 : IPPROTO_TCP;
        memcpy(ip->dst_addr, group ? all_nodes : ports[0].addrs[1].addr.b, 16);
    }
    if (how & 32)
        ip->hop_limits = 255;
    uint32_t l4_len = rte_be_to_cpu_16(ip->payload_len), at = ip->proto == IPPROTO_ICMPV6 ? 2 : 16;
    if ((how & 64) && 54 + l4_len <= len && l4_len >= at + 2) {
        struct hr_addr src, dst;
        memcpy(&src, ip->src_addr, 16);
        memcpy(&dst, ip->dst_addr, 16);
        memset(f + 54 + at, 0, 2);
        uint64_t sum = hr_cksum_pseudo(&src, &dst, ip->proto, l4_len);
        uint16_t field = (uint16_t)~hr_cksum_fold(hr_cksum_add(sum, f + 54, l4_len));
        memcpy(f + 54 + at, &field, 2);
    }
}

static void emit(uint32_t remote_be, uint16_t len, bool v6)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(bufs.hdr_pool);
    CHECK(m != NULL && rte_pktmbuf_append(m, 20) != NULL);
    memset(rte_pktmbuf_mtod(m, void *), 0x50, 20);
    if (len > 0) {
        static const uint8_t payload[1600];
        struct rte_mbuf *tail = rte_pktmbuf_alloc(bufs.rx_pool);
        CHECK(tail != NULL && rte_pktmbuf_append(tail, len) != NULL);
        memcpy(rte_pktmbuf_mtod(tail, void *), payload, len);
        CHECK(rte_pktmbuf_chain(m, tail) == 0);
    }
    struct hr_flow flow = {.local = ports[remote_be & 1].addrs[v6].addr,
                           .remote = v6 ? addr6(remote_be) : hr_addr_from_v4(remote_be)};
    hr_net_emit_tcp_take(net, &flow, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hr_net_config cfg = {.ports = ports, .n_ports = 2, .bufs = &bufs, .stats = &stats, .hash_seed = 7,
                                .on_tcp_take = on_tcp, .on_icmp_error = on_icmp, .on_news = on_news,
                                .tx_burst = on_tx};
    uint64_t now = 1000000;
    unsigned steps = 0;
    struct rte_mbuf *burst[8];
    uint16_t n_burst = 0;
    CHECK(hr_net_create(&cfg, &net) == 0);
    hr_net_advance(net, now);
    while (size >= 8 && steps++ < 200) {
        uint8_t op = data[0], how = data[1], seg = data[2], with = data[3];
        uint32_t arg;
        memcpy(&arg, data + 4, 4);
        data += 8;
        size -= 8;
        if (op < 160) {
            uint8_t frame[2048];
            uint32_t len = RTE_MIN((uint32_t)size, arg % (uint32_t)sizeof(frame));
            memcpy(frame, data, len);
            data += len;
            size -= len;
            if (op < 80)
                help_along(frame, len, how);
            else
                help_along6(frame, len, how);
            struct rte_mbuf *m = NULL;
            uint32_t step = seg == 0 ? len : seg + 20U;
            for (uint32_t off = 0; off < len || m == NULL; off += step) {
                struct rte_mbuf *s = exact_mbuf(frame + off, (uint16_t)RTE_MIN(step, len - off));
                CHECK(n_infos < RTE_DIM(infos));
                infos[n_infos++] = s->shinfo;
                if (m == NULL)
                    m = s;
                else
                    CHECK(rte_pktmbuf_chain(m, s) == 0);
            }
            if (with & 1)
                m->ol_flags |= VOUCHED;
            burst[n_burst++] = m;
            if ((with & 2) == 0 || n_burst == RTE_DIM(burst)) {
                hr_net_input_take(net, op & 1 & (how >> 7), burst, n_burst);
                n_burst = 0;
            }
        } else if (op < 200) {
            emit(RTE_BE32(0x0a010000) | (arg & RTE_BE32(0xffff)), (uint16_t)(how * 6), op & 1);
        } else if (op < 210) {
            emit(arg, 0, op & 1);
        } else if (op < 230) {
            now += arg % 40000000;
            CHECK(hr_net_advance(net, now) > now);
        } else if (op < 240) {
            struct hr_net_news news = {.port_index = how & 3,
                                       .lifetime_s = (uint16_t)arg};
            uint32_t v4_be = RTE_BE32(0x0a010000) | (arg & RTE_BE32(0xffff));
            news.addr = op & 1 ? addr6(v4_be) : hr_addr_from_v4(v4_be);
            memcpy(news.mac, data - 6, sizeof(news.mac));
            news.heard = (uint16_t)(seg | HR_HEARD_MAC);
            hr_net_learn(net, &news);
        } else if (op < 250) {
            hr_net_flush(net);
        } else if (op < 253) {
            hr_net_announce(net);
        } else {
            now += 1100000; /* the check for duplicates is over */
            hr_net_advance(net, now);
        }
    }
    hr_net_input_take(net, 0, burst, n_burst);
    hr_net_flush(net);
    hr_net_destroy(net);
    net = NULL;
    CHECK(rte_mempool_in_use_count(bufs.rx_pool) == 0 && rte_mempool_in_use_count(bufs.hdr_pool) == 0);
    while (n_infos > 0)
        free(infos[--n_infos]);
    return 0;
}
