/* A message's schema in one version, compiled for the walker: a flat list of steps without versions, types or
 * structs left to look at.
 *
 * What a walk is to tell is chosen here, by roles. Everything else becomes bytes to pass over, and neighbours of
 * fixed size become one step. A struct that is no array is laid out in place; an array or a tag section is a loop,
 * whose counter has a fixed place in the walker, because schemas do not recurse. So a walk needs no stack and no
 * search, and its work is a few instructions for each length, count or value that is told.
 *
 * Programs are made at start-up and never change. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/kafka/schema.h"

#define HR_KPROGRAM_LEVELS 12 /* loops within loops; the table's deepest is well below (a test compiles them all) */
#define HR_KPROGRAM_FRAME_SIZE 4 /* bytes of the size in front of a frame, which does not count itself */

enum hr_kstep_code {
    HR_KS_SKIP = 0,  /* pass over n bytes */
    HR_KS_INT,       /* tell an integer, and pass over the n bytes behind it */
    HR_KS_STRING,    /* tell a string */
    HR_KS_VALUE,     /* tell n bytes, whatever they mean */
    HR_KS_LENGTH,    /* of a string, bytes or records: pass over them, and the n bytes behind them */
    HR_KS_LENGTH_FIXED,
    HR_KS_ARRAY,     /* tell that an array begins */
    HR_KS_COUNT,     /* of an array: elements of n bytes are passed over at once, others loop */
    HR_KS_COUNT_FIXED,
    HR_KS_LOOP,      /* an element has ended: back to `to` while there are others */
    HR_KS_ARRAY_END, /* tell that an array has ended */
    HR_KS_PRESENT,   /* the byte before a nullable struct: -1 leads to `to` */
    HR_KS_TAGS,      /* tell that the message's own tag section begins; an empty one is passed over, to `to` */
    HR_KS_TAG_COUNT, /* of a tag section; none leads to `to` */
    HR_KS_TAG,       /* a tag's number: looked up among the n KNOWN behind the next step */
    HR_KS_TAG_SIZE,  /* of a tagged field: known ones are walked, others passed over */
    HR_KS_KNOWN,     /* data of TAG: the field with tag n is walked at `to` */
    HR_KS_TAG_END,   /* a known tagged field has ended: back to the TAG at `to` while there are others */
    HR_KS_BODY,      /* the frame's header has ended */
    HR_KS_END,
    HR_KS_BAD, /* never in a program: where a walk stays that went wrong */
};

struct hr_kstep {
    uint8_t code;  /* enum hr_kstep_code */
    uint8_t level; /* of its loop */
    uint8_t width; /* bytes of a value, or of a length or count that is FIXED; others are varints, one more than they
                      say (width 0) */
    bool nullable : 1;
    bool is_signed : 1;
    bool unless_zero : 1; /* tell it only where it is not 0 */
    uint16_t n;
    uint16_t to; /* a step's number */
    const struct hr_kfield *field;
};

struct hr_kprogram {
    uint32_t n;
    struct hr_kstep step[];
};

#define HR_KPROGRAM_ROLE(name) (1u << HR_KR_##name)
#define HR_KPROGRAM_EVERY_ROLE UINT32_MAX

struct hr_kprogram_spec {
    const struct hr_kmessage *header; /* a frame from its size on; NULL: the body alone */
    int16_t header_version;
    const struct hr_kmessage *body; /* NULL: the header alone */
    int16_t version;
    uint32_t roles;  /* to tell, of the body: a bit each, HR_KPROGRAM_ROLE() */
    bool tags;       /* tell where the body's own tag section begins, unless it is empty */
    bool split;      /* note where the header ends, behind which there is a body */
};

/* NOMEM, or UNSUPPORTED when the schema is too deep or too long. */
HR_MUST_CHECK int hr_kprogram_create(const struct hr_kprogram_spec *spec, struct hr_kprogram **ret_program);
void hr_kprogram_destroy(struct hr_kprogram *program);
