#include "dataplane/net/test_wire.h"

#include <rte_arp.h>
#include <rte_ip.h>
#include <rte_mempool.h>
#include <rte_tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/eal.h"

struct wire wire;

const uint8_t mac_peer[6] = {0x02, 0, 0, 0, 0xaa, 1};
const uint8_t mac_gw[6] = {0x02, 0, 0, 0, 0xaa, 0xfe};
const uint8_t mac_bcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

uint32_t ip4(const char *text)
{
    uint32_t v = 0;
    if (inet_pton(AF_INET, text, &v) != 1)
        fail_msg("%s is no IPv4 address", text);
    return v;
}

struct hr_addr addr_of(const char *text)
{
    struct hr_addr a;
    if (strchr(text, ':') != NULL) {
        if (inet_pton(AF_INET6, text, &a) != 1)
            fail_msg("%s is no IPv6 address", text);
        return a;
    }
    a = hr_addr_from_v4(ip4(text));
    if (!wire.v6)
        return a;
    memset(a.b, 0, 12);
    if (ip4(text) != 0)
        a.b[0] = 0xfd; /* 0.0.0.0 is :: */
    return a;
}

uint32_t l4_at(void)
{
    return wire.v6 ? 54 : 34;
}

struct hr_flow flow_of(const char *local, const char *remote)
{
    return (struct hr_flow){
        .local = addr_of(local), .remote = addr_of(remote), .local_port = 9092, .remote_port = 40000};
}

static void keep(struct wire_frame *f, uint32_t port, const struct rte_mbuf *m)
{
    f->port = port;
    f->len = m->pkt_len;
    f->n_segs = m->nb_segs;
    f->ol_flags = m->ol_flags;
    assert_true(m->pkt_len <= WIRE_FRAME_MAX);
    uint32_t off = 0;
    uint16_t segs = 0;
    for (const struct rte_mbuf *s = m; s != NULL; s = s->next, segs++) {
        memcpy(f->data + off, rte_pktmbuf_mtod(s, const void *), s->data_len);
        off += s->data_len;
    }
    assert_int_equal(off, m->pkt_len);
    assert_int_equal(segs, m->nb_segs);
}

static void on_tcp(void *owner, struct rte_mbuf **segs, uint32_t n)
{
    struct wire *w = owner;
    assert_int_not_equal(n, 0);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(w->n_tcp < WIRE_MAX);
        keep(&w->tcp[w->n_tcp++], 0, segs[i]);
        hr_segment_flow(segs[i], &w->tcp_flow);
        rte_pktmbuf_free(segs[i]);
    }
}

static void on_icmp(void *owner, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu)
{
    struct wire *w = owner;
    w->icmp_flow = *flow;
    w->icmp_seq = seq;
    w->icmp_hard = hard;
    w->icmp_mtu = mtu;
    w->n_icmp++;
}

static void on_news(void *owner, const struct hr_net_news *news)
{
    struct wire *w = owner;
    w->news = *news;
    w->n_news++;
}

static uint16_t capture(void *owner, uint32_t port, struct rte_mbuf **pkts, uint16_t n)
{
    struct wire *w = owner;
    if (w->tx_stuck)
        return 0;
    for (uint16_t i = 0; i < n; i++) {
        if (w->n_tx < WIRE_MAX)
            keep(&w->tx[w->n_tx], port, pkts[i]);
        w->n_tx++;
        rte_pktmbuf_free(pkts[i]);
    }
    return n;
}

static void make_port(struct hr_port *port, const struct hr_config_port *cfg, uint8_t number)
{
    char why[HR_WHY_MAX];
    memset(port, 0, sizeof(*port));
    assert_int_equal(hr_port_init_routes(port, cfg, why), 0);
    hr_port_set_mac(port, &(struct rte_ether_addr){{0x02, 0, 0, 0, number, 1}});
    port->hw_tx_segs = 17;
    port->max_tx_segs = 17;
}

