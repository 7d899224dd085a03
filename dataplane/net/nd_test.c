/* Neighbour discovery, routers and the first seconds of IPv6 addresses. What the neighbour table does with packets
 * and time is shown in neigh_test.c. */
#include "dataplane/net/net.h"

#include <rte_mempool.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "dataplane/net/impl.h"
#include "dataplane/net/test_wire.h"

#define S 1000000ULL

static uint8_t f[WIRE_FRAME_MAX];

#define DROPS(reason) ((int)wire.stats.drops[HR_DROP_##reason])
#define ROUTER "fe80::1"
static const uint8_t mac_other[6] = {0x02, 0, 0, 0, 0xbb, 7};

static void emit(const char *remote)
{
    struct hr_flow flow = flow_of("10.1.0.1", remote);
    hr_net_emit_tcp_take(wire.net, &flow, wire_segment(1, 0));
    hr_net_flush(wire.net);
}

static struct hr_neigh *neigh_of(const char *text)
{
    struct hr_addr addr = addr_of(text);
    return hr_neigh_find(wire.net, 0, &addr);
}

static bool is_icmp6(const struct wire_frame *t, uint8_t type)
{
    return t->data[12] == 0x86 && t->data[20] == 58 && t->data[54] == type && frame_checksums_ok(t->data, t->len);
}

static void assert_addr_at(const struct wire_frame *t, uint32_t at, const char *want)
{
    struct hr_addr addr = addr_of(want);
    assert_memory_equal(t->data + at, &addr, 16);
}

static void answer(const char *ip, uint8_t flags, const uint8_t *mac)
{
    wire_rx(0, f, make_na(f, 0, ip, "10.1.0.1", flags, ip, mac));
}

/* ---- solicitations ---- */

static void solicitation_is_answered(void **state)
{
    (void)state;
    wire_rx(0, f, make_ns(f, 0, "10.1.0.7", "10.1.0.2", mac_peer));
    assert_int_equal(wire.n_tx, 1);
    const struct wire_frame *r = &wire.tx[0];
    assert_true(is_icmp6(r, 136));
    assert_memory_equal(r->data, mac_peer, 6);
    assert_memory_equal(r->data + 6, wire.ports[0].mac.addr_bytes, 6);
    assert_int_equal(r->data[21], 255);
    assert_int_equal(r->data[58], 0x60); /* solicited, override, no router */
    assert_addr_at(r, 22, "10.1.0.2");
    assert_addr_at(r, 38, "10.1.0.7");
    assert_addr_at(r, 62, "10.1.0.2");
    assert_int_equal(r->data[78], 2);
    assert_memory_equal(r->data + 80, wire.ports[0].mac.addr_bytes, 6);
    /* It was learned on the way, and the other workers are told. */
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_STALE);
    assert_int_equal(wire.n_news, 1);
    /* In use, it is asked again at its own address. */
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 3);
    assert_true(is_icmp6(&wire.tx[1], 135));
    assert_addr_at(&wire.tx[1], 38, "10.1.0.7");
    assert_memory_equal(wire.tx[1].data, mac_peer, 6);
    assert_memory_equal(wire.tx[2].data, mac_peer, 6);
    answer("10.1.0.7", 0x40, NULL); /* the answer to a unicast question may leave the MAC out */
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_REACHABLE);
}

/* RFC 4862 5.4.3: somebody checks an address that we have. */
static void probe_for_our_address_is_answered(void **state)
{
    (void)state;
    wire_rx(0, f, make_ns(f, 0, "::", "10.1.0.1", NULL));
    assert_int_equal(wire.n_tx, 1);
    assert_true(is_icmp6(&wire.tx[0], 136));
    assert_addr_at(&wire.tx[0], 38, "ff02::1");
    assert_int_equal(wire.tx[0].data[0], 0x33);
    assert_int_equal(wire.tx[0].data[58], 0x20);
    assert_int_equal(wire.n_news, 0);
}

#define BAD(len)                                                                                             \
    do {                                                                                                     \
        int before_ = DROPS(nd_bad);                                                                         \
        wire_rx(0, f, (len));                                                                                \
        assert_int_equal(DROPS(nd_bad), before_ + 1);                                                        \
        assert_int_equal(wire.n_tx, 0);                                                                      \
        assert_int_equal(wire.n_news, 0);                                                                    \
    } while (0)

