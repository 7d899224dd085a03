/* A pull parser for Kafka messages that arrive in pieces, driven by the schema table.
 *
 * The caller feeds contiguous runs of bytes that may end anywhere, in the middle of an integer or a varint
 * too. The walker keeps its place in a small fixed stack, allocates nothing, and stops at what has a role
 * (schema.h): the value of an integer, the extent of a string, the start and the end of an array, the start
 * of the message's own tag section. Everything else is passed over; strings, bytes and records are skipped by
 * their length without being looked at, at a cost per run, not per byte.
 *
 * Every length and count is checked against what the frame (or the tagged field it stands in) has left, so
 * a length can never lead outside the frame. Work per call is proportional to the bytes of the run.
 *
 * Positions are frame offsets: byte 0 is the first byte of the 4-byte size. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/kafka/schema.h"

#define HR_KWALK_DEPTH 12 /* structs within structs; the table's deepest is well below (a test checks) */

enum hr_kwalk_event {
    HR_KWALK_MORE = 0,  /* the run is consumed, the message is not complete */
    HR_KWALK_VALUE,     /* an integer with a role: value; or a string with one: its bytes are at
                           [offset, offset + length) and come next; length -1: null */
    HR_KWALK_ARRAY,     /* an array with a role begins: its count is the next byte to be read */
    HR_KWALK_ARRAY_END, /* an array with a role has been passed completely */
    HR_KWALK_TAGS,      /* the message's top-level tag section begins: its count is the next byte */
    HR_KWALK_DONE,      /* the message is complete; pos may be short of end (the caller decides) */
    HR_KWALK_BAD,       /* the bytes do not follow the schema; the walker stays in this state */
    HR_KWALK_MAX
};

/* One struct being walked. */
struct hr_kwalk_frame {
    const struct hr_kfield *fields;
    const struct hr_kfield *owner; /* the field that it is the value (or an element) of; NULL: the message */
    uint32_t elems_left;           /* further elements of the array behind this one */
    uint32_t tags_left;
    uint32_t tag_end;     /* offset at which the known tagged field being walked must end */
    uint32_t saved_limit; /* the limit outside of that tagged field */
    uint16_t n_fields;
    uint16_t index; /* the field being walked; n_fields: the tag section */
    bool in_tag;    /* a known tagged field is being walked */
};

struct hr_kwalk {
    /* For the caller, read only. */
    uint32_t pos; /* offset of the next byte to be fed */
    uint32_t end; /* where the frame ends */
    const struct hr_kfield *field; /* of the last event; NULL for TAGS and DONE */
    int64_t value;
    uint32_t offset; /* where the value, the array or the tag section begins */
    int32_t length;  /* bytes of the value */

    /* The walker's own. */
    uint32_t limit; /* where the innermost tagged field, or the frame, ends */
    uint32_t skip;  /* bytes to be passed over before anything else is read */
    uint64_t acc;   /* integer being read */
    uint8_t have;   /* its bytes so far */
    uint8_t step;
    uint8_t depth; /* frames in use */
    bool flexible;
    int16_t version;
    uint32_t elems; /* elements of an array of primitives that are still to come */
    const struct hr_kfield *cur;
    struct hr_kwalk_frame stack[HR_KWALK_DEPTH];
};

/* Prepares to walk one message whose first byte is at frame offset pos, in a frame that ends at end. */
void hr_kwalk_init(struct hr_kwalk *w, const struct hr_kmessage *message, int16_t version, uint32_t pos,
                   uint32_t end);

/* Consumes up to len bytes; *ret_used says how many. Returns at the first event. MORE means that all len
 * bytes are used. Bytes beyond the frame's end are never used. */
enum hr_kwalk_event hr_kwalk_next(struct hr_kwalk *w, const uint8_t *data, uint32_t len, uint32_t *ret_used);
