/* Zones: who is where and why, the bytes between them, and what they cost. */
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

static const char *dollars(char buf[CLI_NUM_MAX], double d)
{
    snprintf(buf, CLI_NUM_MAX, d != 0 && d < 0.01 ? "$%.6f" : "$%.2f", d);
    return buf;
}

static void print_matrix(const struct cli *cli, const json_t *matrix)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    cli_table_columns(&table, "CLIENT IN", "BROKER IN", "CLASS", "UP>", "DOWN>", "UP/S>", "DOWN/S>", NULL);
    json_array_foreach(matrix, i, item)
    {
        char up[CLI_NUM_MAX], down[CLI_NUM_MAX], up_s[CLI_NUM_MAX], down_s[CLI_NUM_MAX];

        cli_table_row(&table, or_unknown(item, "client"), or_unknown(item, "broker"), cli_text(item, "class"),
                      cli_bytes(up, cli_real(item, "up")), cli_bytes(down, cli_real(item, "down")),
                      cli_bytes(up_s, cli_real(item, "up_per_s")), cli_bytes(down_s, cli_real(item, "down_per_s")),
                      NULL);
    }
    cli_table_print(&table, cli->out);
}

static void print_links(const struct cli *cli, const json_t *links)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    fputs("\nconnections, as IP packets: headers, acknowledgements and what was sent again are in it\n", cli->out);
    cli_table_columns(&table, "WITH", "IN", "RECEIVED>", "PACKETS>", "SENT>", "PACKETS>", "AGAIN>", NULL);
    json_array_foreach(links, i, item)
    {
        char t[5][CLI_NUM_MAX];

        cli_table_row(&table, cli_text(item, "peer"), or_unknown(item, "zone"),
                      cli_bytes(t[0], cli_real(item, "rx_bytes")), cli_count(t[1], cli_real(item, "rx_packets")),
                      cli_bytes(t[2], cli_real(item, "tx_bytes")), cli_count(t[3], cli_real(item, "tx_packets")),
                      cli_bytes(t[4], cli_real(item, "again_bytes")), NULL);
    }
    cli_table_print(&table, cli->out);
}

static void print_cost(const struct cli *cli, const json_t *since, const json_t *now)
{
    char a[CLI_NUM_MAX], b[CLI_NUM_MAX], c[CLI_NUM_MAX], d[CLI_NUM_MAX];

    fprintf(cli->out, "\nsince the dataplane started: %s (%s of it for headers and the like); direct it would be %s\n",
            dollars(a, cli_real(since, "dollars")), dollars(b, cli_real(since, "overhead_dollars")),
            dollars(c, cli_real(since, "direct_dollars")));
    fprintf(cli->out, "%s of frames, %s left a zone on their way, %s had an end in no known zone\n",
            cli_bytes(a, cli_real(since, "bytes")), cli_bytes(b, cli_real(since, "crossing_bytes")),
            cli_bytes(c, cli_real(since, "unknown_bytes")));
    if (cli_real(now, "seconds") > 0)
        fprintf(cli->out, "at the rate of the last %.0f s: %s an hour, %s a month; direct %s an hour, %s a month\n",
                cli_real(now, "seconds"), dollars(a, cli_real(now, "per_hour")), dollars(b, cli_real(now, "per_month")),
                dollars(c, cli_real(now, "direct_per_hour")), dollars(d, cli_real(now, "direct_per_month")));
}

static void print_worst(const struct cli *cli, const json_t *list, const char *what, const char *up, const char *down)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    if (json_array_size(list) == 0)
        return;
    fputc('\n', cli->out);
    cli_table_columns(&table, what, "DOLLARS>", "BETWEEN ZONES>", up, down, NULL);
    json_array_foreach(list, i, item)
    {
        char t[4][CLI_NUM_MAX];

        cli_table_row(&table, *cli_text(item, "name") ? cli_text(item, "name") : "(none)",
                      dollars(t[0], cli_real(item, "dollars")), cli_bytes(t[1], cli_real(item, "crossing")),
                      cli_bytes(t[2], cli_real(item, "up")), cli_bytes(t[3], cli_real(item, "down")), NULL);
    }
    cli_table_print(&table, cli->out);
}

