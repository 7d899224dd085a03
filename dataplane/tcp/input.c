/* A segment by the rules: RFC 9293 3.10.7, in its order, with RFC 5961 (blind attacks), RFC 7323 (PAWS) and
 * RFC 6191 (TIME-WAIT reuse). */
#include <rte_mbuf.h>
#include <string.h>

#include "dataplane/tcp/impl.h"

#define CHALLENGES_PER_S 10
/* RFC 7323 5.5: after 24 days without a segment ts_recent says nothing any more. */
#define TS_RECENT_VALID_MS (24u * 24 * 3600 * 1000)

static void new_second(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    uint16_t second = (uint16_t)(tcp->now_ms / 1000);
    if (second == c->challenge_s)
        return;
    c->challenge_s = second;
    c->challenges = c->answers = 0;
}

void hr_tcp_challenge_ack(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    new_second(tcp, c);
    if (c->challenges >= CHALLENGES_PER_S && !HR_MUTANT(CHALLENGE_UNLIMITED))
        return;
    c->challenges++;
    HR_COUNT(tcp->stats, tcp_challenge_ack);
    hr_tcp_ack_soon(tcp, c);
}

/* A keepalive or window probe is answered from an allowance of its own, or who spends the challenges by blind
 * segments could let the peer's probes die. */
static void answer_probe(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    new_second(tcp, c);
    if (c->answers >= CHALLENGES_PER_S)
        return;
    c->answers++;
    hr_tcp_ack_soon(tcp, c);
}

static uint32_t sequence_length(const struct hr_tcp_seg *seg)
{
    return seg->len + !!(seg->flags & RTE_TCP_SYN_FLAG) + !!(seg->flags & RTE_TCP_FIN_FLAG);
}

/* RFC 9293 3.10.7.1: what belongs to no connection is answered by a reset, unless it is one. */
static void refuse(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *seg)
{
    if (seg->flags & RTE_TCP_RST_FLAG || HR_MUTANT(NO_REFUSAL))
        return;
    if (seg->flags & RTE_TCP_ACK_FLAG)
        hr_tcp_send_rst(tcp, flow, seg->ack, 0, false);
    else
        hr_tcp_send_rst(tcp, flow, 0, seg->seq + sequence_length(seg), true);
}

static void half_open(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *syn)
{
    hr_tcp_apply_syn(tcp, c, syn);
    hr_tcp_set_state(tcp, c, HR_TCP_SYN_RECEIVED);
    tcp->n_half_open++;
    HR_GAUGE_SET(tcp->stats, tcp_half_open, tcp->n_half_open);
}

/* A SYN for no connection: LISTEN, if the owner says so. after_iss: the sequence numbers of a former use of
 * the tuple end here. */
static void listen_input(struct hr_tcp *tcp, const struct hr_flow *flow, const struct hr_tcp_seg *seg,
                         const uint32_t *after_iss)
{
    struct hr_tcp_accept say = tcp->cfg.on_syn(tcp->cfg.owner, flow);
    if (!say.accept) {
        refuse(tcp, flow, seg);
        return;
    }
    HR_COUNT(tcp->stats, tcp_syn_rx);
    if (tcp->n_half_open >= tcp->cfg.max_half_open) {
        /* A cookie cannot be made to lie beyond a former use's numbers; timestamps keep the two apart too. */
        if (after_iss == NULL || seg->opts.has_ts)
            hr_tcp_syncookie_send(tcp, flow, seg);
        else
            HR_DROP(tcp->stats, tcp_syn_backlog);
        return;
    }
    struct hr_tcp_conn *c = hr_tcp_conn_new(tcp, flow);
    if (c == NULL) {
        HR_DROP(tcp->stats, tcp_conn_limit);
        return;
    }
    if (after_iss != NULL && hr_seq_leq(c->iss, *after_iss))
        c->iss = c->snd_una = c->snd_nxt = *after_iss + 1;
    half_open(tcp, c, seg);
    c->syn_due = true;
    hr_tcp_mark_dirty(tcp, c);
}

