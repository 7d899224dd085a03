/* `headracectl zones`: the bytes between zones, what they cost, and whose they are. */
#include "controlplane/admin/zones_json.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/attach/attach.h"
#include "controlplane/daemon/daemon.h"
#include "controlplane/metadata/metadata.h"
#include "controlplane/policy/publisher.h"
#include "controlplane/zones/cost.h"
#include "controlplane/zones/tops.h"
#include "controlplane/zones/totals.h"
#include "shared/base/clock.h"
#include "shared/ipc/link.h"

#define WORST   20

static double per_s(uint64_t added, double seconds)
{
    return seconds > 0 ? (double)added / seconds : 0;
}

static json_t *matrix_json(const struct hr_zone_map *map, const struct hr_zone_totals *now,
                           const struct hr_zone_totals *added, double seconds)
{
    json_t *array = json_array();

    for (uint8_t c = 0; c < map->n; c++) {
        for (uint8_t b = 0; b < map->n; b++) {
            for (int k = 0; k < HR_ZONE_CLASS_MAX; k++) {
                uint64_t up = now->bytes[c][b][HR_ZONE_UP][k], down = now->bytes[c][b][HR_ZONE_DOWN][k];

                if (up == 0 && down == 0)
                    continue;
                json_array_append_new(
                    array, json_pack("{s:o, s:o, s:s, s:I, s:I, s:f, s:f}", "client", hr_zones_name(map, c), "broker",
                                     hr_zones_name(map, b), "class", hr_zone_class_name((enum hr_zone_class)k), "up",
                                     (json_int_t)up, "down", (json_int_t)down, "up_per_s",
                                     per_s(added->bytes[c][b][HR_ZONE_UP][k], seconds), "down_per_s",
                                     per_s(added->bytes[c][b][HR_ZONE_DOWN][k], seconds)));
            }
        }
    }
    return array;
}

static json_t *steered_json(const struct hr_zone_map *map, const struct hr_zone_totals *now)
{
    json_t *array = json_array();

    for (uint8_t c = 0; c < map->n; c++) {
        for (uint8_t asked = 0; asked < map->n; asked++) {
            for (uint8_t by = 0; by < map->n; by++) {
                const uint64_t *n = now->steered[c][asked][by];

                if (n[HR_ZONE_UP] + n[HR_ZONE_DOWN] > 0)
                    json_array_append_new(array, json_pack("{s:o, s:o, s:o, s:I, s:I}", "client", hr_zones_name(map, c),
                                                           "asked", hr_zones_name(map, asked), "answered",
                                                           hr_zones_name(map, by), "up", (json_int_t)n[HR_ZONE_UP], "down",
                                                           (json_int_t)n[HR_ZONE_DOWN]));
            }
        }
    }
    return array;
}

static json_t *links_json(const struct hr_zone_map *map, const struct hr_zone_totals *now)
{
    static const char *const peers[] = {
#define X(name, text) text,
        HR_ZONE_PEERS(X)
#undef X
    };
    json_t *array = json_array();

    for (int peer = 0; peer < HR_ZONE_PEER_MAX; peer++) {
        for (uint8_t z = 0; z < map->n; z++) {
            const struct hr_zone_link *l = now->link[peer][z];
            uint64_t rx = l[0].rx_packets + l[1].rx_packets, tx = l[0].tx_packets + l[1].tx_packets;

            if (rx == 0 && tx == 0)
                continue;
            json_array_append_new(
                array,
                json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "peer", peers[peer], "zone", hr_zones_name(map, z),
                          "rx_packets", (json_int_t)rx, "rx_bytes",
                          (json_int_t)hr_zone_link_rx(now, (enum hr_zone_peer)peer, z), "tx_packets", (json_int_t)tx,
                          "tx_bytes", (json_int_t)hr_zone_link_tx(now, (enum hr_zone_peer)peer, z),
                          "again_packets", (json_int_t)(l[0].again_packets + l[1].again_packets), "again_bytes",
                          (json_int_t)(l[0].again_bytes + l[1].again_bytes)));
        }
    }
    return array;
}

static json_t *cost_json(const struct hr_config *config, const struct hr_zone_map *map,
                         const struct hr_zone_totals *totals, double seconds)
{
    struct hr_zone_cost cost;
    double all;
    json_t *obj;

    hr_zone_cost(config, map, totals, &cost);
    all = cost.payload + cost.overhead;
    obj = json_pack("{s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "dollars", all, "payload_dollars", cost.payload,
                    "overhead_dollars", cost.overhead, "direct_dollars", cost.direct, "bytes", (json_int_t)cost.bytes,
                    "crossing_bytes", (json_int_t)cost.crossing, "unknown_bytes", (json_int_t)cost.unknown);
    if (seconds > 0) {
        json_object_set_new(obj, "seconds", json_real(seconds));
        json_object_set_new(obj, "per_hour", json_real(all / seconds * HR_ZONES_HOUR_S));
        json_object_set_new(obj, "per_month", json_real(all / seconds * HR_ZONES_MONTH_S));
        json_object_set_new(obj, "direct_per_hour", json_real(cost.direct / seconds * HR_ZONES_HOUR_S));
        json_object_set_new(obj, "direct_per_month", json_real(cost.direct / seconds * HR_ZONES_MONTH_S));
    }
    return obj;
}

