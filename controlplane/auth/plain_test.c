#include "controlplane/auth/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct hr_scram_verifier alice;
static int lookups;

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    static const uint8_t secret[32] = {9};

    lookups++;
    if (strcmp(user, "alice") == 0 && hash == alice.hash) {
        *ret = alice;
        return true;
    }
    const struct hr_scram_verifier looks = {.hash = hash, .iterations = 4096, .salt_len = HR_SCRAM_SALT_LEN};

    assert_int_equal(hr_scram_decoy(&looks, secret, user, ret), 0);
    return false;
}

static int parse(const char *msg, size_t len, struct hr_plain *plain)
{
    const char *why = NULL;
    int err = hr_plain_parse((const uint8_t *)msg, len, plain, &why);

    assert_true(err == 0 || why);
    return err;
}

static void test_message(void **state)
{
    struct hr_plain plain;
    char out[64];
    size_t n;

    assert_int_equal(hr_plain_format("alice", "secret", 6, out, sizeof(out), &n), 0);
    assert_memory_equal(out, "\0alice\0secret", 13);
    assert_int_equal(parse(out, n, &plain), 0);
    assert_string_equal(plain.user, "alice");
    assert_int_equal(plain.password_len, 6);
    assert_memory_equal(plain.password, "secret", 6);
    assert_int_equal(parse("alice\0alice\0s", 13, &plain), 0);
    assert_int_equal(parse("alicx\0alice\0s", 13, &plain), HR_E_INVALID);
    assert_int_equal(parse("\0alice\0s\0", 9, &plain), HR_E_INVALID);
    assert_int_equal(parse("\0alice\0", 7, &plain), HR_E_INVALID);
    assert_int_equal(parse("\0\0s", 3, &plain), HR_E_INVALID);
    assert_int_equal(parse("\0alice", 6, &plain), HR_E_INVALID);
    assert_int_equal(parse("alice", 5, &plain), HR_E_INVALID);
    assert_int_equal(parse("", 0, &plain), HR_E_INVALID);
    assert_int_equal(hr_plain_format("alice", "se\0ret", 6, out, sizeof(out), &n), HR_E_INVALID);
    assert_int_equal(hr_plain_format("alice", "secret", 6, out, 12, &n), HR_E_TOO_LARGE);
}

static void test_check(void **state)
{
    struct hr_plain_cache *cache = malloc(sizeof(*cache));
    struct hr_attempts *attempts = calloc(1, sizeof(*attempts));
    struct hr_addr source = hr_addr_from_v4(htonl(0x0a000001)), other = hr_addr_from_v4(htonl(0x0a000002));
    struct hr_plain good = {.user = "alice", .password = "secret", .password_len = 6};
    struct hr_plain wrong = {.user = "alice", .password = "Secret", .password_len = 6};
    struct hr_plain unknown = {.user = "bob", .password = "secret", .password_len = 6};
    uint64_t now = 1000000;

    assert_int_equal(hr_plain_cache_init(cache), 0);
    attempts->burst = 3;
    attempts->refill_us = 1000000;
    attempts->key[0] = 1;
    assert_int_equal(hr_scram_derive(HR_SHA512, "secret", 6, (const uint8_t *)"salt", 4, 4096, &alice), 0);
#define CHECK(p) hr_plain_check(cache, attempts, &source, now, lookup, NULL, &(p))
    assert_int_equal(CHECK(good), 0);
    assert_int_equal(CHECK(wrong), HR_E_REFUSED);
    assert_int_equal(CHECK(unknown), HR_E_REFUSED);
    /* No attempt is left: what is remembered still passes, nothing else does. */
    assert_int_equal(CHECK(good), 0);
    assert_int_equal(CHECK(wrong), HR_E_BUSY);
    assert_int_equal(hr_plain_check(cache, attempts, &other, now, lookup, NULL, &wrong), HR_E_REFUSED);
    now += 1000000;
    assert_int_equal(CHECK(wrong), HR_E_REFUSED);
    assert_int_equal(CHECK(wrong), HR_E_BUSY);
    /* A new password: what was remembered is worth nothing. */
    assert_int_equal(hr_scram_derive(HR_SHA512, "changed", 7, (const uint8_t *)"salt", 4, 4096, &alice), 0);
    assert_int_equal(CHECK(good), HR_E_BUSY);
    now += 10000000;
    assert_int_equal(CHECK(good), HR_E_REFUSED);
    /* And it is forgotten in the end. */
    assert_int_equal(hr_scram_derive(HR_SHA512, "secret", 6, (const uint8_t *)"salt", 4, 4096, &alice), 0);
    now += HR_PLAIN_KEEP_US;
    attempts->burst = 0;
    assert_int_equal(CHECK(good), HR_E_BUSY);
    free(cache);
    free(attempts);
}

static void test_attempts(void **state)
{
    struct hr_attempts *attempts = calloc(1, sizeof(*attempts));
    struct hr_addr a, b, c;
    uint64_t now = 5;

    attempts->burst = 2;
    attempts->refill_us = 100;
    assert_true(hr_addr_parse("2001:db8::1", &a));
    assert_true(hr_addr_parse("2001:db8::2", &b)); /* of the same /64 */
    assert_true(hr_addr_parse("2001:db8:0:1::1", &c));
    assert_true(hr_attempts_take(attempts, &a, now));
    assert_true(hr_attempts_take(attempts, &b, now));
    assert_false(hr_attempts_take(attempts, &a, now));
    assert_true(hr_attempts_take(attempts, &c, now));
    assert_false(hr_attempts_take(attempts, &a, now + 99));
    assert_true(hr_attempts_take(attempts, &a, now + 100));
    assert_false(hr_attempts_take(attempts, &a, now + 100));
    assert_true(hr_attempts_take(attempts, &a, now + 1000));
    assert_true(hr_attempts_take(attempts, &a, now + 1000));
    assert_false(hr_attempts_take(attempts, &a, now + 1000));
    free(attempts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_attempts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