static void syn_sent_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    bool ack = seg->flags & RTE_TCP_ACK_FLAG;

    if (ack && seg->ack != c->iss + 1 && !HR_MUTANT(ANY_SYN_ACK)) { /* first: nothing but our SYN can be acknowledged */
        HR_DROP(tcp->stats, tcp_bad_ack);
        refuse(tcp, &c->flow, seg);
        /* The peer still has a connection from before our restart, which this reset ends: ask again soon. */
        if (!(seg->flags & RTE_TCP_RST_FLAG) && c->retries == 0 && c->rtx_at > tcp->now_us + tcp->cfg.rto_min_us) {
            c->rtx_at = tcp->now_us + tcp->cfg.rto_min_us;
            hr_tcp_timer_arm(tcp, c);
        }
        return;
    }
    if (seg->flags & RTE_TCP_RST_FLAG) {
        if ((ack || HR_MUTANT(BLIND_RST_IN_SYN_SENT)) && c->snd_nxt != c->iss) {
            HR_COUNT(tcp->stats, tcp_rst_rx);
            hr_tcp_fail(tcp, c, HR_TCP_FAIL_REFUSED);
        }
        return;
    }
    if (!(seg->flags & RTE_TCP_SYN_FLAG) || c->snd_nxt == c->iss)
        return;

    hr_tcp_apply_syn(tcp, c, seg);
    if (ack) {
        c->snd_una = seg->ack;
        c->syn_due = false;
        if (!c->syn_lost)
            hr_tcp_rtt_sample(tcp, c, (uint32_t)(tcp->now_us - c->last_tx_us));
        hr_tcp_established(tcp, c);
        hr_tcp_ack_soon(tcp, c);
    } else { /* simultaneous open (RFC 9293 3.5 figure 7) */
        hr_tcp_set_state(tcp, c, HR_TCP_SYN_RECEIVED);
        c->syn_due = true;
        hr_tcp_mark_dirty(tcp, c);
    }
}

/* RFC 9293 3.10.7.4, second, with RFC 5961 3.2; seg->seq is in the window. True: c is gone or going. */
static void reset_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    if (seg->seq != c->rcv_nxt && !HR_MUTANT(RST_ANYWHERE)) {
        hr_tcp_challenge_ack(tcp, c);
        return;
    }
    HR_COUNT(tcp->stats, tcp_rst_rx);
    switch ((enum hr_tcp_state)c->state) {
    case HR_TCP_SYN_RECEIVED:
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_REFUSED);
        break;
    case HR_TCP_CLOSING:
    case HR_TCP_LAST_ACK:
        if (c->sndq.bytes > 0)
            hr_tcp_fail(tcp, c, HR_TCP_FAIL_RESET);
        else
            hr_tcp_closed(tcp, c);
        break;
    case HR_TCP_ESTABLISHED:
    case HR_TCP_FIN_WAIT_1:
    case HR_TCP_FIN_WAIT_2:
    case HR_TCP_CLOSE_WAIT:
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_RESET);
        break;
    case HR_TCP_TIME_WAIT: /* no connection block is in that state: see time_wait.c */
    case HR_TCP_CLOSED:
    case HR_TCP_SYN_SENT:
    case HR_TCP_STATE_MAX:
        break;
    }
}

/* RFC 7323 5.3 R1. True: too old, to be dropped. */
static bool paws(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    if (!c->ts_on || (seg->flags & RTE_TCP_RST_FLAG) || HR_MUTANT(NO_PAWS))
        return false;
    if (!seg->opts.has_ts) { /* RFC 7323 3.2: not a segment of this connection's */
        HR_DROP(tcp->stats, tcp_paws);
        return true;
    }
    if (!hr_seq_lt(seg->opts.tsval, c->ts_recent) || tcp->now_ms - c->ts_recent_ms > TS_RECENT_VALID_MS)
        return false;
    HR_DROP(tcp->stats, tcp_paws);
    hr_tcp_challenge_ack(tcp, c);
    return true;
}

/* What acceptance does with a segment. */
enum verdict { DROP, OLD, IN_WINDOW };

/* RFC 9293 3.10.7.4, first: is any of it in the window? Cuts off what is not. An OLD segment brings no new
 * byte, but its acknowledgement may still be news: ours may have been lost, and so may be what it answers. */
