/* Look-ups against a plain search through all networks, and maps that must be refused. */
#include "shared/ipc/zones.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hr_zone_map map;

static struct hr_addr addr_of(const char *text)
{
    struct hr_addr addr;
    if (!hr_addr_parse(text, &addr))
        fail_msg("%s", text);
    return addr;
}

/* Appends; callers keep the order. */
static void add(uint32_t scope, const char *net, uint8_t prefix, uint8_t zone, uint16_t outer)
{
    struct hr_addr addr = addr_of(net);
    if (map.scope[scope].n++ == 0)
        map.scope[scope].first = map.n_nets;
    map.nets[map.n_nets++] =
        (struct hr_zone_net){.addr = addr, .bits = hr_addr_prefix_bits(&addr, prefix), .zone = zone, .outer = outer};
}

static int set_up(void **state)
{
    memset(&map, 0, sizeof(map));
    map.n = 6;
    map.own = 5;
    for (int i = 1; i < 6; i++)
        snprintf(map.name[i], sizeof(map.name[i]), "z%d", i);
    add(0, "10.1.0.0", 16, 4, 0);
    add(HR_ZONE_GLOBAL, "::", 0, 3, 0);
    add(HR_ZONE_GLOBAL, "10.0.0.0", 8, 1, 1);
    add(HR_ZONE_GLOBAL, "10.1.0.0", 16, 2, 2);
    add(HR_ZONE_GLOBAL, "10.1.1.1", 32, 3, 3);
    add(HR_ZONE_GLOBAL, "10.1.2.0", 24, 1, 3);
    add(HR_ZONE_GLOBAL, "2600:1::", 32, 1, 1);
    add(HR_ZONE_GLOBAL, "2600:1:2::", 48, 2, 6);
    return 0;
}

static void check_client(uint32_t listener, const char *addr, int zone)
{
    struct hr_addr a = addr_of(addr);
    if (hr_zone_of_client(&map, listener, &a) != zone)
        fail_msg("%s: %d, not %d", addr, hr_zone_of_client(&map, listener, &a), zone);
}

static void the_narrowest_network_decides(void **state)
{
    assert_null(hr_zone_map_check(&map));
    check_client(1, "10.0.0.1", 1);
    check_client(1, "10.255.255.255", 1);
    check_client(1, "10.1.0.0", 2);
    check_client(1, "10.1.1.0", 2);
    check_client(1, "10.1.1.1", 3);
    check_client(1, "10.1.1.2", 2);
    check_client(1, "10.1.2.255", 1);
    check_client(1, "10.1.3.0", 2);
    check_client(1, "2600:1:1::1", 1);
    check_client(1, "2600:1:2::1", 2);
    check_client(1, "2600:2::", 3);
    /* Networks of IPv6 hold no IPv4 address, not even ::/0. */
    check_client(1, "11.0.0.1", 5);
    check_client(1, "9.255.255.255", 5);
}

static void a_listeners_networks_come_first(void **state)
{
    check_client(0, "10.1.1.1", 4);
    check_client(0, "10.0.0.1", 1);
    check_client(0, "11.0.0.1", 5);
    check_client(HR_ZONE_GLOBAL + 7, "10.1.1.1", 3); /* no such listener */
}

static void hostile_maps_are_refused(void **state)
{
#define WRONG(change)                                                                                        \
    do {                                                                                                     \
        set_up(NULL);                                                                                        \
        change;                                                                                              \
        if (hr_zone_map_check(&map) == NULL)                                                                 \
            fail_msg("accepted: " #change);                                                                  \
    } while (0)
    WRONG(map.n = 0);
    WRONG(map.n = HR_ZONES_MAX + 1);
    WRONG(map.own = 6);
    WRONG(memset(map.name[2], 'x', sizeof(map.name[2])));
    WRONG(memset(map.name[15], 'x', sizeof(map.name[15])));
    WRONG(map.name[3][0] = '\0');
    WRONG(map.name[0][0] = 'x');
    WRONG(map.name[6][0] = 'x');
    WRONG(map.n_nets = HR_ZONE_NETS_MAX + 1);
    WRONG(map.scope[HR_ZONE_GLOBAL].n++);
    WRONG(map.scope[3].first = UINT16_MAX);
    WRONG(map.scope[3].n = UINT16_MAX);
    WRONG(map.nets[2].bits = 129);
    WRONG(map.nets[2].bits = 255);
    WRONG(map.nets[2].zone = 6);
    WRONG(map.nets[2].addr.b[15] = 1);
    WRONG(map.nets[3] = map.nets[4]);
    WRONG(map.nets[2].addr.b[12] = 11);
    WRONG(map.nets[2].outer = 3);
    WRONG(map.nets[2].outer = UINT16_MAX);
    WRONG(map.nets[6].outer = 2);
    WRONG(map.nets[1].outer = 1);
#undef WRONG
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_narrowest_network_decides, set_up),
        cmocka_unit_test_setup(a_listeners_networks_come_first, set_up),
        cmocka_unit_test_setup(hostile_maps_are_refused, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
