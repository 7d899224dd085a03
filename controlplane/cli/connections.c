/* Sessions: who is connected, as whom, over what. What fits a terminal of 120 columns, or all of it with --wide. */
#include <inttypes.h>
#include <string.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

#define NAME_COLUMNS 20 /* of a principal in the narrow table: its end is cut off */

static int kill_one(const struct cli *cli, const char *id)
{
    json_t *result;
    int ret = cli_ask(cli, json_pack("{s:s, s:s}", "cmd", "kill", "id", id), &result);

    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result))
        fprintf(cli->out, "session %s was reset\n", id);
    json_decref(result);
    return CLI_OK;
}

static const char *or_dash(const char *text)
{
    return *text ? text : "-";
}

static const char *number(char buf[CLI_NUM_MAX], int64_t n)
{
    snprintf(buf, CLI_NUM_MAX, "%" PRId64, n);
    return buf;
}

/* "-" where the key has no value. */
static const char *seconds(char buf[CLI_NUM_MAX], const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);

    if (!json_is_number(value))
        return "-";
    return json_number_value(value) > 0 ? cli_seconds(buf, json_number_value(value)) : "due";
}

static const char *endpoint(char *buf, size_t cap, const json_t *item, const char *addr, const char *port)
{
    if (!*cli_text(item, addr))
        return "-";
    snprintf(buf, cap, strchr(cli_text(item, addr), ':') ? "[%s]:%" PRId64 : "%s:%" PRId64, cli_text(item, addr),
             cli_int(item, port));
    return buf;
}

/* "TLSv1.3 AES-128-GCM" */
static const char *protocol(char *buf, size_t cap, const json_t *item, const char *version, const char *cipher)
{
    snprintf(buf, cap, "%s%s%s", or_dash(cli_text(item, version)), *cli_text(item, cipher) ? " " : "",
             cli_text(item, cipher));
    return buf;
}

/* "1.3", "plain", ... of either leg; the protocol is told by its number alone. */
static const char *legs(char *buf, size_t cap, const json_t *item)
{
    const char *client = cli_text(item, "client_protocol"), *broker = cli_text(item, "broker_protocol");

    snprintf(buf, cap, "%s/%s", strncmp(client, "TLSv", 4) == 0 ? client + 4 : "-",
             strncmp(broker, "TLSv", 4) == 0 ? broker + 4 : "-");
    return buf;
}

/* Cut to so many characters, with "~" for what is missing. */
static const char *cut(char *buf, size_t cap, const char *text, size_t columns)
{
    size_t n = 0, bytes = 0;

    while (text[bytes] && bytes + 5 < cap) {
        size_t len = 1;

        while (((unsigned char)text[bytes + len] & 0xc0) == 0x80)
            len++;
        if (n + 1 == columns && text[bytes + len]) {
            memcpy(buf, text, bytes);
            memcpy(buf + bytes, "~", 2);
            return buf;
        }
        n++;
        bytes += len;
    }
    memcpy(buf, text, bytes);
    buf[bytes] = '\0';
    return buf;
}

static void narrow_row(struct cli_table *table, const json_t *item)
{
    char client[80], tls[16], name[4 * NAME_COLUMNS + 8], node[CLI_NUM_MAX], up[CLI_NUM_MAX], down[CLI_NUM_MAX];
    char idle[CLI_NUM_MAX];

    cli_table_row(table, cli_text(item, "id"), endpoint(client, sizeof(client), item, "client", "client_port"),
                  cli_text(item, "listener"), cli_int(item, "node") < 0 ? "-" : number(node, cli_int(item, "node")),
                  legs(tls, sizeof(tls), item),
                  cut(name, sizeof(name), or_dash(cli_text(item, "principal")), NAME_COLUMNS),
                  cli_bytes(up, cli_real(item, "bytes_up")), cli_bytes(down, cli_real(item, "bytes_down")),
                  cli_seconds(idle, cli_real(item, "idle_s")), cli_text(item, "state"), NULL);
}