static uint8_t bits(uint8_t prefix)
{
    return (uint8_t)(wire.v6 ? 96 + prefix : prefix);
}

static int set_up(bool v6)
{
    hr_test_eal_init();
    memset(&wire, 0, sizeof(wire));
    wire.v6 = v6;
    struct hr_buf_config bufs = {.socket_id = SOCKET_ID_ANY,
                                 .rx_mbufs = 512,
                                 .rx_data_room = 9216 + RTE_PKTMBUF_HEADROOM,
                                 .hdr_mbufs = 512,
                                 .chunks = 16};
    if (hr_buf_ctx_init(&wire.bufs, &bufs, &wire.stats) != 0)
        return -1;
    struct hr_config_port p0 = {.name = "left",
                                .mtu = 1500,
                                .n_addrs = 2,
                                .addrs = {{addr_of("10.1.0.1"), bits(24)}, {addr_of("10.1.0.2"), bits(24)}},
                                .has_gateway = !v6,
                                .gateway = addr_of("10.1.0.254"),
                                .has_gateway6 = v6,
                                .gateway6 = addr_of("10.1.0.254")};
    struct hr_config_port p1 = {.name = "right",
                                .mtu = 9000,
                                .n_addrs = 1,
                                .addrs = {{addr_of("10.2.0.1"), bits(24)}},
                                .n_routes = 3,
                                .routes = {{{addr_of("10.9.0.0"), bits(16)}, addr_of("10.2.0.9"), 0},
                                           {{addr_of("10.9.9.0"), bits(24)}, addr_of("10.2.0.10"), 0},
                                           {{addr_of("10.8.0.0"), bits(16)}, addr_of("10.2.0.9"), 1500}}};
    make_port(&wire.ports[0], &p0, 1);
    make_port(&wire.ports[1], &p1, 2);
    struct hr_net_config cfg = {.ports = wire.ports,
                                .n_ports = 2,
                                .bufs = &wire.bufs,
                                .stats = &wire.stats,
                                .hash_seed = 0x1234567,
                                .owner = &wire,
                                .on_tcp_take = on_tcp,
                                .on_icmp_error = on_icmp,
                                .on_news = on_news,
                                .tx_burst = capture};
    if (hr_net_create(&cfg, &wire.net) != 0)
        return -1;
    wire_pass(1000000);
    return 0;
}

int wire_setup(void **state)
{
    (void)state;
    return set_up(false);
}

int wire_setup6(void **state)
{
    (void)state;
    if (set_up(true) != 0)
        return -1;
    wire_pass(2000000);
    return 0;
}

int wire_teardown(void **state)
{
    (void)state;
    hr_net_destroy(wire.net);
    unsigned leaked = rte_mempool_in_use_count(wire.bufs.rx_pool) + rte_mempool_in_use_count(wire.bufs.hdr_pool);
    hr_buf_ctx_fini(&wire.bufs);
    return leaked == 0 ? 0 : -1;
}

struct rte_mbuf *wire_mbuf(const void *data, uint32_t len, uint32_t seg)
{
    struct rte_mbuf *head = NULL;
    if (seg == 0)
        seg = len;
    for (uint32_t off = 0; off < len || head == NULL; off += seg) {
        uint32_t n = RTE_MIN(seg, len - off);
        struct rte_mbuf *m = rte_pktmbuf_alloc(wire.bufs.rx_pool);
        assert_non_null(m);
        assert_non_null(rte_pktmbuf_append(m, (uint16_t)n));
        memcpy(rte_pktmbuf_mtod(m, void *), (const uint8_t *)data + off, n);
        if (head == NULL)
            head = m;
        else
            assert_int_equal(rte_pktmbuf_chain(head, m), 0);
    }
    return head;
}

void wire_rx_mbuf(uint32_t port, struct rte_mbuf *m)
{
    hr_net_input_take(wire.net, port, &m, 1);
    hr_net_flush(wire.net);
}

void wire_rx(uint32_t port, const void *data, uint32_t len)
{
    wire_rx_mbuf(port, wire_mbuf(data, len, 0));
}

