/* Realms of a configuration: who is let in, files that change, and rules that outlive a reload for who uses them. */
#include "controlplane/auth/realm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/users.h"
#include "controlplane/loop/loop.h"
#include "shared/base/clock.h"
#include "shared/config/config.h"

static struct hr_loop *loop;
static struct hr_http *http;
static struct hr_realms *realms;
static struct hr_config *config;
static struct hr_users *users;
static char folder[] = "/tmp/hr-realm-XXXXXX", path[64];

static uint64_t fake_now = 1000 * HR_US_PER_S;

static uint64_t fake_clock(void)
{
    return fake_now;
}

static void save(void)
{
    char why[HR_USERS_WHY_MAX];

    assert_int_equal(hr_users_save(path, users, why), 0);
}

static int set_up(void **state)
{
    struct hr_config_listener *l;

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/hr-realm-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/users", folder);
    assert_int_equal(hr_users_create(&users), 0);
    assert_int_equal(hr_users_set(users, "alice", "pencil", 6, 4096), 0);
    save();
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    assert_int_equal(hr_realms_create(loop, http, &realms), 0);
    config = calloc(1, sizeof(*config));
    config->n_listeners = 3;
    for (uint32_t i = 0; i < 3; i++) {
        l = &config->listeners[i];
        snprintf(l->policy.name, sizeof(l->policy.name), "l%u", i);
        l->policy.mode = HR_LISTENER_KAFKA;
        l->auth.mode = i == 2 ? HR_CONFIG_AUTH_PASSTHROUGH : HR_CONFIG_AUTH_TERMINATE;
        l->auth.mechanisms = i == 2 ? 0 : 1u << HR_CONFIG_MECH_SCRAM_SHA_256;
        l->auth.attempts_per_minute = 60;
        snprintf(l->auth.users, sizeof(l->auth.users), "%s", path);
    }
    hr_realms_configure(realms, config);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hr_realms_destroy(realms);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    hr_users_free(users);
    free(config);
    unlink(path);
    char lock[80];
    snprintf(lock, sizeof(lock), "%s.lock", path);
    unlink(lock);
    return rmdir(folder);
}

static bool knows(const struct hr_realm *realm, const char *user)
{
    const struct hr_sasl_realm *sasl = hr_realm_sasl(realm);
    struct hr_scram_verifier v;

    return sasl->lookup(sasl->lookup_arg, user, HR_SHA256, &v);
}

static void only_listeners_that_ask(void **state)
{
    (void)state;
    assert_non_null(hr_realms_find(realms, "l0"));
    assert_non_null(hr_realms_find(realms, "l1"));
    assert_null(hr_realms_find(realms, "l2"));
    assert_null(hr_realms_find(realms, "l"));
}

static void lists(void **state)
{
    struct hr_config_listener_auth *auth = &config->listeners[0].auth;

    (void)state;
    assert_true(hr_realm_allows(hr_realms_find(realms, "l0"), "anybody"));
    auth->n_allow = 2;
    snprintf(auth->allow[0], sizeof(auth->allow[0]), "team-a-*");
    snprintf(auth->allow[1], sizeof(auth->allow[1]), "bob");
    hr_realms_configure(realms, config);
    const struct hr_realm *realm = hr_realms_find(realms, "l0");
    assert_true(hr_realm_allows(realm, "team-a-1"));
    assert_true(hr_realm_allows(realm, "team-a-"));
    assert_true(hr_realm_allows(realm, "bob"));
    assert_false(hr_realm_allows(realm, "team-a"));
    assert_false(hr_realm_allows(realm, "bobby"));
    assert_false(hr_realm_allows(realm, "Bob"));
    assert_false(hr_realm_allows(realm, ""));
}

