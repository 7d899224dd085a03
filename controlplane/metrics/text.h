/* A growing text, and the exposition format's escaping of label values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "shared/base/error.h"

struct hr_text {
    char *bytes; /* heap; NULL when empty */
    size_t len, cap;
    bool failed; /* out of memory: bytes is incomplete */
};

void hr_text_add(struct hr_text *text, const char *fmt, ...) HR_PRINTF(2, 3);
/* name="value", with backslash, quote and newline escaped. */
void hr_text_label(struct hr_text *text, const char *name, const char *value);
void hr_text_free(struct hr_text *text);
