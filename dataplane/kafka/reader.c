#include "dataplane/kafka/reader.h"

#include <stdlib.h>
#include <string.h>

#include "shared/kafka/walk.h"
#include "shared/kafka/wire.h"

/* Replicas in one zone that are looked at: a partition has no more followers in the map. */
#define CANDIDATES HR_REPLICAS_ISR_MAX

int hr_readers_init(struct hr_readers *readers, uint32_t max_readers, uint32_t max_members)
{
    memset(readers, 0, sizeof(*readers));
    readers->readers = calloc(max_readers, sizeof(*readers->readers));
    if (!readers->readers)
        return HR_E_NOMEM;
    readers->n = max_readers;
    /* Written to, and so touched, now: a worker shall not take the page faults. */
    for (uint32_t i = 0; i < max_readers; i++)
        readers->readers[i].next_free = i + 1 < max_readers ? i + 2 : 0;
    readers->free = max_readers > 0 ? 1 : 0;
    return hr_fetch_pool_init(&readers->members, max_members);
}

void hr_readers_fini(struct hr_readers *readers)
{
    hr_fetch_pool_fini(&readers->members);
    free(readers->readers);
    readers->readers = NULL;
}

void hr_readers_adopt(struct hr_readers *readers, const struct hr_policy *policy, const struct hr_replicas *map)
{
    readers->policy = policy;
    readers->map = map;
    readers->epoch++;
    for (uint32_t i = 0; map && i < map->n_brokers; i++) {
        const struct hr_policy_broker *b = hr_policy_find_broker(policy, map->brokers[i].node_id);
        bool usable = b && map->brokers[i].up && (b->flags & HR_BROKER_ALIVE) && !(b->flags & HR_BROKER_DRAINING);
        readers->zone[i] = usable ? b->zone : HR_ZONE_NONE;
    }
}

struct hr_reader *hr_reader_take(struct hr_readers *readers, int32_t home, uint8_t zone, uint64_t now_us)
{
    uint32_t i = readers->free;

    if (i == 0)
        return NULL;
    struct hr_reader *r = hr_reader_at(readers, i);
    readers->free = r->next_free;
    *r = (struct hr_reader){
        .home = home,
        .target = -1,
        .zone = zone,
        .why = HR_READER_replica,
        .changed = true,
        .worth_it = true,
        .rate_since_us = now_us,
        .late_at_us = UINT64_MAX,
    };
    hr_fetch_set_init(&r->set, i);
    hr_pieceq_init(&r->kept);
    return r;
}

void hr_reader_give_back(struct hr_readers *readers, struct hr_buf_ctx *bufs, struct hr_reader *r)
{
    hr_pieceq_clear(bufs, &r->kept);
    hr_fetch_set_clear(&readers->members, &r->set);
    r->next_free = readers->free;
    readers->free = hr_reader_number(readers, r);
}

/* One partition of the request. */
static void member(struct hr_readers *readers, struct hr_reader *r, uint64_t topic, int32_t partition, bool forgotten)
{
    uint32_t before = r->set.n;

    if (forgotten)
        hr_fetch_set_remove(&readers->members, &r->set, topic, partition);
    else if (r->known && hr_fetch_set_add(&readers->members, &r->set, topic, partition) != 0)
        r->known = false;
    r->changed |= r->set.n != before;
}

void hr_reader_note(struct hr_readers *readers, struct hr_reader *r, const struct hr_kprogram *program,
                    const uint8_t *frame, struct hr_reader_fetch *fetch)
{
    struct hr_kwalk w;
    enum hr_kwalk_event ev;
    uint64_t topic = 0;
    uint32_t used;
    bool forgotten = false;

    hr_kwalk_init(&w, program, 0, fetch->len);
    while ((ev = hr_kwalk_next(&w, frame + w.pos, fetch->len - w.pos, &used)) != HR_KWALK_DONE) {
        if (ev == HR_KWALK_BAD || ev == HR_KWALK_MORE) { /* let the broker say what is wrong */
            r->known = false;
            return;
        }
        if (ev == HR_KWALK_ARRAY || ev == HR_KWALK_ARRAY_END) {
            if (w.field->role == HR_KR_FORGOTTEN)
                forgotten = ev == HR_KWALK_ARRAY;
            continue;
        }
        if (ev != HR_KWALK_VALUE)
            continue;
        switch (w.field->role) {
        case HR_KR_REPLICA_ID:
            fetch->replica = w.value >= 0;
            break;
        case HR_KR_MAX_WAIT:
            fetch->wait_ms = w.value > 0 ? (uint32_t)w.value : 0;
            break;
        case HR_KR_FETCH_EPOCH:
            fetch->incremental = w.value > 0;
            if (w.value <= 0) { /* this request names all */
                hr_fetch_set_clear(&readers->members, &r->set);
                r->known = r->changed = true;
            }
            break;
        case HR_KR_TOPIC:
            if (w.field->type == HR_KT_UUID)
                topic = hr_replicas_key_of_id(frame + w.offset);
            else
                topic = hr_replicas_key_of_name(frame + w.offset, w.length > 0 ? (uint32_t)w.length : 0);
            break;
        case HR_KR_PARTITION:
            member(readers, r, topic, (int32_t)w.value, forgotten);
            break;
        default:
            break;
        }
    }
}

/* The followers of one partition that would do, as the map's numbers; returns how many. */
static uint32_t candidates_of(const struct hr_readers *readers, const struct hr_reader *r,
                              const struct hr_replicas_partition *p, uint16_t *ret)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < HR_REPLICAS_ISR_MAX && p->isr[i] != HR_REPLICAS_NO_BROKER; i++)
        if (readers->zone[p->isr[i]] == r->zone)
            ret[n++] = p->isr[i];
    return n;
}

