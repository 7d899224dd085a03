#include "dataplane/net/mcast.h"
#include "dataplane/net/port.h"

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/support/eal.h"

static char why[HR_WHY_MAX];

static struct hr_addr addr(const char *text)
{
    struct hr_addr a;
    assert_true(hr_addr_parse(text, &a));
    return a;
}

static struct hr_config_port config(const char *device, uint16_t mtu)
{
    struct hr_config_port c = {
        .name = "p", .mtu = mtu, .n_addrs = 1, .addrs = {{addr("10.0.0.1"), 24}}};
    snprintf(c.device, sizeof(c.device), "%s", device);
    return c;
}

static uint32_t number_after(const char *args, const char *key)
{
    const char *p = strstr(args, key);
    assert_non_null(p);
    return (uint32_t)strtoul(p + strlen(key), NULL, 10);
}

/* What the driver and the kernel need holds for every MTU: whole pages, whole frames, room for the packet,
 * and a buffer that takes the frame. */
static void af_packet_sizes(void **state)
{
    (void)state;
    for (uint32_t mtu = 576; mtu <= 61000; mtu += mtu < 10000 ? 1 : 211) {
        struct hr_config_port c = config("net_af_packet0,iface=lo", (uint16_t)mtu);
        char args[300];
        assert_int_equal(hr_port_device_args(&c, 3, args, sizeof(args), why), 0);
        uint32_t framesz = number_after(args, ",framesz="), blocksz = number_after(args, ",blocksz=");
        uint32_t framecnt = number_after(args, ",framecnt=");
        assert_int_equal(blocksz % framesz, 0);
        assert_int_equal(blocksz % 4096, 0);
        assert_int_equal(framesz % 16, 0);
        assert_int_equal(framecnt % (blocksz / framesz), 0);
        assert_true(framesz >= mtu + 80);
        assert_int_equal(number_after(args, ",qpairs="), 3);
        assert_true(hr_port_data_room(&c) >= framesz - 32 + RTE_PKTMBUF_HEADROOM);
        assert_true(hr_port_data_room(&c) <= UINT16_MAX);
    }
}

static void af_packet_own_sizes(void **state)
{
    (void)state;
    char args[300];
    struct hr_config_port c = config("net_af_packet0,iface=lo,blocksz=65536,framesz=16384,framecnt=64,qpairs=2", 9000);
    assert_int_equal(hr_port_device_args(&c, 2, args, sizeof(args), why), 0);
    assert_string_equal(args, c.device);
    assert_int_equal(hr_port_data_room(&c), 16384 + RTE_PKTMBUF_HEADROOM);
    for (uint16_t workers = 1; workers <= 3; workers = (uint16_t)(workers + 2)) {
        assert_int_equal(hr_port_device_args(&c, workers, args, sizeof(args), why), HR_E_CONFIG);
        assert_non_null(strstr(why, "qpairs"));
    }
    static const char *bad[] = {
        "net_af_packet0,iface=lo,blocksz=65536,framesz=3000",  /* does not divide */
        "net_af_packet0,iface=lo,blocksz=65536,framesz=2048",  /* too small for the MTU */
        "net_af_packet0,iface=lo,framesz=16384",               /* half of it */
        "net_af_packet0,iface=lo,blocksz=18432,framesz=9216",  /* no whole pages */
    };
    for (unsigned i = 0; i < RTE_DIM(bad); i++) {
        c = config(bad[i], 9000);
        assert_int_equal(hr_port_device_args(&c, 1, args, sizeof(args), why), HR_E_CONFIG);
        assert_non_null(strstr(why, "framesz=9216,blocksz=36864"));
    }
    c = config("net_af_packet0,iface=lo", 61400);
    assert_int_equal(hr_port_device_args(&c, 1, args, sizeof(args), why), HR_E_CONFIG);
}