uint64_t wire_pass(uint64_t us)
{
    wire.now_us += us;
    uint64_t next = hr_net_advance(wire.net, wire.now_us);
    hr_net_flush(wire.net);
    return next;
}

uint16_t naive_cksum(const uint8_t *p, uint32_t len, uint32_t start)
{
    uint32_t sum = start;
    for (uint32_t i = 0; i < len; i++) {
        sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
        while (sum >> 16)
            sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum; /* host order */
}

static uint32_t naive_pseudo(const uint8_t *ip, uint16_t l4_len)
{
    bool v6 = ip[0] >> 4 == 6;
    uint32_t sum = ip[v6 ? 6 : 9] + (uint32_t)l4_len;
    for (int i = v6 ? 8 : 12; i < (v6 ? 40 : 20); i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    return sum;
}

void fix_ip(uint8_t *f)
{
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(f + 14);
    ip->hdr_checksum = 0;
    ip->hdr_checksum = rte_cpu_to_be_16(naive_cksum(f + 14, (ip->version_ihl & 0xfU) * 4, 0));
}

uint32_t make_ip(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t proto, const void *l4,
                 uint16_t l4_len)
{
    memcpy(f, wire.ports[port].mac.addr_bytes, 6);
    memcpy(f + 6, mac_peer, 6);
    if (wire.v6) {
        struct hr_addr from = addr_of(src), to = addr_of(dst);
        uint8_t ip6[40] = {0x60, 0, 0, 0, (uint8_t)(l4_len >> 8), (uint8_t)l4_len, proto, 64};
        memcpy(ip6 + 8, &from, 16);
        memcpy(ip6 + 24, &to, 16);
        f[12] = 0x86;
        f[13] = 0xdd;
        memcpy(f + 14, ip6, sizeof(ip6));
        memcpy(f + 54, l4, l4_len);
        return 54U + l4_len;
    }
    f[12] = 0x08;
    f[13] = 0;
    struct rte_ipv4_hdr ip = {.version_ihl = 0x45,
                              .total_length = rte_cpu_to_be_16((uint16_t)(20 + l4_len)),
                              .time_to_live = 64,
                              .next_proto_id = proto,
                              .src_addr = ip4(src),
                              .dst_addr = ip4(dst)};
    memcpy(f + 14, &ip, sizeof(ip));
    fix_ip(f);
    memcpy(f + 34, l4, l4_len);
    return 34U + l4_len;
}

uint32_t make_tcp(uint8_t *f, uint32_t port, const char *src, const char *dst, uint16_t sport, uint16_t dport,
                  uint16_t payload_len)
{
    uint8_t l4[9000];
    struct rte_tcp_hdr tcp = {.src_port = rte_cpu_to_be_16(sport),
                              .dst_port = rte_cpu_to_be_16(dport),
                              .sent_seq = rte_cpu_to_be_32(1000),
                              .data_off = 0x50,
                              .tcp_flags = RTE_TCP_ACK_FLAG,
                              .rx_win = 0xffff};
    memcpy(l4, &tcp, sizeof(tcp));
    for (uint32_t i = 0; i < payload_len; i++)
        l4[20 + i] = (uint8_t)(i + 1);
    uint16_t l4_len = (uint16_t)(20 + payload_len);
    uint32_t len = make_ip(f, port, src, dst, IPPROTO_TCP, l4, l4_len);
    uint8_t *at = f + l4_at();
    uint16_t sum = naive_cksum(at, l4_len, naive_pseudo(f + 14, l4_len));
    at[16] = (uint8_t)(sum >> 8);
    at[17] = (uint8_t)sum;
    return len;
}

bool frame_checksums_ok(const uint8_t *f, uint32_t len)
{
    bool v6 = f[14] >> 4 == 6;
    uint32_t at = v6 ? 54 : 34;
    uint16_t l4_len = (uint16_t)(len - at);
    return (v6 || (f[14] == 0x45 && naive_cksum(f + 14, 20, 0) == 0)) &&
           naive_cksum(f + at, l4_len, naive_pseudo(f + 14, l4_len)) == 0;
}

uint32_t make_arp(uint8_t *f, uint16_t op, const uint8_t sha[6], const char *sip, const uint8_t *tha,
                  const char *tip, const uint8_t dst[6])
{
    struct rte_arp_hdr arp = {.arp_hardware = RTE_BE16(1),
                              .arp_protocol = RTE_BE16(0x0800),
                              .arp_hlen = 6,
                              .arp_plen = 4,
                              .arp_opcode = rte_cpu_to_be_16(op)};
    memcpy(&arp.arp_data.arp_sha, sha, 6);
    if (tha != NULL)
        memcpy(&arp.arp_data.arp_tha, tha, 6);
    arp.arp_data.arp_sip = ip4(sip);
    arp.arp_data.arp_tip = ip4(tip);
    memcpy(f, dst, 6);
    memcpy(f + 6, sha, 6);
    f[12] = 0x08;
    f[13] = 0x06;
    memcpy(f + 14, &arp, sizeof(arp));
    memset(f + 42, 0, 18);
    return 60;
}

uint32_t make_icmp6(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t hop_limit, uint8_t *msg,
                    uint16_t len)
{
    msg[2] = msg[3] = 0;
    uint32_t n = make_ip(f, port, src, dst, IPPROTO_ICMPV6, msg, len);
    uint16_t sum = naive_cksum(f + 54, len, naive_pseudo(f + 14, len));
    f[56] = (uint8_t)(sum >> 8);
    f[57] = (uint8_t)sum;
    f[21] = hop_limit;
    if (f[38] == 0xff) { /* a group */
        f[0] = f[1] = 0x33;
        memcpy(f + 2, f + 50, 4);
    }
    return n;
}

static uint32_t make_nd(uint8_t *f, uint32_t port, uint8_t type, const char *src, const char *dst, uint8_t flags,
                        const char *target, const uint8_t *mac)
{
    struct hr_addr t = addr_of(target);
    uint8_t msg[32] = {type, 0, 0, 0, flags};
    memcpy(msg + 8, &t, 16);
    msg[24] = type == 135 ? 1 : 2;
    msg[25] = 1;
    if (mac != NULL)
        memcpy(msg + 26, mac, 6);
    return make_icmp6(f, port, src, dst, 255, msg, mac != NULL ? 32 : 24);
}

uint32_t make_ns(uint8_t *f, uint32_t port, const char *src, const char *target, const uint8_t *mac)
{
    struct hr_addr t = addr_of(target);
    char group[64];
    snprintf(group, sizeof(group), "ff02::1:ff%02x:%02x%02x", t.b[13], t.b[14], t.b[15]);
    return make_nd(f, port, 135, src, group, 0, target, mac);
}

uint32_t make_na(uint8_t *f, uint32_t port, const char *src, const char *dst, uint8_t flags, const char *target,
                 const uint8_t *mac)
{
    return make_nd(f, port, 136, src, dst, flags, target, mac);
}

struct rte_mbuf *wire_segment(uint16_t payload_len, uint32_t seg)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(wire.bufs.hdr_pool);
    assert_non_null(m);
    assert_non_null(rte_pktmbuf_append(m, 20));
    struct rte_tcp_hdr *tcp = rte_pktmbuf_mtod(m, struct rte_tcp_hdr *);
    memset(tcp, 0, 20);
    tcp->src_port = RTE_BE16(9092);
    tcp->dst_port = RTE_BE16(40000);
    tcp->data_off = 0x50;
    tcp->tcp_flags = RTE_TCP_ACK_FLAG;
    if (payload_len > 0) {
        uint8_t data[9000];
        for (uint32_t i = 0; i < payload_len; i++)
            data[i] = (uint8_t)(i * 7 + 3);
        assert_int_equal(rte_pktmbuf_chain(m, wire_mbuf(data, payload_len, seg)), 0);
    }
    return m;
}
