/* Each file that a configuration names, good and bad, and the line that is said of it. */
#include "controlplane/auth/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/auth/users.h"

static struct hr_config *config;
static struct hr_config_errors errors;
static char folder[64], path[96];

static int set_up(void **state)
{
    (void)state;
    config = calloc(1, sizeof(*config));
    strcpy(config->path, "t.cfg");
    strcpy(folder, "/tmp/hr-check-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/file", folder);
    config->n_listeners = 1;
    config->listeners[0].auth.mode = HR_CONFIG_AUTH_TERMINATE;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    rmdir(folder);
    free(config);
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

static void finds(const char *text)
{
    errors.n = 0;
    assert_int_equal(hr_auth_check(config, &errors), 1);
    if (!strstr(errors.text[0], text))
        fail_msg("%s, not %s", errors.text[0], text);
    assert_int_equal(strncmp(errors.text[0], "t.cfg:41: ", 10), 0);
}

static void finds_nothing(void)
{
    errors.n = 0;
    if (hr_auth_check(config, &errors) != 0)
        fail_msg("%s", errors.text[0]);
}

static void test_users(void **state)
{
    struct hr_config_listener_auth *auth = &config->listeners[0].auth;
    char why[HR_USERS_WHY_MAX];
    struct hr_users *users;

    auth->mechanisms = 1u << HR_CONFIG_MECH_SCRAM_SHA_512;
    strcpy(auth->users, path);
    config->listeners[0].auth_lines.users = 41;
    finds("headracectl users add");
    write_file("alice\n", 0600);
    finds("file:1: a line is NAME");
    write_file("", 0644);
    finds("is of mode 0644");
    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_save(path, users, why), 0);
    hr_users_free(users);
    assert_int_equal(chmod(path, 0600), 0);
    finds_nothing();
    unlink(path);
    auth->mode = HR_CONFIG_AUTH_PASSTHROUGH;
    finds_nothing();
}

static void test_key_set(void **state)
{
    struct hr_config_oauth *oauth = &config->listeners[0].auth.oauth;

    config->listeners[0].auth.mechanisms = 1u << HR_CONFIG_MECH_OAUTHBEARER;
    strcpy(oauth->jwks_file, path);
    config->listeners[0].auth_lines.jwks_file = 41;
    finds("file: cannot be opened: No such file");
    write_file("{}", 0600);
    finds("file: ");
    write_file("{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"a\","
               "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
               "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}", 0600); /* RFC 7517 A.1's curve, RFC 7515 A.3 */
    finds_nothing();
    strcpy(oauth->ca, folder);
    config->listeners[0].auth_lines.ca = 41;
    finds("cannot be opened, or holds no certificate");
}

static void test_secret(void **state)
{
    struct hr_config_secret *secret = &config->broker_auth.secret;

    config->listeners[0].auth.mode = HR_CONFIG_AUTH_PASSTHROUGH;
    config->broker_auth.mechanism = HR_CONFIG_MECH_PLAIN;
    secret->line = 41;
    strcpy(secret->file, path);
    finds("file cannot be opened: No such file");
    write_file("secret\n", 0644);
    finds("that others cannot read");
    assert_null(strstr(errors.text[0], "secret\n"));
    write_file("secret\n", 0600);
    finds_nothing();
    secret->file[0] = '\0';
    secret->n_args = 1;
    strcpy(secret->args[0], path); /* no program */
    finds("cannot be run: Permission denied");
    write_file("#!/bin/sh\ntouch ran\n", 0700);
    finds_nothing();
    assert_int_equal(access("ran", F_OK), -1);
    config->broker_auth.mechanism = HR_CONFIG_MECH_NONE;
    unlink(path);
    finds_nothing();
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {T(test_users), T(test_key_set), T(test_secret)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