/* RFC 4861 7.1.1, 7.1.2, 6.1.2: each validity check. */
static void malformed(void **state)
{
    (void)state;
    struct hr_addr target = addr_of("10.1.0.1"), other = addr_of("10.1.0.7");
    uint8_t ns[40] = {135};
    memcpy(ns + 8, &target, 16);
    wire.ports[0].accept_ra = true;
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 254, ns, 24)); /* came over a router */
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 23));
    ns[1] = 1;
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 24));
    ns[1] = 0;
    ns[24] = 1; /* an option of no length, one that ends beyond, one of a single byte */
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 32));
    ns[25] = 2;
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 32));
    ns[25] = 1;
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 25));
    ns[26] = 1; /* a group's MAC */
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 32));
    ns[26] = 2;
    BAD(make_icmp6(f, 0, "::", "ff02::1:ff01:1", 255, ns, 32)); /* a probe names no MAC */
    BAD(make_icmp6(f, 0, "::", "10.1.0.1", 255, ns, 24));        /* and asks the group */
    memset(ns + 8, 0xff, 16);
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, ns, 24));
    uint8_t na[32] = {136, 0, 0, 0, 0x40};
    memcpy(na + 8, &other, 16);
    BAD(make_icmp6(f, 0, "10.1.0.7", "ff02::1", 255, na, 24)); /* solicited by nobody */
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 64, na, 24));
    BAD(make_icmp6(f, 0, "::", "10.1.0.1", 255, na, 24));
    memcpy(na + 8, &target, 16); /* ours */
    BAD(make_icmp6(f, 0, "10.1.0.7", "10.1.0.1", 255, na, 24));
    uint8_t ra[24] = {134, 0, 0, 0, 64, 0, 7, 8};
    BAD(make_icmp6(f, 0, "10.1.0.7", "ff02::1", 255, ra, 16)); /* not from the link */
    BAD(make_icmp6(f, 0, ROUTER, "ff02::1", 254, ra, 16));
    BAD(make_icmp6(f, 0, ROUTER, "ff02::1", 255, ra, 15));
    ra[16] = 5;
    BAD(make_icmp6(f, 0, ROUTER, "ff02::1", 255, ra, 24));
    /* Cut by the end of the first mbuf: refused rather than read over the end. */
    int before = DROPS(nd_bad);
    wire_rx_mbuf(0, wire_mbuf(f, make_ns(f, 0, "10.1.0.7", "10.1.0.1", mac_peer), 70));
    assert_int_equal(DROPS(nd_bad), before + 1);
    /* IPv4 in IPv6's clothes gets no answer. */
    wire.n_tx = 0;
    wire_rx(0, f, make_ns(f, 0, "10.1.0.7", "::ffff:10.1.0.1", mac_peer));
    assert_int_equal(wire.n_tx, 0);
}

/* ---- advertisements: RFC 4861 7.2.5 ---- */

static void unasked_advertisements_only_update(void **state)
{
    (void)state;
    wire_rx(0, f, make_na(f, 0, "10.1.0.7", "ff02::1", 0x20, "10.1.0.7", mac_peer));
    assert_null(neigh_of("10.1.0.7"));
    emit("10.1.0.7");
    assert_int_equal(wire.n_tx, 1);
    assert_true(is_icmp6(&wire.tx[0], 135));
    assert_addr_at(&wire.tx[0], 38, "ff02::1:ff01:7");
    assert_addr_at(&wire.tx[0], 22, "10.1.0.1");
    assert_int_equal(wire.tx[0].data[5], 7); /* 33:33:ff:00:00:07 */
    answer("10.1.0.7", 0x60, mac_peer);
    assert_int_equal(wire.n_tx, 2);
    assert_memory_equal(wire.tx[1].data, mac_peer, 6);
    assert_int_equal(wire.tx[1].data[12], 0x86);
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_REACHABLE);
    /* Without override another MAC is doubted and not taken. */
    answer("10.1.0.7", 0, mac_other);
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_STALE);
    assert_memory_equal(neigh_of("10.1.0.7")->mac, mac_peer, 6);
    /* With it, it is. */
    wire_rx(0, f, make_na(f, 0, "10.1.0.7", "ff02::1", 0x20, "10.1.0.7", mac_other));
    assert_int_equal(neigh_of("10.1.0.7")->state, HR_NEIGH_STALE);
    assert_memory_equal(neigh_of("10.1.0.7")->mac, mac_other, 6);
    /* What is far away is no neighbour. */
    wire_rx(0, f, make_ns(f, 0, "2600::7", "10.1.0.1", mac_peer));
    assert_null(neigh_of("2600::7"));
}