static void a_file_that_changes(void **state)
{
    struct hr_realm *realm = hr_realms_find(realms, "l0");

    (void)state;
    assert_true(knows(realm, "alice"));
    assert_false(knows(realm, "bob"));
    assert_int_equal(hr_users_set(users, "bob", "rubber", 6, 4096), 0);
    assert_int_equal(hr_users_remove(users, "alice"), 0);
    save();
    hr_realms_look(realms);
    assert_true(knows(realm, "bob"));
    assert_false(knows(realm, "alice"));
    assert_true(knows(hr_realms_find(realms, "l1"), "bob")); /* the same file */
    assert_string_equal(hr_realm_trouble(realm), "");
    assert_int_equal(unlink(path), 0);
    hr_realms_look(realms);
    assert_true(knows(realm, "bob")); /* as before, and it is told */
    assert_string_not_equal(hr_realm_trouble(realm), "");
    save();
}

static void a_reload(void **state)
{
    struct hr_realm *kept = hr_realms_find(realms, "l0"), *held = hr_realm_ref(hr_realms_find(realms, "l1"));

    (void)state;
    config->listeners[1].auth.n_allow = 1;
    snprintf(config->listeners[1].auth.allow[0], HR_CONFIG_ALLOW_TEXT, "bob");
    hr_realms_configure(realms, config);
    assert_ptr_equal(hr_realms_find(realms, "l0"), kept);
    assert_ptr_not_equal(hr_realms_find(realms, "l1"), held);
    assert_false(hr_realm_allows(hr_realms_find(realms, "l1"), "alice"));
    assert_true(hr_realm_allows(held, "alice")); /* who has begun ends as it began */
    config->n_listeners = 0;
    hr_realms_configure(realms, config);
    assert_null(hr_realms_find(realms, "l0"));
    assert_true(knows(held, "alice"));
    hr_realm_unref(held);
}

/* The base point of P-256: as good a key as any to be found in a file. */
#define KEY_SET \
    "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"kid\": \"a\"," \
    " \"x\": \"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\"," \
    " \"y\": \"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}]}"

static void keys_of_an_issuer_in_a_file(void **state)
{
    struct hr_config_listener_auth *auth = &config->listeners[0].auth;
    struct hr_realm *realm;
    FILE *f;

    (void)state;
    auth->mechanisms = 1u << HR_CONFIG_MECH_OAUTHBEARER;
    auth->oauth.refresh_s = 60;
    snprintf(auth->oauth.jwks_file, sizeof(auth->oauth.jwks_file), "%s/keys", folder);
    snprintf(auth->oauth.scope, sizeof(auth->oauth.scope), "read write");
    hr_realms_configure(realms, config);
    realm = hr_realms_find(realms, "l0");
    assert_string_equal(hr_realm_sasl(realm)->rules->scopes[0], "read");
    assert_string_equal(hr_realm_sasl(realm)->rules->scopes[1], "write");
    assert_null(hr_realm_sasl(realm)->rules->scopes[2]);
    assert_non_null(strstr(hr_realm_trouble(realm), "No such file"));
    f = fopen(auth->oauth.jwks_file, "w");
    fputs(KEY_SET, f);
    fclose(f);
    fake_now += 10 * HR_US_PER_S; /* looked for again */
    hr_loop_turn(loop, 0);
    assert_string_equal(hr_realm_trouble(realm), "");
    unlink(auth->oauth.jwks_file);
}

static void what_brokers_can_do(void **state)
{
    static const struct hr_sasl_api brokers[] = {{3, 1, 9}, {17, 1, 1}, {18, 0, 5}};
    const struct hr_sasl_realm *sasl = hr_realm_sasl(hr_realms_find(realms, "l0"));

    (void)state;
    assert_true(sasl->n_apis > 20); /* nobody has been asked */
    hr_realms_set_apis(realms, brokers, 3);
    assert_int_equal(sasl->n_apis, 4);
    for (uint32_t i = 0; i < 4; i++) {
        const struct hr_sasl_api *api = &sasl->apis[i];

        assert_int_equal(api->min, api->key == 3 ? 1 : 0);
        assert_int_equal(api->max, api->key == 3 ? 9 : api->key == 17 ? 1 : api->key == 18 ? 4 : 2);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {T(only_listeners_that_ask), T(lists), T(a_file_that_changes), T(a_reload),
                                       T(keys_of_an_issuer_in_a_file),
                                       T(what_brokers_can_do)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
