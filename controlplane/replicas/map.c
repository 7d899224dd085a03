#include "controlplane/replicas/map.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static int by_id(const void *node_id, const void *broker)
{
    int32_t a = *(const int32_t *)node_id, b = ((const struct hr_replicas_broker *)broker)->node_id;

    return a < b ? -1 : a > b;
}

static uint16_t number_of(const struct hr_replicas *map, int32_t node_id)
{
    const struct hr_replicas_broker *b = bsearch(&node_id, map->brokers, map->n_brokers, sizeof(*b), by_id);

    return b ? (uint16_t)(b - map->brokers) : HR_REPLICAS_NO_BROKER;
}

/* Canonical text of a UUID. False: it is none. */
static bool parse_id(const char *text, uint8_t id[16])
{
    uint32_t n = 0;

    for (; *text && n < 32; text++) {
        const char *digits = "0123456789abcdef", *at = strchr(digits, *text | 0x20);

        if (*text == '-')
            continue;
        if (!at)
            return false;
        id[n / 2] = (uint8_t)(n % 2 ? id[n / 2] << 4 | (at - digits) : at - digits);
        n++;
    }
    return n == 32 && !*text;
}

static enum hr_zone_reads reads_of(const struct hr_config *config, const char *topic)
{
    for (uint32_t i = 0; i < config->zones.n_reads; i++) {
        if (fnmatch(config->zones.reads[i].topic, topic, 0) == 0)
            return (enum hr_zone_reads)config->zones.reads[i].reads;
    }
    return HR_ZONE_READS_NONE;
}

static void fill(const struct hr_replicas *map, const struct hr_cluster_partition *from, struct hr_replicas_partition *to)
{
    uint32_t n = 0;

    to->leader = number_of(map, from->leader);
    for (uint32_t i = 0; i < from->n_isr && n < HR_REPLICAS_ISR_MAX; i++) {
        uint16_t broker = number_of(map, from->isr[i]);

        if (broker != HR_REPLICAS_NO_BROKER && broker != to->leader)
            to->isr[n++] = broker;
    }
}

static void add_topic(const struct hr_config *config, const struct hr_cluster_topic *topic, struct hr_replicas *map)
{
    struct hr_replicas_partition *partitions;
    uint32_t n = 0;
    uint8_t id[16];

    /* Indices count from 0 without gaps, but it is a broker that says so. */
    for (uint32_t i = 0; i < topic->n_partitions; i++) {
        if (topic->partitions[i].index >= 0 && (uint32_t)topic->partitions[i].index < topic->n_partitions)
            n = topic->n_partitions;
    }
    if (!topic->name[0] || topic->error != 0 || n == 0)
        return;
    partitions = hr_replicas_add_topic(map, topic->name, parse_id(topic->id, id) ? id : NULL, n,
                                       reads_of(config, topic->name));
    for (uint32_t i = 0; partitions && i < n; i++) {
        int32_t index = topic->partitions[i].index;

        if (index >= 0 && (uint32_t)index < n)
            fill(map, &topic->partitions[i], &partitions[index]);
    }
}

void hr_replicas_build(const struct hr_config *config, const struct hr_cluster *cluster, const struct hr_probes *probes,
                       struct hr_replicas *map)
{
    hr_replicas_init(map);
    for (uint32_t i = 0; i < cluster->n_brokers; i++) { /* sorted by id */
        const struct hr_cluster_broker *from = &cluster->brokers[i];
        uint16_t number = hr_replicas_add_broker(map, from->id);

        if (number == HR_REPLICAS_NO_BROKER)
            break;
        map->brokers[number].up = !from->fenced && hr_probes_up(probes, from->id, &map->brokers[number].fetch_max);
    }
    for (uint32_t i = 0; i < cluster->n_topics; i++)
        add_topic(config, &cluster->topics[i], map);
}
