#include "controlplane/admin/server.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"

static uint64_t fake_now;
static struct hr_loop *loop;
static struct hr_admin *admin;
static struct hr_admin_request *held; /* of the command "hold" */
static char path[64];
static int n_requests;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void on_request(void *owner, struct hr_admin_request *request, const char *cmd, const json_t *args)
{
    (void)owner;
    n_requests++;
    if (strcmp(cmd, "hold") == 0) {
        held = request;
    } else if (strcmp(cmd, "big") == 0) {
        json_t *array = json_array();

        for (int i = 0; i < 200000; i++)
            json_array_append_new(array, json_string("a rather long text to fill buffers with"));
        hr_admin_reply(request, json_pack("{s:o}", "texts", array));
    } else if (strcmp(cmd, "echo") == 0) {
        hr_admin_reply(request, json_pack("{s:O}", "args", args));
    } else {
        hr_admin_fail(request, HR_E_NOT_FOUND, "no command %s", cmd);
    }
}

static const struct hr_admin_ops ops = {.request = on_request};

static int set_up(void **state)
{
    (void)state;
    fake_now = 1;
    n_requests = 0;
    held = NULL;
    snprintf(path, sizeof(path), "/tmp/hr-admin-test-%d.sock", getpid());
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    return hr_admin_create(loop, path, &ops, NULL, &admin);
}

static int tear_down(void **state)
{
    (void)state;
    hr_admin_destroy(admin);
    hr_loop_destroy(loop);
    assert_int_not_equal(access(path, F_OK), 0);
    return 0;
}

static void turn(void)
{
    for (int i = 0; i < 20; i++)
        hr_loop_turn(loop, 0);
}