static enum verdict trim(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    uint32_t fin = seg->flags & RTE_TCP_FIN_FLAG ? 1 : 0;
    uint32_t end = seg->seq + seg->len + fin;

    if (seg->len + fin == 0) {
        if (hr_seq_geq(seg->seq, c->rcv_nxt) && hr_seq_leq(seg->seq, c->rcv_adv))
            return IN_WINDOW;
        if (seg->seq == c->rcv_nxt - 1 && !(seg->flags & RTE_TCP_RST_FLAG)) { 
            answer_probe(tcp, c);
            return OLD;
        }
        if (!(seg->flags & RTE_TCP_RST_FLAG)) {
            HR_DROP(tcp->stats, tcp_out_of_window);
            hr_tcp_challenge_ack(tcp, c); /* limited: two stacks must not answer each other for ever */
        }
        return DROP;
    }
    if (hr_seq_gt(seg->seq, c->rcv_adv)) {
        HR_DROP(tcp->stats, tcp_out_of_window);
        if (!(seg->flags & RTE_TCP_RST_FLAG))
            hr_tcp_challenge_ack(tcp, c);
        return DROP;
    }
    if (hr_seq_leq(end, c->rcv_nxt)) {
        if (hr_seq_lt(seg->seq, c->rcv_nxt - RTE_MAX(c->rcv_target, 1u << 20) * 2)) {
            HR_DROP(tcp->stats, tcp_out_of_window);
            hr_tcp_challenge_ack(tcp, c);
            return DROP;
        }
        HR_COUNT(tcp->stats, tcp_dup_rx);
        hr_tcp_reass_duplicate(tcp, c, seg->seq, seg->seq + seg->len);
        hr_tcp_ack_soon(tcp, c);
        seg->len = 0;
        seg->flags &= (uint8_t)~RTE_TCP_FIN_FLAG;
        return OLD;
    }
    if (hr_seq_lt(seg->seq, c->rcv_nxt) && !HR_MUTANT(NO_LEFT_TRIM)) {
        uint32_t cut = c->rcv_nxt - seg->seq;
        hr_tcp_reass_duplicate(tcp, c, seg->seq, c->rcv_nxt);
        seg->m = hr_tcp_trim_head(seg->m, cut);
        seg->seq += cut;
        seg->len -= RTE_MIN(seg->len, cut);
        hr_tcp_ack_soon(tcp, c);
    }
    if (hr_seq_gt(end, c->rcv_adv) && !HR_MUTANT(NO_RIGHT_TRIM)) {
        uint32_t keep = c->rcv_adv - seg->seq;
        if (keep < seg->len) {
            if (keep == 0)
                HR_DROP(tcp->stats, tcp_out_of_window);
            seg->m = hr_tcp_trim_to(seg->m, keep);
            seg->len = keep;
        }
        seg->flags &= (uint8_t)~RTE_TCP_FIN_FLAG; /* it is behind the edge */
        hr_tcp_ack_soon(tcp, c);
    }
    return IN_WINDOW;
}

/* The ACK that completes a handshake. False: the segment is to be dropped. */
static bool complete_open(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_tcp_seg *seg)
{
    if (seg->ack != c->iss + 1 || c->snd_nxt == c->iss) {
        HR_DROP(tcp->stats, tcp_bad_ack);
        refuse(tcp, &c->flow, seg);
        return false;
    }
    c->snd_una = seg->ack;
    c->syn_due = false;
    c->snd_wnd = seg->wnd << c->snd_wscale;
    c->snd_wnd_max = RTE_MAX(c->snd_wnd_max, c->snd_wnd);
    c->snd_wl1 = seg->seq;
    c->snd_wl2 = seg->ack;
    if (!c->syn_lost && c->last_tx_us != 0) /* a cookie's round trip was not timed */
        hr_tcp_rtt_sample(tcp, c, (uint32_t)(tcp->now_us - c->last_tx_us));
    if (!c->active) {
        tcp->n_half_open--;
        HR_GAUGE_SET(tcp->stats, tcp_half_open, tcp->n_half_open);
    }
    hr_tcp_established(tcp, c);
    return true;
}

/* Our FIN is acknowledged (RFC 9293 3.10.7.4, fifth). False: c is gone. */
static bool fin_acked(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    switch ((enum hr_tcp_state)c->state) {
    case HR_TCP_FIN_WAIT_1:
        hr_tcp_set_state(tcp, c, HR_TCP_FIN_WAIT_2);
        c->end_at = tcp->now_us + tcp->cfg.half_close_us;
        hr_tcp_timer_arm(tcp, c);
        return true;
    case HR_TCP_CLOSING:
        hr_tcp_enter_time_wait(tcp, c);
        return false;
    case HR_TCP_LAST_ACK:
        hr_tcp_closed(tcp, c);
        return false;
    case HR_TCP_CLOSED:
    case HR_TCP_SYN_SENT:
    case HR_TCP_SYN_RECEIVED:
    case HR_TCP_ESTABLISHED:
    case HR_TCP_FIN_WAIT_2:
    case HR_TCP_CLOSE_WAIT:
    case HR_TCP_TIME_WAIT:
    case HR_TCP_STATE_MAX:
        return true;
    }
    return true;
}

