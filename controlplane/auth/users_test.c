/* The text both ways, errors with their line, the file's mode and owner, changes while it is watched. */
#include "controlplane/auth/users.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"

#define SECRET "! AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
/* "pencil" and the salt of RFC 7677 3. */
#define VERIFIER                                                                                                      \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"                                                                    \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/hr-users-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/users", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* and nothing else was left */
    return 0;
}

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, mode), 0);
}

static struct hr_users *parse(const char *text)
{
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users = NULL;

    if (hr_users_parse("users", text, strlen(text), &users, why) != 0)
        fail_msg("%s", why);
    return users;
}

static void test_known_answer(void **state)
{
    struct hr_users *users = parse("# users\n" SECRET "\nuser " VERIFIER "\n");
    struct hr_scram_verifier v, decoy;

    assert_true(hr_users_lookup(users, "user", HR_SHA256, &v));
    assert_int_equal(hr_scram_check_password(&v, "pencil", 6), 0);
    assert_int_equal(hr_scram_check_password(&v, "pencils", 7), HR_E_REFUSED);
    assert_false(hr_users_lookup(users, "user", HR_SHA512, &v));
    assert_false(hr_users_lookup(users, "use", HR_SHA256, &v));
    assert_false(hr_users_lookup(users, "use", HR_SHA256, &decoy));
    assert_int_equal(v.salt_len, decoy.salt_len);
    assert_memory_equal(v.salt, decoy.salt, v.salt_len);
    hr_users_free(users);
}

/* An unknown name must not be told apart by what it shows, whatever the file's users show. */
static void test_decoys_look_like_users(void **state)
{
    static struct hr_scram_verifier before[1000];
    uint32_t n_short = 0, n_other = 0;
    struct hr_scram_verifier v;
    struct hr_users *users;
    char text[16384] = SECRET, name[32];

    /* Three in four have 4096 iterations and a salt of 16 bytes, the others 10000 and a salt of 3. */
    for (int i = 0; i < 40; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "user-%d SCRAM-SHA-256$%s$", i,
                 i % 4 ? "4096:W22ZaJ0SNY7soEsUEjb6gQ==" : "10000:AAEC");
        strcat(text, strchr(VERIFIER, '=') + 3);
        strcat(text, "\n");
    }
    users = parse(text);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "unknown-%d", i);
        assert_false(hr_users_lookup(users, name, HR_SHA256, &before[i]));
        assert_int_equal(before[i].salt_len, before[i].iterations == 4096 ? 16 : 3);
        n_short += before[i].iterations == 10000;
        assert_true(before[i].iterations == 4096 || before[i].iterations == 10000);
        assert_false(hr_users_lookup(users, name, HR_SHA256, &v)); /* the same each time */
        assert_int_equal(v.iterations, before[i].iterations);
        assert_memory_equal(v.salt, before[i].salt, v.salt_len);
        /* Nobody has the other mechanism: what a new user of it would show. */
        assert_false(hr_users_lookup(users, name, HR_SHA512, &v));
        assert_int_equal(v.iterations, HR_SCRAM_ITERATIONS_MIN);
        assert_int_equal(v.salt_len, HR_SCRAM_SALT_LEN);
        assert_memory_not_equal(v.salt, before[i].salt, 3);
    }
    assert_in_range(n_short, 100, 450); /* a quarter of the users */
    hr_users_free(users);
    /* One user more is no news of the others. */
    strcat(text, "zoe " VERIFIER "\n");
    users = parse(text);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "unknown-%d", i);
        assert_false(hr_users_lookup(users, name, HR_SHA256, &v));
        n_other += v.iterations != before[i].iterations;
    }
    assert_true(n_other < 250);
    hr_users_free(users);
}

