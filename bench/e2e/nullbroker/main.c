/* See impl.h. One thread, one epoll set, level-triggered. A connection is read only while its answers leave. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/e2e/nullbroker/impl.h"
#include "shared/base/clock.h"
#include "shared/kafka/schema.h"

#define IN_FIRST 16384u
#define EARLY_BYTES 4096u /* a frame beyond this need not be read whole before it is understood */
#define EVENTS 64
#define HOLD_TICK_MS 5

static const char help[] =
    "hr-nullbroker: a Kafka broker that stores nothing, for benches\n"
    "\n"
    "  hr-nullbroker --listen ADDR:PORT[=HOST:PORT] [--listen ...]\n"
    "\n"
    "  -l, --listen ADDR:PORT[=HOST:PORT]  where to listen, and what to advertise there (default: the same)\n"
    "  -i, --node-id N         (default 1)\n"
    "  -p, --partitions N      of every topic (default 6)\n"
    "  -t, --topic NAME        that exists from the start (default bench); others exist once they are named\n"
    "  -r, --record-bytes N    value of each record that is fetched (default 1000)\n"
    "  -b, --batch-bytes N     of each record batch that is fetched (default 16384)\n"
    "  -f, --fetch-bytes N     of records in one response at most (default 1048576)\n"
    "  -R, --rack NAME\n"
    "  -h, --help\n"
    "\n"
    "SIGTERM ends it and prints what it did as one JSON object.\n";

static struct nb_broker broker;
static struct nb_conn *held; /* connections whose empty Fetch waits */
static int epoll_fd;
static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
    (void)sig;
    stopping = 1;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "hr-nullbroker: %s: %s\n", what, errno ? strerror(errno) : "wrong value (see --help)");
    exit(1);
}

struct nb_topic *nb_topic_get(struct nb_broker *b, const uint8_t *name, uint32_t len)
{
    for (uint32_t i = 0; i < b->n_topics; i++)
        if (b->topics[i].name_len == len && memcmp(b->topics[i].name, name, len) == 0)
            return &b->topics[i];
    if (b->n_topics == NB_MAX_TOPICS || len == 0 || len >= NB_NAME_MAX)
        return NULL;
    struct nb_topic *t = &b->topics[b->n_topics++];
    memcpy(t->name, name, len);
    t->name[len] = 0;
    t->name_len = len;
    return t;
}

/* ---- connections ------------------------------------------------------------------------------------------ */

static void close_conn(struct nb_conn *c)
{
    for (struct nb_conn **p = &held; *p; p = &(*p)->next)
        if (*p == c) {
            *p = c->next;
            break;
        }
    close(c->fd);
    free(c->in);
    free(c);
}

