/* Zones: who is where, and why. */
#include <inttypes.h>
#include <string.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

static const char *or_unknown(const json_t *obj, const char *key)
{
    return *cli_text(obj, key) ? cli_text(obj, key) : "unknown";
}

static void print_brokers(const struct cli *cli, const json_t *brokers)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    cli_table_columns(&table, "NODE>", "HOST", "RACK", "ZONE", "BY", NULL);
    json_array_foreach(brokers, i, item)
    {
        char node[CLI_NUM_MAX];

        snprintf(node, sizeof(node), "%" PRId64, cli_int(item, "node"));
        cli_table_row(&table, node, cli_text(item, "host"), *cli_text(item, "rack") ? cli_text(item, "rack") : "-",
                      or_unknown(item, "zone"), cli_text(item, "by"), NULL);
    }
    cli_table_print(&table, cli->out);
}

static int explain(const struct cli *cli, const char *ip)
{
    struct cli_table table = {0};
    json_t *result, *item;
    size_t i;
    int ret = cli_ask(cli, json_pack("{s:s, s:s}", "cmd", "zones", "explain", ip), &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    fprintf(cli->out, "a client at %s\n", cli_text(result, "address"));
    cli_table_columns(&table, "LISTENER", "ZONE", "RULE", "NETWORK", "WHERE", NULL);
    json_array_foreach(json_object_get(result, "client"), i, item)
    {
        char where[512] = "no network holds it";

        if (cli_int(item, "line") > 0)
            snprintf(where, sizeof(where), "%s:%" PRId64, cli_text(result, "config"), cli_int(item, "line"));
        cli_table_row(&table, cli_text(item, "listener"), or_unknown(item, "zone"), cli_text(item, "rule"),
                      *cli_text(item, "network") ? cli_text(item, "network") : "-", where, NULL);
    }
    cli_table_print(&table, cli->out);
    if (json_array_size(json_object_get(result, "broker")) > 0) {
        fputs("\na broker has this address\n", cli->out);
        print_brokers(cli, json_object_get(result, "broker"));
    }
out:
    json_decref(result);
    return CLI_OK;
}

int cli_zones(const struct cli *cli)
{
    json_t *result;
    const json_t *own;
    int ret;

    if (cli->n_args > 0) {
        if (strcmp(cli->args[0], "explain") != 0 || cli->n_args != 2) {
            fputs("headracectl: usage: headracectl zones [explain IP]\n", stderr);
            return CLI_USAGE;
        }
        return explain(cli, cli->args[1]);
    }
    ret = cli_ask_cmd(cli, "zones", &result);
    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    own = json_object_get(result, "own");
    fprintf(cli->out, "this proxy is in %s (%s%s%s), %" PRId64 " networks of clients are known\n\n",
            or_unknown(own, "zone"), cli_text(own, "by"), *cli_text(own, "error") ? ": " : "", cli_text(own, "error"),
            cli_int(result, "networks"));
    print_brokers(cli, json_object_get(result, "brokers"));
out:
    json_decref(result);
    return CLI_OK;
}