static void news_reach_the_other_workers(void **state)
{
    (void)state;
    emit("10.1.0.7");
    answer("10.1.0.9", 0x60, mac_peer); /* another worker's question */
    assert_int_equal(wire.n_news, 1);
    assert_null(neigh_of("10.1.0.9"));
    struct hr_net_news news = wire.news;
    news.addr = addr_of("10.1.0.7");
    wire.n_tx = 0;
    hr_net_learn(wire.net, &news);
    hr_net_flush(wire.net);
    assert_int_equal(wire.n_tx, 1);
    assert_memory_equal(wire.tx[0].data, mac_peer, 6);
    assert_int_equal(wire.n_news, 1); /* not passed on twice */
}

/* ---- the first second ---- */

/* As after a start: 1 s of the wire's own has passed, the check goes on for some 0.1 s. */
static int fresh(void **state)
{
    if (wire_setup6(state) != 0)
        return -1;
    struct hr_net_config cfg = wire.net->cfg;
    hr_net_destroy(wire.net);
    if (hr_net_create(&cfg, &wire.net) != 0)
        return -1;
    wire_pass(1);
    return 0;
}

static void addresses_are_checked_then_announced(void **state)
{
    (void)state;
    hr_net_announce(wire.net);
    hr_net_flush(wire.net);
    /* Per port: memberships; then a probe for each of the 3 + 2 addresses. */
    assert_int_equal(wire.n_tx, 2 + 5);
    assert_int_equal(wire.tx[0].data[20], 0); /* hop-by-hop: router alert */
    assert_int_equal(wire.tx[0].data[54], 58);
    assert_int_equal(wire.tx[0].data[62], 143);
    assert_int_equal(wire.tx[0].data[69], 3);
    assert_int_equal(wire.tx[0].data[21], 1);
    assert_addr_at(&wire.tx[0], 22, "::");
    assert_addr_at(&wire.tx[0], 74, "ff02::1:ff01:1");
    for (int i = 1; i < 7; i++) {
        if (i == 4)
            continue; /* port 1's memberships */
        assert_true(is_icmp6(&wire.tx[i], 135));
        assert_addr_at(&wire.tx[i], 22, "::");
        assert_int_equal(wire.tx[i].len, 54 + 24);
    }
    wire.n_tx = 0;
    /* Meanwhile they are not used. */
    struct hr_addr remote = addr_of("10.1.0.7"), got;
    assert_int_equal(hr_net_source(wire.net, &remote, &got), HR_E_NOT_FOUND);
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 1, 2, 0));
    assert_int_equal(DROPS(ip_tentative), 1);
    wire_rx(0, f, make_ns(f, 0, "10.1.0.7", "10.1.0.1", mac_peer));
    assert_int_equal(wire.n_tx, 0);
    wire_pass(2 * S);
    /* An announcement each, and the memberships again, now from an address. */
    assert_int_equal(wire.n_tx, 5 + 2);
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            continue;
        assert_true(is_icmp6(&wire.tx[i], 136));
        assert_int_equal(wire.tx[i].data[58], 0x20);
        assert_addr_at(&wire.tx[i], 38, "ff02::1");
    }
    assert_addr_at(&wire.tx[3], 22, "fe80::ff:fe00:101");
    assert_int_equal(hr_net_source(wire.net, &remote, &got), 0);
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 1, 2, 0));
    assert_int_equal(wire.n_tcp, 1);
    /* Memberships are told again and again. */
    wire.n_tx = 0;
    wire_pass(61 * S);
    assert_int_equal(wire.n_tx, 2);
    wire_pass(61 * S);
    assert_int_equal(wire.n_tx, 4);
}

static void duplicate_found(const void *frame, uint32_t len)
{
    struct hr_addr remote = addr_of("10.1.0.7"), got, want = addr_of("10.1.0.2");
    wire_rx(0, frame, len);
    assert_int_equal(wire.stats.counters[HR_CTR_addr_duplicate], 1);
    assert_int_equal(wire.n_news, 1);
    assert_true(wire.news.heard & HR_HEARD_DUPLICATE);
    wire_pass(2 * S);
    /* It stays unused, also for neighbour discovery; the other one works. */
    wire.n_tx = 0;
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 1, 2, 0));
    assert_int_equal(DROPS(ip_tentative), 1);
    wire_rx(0, f, make_ns(f, 0, "10.1.0.7", "10.1.0.1", mac_peer));
    assert_int_equal(wire.n_tx, 0);
    assert_int_equal(hr_net_sources(wire.net, &remote, &got, 1), 1);
    assert_true(hr_addr_equal(&got, &want));
}

