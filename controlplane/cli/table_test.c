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

/* Everything as long as it gets, but for IPv6. */
static const char *const session =
    "{\"connections\": [{\"id\": \"0100000100000042\", \"state\": \"relaying\", \"listener\": \"internal\", \"client\":"
    " \"10.200.200.200\", \"client_port\": 60000, \"via\": \"10.0.0.9\", \"via_port\": 5, \"vpc_endpoint\": \"vpce-0a1\","
    " \"node\": 1001, \"broker\": \"10.1.0.1\", \"broker_port\": 9094, \"client_protocol\": \"TLSv1.3\", \"client_cipher\":"
    " \"AES-128-GCM\", \"broker_protocol\": \"TLSv1.2\", \"broker_cipher\": \"AES-256-GCM\", \"sni\": \"b1.k.test\","
    " \"principal\": \"CN=j\u00f6rg-application,OU=a team,O=Example\", \"mechanism\": \"mTLS\", \"client_reauth_s\": null,"
    " \"broker_identity\": \"arn:aws:iam::1:role/x\", \"broker_mechanism\": \"AWS_MSK_IAM\", \"broker_reauth_s\": -1.5,"
    " \"in_flight\": 3, \"bytes_up\": 123456789, \"bytes_down\": 98765, \"client_srtt_us\": 1500, \"broker_srtt_us\": 200,"
    " \"age_s\": 200000, \"idle_s\": 100.5, \"last_api\": \"Produce\", \"client_id\": \"c\"}]}";

static void connections_fit_a_terminal(void **state)
{
    json_t *answer = json_loads(session, 0, NULL);

    (void)state;
    assert_non_null(answer);
    for (int wide = 0; wide < 2; wide++) {
        char *text, *line;
        size_t len;
        struct cli cli = {.out = open_memstream(&text, &len), .wide = wide};

        cli_print_connections(&cli, answer);
        fclose(cli.out);
        line = strchr(text, '\n') + 1;
        if (!wide) {
            assert_string_equal(line, "0100000100000042  10.200.200.200:60000  internal  1001  1.3/1.2  CN=j\xc3\xb6rg-application~"
                                      "  123 MB  98.8 kB  1m40s  relaying\n");
            assert_true(strlen(line) - 1 <= 120 + 1); /* one character has two bytes */
        } else {
            static const char *const told[] = {"10.0.0.9:5", "vpce-0a1", "TLSv1.3 AES-128-GCM", "TLSv1.2 AES-256-GCM", "b1.k.test",
                                               "CN=j\xc3\xb6rg-application,OU=a team,O=Example", "mTLS", "arn:aws:iam::1:role/x",
                                               "AWS_MSK_IAM", " due ", "1.5/0.2", "2d07h", "Produce"};
            for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
                if (!strstr(line, told[i]))
                    fail_msg("%s lacks %s", text, told[i]);
            }
        }
        free(text);
    }
    json_decref(answer);
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
        cmocka_unit_test(connections_fit_a_terminal),
        cmocka_unit_test(the_documentation_has_every_counter),
    };

    if (argc != 2)
        return 2;
    counters_md = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
