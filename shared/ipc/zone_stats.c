#include "shared/ipc/zone_stats.h"

#include <stddef.h>
#include <string.h>

const char *hr_zone_class_name(enum hr_zone_class klass)
{
    static const char *const names[] = {
#define X(name, text) text,
        HR_ZONE_CLASSES(X)
#undef X
    };
    return klass < HR_ZONE_CLASS_MAX ? names[klass] : "?";
}

_Static_assert(HR_ZONE_OTHER == 0, "what is not named");
const uint8_t hr_zone_classes[HR_ZONE_API_KEYS] = {
    [0] = HR_ZONE_PRODUCE,
    [1] = HR_ZONE_FETCH,
    [78] = HR_ZONE_FETCH, /* ShareFetch */
    [3] = HR_ZONE_METADATA,
    [18] = HR_ZONE_METADATA, /* ApiVersions */
    [60] = HR_ZONE_METADATA, /* DescribeCluster */
    [75] = HR_ZONE_METADATA, /* DescribeTopicPartitions */
    [8 ... 16] = HR_ZONE_GROUP, /* OffsetCommit to ListGroups */
    [68 ... 69] = HR_ZONE_GROUP,
    [76 ... 77] = HR_ZONE_GROUP,
    [79] = HR_ZONE_GROUP, /* ShareAcknowledge */
    [88 ... 89] = HR_ZONE_GROUP,
};

/* FNV-1a, spread by a multiplication: who fills one set on purpose makes its own entries inexact. */
static uint64_t hash(const struct hr_zone_moved *m, uint32_t len)
{
    uint64_t h = 0xcbf29ce484222325ULL ^ ((uint64_t)m->client << 24 | m->broker << 16 | m->dir << 8 | m->is_id);
    for (uint32_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)m->key[i]) * 0x100000001b3ULL;
    return (h ^ h >> 32) * 0x9e3779b97f4a7c15ULL;
}

static bool same(const struct hr_zone_top *e, const struct hr_zone_moved *m, uint32_t len)
{
    return e->bytes > 0 && e->len == len && e->client == m->client && e->broker == m->broker && e->dir == m->dir &&
           e->is_id == m->is_id && memcmp(e->key, m->key, len) == 0;
}

void hr_zone_top_add(struct hr_zone_top *table, uint32_t n, const struct hr_zone_moved *m)
{
    uint32_t len = m->len < HR_ZONE_KEY_MAX ? m->len : HR_ZONE_KEY_MAX;
    struct hr_zone_top *set = &table[(hash(m, len) >> 32) % (n / HR_ZONE_TOP_WAYS) * HR_ZONE_TOP_WAYS], *least = set;

    if (m->bytes == 0)
        return;
    for (uint32_t i = 0; i < HR_ZONE_TOP_WAYS; i++) {
        if (same(&set[i], m, len)) {
            __atomic_store_n(&set[i].bytes, set[i].bytes + m->bytes, __ATOMIC_RELAXED);
            return;
        }
        if (set[i].bytes < least->bytes)
            least = &set[i];
    }
    uint64_t inherited = least->bytes;
    __atomic_store_n(&least->seq, least->seq + 1, __ATOMIC_RELAXED);
    /* Nothing below is seen by hr_zone_top_read() before the odd number is: pairs with its second fence. */
    __atomic_thread_fence(__ATOMIC_RELEASE);
    least->client = m->client;
    least->broker = m->broker;
    least->dir = m->dir;
    least->is_id = m->is_id;
    least->error = inherited;
    least->bytes = inherited + m->bytes;
    least->len = (uint16_t)len;
    memcpy(least->key, m->key, len);
    /* Pairs with the first load of hr_zone_top_read(): an even number says that all of the above is there. */
    __atomic_store_n(&least->seq, least->seq + 1, __ATOMIC_RELEASE);
}

bool hr_zone_top_read(const struct hr_zone_top *entry, struct hr_zone_top *copy)
{
    uint32_t before = __atomic_load_n(&entry->seq, __ATOMIC_ACQUIRE); /* pairs with the last store of hr_zone_top_add() */
    memcpy(copy, entry, sizeof(*copy));
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with its fence */
    uint32_t after = __atomic_load_n(&entry->seq, __ATOMIC_RELAXED);
    return before == after && before % 2 == 0 && copy->bytes > 0 && copy->len <= HR_ZONE_KEY_MAX &&
           copy->client < HR_ZONES_MAX && copy->broker < HR_ZONES_MAX && copy->dir < HR_ZONE_DIRS &&
           (!copy->is_id || copy->len == 16);
}
