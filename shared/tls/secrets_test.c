#include "shared/tls/secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct hr_tls_secrets good_13(uint8_t suite)
{
    struct hr_tls_secrets s = {.version = HR_TLS_1_3, .suite = suite, .role = HR_TLS_SERVER, .fragment_max = 16384};
    memset(s.read.traffic_secret, 0x11, hr_tls_hash_len(suite));
    memset(s.write.traffic_secret, 0x22, hr_tls_hash_len(suite));
    s.write.seq = 2;
    return s;
}

static struct hr_tls_secrets good_12(uint8_t suite)
{
    struct hr_tls_secrets s = {.version = HR_TLS_1_2, .suite = suite, .role = HR_TLS_CLIENT, .fragment_max = 512};
    memset(s.read.key, 0x11, hr_tls_key_len(suite));
    memset(s.write.key, 0x22, hr_tls_key_len(suite));
    memset(s.read.fixed_iv, 3, HR_TLS_FIXED_IV_LEN);
    memset(s.write.fixed_iv, 4, HR_TLS_FIXED_IV_LEN);
    s.read.seq = s.write.seq = 1;
    s.write.explicit_nonce = 0x8877665544332211;
    return s;
}

static void test_good_ones_pass(void **state)
{
    (void)state;
    for (uint8_t suite = HR_TLS_AES_128_GCM_SHA256; suite < HR_TLS_SUITE_MAX; suite++) {
        struct hr_tls_secrets s = good_13(suite);
        assert_int_equal(hr_tls_secrets_check(&s), 0);
    }
    struct hr_tls_secrets a = good_12(HR_TLS_AES_128_GCM_SHA256), b = good_12(HR_TLS_AES_256_GCM_SHA384);
    assert_int_equal(hr_tls_secrets_check(&a), 0);
    assert_int_equal(hr_tls_secrets_check(&b), 0);
}

static void refused(struct hr_tls_secrets s)
{
    assert_int_equal(hr_tls_secrets_check(&s), HR_E_INVALID);
}

static void test_each_field_is_checked(void **state)
{
    const struct hr_tls_secrets a = good_13(HR_TLS_AES_128_GCM_SHA256), b = good_12(HR_TLS_AES_128_GCM_SHA256);
    struct hr_tls_secrets s;
    (void)state;
#define WITH(base, field, value) (s = (base), s.field = (value), refused(s))
    WITH(a, version, 0);
    WITH(a, version, HR_TLS_VERSION_MAX);
    WITH(a, suite, 0);
    WITH(a, suite, HR_TLS_SUITE_MAX);
    WITH(b, suite, HR_TLS_CHACHA20_POLY1305_SHA256);
    WITH(a, role, 0);
    WITH(a, role, HR_TLS_ROLE_MAX);
    WITH(a, fragment_max, HR_TLS_FRAGMENT_MIN - 1);
    WITH(a, fragment_max, HR_TLS_FRAGMENT_MAX + 1);
    WITH(a, reserved, 1);
    WITH(a, reserved2, 1);
    WITH(a, read.seq, UINT64_MAX);
    WITH(a, write.explicit_nonce, 1);
    WITH(a, write.reserved, 1);
    WITH(a, read.traffic_secret[32], 1);
    WITH(b, read.explicit_nonce, 1);
    WITH(b, read.generation, 1);
    WITH(b, write.key[16], 1);
    WITH(b, write.traffic_secret[36], 1);
#undef WITH
}

static void test_wiped(void **state)
{
    struct hr_tls_secrets s = good_13(HR_TLS_AES_256_GCM_SHA384), zero;
    (void)state;
    memset(&zero, 0, sizeof(zero));
    hr_wipe(&s, sizeof(s));
    assert_memory_equal(&s, &zero, sizeof(s));
}

static void test_texts(void **state)
{
    (void)state;
    assert_string_equal(hr_tls_version_text(HR_TLS_1_3), "TLSv1.3");
    assert_string_equal(hr_tls_suite_text(HR_TLS_CHACHA20_POLY1305_SHA256), "ChaCha20-Poly1305");
    assert_string_equal(hr_tls_suite_text(200), "?");
    assert_string_equal(hr_tls_version_text(200), "?");
    assert_int_equal(hr_tls_key_len(200), 0);
    assert_int_equal(hr_tls_hash_len(HR_TLS_AES_256_GCM_SHA384), 48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones_pass),
        cmocka_unit_test(test_each_field_is_checked),
        cmocka_unit_test(test_wiped),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