static void wide_row(struct cli_table *table, const json_t *item)
{
    char client[80], via[80], broker[80], client_tls[64], broker_tls[64], rtt[2 * CLI_NUM_MAX], t[8][CLI_NUM_MAX];

    snprintf(rtt, sizeof(rtt), "%.1f/%.1f", (double)cli_int(item, "client_srtt_us") / 1000.0,
             (double)cli_int(item, "broker_srtt_us") / 1000.0);
    cli_table_row(table, cli_text(item, "id"), cli_text(item, "state"), cli_text(item, "listener"),
                  endpoint(client, sizeof(client), item, "client", "client_port"),
                  endpoint(via, sizeof(via), item, "via", "via_port"), or_dash(cli_text(item, "vpc_endpoint")),
                  cli_int(item, "node") < 0 ? "-" : number(t[0], cli_int(item, "node")),
                  endpoint(broker, sizeof(broker), item, "broker", "broker_port"),
                  protocol(client_tls, sizeof(client_tls), item, "client_protocol", "client_cipher"),
                  or_dash(cli_text(item, "sni")), or_dash(cli_text(item, "principal")),
                  or_dash(cli_text(item, "mechanism")), seconds(t[1], item, "client_reauth_s"),
                  protocol(broker_tls, sizeof(broker_tls), item, "broker_protocol", "broker_cipher"),
                  or_dash(cli_text(item, "broker_identity")), or_dash(cli_text(item, "broker_mechanism")),
                  seconds(t[2], item, "broker_reauth_s"), number(t[3], cli_int(item, "in_flight")),
                  cli_bytes(t[4], cli_real(item, "bytes_up")), cli_bytes(t[5], cli_real(item, "bytes_down")), rtt,
                  cli_seconds(t[6], cli_real(item, "age_s")), cli_seconds(t[7], cli_real(item, "idle_s")),
                  or_dash(cli_text(item, "last_api")), or_dash(cli_text(item, "client_id")), NULL);
}

void cli_print_connections(const struct cli *cli, const json_t *result)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    if (cli->wide)
        cli_table_columns(&table, "ID", "STATE", "LISTENER", "CLIENT", "VIA", "ENDPOINT", "NODE>", "BROKER",
                          "CLIENT PROTOCOL", "SNI", "PRINCIPAL", "MECHANISM", "LOGIN ENDS>", "BROKER PROTOCOL",
                          "BROKER IDENTITY", "BROKER MECHANISM", "RE-AUTH IN>", "IN FLIGHT>", "UP>", "DOWN>", "RTT MS>",
                          "AGE>", "IDLE>", "LAST API", "CLIENT ID", NULL);
    else
        cli_table_columns(&table, "ID", "CLIENT", "LISTENER", "NODE>", "TLS", "PRINCIPAL", "UP>", "DOWN>", "IDLE>",
                          "STATE", NULL);
    json_array_foreach(json_object_get(result, "connections"), i, item)
    {
        if (cli->wide)
            wide_row(&table, item);
        else
            narrow_row(&table, item);
    }
    cli_table_print(&table, cli->out);
}

int cli_connections(const struct cli *cli)
{
    json_t *result;
    int ret;

    if (cli->n_args > 0) {
        if (strcmp(cli->args[0], "kill") != 0 || cli->n_args != 2)
            return cli_usage(cli);
        return kill_one(cli, cli->args[1]);
    }
    ret = cli_ask(cli, json_pack("{s:s, s:i}", "cmd", "connections", "limit", cli->limit), &result);
    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result)) {
        cli_print_connections(cli, result);
        if (!cli_bool(result, "complete"))
            fprintf(stderr, "headracectl: this is not all%s%s\n",
                    *cli_text(result, "warning") ? ": " : " (see --limit)", cli_text(result, "warning"));
    }
    json_decref(result);
    return CLI_OK;
}