/* Some of those with most dollars, then with most bytes. */
struct rank {
    const struct hr_zone_who *who;
    double dollars;
    uint64_t up, down, crossing;
};

static int rank_order(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    uint64_t xb = x->up + x->down, yb = y->up + y->down;

    if (x->dollars != y->dollars)
        return x->dollars < y->dollars ? 1 : -1;
    return xb < yb ? 1 : xb > yb ? -1 : strcmp(x->who->name, y->who->name);
}

static struct rank rank_of(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_who *who)
{
    struct rank r = {.who = who};

    for (uint8_t c = 0; c < map->n; c++) {
        for (uint8_t b = 0; b < map->n; b++) {
            const uint64_t *n = who->bytes[c][b];
            uint64_t both = n[HR_ZONE_UP] + n[HR_ZONE_DOWN];
            double price = hr_zone_path_price(config, map, c, b);

            r.up += n[HR_ZONE_UP];
            r.down += n[HR_ZONE_DOWN];
            r.crossing += price > 0 ? both : 0;
            r.dollars += (double)both * price;
        }
    }
    return r;
}

static json_t *worst_json(const struct hr_config *config, const struct hr_zone_map *map, const struct hr_zone_whos *whos)
{
    struct rank *ranks = calloc(whos->n + 1, sizeof(*ranks));
    json_t *array = json_array();

    for (uint32_t i = 0; ranks && i < whos->n; i++)
        ranks[i] = rank_of(config, map, &whos->who[i]);
    if (ranks && whos->n > 1)
        qsort(ranks, whos->n, sizeof(*ranks), rank_order);
    for (uint32_t i = 0; ranks && i < whos->n && i < WORST; i++)
        json_array_append_new(array, json_pack("{s:o, s:I, s:I, s:I, s:I, s:f}", "name", hr_zones_text(ranks[i].who->name), "up",
                                               (json_int_t)ranks[i].up, "down", (json_int_t)ranks[i].down, "crossing",
                                               (json_int_t)ranks[i].crossing, "error", (json_int_t)ranks[i].who->error,
                                               "dollars", ranks[i].dollars));
    free(ranks);
    return array;
}

enum table { TOPICS, CLIENTS, PRINCIPALS };

void hr_zones_read_topics(struct hr_daemon *d, struct hr_zone_whos *whos)
{
    for (uint32_t w = 0; w < hr_daemon_workers(d); w++)
        hr_zone_whos_add(whos, hr_region_zone_stats(hr_attach_client_region(d->attach), w)->topics, HR_ZONE_TOPICS,
                         hr_metadata_cluster(d->metadata));
}

static json_t *table_json(struct hr_daemon *d, const struct hr_zone_map *map, enum table table)
{
    struct hr_zone_whos whos = {0};
    json_t *array;

    for (uint32_t w = 0; table != TOPICS && w < hr_daemon_workers(d); w++) {
        const struct hr_zone_stats *stats = hr_region_zone_stats(hr_attach_client_region(d->attach), w);

        hr_zone_whos_add(&whos, table == CLIENTS ? stats->clients : stats->principals,
                         table == CLIENTS ? HR_ZONE_CLIENTS : HR_ZONE_PRINCIPALS, NULL);
    }
    if (table == TOPICS)
        hr_zones_read_topics(d, &whos);
    if (whos.nameless > 0) /* made since the last refresh, perhaps */
        hr_metadata_hint(d->metadata);
    array = worst_json(d->config, map, &whos);
    hr_zone_whos_free(&whos);
    return array;
}

void hr_zones_add_bytes(struct hr_daemon *d, const struct hr_zone_map *map, json_t *obj)
{
    struct hr_zone_totals *now = malloc(sizeof(*now)), *added = malloc(sizeof(*added));
    double seconds;

    if (now && added && hr_zone_totals_get(d->zone_totals, now, added, &seconds)) {
        const struct hr_region *region = hr_attach_client_region(d->attach);

        json_object_set_new(obj, "matrix", matrix_json(map, now, added, seconds));
        json_object_set_new(obj, "steered", steered_json(map, now));
        json_object_set_new(obj, "links", links_json(map, now));
        json_object_set_new(obj, "since_start", cost_json(d->config, map, now,
                                                          (double)(hr_loop_now(d->loop) - region->started_us) /
                                                              (double)HR_US_PER_S));
        json_object_set_new(obj, "now", cost_json(d->config, map, added, seconds));
        json_object_set_new(obj, "topics", table_json(d, map, TOPICS));
        json_object_set_new(obj, "clients", table_json(d, map, CLIENTS));
        json_object_set_new(obj, "principals", table_json(d, map, PRINCIPALS));
        json_object_set_new(obj, "price_per_gb", json_real(d->config->zones.price_per_gb));
    }
    free(now);
    free(added);
}
