/* Bytes that may be secret, in a buffer that grows and leaves no copy behind: where it grows, is shortened or is freed,
 * what it leaves is overwritten. Zeroed is empty. */
#pragma once

#include <stdint.h>

#include "shared/base/error.h"

struct hr_wipebuf {
    uint8_t *data; /* NULL while cap is 0 */
    uint32_t len, cap;
};

/* Room for len bytes behind those there; the caller writes them and adds to len what it wrote. NULL: no memory, and
 * nothing has changed. The caller bounds the length. */
uint8_t *hr_wipebuf_room(struct hr_wipebuf *buf, uint32_t len);
/* Appends; NOMEM, and nothing has changed. A NUL, not counted, stands behind the bytes. The caller bounds the length. */
HR_MUST_CHECK int hr_wipebuf_append(struct hr_wipebuf *buf, const void *data, uint32_t len);
/* The first n bytes leave; n <= len. */
void hr_wipebuf_drop(struct hr_wipebuf *buf, uint32_t n);
/* All bytes leave, the memory stays. */
void hr_wipebuf_clear(struct hr_wipebuf *buf);
void hr_wipebuf_free(struct hr_wipebuf *buf);
