/* Memory that held a secret. */
#pragma once

#include <stddef.h>
#include <string.h>

/* Overwrites it; the compiler does not leave it out. */
static inline void hr_wipe(void *data, size_t len)
{
    if (len > 0)
        explicit_bzero(data, len);
}
