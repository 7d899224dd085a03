/* Known answers (RFC 7677 3), both roles against each other, and everything that must be refused. */
#include "controlplane/auth/scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char rfc_nonce[] = "rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char rfc_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char rfc_server_first[] =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char rfc_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char rfc_server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static struct hr_scram_verifier known_verifier;
static const uint8_t secret[32] = {1, 2, 3};

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    const char *known = arg;

    if (strcmp(user, known) == 0 && known_verifier.hash == hash) {
        *ret = known_verifier;
        return true;
    }
    const struct hr_scram_verifier looks = {.hash = hash, .iterations = HR_SCRAM_ITERATIONS_MIN, .salt_len = HR_SCRAM_SALT_LEN};

    assert_int_equal(hr_scram_decoy(&looks, secret, user, ret), 0);
    return false;
}

static void make_user(enum hr_digest hash, const char *password)
{
    uint8_t salt[32];
    size_t n;

    assert_int_equal(hr_base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==", 24, salt, sizeof(salt), &n), 0);
    assert_int_equal(hr_scram_derive(hash, password, strlen(password), salt, (uint32_t)n, 4096, &known_verifier), 0);
}

#define BYTES(text) (const uint8_t *)(text), strlen(text)

static void test_rfc7677_client(void **state)
{
    struct hr_scram_client client;
    struct hr_scram_cache cache = {0};
    const char *why = "";
    char out[512];
    size_t n;

    for (int turn = 0; turn < 2; turn++) { /* the second time by the cache */
        assert_int_equal(hr_scram_client_first(&client, HR_SHA256, "user", rfc_nonce, out, sizeof(out), &n), 0);
        assert_string_equal(out, rfc_first);
        assert_int_equal(hr_scram_client_final(&client, turn ? "" : "pencil", turn ? 0 : 6, &cache,
                                               BYTES(rfc_server_first), out, sizeof(out), &n, &why),
                         0);
        assert_string_equal(out, rfc_final);
        assert_int_equal(hr_scram_client_verify(&client, BYTES(rfc_server_final), &why), 0);
        hr_scram_client_end(&client);
    }
}

static void test_rfc7677_server(void **state)
{
    struct hr_scram_server server;
    const char *why = "";
    char out[512];
    size_t n;

    make_user(HR_SHA256, "pencil");
    assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", rfc_server_nonce, BYTES(rfc_first), out,
                                           sizeof(out), &n, &why),
                     0);
    assert_string_equal(out, rfc_server_first);
    assert_int_equal(hr_scram_server_final(&server, BYTES(rfc_final), out, sizeof(out), &n, &why), 0);
    assert_string_equal(out, rfc_server_final);
    assert_string_equal(server.user, "user");
    hr_scram_server_end(&server);
}

/* Runs a whole login; what the server's last step says. */
static int login(enum hr_digest hash, const char *known, const char *user, const char *password)
{
    struct hr_scram_client client;
    struct hr_scram_server server;
    const char *why = "";
    char a[1024], b[1024];
    size_t na, nb;
    int err;

    assert_int_equal(hr_scram_client_first(&client, hash, user, NULL, a, sizeof(a), &na), 0);
    err = hr_scram_server_first(&server, hash, lookup, (void *)known, NULL, (uint8_t *)a, na, b, sizeof(b), &nb, &why);
    if (err)
        return err;
    assert_int_equal(hr_scram_client_final(&client, password, strlen(password), NULL, (uint8_t *)b, nb, a, sizeof(a),
                                           &na, &why),
                     0);
    err = hr_scram_server_final(&server, (uint8_t *)a, na, b, sizeof(b), &nb, &why);
    if (err == 0) {
        assert_string_equal(server.user, user);
        assert_int_equal(hr_scram_client_verify(&client, (uint8_t *)b, nb, &why), 0);
        /* A wrong signature of the server's is noticed: it must know the password too. */
        client.step = 2;
        b[2] = b[2] == 'A' ? 'B' : 'A';
        assert_int_equal(hr_scram_client_verify(&client, (uint8_t *)b, nb, &why), HR_E_INVALID);
    }
    hr_scram_client_end(&client);
    hr_scram_server_end(&server);
    return err;
}