/* file: "reassignment" or "election", as Kafka's tools read them; NULL: for people. */
static int advise(const struct cli *cli, const char *file)
{
    struct cli_table table = {0};
    char t[2][CLI_NUM_MAX];
    json_t *result, *item;
    size_t i;
    int ret = cli_ask(cli, json_pack("{s:s, s:b}", "cmd", "zones", "advise", 1), &result);

    if (ret != CLI_OK)
        return ret;
    if (file) {
        json_dumpf(json_object_get(result, file), cli->out, JSON_INDENT(2));
        fputc('\n', cli->out);
        goto out;
    }
    if (cli_print_json(cli, result))
        goto out;
    if (json_array_size(json_object_get(result, "moves")) == 0) {
        fputs("no leader would cost less in the zone of another replica in sync\n", cli->out);
        goto out;
    }
    fprintf(cli->out, "as produced in the last %s, these leaders would save %s a month in other zones:\n\n",
            cli_seconds(t[0], cli_real(result, "seconds")), dollars(t[1], cli_real(result, "per_month")));
    cli_table_columns(&table, "TOPIC", "PARTITION>", "LEADER>", "IN", "BETTER>", "IN", "SAVES A MONTH>", NULL);
    json_array_foreach(json_object_get(result, "moves"), i, item)
    {
        char n[4][CLI_NUM_MAX];

        snprintf(n[0], CLI_NUM_MAX, "%" PRId64, cli_int(item, "partition"));
        snprintf(n[1], CLI_NUM_MAX, "%" PRId64, cli_int(item, "leader"));
        snprintf(n[2], CLI_NUM_MAX, "%" PRId64, cli_int(item, "to"));
        cli_table_row(&table, cli_text(item, "topic"), n[0], n[1], cli_text(item, "zone"), n[2],
                      cli_text(item, "to_zone"), dollars(n[3], cli_real(item, "per_month")), NULL);
    }
    cli_table_print(&table, cli->out);
    fputs("\nNothing has been changed. To do it with Kafka's tools:\n"
          "  headracectl zones advise reassignment > moves.json\n"
          "  headracectl zones advise election > elect.json\n"
          "  kafka-reassign-partitions.sh --bootstrap-server BROKER --reassignment-json-file moves.json --execute\n"
          "  kafka-leader-election.sh --bootstrap-server BROKER --election-type PREFERRED --path-to-json-file elect.json\n",
          cli->out);
out:
    json_decref(result);
    return CLI_OK;
}

int cli_zones(const struct cli *cli)
{
    json_t *result;
    const json_t *own;
    int ret;

    if (cli->n_args == 2 && strcmp(cli->args[0], "explain") == 0)
        return explain(cli, cli->args[1]);
    if (cli->n_args == 1 && strcmp(cli->args[0], "advise") == 0)
        return advise(cli, NULL);
    if (cli->n_args == 2 && strcmp(cli->args[0], "advise") == 0 &&
        (strcmp(cli->args[1], "reassignment") == 0 || strcmp(cli->args[1], "election") == 0))
        return advise(cli, cli->args[1]);
    if (cli->n_args > 0)
        return cli_usage(cli);
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
    if (json_object_get(result, "matrix")) {
        fputc('\n', cli->out);
        print_matrix(cli, json_object_get(result, "matrix"));
        print_links(cli, json_object_get(result, "links"));
        print_cost(cli, json_object_get(result, "since_start"), json_object_get(result, "now"));
        print_worst(cli, json_object_get(result, "topics"), "TOPIC (ABOUT)", "PRODUCED>", "FETCHED>");
        print_worst(cli, json_object_get(result, "clients"), "CLIENT ID (ABOUT)", "UP>", "DOWN>");
        print_worst(cli, json_object_get(result, "principals"), "PRINCIPAL (ABOUT)", "UP>", "DOWN>");
    }
out:
    json_decref(result);
    return CLI_OK;
}
