/* A pull parser for Kafka messages that arrive in pieces, driven by a program (program.h).
 *
 * The caller feeds contiguous runs of bytes that may end anywhere, in the middle of an integer or a varint
 * too. The walker allocates nothing and stops at what its program tells: the value of an integer, the extent of a
 * string, the start and the end of an array, the start of the message's own tag section. Everything else is passed
 * over; strings, bytes and records are skipped by their length without being looked at, at a cost per run, not per
 * byte. While something is being skipped the caller need not even find the bytes: hr_kwalk_pass().
 *
 * Every length and count is checked against what the frame (or the tagged field it stands in) has left, so
 * a length can never lead outside the frame. Work per call is proportional to the bytes of the run.
 *
 * Positions are frame offsets: byte 0 is the first byte of the 4-byte size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/kafka/program.h"

enum hr_kwalk_event {
    HR_KWALK_MORE = 0,  /* the run is consumed, the message is not complete */
    HR_KWALK_VALUE,     /* an integer with a role: value; or a string or id with one: its bytes are at
                           [offset, offset + length) and come next; length -1: null */
    HR_KWALK_ARRAY,     /* an array with a role begins: its count is the next byte to be read */
    HR_KWALK_ARRAY_END, /* an array with a role has been passed completely */
    HR_KWALK_TAGS,      /* the message's top-level tag section begins: its count is the next byte, and not 0 */
    HR_KWALK_DONE,      /* the message is complete; pos may be short of end (the caller decides) */
    HR_KWALK_BAD,       /* the bytes do not follow the schema; the walker stays in this state */
    HR_KWALK_MAX
};

/* An array or a tag section being walked. */
struct hr_kwalk_level {
    uint32_t left;  /* elements or tagged fields, this one included */
    uint32_t end;   /* frame offset at which the known tagged field being walked must end */
    uint32_t limit; /* the limit outside of that tagged field */
    uint16_t known; /* the step that walks it; 0: nobody knows it */
};

struct hr_kwalk {
    /* For the caller, read only. */
    uint32_t pos; /* offset of the next byte to be fed */
    uint32_t end; /* where the frame ends */
    const struct hr_kfield *field; /* of the last event; NULL for TAGS and DONE */
    int64_t value;
    uint32_t offset;  /* where the value, the array or the tag section begins */
    int32_t length;   /* bytes of the value */
    uint32_t body_at; /* offset of the body, once a program that splits has passed the header; 0 before */

    /* The walker's own. */
    uint32_t limit; /* where the innermost tagged field, or the frame, ends */
    uint32_t skip;  /* bytes to be passed over before anything else is read */
    uint32_t have;  /* bytes of the integer being read, so far */
    uint64_t acc;   /* and they, where there are any */
    const struct hr_kstep *steps, *step; /* all, and the next */
    struct hr_kwalk_level level[HR_KPROGRAM_LEVELS];
};

extern const struct hr_kstep hr_kwalk_bad_step;

/* Prepares to walk a program's bytes, the first of which is at frame offset pos, in a frame that ends at end. The
 * program stays the caller's and must outlive the walk. What events tell has no value before there is one. */
static inline void hr_kwalk_init(struct hr_kwalk *w, const struct hr_kprogram *program, uint32_t pos, uint32_t end)
{
    w->pos = pos;
    w->end = end;
    w->body_at = 0;
    w->limit = end;
    w->skip = 0;
    w->have = 0;
    w->steps = program->step;
    w->step = pos <= end ? program->step : &hr_kwalk_bad_step;
}

/* Consumes up to len bytes; *ret_used says how many. Returns at the first event. MORE means that all len
 * bytes are used. Bytes beyond the frame's end are never used. */
enum hr_kwalk_event hr_kwalk_next(struct hr_kwalk *w, const uint8_t *data, uint32_t len, uint32_t *ret_used);

/* Passes over up to n bytes that need not be looked at; returns how many. */
static inline uint32_t hr_kwalk_pass(struct hr_kwalk *w, uint32_t n)
{
    if (n > w->skip)
        n = w->skip;
    w->skip -= n;
    w->pos += n;
    return n;
}
