/* Copies a complete message from one contiguous place to another, field by field after its schema, with a
 * hook that may replace fields, leave out elements of arrays, or empty an array. Counts and the sizes of
 * tagged fields follow. For held frames only: small, and off the payload's path.
 *
 * Every length is checked against what the input (or the tagged field around it) has left and against the
 * room in the output. Recursion is as deep as the schema. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/kafka/schema.h"

enum hr_xc_verdict {
    HR_XC_COPY = 0, /* copy the field as it is */
    HR_XC_DONE,     /* the hook has read it and written its own */
    HR_XC_EMPTY,    /* array: read it, write an empty one */
    HR_XC_MAX
};

/* What a hook keeps while one struct is copied. Zeroed at the struct's start. */
struct hr_xc_struct {
    bool drop; /* leave this element out of its array; may be set at any field */
    bool has_node, reachable, hidden;
    int32_t node_id;
    uint32_t error_at; /* output offset of its ErrorCode */
    bool has_error;
    uint16_t port;
    int16_t key, min;
    uint32_t min_at; /* output offset of MinVersion */
};

struct hr_xc;
typedef enum hr_xc_verdict (*hr_xc_field_fn)(struct hr_xc *x, struct hr_xc_struct *s,
                                             const struct hr_kfield *f);
typedef void (*hr_xc_end_fn)(struct hr_xc *x, struct hr_xc_struct *s);

struct hr_xc {
    const uint8_t *in;
    uint32_t pos, limit; /* next input byte; end of what may be read */
    uint8_t *out;
    uint32_t n, cap; /* bytes written; room */
    int err;         /* first failure: INVALID or TOO_LARGE */
    int16_t version;
    bool flexible;
    const struct hr_kfield *stop_after; /* top-level field behind which copying stops; NULL: whole message */
    bool stopped;
    hr_xc_field_fn field; /* NULL: copy everything */
    hr_xc_end_fn struct_end; /* after the last field of each struct; may be NULL */
    void *arg;
};

/* Copies one message from x->in. 0, INVALID or TOO_LARGE. x->pos and x->n tell how far it came. */
HR_MUST_CHECK int hr_xc_message(struct hr_xc *x, const struct hr_kmessage *message);

/* Copies one field's value. */
HR_MUST_CHECK int hr_xc_value(struct hr_xc *x, const struct hr_kfield *f);

/* For hooks. After a failure (x->err) they read zeros and write nothing. */
int64_t hr_xc_get_int(struct hr_xc *x, const struct hr_kfield *f);
void hr_xc_put_int(struct hr_xc *x, const struct hr_kfield *f, int64_t v);
const uint8_t *hr_xc_get_string(struct hr_xc *x, const struct hr_kfield *f, int32_t *ret_len); /* -1: null */
void hr_xc_put_string(struct hr_xc *x, const struct hr_kfield *f, const void *p, int32_t len);
