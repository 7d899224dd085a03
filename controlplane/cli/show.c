#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

static const char *decimal(char buf[CLI_NUM_MAX], int64_t n)
{
    snprintf(buf, CLI_NUM_MAX, "%" PRId64, n);
    return buf;
}

static void line(const struct cli *cli, const char *label, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void line(const struct cli *cli, const char *label, const char *fmt, ...)
{
    va_list args;

    fprintf(cli->out, "%-14s", label);
    va_start(args, fmt);
    vfprintf(cli->out, fmt, args);
    va_end(args);
    fputc('\n', cli->out);
}

static void status_metadata(const struct cli *cli, const json_t *md)
{
    char age[CLI_NUM_MAX];

    if (cli_bool(md, "known"))
        line(cli, "cluster",
             "%s: %" PRId64 " brokers, %" PRId64 " topics, %" PRId64 " partitions, controller %" PRId64,
             cli_text(md, "cluster_id"), cli_int(md, "brokers"), cli_int(md, "topics"),
             cli_int(md, "partitions"), cli_int(md, "controller"));
    else
        line(cli, "cluster", "not known yet");
    line(cli, "metadata", "%s (%s)", cli_text(md, "state_text"),
         *cli_text(md, "broker") ? cli_text(md, "broker") : "-");
    if (json_is_number(json_object_get(md, "refreshed_s")))
        line(cli, "", "refreshed %s ago, %" PRId64 " times; %" PRId64 " failures, %" PRId64 " hints",
             cli_seconds(age, cli_real(md, "refreshed_s")), cli_int(md, "refreshes"), cli_int(md, "failures"),
             cli_int(md, "hints"));
    if (*cli_text(md, "last_error"))
        line(cli, "", "last error: %s", cli_text(md, "last_error"));
}

static void status_listeners(const struct cli *cli, const json_t *listeners)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    if (json_array_size(listeners) == 0)
        return;
    fputc('\n', cli->out);
    cli_table_columns(&table, "LISTENER", "MODE", "TLS", "BIND", "TO", "STATE", NULL);
    json_array_foreach(listeners, i, item)
    {
        char bind[128], to[400];

        if (*cli_text(item, "bootstrap_host")) {
            snprintf(bind, sizeof(bind), "%s:%" PRId64 ", nodes by name", cli_text(item, "bind"), cli_int(item, "port"));
            snprintf(to, sizeof(to), "the cluster, as %s", cli_text(item, "advertised_host"));
        } else if (strcmp(cli_text(item, "mode"), "kafka") == 0) {
            snprintf(bind, sizeof(bind), "%s:%" PRId64 ", nodes %" PRId64 "-%" PRId64, cli_text(item, "bind"),
                     cli_int(item, "port"), cli_int(item, "node_port_first"),
                     cli_int(item, "node_port_last"));
            snprintf(to, sizeof(to), "the cluster, as %s", cli_text(item, "advertised_host"));
        } else {
            snprintf(bind, sizeof(bind), "%s:%" PRId64, cli_text(item, "bind"), cli_int(item, "port"));
            snprintf(to, sizeof(to), "%s:%" PRId64, cli_text(item, "target_host"),
                     cli_int(item, "target_port"));
        }
        cli_table_row(&table, cli_text(item, "name"), cli_text(item, "mode"), cli_bool(item, "tls") ? "yes" : "no", bind, to,
                      cli_bool(item, "draining") ? "draining" : "open", NULL);
    }
    cli_table_print(&table, cli->out);
}