static void kinds(void **state)
{
    (void)state;
    assert_int_equal(hr_port_device_kind("0000:00:06.0"), HR_PORT_KIND_PCI);
    assert_int_equal(hr_port_device_kind("00:06.0,large_llq_hdr=1"), HR_PORT_KIND_PCI);
    assert_int_equal(hr_port_device_kind("net_af_packet0,iface=x"), HR_PORT_KIND_AF_PACKET);
    assert_int_equal(hr_port_device_kind("net_af_xdp0,iface=x"), HR_PORT_KIND_AF_XDP);
    assert_int_equal(hr_port_device_kind("net_tap0,iface=x"), HR_PORT_KIND_TAP);
    assert_int_equal(hr_port_device_kind("net_null0"), HR_PORT_KIND_VDEV);
    assert_int_equal(hr_port_device_kind("eth1"), HR_PORT_KIND_NONE);
    char args[300];
    struct hr_config_port c = config("00:06.0,large_llq_hdr=1", 9001);
    assert_int_equal(hr_port_device_args(&c, 4, args, sizeof(args), why), 0);
    assert_string_equal(args, "0000:00:06.0,large_llq_hdr=1");
    assert_true(hr_port_data_room(&c) >= 9001 + 18 + RTE_PKTMBUF_HEADROOM);
    c = config("net_af_xdp0,iface=x", 1500);
    assert_int_equal(hr_port_device_args(&c, 4, args, sizeof(args), why), 0);
    assert_string_equal(args, "net_af_xdp0,iface=x,queue_count=4");
    c = config("eth1", 1500);
    assert_int_equal(hr_port_device_args(&c, 4, args, sizeof(args), why), HR_E_CONFIG);
    assert_non_null(strstr(why, "eth1"));
}

static void routes_are_sorted(void **state)
{
    (void)state;
    struct hr_port port;
    struct hr_config_port c = config("net_null0", 1500);
    c.has_gateway = true;
    c.gateway = addr("10.0.0.254");
    c.n_routes = 3;
    c.routes[0] = (struct hr_config_route){{addr("172.16.0.0"), 12}, addr("10.0.0.2")};
    c.routes[1] = (struct hr_config_route){{addr("172.16.5.77"), 32}, addr("10.0.0.3")};
    c.routes[2] = (struct hr_config_route){{addr("172.16.5.99"), 24}, addr("10.0.0.4")};
    memset(&port, 0, sizeof(port));
    assert_int_equal(hr_port_init_routes(&port, &c, why), 0);
    assert_int_equal(port.n_routes, 5);
    for (uint32_t i = 1; i < port.n_routes; i++)
        assert_true(port.routes[i - 1].bits >= port.routes[i].bits);
    assert_int_equal(port.routes[4].bits, 96);
    assert_true(port.routes[4].v4 && !port.routes[4].on_link);
    assert_true(hr_addr_equal(&port.routes[4].via, &c.gateway));

    c.gateway = addr("10.0.1.1");
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "gateway"));
    c.gateway = c.addrs[0].addr; /* ourselves */
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    c.has_gateway = false;
    c.routes[1].via = addr("10.9.9.9");
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "route 1"));
    c.n_routes = 0;
    c.mtu = 500;
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
}