static void want(struct nb_conn *c, bool writable)
{
    if (c->writable_wanted == writable)
        return;
    c->writable_wanted = writable;
    struct epoll_event ev = {.events = writable ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* False: the peer is gone. */
static bool flush(struct nb_conn *c)
{
    struct nb_outq *q = &c->out;
    while (!nb_out_empty(q)) {
        struct msghdr msg = {.msg_iov = q->iov + q->first, .msg_iovlen = q->n - q->first};
        ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        while (n > 0) {
            struct iovec *v = &q->iov[q->first];
            size_t part = (size_t)n < v->iov_len ? (size_t)n : v->iov_len;
            v->iov_base = (uint8_t *)v->iov_base + part;
            v->iov_len -= part;
            n -= (ssize_t)part;
            if (v->iov_len == 0)
                q->first++;
        }
    }
    q->first = q->n = q->used = 0;
    return true;
}

/* The header that stands in front of every request. False: no sense in it. */
static bool parse_header(const uint8_t *frame, uint32_t len, struct nb_request *ret)
{
    struct nb_reader r = {.at = frame, .left = len};
    uint32_t n;
    ret->api_key = nb_i16(&r);
    ret->version = nb_i16(&r);
    ret->correlation_id = nb_i32(&r);
    nb_string(&r, &n); /* the client id is never compact */
    ret->flexible = !r.bad && hr_krequest_find(ret->api_key, ret->version) &&
                    hr_krequest_header_version(ret->api_key, ret->version) >= 2;
    r.flexible = ret->flexible;
    nb_skip_tags(&r);
    ret->body = r;
    return !r.bad;
}

static bool answer(struct nb_conn *c, struct nb_request *req)
{
    int16_t min, max;
    broker.requests++;
    if (req->api_key != NB_PRODUCE && req->api_key != NB_FETCH)
        return nb_other(&broker, c, req);
    if (!nb_versions(req->api_key, &min, &max) || req->version < min || req->version > max)
        return false;
    return req->api_key == NB_PRODUCE ? nb_produce(&broker, c, req) : nb_fetch(&broker, c, req, hr_now_us());
}

/* Answers what has been read as far as there is room for answers. False: the connection is to be closed. */
static bool process(struct nb_conn *c)
{
    uint32_t at = 0;
    c->stalled = false;
    while (c->in_used - at >= 4 && c->skip == 0 && c->hold_until_us == 0) {
        uint32_t size = hr_kget32(c->in + at), have = c->in_used - at - 4;
        struct nb_request req;
        if (size < 10 || size > NB_FRAME_MAX)
            return false;
        if (!nb_out_room(&c->out, NB_OUT_SMALL / 2, NB_ANSWER_REFS)) {
            if (!flush(c))
                return false;
            if (!nb_out_empty(&c->out)) {
                c->stalled = true;
                break;
            }
        }
        if (have >= size) {
            if (!parse_header(c->in + at + 4, size, &req) || !answer(c, &req))
                return false;
            at += 4 + size;
            continue;
        }
        if (have < EARLY_BYTES || !parse_header(c->in + at + 4, have, &req) || req.api_key != NB_PRODUCE || req.version < 3 ||
            req.version > 12)
            break;
        if (!nb_produce_early(&broker, c, &req))
            break;
        broker.requests++;
        c->skip = size - have;
        at = c->in_used;
    }
    memmove(c->in, c->in + at, c->in_used - at);
    c->in_used -= at;
    return true;
}

static bool grow(struct nb_conn *c)
{
    uint32_t need = c->in_used >= 4 ? 4 + hr_kget32(c->in) : IN_FIRST;
    if (need > NB_FRAME_MAX + 4)
        return false;
    if (c->in_used < c->in_cap)
        return true;
    uint32_t cap = need > c->in_cap ? need : c->in_cap * 2;
    uint8_t *in = cap <= NB_FRAME_MAX + 4 ? realloc(c->in, cap) : NULL;
    if (!in)
        return false;
    c->in = in;
    c->in_cap = cap;
    return true;
}

static bool readable(struct nb_conn *c)
{
    ssize_t n;
    if (c->skip > 0) { /* thrown away in the kernel: a real broker would copy it, a null one need not */
        n = recv(c->fd, NULL, c->skip, MSG_TRUNC | MSG_DONTWAIT);
        if (n > 0)
            c->skip -= (uint32_t)n;
    } else {
        if (!grow(c))
            return false;
        n = recv(c->fd, c->in + c->in_used, c->in_cap - c->in_used, MSG_DONTWAIT);
        if (n > 0)
            c->in_used += (uint32_t)n;
    }
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* After reading, writing or waiting: moves on as far as it goes. */
static void advance(struct nb_conn *c)
{
    if (!process(c)) {
        broker.refused++;
        close_conn(c);
        return;
    }
    if (c->hold_until_us != 0 && !c->next && held != c) {
        c->next = held;
        held = c;
        return;
    }
    /* The answer to what is still arriving waits for its end. */
    if (c->skip == 0 && c->hold_until_us == 0 && !flush(c)) {
        close_conn(c);
        return;
    }
    want(c, c->skip == 0 && (c->stalled || !nb_out_empty(&c->out)));
}

static void serve(struct nb_conn *c, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (!flush(c)) {
            close_conn(c);
            return;
        }
    } else if (!readable(c)) {
        close_conn(c);
        return;
    }
    advance(c);
}

static void release_held(uint64_t now_us)
{
    struct nb_conn **p = &held;
    while (*p) {
        struct nb_conn *c = *p;
        if (c->hold_until_us > now_us) {
            p = &c->next;
            continue;
        }
        *p = c->next;
        c->next = NULL;
        c->hold_until_us = 0;
        if (!flush(c))
            close_conn(c);
        else
            advance(c);
        p = &held; /* advance() may have changed the list */
    }
}

static void accept_all(const struct nb_listener *l)
{
    int fd, one = 1;
    while ((fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct nb_conn *c = calloc(1, sizeof(*c));
        uint8_t *in = malloc(IN_FIRST);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (!c || !in || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
            free(c);
            free(in);
            close(fd);
            continue;
        }
        c->fd = fd;
        c->listener = l;
        c->in = in;
        c->in_cap = IN_FIRST;
    }
}

/* ---- start and end ------------------------------------------------------------------------------------------ */

static bool split_port(char *text, int32_t *ret_port)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    *colon = 0;
    *ret_port = atoi(colon + 1);
    return *ret_port > 0 && *ret_port < 65536;
}

static void add_listener(char *arg)
{
    struct nb_listener *l = &broker.listeners[broker.n_listeners];
    struct sockaddr_in sa = {.sin_family = AF_INET};
    char *shown = strchr(arg, '=');
    int32_t port;
    int one = 1;

    errno = 0;
    if (shown)
        *shown++ = 0;
    if (broker.n_listeners == NB_MAX_LISTENERS || !split_port(arg, &port) || inet_pton(AF_INET, arg, &sa.sin_addr) != 1)
        die("--listen");
    l->port = port;
    if (shown && !split_port(shown, &l->port))
        die("--listen");
    snprintf(l->host, sizeof(l->host), "%s", shown ? shown : arg);
    sa.sin_port = htons((uint16_t)port);
    l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(l->fd, 4096) != 0)
        die(arg);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = l};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, l->fd, &ev) != 0)
        die("epoll");
    broker.n_listeners++;
}