int cli_status(const struct cli *cli)
{
    const json_t *dp, *policy;
    json_t *result;
    char a[CLI_NUM_MAX], b[CLI_NUM_MAX];
    int ret = cli_ask_cmd(cli, "status", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    dp = json_object_get(result, "dataplane");
    policy = json_object_get(result, "policy");
    line(cli, "headrace", "%s (build %s), up %s, pid %" PRId64, cli_text(result, "version"),
         cli_text(result, "build_id"), cli_seconds(a, cli_real(result, "uptime_s")), cli_int(result, "pid"));
    line(cli, "ready", "%s%s%s", cli_bool(result, "ready") ? "yes" : "no",
         cli_bool(result, "ready") ? "" : ": ", cli_text(result, "not_ready"));
    if (cli_bool(dp, "attached"))
        line(cli, "dataplane", "%" PRId64 " worker%s, up %s, attached %s ago (session %" PRId64 ")",
             cli_int(dp, "workers"), cli_int(dp, "workers") == 1 ? "" : "s",
             cli_seconds(a, cli_real(dp, "uptime_s")), cli_seconds(b, cli_real(dp, "attached_s")),
             cli_int(dp, "session"));
    else
        line(cli, "dataplane", "not attached%s%s", *cli_text(dp, "refused") ? ": " : "",
             cli_text(dp, "refused"));
    line(cli, "sessions", "%" PRId64, cli_int(result, "sessions"));
    line(cli, "policy", "generation %" PRId64 " published, %" PRId64 " in use%s%s",
         cli_int(policy, "published"), cli_int(policy, "adopted"),
         *cli_text(policy, "error") ? "; refused: " : "", cli_text(policy, "error"));
    status_metadata(cli, json_object_get(result, "metadata"));
    line(cli, "zone", "%s", *cli_text(result, "zone") ? cli_text(result, "zone") : "-");
    line(cli, "config", "%s, log level %s, idle %s", cli_text(result, "config"),
         cli_text(result, "log_level"), cli_text(result, "idle"));
    status_listeners(cli, json_object_get(result, "listeners"));
out:
    json_decref(result);
    return CLI_OK;
}

int cli_workers(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *item;
    size_t i;
    int ret = cli_ask_cmd(cli, "workers", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    cli_table_columns(&table, "WORKER>", "LCORE>", "RESPONDS", "SESSIONS>", "TCP>", "BUFFERS FREE>", "HELD>",
                      "POLICY>", "RX PACKETS>", "TX PACKETS>", "HEAP CALLS>", NULL);
    json_array_foreach(json_object_get(result, "workers"), i, item)
    {
        const json_t *g = json_object_get(item, "gauges"), *c = json_object_get(item, "counters");
        char t[10][CLI_NUM_MAX], responds[64] = "no";
        char buffers[2 * CLI_NUM_MAX + 4];

        if (cli_bool(item, "responds"))
            snprintf(responds, sizeof(responds), "%" PRId64 " us", cli_int(item, "rtt_us"));
        snprintf(buffers, sizeof(buffers), "%" PRId64 "/%" PRId64, cli_int(g, "mbufs_free"),
                 cli_int(g, "mbufs_total"));
        cli_table_row(&table, decimal(t[0], cli_int(item, "worker")), decimal(t[1], cli_int(item, "lcore")),
                      responds, decimal(t[2], cli_int(g, "sessions")), decimal(t[3], cli_int(g, "tcp_conns")),
                      buffers, decimal(t[4], cli_int(g, "bufs_held")),
                      decimal(t[5], cli_int(g, "policy_generation")), decimal(t[6], cli_int(c, "rx_packets")),
                      decimal(t[7], cli_int(c, "tx_packets")), decimal(t[8], cli_int(c, "heap_calls")), NULL);
    }
    cli_table_print(&table, cli->out);
out:
    json_decref(result);
    return CLI_OK;
}

int cli_brokers(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *item;
    size_t i;
    int ret = cli_ask_cmd(cli, "brokers", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    if (!cli_bool(result, "known")) {
        fputs("the cluster is not known yet; bootstrap addresses:", cli->out);
        json_array_foreach(json_object_get(result, "bootstrap"), i, item)
            fprintf(cli->out, " %s", json_string_value(item));
        fputc('\n', cli->out);
        goto out;
    }
    fprintf(cli->out, "cluster %s\n\n", cli_text(result, "cluster_id"));
    cli_table_columns(&table, "NODE>", "HOST", "PORT>", "ADDRESS", "ZONE", "STATE", "LEADS>", "", NULL);
    json_array_foreach(json_object_get(result, "brokers"), i, item)
    {
        char node[CLI_NUM_MAX], port[CLI_NUM_MAX], leads[CLI_NUM_MAX], state[64];

        snprintf(state, sizeof(state), "%s%s", cli_text(item, "state"),
                 cli_bool(item, "draining") ? ", draining" : "");
        cli_table_row(&table, decimal(node, cli_int(item, "id")), cli_text(item, "host"),
                      decimal(port, cli_int(item, "port")),
                      *cli_text(item, "address") ? cli_text(item, "address") : "(not resolved)",
                      *cli_text(item, "rack") ? cli_text(item, "rack") : "-", state,
                      decimal(leads, cli_int(item, "leads")),
                      cli_bool(item, "controller") ? "controller" : "", NULL);
    }
    cli_table_print(&table, cli->out);
out:
    json_decref(result);
    return CLI_OK;
}

static void id_list(char *buf, size_t cap, const json_t *array)
{
    json_t *item;
    size_t i, len = 0;

    buf[0] = '\0';
    json_array_foreach(array, i, item)
    {
        if (len < cap)
            len += (size_t)snprintf(buf + len, cap - len, "%s%" PRId64, i ? "," : "",
                                    (int64_t)json_integer_value(item));
    }
}

static void topic_partitions(const struct cli *cli, const json_t *topic)
{
    struct cli_table table = {0};
    json_t *item;
    size_t i;

    cli_table_columns(&table, "PARTITION>", "LEADER>", "EPOCH>", "REPLICAS", "IN SYNC", "OFFLINE", NULL);
    json_array_foreach(json_object_get(topic, "partition_list"), i, item)
    {
        char t[3][CLI_NUM_MAX], replicas[256], isr[256], offline[256];

        id_list(replicas, sizeof(replicas), json_object_get(item, "replicas"));
        id_list(isr, sizeof(isr), json_object_get(item, "isr"));
        id_list(offline, sizeof(offline), json_object_get(item, "offline"));
        cli_table_row(&table, decimal(t[0], cli_int(item, "partition")),
                      cli_int(item, "leader") < 0 ? "none" : decimal(t[1], cli_int(item, "leader")),
                      decimal(t[2], cli_int(item, "epoch")), replicas, isr, *offline ? offline : "-", NULL);
    }
    cli_table_print(&table, cli->out);
}

int cli_topics(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *request = json_pack("{s:s}", "cmd", "topics"), *result, *item;
    size_t i;
    int ret;

    if (cli->n_args > 0)
        json_object_set_new(request, "topic", json_string(cli->args[0]));
    ret = cli_ask(cli, request, &result);
    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    if (cli->n_args > 0) {
        topic_partitions(cli, json_array_get(json_object_get(result, "topics"), 0));
        goto out;
    }
    cli_table_columns(&table, "TOPIC", "PARTITIONS>", "REPLICATION>", "UNDER-REPLICATED>", "LEADERLESS>",
                      "ID", "", NULL);
    json_array_foreach(json_object_get(result, "topics"), i, item)
    {
        char t[4][CLI_NUM_MAX];

        if (cli_bool(item, "internal") && !cli->all)
            continue;
        cli_table_row(&table, *cli_text(item, "name") ? cli_text(item, "name") : "(unnamed)",
                      decimal(t[0], cli_int(item, "partitions")), decimal(t[1], cli_int(item, "replication")),
                      decimal(t[2], cli_int(item, "under_replicated")),
                      decimal(t[3], cli_int(item, "leaderless")),
                      *cli_text(item, "id") ? cli_text(item, "id") : "-",
                      cli_bool(item, "internal") ? "internal" : "", NULL);
    }
    cli_table_print(&table, cli->out);
out:
    json_decref(result);
    return CLI_OK;
}
