/* The option block of a segment: whatever parses is written again in our form, and parses to the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/tcp/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(cond)                                                                                           \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "violated: %s\n", #cond);                                                        \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hr_tcp_opts o, again, untouched;
    uint8_t block[40], out[HR_TCP_OPTS_MAX];

    if (size > sizeof(block))
        return 0;
    memcpy(block, data, size);
    memset(&o, 0xa5, sizeof(o));
    untouched = o;
    if (hr_tcp_opts_parse(block, (uint32_t)size, &o) != 0) {
        must(memcmp(&o, &untouched, sizeof(o)) == 0); /* results are written only on success */
        return 0;
    }
    must(o.n_sack <= HR_TCP_SACK_BLOCKS && o.wscale <= HR_TCP_WSCALE_MAX);
    uint32_t len = hr_tcp_opts_write(out, &o);
    must(len <= HR_TCP_OPTS_MAX && len % 4 == 0);
    must(hr_tcp_opts_parse(out, len, &again) == 0);
    must(again.has_mss == o.has_mss && (!o.has_mss || again.mss == o.mss));
    must(again.has_wscale == o.has_wscale && (!o.has_wscale || again.wscale == o.wscale));
    must(again.sack_ok == o.sack_ok && again.has_ts == o.has_ts);
    must(!o.has_ts || (again.tsval == o.tsval && again.tsecr == o.tsecr));
    must(again.n_sack <= o.n_sack);
    must(memcmp(again.sack, o.sack, again.n_sack * sizeof(o.sack[0])) == 0);
    return 0;
}
