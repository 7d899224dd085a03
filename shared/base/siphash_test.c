#include "shared/base/siphash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

/* The reference vectors of the SipHash paper's authors: key 00 01 .. 0f, message 00 01 .. of growing length.
 * The 15-byte message is the worked example of the paper's appendix. */
static void test_known_answers(void **state)
{
    (void)state;
    uint8_t key[16], msg[64];
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (unsigned i = 0; i < sizeof(msg); i++)
        msg[i] = (uint8_t)i;

    assert_true(hr_siphash(key, msg, 0) == 0x726fdb47dd0e0e31ULL);
    assert_true(hr_siphash(key, msg, 1) == 0x74f839c593dc67fdULL);
    assert_true(hr_siphash(key, msg, 8) == 0x93f5f5799a932462ULL);
    assert_true(hr_siphash(key, msg, 15) == 0xa129ca6149be45e5ULL);
}

static void test_key_and_length_matter(void **state)
{
    (void)state;
    uint8_t key[16] = {0}, msg[40] = {0};
    uint64_t zero = hr_siphash(key, msg, 36);
    assert_true(hr_siphash(key, msg, 37) != zero);
    key[15] ^= 1;
    assert_true(hr_siphash(key, msg, 36) != zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_key_and_length_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
