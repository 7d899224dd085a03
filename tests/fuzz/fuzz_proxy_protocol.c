/* The header of the PROXY protocol: whatever comes, it is read within its bytes, and what comes in pieces is read as what
 * comes at once. */
#include <stdlib.h>
#include <string.h>

#include "dataplane/proxy/origin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t len = size < 2 * HR_ORIGIN_HEADER_MAX ? (uint32_t)size : 2 * HR_ORIGIN_HEADER_MAX, n = 0, n_part;
    uint8_t *exact = malloc(len ? len : 1); /* the sanitizer sees a byte too far */
    struct hr_origin origin, part;
    int err;

    memcpy(exact, data, len);
    err = hr_origin_read(exact, len, &n, &origin);
    must(err == 0 || err == HR_E_AGAIN || err == HR_E_INVALID || err == HR_E_TOO_LARGE);
    if (err == 0) {
        must(n >= 16 && n <= len && n <= HR_ORIGIN_HEADER_MAX);
        must(memchr(origin.vpc_endpoint, '\0', sizeof(origin.vpc_endpoint)) != NULL);

        /* Nothing behind the header counts, and nothing less than all of it is enough. */
        must(hr_origin_read(exact, n, &n_part, &part) == 0 && n_part == n && memcmp(&part, &origin, sizeof(part)) == 0);
        must(hr_origin_read(exact, n - 1, &n_part, &part) == HR_E_AGAIN);
    } else if (err == HR_E_AGAIN) {
        must(len < HR_ORIGIN_HEADER_MAX);
        for (uint32_t i = 0; i < len; i++)
            must(hr_origin_read(exact, i, &n_part, &part) == HR_E_AGAIN);
    }
    free(exact);
    return 0;
}
