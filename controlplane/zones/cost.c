#include "controlplane/zones/cost.h"

#include <string.h>

#define BYTES_PER_GB 1e9

static bool is(const struct hr_config *config, uint8_t named, const char *name)
{
    return strcmp(config->zones.names[named], name) == 0;
}

double hr_zone_price(const struct hr_config *config, const struct hr_zone_map *map, uint8_t from, uint8_t to)
{
    const struct hr_config_zones *zones = &config->zones;
    double per_gb = zones->price_per_gb;

    if (from == to || from == HR_ZONE_NONE || to == HR_ZONE_NONE)
        return 0;
    for (uint32_t i = 0; i < zones->n_prices; i++) {
        const struct hr_config_zone_price *p = &zones->prices[i];

        if ((is(config, p->a, map->name[from]) && is(config, p->b, map->name[to])) ||
            (is(config, p->b, map->name[from]) && is(config, p->a, map->name[to])))
            per_gb = p->per_gb;
    }
    return 2 * per_gb / BYTES_PER_GB;
}

double hr_zone_path_price(const struct hr_config *config, const struct hr_zone_map *map, uint8_t client, uint8_t broker)
{
    return hr_zone_price(config, map, client, map->own) + hr_zone_price(config, map, map->own, broker);
}

static uint64_t headers(uint64_t bytes, uint64_t packets, int v6)
{
    return bytes + packets * (v6 ? 40 : 20);
}

uint64_t hr_zone_link_rx(const struct hr_zone_totals *t, enum hr_zone_peer peer, uint8_t zone)
{
    const struct hr_zone_link *link = t->link[peer][zone];

    return headers(link[0].rx_bytes, link[0].rx_packets, 0) + headers(link[1].rx_bytes, link[1].rx_packets, 1);
}

uint64_t hr_zone_link_tx(const struct hr_zone_totals *t, enum hr_zone_peer peer, uint8_t zone)
{
    const struct hr_zone_link *link = t->link[peer][zone];

    return headers(link[0].tx_bytes, link[0].tx_packets, 0) + headers(link[1].tx_bytes, link[1].tx_packets, 1);
}

static uint64_t cell(const struct hr_zone_totals *t, uint8_t client, uint8_t broker)
{
    uint64_t n = 0;

    for (int dir = 0; dir < HR_ZONE_DIRS; dir++)
        for (int k = 0; k < HR_ZONE_CLASS_MAX; k++)
            n += t->bytes[client][broker][dir][k];
    return n;
}

/* Steered bytes would have gone to the broker that was asked. */
static double steered(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_totals *t,
                      uint8_t client)
{
    double more = 0;

    for (uint8_t asked = 0; asked < map->n; asked++)
        for (uint8_t by = 0; by < map->n; by++)
            more += (double)(t->steered[client][asked][by][HR_ZONE_UP] + t->steered[client][asked][by][HR_ZONE_DOWN]) *
                    (hr_zone_price(config, map, client, asked) - hr_zone_price(config, map, client, by));
    return more;
}

void hr_zone_cost(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_totals *t,
                  struct hr_zone_cost *cost)
{
    double wire = 0;

    memset(cost, 0, sizeof(*cost));
    for (uint8_t c = 0; c < map->n; c++) {
        for (uint8_t b = 0; b < map->n; b++) {
            uint64_t n = cell(t, c, b);
            bool known = c != HR_ZONE_NONE && b != HR_ZONE_NONE && map->own != HR_ZONE_NONE;

            cost->bytes += n;
            cost->crossing += known && (c != map->own || b != map->own) ? n : 0;
            cost->unknown += known ? 0 : n;
            cost->payload += (double)n * hr_zone_path_price(config, map, c, b);
            cost->direct += (double)n * hr_zone_price(config, map, c, b);
        }
        cost->direct += steered(config, map, t, c);
    }
    for (int peer = 0; peer < HR_ZONE_PEER_MAX; peer++)
        for (uint8_t z = 0; z < map->n; z++)
            wire += (double)(hr_zone_link_rx(t, (enum hr_zone_peer)peer, z) + hr_zone_link_tx(t, (enum hr_zone_peer)peer, z)) *
                    hr_zone_price(config, map, map->own, z);
    cost->overhead = wire > cost->payload ? wire - cost->payload : 0;
}