/* The peer's FIN has its turn (RFC 9293 3.10.7.4, eighth). */
static void fin_input(struct hr_tcp *tcp, struct hr_tcp_conn *c)
{
    c->rcv_nxt++;
    c->rcv_adv = hr_seq_max(c->rcv_adv, c->rcv_nxt);
    hr_tcp_reass_clear(tcp, c);
    hr_tcp_window_account(tcp, c);
    hr_tcp_ack_soon(tcp, c);
    hr_tcp_post(tcp, c, HR_TCP_EV_FIN);
    switch ((enum hr_tcp_state)c->state) {
    case HR_TCP_ESTABLISHED:
        hr_tcp_set_state(tcp, c, HR_TCP_CLOSE_WAIT);
        break;
    case HR_TCP_FIN_WAIT_1: /* had our FIN been acknowledged, this were FIN-WAIT-2 */
        hr_tcp_set_state(tcp, c, HR_TCP_CLOSING);
        break;
    case HR_TCP_FIN_WAIT_2:
        hr_tcp_enter_time_wait(tcp, c);
        break;
    case HR_TCP_CLOSED:
    case HR_TCP_SYN_SENT:
    case HR_TCP_SYN_RECEIVED:
    case HR_TCP_CLOSE_WAIT:
    case HR_TCP_CLOSING:
    case HR_TCP_LAST_ACK:
    case HR_TCP_TIME_WAIT:
    case HR_TCP_STATE_MAX:
        break;
    }
}

/* Text and FIN (seventh and eighth). */
static void text_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    if (!hr_tcp_can_receive(c) || c->reset_at_end)
        return;
    if (seg->len > 0 && c->released && !HR_MUTANT(DATA_TO_NOBODY)) { /* nobody will read it, and the peer must know (RFC 2525 2.17) */
        hr_tcp_send_conn_rst(tcp, c);
        hr_tcp_fail(tcp, c, HR_TCP_FAIL_ABORTED);
        return;
    }
    if (c->rcv_fin_known) { /* nothing stands behind a FIN */
        uint32_t end = seg->seq + seg->len;
        if (hr_seq_gt(end, c->rcv_fin_seq)) {
            uint32_t keep = hr_seq_lt(seg->seq, c->rcv_fin_seq) ? c->rcv_fin_seq - seg->seq : 0;
            seg->m = hr_tcp_trim_to(seg->m, keep);
            seg->len = keep;
        }
    } else if (seg->flags & RTE_TCP_FIN_FLAG) {
        uint32_t at = seg->seq + seg->len;
        if (hr_seq_leq(hr_tcp_reass_end(c), at)) {
            c->rcv_fin_known = true;
            c->rcv_fin_seq = at;
        }
    }
    if (seg->len > 0 && c->state == HR_TCP_FIN_WAIT_2) /* not silent */
        c->end_at = tcp->now_us + tcp->cfg.half_close_us;
    if (seg->len > 0)
        hr_tcp_reass_input(tcp, c, seg);
    if (c->rcv_fin_known) {
        if (c->rcv_nxt == c->rcv_fin_seq || HR_MUTANT(FIN_EARLY))
            fin_input(tcp, c);
        else
            hr_tcp_ack_soon(tcp, c);
    }
}

/* SYN-RECEIVED and all that follow. */
static void conn_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, struct hr_tcp_seg *seg)
{
    if (c->state == HR_TCP_SYN_RECEIVED && (seg->flags & RTE_TCP_SYN_FLAG) && seg->seq == c->irs &&
        !(seg->flags & RTE_TCP_RST_FLAG)) {
        if (!(seg->flags & RTE_TCP_ACK_FLAG)) { /* the same SYN again: the same answer */
            c->syn_due = true;
            hr_tcp_mark_dirty(tcp, c);
            return;
        }
        if (c->active) { /* the other side of a simultaneous open: only its ACK is news */
            seg->flags &= (uint8_t)~(RTE_TCP_SYN_FLAG | RTE_TCP_FIN_FLAG);
            seg->seq++;
            seg->m = hr_tcp_trim_to(seg->m, 0);
            seg->len = 0;
            hr_tcp_ack_soon(tcp, c);
        }
    }
    if (paws(tcp, c, seg))
        return;
    enum verdict verdict = trim(tcp, c, seg);
    if (verdict == DROP)
        return;
    if (seg->flags & RTE_TCP_RST_FLAG) {
        if (verdict == IN_WINDOW)
            reset_input(tcp, c, seg);
        return;
    }
    if (seg->flags & RTE_TCP_SYN_FLAG && !HR_MUTANT(SYN_UNCHALLENGED)) { /* RFC 5961 4.2 */
        hr_tcp_challenge_ack(tcp, c);
        return;
    }
    if (!(seg->flags & RTE_TCP_ACK_FLAG))
        return;
    hr_tcp_heard(tcp, c, seg);

    if (c->state == HR_TCP_SYN_RECEIVED && !complete_open(tcp, c, seg))
        return;
    if (!hr_tcp_ack_input(tcp, c, seg, verdict == OLD))
        return;
    if (c->fin_sent && c->snd_una == c->snd_nxt && !fin_acked(tcp, c))
        return;
    text_input(tcp, c, seg);
}

