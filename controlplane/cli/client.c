#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "controlplane/cli/cli.h"

#define ANSWER_MAX (128u * 1024 * 1024)
#define TIMEOUT_S  15

static int unreachable(const struct cli *cli, const char *what)
{
    fprintf(stderr, "headracectl: %s: %s: %s\n", cli->socket_path, what, strerror(errno));
    if (errno == ENOENT || errno == ECONNREFUSED)
        fputs("headracectl: is headrace-controlplane running? Another socket is named with --socket.\n",
              stderr);
    else if (errno == EACCES)
        fputs("headracectl: the socket belongs to the control plane's user and group.\n", stderr);
    return CLI_UNREACHABLE;
}

static int open_socket(const struct cli *cli, int *ret_fd)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int fd;

    if (strlen(cli->socket_path) >= sizeof(sun.sun_path)) {
        errno = ENAMETOOLONG;
        return unreachable(cli, "cannot connect");
    }
    strcpy(sun.sun_path, cli->socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unreachable(cli, "no socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0) {
        int saved = errno;

        close(fd);
        errno = saved;
        return unreachable(cli, "cannot connect");
    }
    *ret_fd = fd;
    return CLI_OK;
}

static bool send_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

/* One line; NULL when it does not come. The caller frees it. */
static char *receive_line(int fd, size_t *ret_len)
{
    size_t cap = 64 * 1024, len = 0;
    char *line = malloc(cap);

    while (line) {
        ssize_t n = recv(fd, line + len, cap - len, 0);
        char *end;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = ECONNRESET;
            break;
        }
        end = memchr(line + len, '\n', (size_t)n);
        len += (size_t)n;
        if (end) {
            *ret_len = (size_t)(end - line);
            return line;
        }
        if (len == cap) {
            char *more = cap < ANSWER_MAX ? realloc(line, cap * 2) : NULL;

            if (!more) {
                errno = EMSGSIZE;
                break;
            }
            line = more;
            cap *= 2;
        }
    }
    free(line);
    return NULL;
}

int cli_ask(const struct cli *cli, json_t *request, json_t **ret_result)
{
    char *text = json_dumps(request, JSON_COMPACT), *line;
    json_error_t error;
    json_t *result;
    size_t len;
    int fd = -1, ret;

    json_decref(request);
    if (!text) {
        fputs("headracectl: an argument is not UTF-8\n", stderr);
        return CLI_USAGE;
    }
    ret = open_socket(cli, &fd);
    if (ret != CLI_OK) {
        free(text);
        return ret;
    }
    len = strlen(text);
    text[len] = '\n';
    if (!send_all(fd, text, len + 1) || !(line = receive_line(fd, &len))) {
        ret = unreachable(cli, "no answer");
        free(text);
        close(fd);
        return ret;
    }
    free(text);
    close(fd);
    result = json_loadb(line, len, 0, &error);
    free(line);
    if (!json_is_object(result)) {
        fprintf(stderr, "headracectl: %s: what answers is not Headrace's control plane\n", cli->socket_path);
        json_decref(result);
        return CLI_UNREACHABLE;
    }
    if (!cli_bool(result, "ok")) {
        if (!cli_print_json(cli, result))
            fprintf(stderr, "headracectl: %s\n", cli_text(result, "error"));
        json_decref(result);
        return CLI_FAILED;
    }
    *ret_result = result;
    return CLI_OK;
}

int cli_ask_cmd(const struct cli *cli, const char *cmd, json_t **ret_result)
{
    return cli_ask(cli, json_pack("{s:s}", "cmd", cmd), ret_result);
}

bool cli_print_json(const struct cli *cli, const json_t *result)
{
    if (!cli->json)
        return false;
    json_dumpf(result, cli->out, JSON_INDENT(2));
    fputc('\n', cli->out);
    return true;
}