static bool is_listener(const void *p)
{
    return (const struct nb_listener *)p >= broker.listeners &&
           (const struct nb_listener *)p < broker.listeners + NB_MAX_LISTENERS;
}

static void loop(void)
{
    while (!stopping) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epoll_fd, events, EVENTS, held ? HOLD_TICK_MS : -1);
        for (int i = 0; i < n; i++) {
            if (is_listener(events[i].data.ptr))
                accept_all(events[i].data.ptr);
            else
                serve(events[i].data.ptr, events[i].events);
        }
        if (held)
            release_held(hr_now_us());
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},      {"node-id", required_argument, NULL, 'i'},
        {"partitions", required_argument, NULL, 'p'},  {"topic", required_argument, NULL, 't'},
        {"record-bytes", required_argument, NULL, 'r'}, {"batch-bytes", required_argument, NULL, 'b'},
        {"fetch-bytes", required_argument, NULL, 'f'}, {"rack", required_argument, NULL, 'R'},
        {"help", no_argument, NULL, 'h'},              {NULL, 0, NULL, 0},
    };
    uint32_t record_bytes = 1000, batch_bytes = 16384;
    const char *topic = "bench";
    int opt;

    broker.node_id = 1;
    broker.partitions = 6;
    broker.fetch_bytes_max = 1u << 20;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    while ((opt = getopt_long(argc, argv, "l:i:p:t:r:b:f:R:h", options, NULL)) != -1) {
        switch (opt) {
        case 'l': add_listener(optarg); break;
        case 'i': broker.node_id = atoi(optarg); break;
        case 'p': broker.partitions = atoi(optarg); break;
        case 't': topic = optarg; break;
        case 'r': record_bytes = (uint32_t)atoi(optarg); break;
        case 'b': batch_bytes = (uint32_t)atoi(optarg); break;
        case 'f': broker.fetch_bytes_max = (uint32_t)atoi(optarg); break;
        case 'R': broker.rack = optarg; break;
        case 'h': fputs(help, stdout); return 0;
        default: fputs(help, stderr); return 2;
        }
    }
    errno = 0;
    if (broker.n_listeners == 0 || optind < argc || broker.partitions < 1 || broker.partitions > NB_MAX_PARTITIONS ||
        record_bytes < 1 || record_bytes > (1u << 20) || batch_bytes > (1u << 20) || batch_bytes < 128)
        die("command line");
    if (nb_batch_make(&broker.batch, batch_bytes, record_bytes) != 0)
        die("memory");
    nb_topic_get(&broker, (const uint8_t *)topic, (uint32_t)strlen(topic));
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    loop();
    printf("{\"requests\": %llu, \"produced_bytes\": %llu, \"fetched_bytes\": %llu, \"refused\": %llu}\n",
           (unsigned long long)broker.requests, (unsigned long long)broker.produced_bytes,
           (unsigned long long)broker.fetched_bytes, (unsigned long long)broker.refused);
    return 0;
}