/* The ACK of a SYN cookie: the connection that was not kept is made now. False: it is no such ACK. */
static bool cookie_input(struct hr_tcp *tcp, const struct hr_flow *flow, struct hr_tcp_seg *seg)
{
    struct hr_tcp_seg syn;

    if ((seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG)) != RTE_TCP_ACK_FLAG ||
        tcp->now_us > tcp->cookies.valid_until_us)
        return false;
    if (!hr_tcp_syncookie_check(tcp, flow, seg, &syn)) {
        HR_DROP(tcp->stats, tcp_cookie_bad);
        refuse(tcp, flow, seg);
        return true;
    }
    struct hr_tcp_accept say = tcp->cfg.on_syn(tcp->cfg.owner, flow);
    if (!say.accept) {
        refuse(tcp, flow, seg);
        return true;
    }
    struct hr_tcp_conn *c = hr_tcp_conn_new(tcp, flow);
    if (c == NULL) {
        HR_DROP(tcp->stats, tcp_conn_limit);
        return true;
    }
    HR_COUNT(tcp->stats, tcp_syn_cookie_ok);
    c->iss = c->snd_una = seg->ack - 1;
    c->snd_nxt = seg->ack;
    half_open(tcp, c, &syn);
    conn_input(tcp, c, seg);
    return true;
}

/* No connection block has this tuple. True: an entry in TIME-WAIT has. */
static bool time_wait_input(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t hash, const struct hr_tcp_seg *seg)
{
    struct hr_tcp_time_wait *tw = tcp->n_time_wait == 0 ? NULL : hr_tcp_time_wait_find(tcp, flow, hash);

    if (tw == NULL)
        return false;
    if (hr_tcp_time_wait_reusable(tw, seg)) {
        uint32_t after = tw->snd_nxt + 65536; /* beyond any window of the old connection's */
        HR_COUNT(tcp->stats, tcp_time_wait_reused);
        hr_tcp_time_wait_remove(tcp, tw);
        listen_input(tcp, flow, seg, &after);
    } else {
        hr_tcp_time_wait_input(tcp, tw, seg);
    }
    return true;
}

void hr_tcp_segment_input(struct hr_tcp *tcp, struct hr_tcp_conn *c, const struct hr_flow *flow, uint32_t hash,
                          struct hr_tcp_seg *seg)
{
    uint8_t kind = seg->flags & (RTE_TCP_SYN_FLAG | RTE_TCP_ACK_FLAG | RTE_TCP_RST_FLAG | RTE_TCP_FIN_FLAG);

    if (c != NULL) {
        if (c->state == HR_TCP_SYN_SENT)
            syn_sent_input(tcp, c, seg);
        else
            conn_input(tcp, c, seg);
    } else if (!time_wait_input(tcp, flow, hash, seg)) {
        if (kind == RTE_TCP_SYN_FLAG) {
            listen_input(tcp, flow, seg, NULL);
        } else if (!cookie_input(tcp, flow, seg)) {
            HR_DROP(tcp->stats, tcp_no_conn);
            refuse(tcp, flow, seg);
        }
    }
}

void hr_tcp_icmp_error(struct hr_tcp *tcp, const struct hr_flow *flow, uint32_t seq, bool hard, uint16_t mtu)
{
    struct hr_tcp_conn *c = hr_tcp_flow_find(tcp, flow, hr_tcp_flow_hash(tcp, flow));

    /* RFC 5927 4.1: an error about what is not in flight is not about us. */
    if (c == NULL || !hr_seq_leq(c->snd_una, seq) || !hr_seq_lt(seq, c->snd_nxt)) {
        HR_DROP(tcp->stats, icmp_ignored);
        return;
    }
    if (c->state == HR_TCP_SYN_SENT) {
        if (hard)
            hr_tcp_fail(tcp, c, HR_TCP_FAIL_UNREACHABLE);
        return;
    }
    if (mtu != 0 && !hr_tcp_pmtu_told(tcp, c, mtu)) /* any other is soft: retransmission decides (RFC 5927 5.2) */
        HR_DROP(tcp->stats, icmp_ignored);
}
