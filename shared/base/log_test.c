/* What reaches stderr: the level filter, both formats, and that hostile bytes stay inside one line. */
#include "shared/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int saved_stderr;
static int captured[2];
static char output[8192];

static void capture_begin(void)
{
    assert_int_equal(pipe(captured), 0);
    saved_stderr = dup(STDERR_FILENO);
    dup2(captured[1], STDERR_FILENO);
    close(captured[1]);
}

static const char *capture_end(void)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    size_t len = 0;
    ssize_t n;
    while ((n = read(captured[0], output + len, sizeof(output) - 1 - len)) > 0)
        len += (size_t)n;
    output[len] = '\0';
    close(captured[0]);
    return output;
}

static void levels(void **s)
{
    unsetenv("JOURNAL_STREAM");
    hr_log_init("prog", HR_LOG_WARN, HR_LOG_TEXT);
    capture_begin();
    hr_log_error("first %d", 1);
    hr_log_warn("second");
    hr_log_info("third");
    hr_log_set_level(HR_LOG_DEBUG);
    hr_log_debug("fourth");
    const char *out = capture_end();
    assert_non_null(strstr(out, "error prog: first 1\n"));
    assert_non_null(strstr(out, "warn  prog: second\n"));
    assert_null(strstr(out, "third"));
    assert_non_null(strstr(out, "debug prog: fourth\n"));
    /* 2026-01-01T00:00:00.000Z */
    assert_int_equal(out[4], '-');
    assert_int_equal(out[10], 'T');
    assert_int_equal(out[23], 'Z');

    hr_log_set_level(HR_LOG_NONE); /* out of range: ignored */
    hr_log_set_level(HR_LOG_MAX);
    assert_int_equal(hr_log_get_level(), HR_LOG_DEBUG);
    assert_string_equal(hr_log_level_name(HR_LOG_ERROR), "error");
    assert_string_equal(hr_log_level_name(HR_LOG_DEBUG), "debug");
    assert_string_equal(hr_log_level_name(HR_LOG_MAX), hr_log_level_name(HR_LOG_NONE));
}

static void one_line(void **s)
{
    unsetenv("JOURNAL_STREAM");
    hr_log_init("prog", HR_LOG_INFO, HR_LOG_TEXT);
    capture_begin();
    hr_log_info("a\nb\033[31m");
    const char *out = capture_end();
    assert_non_null(strstr(out, "a\\x0ab\\x1b[31m\n"));
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
}

static void json(void **s)
{
    hr_log_init("pr\"og", HR_LOG_INFO, HR_LOG_JSON);
    capture_begin();
    hr_log_warn("q\" b\\ n\n \xc3\xa4 \xff \xed\xa0\x80");
    const char *out = capture_end();
    assert_non_null(strstr(out, "\"level\":\"warn\",\"program\":\"pr\\\"og\",\"message\":"));
    assert_non_null(strstr(out, "\"q\\\" b\\\\ n\\u000a \xc3\xa4 \\ufffd \\ufffd\\ufffd\\ufffd\"}\n"));
}

static void journal(void **s)
{
    setenv("JOURNAL_STREAM", "1:2", 1);
    hr_log_init("prog", HR_LOG_INFO, HR_LOG_TEXT);
    capture_begin();
    hr_log_error("boom");
    hr_log_info("fine");
    assert_string_equal(capture_end(), "<3>boom\n<6>fine\n");
    unsetenv("JOURNAL_STREAM");
}

static void long_line(void **s)
{
    static char text[20000];
    memset(text, 'x', sizeof(text) - 1);
    for (int format = HR_LOG_TEXT; format < HR_LOG_FORMAT_MAX; format++) {
        memset(text, format == HR_LOG_JSON ? '\n' : 'x', sizeof(text) - 1);
        hr_log_init("prog", HR_LOG_INFO, (enum hr_log_format)format);
        capture_begin();
        hr_log_info("%s", text);
        const char *out = capture_end();
        size_t len = strlen(out);
        assert_true(len > 1000 && len <= 4096);
        assert_int_equal(out[len - 1], '\n');
        if (format == HR_LOG_TEXT)
            assert_non_null(strstr(out, "xxx...\n"));
        else
            assert_int_equal(out[0], '{');
    }
}

static void escape(void **s)
{
    char dst[32];
    hr_log_escape(dst, sizeof(dst), "a\"\n\xe4z", 5);
    assert_string_equal(dst, "a\\x22\\x0a\\xe4z");
    memset(dst, 'X', sizeof(dst));
    hr_log_escape(dst, 8, "ab\n\n\n", 5); /* never half an escape */
    assert_string_equal(dst, "ab\\x0a");
    assert_int_equal(dst[8], 'X');
    hr_log_escape(dst, 1, "ab", 2);
    assert_string_equal(dst, "");
    dst[0] = 'Y';
    hr_log_escape(dst, 0, "ab", 2);
    assert_int_equal(dst[0], 'Y');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),  cmocka_unit_test(one_line),  cmocka_unit_test(json),
        cmocka_unit_test(journal), cmocka_unit_test(long_line), cmocka_unit_test(escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