static void routes_of_both_families(void **state)
{
    (void)state;
    struct hr_port port;
    struct hr_config_port c = config("net_null0", 1500);
    struct hr_addr groups[HR_PORT_MAX_ADDRS + 1], want;
    c.n_addrs = 3;
    c.addrs[0] = (struct hr_config_addr){addr("10.0.0.1"), 24};
    c.addrs[1] = (struct hr_config_addr){addr("2600:1::5"), 64};
    c.addrs[2] = (struct hr_config_addr){addr("fd00:1::5"), 64};
    c.has_gateway6 = true;
    c.gateway6 = addr("fe80::1");
    c.n_routes = 1;
    c.routes[0] = (struct hr_config_route){{addr("2600:2::"), 32}, addr("2600:1::9"), 1400};
    memset(&port, 0, sizeof(port));
    assert_int_equal(hr_port_init_routes(&port, &c, why), 0);
    hr_port_set_mac(&port, &(struct rte_ether_addr){{0x02, 1, 2, 3, 4, 5}});
    assert_int_equal(port.n_addrs, 4);
    want = addr("fe80::1:2ff:fe03:405");
    assert_true(hr_port_has(&port, &want));
    /* 10.0.0.0/24, three on-link /64, 2600:2::/32, ::/0 */
    assert_int_equal(port.n_routes, 6);
    assert_int_equal(port.routes[0].bits, 120);
    assert_true(port.routes[0].v4);
    assert_int_equal(port.routes[4].mtu, 1400);
    assert_true(port.routes[5].bits == 0 && !port.routes[5].v4 && !port.routes[5].on_link);
    /* All nodes and the groups of the addresses; 2600:1::5 and fd00:1::5 share one. */
    assert_int_equal(hr_mcast_groups(&port, groups), 3);
    want = addr("ff02::1");
    assert_true(hr_addr_equal(&groups[0], &want));
    want = addr("ff02::1:ff00:5");
    assert_true(hr_addr_equal(&groups[1], &want));
    want = addr("ff02::1:ff03:405");
    assert_true(hr_addr_equal(&groups[2], &want));
    uint8_t mac[6];
    hr_mcast_mac(&groups[2], mac);
    assert_memory_equal(mac, "\x33\x33\xff\x03\x04\x05", 6);

    c.gateway6 = addr("2600:9::1");
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "gateway6"));
    c.gateway6 = addr("fe80::1");
    c.routes[0].via = addr("10.0.0.2"); /* of the other family */
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    c.n_routes = 0;
    c.mtu = 1279;
    assert_int_equal(hr_port_init_routes(&port, &c, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "1280"));
    /* IPv4 alone needs no groups and no link-local address. */
    c.n_addrs = 1;
    c.has_gateway6 = false;
    assert_int_equal(hr_port_init_routes(&port, &c, why), 0);
    hr_port_set_mac(&port, &(struct rte_ether_addr){{0x02, 1, 2, 3, 4, 5}});
    assert_int_equal(port.n_addrs, 1);
    assert_int_equal(hr_mcast_groups(&port, groups), 0);
}

/* A device with several queues and no offload at all, set up, used and closed. */
static void null_device(void **state)
{
    (void)state;
    struct hr_config_port c = config("net_null7", 1500);
    uint16_t id;
    assert_int_equal(hr_port_find(&c, &id, why), HR_E_NOT_FOUND);
    assert_non_null(strstr(why, "net_null7"));
    assert_int_equal(rte_eal_hotplug_add("vdev", "net_null7", "size=60"), 0);
    assert_int_equal(hr_port_find(&c, &id, why), 0);
    struct rte_mempool *pool = rte_pktmbuf_pool_create("null", 4095, 0, 0, (uint16_t)hr_port_data_room(&c), 0);
    assert_non_null(pool);
    struct rte_mempool *pools[2] = {pool, pool};
    struct hr_port port;
    assert_int_equal(hr_port_setup(&port, &c, id, 2, pools, why), 0);
    assert_true(port.started);
    assert_int_equal(port.n_queues, 2);
    assert_true(port.max_tx_segs >= 2);
    assert_int_equal(hr_port_rx_fd(&port, 0), -1);
    assert_int_equal(hr_port_sleep_arm(&port, 0), HR_E_UNSUPPORTED);
    struct rte_mbuf *m[4];
    for (uint16_t q = 0; q < 2; q++) {
        assert_int_equal(rte_eth_rx_burst(id, q, m, 4), 4);
        assert_int_equal(rte_eth_tx_burst(id, q, m, 4), 4);
    }
    hr_port_close(&port);
    assert_false(port.started);
    assert_int_equal(rte_eal_hotplug_remove("vdev", "net_null7"), 0);
    rte_mempool_free(pool);
}

static int eal(void **state)
{
    (void)state;
    hr_test_eal_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(af_packet_sizes), cmocka_unit_test(af_packet_own_sizes), cmocka_unit_test(kinds),
        cmocka_unit_test(routes_are_sorted), cmocka_unit_test(routes_of_both_families),
        cmocka_unit_test(null_device),
    };
    return cmocka_run_group_tests(tests, eal, NULL);
}
