/* Logins. */
#include <inttypes.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

static void print_done(const struct cli *cli, const char *whose, const json_t *done)
{
    const json_t *item;
    size_t i;

    if (json_array_size(done) == 0)
        fprintf(cli->out, "%-8s none\n", whose);
    json_array_foreach(done, i, item)
        fprintf(cli->out, "%-8s %" PRId64 " by %s\n", i == 0 ? whose : "", cli_int(item, "count"),
                cli_text(item, "mechanism"));
}

int cli_logins(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *item;
    size_t i;
    int ret = cli_ask_cmd(cli, "logins", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    print_done(cli, "clients", json_object_get(result, "clients"));
    print_done(cli, "brokers", json_object_get(result, "brokers"));
    if (json_array_size(json_object_get(result, "failed")) > 0) {
        cli_table_columns(&table, "FAILED", "COUNT>", "MEANING", NULL);
        json_array_foreach(json_object_get(result, "failed"), i, item)
        {
            char count[CLI_NUM_MAX];

            snprintf(count, sizeof(count), "%" PRId64, cli_int(item, "count"));
            cli_table_row(&table, cli_text(item, "reason"), count, cli_text(item, "text"), NULL);
        }
        cli_table_print(&table, cli->out);
    }
    json_array_foreach(json_object_get(result, "troubles"), i, item)
        fprintf(cli->out, "listener %s: %s\n", cli_text(item, "owner"), cli_text(item, "text"));
out:
    json_decref(result);
    return CLI_OK;
}
