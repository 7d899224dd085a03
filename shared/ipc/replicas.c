#include "shared/ipc/replicas.h"

#include <stddef.h>
#include <string.h>

#include "shared/base/siphash.h"

_Static_assert(HR_REPLICAS_PLACES >= 4 * HR_REPLICAS_MAX_TOPICS, "half of the places stay free, so look-ups end soon");
_Static_assert((HR_REPLICAS_PLACES & (HR_REPLICAS_PLACES - 1)) == 0, "a mask");

/* Both ends compute the same. Who finds two names of one key misleads reads of them alone: to a broker that has no such
 * partition, and back to the leader after its answer. */
static const uint8_t name_key[16] = "replicas by name", id_key[16] = "replicas by id..";

uint64_t hr_replicas_key_of_name(const void *name, uint32_t len)
{
    return hr_siphash(name_key, name, len);
}

uint64_t hr_replicas_key_of_id(const uint8_t id[16])
{
    return hr_siphash(id_key, id, 16);
}

/* The place of the key, or the free one where it would stand. A full table ends the search, too. */
static uint32_t place_of(const struct hr_replicas *map, uint64_t key)
{
    uint32_t at = (uint32_t)key & (HR_REPLICAS_PLACES - 1);

    for (uint32_t i = 0; i < HR_REPLICAS_PLACES && map->places[at].topic != 0 && map->places[at].key != key; i++)
        at = (at + 1) & (HR_REPLICAS_PLACES - 1);
    return at;
}

const struct hr_replicas_topic *hr_replicas_topic(const struct hr_replicas *map, uint64_t key)
{
    const struct hr_replicas_place *place = &map->places[place_of(map, key)];

    return place->topic != 0 && place->key == key ? &map->topics[place->topic - 1] : NULL;
}

const struct hr_replicas_partition *hr_replicas_partition(const struct hr_replicas *map,
                                                          const struct hr_replicas_topic *topic, int32_t partition)
{
    return partition >= 0 && (uint32_t)partition < topic->n ? &map->partitions[topic->first + (uint32_t)partition]
                                                            : NULL;
}

static bool broker_ok(const struct hr_replicas *map, uint16_t number)
{
    return number < map->n_brokers || number == HR_REPLICAS_NO_BROKER;
}

static const char *check_topics(const struct hr_replicas *map)
{
    for (uint32_t i = 0; i < map->n_topics; i++) {
        const struct hr_replicas_topic *t = &map->topics[i];
        if (t->first > map->n_partitions || t->n > map->n_partitions - t->first)
            return "topic: partitions out of range";
        if (t->reads >= HR_ZONE_READS_MAX)
            return "topic: kind of reads unknown";
    }
    for (uint32_t i = 0; i < HR_REPLICAS_PLACES; i++)
        if (map->places[i].topic > map->n_topics)
            return "table of topics: a number is out of range";
    return NULL;
}

static const char *check(const struct hr_replicas *map)
{
    if (map->magic != HR_REPLICAS_MAGIC)
        return "magic number wrong";
    if (map->size != sizeof(*map))
        return "size differs: built from other headers";
    if (map->generation == 0)
        return "generation is 0";
    if (map->n_brokers > HR_REPLICAS_MAX_BROKERS || map->n_topics > HR_REPLICAS_MAX_TOPICS ||
        map->n_partitions > HR_REPLICAS_MAX_PARTITIONS)
        return "too many brokers, topics or partitions";
    for (uint32_t i = 0; i < map->n_brokers; i++)
        if (map->brokers[i].up > 1 || map->brokers[i].node_id < 0)
            return "broker: node id negative, or flag neither 0 nor 1";
    for (uint32_t i = 0; i < map->n_partitions; i++) {
        const struct hr_replicas_partition *p = &map->partitions[i];
        bool ok = broker_ok(map, p->leader);
        for (uint32_t k = 0; k < HR_REPLICAS_ISR_MAX; k++)
            ok &= broker_ok(map, p->isr[k]);
        if (!ok)
            return "partition: a broker's number is out of range";
    }
    return check_topics(map);
}

int hr_replicas_validate(const struct hr_replicas *map, const char **ret_why)
{
    const char *why = check(map);

    if (why == NULL)
        return 0;
    *ret_why = why;
    return HR_E_INVALID;
}

void hr_replicas_init(struct hr_replicas *map)
{
    /* All of it: maps are compared as bytes. */
    memset(map, 0, sizeof(*map));
    map->magic = HR_REPLICAS_MAGIC;
    map->size = sizeof(*map);
}

uint16_t hr_replicas_add_broker(struct hr_replicas *map, int32_t node_id)
{
    if (map->n_brokers == HR_REPLICAS_MAX_BROKERS)
        return HR_REPLICAS_NO_BROKER;
    map->brokers[map->n_brokers] = (struct hr_replicas_broker){.node_id = node_id, .fetch_max = -1};
    return (uint16_t)map->n_brokers++;
}

struct hr_replicas_partition *hr_replicas_add_topic(struct hr_replicas *map, const char *name, const uint8_t *id,
                                                    uint32_t n, enum hr_zone_reads reads)
{
    uint64_t by_name = hr_replicas_key_of_name(name, (uint32_t)strlen(name));
    uint64_t by_id = id ? hr_replicas_key_of_id(id) : by_name;

    if (map->n_topics == HR_REPLICAS_MAX_TOPICS || n > HR_REPLICAS_MAX_PARTITIONS - map->n_partitions ||
        map->places[place_of(map, by_name)].topic != 0 || map->places[place_of(map, by_id)].topic != 0) {
        map->n_left_out += n;
        return NULL;
    }
    struct hr_replicas_partition *first = &map->partitions[map->n_partitions];
    map->topics[map->n_topics++] =
        (struct hr_replicas_topic){.first = map->n_partitions, .n = n, .reads = (uint8_t)reads};
    map->n_partitions += n;
    map->places[place_of(map, by_name)] = (struct hr_replicas_place){.key = by_name, .topic = map->n_topics};
    map->places[place_of(map, by_id)] = (struct hr_replicas_place){.key = by_id, .topic = map->n_topics};
    memset(first, 0xff, n * sizeof(*first)); /* HR_REPLICAS_NO_BROKER throughout */
    return first;
}
