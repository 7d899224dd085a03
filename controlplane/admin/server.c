#include "controlplane/admin/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

/* A client that takes no byte of its answer for so long is let go. */
#define STALL_US  (30 * HR_US_PER_S)
#define DEPTH_MAX 8 /* nesting of a request; the deepest that means anything has 2 */

struct client;

struct hr_admin_request {
    struct client *client; /* NULL: it went away meanwhile */
};

struct client {
    struct client *next;
    struct hr_admin *admin;
    struct hr_watch watch;
    struct hr_timer stall;
    struct hr_admin_request *request; /* being answered: no further line is read */
    char line[HR_ADMIN_LINE_MAX];
    uint32_t n_line;
    char *out;
    uint32_t out_sent, out_len;
    bool eof;     /* it closed its half: what it asked is still answered */
    bool closing; /* after the answer */
};

struct hr_admin {
    struct hr_loop *loop;
    const struct hr_admin_ops *ops;
    void *owner;
    struct hr_watch listener;
    struct client *clients;
    uint32_t n_clients;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void next_line(struct client *client);

static void drop(struct client *client)
{
    struct hr_admin *admin = client->admin;
    struct client **at = &admin->clients;

    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    admin->n_clients--;
    if (client->request)
        client->request->client = NULL;
    hr_loop_remove(admin->loop, &client->watch);
    hr_timer_cancel(admin->loop, &client->stall);
    close(client->watch.fd);
    free(client->out);
    free(client);
    if (admin->n_clients == HR_ADMIN_CLIENTS_MAX - 1)
        hr_loop_modify(admin->loop, &admin->listener, EPOLLIN);
}

static void on_stall(struct hr_timer *timer)
{
    hr_log_warn("admin: a client of the control socket does not read its answer; dropped");
    drop(timer->arg);
}

/* What to wait for: room for the answer, else the next request. */
static void set_interest(struct client *client)
{
    uint32_t events = 0;

    if (client->out)
        events = EPOLLOUT;
    else if (!client->request && !client->eof)
        events = EPOLLIN;
    hr_loop_modify(client->admin->loop, &client->watch, events);
}

/* False: the client is gone. */
static bool write_out(struct client *client)
{
    while (client->out) {
        ssize_t n = send(client->watch.fd, client->out + client->out_sent, client->out_len - client->out_sent,
                         MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (!hr_timer_is_set(&client->stall))
                hr_timer_in(client->admin->loop, &client->stall, STALL_US);
            return true;
        }
        if (n <= 0) {
            drop(client);
            return false;
        }
        hr_timer_cancel(client->admin->loop, &client->stall);
        client->out_sent += (uint32_t)n;
        if (client->out_sent == client->out_len) {
            free(client->out);
            client->out = NULL;
            if (client->closing) {
                drop(client);
                return false;
            }
        }
    }
    return true;
}

/* Takes result. */
static void answer(struct hr_admin_request *request, json_t *result)
{
    struct client *client = request->client;
    char *text;
    size_t len;

    free(request);
    if (!client) {
        json_decref(result);
        return;
    }
    client->request = NULL;
    text = json_dumps(result, JSON_COMPACT);
    json_decref(result);
    len = text ? strlen(text) : 0;
    if (!text || len >= HR_ADMIN_ANSWER_MAX) {
        free(text);
        text = strdup("{\"ok\":false,\"code\":\"TOO_LARGE\",\"error\":\"the answer is too large\"}");
        len = text ? strlen(text) : 0;
        if (!text) {
            /* Not dropped here: a handler up the stack may still look at it. */
            client->eof = true;
            client->n_line = 0;
            hr_loop_modify(client->admin->loop, &client->watch, EPOLLOUT);
            return;
        }
    }
    text[len] = '\n'; /* the terminator is not sent */
    client->out = text;
    client->out_sent = 0;
    client->out_len = (uint32_t)len + 1;
    /* Sent when the loop comes round: the handler up the stack may still use the client's line. */
    hr_loop_modify(client->admin->loop, &client->watch, EPOLLOUT);
}

void hr_admin_reply(struct hr_admin_request *request, json_t *result)
{
    if (!result)
        result = json_object();
    json_object_set_new(result, "ok", json_true());
    answer(request, result);
}

void hr_admin_fail(struct hr_admin_request *request, int err, const char *fmt, ...)
{
    char text[512];
    json_t *result;
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    result = json_pack("{s:b, s:s, s:s}", "ok", 0, "code", hr_errname(err), "error", text);
    if (!result) /* the text was cut within a character */
        result = json_pack("{s:b, s:s, s:s}", "ok", 0, "code", hr_errname(err), "error", hr_strerror(err));
    answer(request, result);
}

/* Nesting is bounded before jansson recurses; brackets inside strings only make it stricter. */
static bool too_deep(const char *line, uint32_t len)
{
    int depth = 0;

    for (uint32_t i = 0; i < len; i++) {
        if (line[i] == '{' || line[i] == '[')
            depth++;
        else if (line[i] == '}' || line[i] == ']')
            depth--;
        if (depth > DEPTH_MAX)
            return true;
    }
    return false;
}

int hr_admin_parse(const char *line, uint32_t len, json_t **ret_args, const char **ret_cmd, char why[160])
{
    json_error_t error;
    json_t *args, *cmd;

    if (too_deep(line, len)) {
        snprintf(why, 160, "the request is nested too deeply");
        return HR_E_INVALID;
    }
    args = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
    if (!args) {
        snprintf(why, 160, "not JSON: %.100s (column %d)", error.text, error.column);
        return HR_E_INVALID;
    }
    cmd = json_object_get(args, "cmd");
    if (!json_is_object(args) || !json_is_string(cmd)) {
        json_decref(args);
        snprintf(why, 160, "a request is an object with a string \"cmd\"");
        return HR_E_INVALID;
    }
    *ret_args = args;
    *ret_cmd = json_string_value(cmd);
    return 0;
}

static void handle_line(struct client *client, const char *line, uint32_t len)
{
    struct hr_admin_request *request = calloc(1, sizeof(*request));
    const char *cmd;
    json_t *args;
    char why[160];

    if (!request) {
        client->closing = true;
        return;
    }
    request->client = client;
    client->request = request;
    if (hr_admin_parse(line, len, &args, &cmd, why) != 0) {
        hr_admin_fail(request, HR_E_INVALID, "%s", why);
        return;
    }
    client->admin->ops->request(client->admin->owner, request, cmd, args);
    json_decref(args);
}

/* Handles the first complete line of what has arrived, if nothing is being answered. */
static void next_line(struct client *client)
{
    while (!client->request && !client->out) {
        char *end = memchr(client->line, '\n', client->n_line);
        uint32_t len, used;

        if (!end && client->eof && client->n_line > 0)
            end = client->line + client->n_line; /* a last line without its newline */
        if (!end && client->n_line == HR_ADMIN_LINE_MAX) {
            struct hr_admin_request *request = calloc(1, sizeof(*request));

            if (request) {
                request->client = client;
                client->request = request;
                hr_admin_fail(request, HR_E_TOO_LARGE, "a request is at most %d bytes", HR_ADMIN_LINE_MAX);
            }
            client->closing = true;
            client->n_line = 0;
            return;
        }
        if (!end)
            return;
        len = (uint32_t)(end - client->line);
        used = len < client->n_line ? len + 1 : len;
        if (len > 0 && client->line[len - 1] == '\r')
            len--;
        if (len > 0)
            handle_line(client, client->line, len);
        memmove(client->line, client->line + used, client->n_line - used);
        client->n_line -= used;
    }
}

static void on_client(struct hr_watch *watch, uint32_t events)
{
    struct client *client = watch->arg;

    if (client->out && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && !write_out(client))
        return;
    if (!client->out && !client->request && !client->eof && client->n_line < HR_ADMIN_LINE_MAX &&
        (events & (EPOLLIN | EPOLLERR | EPOLLHUP))) {
        ssize_t n =
            recv(watch->fd, client->line + client->n_line, HR_ADMIN_LINE_MAX - client->n_line, MSG_DONTWAIT);

        if (n > 0)
            client->n_line += (uint32_t)n;
        else if (n == 0)
            client->eof = true;
        else if (errno != EAGAIN && errno != EINTR) {
            drop(client);
            return;
        }
    } else if (client->request && !client->out && (events & (EPOLLERR | EPOLLHUP))) {
        drop(client); /* gone both ways while its answer is made */
        return;
    }
    next_line(client);
    if (client->eof && !client->out && !client->request) {
        drop(client);
        return;
    }
    set_interest(client);
}

static void on_listener(struct hr_watch *watch, uint32_t events)
{
    struct hr_admin *admin = watch->arg;
    struct client *client;
    int fd;

    (void)events;
    if (admin->n_clients >= HR_ADMIN_CLIENTS_MAX) {
        hr_loop_modify(admin->loop, watch, 0); /* the backlog holds them; drop() looks again */
        return;
    }
    fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    client = calloc(1, sizeof(*client));
    if (!client) {
        close(fd);
        return;
    }
    client->admin = admin;
    client->watch = (struct hr_watch){.fd = fd, .fn = on_client, .arg = client};
    client->stall = (struct hr_timer){.fn = on_stall, .arg = client};
    if (hr_loop_add(admin->loop, &client->watch, EPOLLIN) != 0) {
        close(fd);
        free(client);
        return;
    }
    client->next = admin->clients;
    admin->clients = client;
    admin->n_clients++;
}

/* Removes a socket file whose process is gone; EXISTS when somebody listens. */
static int clear_path(const struct sockaddr_un *sun)
{
    struct stat st;
    int fd, err = 0;

    if (lstat(sun->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : HR_E_SYSTEM;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return HR_E_SYSTEM;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return HR_E_SYSTEM;
    if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 || errno == EAGAIN)
        err = HR_E_EXISTS;
    else if (unlink(sun->sun_path) != 0 && errno != ENOENT)
        err = HR_E_SYSTEM;
    close(fd);
    return err;
}

int hr_admin_create(struct hr_loop *loop, const char *socket_path, const struct hr_admin_ops *ops,
                    void *owner, struct hr_admin **ret_admin)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct hr_admin *admin;
    mode_t mask;
    int fd, err;

    if (strlen(socket_path) >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return HR_E_SYSTEM;
    }
    strcpy(sun.sun_path, socket_path);
    err = clear_path(&sun);
    if (err)
        return err;
    admin = calloc(1, sizeof(*admin));
    if (!admin)
        return HR_E_NOMEM;
    strcpy(admin->path, socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        free(admin);
        return HR_E_SYSTEM;
    }
    mask = umask(0117); /* 0660 from the first moment on */
    err = bind(fd, (struct sockaddr *)&sun, sizeof(sun));
    umask(mask);
    admin->loop = loop;
    admin->ops = ops;
    admin->owner = owner;
    admin->listener = (struct hr_watch){.fd = fd, .fn = on_listener, .arg = admin};
    if (err != 0 || listen(fd, 16) != 0 || hr_loop_add(loop, &admin->listener, EPOLLIN) != 0) {
        close(fd);
        free(admin);
        return HR_E_SYSTEM;
    }
    *ret_admin = admin;
    return 0;
}

void hr_admin_destroy(struct hr_admin *admin)
{
    if (!admin)
        return;
    while (admin->clients)
        drop(admin->clients);
    hr_loop_remove(admin->loop, &admin->listener);
    close(admin->listener.fd);
    unlink(admin->path);
    free(admin);
}
