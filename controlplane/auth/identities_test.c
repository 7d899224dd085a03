/* One identity for each principal, against a mock of STS: each role's session is named after its principal, asked for once,
 * and stays when the configuration is read again. */
#include "controlplane/auth/identities.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/auth/http.h"
#include "controlplane/auth/mock_http.h"
#include "controlplane/loop/loop.h"
#include "shared/config/config.h"

static struct hr_loop *loop;
static struct hr_http *http;
static struct hr_config *config;
static struct hr_identities *identities;
static _Atomic unsigned asked_alice, asked_carol, asked_other;

/* In the mock's thread. */
static void sts(const struct mock_request *request, struct mock_reply *reply)
{
    bool alice = strstr(request->body, "RoleArn=arn%3Aa&") && strstr(request->body, "RoleSessionName=alice");
    bool carol = strstr(request->body, "RoleArn=arn%3Ac&") && strstr(request->body, "RoleSessionName=CN%3Dcarol-smith-");

    if (alice)
        asked_alice++;
    else if (carol)
        asked_carol++;
    else
        asked_other++;
    reply->status = 200;
    snprintf(reply->body, sizeof(reply->body),
             "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA%s</AccessKeyId>"
             "<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>"
             "<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>",
             alice ? "ALICE" : "CAROL");
}

static void changed(void *owner)
{
    (void)owner;
}

static void principal(const char *name, const char *role, const char *user)
{
    struct hr_config_principal *p = &config->principals[config->n_principals++];

    snprintf(p->principal, sizeof(p->principal), "%s", name);
    snprintf(p->role_arn, sizeof(p->role_arn), "%s", role);
    snprintf(p->username, sizeof(p->username), "%s", user);
    if (user[0])
        snprintf(p->secret.file, sizeof(p->secret.file), "/nowhere/%.64s", user);
}

static int set_up(void **state)
{
    char url[64];

    (void)state;
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", mock_http_start(sts));
    setenv("AWS_ENDPOINT_URL_STS", url, 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "SECRET", 1);
    config = calloc(1, sizeof(*config));
    assert_int_equal(hr_loop_create(NULL, &loop), 0);
    assert_int_equal(hr_http_create(loop, &http), 0);
    return hr_identities_create(loop, http, changed, NULL, &identities);
}

static int tear_down(void **state)
{
    (void)state;
    hr_identities_destroy(identities);
    hr_http_destroy(http);
    hr_loop_destroy(loop);
    mock_http_stop();
    free(config);
    return 0;
}

static void wait_for(struct hr_identity *identity)
{
    char why[HR_LOGIN_WHY_MAX] = "";
    struct hr_login *login;
    int err = HR_E_AGAIN;

    for (int i = 0; i < 3000 && err == HR_E_AGAIN; i++) {
        hr_loop_turn(loop, 10);
        err = hr_identity_login(identity, "b-1.x.kafka.eu-west-1.amazonaws.com", &login, why);
    }
    if (err)
        fail_msg("%s", why);
    hr_login_destroy(login);
}

static void test_roles(void **state)
{
    struct hr_identity_info info;
    struct hr_identity *alice;
    const char *name;
    uint16_t index;

    (void)state;
    config->broker_auth.mechanism = HR_CONFIG_MECH_AWS_MSK_IAM;
    config->broker_auth.aws_credentials = HR_CONFIG_AWS_ENVIRONMENT;
    snprintf(config->broker_auth.aws_region, sizeof(config->broker_auth.aws_region), "eu-west-1");
    principal("alice", "arn:a", "");
    principal("CN=carol smith", "arn:c", "");
    hr_identities_configure(identities, config);
    assert_null(hr_identities_of(identities, "bob", &index));
    assert_non_null(alice = hr_identities_of(identities, "alice", &index));
    assert_int_equal(index, 1);
    wait_for(alice);
    wait_for(hr_identities_of(identities, "CN=carol smith", &index));
    wait_for(hr_identities_shared(identities)); /* no role */
    assert_int_equal(asked_alice, 1);
    assert_int_equal(asked_carol, 1);
    assert_int_equal(asked_other, 0);
    hr_identity_get_info(alice, &info);
    assert_string_equal(info.name, "arn:a");
    assert_string_equal(info.session, "alice");
    assert_true(info.expires_s > 0);
    assert_ptr_equal(hr_identities_metadata(identities), hr_identities_shared(identities));

    /* Read again: alice stays who she is, carol has gone, and metadata is alice's. */
    config->n_principals = 1;
    snprintf(config->metadata_principal, sizeof(config->metadata_principal), "alice");
    hr_identities_configure(identities, config);
    assert_ptr_equal(hr_identities_of(identities, "alice", &index), alice);
    assert_ptr_equal(hr_identities_metadata(identities), alice);
    assert_null(hr_identities_of(identities, "CN=carol smith", &index));
    assert_ptr_equal(hr_identities_at(identities, 1, &name), alice);
    assert_string_equal(name, "alice");
    assert_null(hr_identities_at(identities, 2, &name));
    wait_for(alice);
    assert_int_equal(asked_alice, 1); /* once for each role and refresh */
}

static void test_users(void **state)
{
    struct hr_identity_info info;
    struct hr_identity *bob;
    uint16_t index;

    (void)state;
    config->broker_auth.mechanism = HR_CONFIG_MECH_SCRAM_SHA_512;
    snprintf(config->broker_auth.username, sizeof(config->broker_auth.username), "us");
    snprintf(config->broker_auth.secret.file, sizeof(config->broker_auth.secret.file), "/nowhere/us");
    principal("bob", "", "b");
    hr_identities_configure(identities, config);
    assert_non_null(bob = hr_identities_of(identities, "bob", &index));
    hr_identity_get_info(bob, &info);
    assert_string_equal(info.name, "b");
    hr_identity_get_info(hr_identities_shared(identities), &info);
    assert_string_equal(info.name, "us");
    config->broker_auth.mechanism = HR_CONFIG_MECH_NONE;
    hr_identities_configure(identities, config);
    assert_null(hr_identities_shared(identities));
    assert_null(hr_identities_of(identities, "bob", &index));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_roles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_users, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
