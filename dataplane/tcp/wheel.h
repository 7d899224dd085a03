/* A hierarchical timer wheel with a tick of 64 us: three levels of 256 slots (16 ms, 4.2 s, 18 min; what is farther
 * off comes round). An entry stands on the level that its distance needs and moves down as its time comes near.
 * Arming, disarming and firing are constant time; a bitmap of used slots skips empty ones.
 *
 * The tick is a small part of what timers wait for, and short beside a round trip, for another reason than precision:
 * what is due within a tick is due at once, and what arrives meanwhile waits for all of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HR_WHEEL_LEVELS 3
#define HR_WHEEL_SLOTS 256
#define HR_WHEEL_TICK_SHIFT 6
#define HR_WHEEL_TICK_US (1u << HR_WHEEL_TICK_SHIFT)

struct hr_wheel_entry {
    struct hr_wheel_entry *next, **pprev; /* pprev NULL: not armed */
    uint32_t tick; /* its low bits: deadlines are less than 2^31 ticks away */
    uint16_t slot; /* level * HR_WHEEL_SLOTS + index */
};

struct hr_wheel {
    uint64_t tick; /* the next tick to be fired: everything before it has been */
    uint32_t armed;
    struct hr_wheel_entry *slot[HR_WHEEL_LEVELS * HR_WHEEL_SLOTS];
    uint64_t used[HR_WHEEL_LEVELS * HR_WHEEL_SLOTS / 64];
};

void hr_wheel_init(struct hr_wheel *w, uint64_t tick);

/* The tick in which this time lies, and the first that does not begin before it. */
static inline uint64_t hr_wheel_tick(uint64_t us)
{
    return us >> HR_WHEEL_TICK_SHIFT;
}

static inline uint64_t hr_wheel_tick_from(uint64_t us)
{
    return hr_wheel_tick(us + HR_WHEEL_TICK_US - 1);
}

static inline bool hr_wheel_armed(const struct hr_wheel_entry *e)
{
    return e->pprev != NULL;
}

/* Would it fire later than at tick, or not at all? */
static inline bool hr_wheel_after(const struct hr_wheel_entry *e, uint64_t tick)
{
    return !hr_wheel_armed(e) || (int32_t)(e->tick - (uint32_t)tick) > 0;
}

/* Arms or moves an entry; a tick that has been fired already becomes the next one. */
void hr_wheel_arm(struct hr_wheel *w, struct hr_wheel_entry *e, uint64_t tick);
void hr_wheel_disarm(struct hr_wheel *w, struct hr_wheel_entry *e);

/* The next entry due at or before tick now, disarmed; NULL when there is none (then the wheel stands behind
 * now). */
struct hr_wheel_entry *hr_wheel_expire(struct hr_wheel *w, uint64_t now);

/* A tick not later than that of the first entry to fire; UINT64_MAX if none is armed. */
uint64_t hr_wheel_next(const struct hr_wheel *w);
