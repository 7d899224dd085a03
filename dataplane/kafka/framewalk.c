/* What is skipped is not looked for; what is read comes in runs, one for each piece. */
#include "dataplane/kafka/framewalk.h"

#include <stddef.h>

enum hr_kwalk_event hr_framewalk_next(struct hr_kwalk *w, struct hr_frame_cursor *at, uint32_t *left)
{
    for (;;) {
        uint32_t run = 0, used = hr_kwalk_pass(w, *left);
        at->off += used;
        *left -= used;
        const uint8_t *p = *left > 0 ? hr_frame_cursor_bytes(at, &run) : NULL;
        if (run > *left)
            run = *left;
        enum hr_kwalk_event ev = hr_kwalk_next(w, p, run, &used);
        at->off += used;
        *left -= used;
        if (ev != HR_KWALK_MORE || *left == 0)
            return ev;
    }
}
