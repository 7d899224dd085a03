/* What is near enough to be suggested. */
#include "shared/base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *meant(const char *word)
{
    static const char *const words[] = {"status", "set", "reload", "connections"};
    const char *nearest = NULL;
    unsigned least = UINT32_MAX;

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        hr_nearest(word, words[i], &nearest, &least);
    return nearest;
}

static void words(void **state)
{
    char long_word[100] = {0};

    (void)state;
    assert_string_equal(meant("statsu"), "status"); /* two edits */
    assert_string_equal(meant("sett"), "set");
    assert_string_equal(meant("conections"), "connections");
    assert_string_equal(meant("connexion"), "connections");
    assert_string_equal(meant("reload"), "reload");
    assert_null(meant("explode"));
    assert_null(meant(""));
    for (unsigned i = 0; i + 1 < sizeof(long_word); i++)
        long_word[i] = 's';
    assert_null(meant(long_word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
