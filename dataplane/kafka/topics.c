#include "dataplane/kafka/topics.h"

#include <string.h>

void hr_topics_begin(struct hr_topics *t, const void *of, const struct hr_kprogram *program, uint32_t total,
                     uint8_t client, uint8_t broker)
{
    if (t->of && ++t->missed < HR_TOPICS_PATIENCE) {
        t->due = 0;
        return;
    }
    t->of = of;
    t->missed = 0;
    t->weight = t->due;
    t->due = 0;
    t->total = total;
    t->client = client;
    t->broker = broker;
    t->since = t->name_len = t->name_left = 0;
    hr_kwalk_init(&t->walk, program, 0, total);
}

/* The present topic ends at this offset of the frame. */
static void credit(struct hr_topics *t, struct hr_zone_stats *stats, uint32_t end)
{
    struct hr_zone_moved moved = {
        .key = t->name,
        .len = t->name_len,
        .client = t->client,
        .broker = t->broker,
        .dir = t->dir,
        .is_id = t->is_id,
    };

    if (t->since == 0 || t->name_len == 0 || t->name_left > 0)
        return;
    moved.bytes = t->weight * (end - t->since) / t->total;
    stats->topics_seen[t->dir] += moved.bytes;
    hr_zone_top_add(stats->topics, HR_ZONE_TOPICS, &moved);
}

/* Takes what is there of the name that begins at at. */
static void take_name(struct hr_topics *t, struct hr_frame_cursor at, uint32_t left)
{
    while (t->name_left > 0 && left > 0) {
        uint32_t run;
        const uint8_t *p = hr_frame_cursor_bytes(&at, &run);
        run = run < left ? run : left;
        run = run < t->name_left ? run : t->name_left;
        uint32_t room = sizeof(t->name) - t->name_len, n = run < room ? run : room;
        memcpy(t->name + t->name_len, p, n);
        t->name_len += n;
        t->name_left -= run;
        left -= run;
        at.off += run;
    }
}

void hr_topics_pass(struct hr_topics *t, struct hr_zone_stats *stats, struct hr_frame_cursor at, uint32_t n)
{
    enum hr_kwalk_event ev;
    uint32_t left = n;

    take_name(t, at, left);
    while ((ev = hr_framewalk_next(&t->walk, &at, &left)) == HR_KWALK_VALUE) {
        credit(t, stats, t->walk.offset);
        t->since = t->walk.offset;
        t->is_id = t->walk.field->type == HR_KT_UUID;
        t->name_len = 0;
        t->name_left = t->walk.length > 0 ? (uint32_t)t->walk.length : 0;
        take_name(t, at, left);
    }
    if (ev == HR_KWALK_BAD) /* others judge frames */
        t->of = NULL;
}

void hr_topics_end(struct hr_topics *t, struct hr_zone_stats *stats, bool whole)
{
    if (whole)
        credit(t, stats, t->total);
    t->of = NULL;
}
