#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

/* identities: who Headrace is to the brokers. */
int cli_identities(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result;
    const json_t *item;
    size_t i;
    int ret = cli_ask_cmd(cli, "identities", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    if (json_array_size(json_object_get(result, "identities")) == 0) {
        fputs("brokers are asked without a login (broker_auth.mechanism = \"none\")\n", cli->out);
        goto out;
    }
    cli_table_columns(&table, "USED FOR", "PRINCIPAL", "MECHANISM", "NAME", "SESSION", "SECRET FROM", "EXPIRES>", "LOGINS>", "REFUSED>", "ERROR",
                      NULL);
    json_array_foreach(json_object_get(result, "identities"), i, item)
    {
        char expires[CLI_NUM_MAX] = "-", logins[CLI_NUM_MAX], refused[CLI_NUM_MAX];

        if (json_is_integer(json_object_get(item, "expires_s")))
            cli_seconds(expires, (double)cli_int(item, "expires_s"));
        cli_count(logins, (double)cli_int(item, "logins"));
        cli_count(refused, (double)cli_int(item, "refused"));
        cli_table_row(&table, cli_text(item, "used_for"), cli_text(item, "principal"), cli_text(item, "mechanism"),
                      cli_text(item, "name"), cli_text(item, "session"),
                      cli_text(item, "source"), expires, logins, refused, cli_text(item, "error"), NULL);
    }
    cli_table_print(&table, cli->out);
    item = json_object_get(result, "pacing");
    fprintf(cli->out, "\nnew connections to brokers: %.0f waiting for their turn, %.0f have waited (%.1f s in all), %.0f came back"
                      " because a broker had too many\n",
            (double)cli_int(item, "waiting"), (double)cli_int(item, "waited"), (double)cli_int(item, "waited_ms") / 1000,
            (double)cli_int(item, "backed_off"));
    item = json_object_get(result, "renewals");
    fprintf(cli->out, "logins in mid-session: %.0f under way, %.0f of clients and %.0f at brokers succeeded, %.0f and %.0f failed\n",
            (double)cli_int(item, "under_way"), (double)cli_int(item, "clients"), (double)cli_int(item, "brokers"),
            (double)cli_int(item, "clients_failed"), (double)cli_int(item, "brokers_failed"));
out:
    json_decref(result);
    return CLI_OK;
}