static int open_client(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(sun.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    turn();
    return fd;
}

static void put(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    turn();
}

/* What has arrived so far, as text. */
static const char *get(int fd)
{
    static char text[64 * 1024];
    ssize_t n;

    turn();
    n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static bool is_closed(int fd)
{
    char byte;

    turn();
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void a_request_gets_one_line(void **state)
{
    struct stat st;
    int fd = open_client();

    (void)state;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    put(fd, "{\"cmd\":\"ec");
    assert_string_equal(get(fd), "");
    put(fd, "ho\",\"x\":1}\r\n");
    assert_string_equal(get(fd), "{\"args\":{\"cmd\":\"echo\",\"x\":1},\"ok\":true}\n");
    put(fd, "{\"cmd\":\"none\"}\n\n\n");
    assert_string_equal(get(fd), "{\"ok\":false,\"code\":\"NOT_FOUND\",\"error\":\"no command none\"}\n");
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    int fd = open_client();
    const char *text;

    (void)state;
    put(fd, "{\"cmd\":\"hold\"}\n{\"cmd\":\"echo\",\"x\":2}\n");
    assert_non_null(held);
    assert_int_equal(n_requests, 1);
    assert_string_equal(get(fd), "");
    hr_admin_reply(held, NULL);
    text = get(fd);
    assert_string_equal(text, "{\"ok\":true}\n{\"args\":{\"cmd\":\"echo\",\"x\":2},\"ok\":true}\n");
    close(fd);
}

static void rubbish_is_named_and_survived(void **state)
{
    static const char *const lines[] = {"x",
                                        "{",
                                        "[]",
                                        "{}",
                                        "\"cmd\"",
                                        "{\"cmd\":1}",
                                        "{\"cmd\":\"a\",\"cmd\":\"b\"}",
                                        "\xff\xfe",
                                        "{\"cmd\":\"a\"}x",
                                        "[[[[[[[[[[[[[[[[[[[[",
                                        "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}"};
    int fd = open_client();

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        put(fd, lines[i]);
        put(fd, "\n");
        assert_non_null(strstr(get(fd), "\"code\":\"INVALID\""));
    }
    assert_int_equal(n_requests, 0);
    put(fd, "{\"cmd\":\"echo\"}\n");
    assert_non_null(strstr(get(fd), "\"ok\":true"));
    close(fd);
}

static void a_line_without_end_is_bounded(void **state)
{
    static char line[HR_ADMIN_LINE_MAX + 100];
    int fd = open_client();

    (void)state;
    memset(line, 'a', sizeof(line));
    assert_int_equal(send(fd, line, sizeof(line), MSG_NOSIGNAL), sizeof(line));
    turn();
    assert_non_null(strstr(get(fd), "TOO_LARGE"));
    close(fd);
    fd = open_client();
    put(fd, "{\"cmd\":\"echo\"}\n");
    assert_non_null(strstr(get(fd), "\"ok\":true"));
    close(fd);
}

static void a_client_that_goes_away_is_forgotten(void **state)
{
    int fd = open_client();

    (void)state;
    put(fd, "{\"cmd\":\"hold\"}\n");
    assert_non_null(held);
    close(fd);
    turn();
    hr_admin_reply(held, NULL); /* to nobody */
    fd = open_client();
    put(fd, "{\"cmd\":\"echo\"}\n");
    assert_non_null(strstr(get(fd), "\"ok\":true"));
    close(fd);
}

static void a_half_closed_client_is_still_answered(void **state)
{
    int fd = open_client();

    (void)state;
    put(fd, "{\"cmd\":\"echo\",\"x\":3}"); /* no newline: its end is the end of the line */
    shutdown(fd, SHUT_WR);
    assert_non_null(strstr(get(fd), "\"x\":3"));
    assert_true(is_closed(fd));
    close(fd);
}

static void a_slow_reader_harms_nobody_and_is_let_go(void **state)
{
    int slow = open_client(), fd = open_client();

    (void)state;
    put(slow, "{\"cmd\":\"big\"}\n");
    put(fd, "{\"cmd\":\"echo\"}\n");
    assert_non_null(strstr(get(fd), "\"ok\":true"));
    fake_now += 31 * HR_US_PER_S;
    turn();
    for (int i = 0; i < 1000 && !is_closed(slow); i++)
        get(slow); /* what the kernel had taken already */
    assert_true(is_closed(slow));
    put(fd, "{\"cmd\":\"echo\"}\n");
    assert_non_null(strstr(get(fd), "\"ok\":true"));
    close(slow);
    close(fd);
}

static void a_large_answer_arrives_whole(void **state)
{
    int fd = open_client();
    size_t total = 0;
    char last = 0;

    (void)state;
    put(fd, "{\"cmd\":\"big\"}\n");
    for (int i = 0; i < 100000 && last != '\n'; i++) {
        const char *text = get(fd);

        total += strlen(text);
        if (*text)
            last = text[strlen(text) - 1];
    }
    assert_int_equal(last, '\n');
    assert_true(total > 200000 * 40);
    close(fd);
}

static void many_clients_wait_their_turn(void **state)
{
    int fds[HR_ADMIN_CLIENTS_MAX + 8];

    (void)state;
    for (int i = 0; i < HR_ADMIN_CLIENTS_MAX + 8; i++)
        fds[i] = open_client();
    put(fds[HR_ADMIN_CLIENTS_MAX + 7], "{\"cmd\":\"echo\"}\n");
    assert_string_equal(get(fds[HR_ADMIN_CLIENTS_MAX + 7]), "");
    for (int i = 0; i < 8; i++)
        close(fds[i]);
    turn();
    assert_non_null(strstr(get(fds[HR_ADMIN_CLIENTS_MAX + 7]), "\"ok\":true"));
    for (int i = 8; i < HR_ADMIN_CLIENTS_MAX + 8; i++)
        close(fds[i]);
    turn();
}

static void one_socket_has_one_owner(void **state)
{
    struct hr_admin *second;
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    char other[80];
    int fd;

    (void)state;
    assert_int_equal(hr_admin_create(loop, path, &ops, NULL, &second), HR_E_EXISTS);
    /* But a file that a killed process left is replaced. */
    snprintf(other, sizeof(other), "%s.left", path);
    strcpy(sun.sun_path, other);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    assert_int_equal(hr_admin_create(loop, other, &ops, NULL, &second), 0);
    hr_admin_destroy(second);
    /* And a file that is no socket is not touched. */
    fd = creat(other, 0600);
    close(fd);
    assert_int_equal(hr_admin_create(loop, other, &ops, NULL, &second), HR_E_SYSTEM);
    assert_int_equal(unlink(other), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_request_gets_one_line),
        T(pipelined_requests_are_answered_in_order),
        T(rubbish_is_named_and_survived),
        T(a_line_without_end_is_bounded),
        T(a_client_that_goes_away_is_forgotten),
        T(a_half_closed_client_is_still_answered),
        T(a_slow_reader_harms_nobody_and_is_let_go),
        T(a_large_answer_arrives_whole),
        T(many_clients_wait_their_turn),
        T(one_socket_has_one_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
