/* What is appended is there, and what leaves is nowhere: nothing may be freed that still holds a secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECRET "correct horse"

static struct {
    void *p;
    size_t size;
} seen[16];
static int n_freed;
static bool fails;

static void *watched_malloc(size_t size)
{
    void *p = fails ? NULL : malloc(size);

    for (int i = 0; p && i < 16; i++) {
        if (!seen[i].p) {
            seen[i].p = p;
            seen[i].size = size;
            memset(p, 0xaa, size);
            break;
        }
    }
    return p;
}

static void watched_free(void *p)
{
    for (int i = 0; p && i < 16; i++) {
        if (seen[i].p == p) {
            assert_null(memmem(p, seen[i].size, SECRET, strlen(SECRET)));
            seen[i].p = NULL;
            n_freed++;
        }
    }
    free(p);
}

/* The source itself, with these two in the place of the library's. */
#define malloc watched_malloc
#define free   watched_free
#include "shared/base/wipebuf.c"
#undef malloc
#undef free

static void test_nothing_is_left(void **state)
{
    struct hr_wipebuf buf = {0};

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(hr_wipebuf_append(&buf, SECRET, strlen(SECRET)), 0);
        assert_int_equal(buf.len, (i + 1) * strlen(SECRET));
        assert_int_equal(buf.data[buf.len], '\0');
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_memory_equal(buf.data + i * strlen(SECRET), SECRET, strlen(SECRET));
    assert_true(n_freed >= 4); /* it has grown so often */
    hr_wipebuf_drop(&buf, 999 * (uint32_t)strlen(SECRET));
    assert_int_equal(buf.len, strlen(SECRET));
    assert_memory_equal(buf.data, SECRET, buf.len);
    assert_null(memmem(buf.data + buf.len, buf.cap - buf.len, SECRET, strlen(SECRET)));
    hr_wipebuf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_null(memmem(buf.data, buf.cap, SECRET, strlen(SECRET)));
    assert_int_equal(hr_wipebuf_append(&buf, SECRET, strlen(SECRET)), 0);
    hr_wipebuf_free(&buf);
    assert_null(buf.data);
    hr_wipebuf_free(&buf);
    hr_wipebuf_clear(&buf);
}

static void test_no_memory(void **state)
{
    struct hr_wipebuf buf = {0};
    static uint8_t more[4096];
    volatile uint32_t huge = UINT32_MAX - 100; /* a compiler that knew would not let it pass */

    (void)state;
    assert_int_equal(hr_wipebuf_append(&buf, "", 0), 0);
    assert_int_equal(hr_wipebuf_append(&buf, "abc", 3), 0);
    fails = true;
    assert_int_equal(hr_wipebuf_append(&buf, more, sizeof(more)), HR_E_NOMEM);
    fails = false;
    assert_int_equal(buf.len, 3);
    assert_string_equal((char *)buf.data, "abc");
    assert_int_equal(hr_wipebuf_append(&buf, more, huge), HR_E_NOMEM);
    hr_wipebuf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_left), cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
