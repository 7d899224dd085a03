/* The Linux kernel as a backend: a socket of its own in a network namespace, whose only route leads into a tun
 * device that this process reads and writes. Time is the wall clock, so every expectation gets some slack. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/scripts/backends.h"

#define US "10.0.0.1"
#define PEER "10.0.0.2"
#define SLACK_US 200000

static const struct ps_script *sc;
static int tun = -1, listener = -1, sock = -1;
static uint16_t peer_port = PS_PEER_PORT;
static bool reading = true, was_connected, was_eof, wrong_bytes, connecting;
static uint64_t received;
static int failed;

static uint64_t kernel_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- the namespace ---- */

static void set(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (write(fd, value, strlen(value)) < 0)
        perror(path);
    close(fd);
}

static bool interface_up(const char *name, const char *addr, int mtu)
{
    struct ifreq ifr;
    struct sockaddr_in *sin = (struct sockaddr_in *)&ifr.ifr_addr;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok = s >= 0;

    memset(&ifr, 0, sizeof(ifr));
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
    if (addr != NULL) {
        sin->sin_family = AF_INET;
        inet_pton(AF_INET, addr, &sin->sin_addr);
        ok = ok && ioctl(s, SIOCSIFADDR, &ifr) == 0;
        inet_pton(AF_INET, "255.255.255.0", &sin->sin_addr);
        ok = ok && ioctl(s, SIOCSIFNETMASK, &ifr) == 0;
        ifr.ifr_mtu = mtu;
        ok = ok && ioctl(s, SIOCSIFMTU, &ifr) == 0;
    }
    ifr.ifr_flags = IFF_UP | IFF_RUNNING;
    ok = ok && ioctl(s, SIOCSIFFLAGS, &ifr) == 0;
    close(s);
    return ok;
}

static bool enter_namespace(void)
{
    uid_t uid = getuid();
    char map[64];
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return false;
    set("/proc/self/setgroups", "deny");
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
    set("/proc/self/uid_map", map);
    return true;
}

static void tune(int s)
{
    int one = 1;
    (void)setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    if (sc->window != 0)
        (void)setsockopt(s, SOL_SOCKET, SO_RCVBUF, &sc->window, sizeof(sc->window));
    if (sc->ka_idle_s != 0) {
        (void)setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        (void)setsockopt(s, IPPROTO_TCP, TCP_KEEPIDLE, &sc->ka_idle_s, sizeof(sc->ka_idle_s));
        (void)setsockopt(s, IPPROTO_TCP, TCP_KEEPINTVL, &sc->ka_interval_s, sizeof(sc->ka_interval_s));
        (void)setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, &sc->ka_probes, sizeof(sc->ka_probes));
    }
}

static int make_socket(uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    inet_pton(AF_INET, US, &sin.sin_addr);
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    tune(s);
    if (bind(s, (struct sockaddr *)&sin, sizeof(sin)) != 0) {
        close(s);
        return -1;
    }
    return s;
}

/* ---- the owner ---- */

static void accept_one(void)
{
    int s = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s < 0)
        return;
    if (sock >= 0)
        close(sock);
    sock = s;
    tune(s);
    received = 0;
    was_eof = false;
    failed = 0;
}

static void look(void)
{
    uint8_t data[65536];
    socklen_t len = sizeof(int);

    accept_one();
    if (sock < 0)
        return;
    if (connecting) {
        struct tcp_info info;
        socklen_t n = sizeof(info);
        if (getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state != TCP_SYN_SENT &&
            info.tcpi_state != TCP_SYN_RECV && info.tcpi_state != TCP_CLOSE) {
            was_connected = true;
            connecting = false;
        }
    }
    if (failed == 0)
        (void)getsockopt(sock, SOL_SOCKET, SO_ERROR, &failed, &len);
    if (!reading || connecting)
        return;
    for (ssize_t n; (n = recv(sock, data, sizeof(data), 0)) != -1;) {
        if (n == 0) {
            was_eof = true;
            break;
        }
        for (ssize_t i = 0; i < n; i++, received++)
            wrong_bytes |= data[i] != ps_pattern(1 + received);
    }
    if (errno != EAGAIN && errno != ENOTCONN && failed == 0 && !was_eof)
        failed = errno;
}

