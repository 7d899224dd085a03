/* The sender's scoreboard (RFC 2018, RFC 6675 3). */
#include <string.h>

#include "dataplane/tcp/impl.h"

#define DUP_THRESH 3

uint32_t hr_tcp_sack_add(struct hr_tcp_scoreboard *sb, uint32_t start, uint32_t end)
{
    /* Ranges [from, to) touch or overlap the new one. */
    uint32_t from = 0, to, joined = 0;
    while (from < sb->n && hr_seq_lt(sb->range[from].end, start))
        from++;
    for (to = from; to < sb->n && hr_seq_leq(sb->range[to].start, end); to++) {
        joined += sb->range[to].end - sb->range[to].start;
        start = hr_seq_min(start, sb->range[to].start);
        end = hr_seq_max(end, sb->range[to].end);
    }
    if (to == from && sb->n == HR_TCP_SACK_RANGES)
        return 0; /* full: the peer keeps reporting it, and a retransmission too many does no harm */

    memmove(&sb->range[from + 1], &sb->range[to], (sb->n - to) * sizeof(sb->range[0]));
    sb->range[from] = (struct hr_tcp_range){start, end};
    sb->n = sb->n - (to - from) + 1;
    uint32_t news = end - start - joined;
    sb->bytes += news;
    return news;
}

void hr_tcp_sack_trim(struct hr_tcp_scoreboard *sb, uint32_t una)
{
    uint32_t gone = 0;
    while (gone < sb->n && hr_seq_leq(sb->range[gone].end, una)) {
        sb->bytes -= sb->range[gone].end - sb->range[gone].start;
        gone++;
    }
    sb->n -= gone;
    memmove(&sb->range[0], &sb->range[gone], sb->n * sizeof(sb->range[0]));
    if (sb->n > 0 && hr_seq_lt(sb->range[0].start, una)) {
        sb->bytes -= una - sb->range[0].start;
        sb->range[0].start = una;
    }
}

uint32_t hr_tcp_sack_bytes(const struct hr_tcp_scoreboard *sb, uint32_t start, uint32_t end)
{
    uint32_t bytes = 0;
    if (sb == NULL)
        return 0;
    for (uint32_t i = 0; i < sb->n; i++) {
        uint32_t a = hr_seq_max(start, sb->range[i].start);
        uint32_t b = hr_seq_min(end, sb->range[i].end);
        if (hr_seq_lt(a, b))
            bytes += b - a;
    }
    return bytes;
}

bool hr_tcp_sack_hole(const struct hr_tcp_scoreboard *sb, uint32_t from, uint32_t limit,
                      struct hr_tcp_range *ret)
{
    for (uint32_t i = 0; sb != NULL && i < sb->n; i++) {
        if (hr_seq_lt(from, sb->range[i].start)) {
            limit = hr_seq_min(limit, sb->range[i].start);
            break;
        }
        from = hr_seq_max(from, sb->range[i].end);
    }
    if (hr_seq_geq(from, limit))
        return false;
    *ret = (struct hr_tcp_range){from, limit};
    return true;
}

uint32_t hr_tcp_sack_lost_edge(const struct hr_tcp_scoreboard *sb, uint32_t una, uint32_t smss)
{
    uint32_t above = 0;
    if (sb == NULL)
        return una;
    for (uint32_t i = sb->n; i-- > 0;) {
        above += sb->range[i].end - sb->range[i].start;
        if (sb->n - i >= DUP_THRESH || above > (DUP_THRESH - 1) * smss)
            return sb->range[i].start;
    }
    return una;
}
