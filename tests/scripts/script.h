/* Packet scripts: what goes into a TCP, and what must come out of it, when.
 *
 * A script is played against a backend: our own stack under a virtual clock (stack.c), or the Linux kernel behind
 * a tun device (kernel.c). The format is described in README.md; this header holds a parsed script.
 *
 * Sequence numbers are relative: those of the peer, which the script plays, to its initial number; those of the
 * TCP under test to the initial number of its last SYN. Bytes of both directions follow one pattern of the
 * relative sequence number, so every payload is compared without being written down. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PS_FIN 0x01
#define PS_SYN 0x02
#define PS_RST 0x04
#define PS_PSH 0x08
#define PS_ACK 0x10
#define PS_URG 0x20
#define PS_ECE 0x40
#define PS_CWR 0x80

#define PS_EVENTS 256
#define PS_SACKS 4

enum ps_verb {
    PS_IN = 1,    /* the peer sends a segment */
    PS_OUT,       /* the TCP must send this one next */
    PS_MAYBE,     /* the TCP may send this one next */
    PS_QUIET,     /* nothing for so long */
    PS_CONNECT,
    PS_WRITE,
    PS_SHUTDOWN,
    PS_CLOSE,
    PS_ABORT,
    PS_READ,      /* the owner reads (the default) */
    PS_NOREAD,    /* the owner leaves bytes where they are */
    PS_PORT,      /* the peer's next segments come from this port */
    PS_ICMP,
    PS_ACCEPTED,  /* checks of what the owner sees */
    PS_CONNECTED,
    PS_GOT,
    PS_EOF,
    PS_FAILED,
    PS_STATE,
};

enum ps_who { PS_BOTH, PS_US, PS_KERNEL };

/* An option in a pattern. */
enum ps_want { PS_ANY, PS_PRESENT, PS_ABSENT };

struct ps_segment {
    uint8_t flags;
    bool psh_matters;
    int64_t seq, end; /* relative; end - seq bytes of payload */
    bool absolute;    /* the sequence number is not relative */
    bool has_ack;
    int64_t ack;
    char win_op;      /* 0: any; '=', '>', '<' */
    uint32_t win;     /* bytes, the scale applied */
    enum ps_want mss, wscale, sackok, ts, sack;
    uint16_t mss_value;
    uint8_t wscale_value;
    bool has_tsval, has_tsecr;
    int64_t tsval, tsecr; /* relative to the peer's clock at the start, ms */
    unsigned n_sack;
    int64_t sack_start[PS_SACKS], sack_end[PS_SACKS];
    bool has_urg;
    uint16_t urg;
    bool junk;        /* payload that does not follow the pattern */
    bool has_isn;
    uint32_t isn;
};

struct ps_event {
    enum ps_verb verb;
    enum ps_who who;
    unsigned line;
    uint64_t lo_us, hi_us; /* after the event before */
    struct ps_segment seg;
    uint32_t n;
    int64_t at;            /* ICMP: sequence number */
    char word[24];
};

struct ps_script {
    char name[64];
    char title[160];
    char shows[160];
    char why[200];         /* how the kernel differs; empty: it does not */
    bool active;           /* the TCP under test opens */
    /* The peer's SYN. */
    uint16_t peer_mss;
    uint8_t peer_wscale;
    bool peer_has_mss, peer_has_wscale, peer_has_sack, peer_has_ts;
    uint32_t peer_win, peer_isn;
    /* The TCP under test. */
    uint16_t mss;          /* of its route */
    uint32_t window;       /* its receive buffer; 0: the default */
    uint32_t ka_idle_s, ka_interval_s, ka_probes;
    unsigned n_events;
    struct ps_event event[PS_EVENTS];
    char *text;            /* for messages */
};

/* Returns 0, or a line number with *ret_error saying what is wrong there. */
int ps_load(const char *path, struct ps_script *ret_script, const char **ret_error);
void ps_unload(struct ps_script *script);
/* Copies a line of the script's text. */
void ps_line(const struct ps_script *script, unsigned line, char *dst, size_t size);

/* A segment that the TCP under test has sent. */
struct ps_sent {
    uint64_t at_us;
    uint32_t len;          /* TCP header and payload */
    uint8_t bytes[9216];
};

/* A TCP under test. Time is the backend's own, in microseconds. */
struct ps_backend {
    const char *name;
    enum ps_who who;
    uint32_t slack_us;     /* host noise: how much later than it should an event may come */
    uint64_t (*now)(void);
    /* Waits until that time at most for a segment. */
    bool (*next)(uint64_t until_us, struct ps_sent *ret_sent);
    /* A segment, without checksum, from the peer's port in it. */
    void (*inject)(const uint8_t *segment, uint32_t len);
    void (*icmp)(const char *kind, uint32_t mtu, uint16_t peer_port, uint32_t seq);
    void (*connect)(uint16_t peer_port);
    void (*write)(const uint8_t *bytes, uint32_t n);
    void (*shutdown)(void);
    void (*close)(void);
    void (*abort)(void);
    void (*reading)(bool on);
    bool (*accepted)(void);
    bool (*connected)(void);
    uint64_t (*got)(void);       /* bytes that followed the pattern; UINT64_MAX if one did not */
    bool (*at_eof)(void);
    const char *(*failure)(void); /* "" if none */
    const char *(*state)(void);
};

#define PS_LOCAL_PORT 9092  /* of the TCP under test, listening */
#define PS_ACTIVE_PORT 9093 /* of the TCP under test, opening */
#define PS_PEER_PORT 40000

static inline uint8_t ps_pattern(uint64_t seq)
{
    return (uint8_t)(seq * 7 + (seq >> 8) * 13);
}

/* Plays the lines for one side (which need not be the backend's own). Returns true if all went as written; else
 * report holds what went wrong, and the conversation until then. */
bool ps_play(const struct ps_script *script, const struct ps_backend *backend, enum ps_who side, char *report,
             size_t size);

/* All *.pkt below a folder, sorted; returns how many. */
unsigned ps_find(const char *folder, char (*ret_paths)[256], unsigned max);
