#include "controlplane/cli/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/cli/cli.h"
#include "shared/base/counters.h"

static void columns_line_up(void **state)
{
    struct cli_table table = {0};
    char *text;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    cli_table_columns(&table, "NODE>", "HOST", "STATE", NULL);
    cli_table_row(&table, "3", "b-3.example", "alive", NULL);
    cli_table_row(&table, "1001", "b", "fenced", NULL);
    cli_table_row(&table, "7", "z\xc3\xbcrich", "", NULL);
    cli_table_print(&table, to);
    fclose(to);
    assert_string_equal(text, "NODE  HOST         STATE\n"
                              "   3  b-3.example  alive\n"
                              "1001  b            fenced\n"
                              "   7  z\xc3\xbcrich       \n");
    free(text);
}

static void a_cell_cannot_steer_the_terminal(void **state)
{
    struct cli_table table = {0};
    char *text;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    cli_table_columns(&table, "CLIENT", NULL);
    cli_table_row(&table, "\033[2Jevil\nline", NULL);
    cli_table_print(&table, to);
    fclose(to);
    assert_string_equal(text, "CLIENT\n?[2Jevil?line\n");
    free(text);
}

static void many_rows(void **state)
{
    struct cli_table table = {0};
    char *text;
    size_t len;
    FILE *to = open_memstream(&text, &len);

    (void)state;
    cli_table_columns(&table, "A", "B>", NULL);
    for (int i = 0; i < 1000; i++)
        cli_table_row(&table, "x", "y", NULL);
    cli_table_print(&table, to);
    fclose(to);
    assert_int_equal(len, 5 * 1001);
    free(text);
}

static void numbers_for_people(void **state)
{
    char buf[CLI_NUM_MAX];

    (void)state;
    assert_string_equal(cli_bytes(buf, 0), "0 B");
    assert_string_equal(cli_bytes(buf, 999), "999 B");
    assert_string_equal(cli_bytes(buf, 1000), "1.00 kB");
    assert_string_equal(cli_bytes(buf, 999999), "1.00 MB");
    assert_string_equal(cli_bytes(buf, 52428800), "52.4 MB");
    assert_string_equal(cli_bytes(buf, 123e9), "123 GB");
    assert_string_equal(cli_count(buf, 12345), "12.3k");
    assert_string_equal(cli_seconds(buf, 1.23), "1.2s");
    assert_string_equal(cli_seconds(buf, 312), "5m12s");
    assert_string_equal(cli_seconds(buf, 7380), "2h03m");
    assert_string_equal(cli_seconds(buf, 3 * 86400 + 4 * 3600), "3d04h");
}

/* docs/counters.md is what `headracectl explain` prints. */
static char *counters_md;

static void the_documentation_has_every_counter(void **state)
{
    static char document[512 * 1024];
    char *printed;
    size_t len, n;
    struct cli cli = {.out = open_memstream(&printed, &len)};
    FILE *file = fopen(counters_md, "r");

    (void)state;
    assert_non_null(file);
    n = fread(document, 1, sizeof(document) - 1, file);
    document[n] = '\0';
    fclose(file);
    assert_int_equal(cli_explain(&cli), CLI_OK);
    fclose(cli.out);
    for (int i = 0; i < HR_CTR_MAX; i++)
        assert_non_null(strstr(printed, hr_counter_info[i].meaning));
    for (int i = 0; i < HR_DROP_MAX; i++)
        assert_non_null(strstr(printed, hr_drop_info[i].remedy));
    if (strcmp(printed, document) != 0)
        fail_msg("docs/counters.md is out of date: headracectl explain > docs/counters.md");
    free(printed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_line_up),
        cmocka_unit_test(a_cell_cannot_steer_the_terminal),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(the_documentation_has_every_counter),
    };

    if (argc != 2)
        return 2;
    counters_md = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
