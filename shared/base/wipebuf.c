#include "shared/base/wipebuf.h"

#include <stdlib.h>
#include <string.h>

#include "shared/base/wipe.h"

#define LEAST 512u

uint8_t *hr_wipebuf_room(struct hr_wipebuf *buf, uint32_t len)
{
    uint64_t need = (uint64_t)buf->len + len + 1, cap = buf->cap ? buf->cap : LEAST;

    if (need > UINT32_MAX / 2)
        return NULL;
    while (cap < need)
        cap *= 2;
    if (cap > buf->cap) { /* no realloc(): it would leave a copy behind */
        uint8_t *larger = malloc(cap);

        if (!larger)
            return NULL;
        if (buf->len > 0)
            memcpy(larger, buf->data, buf->len);
        if (buf->data)
            hr_wipe(buf->data, buf->len);
        free(buf->data);
        buf->data = larger;
        buf->cap = (uint32_t)cap;
    }
    return buf->data + buf->len;
}

int hr_wipebuf_append(struct hr_wipebuf *buf, const void *data, uint32_t len)
{
    uint8_t *to = hr_wipebuf_room(buf, len);

    if (!to)
        return HR_E_NOMEM;
    if (len > 0)
        memcpy(to, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
}

void hr_wipebuf_drop(struct hr_wipebuf *buf, uint32_t n)
{
    if (n == 0)
        return;
    memmove(buf->data, buf->data + n, buf->len - n);
    hr_wipe(buf->data + buf->len - n, n);
    buf->len -= n;
}

void hr_wipebuf_clear(struct hr_wipebuf *buf)
{
    if (buf->data)
        hr_wipe(buf->data, buf->len);
    buf->len = 0;
}

void hr_wipebuf_free(struct hr_wipebuf *buf)
{
    hr_wipebuf_clear(buf);
    free(buf->data);
    *buf = (struct hr_wipebuf){0};
}
