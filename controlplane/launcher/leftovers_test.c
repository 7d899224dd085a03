/* Only what belongs to the prefix goes, and nothing outside the folders that were named. */
#include "controlplane/launcher/leftovers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static const char *in_dir(const char *name)
{
    static char path[4][128];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
    return path[turn];
}

static void touch(const char *name)
{
    int fd = open(in_dir(name), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **s)
{
    snprintf(dir, sizeof(dir), "/tmp/hr-left-XXXXXX");
    return mkdtemp(dir) == NULL;
}

static void maps(void **s)
{
    static const char *const keep[] = {"hrmap_", "hrmap_1x", "hr2map_1", "xhrmap_1", "hr", "hrmap", "hr-map_1"};
    for (int i = 0; i < 7; i++)
        touch(keep[i]);
    touch("hrmap_0");
    touch("hrmap_123");
    assert_int_equal(hr_leftovers_remove_maps(dir, "hr"), 2);
    assert_int_equal(access(in_dir("hrmap_0"), F_OK), -1);
    assert_int_equal(hr_leftovers_remove_maps(dir, "hr"), 0);
    assert_int_equal(hr_leftovers_remove_maps("/nonexistent", "hr"), 0);
    for (int i = 0; i < 7; i++)
        assert_int_equal(unlink(in_dir(keep[i])), 0); /* still there */
    assert_int_equal(rmdir(dir), 0);
}

static void runtime(void **s)
{
    assert_int_equal(mkdir(in_dir("hr"), 0700), 0);
    assert_int_equal(mkdir(in_dir("hr2"), 0700), 0);
    touch("hr/config");
    touch("hr/fbarray_memzone");
    touch("hr2/config");
    touch("outside");
    assert_int_equal(symlink(in_dir("outside"), in_dir("hr/link")), 0);
    assert_int_equal(hr_leftovers_remove_runtime(dir, "hr"), 4);
    assert_int_equal(access(in_dir("hr"), F_OK), -1);
    assert_int_equal(unlink(in_dir("outside")), 0); /* the link went, not what it named */
    assert_int_equal(unlink(in_dir("hr2/config")), 0);
    assert_int_equal(rmdir(in_dir("hr2")), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* A socket that somebody listens on is no leftover, a stale one is. */
static void live_socket(void **s)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", in_dir("dataplane.sock"));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(hr_leftovers_remove("hr-no-such-prefix", dir), 0);
    assert_int_equal(access(in_dir("dataplane.sock"), F_OK), 0);
    close(fd);
    assert_int_equal(hr_leftovers_remove("hr-no-such-prefix", dir), 1);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(maps, setup),
        cmocka_unit_test_setup(runtime, setup),
        cmocka_unit_test_setup(live_socket, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
