#include "bench/e2e/load/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shared/kafka/wire.h"

#define FIRST_CAP 64u
#define SEND_BATCH 32u
#define READ_BYTES (256u << 10)
#define PASS_BYTES 4096u
#define CONNECT_TIMEOUT_S 10

int ld_conn_open(struct ld_conn *conn, uint32_t addr_be, uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = addr_be};
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
    int one = 1;

    *conn = (struct ld_conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .cap = FIRST_CAP};
    conn->due_ns = malloc(FIRST_CAP * sizeof(*conn->due_ns));
    if (conn->fd >= 0 && conn->due_ns && setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0 &&
        connect(conn->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
        setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0)
        return 0;
    int saved = errno;
    ld_conn_close(conn);
    errno = saved;
    return HR_E_SYSTEM;
}

void ld_conn_close(struct ld_conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    free(conn->due_ns);
    conn->fd = -1;
    conn->due_ns = NULL;
}

int ld_conn_due(struct ld_conn *conn, uint64_t due_ns)
{
    if (ld_conn_unanswered(conn) == conn->cap) {
        uint64_t *wider = malloc(2 * (size_t)conn->cap * sizeof(*wider));
        if (!wider)
            return HR_E_NOMEM;
        for (uint32_t i = conn->head; i != conn->tail; i++)
            wider[i & (2 * conn->cap - 1)] = conn->due_ns[i & (conn->cap - 1)];
        free(conn->due_ns);
        conn->due_ns = wider;
        conn->cap *= 2;
    }
    conn->due_ns[conn->tail++ & (conn->cap - 1)] = due_ns;
    return 0;
}

/* The requests from `sent` on as one vector; returns how many of them. */
static uint32_t gather(const struct ld_conn *conn, const struct ld_request *req, uint8_t heads[][LD_HEAD_BYTES],
                       struct iovec *iov, uint32_t *ret_n_iov)
{
    uint32_t room = LD_IN_FLIGHT_MAX - (conn->sent - conn->head), n = conn->tail - conn->sent, n_iov = 0;
    if (n > room)
        n = room;
    if (n > SEND_BATCH)
        n = SEND_BATCH;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t skip = i == 0 ? conn->sent_bytes : 0;
        ld_request_head(req, (int32_t)((conn->sent + i) & INT32_MAX), heads[i]);
        if (skip < LD_HEAD_BYTES) {
            iov[n_iov++] = (struct iovec){.iov_base = heads[i] + skip, .iov_len = LD_HEAD_BYTES - skip};
            skip = LD_HEAD_BYTES;
        }
        iov[n_iov++] = (struct iovec){.iov_base = req->bytes + skip, .iov_len = req->len - skip};
    }
    *ret_n_iov = n_iov;
    return n;
}

int ld_conn_send(struct ld_conn *conn, const struct ld_request *req, bool *ret_blocked)
{
    uint8_t heads[SEND_BATCH][LD_HEAD_BYTES];
    struct iovec iov[2 * SEND_BATCH];
    uint32_t n_iov;

    *ret_blocked = false;
    while (gather(conn, req, heads, iov, &n_iov) > 0) {
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n_iov};
        ssize_t n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            *ret_blocked = true;
            return 0;
        }
        if (n < 0)
            return HR_E_SYSTEM;
        uint64_t sent_bytes = conn->sent_bytes + (uint64_t)n;
        conn->sent += (uint32_t)(sent_bytes / req->len);
        conn->sent_bytes = (uint32_t)(sent_bytes % req->len);
    }
    return 0;
}

/* Takes bytes up to the end of the answer that is arriving; returns how many. */
static uint32_t consume(struct ld_conn *conn, const struct ld_request *req, const uint8_t *data, uint32_t n, int *ret_error)
{
    if (conn->judged) {
        uint32_t part = n < conn->left ? n : conn->left;
        conn->left -= part;
        return part;
    }
    uint32_t size = conn->n_prefix >= 4 ? hr_kget32(conn->prefix) : 0;
    uint32_t want = 4 + (size < LD_PREFIX_MAX ? size : LD_PREFIX_MAX);
    uint32_t part = n < want - conn->n_prefix ? n : want - conn->n_prefix;
    memcpy(conn->prefix + conn->n_prefix, data, part);
    conn->n_prefix += part;
    if (conn->n_prefix < want || size == 0) {
        if (conn->n_prefix == 4 && hr_kget32(conn->prefix) < 4)
            *ret_error = -1;
        return part;
    }
    if (conn->head == conn->sent || (int32_t)hr_kget32(conn->prefix + 4) != (int32_t)(conn->head & INT32_MAX))
        *ret_error = -1; /* nobody asked for it */
    else
        *ret_error = ld_request_judge(req, conn->prefix + 4, conn->n_prefix - 4);
    conn->judged = true;
    conn->left = 4 + size - conn->n_prefix;
    return part;
}

static void finish(struct ld_conn *conn, ld_answered_fn *answered, void *arg, struct ld_got *got)
{
    if (!conn->judged || conn->left > 0 || got->error)
        return;
    uint64_t due_ns = conn->due_ns[conn->head++ & (conn->cap - 1)];
    conn->n_prefix = 0;
    conn->judged = false;
    got->answers++;
    answered(arg, conn, due_ns, 4 + hr_kget32(conn->prefix));
}

int ld_conn_receive(struct ld_conn *conn, const struct ld_request *req, ld_answered_fn *answered, void *arg,
                    struct ld_got *ret)
{
    static uint8_t buf[READ_BYTES];
    /* What is only passed over stays in the kernel: the load must cost less than what it measures. */
    bool pass = conn->left > PASS_BYTES;
    ssize_t n = pass ? recv(conn->fd, NULL, conn->left, MSG_TRUNC | MSG_DONTWAIT)
                     : recv(conn->fd, buf, sizeof(buf), MSG_DONTWAIT);

    *ret = (struct ld_got){0};
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        errno = n == 0 ? ECONNRESET : errno;
        return HR_E_SYSTEM;
    }
    ret->bytes = (uint64_t)n;
    if (pass) {
        conn->left -= (uint32_t)n;
        finish(conn, answered, arg, ret);
        return 0;
    }
    for (uint32_t at = 0; at < (uint32_t)n && !ret->error;) {
        at += consume(conn, req, buf + at, (uint32_t)n - at, &ret->error);
        finish(conn, answered, arg, ret);
    }
    return 0;
}
