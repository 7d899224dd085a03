/* HyStart++ (RFC 9406): ends the first slow start when the round trip time begins to rise, before the queue
 * overflows. A rise leads to conservative slow start (CSS), which grows at a quarter of the pace for up to five
 * rounds; if the round trip time falls below where CSS began, the alarm was false and slow start goes on.
 *
 * And if it rises by as much again, the alarm was right, and slow start ends there (beyond RFC 9406, which would go on):
 * where a queue is much longer than the path, five rounds treble what stands in it already, and a flow of another kind
 * that backed off at the first rise, as Linux's HyStart does, is kept small for half a minute. */
#include "dataplane/tcp/impl.h"

/* RFC 9406 4.3 */
#define MIN_RTT_THRESH_US 4000
#define MAX_RTT_THRESH_US 16000
#define MIN_RTT_DIVISOR 8
#define N_RTT_SAMPLE 8
#define CSS_ROUNDS 5

#define NO_RTT UINT32_MAX

void hr_tcp_hystart_init(struct hr_tcp_conn *c)
{
    c->cong = (struct hr_tcp_cong){
        .phase = HR_TCP_CONG_START,
        .start = {.round_end = c->snd_nxt, .last_min_us = NO_RTT, .round_min_us = NO_RTT, .css_min_us = NO_RTT},
    };
}

/* RttThresh: a rise above this round trip. */
static uint32_t threshold(uint32_t rtt_us)
{
    return RTE_MIN(RTE_MAX(rtt_us / MIN_RTT_DIVISOR, (uint32_t)MIN_RTT_THRESH_US), (uint32_t)MAX_RTT_THRESH_US);
}

void hr_tcp_hystart_rtt(struct hr_tcp_conn *c, uint32_t rtt_us)
{
    struct hr_tcp_cong *g = &c->cong;

    g->start.round_min_us = RTE_MIN(g->start.round_min_us, rtt_us);
    if ((g->samples < N_RTT_SAMPLE && ++g->samples < N_RTT_SAMPLE) || HR_MUTANT(NO_HYSTART))
        return;
    if (g->phase == HR_TCP_CONG_CSS) {
        if (g->start.round_min_us < g->start.css_min_us) {
            g->start.css_min_us = NO_RTT;
            g->phase = HR_TCP_CONG_START;
        } else if (g->start.round_min_us >= g->start.css_min_us + threshold(g->start.css_min_us) &&
                   !HR_MUTANT(CSS_UNCONFIRMED)) {
            c->ssthresh = c->cwnd;
            hr_tcp_cong_leave_start(c);
        }
    } else if (g->start.last_min_us != NO_RTT) {
        if (g->start.round_min_us >= g->start.last_min_us + threshold(g->start.last_min_us)) {
            g->start.css_min_us = g->start.round_min_us;
            g->css_rounds = 0;
            g->phase = HR_TCP_CONG_CSS;
        }
    }
}

void hr_tcp_hystart_acked(struct hr_tcp_conn *c)
{
    struct hr_tcp_cong *g = &c->cong;

    if (hr_seq_lt(c->snd_una, g->start.round_end))
        return;
    g->start.round_end = c->snd_nxt;
    g->start.last_min_us = g->start.round_min_us;
    g->start.round_min_us = NO_RTT;
    g->samples = 0;
    if (g->phase == HR_TCP_CONG_CSS && ++g->css_rounds >= CSS_ROUNDS) {
        c->ssthresh = c->cwnd;
        hr_tcp_cong_leave_start(c);
    }
}