static void duplicate_by_its_owner(void **state)
{
    (void)state;
    duplicate_found(f, make_na(f, 0, "10.1.0.1", "ff02::1", 0x20, "10.1.0.1", mac_other));
}

static void duplicate_by_another_that_checks(void **state)
{
    (void)state;
    duplicate_found(f, make_ns(f, 0, "::", "10.1.0.1", NULL));
}

static void duplicate_heard_by_another_worker(void **state)
{
    (void)state;
    struct hr_net_news news = {.addr = addr_of("10.1.0.1"), .heard = HR_HEARD_DUPLICATE};
    hr_net_learn(wire.net, &news);
    wire_pass(2 * S);
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 1, 2, 0));
    assert_int_equal(DROPS(ip_tentative), 1);
    /* Later claims change nothing: who has the address defends it. */
    news.addr = addr_of("10.1.0.2");
    hr_net_learn(wire.net, &news);
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.2", 1, 2, 0));
    assert_int_equal(wire.n_tcp, 1);
}

/* A port that hears itself is no other host. */
static void own_probe_come_back(void **state)
{
    (void)state;
    uint32_t len = make_ns(f, 0, "::", "10.1.0.1", NULL);
    memcpy(f + 6, wire.ports[0].mac.addr_bytes, 6);
    wire_rx(0, f, len);
    wire_rx(0, f, make_na(f, 0, "10.1.0.7", "ff02::1", 0x20, "10.1.0.1", wire.ports[0].mac.addr_bytes));
    assert_int_equal(wire.stats.counters[HR_CTR_addr_duplicate], 0);
    wire_pass(2 * S);
    wire_rx(0, f, make_tcp(f, 0, "10.1.0.7", "10.1.0.1", 1, 2, 0));
    assert_int_equal(wire.n_tcp, 1);
}

/* ---- routers ---- */

static void advert(const char *router, uint16_t lifetime, uint32_t mtu, const uint8_t mac[6])
{
    uint8_t ra[32] = {134, 0, 0, 0, 64, 0, (uint8_t)(lifetime >> 8), (uint8_t)lifetime};
    ra[16] = 1;
    ra[17] = 1;
    memcpy(ra + 18, mac, 6);
    ra[24] = 5;
    ra[25] = 1;
    for (int i = 0; i < 4; i++)
        ra[28 + i] = (uint8_t)(mtu >> (24 - 8 * i));
    wire_rx(0, f, make_icmp6(f, 0, router, "ff02::1", 255, ra, mtu != 0 ? 32 : 24));
}

static int routed(void **state)
{
    if (wire_setup6(state) != 0)
        return -1;
    wire.ports[0].n_routes--; /* no static gateway: ::/0 is last */
    wire.ports[0].accept_ra = true;
    wire.ports[1].accept_ra = false;
    return 0;
}

/* The MAC that a packet to the world goes to; NULL if none is sent. */
static const uint8_t *way_out(void)
{
    wire.n_tx = 0;
    emit("2600::1");
    for (uint32_t i = 0; i < wire.n_tx; i++) {
        if (wire.tx[i].data[20] == 6)
            return wire.tx[i].data;
    }
    return NULL;
}

static void advertised_router_and_mtu(void **state)
{
    (void)state;
    struct hr_addr local = addr_of("10.1.0.1"), remote = addr_of("2600::1");
    assert_null(way_out());
    assert_int_equal(DROPS(ip_no_route), 1);
    advert(ROUTER, 1800, 1400, mac_gw);
    assert_int_equal(wire.stats.counters[HR_CTR_nd_routers], 1);
    assert_int_equal(wire.n_news, 1);
    assert_memory_equal(way_out(), mac_gw, 6);
    assert_int_equal(hr_net_path_mss(wire.net, &local, &remote), 1340);
    advert(ROUTER, 1800, 1279, mac_gw); /* no IPv6 link has less, and ours has not more than 1500 */
    advert(ROUTER, 1800, 1501, mac_gw);
    assert_int_equal(hr_net_path_mss(wire.net, &local, &remote), 1340);
    advert(ROUTER, 1800, 1500, mac_gw);
    assert_int_equal(hr_net_path_mss(wire.net, &local, &remote), 1440);
    /* Another worker that is told the same can do the same. */
    struct hr_net_news news = wire.news;
    struct hr_net_config cfg = wire.net->cfg;
    hr_net_destroy(wire.net);
    assert_int_equal(hr_net_create(&cfg, &wire.net), 0);
    wire_pass(1);
    wire_pass(2 * S);
    hr_net_learn(wire.net, &news);
    assert_null(way_out()); /* it knows the router, and asks for its MAC */
    assert_int_equal(DROPS(ip_no_route), 1);
    assert_true(is_icmp6(&wire.tx[0], 135));
    assert_addr_at(&wire.tx[0], 62, ROUTER);
    /* Its time runs out unless it is heard again. */
    wire_pass(1700 * S);
    advert(ROUTER, 1800, 0, mac_gw);
    wire_pass(1700 * S);
    assert_null(way_out()); /* its MAC was forgotten, not the router */
    assert_int_equal(DROPS(ip_no_route), 1);
    wire_pass(101 * S);
    assert_null(way_out());
    assert_int_equal(DROPS(ip_no_route), 2);
}