static void kernel_connect(uint16_t port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, PEER, &sin.sin_addr);
    peer_port = port;
    if (sock >= 0)
        close(sock);
    sock = make_socket(PS_ACTIVE_PORT);
    was_connected = was_eof = false;
    received = 0;
    failed = 0;
    connecting = true;
    if (connect(sock, (struct sockaddr *)&sin, sizeof(sin)) != 0 && errno != EINPROGRESS)
        failed = errno;
}

static void kernel_write(const uint8_t *bytes, uint32_t n)
{
    while (n > 0) {
        ssize_t w = send(sock, bytes, n, MSG_NOSIGNAL);
        if (w <= 0)
            return;
        bytes += w;
        n -= (uint32_t)w;
    }
}

static void kernel_shutdown(void)
{
    (void)shutdown(sock, SHUT_WR);
}

static void kernel_close(void)
{
    close(sock);
    sock = -1;
}

static void kernel_abort(void)
{
    struct linger l = {.l_onoff = 1};
    (void)setsockopt(sock, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    kernel_close();
}

static void kernel_reading(bool on)
{
    reading = on;
}

static bool kernel_accepted(void)
{
    look();
    return sock >= 0;
}

static bool kernel_connected(void)
{
    look();
    return was_connected;
}

static uint64_t kernel_got(void)
{
    look();
    return wrong_bytes ? UINT64_MAX : received;
}

static bool kernel_at_eof(void)
{
    look();
    return was_eof;
}

static const char *kernel_failure(void)
{
    look();
    switch (failed) {
    case 0:
        return "";
    case ECONNRESET:
    case EPIPE:
        return "reset";
    case ECONNREFUSED:
        return "refused";
    case ETIMEDOUT:
        return "timeout";
    case EHOSTUNREACH:
    case ENETUNREACH:
        return "unreachable";
    default:
        return strerror(failed);
    }
}

static const char *kernel_state(void)
{
    static const char *const names[] = {"",           "ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2",
                                        "TIME_WAIT",  "CLOSED",      "CLOSE_WAIT", "LAST_ACK",   "LISTEN",     "CLOSING",
                                        "SYN_RECEIVED"};
    unsigned lport, rport, st;
    char line[512];
    const char *state = "CLOSED";
    FILE *f = fopen("/proc/thread-self/net/tcp", "re");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (sscanf(line, " %*u: %*x:%x %*x:%x %x", &lport, &rport, &st) == 3 && rport == peer_port &&
            (lport == PS_LOCAL_PORT || lport == PS_ACTIVE_PORT) && st < sizeof(names) / sizeof(names[0]))
            state = names[st];
    }
    if (f != NULL)
        fclose(f);
    return state;
}

/* ---- the wire ---- */

static uint32_t sum16(uint32_t sum, const uint8_t *p, uint32_t len)
{
    for (; len > 1; p += 2, len -= 2)
        sum += (uint32_t)(p[0] << 8 | p[1]);
    if (len > 0)
        sum += (uint32_t)p[0] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static uint32_t pseudo(const uint8_t *ip, uint32_t len)
{
    return sum16(6 + len, ip + 12, 8);
}

static void ip_header(uint8_t *ip, uint8_t proto, uint32_t len, bool from_peer)
{
    memset(ip, 0, 20);
    ip[0] = 0x45;
    ip[2] = (uint8_t)((20 + len) >> 8);
    ip[3] = (uint8_t)(20 + len);
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = proto;
    inet_pton(AF_INET, from_peer ? PEER : US, ip + 12);
    inet_pton(AF_INET, from_peer ? US : PEER, ip + 16);
    uint32_t sum = ~sum16(0, ip, 20);
    ip[10] = (uint8_t)(sum >> 8);
    ip[11] = (uint8_t)sum;
}

static void put(const uint8_t *packet, uint32_t len)
{
    if (write(tun, packet, len) != (ssize_t)len)
        perror("tun");
}

static void kernel_inject(const uint8_t *segment, uint32_t len)
{
    uint8_t packet[9300];
    peer_port = (uint16_t)(segment[0] << 8 | segment[1]);
    ip_header(packet, IPPROTO_TCP, len, true);
    memcpy(packet + 20, segment, len);
    packet[36] = packet[37] = 0;
    uint32_t sum = ~sum16(pseudo(packet, len), packet + 20, len);
    packet[36] = (uint8_t)(sum >> 8);
    packet[37] = (uint8_t)sum;
    put(packet, 20 + len);
}

static void kernel_icmp(const char *kind, uint32_t mtu, uint16_t port, uint32_t seq)
{
    static const struct {
        const char *name;
        uint8_t type, code;
    } kinds[] = {{"net-unreachable", 3, 0},   {"host-unreachable", 3, 1}, {"protocol-unreachable", 3, 2},
                 {"port-unreachable", 3, 3},  {"frag-needed", 3, 4},      {"source-quench", 4, 0},
                 {"time-exceeded", 11, 0},    {"parameter-problem", 12, 0}};
    uint8_t packet[56] = {0}, *icmp = packet + 20, *quoted = packet + 28, *tcp = packet + 48;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kind, kinds[i].name) == 0) {
            icmp[0] = kinds[i].type;
            icmp[1] = kinds[i].code;
        }
    }
    icmp[6] = (uint8_t)(mtu >> 8);
    icmp[7] = (uint8_t)mtu;
    ip_header(quoted, IPPROTO_TCP, 1480, false);
    uint16_t from = sc->active ? PS_ACTIVE_PORT : PS_LOCAL_PORT;
    tcp[0] = (uint8_t)(from >> 8);
    tcp[1] = (uint8_t)from;
    tcp[2] = (uint8_t)(port >> 8);
    tcp[3] = (uint8_t)port;
    seq = htonl(seq);
    memcpy(tcp + 4, &seq, 4);
    uint32_t sum = ~sum16(0, icmp, 36);
    icmp[2] = (uint8_t)(sum >> 8);
    icmp[3] = (uint8_t)sum;
    ip_header(packet, IPPROTO_ICMP, 36, true);
    put(packet, 56);
}

