/* Certificates and handshakes. */
#include <inttypes.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

int cli_certificates(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *item;
    size_t i;
    int ret = cli_ask_cmd(cli, "certificates", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    cli_table_columns(&table, "OF", "USE", "FILE", "SUBJECT", "NAMES", "KEY", "UNTIL", "DAYS>", "STATE", NULL);
    json_array_foreach(json_object_get(result, "certificates"), i, item)
    {
        char days[CLI_NUM_MAX];

        snprintf(days, sizeof(days), "%" PRId64, cli_int(item, "days_left"));
        cli_table_row(&table, cli_text(item, "owner"), cli_text(item, "use"), cli_text(item, "file"),
                      cli_text(item, "subject"), cli_text(item, "names"), cli_text(item, "key"),
                      cli_text(item, "not_after"), days, cli_text(item, "state"), NULL);
    }
    cli_table_print(&table, cli->out);
    json_array_foreach(json_object_get(result, "troubles"), i, item)
        fprintf(cli->out, "\nTLS of %s: %s\n", cli_text(item, "owner"), cli_text(item, "text"));
out:
    json_decref(result);
    return CLI_OK;
}

static void print_leg(const struct cli *cli, const char *name, const json_t *leg)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    fprintf(cli->out, "%-8s %" PRId64 " handshakes done, %" PRId64 " of them resumed\n", name, cli_int(leg, "done"),
            cli_int(leg, "resumed"));
    if (json_array_size(json_object_get(leg, "failed")) == 0)
        return;
    cli_table_columns(&table, "FAILED", "COUNT>", "MEANING", NULL);
    json_array_foreach(json_object_get(leg, "failed"), i, item)
    {
        char count[CLI_NUM_MAX];

        snprintf(count, sizeof(count), "%" PRId64, cli_int(item, "count"));
        cli_table_row(&table, cli_text(item, "reason"), count, cli_text(item, "text"), NULL);
    }
    cli_table_print(&table, cli->out);
}

int cli_tls(const struct cli *cli)
{
    json_t *result;
    int ret = cli_ask_cmd(cli, "tls", &result);

    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result)) {
        print_leg(cli, "clients", json_object_get(result, "clients"));
        print_leg(cli, "brokers", json_object_get(result, "brokers"));
    }
    json_decref(result);
    return CLI_OK;
}
