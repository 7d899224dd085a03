/* For tests: bulk flows from one stack to another through one bottleneck, under a virtual clock. Data crosses a
 * link of a rate with a drop-tail queue, loses packets by a seed or by count, and takes half the round trip; ACKs
 * take the other half.
 *
 * The path carries headers and lengths: what the bytes are does not matter here (testlink.h checks those), so
 * millions of packets cost seconds. */
#pragma once

#include "dataplane/tcp/impl.h"
#include "dataplane/tcp/testrival.h"

#define TP_FLOWS 8

struct tp_flow {
    struct hr_tcp_conn *conn[2]; /* sender, receiver; NULL until there */
    uint64_t start_us;           /* opened so long after tp_open() */
    uint64_t to_send;            /* bytes; UINT64_MAX: without end */
    uint64_t queued, received;   /* bytes */
    bool connected;
    /* The window over time: sums of samples, in segments. */
    double cwnd_sum, cwnd_max;
    uint64_t cwnd_samples;
};

struct tp_packet {
    uint64_t at;
    struct hr_flow flow; /* as the sender sees it */
    uint32_t payload;
    uint16_t hdr_len;
    uint8_t hdr[60];
};

struct tp_fifo {
    struct tp_packet *slot;
    uint32_t head, n; /* of TP_FIFO slots */
};

struct tp_end {
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_tcp *tcp;
    struct hr_tcp_config cfg;
    struct hr_addr addr;
    struct tp_fifo wire;  /* what it sent */
    uint64_t packets, data_packets; /* sent by the stack, with payload */
    uint64_t sent_at;     /* the burst in one moment: */
    uint32_t burst, burst_max; /* data packets */
};

struct tp_path {
    struct tp_end end[2];
    struct tp_flow flow[TP_FLOWS];
    uint32_t n_flows;
    struct tr_rival *rival[2]; /* in the same queue; NULL: none */
    uint64_t now, begin;
    uint64_t seed, rng;
    bool open;

    uint64_t rate_bps;    /* of the data direction, counted with 66 bytes of headers; 0: no limit */
    uint32_t queue_bytes; /* behind which packets are dropped; 0: no limit */
    uint32_t rtt_us;      /* without the queue */
    uint16_t mss;
    double loss;          /* of data packets, at random */
    uint64_t loss_every;  /* each so many-th data packet is lost; 0: none */
    uint32_t batch;       /* packets per turn at most, as a receive burst */
    bool ack_second;      /* the receiver acknowledges every second packet, as hosts do, instead of thinning */
    uint32_t sample_us;   /* how often the window is looked at; 0: never */
    uint64_t next_sample;

    uint64_t free_at;     /* the bottleneck is busy till then, us << 10 */
    uint64_t lost, dropped; /* by chance, by the queue */
    uint32_t queue_max;   /* bytes, the most that ever stood there */
};

void tp_global_init(void);
/* Fresh stacks; tweak may change the configuration of either end (0: sender). */
void tp_open(struct tp_path *p, uint64_t seed, void (*tweak)(int end, struct hr_tcp_config *cfg));
struct tp_flow *tp_add_flow(struct tp_path *p, uint64_t start_us, uint64_t to_send);
/* So many bytes of payload arrive at the bottleneck: when they have passed it, 0 if they are dropped. */
uint64_t tp_queue(struct tp_path *p, uint32_t payload);
/* Runs for so long. */
void tp_run(struct tp_path *p, uint64_t us);
/* Until all bytes of all flows arrived; false when that takes longer. */
bool tp_run_done(struct tp_path *p, uint64_t limit_us);
/* Aborts what is open, and checks that nothing is held; a text about the first thing wrong, or NULL. */
const char *tp_close(struct tp_path *p);

double tp_mean_cwnd(const struct tp_flow *f); /* segments */
uint64_t tp_random(struct tp_path *p);
