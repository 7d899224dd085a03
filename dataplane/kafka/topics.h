/* Whose bytes they are, by topic: a look at some of the Produce requests and Fetch responses while they pass.
 *
 * Most frames pass by their length. When so many bytes of such frames have passed since the last look, the next frame is
 * walked on its way for the topics in it, and they share all those bytes among them by what they have in that frame. So a
 * large frame is hardly ever missed, and the cost for each byte has a bound. There is one walker for each direction of a
 * worker: a frame that comes while it is in use is not looked at. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/kafka/framewalk.h"
#include "shared/ipc/zone_stats.h"

#define HR_TOPICS_EVERY    (256u * 1024) /* bytes of frames for one look */
#define HR_TOPICS_PATIENCE 64           /* frames not looked at for the sake of one that does not come to its end */

struct hr_topics {
    const void *of; /* whose frame is being looked at, NULL: none */
    uint64_t due;   /* bytes since the last look */
    uint32_t missed;
    uint8_t client, broker, dir; /* of that frame */
    bool is_id;
    uint64_t weight; /* bytes that it stands for */
    uint32_t total;  /* of the frame */
    uint32_t since;  /* where the present topic begins in it, 0: none has yet */
    uint32_t name_len, name_left; /* bytes of its name that are here, and that are still to come */
    char name[HR_ZONE_KEY_MAX];
    struct hr_kwalk walk;
};

/* A frame of total bytes begins; program tells its topics. */
static inline bool hr_topics_due(struct hr_topics *t, uint32_t total)
{
    t->due += total;
    return t->due >= HR_TOPICS_EVERY;
}
void hr_topics_begin(struct hr_topics *t, const void *of, const struct hr_kprogram *program, uint32_t total,
                     uint8_t client, uint8_t broker);
/* The next n bytes of it, which stand at at. */
void hr_topics_pass(struct hr_topics *t, struct hr_zone_stats *stats, struct hr_frame_cursor at, uint32_t n);
/* It has ended; all of it has passed, or not. */
void hr_topics_end(struct hr_topics *t, struct hr_zone_stats *stats, bool whole);