static void test_roles_meet(void **state)
{
    const enum hr_digest hashes[] = {HR_SHA256, HR_SHA512};

    for (int i = 0; i < 2; i++) {
        make_user(hashes[i], "s3cret,=\xc3\xa9");
        assert_int_equal(login(hashes[i], "a,b=c", "a,b=c", "s3cret,=\xc3\xa9"), 0);
        assert_int_equal(login(hashes[i], "a,b=c", "a,b=c", "s3cret,=\xc3"), HR_E_REFUSED);
        assert_int_equal(login(hashes[i], "a,b=c", "other", "s3cret,=\xc3\xa9"), HR_E_REFUSED);
    }
}

static void test_unknown_user_looks_like_a_known_one(void **state)
{
    struct hr_scram_server server;
    const char *why = "";
    char a[512], b[512], c[512];
    size_t n;

    uint8_t salt[HR_SCRAM_SALT_LEN] = {7};

    assert_int_equal(hr_scram_derive(HR_SHA256, "pencil", 6, salt, sizeof(salt), 4096, &known_verifier), 0);
    assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", "x", BYTES("n,,n=nobody,r=abc"), a,
                                           sizeof(a), &n, &why),
                     0);
    assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", "x", BYTES("n,,n=nobody,r=abc"), b,
                                           sizeof(b), &n, &why),
                     0);
    assert_string_equal(a, b); /* the same salt each time */
    assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", "x", BYTES("n,,n=nobodx,r=abc"), c,
                                           sizeof(c), &n, &why),
                     0);
    assert_string_not_equal(a, c);
    assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", "x", BYTES("n,,n=user,r=abc"), c,
                                           sizeof(c), &n, &why),
                     0);
    assert_int_equal(strlen(a), strlen(c));
}

static int first(const char *msg, size_t len, const char **why)
{
    struct hr_scram_server server;
    char out[512];
    size_t n;

    return hr_scram_server_first(&server, HR_SHA256, lookup, "user", "x", (const uint8_t *)msg, len, out, sizeof(out),
                                 &n, why);
}

static void test_first_refusals(void **state)
{
    static const struct {
        const char *msg, *why;
    } table[] = {
        {"p=tls-unique,,n=user,r=abc", "channel binding is not supported"},
        {"y,,n=user,r=abc", "channel binding is not supported"},
        {"n,,n=user,r=abc,tokenauth=true", "delegation tokens are not supported"},
        {"n,,m=x,n=user,r=abc", "a mandatory SCRAM extension is not supported"},
        {"n,a=root,n=user,r=abc", "the authorization id differs from the user name"},
        {"n,x=root,n=user,r=abc", "the authorization id is malformed"},
        {"n,,n=,r=abc", "the user name is malformed"},
        {"n,,n=a=b,r=abc", "the user name is malformed"},
        {"n,,n=a=2,r=abc", "the user name is malformed"},
        {"n,,n=user,r=", "the nonce is malformed"},
        {"n,,n=user,r=a\x7f", "the nonce is malformed"},
        {"n,,n=user", "the nonce is malformed"},
        {"n,,n=user,r=abc,", "the nonce is malformed"},
        {"n,", "the first SCRAM message is malformed"},
        {"", "the first SCRAM message is malformed"},
        {"n,,", "the user name is malformed"},
    };
    char big[1400];
    const char *why = "";

    make_user(HR_SHA256, "pencil");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(first(table[i].msg, strlen(table[i].msg), &why), HR_E_INVALID);
        assert_string_equal(why, table[i].why);
    }
    assert_int_equal(first("n,a=user,n=user,r=abc", 21, &why), 0);
    assert_int_equal(first("n,,n=user,r=abc,ext=1", 21, &why), 0);
    assert_int_equal(first("n,,n=us\0er,r=abc", 16, &why), HR_E_INVALID);
    memset(big, 'a', sizeof(big));
    memcpy(big, "n,,n=user,r=", 12);
    assert_int_equal(first(big, 12 + 400, &why), HR_E_INVALID);
    assert_int_equal(first(big, sizeof(big), &why), HR_E_INVALID);
}

