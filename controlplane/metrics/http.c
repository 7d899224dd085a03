#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "controlplane/daemon/daemon.h"
#include "controlplane/loop/loop.h"
#include "controlplane/metrics/metrics.h"
#include "controlplane/metrics/text.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define CONNECTIONS_MAX   64
#define IDLE_S            30
#define CONNECTION_MEMORY (32 * 1024)

struct hr_metrics {
    struct hr_daemon *daemon;
    struct MHD_Daemon *mhd;
    struct hr_watch watch;
    struct hr_timer timer;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               char *body, size_t len, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(len, body, mode);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result respond_line(struct MHD_Connection *connection, unsigned status, const char *line)
{
    return respond(connection, status, "text/plain; charset=utf-8", (char *)(uintptr_t)line, strlen(line),
                   MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    struct hr_metrics *metrics = cls;
    const char *why = "";

    (void)version;
    (void)upload;
    if (!*context) {
        /* First call: headers only. The request's end is waited for, or the connection could not be reused.
         */
        *context = metrics;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return respond_line(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/metrics") == 0) {
        struct hr_text text = {0};

        hr_metrics_write(metrics->daemon, &text);
        if (text.failed || !text.bytes) {
            hr_text_free(&text);
            return respond_line(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
        }
        return respond(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text.bytes,
                       text.len, MHD_RESPMEM_MUST_FREE);
    }
    if (strcmp(url, "/live") == 0)
        return respond_line(connection, MHD_HTTP_OK, "live\n");
    if (strcmp(url, "/ready") == 0) {
        char line[160];

        if (hr_daemon_ready(metrics->daemon, &why))
            return respond_line(connection, MHD_HTTP_OK, "ready\n");
        snprintf(line, sizeof(line), "not ready: %s\n", why);
        return respond_line(connection, MHD_HTTP_SERVICE_UNAVAILABLE, line);
    }
    return respond_line(connection, MHD_HTTP_NOT_FOUND, "/metrics, /live or /ready\n");
}

static void run(struct hr_metrics *metrics)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    MHD_run(metrics->mhd);
    if (MHD_get_timeout(metrics->mhd, &timeout_ms) == MHD_YES)
        hr_timer_in(metrics->daemon->loop, &metrics->timer, timeout_ms * HR_US_PER_MS);
    else
        hr_timer_cancel(metrics->daemon->loop, &metrics->timer);
}

static void on_ready(struct hr_watch *watch, uint32_t events)
{
    (void)events;
    run(watch->arg);
}

static void on_timer(struct hr_timer *timer)
{
    run(timer->arg);
}

static void on_mhd_log(void *arg, const char *fmt, va_list args)
{
    char line[256];

    (void)arg;
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = '\0';
    hr_log_debug("metrics: %s", line);
}

/* An address literal or "localhost". */
static int parse_address(const char *host, uint16_t port, struct sockaddr_storage *ret_addr)
{
    struct sockaddr_in *v4 = (void *)ret_addr;
    struct sockaddr_in6 *v6 = (void *)ret_addr;

    memset(ret_addr, 0, sizeof(*ret_addr));
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return 0;
    }
    return HR_E_INVALID;
}

int hr_metrics_create(struct hr_daemon *d, struct hr_metrics **ret_metrics)
{
    const char *host = d->config->control.metrics_host;
    uint16_t port = d->config->control.metrics_port;
    struct sockaddr_storage addr;
    struct hr_metrics *metrics;
    const union MHD_DaemonInfo *info;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_ERROR_LOG;

    *ret_metrics = NULL;
    if (!host[0])
        return 0;
    if (parse_address(host, port, &addr) != 0) {
        hr_log_error("control.metrics_address: %s is not an address of this machine", host);
        return HR_E_CONFIG;
    }
    metrics = calloc(1, sizeof(*metrics));
    if (!metrics)
        return HR_E_NOMEM;
    metrics->daemon = d;
    metrics->timer = (struct hr_timer){.fn = on_timer, .arg = metrics};
    if (addr.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    metrics->mhd =
        MHD_start_daemon(flags, port, NULL, NULL, on_request, metrics, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log,
                         NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&addr, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                         MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
    info = metrics->mhd ? MHD_get_daemon_info(metrics->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (info)
        metrics->watch = (struct hr_watch){.fd = info->epoll_fd, .fn = on_ready, .arg = metrics};
    if (!info || hr_loop_add(d->loop, &metrics->watch, EPOLLIN) != 0) {
        hr_log_error("control.metrics_address: cannot listen on %s:%u (errno %d)", host, port, errno);
        hr_metrics_destroy(metrics);
        return HR_E_SYSTEM;
    }
    hr_log_info("metrics on http://%s:%u/metrics", host, port);
    *ret_metrics = metrics;
    return 0;
}

void hr_metrics_destroy(struct hr_metrics *metrics)
{
    if (!metrics)
        return;
    hr_timer_cancel(metrics->daemon->loop, &metrics->timer);
    hr_loop_remove(metrics->daemon->loop, &metrics->watch);
    if (metrics->mhd)
        MHD_stop_daemon(metrics->mhd);
    free(metrics);
}
