/* Counters, gauges and drop reasons. Names, meanings and remedies are compiled in from the same lists as the
 * workers' (shared/base/counters.h); a counter that only the running control plane knows is shown by name. */
#include <inttypes.h>
#include <string.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"
#include "shared/base/counters.h"

/* Sums the object `group` over the workers that were asked for. NULL (after a message) when there is no such
 * worker. */
static json_t *sum_workers(const struct cli *cli, const json_t *result, const char *group)
{
    json_t *sum = json_object(), *worker, *value;
    const char *name;
    bool found = cli->worker < 0;
    size_t i;

    json_array_foreach(json_object_get(result, "workers"), i, worker)
    {
        if (cli->worker >= 0 && cli_int(worker, "worker") != cli->worker)
            continue;
        found = true;
        json_object_foreach(json_object_get(worker, group), name, value)
            json_object_set_new(sum, name, json_integer(cli_int(sum, name) + json_integer_value(value)));
    }
    if (found)
        return sum;
    fprintf(stderr, "headracectl: there is no worker %d\n", cli->worker);
    json_decref(sum);
    return NULL;
}

static const struct hr_counter_info *find_info(const struct hr_counter_info *infos, uint32_t n,
                                               const char *name)
{
    for (uint32_t i = 0; i < n; i++) {
        if (strcmp(infos[i].name, name) == 0)
            return &infos[i];
    }
    return NULL;
}

static void add_rows(const struct cli *cli, struct cli_table *table, json_t *sum,
                     const struct hr_counter_info *infos, uint32_t n, bool remedies)
{
    json_t *value;
    const char *name;

    json_object_foreach(sum, name, value)
    {
        const struct hr_counter_info *info = find_info(infos, n, name);
        char number[CLI_NUM_MAX];

        if (json_integer_value(value) == 0 && !cli->all)
            continue;
        snprintf(number, sizeof(number), "%" PRIu64, (uint64_t)json_integer_value(value));
        if (remedies)
            cli_table_row(table, name, number, info ? info->meaning : "",
                          info && info->remedy ? info->remedy : "", NULL);
        else
            cli_table_row(table, name, number, info ? info->meaning : "", NULL);
    }
}

int cli_counters(const struct cli *cli)
{
    struct cli_table counters = {0}, gauges = {0};
    json_t *result, *sum;
    int ret = cli_ask_cmd(cli, "counters", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    sum = sum_workers(cli, result, "counters");
    if (!sum) {
        ret = CLI_FAILED;
        goto out;
    }
    cli_table_columns(&counters, "COUNTER", "VALUE>", "MEANING", NULL);
    add_rows(cli, &counters, sum, hr_counter_info, HR_CTR_MAX, false);
    cli_table_print(&counters, cli->out);
    json_decref(sum);
    sum = sum_workers(cli, result, "gauges");
    fputc('\n', cli->out);
    cli_table_columns(&gauges, "GAUGE", "VALUE>", "MEANING", NULL);
    add_rows(cli, &gauges, sum, hr_gauge_info, HR_GAUGE_MAX, false);
    cli_table_print(&gauges, cli->out);
    json_decref(sum);
out:
    json_decref(result);
    return ret;
}

int cli_drops(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *sum;
    int ret = cli_ask_cmd(cli, "counters", &result);

    if (ret != CLI_OK)
        return ret;
    sum = sum_workers(cli, result, "drops");
    if (!sum) {
        ret = CLI_FAILED;
        goto out;
    }
    if (cli_print_json(cli, sum)) {
        json_decref(sum);
        goto out;
    }
    cli_table_columns(&table, "REASON", "COUNT>", "MEANING", "REMEDY", NULL);
    add_rows(cli, &table, sum, hr_drop_info, HR_DROP_MAX, true);
    if (table.n_rows == 0)
        fputs("nothing was dropped (--all lists every reason)\n", cli->out);
    else
        cli_table_print(&table, cli->out);
    json_decref(sum);
out:
    json_decref(result);
    return ret;
}

static void explain_cell(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            fputc('\\', to);
        fputc(*text, to);
    }
}

static void explain_table(FILE *to, const char *title, const struct hr_counter_info *infos, uint32_t n,
                          bool remedies)
{
    fprintf(to, "| %s | meaning |%s\n|---|---|%s\n", title, remedies ? " what to do |" : "",
            remedies ? "---|" : "");
    for (uint32_t i = 0; i < n; i++) {
        fprintf(to, "| `%s` | ", infos[i].name);
        explain_cell(to, infos[i].meaning);
        if (remedies) {
            fputs(" | ", to);
            explain_cell(to, infos[i].remedy);
        }
        fputs(" |\n", to);
    }
}

/* docs/counters.md, whole; a test compares. */
int cli_explain(const struct cli *cli)
{
    fputs("# Counters, gauges and drop reasons\n\n"
          "Printed by `headracectl explain` from `shared/base/counters.h`; after a change there: "
          "`headracectl explain >\n"
          "docs/counters.md`. In Prometheus' names a counter `foo` is `headrace_foo_total{worker=\"0\"}`, a "
          "gauge `bar` is\n"
          "`headrace_bar{worker=\"0\"}`, and a drop reason `baz` is "
          "`headrace_drops_total{worker=\"0\",reason=\"baz\"}`.\n\n",
          cli->out);
    explain_table(cli->out, "counter", hr_counter_info, HR_CTR_MAX, false);
    fputc('\n', cli->out);
    explain_table(cli->out, "gauge", hr_gauge_info, HR_GAUGE_MAX, false);
    fputc('\n', cli->out);
    explain_table(cli->out, "drop reason", hr_drop_info, HR_DROP_MAX, true);
    return CLI_OK;
}