static void test_errors_name_the_line(void **state)
{
    static const struct {
        const char *text, *why;
    } table[] = {
        {"", "users: the line with the secret (! BASE64) is missing: create the file with \"headracectl users add\""},
        {"! AAA=\n", "users:1: the secret must be base64 of 32 bytes"},
        {SECRET SECRET, "users:2: a second line with a secret"},
        {SECRET "alice\n", "users:2: a line is NAME SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY (or SCRAM-SHA-512)"},
        {SECRET "\n\nalice secret\n", "users:4: there is no mechanism: SCRAM-SHA-256$... or SCRAM-SHA-512$..."},
        {SECRET "alice SCRAM-SHA-1$4096:AA==$AA==:AA==\n",
         "users:2: the mechanism must be SCRAM-SHA-256 or SCRAM-SHA-512"},
        {SECRET "alice SCRAM-SHA-256$4095:AA==$AA==:AA==\n", "users:2: the iterations must be 4096..16384"},
        {SECRET "alice SCRAM-SHA-256$4096:$AA==:AA==\n", "users:2: the salt must be base64 of 1 to 64 bytes"},
        {SECRET "alice SCRAM-SHA-256$4096:AA==$AA==:AA==\n",
         "users:2: StoredKey and ServerKey must be base64 of as many bytes as the mechanism's hash has"},
        {SECRET "alice " VERIFIER " \n",
         "users:2: StoredKey and ServerKey must be base64 of as many bytes as the mechanism's hash has"},
        {SECRET " " VERIFIER "\n", "users:2: the name is empty or holds control characters"},
        {SECRET "alice " VERIFIER "\nbob " VERIFIER "\nalice " VERIFIER "\n",
         "users: user alice has two lines for SCRAM-SHA-256"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char why[HR_USERS_WHY_MAX] = "";
        struct hr_users *users;

        assert_int_equal(hr_users_parse("users", table[i].text, strlen(table[i].text), &users, why), HR_E_CONFIG);
        assert_string_equal(why, table[i].why);
    }
}

static void test_changes(void **state)
{
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users, *again;
    struct hr_scram_verifier v;
    enum hr_digest hash;
    uint32_t iterations;
    struct stat st;

    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_set(users, "zoe", "pw", 2, 4096), 0);
    assert_int_equal(hr_users_set(users, "alice", "one", 3, 8192), 0);
    assert_int_equal(hr_users_set(users, "alice", "two", 3, 16384), 0);
    assert_int_equal(hr_users_count(users), 4);
    assert_string_equal(hr_users_at(users, 0, &hash, &iterations), "alice");
    assert_int_equal(hash, HR_SHA256);
    assert_int_equal(iterations, 16384);
    assert_int_equal(hr_users_set(users, "a b", "x", 1, 4096), HR_E_INVALID);
    assert_int_equal(hr_users_set(users, "#a", "x", 1, 4096), HR_E_INVALID);
    assert_int_equal(hr_users_set(users, "", "x", 1, 4096), HR_E_INVALID);
    assert_int_equal(hr_users_set(users, "a", "x", 1, 16385), HR_E_INVALID);
    assert_int_equal(hr_users_save(path, users, why), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    if (hr_users_load(path, &again, why) != 0)
        fail_msg("%s", why);
    assert_int_equal(hr_users_count(again), 4);
    for (int i = 1; i <= 2; i++) {
        assert_true(hr_users_lookup(again, "alice", i == 1 ? HR_SHA256 : HR_SHA512, &v));
        assert_int_equal(hr_scram_check_password(&v, "two", 3), 0);
        assert_int_equal(hr_scram_check_password(&v, "one", 3), HR_E_REFUSED);
    }
    assert_int_equal(hr_users_remove(again, "alice"), 0);
    assert_int_equal(hr_users_remove(again, "alice"), HR_E_NOT_FOUND);
    assert_false(hr_users_lookup(again, "alice", HR_SHA256, &v));
    assert_true(hr_users_lookup(again, "zoe", HR_SHA512, &v));
    hr_users_free(again);
    hr_users_free(users);
}

static void test_file_that_others_may_read(void **state)
{
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users;

    write_file(SECRET, 0640);
    assert_int_equal(hr_users_load(path, &users, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "is of mode 0640"));
    assert_int_equal(hr_users_load(folder, &users, why), HR_E_CONFIG);
    assert_non_null(strstr(why, "is no regular file"));
    unlink(path);
    assert_int_equal(hr_users_load(path, &users, why), HR_E_NOT_FOUND);
}

static uint64_t fake_now;
static int n_changed;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void on_changed(void *owner)
{
    (void)owner;
    n_changed++;
}

static void second(struct hr_loop *loop)
{
    fake_now += HR_US_PER_S;
    hr_loop_turn(loop, 0);
}

static void test_watched(void **state)
{
    struct hr_user_store *store;
    struct hr_scram_verifier v;
    struct hr_loop *loop;

    hr_log_set_level(HR_LOG_NONE);
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_user_store_create(loop, path, on_changed, NULL, &store), 0);
    assert_non_null(strstr(hr_user_store_error(store), "cannot be opened"));
    assert_false(hr_users_lookup(hr_user_store_users(store), "user", HR_SHA256, &v));
    write_file(SECRET "user " VERIFIER "\n", 0600);
    second(loop);
    assert_int_equal(n_changed, 1);
    assert_string_equal(hr_user_store_error(store), "");
    assert_true(hr_users_lookup(hr_user_store_users(store), "user", HR_SHA256, &v));
    second(loop);
    assert_int_equal(n_changed, 1);
    write_file(SECRET "user wrong\n", 0600);
    second(loop);
    assert_int_equal(n_changed, 1);
    assert_non_null(strstr(hr_user_store_error(store), ":2: "));
    assert_true(hr_users_lookup(hr_user_store_users(store), "user", HR_SHA256, &v));
    write_file(SECRET, 0600);
    second(loop);
    assert_int_equal(n_changed, 2);
    assert_false(hr_users_lookup(hr_user_store_users(store), "user", HR_SHA256, &v));
    hr_user_store_destroy(store);
    hr_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answer),
        cmocka_unit_test(test_decoys_look_like_users),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test_setup_teardown(test_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_that_others_may_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_watched, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
