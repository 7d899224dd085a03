/* Files as they change, and commands: what they print, how they fail, and that none is left behind. */
#include "controlplane/auth/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

static struct hr_loop *loop;
static struct hr_config_secret config;
static struct hr_secret *secret;
static char path[32], why[HR_SECRET_WHY_MAX];
static int n_changed;
static uint64_t ahead_us; /* of the real clock: deadlines that no test waits for */

static uint64_t test_clock(void)
{
    return hr_now_us() + ahead_us;
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static int set_up(void **state)
{
    memset(&config, 0, sizeof(config));
    n_changed = 0;
    ahead_us = 0;
    strcpy(path, "/tmp/hr-secret-XXXXXX");
    close(mkstemp(path));
    return hr_loop_create(test_clock, &loop);
}

static int tear_down(void **state)
{
    hr_secret_destroy(secret);
    secret = NULL;
    hr_loop_destroy(loop);
    unlink(path);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    assert_int_equal(errno, ECHILD);
    return 0;
}

static void write_file(const char *text, size_t len, mode_t mode)
{
    char next[40];
    FILE *file;

    snprintf(next, sizeof(next), "%s.n", path);
    file = fopen(next, "w");
    assert_non_null(file);
    fwrite(text, 1, len, file);
    fclose(file);
    chmod(next, mode);
    rename(next, path);
}

static void create(void)
{
    assert_int_equal(hr_secret_create(loop, &config, on_changed, NULL, &secret), 0);
}

static void expect(const char *text)
{
    const char *got;
    size_t len;

    if (hr_secret_get(secret, &got, &len, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(len, strlen(text));
    assert_memory_equal(got, text, len);
}

static void expect_error(int err, const char *text)
{
    const char *got;
    size_t len;

    assert_int_equal(hr_secret_get(secret, &got, &len, why), err);
    assert_non_null(strstr(why, text));
}

static void expect_length(size_t expected)
{
    const char *got;
    size_t len;

    if (hr_secret_get(secret, &got, &len, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(len, expected);
}

static void test_file(void **state)
{
    static char big[HR_SECRET_MAX + 3];

    strcpy(config.file, path);
    write_file("one\n", 4, 0600);
    create();
    expect("one");
    expect("one");
    assert_int_equal(hr_secret_generation(secret), 1);
    write_file("two\r\n", 5, 0640);
    expect("two");
    assert_int_equal(hr_secret_generation(secret), 2);
    write_file(" t o \n\n", 7, 0600);
    expect(" t o \n");
    write_file("three", 5, 0604);
    expect_error(HR_E_INVALID, "that others cannot read");
    write_file("\n", 1, 0600);
    expect_error(HR_E_INVALID, "is empty");
    write_file("a\0b", 3, 0600);
    expect_error(HR_E_INVALID, "holds a NUL byte");
    memset(big, 'x', sizeof(big));
    write_file(big, sizeof(big), 0600);
    expect_error(HR_E_INVALID, "is longer");
    assert_null(strstr(why, "xxx"));
    memcpy(big + HR_SECRET_MAX, "\r\n", 2);
    write_file(big, HR_SECRET_MAX + 3, 0600); /* more behind a line end */
    expect_error(HR_E_INVALID, "is longer");
    write_file(big, HR_SECRET_MAX + 2, 0600);
    expect_length(HR_SECRET_MAX);
    unlink(path);
    expect_error(HR_E_INVALID, "cannot be opened");
    write_file("four", 4, 0600);
    expect("four");
}

static void command(const char *script)
{
    strcpy(config.args[0], "/bin/sh");
    strcpy(config.args[1], "-c");
    snprintf(config.args[2], sizeof(config.args[2]), "%s", script);
    config.n_args = 3;
    create();
}

static void wait_for_change(int n)
{
    uint64_t give_up = hr_now_us() + 20 * HR_US_PER_S;

    while (n_changed < n && hr_now_us() < give_up)
        hr_loop_turn(loop, 100000);
    assert_int_equal(n_changed, n);
}

static void test_command(void **state)
{
    char script[128];

    write_file("one\n", 4, 0600);
    snprintf(script, sizeof(script), "cat %s; read x || true", path); /* and stdin is empty */
    command(script);
    expect_error(HR_E_AGAIN, "has not ended yet");
    wait_for_change(1);
    expect("one");
    /* A doubt runs it again, not before ten seconds have passed. */
    write_file("two\n", 4, 0600);
    hr_secret_doubt(secret);
    hr_loop_turn(loop, 0);
    assert_int_equal(n_changed, 1);
    ahead_us += 10 * HR_US_PER_S;
    wait_for_change(2);
    expect("two");
    /* And so do five minutes. */
    write_file("three\n", 6, 0600);
    ahead_us += 299 * HR_US_PER_S;
    hr_loop_turn(loop, 0);
    assert_int_equal(n_changed, 2);
    ahead_us += 2 * HR_US_PER_S;
    wait_for_change(3);
    expect("three");
    /* A failure leaves the old one in force. */
    unlink(path);
    ahead_us += 301 * HR_US_PER_S;
    wait_for_change(4);
    expect("three");
}

static void test_command_fails(void **state)
{
    command("echo secret; exit 3");
    wait_for_change(1);
    expect_error(HR_E_INVALID, "the command /bin/sh ended with an error");
    assert_null(strstr(why, "secret"));
}

static void test_command_prints_nothing(void **state)
{
    command("true");
    wait_for_change(1);
    expect_error(HR_E_INVALID, "the command /bin/sh printed something that is empty");
}

/* No beginning of it is taken for the whole. */
static void test_command_prints_too_much(void **state)
{
    command("head -c 16384 /dev/zero | tr '\\0' x; echo; echo more");
    wait_for_change(1);
    expect_error(HR_E_INVALID, "the command /bin/sh printed more than 16384 bytes");
}

static void test_command_prints_without_end(void **state)
{
    command("exec yes");
    wait_for_change(1);
    expect_error(HR_E_INVALID, "the command /bin/sh printed more than 16384 bytes");
}

static void test_command_prints_the_most(void **state)
{
    command("head -c 16384 /dev/zero | tr '\\0' x; printf '\\r\\n'");
    wait_for_change(1);
    expect_length(HR_SECRET_MAX);
}

/* A pipe whose other end the command and all that it starts hold: it says "." when it runs, and ends when none is left. */
static int descendants_open(char fifo[48])
{
    int fd;

    snprintf(fifo, 48, "%s.fifo", path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void descendants_run(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;

    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(read(fd, &c, 1), 1);
}

static void descendants_are_gone(const char *fifo, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char c;

    assert_int_equal(poll(&p, 1, 20000), 1);
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
    unlink(fifo);
}

/* Whatever the command has started ends with it: at its own end, late, or with the daemon. */
static void test_no_descendant_is_left(void **state)
{
    static const char *const ends[] = {"echo one", "sleep 1000; true", "wait"};
    char fifo[48], script[128];

    for (int i = 0; i < 3; i++) {
        int fd = descendants_open(fifo);

        n_changed = 0;
        snprintf(script, sizeof(script), "exec 3>%s; printf . >&3; sleep 1000 & %s", fifo, ends[i]);
        command(script);
        descendants_run(fd);
        if (i == 1) {
            hr_loop_turn(loop, 0);
            ahead_us += 11 * HR_US_PER_S;
        }
        if (i < 2)
            wait_for_change(1);
        if (i == 0)
            expect("one");
        else if (i == 1)
            expect_error(HR_E_INVALID, "did not end within 10 s");
        hr_secret_destroy(secret);
        secret = NULL;
        descendants_are_gone(fifo, fd);
    }
}

static void test_command_hangs(void **state)
{
    command("exec sleep 1000");
    hr_loop_turn(loop, 0);
    assert_int_equal(n_changed, 0);
    ahead_us += 11 * HR_US_PER_S;
    wait_for_change(1);
    expect_error(HR_E_INVALID, "did not end within 10 s");
}

static void test_command_is_not_there(void **state)
{
    strcpy(config.args[0], "/nonexistent/program");
    config.n_args = 1;
    create();
    expect_error(HR_E_INVALID, "cannot be run: No such file");
}

static void test_destroyed_while_it_runs(void **state)
{
    command("exec sleep 1000");
    hr_secret_destroy(secret);
    secret = NULL;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_file),          T(test_command),       T(test_command_fails),        T(test_command_prints_nothing),
        T(test_command_prints_too_much), T(test_command_prints_without_end), T(test_command_prints_the_most),
        T(test_command_hangs), T(test_no_descendant_is_left),
        T(test_command_is_not_there),
        T(test_destroyed_while_it_runs),
    };

    signal(SIGPIPE, SIG_IGN);
    hr_log_init("test", HR_LOG_ERROR, HR_LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