static uint32_t keep_common(uint16_t *set, uint32_t n, const uint16_t *other, uint32_t n_other)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < n_other; k++)
            if (set[i] == other[k]) {
                set[kept++] = set[i];
                break;
            }
    return kept;
}

/* Looks for the one follower that has all partitions. Returns why there is none. */
static enum hr_reader_reason find_target(const struct hr_readers *readers, struct hr_reader *r,
                                         const struct hr_policy_listener *listener)
{
    const struct hr_replicas *map = readers->map;
    const struct hr_fetch_member *m = NULL;
    uint16_t common[CANDIDATES], of_one[CANDIDATES];
    uint32_t n = 0;
    bool first = true;

    r->always = true;
    while ((m = hr_fetch_set_next(&readers->members, &r->set, m)) != NULL) {
        const struct hr_replicas_topic *t = hr_replicas_topic(map, m->topic);
        const struct hr_replicas_partition *p = t ? hr_replicas_partition(map, t, m->partition) : NULL;
        if (!p || p->leader == HR_REPLICAS_NO_BROKER || map->brokers[p->leader].node_id != r->home)
            return HR_READER_replica;
        uint8_t reads = t->reads != HR_ZONE_READS_NONE ? t->reads : listener->zone_reads;
        if (reads <= HR_ZONE_READS_OFF)
            return HR_READER_off;
        r->always &= reads == HR_ZONE_READS_ON;
        uint32_t n_of_one = candidates_of(readers, r, p, of_one);
        if (n_of_one == 0)
            return HR_READER_replica;
        if (first) {
            memcpy(common, of_one, sizeof(common));
            n = n_of_one;
        } else {
            n = keep_common(common, n, of_one, n_of_one);
        }
        if (n == 0)
            return HR_READER_split;
        first = false;
    }
    if (first)
        return HR_READER_replica;
    r->target = map->brokers[common[0]].node_id;
    r->target_version = map->brokers[common[0]].fetch_max;
    return HR_READER_NONE;
}

/* Is it worth its latency? Half of the threshold keeps what is in the zone there; what is not comes as soon as it has
 * carried a period's worth. */
static bool worth_it(const struct hr_readers *readers, struct hr_reader *r, uint64_t now_us)
{
    uint64_t least = readers->policy->zone_reads_min_bytes, age_us = now_us - r->rate_since_us;
    uint64_t enough = least * (HR_READER_RATE_US / 1000000);

    if (age_us >= HR_READER_RATE_US) {
        uint64_t rate = r->rate_bytes * 1000000 / age_us;
        r->worth_it = rate >= (r->worth_it ? least / 2 : least);
        r->rate_since_us = now_us;
        r->rate_bytes = 0;
    } else if (!r->worth_it && r->rate_bytes >= enough) {
        r->worth_it = true;
    }
    return r->worth_it;
}

enum hr_reader_reason hr_reader_decide(struct hr_readers *readers, struct hr_reader *r,
                                       const struct hr_policy_listener *listener, const struct hr_reader_fetch *fetch,
                                       uint64_t now_us)
{
    bool worth = worth_it(readers, r, now_us);

    if (!r->known || fetch->replica)
        return HR_READER_limit;
    if (r->set.n == 0) /* it ends a fetch session, or waits for partitions: where that is, if it is there */
        return r->target >= 0 && now_us >= r->bypass_until_us && r->epoch == readers->epoch ? HR_READER_NONE
                                                                                             : HR_READER_replica;
    if (r->changed || r->epoch != readers->epoch) {
        r->target = -1;
        r->why = (uint8_t)find_target(readers, r, listener);
        r->changed = false;
        r->epoch = readers->epoch;
    }
    if (r->why != HR_READER_NONE)
        return r->why;
    if (now_us < r->bypass_until_us)
        return HR_READER_bypass;
    if (fetch->version > r->target_version)
        return HR_READER_version;
    if (!r->always && !worth)
        return HR_READER_rate;
    if (r->n_out >= HR_READER_OUT_MAX || r->kept.bytes + fetch->len > HR_READER_KEPT_MAX)
        return HR_READER_limit;
    return HR_READER_NONE;
}

static void begin_wait(struct hr_reader *r, uint64_t now_us)
{
    r->late_at_us = now_us + r->wait_us + HR_READER_GRACE_US;
}

void hr_reader_sent(struct hr_reader *r, uint64_t now_us)
{
    uint64_t wait_us = r->wait_ms_of_next * 1000ULL;

    if (r->n_out == 0)
        r->wait_us = 0;
    if (wait_us > r->wait_us)
        r->wait_us = wait_us < UINT32_MAX ? (uint32_t)wait_us : UINT32_MAX;
    if (r->n_out++ == 0)
        begin_wait(r, now_us);
}

void hr_reader_answered(struct hr_reader *r, struct hr_buf_ctx *bufs, uint64_t now_us)
{
    uint8_t size[HR_KPROGRAM_FRAME_SIZE];

    if (r->kept.bytes > 0) { /* else they have been asked again elsewhere */
        hr_pieceq_peek(&r->kept, 0, size, sizeof(size));
        hr_pieceq_drop(bufs, &r->kept, HR_KPROGRAM_FRAME_SIZE + hr_kget32(size));
    }
    if (--r->n_out > 0 && r->kept.bytes > 0)
        begin_wait(r, now_us);
    else
        r->late_at_us = UINT64_MAX;
}