static void test_final_refusals(void **state)
{
    static const struct {
        const char *msg;
        int err;
    } table[] = {
        {"c=biws,r=%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", HR_E_INVALID}, /* unused bits */
        {"c=biws,r=%s,p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", HR_E_REFUSED},
        {"c=biwa,r=%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", HR_E_INVALID},
        {"c=biws,r=%sx,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", HR_E_INVALID},
        {"c=biws,r=%s,p=dHzb", HR_E_INVALID},
        {"c=biws,r=%s", HR_E_INVALID},
        {"c=biws,r=%s,x=1", HR_E_INVALID},
        {"c=biws,r=%s,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=,x=1", HR_E_INVALID},
        {"r=%s,c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", HR_E_INVALID},
        {"", HR_E_INVALID},
    };
    struct hr_scram_server server;
    const char *why = "";
    char out[512], msg[512];
    size_t n;

    make_user(HR_SHA256, "pencil");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(hr_scram_server_first(&server, HR_SHA256, lookup, "user", rfc_server_nonce, BYTES(rfc_first),
                                               out, sizeof(out), &n, &why),
                         0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(msg, sizeof(msg), table[i].msg, server.nonce);
#pragma GCC diagnostic pop
        assert_int_equal(hr_scram_server_final(&server, BYTES(msg), out, sizeof(out), &n, &why), table[i].err);
        /* One try: the exchange is over. */
        assert_int_equal(hr_scram_server_final(&server, BYTES(rfc_final), out, sizeof(out), &n, &why), HR_E_INVALID);
    }
}

static void test_client_refusals(void **state)
{
    static const char *const table[] = {
        "r=other,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", /* nothing of the server's own */
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4095",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=16385",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999999999999",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=40x6",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=",
        "r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
        "r=rOprNGfwEbeRWgbNEkqOx,s=W2,i=4096",
        "e=unknown-user",
        "",
    };
    struct hr_scram_client client;
    char out[512];
    size_t n;

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *why = NULL;

        assert_int_equal(hr_scram_client_first(&client, HR_SHA256, "user", rfc_nonce, out, sizeof(out), &n), 0);
        assert_int_equal(hr_scram_client_final(&client, "pencil", 6, NULL, BYTES(table[i]), out, sizeof(out), &n, &why),
                         HR_E_INVALID);
        assert_non_null(why);
        assert_int_equal(hr_scram_client_verify(&client, BYTES("e=invalid-proof"), &why), HR_E_REFUSED);
    }
}

static void test_bounds(void **state)
{
    struct hr_scram_verifier v;

    assert_int_equal(hr_scram_derive(HR_SHA256, "x", 1, secret, 16, 4095, &v), HR_E_INVALID);
    assert_int_equal(hr_scram_derive(HR_SHA256, "x", 1, secret, 16, 16385, &v), HR_E_INVALID);
    assert_int_equal(hr_scram_derive(HR_SHA256, "x", 1, secret, 0, 4096, &v), HR_E_INVALID);
    assert_int_equal(hr_scram_derive(HR_SHA512, "x", 1, secret, 16, 16384, &v), 0);
    assert_int_equal(hr_scram_check_password(&v, "x", 1), 0);
    assert_int_equal(hr_scram_check_password(&v, "y", 1), HR_E_REFUSED);
}

static void test_base64(void **state)
{
    uint8_t out[8];
    char text[16];
    size_t n;

    for (size_t len = 0; len < 7; len++) {
        assert_int_equal(hr_base64_encode("foobar", len, text, sizeof(text)), 0);
        assert_int_equal(hr_base64_decode(text, strlen(text), out, sizeof(out), &n), 0);
        assert_int_equal(n, len);
        assert_memory_equal(out, "foobar", len);
        assert_int_equal(hr_base64url_encode("foobar", len, text, sizeof(text)), 0);
        assert_int_equal(hr_base64url_decode(text, strlen(text), out, sizeof(out), &n), 0);
        assert_int_equal(n, len);
    }
    assert_int_equal(hr_base64_encode("foobar", 6, text, 8), HR_E_TOO_LARGE);
    assert_int_equal(hr_base64_decode("Zg", 2, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_base64_decode("Zh==", 4, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_base64_decode("Z===", 4, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_base64_decode("Zm9v\n", 5, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_base64_decode("Zm-v", 4, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_base64url_decode("Zm9vYmFyYmF6", 12, out, 8, &n), HR_E_TOO_LARGE);
    assert_int_equal(hr_base64url_decode("-_8", 3, out, sizeof(out), &n), 0);
    assert_memory_equal(out, "\xfb\xff", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7677_client),
        cmocka_unit_test(test_rfc7677_server),
        cmocka_unit_test(test_roles_meet),
        cmocka_unit_test(test_unknown_user_looks_like_a_known_one),
        cmocka_unit_test(test_first_refusals),
        cmocka_unit_test(test_final_refusals),
        cmocka_unit_test(test_client_refusals),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
