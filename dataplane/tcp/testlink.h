/* For tests: two stacks in one process, joined by a link that loses, delays, reorders, duplicates and corrupts by
 * a seed, and meddles with windows and clocks; under a virtual clock, with an application at each end that sends a
 * known byte pattern and checks what it receives. After every step both stacks are checked (testcheck.h), and
 * what they say on the wire about their windows: the first thing wrong ends the run.
 *
 * A segment stays on the wire by reference until it is delivered, as in a transmit ring, and its bytes must
 * not have changed by then. The receiver gets a copy in a buffer of its own pool, sometimes as a chain. */
#pragma once

#include "dataplane/tcp/impl.h"
#include "dataplane/tcp/testcheck.h"

struct tl_app {
    struct hr_tcp_conn *conn;
    uint64_t to_send, sent;
    uint64_t received;
    uint8_t salt;         /* of the pattern that it sends; it expects the other's */
    uint8_t expect_salt;
    bool shutdown_when_sent; /* FIN after the last byte */
    bool read_paused;     /* leaves bytes in the receive queue */
    uint64_t paused_until;
    uint32_t write_max;   /* bytes per turn, 0 = as the room allows */
    bool is_shutdown;
    bool accepted, connected, fin, closed, failed, released;
    enum hr_tcp_failure failure;
    bool corrupt;         /* a received byte was not as expected */
};

struct tl_end {
    struct hr_buf_ctx bufs;
    struct hr_stats stats;
    struct hr_tcp *tcp;
    struct hr_tcp_config cfg;
    struct hr_addr addr;
    struct tl_app app;      /* of the one connection that most tests use */
    bool refuse;            /* answer SYNs by RST */
    uint16_t path_mss;
    uint64_t segs_out;
    uint64_t clock_ahead_us; /* its clock is so far ahead of the link's */
    struct tc_memory memory;
    /* The edge that the last segments of app.conn have offered on the wire. */
    struct tc_edge edge;
};

struct tl_packet {
    uint64_t at, order;
    int to;
    struct rte_mbuf *m;
    uint64_t hash;
    struct hr_flow flow; /* as the sender sees it */
};

#define TL_PACKETS 65536
struct tl_link {
    struct tl_end end[2];
    bool open;
    uint64_t now, order;
    uint64_t seed, rng;
    /* Faults. */
    double loss[2];          /* probability, by direction (index of the sender) */
    double dup, reorder;
    uint32_t delay_us, jitter_us;
    double corrupt;          /* a burst of up to 15 bits, which the checksum must find */
    double window_zero, window_shrunk; /* the window of a segment is rewritten, as a stingy peer would */
    double clock_jump;       /* by delivered segment: the receiver's clock leaps ahead */
    double read_pause;       /* by turn with something to read: the application looks away for a while */
    uint16_t mss_option;     /* what the SYN-ACK says; 0: as it was */
    uint32_t strip;          /* SYN options that the link takes out: a bit per kind */
    uint32_t gap_us;         /* time that a segment takes on the wire: those behind wait */
    uint64_t free_at[2];
    unsigned drop_next[2];   /* so many segments of that sender are lost for sure */
    /* Returns true to drop; called for each segment. */
    bool (*filter)(struct tl_link *l, int from, const struct rte_tcp_hdr *th, uint32_t payload);
    void *filter_arg;
    struct tl_packet *heap;
    uint32_t n_heap;
    uint64_t changed_on_wire; /* segments whose bytes changed while they were referenced */
    uint64_t lost, corrupted;
    uint64_t passed_corrupt; /* segments whose corruption the checksum did not find */
    char broken[240];        /* the first thing that was wrong */
    uint32_t trace_base[2]; /* initial sequence numbers; TL_TRACE=1 in the environment prints segments */
};

/* Once per process. */
void tl_global_init(void);

/* Fresh stacks. tweak, if given, changes the configuration of either end. */
void tl_open(struct tl_link *l, uint64_t seed, void (*tweak)(int end, struct hr_tcp_config *cfg));
/* Before tl_connect(): the initial sequence number of that end will lie so far below the wrap. */
void tl_wrap_soon(struct tl_link *l, int end, uint32_t before);
/* Both ends have IPv6 addresses. */
void tl_ipv6(struct tl_link *l);

/* Active open from end 0 to end 1. */
void tl_connect(struct tl_link *l);

/* Runs until done() holds (true) or the virtual time passes limit_us from now (false). */
bool tl_run(struct tl_link *l, uint64_t limit_us, bool (*done)(struct tl_link *l));
/* One turn at the next point in time at which anything happens, at most limit; false if that is reached. */
bool tl_turn(struct tl_link *l, uint64_t limit);

bool tl_both_closed(struct tl_link *l);
bool tl_both_done(struct tl_link *l); /* all bytes arrived, both ways */
bool tl_established(struct tl_link *l);
bool tl_never(struct tl_link *l);

/* Destroys the stacks and checks what must be left: nothing. Returns a text about the first thing wrong. */
const char *tl_close(struct tl_link *l);

uint64_t tl_random(struct tl_link *l);
double tl_uniform(struct tl_link *l);
uint8_t tl_pattern(uint8_t salt, uint64_t pos);
