/* The responses that Headrace makes itself: two to ApiVersions, whose response header is version 0, and one to Fetch. */
#include "dataplane/kafka/relay_impl.h"
#include "shared/kafka/wire.h"

#define KERR_UNSUPPORTED_VERSION  35
#define KERR_REBOOTSTRAP_REQUIRED 129
#define KERR_FETCH_SESSION_ID_NOT_FOUND 70

/* KIP-511: version 0 of the body, the error, and the one range that lets the client try again. */
static uint32_t unsupported_version(uint8_t *p)
{
    struct hr_krange range = {0, 0};

    if (!hr_plan_range(HR_KAPI_API_VERSIONS, &range))
        range.max = 0;
    hr_kput16(p, KERR_UNSUPPORTED_VERSION);
    hr_kput32(p + 2, 1);
    hr_kput16(p + 6, HR_KAPI_API_VERSIONS);
    hr_kput16(p + 8, (uint16_t)range.min);
    hr_kput16(p + 10, (uint16_t)range.max);
    return 12;
}

/* KIP-1242: what a broker of another cluster says; no ranges, no throttle, no tags. */
static uint32_t rebootstrap(uint8_t *p)
{
    hr_kput16(p, KERR_REBOOTSTRAP_REQUIRED);
    p[2] = 1; /* a compact array of none */
    hr_kput32(p + 3, 0);
    p[7] = 0;
    return 8;
}

/* KIP-227: no session, no partitions. Since version 12 with a header of version 1. */
static uint32_t fetch_all(uint8_t *p, int16_t version)
{
    bool flexible = version >= 12;
    uint32_t n = 0;

    if (flexible)
        p[n++] = 0; /* the header's tags */
    hr_kput32(p + n, 0); /* throttle time */
    hr_kput16(p + n + 4, KERR_FETCH_SESSION_ID_NOT_FOUND);
    hr_kput32(p + n + 6, 0); /* session */
    n += 10;
    if (flexible) {
        p[n++] = 1; /* a compact array of none */
        p[n++] = 0; /* tags */
    } else {
        hr_kput32(p + n, 0);
        n += 4;
    }
    return n;
}

uint32_t hr_own_reply(const struct hr_inflight *record, int16_t version, uint8_t *buf)
{
    uint8_t *body = buf + 8;
    uint32_t n = record->kind == HR_INFLIGHT_REBOOTSTRAP ? rebootstrap(body)
                 : record->kind == HR_INFLIGHT_FETCH_ALL ? fetch_all(body, version)
                                                         : unsupported_version(body);

    hr_kput32(buf, 4 + n);
    hr_kput32(buf + 4, (uint32_t)record->correlation_id);
    return 8 + n;
}
