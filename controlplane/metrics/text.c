#include "controlplane/metrics/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct hr_text *text, size_t more)
{
    size_t cap = text->cap ? text->cap : 16 * 1024;
    char *bytes;

    if (text->failed)
        return false;
    while (cap - text->len <= more)
        cap *= 2;
    if (cap == text->cap)
        return true;
    bytes = realloc(text->bytes, cap);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->cap = cap;
    return true;
}

void hr_text_add(struct hr_text *text, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !reserve(text, (size_t)n))
        return;
    va_start(args, fmt);
    vsnprintf(text->bytes + text->len, text->cap - text->len, fmt, args);
    va_end(args);
    text->len += (size_t)n;
}

void hr_text_label(struct hr_text *text, const char *name, const char *value)
{
    hr_text_add(text, "%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            hr_text_add(text, "\\%c", *value);
        else if (*value == '\n')
            hr_text_add(text, "\\n");
        else
            hr_text_add(text, "%c", *value);
    }
    hr_text_add(text, "\"");
}

void hr_text_free(struct hr_text *text)
{
    free(text->bytes);
    *text = (struct hr_text){0};
}
