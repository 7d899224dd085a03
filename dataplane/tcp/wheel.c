#include "dataplane/tcp/wheel.h"

#include <string.h>

void hr_wheel_init(struct hr_wheel *w, uint64_t tick)
{
    memset(w, 0, sizeof(*w));
    w->tick = tick;
}

static void link_at(struct hr_wheel *w, struct hr_wheel_entry *e, unsigned slot)
{
    e->slot = (uint16_t)slot;
    e->next = w->slot[slot];
    e->pprev = &w->slot[slot];
    if (e->next != NULL)
        e->next->pprev = &e->next;
    w->slot[slot] = e;
    w->used[slot / 64] |= 1ULL << (slot % 64);
}

static void unlink_entry(struct hr_wheel *w, struct hr_wheel_entry *e)
{
    *e->pprev = e->next;
    if (e->next != NULL)
        e->next->pprev = e->pprev;
    e->pprev = NULL;
    if (w->slot[e->slot] == NULL)
        w->used[e->slot / 64] &= ~(1ULL << (e->slot % 64));
}

static void place(struct hr_wheel *w, struct hr_wheel_entry *e)
{
    int32_t diff = (int32_t)(e->tick - (uint32_t)w->tick);
    uint64_t ahead = diff > 0 ? (uint64_t)diff : 0;
    uint64_t at = w->tick + ahead;
    unsigned level = ahead < 256 ? 0 : ahead < 65536 ? 1 : 2;

    if (ahead >= 1ULL << 24) /* beyond the wheel: comes round and is placed again */
        at = w->tick + (1ULL << 24) - 1;
    link_at(w, e, level * HR_WHEEL_SLOTS + ((at >> (8 * level)) & 255));
}

void hr_wheel_arm(struct hr_wheel *w, struct hr_wheel_entry *e, uint64_t tick)
{
    if (hr_wheel_armed(e))
        unlink_entry(w, e);
    else
        w->armed++;
    e->tick = (uint32_t)(tick < w->tick ? w->tick : tick - w->tick > INT32_MAX ? w->tick + INT32_MAX : tick);
    place(w, e);
}

void hr_wheel_disarm(struct hr_wheel *w, struct hr_wheel_entry *e)
{
    if (!hr_wheel_armed(e))
        return;
    unlink_entry(w, e);
    w->armed--;
}

static void cascade(struct hr_wheel *w, unsigned level)
{
    unsigned slot = level * HR_WHEEL_SLOTS + ((w->tick >> (8 * level)) & 255);
    struct hr_wheel_entry *e = w->slot[slot], *next;

    w->slot[slot] = NULL;
    w->used[slot / 64] &= ~(1ULL << (slot % 64));
    for (; e != NULL; e = next) {
        next = e->next;
        place(w, e);
    }
}

/* The first used slot of a level at or after index from, without wrapping; -1 if none. */
static int first_used(const struct hr_wheel *w, unsigned level, unsigned from)
{
    for (unsigned word = from / 64; word < 4; word++) {
        uint64_t bits = w->used[level * 4 + word];
        if (word == from / 64)
            bits &= ~0ULL << (from % 64);
        if (bits != 0)
            return (int)(word * 64) + __builtin_ctzll(bits);
    }
    return -1;
}

/* The wheel has just reached w->tick: entries of upper levels that belong here come down. */
static void enter_tick(struct hr_wheel *w)
{
    if ((w->tick & 255) != 0)
        return;
    if ((w->tick & 65535) == 0)
        cascade(w, 2);
    cascade(w, 1);
}

struct hr_wheel_entry *hr_wheel_expire(struct hr_wheel *w, uint64_t now)
{
    while (w->tick <= now) {
        if (w->armed == 0) {
            w->tick = now + 1;
            return NULL;
        }
        unsigned index = w->tick & 255;
        struct hr_wheel_entry *e = w->slot[index];
        if (e != NULL) {
            hr_wheel_disarm(w, e);
            return e;
        }
        /* On to the next used slot of this round, or to the next round. */
        int used = first_used(w, 0, index);
        uint64_t next = used >= 0 ? w->tick - index + (unsigned)used : (w->tick | 255) + 1;
        w->tick = next <= now ? next : now + 1;
        enter_tick(w);
    }
    return NULL;
}

uint64_t hr_wheel_next(const struct hr_wheel *w)
{
    if (w->armed == 0)
        return UINT64_MAX;
    /* Lower levels fire first. On the upper ones the current slot has come down already, so what stands in
     * it is a round away. The answer is when an entry fires (level 0) or comes down (above). */
    for (unsigned level = 0; level < HR_WHEEL_LEVELS; level++) {
        unsigned shift = 8 * level;
        uint64_t at = w->tick >> shift;
        unsigned from = (unsigned)(at & 255) + (level > 0);
        int used = from < HR_WHEEL_SLOTS ? first_used(w, level, from) : -1;
        if (used >= 0)
            return ((at & ~255ULL) + (unsigned)used) << shift;
        if (first_used(w, level, 0) >= 0) /* in the next round */
            return ((at | 255) + 1) << shift;
    }
    return UINT64_MAX;
}