static void routers_retire_and_fail(void **state)
{
    (void)state;
    advert(ROUTER, 1800, 0, mac_gw);
    advert("fe80::2", 1800, 0, mac_other);
    assert_memory_equal(way_out(), mac_gw, 6);
    /* The first dies: probes go unanswered, then the second is used. */
    for (int i = 0; i < 40 * 4; i++) {
        wire_pass(S / 4);
        answer("fe80::2", 0xe0, mac_other);
        emit("2600::1");
        wire.n_tx = 0;
        if (neigh_of(ROUTER)->state == HR_NEIGH_FAILED)
            break;
    }
    assert_int_equal(neigh_of(ROUTER)->state, HR_NEIGH_FAILED);
    assert_memory_equal(way_out(), mac_other, 6);
    /* It says that it stops being one. */
    advert("fe80::2", 0, 0, mac_other);
    advert(ROUTER, 1800, 0, mac_gw);
    assert_memory_equal(way_out(), mac_gw, 6);
    /* It becomes a host: an advertisement without the router flag. */
    answer(ROUTER, 0x60, mac_gw);
    assert_null(way_out());
    /* More routers than fit displace none. */
    for (int i = 1; i <= HR_NET_ROUTERS + 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "fe80::%d", i);
        advert(name, 100, 0, mac_other);
    }
    assert_int_equal(wire.net->advertised[0].n, HR_NET_ROUTERS);
}

static void router_advertisements_are_not_wanted(void **state)
{
    (void)state;
    wire.ports[0].accept_ra = false;
    advert(ROUTER, 1800, 1400, mac_gw);
    assert_int_equal(DROPS(nd_ignored), 1);
    assert_int_equal(wire.n_news, 0);
    assert_null(way_out());
}

static void routers_are_solicited_thrice(void **state)
{
    (void)state;
    struct hr_net_config cfg = wire.net->cfg;
    hr_net_destroy(wire.net);
    assert_int_equal(hr_net_create(&cfg, &wire.net), 0);
    wire_pass(1);
    hr_net_announce(wire.net);
    hr_net_flush(wire.net);
    uint32_t asked = 0;
    for (int i = 0; i < 40; i++) {
        wire.n_tx = 0;
        wire_pass(S);
        for (uint32_t k = 0; k < wire.n_tx; k++) {
            if (is_icmp6(&wire.tx[k], 133)) {
                asked++;
                assert_addr_at(&wire.tx[k], 22, "fe80::ff:fe00:101");
                assert_addr_at(&wire.tx[k], 38, "ff02::2");
            }
        }
    }
    assert_int_equal(asked, 3);
}

int main(void)
{
#define T(fn, setup) {#fn, fn, setup, wire_teardown, NULL}
    const struct CMUnitTest tests[] = {
        T(solicitation_is_answered, wire_setup6), T(probe_for_our_address_is_answered, wire_setup6),
        T(malformed, wire_setup6), T(unasked_advertisements_only_update, wire_setup6),
        T(news_reach_the_other_workers, wire_setup6), T(addresses_are_checked_then_announced, fresh),
        T(duplicate_by_its_owner, fresh), T(duplicate_by_another_that_checks, fresh),
        T(duplicate_heard_by_another_worker, fresh), T(own_probe_come_back, fresh),
        T(advertised_router_and_mtu, routed), T(routers_retire_and_fail, routed),
        T(router_advertisements_are_not_wanted, routed), T(routers_are_solicited_thrice, routed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