static bool kernel_next(uint64_t until, struct ps_sent *ret)
{
    for (;;) {
        uint8_t packet[9300];
        look();
        ssize_t n = read(tun, packet, sizeof(packet));
        if (n > 0) {
            if (n < 40 || packet[0] != 0x45 || packet[9] != IPPROTO_TCP)
                continue;
            ret->at_us = kernel_now();
            ret->len = (uint32_t)(packet[2] << 8 | packet[3]) - 20;
            if (ret->len + 20 > (uint32_t)n || sum16(pseudo(packet, ret->len), packet + 20, ret->len) != 0xffff)
                ret->len = 0; /* which the player will not take for a segment */
            memcpy(ret->bytes, packet + 20, ret->len);
            return true;
        }
        uint64_t t = kernel_now();
        if (t >= until)
            return false;
        struct pollfd fds[3] = {{.fd = tun, .events = POLLIN},
                                {.fd = listener, .events = POLLIN},
                                {.fd = reading && !was_eof && failed == 0 ? sock : -1, .events = POLLIN}};
        struct timespec wait = {.tv_sec = (time_t)((until - t) / 1000000), .tv_nsec = (long)((until - t) % 1000000) * 1000};
        (void)ppoll(fds, 3, &wait, NULL);
    }
}

static const struct ps_backend backend = {
    .name = "the kernel",
    .who = PS_KERNEL,
    .slack_us = SLACK_US,
    .now = kernel_now,
    .next = kernel_next,
    .inject = kernel_inject,
    .icmp = kernel_icmp,
    .connect = kernel_connect,
    .write = kernel_write,
    .shutdown = kernel_shutdown,
    .close = kernel_close,
    .abort = kernel_abort,
    .reading = kernel_reading,
    .accepted = kernel_accepted,
    .connected = kernel_connected,
    .got = kernel_got,
    .at_eof = kernel_at_eof,
    .failure = kernel_failure,
    .state = kernel_state,
};

const struct ps_backend *ps_kernel_open(const struct ps_script *script, const char **ret_error)
{
    struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};

    sc = script;
    *ret_error = "no network namespace";
    if (!enter_namespace())
        return NULL;
    set("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
    set("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
    set("/proc/sys/net/ipv4/tcp_no_metrics_save", "1");
    *ret_error = "no tun device";
    tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "script0");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &ifr) != 0)
        return NULL;
    *ret_error = "the interfaces do not come up";
    if (!interface_up("lo", NULL, 0) || !interface_up("script0", US, script->mss + 40))
        return NULL;
    *ret_error = "no socket";
    listener = make_socket(PS_LOCAL_PORT);
    if (listener < 0 || listen(listener, 16) != 0)
        return NULL;
    return &backend;
}
