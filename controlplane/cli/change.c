#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/auth/check.h"
#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"
#include "controlplane/tls/check.h"
#include "shared/config/config.h"

int cli_set(const struct cli *cli)
{
    json_t *result;
    int ret = cli_ask(
        cli, json_pack("{s:s, s:s, s:s}", "cmd", "set", "key", cli->args[0], "value", cli->args[1]), &result);

    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result))
        fprintf(cli->out, "%s: %s -> %s (until the next reload or restart)\n", cli_text(result, "key"),
                cli_text(result, "from"), cli_text(result, "to"));
    json_decref(result);
    return CLI_OK;
}

static int drain(const struct cli *cli, const char *cmd, const char *done)
{
    json_t *request = json_pack("{s:s}", "cmd", cmd), *result;
    int ret;

    if (cli->n_args > 0)
        json_object_set_new(request, "target", json_string(cli->args[0]));
    ret = cli_ask(cli, request, &result);
    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result))
        fprintf(cli->out, "%s%s%s %s\n", cli_text(result, "what"), *cli_text(result, "target") ? " " : "",
                cli_text(result, "target"), done);
    json_decref(result);
    return CLI_OK;
}

int cli_drain(const struct cli *cli)
{
    return drain(cli, "drain",
                 "is draining: no new sessions, open ones end when their requests are answered");
}

int cli_undrain(const struct cli *cli)
{
    return drain(cli, "undrain", "takes sessions again");
}

int cli_reload(const struct cli *cli)
{
    struct cli_table table = {0};
    json_t *result, *item;
    bool restart = false;
    size_t i;
    int ret = cli_ask_cmd(cli, "reload", &result);

    if (ret != CLI_OK)
        return ret;
    if (cli_print_json(cli, result))
        goto out;
    if (json_array_size(json_object_get(result, "changes")) == 0) {
        fputs("nothing has changed\n", cli->out);
        goto out;
    }
    cli_table_columns(&table, "KEY", "WAS", "IS", "", NULL);
    json_array_foreach(json_object_get(result, "changes"), i, item)
    {
        restart = restart || cli_bool(item, "restart");
        cli_table_row(&table, cli_text(item, "key"), cli_text(item, "from"), cli_text(item, "to"),
                      cli_bool(item, "restart") ? "needs a restart" : "applied", NULL);
    }
    cli_table_print(&table, cli->out);
    if (restart)
        fputs("headracectl: some keys take effect only after a restart\n", stderr);
out:
    json_decref(result);
    return CLI_OK;
}

/* config check FILE: without a running instance. */
int cli_config(const struct cli *cli)
{
    struct hr_config_errors *errors;
    struct hr_config *config;
    json_t *texts;
    int err;

    if (strcmp(cli->args[0], "check") != 0 || cli->n_args != 2)
        return cli_usage(cli);
    errors = calloc(1, sizeof(*errors));
    config = calloc(1, sizeof(*config));
    if (!errors || !config) {
        fputs("headracectl: out of memory\n", stderr);
        free(errors);
        free(config);
        return CLI_FAILED;
    }
    err = hr_config_load(cli->args[1], config, errors);
    if (!err && hr_tls_check(config, time(NULL), errors) + hr_auth_check(config, errors) > 0)
        err = HR_E_CONFIG;
    if (cli->json) {
        texts = json_array();
        for (uint32_t i = 0; err && i < errors->n; i++)
            json_array_append_new(texts, json_string(errors->text[i]));
        json_t *warnings = json_array();
        for (uint32_t i = 0; i < errors->n_warnings; i++)
            json_array_append_new(warnings, json_string(errors->warnings[i]));
        json_t *result = json_pack("{s:b, s:o, s:o}", "ok", err == 0, "errors", texts, "warnings", warnings);

        cli_print_json(cli, result);
        json_decref(result);
        goto out;
    }
    for (uint32_t i = 0; i < errors->n_warnings; i++)
        fprintf(stderr, "warning: %s\n", errors->warnings[i]);
    if (err) {
        for (uint32_t i = 0; i < errors->n; i++)
            fprintf(stderr, "%s\n", errors->text[i]);
        if (errors->n == HR_CONFIG_MAX_ERRORS)
            fputs("(there may be more)\n", stderr);
    } else {
        fprintf(cli->out, "%s: good: %u listener%s, %u worker%s\n", cli->args[1], config->n_listeners,
                config->n_listeners == 1 ? "" : "s", config->dataplane.n_workers,
                config->dataplane.n_workers == 1 ? "" : "s");
    }
out:
    free(errors);
    free(config);
    return err ? CLI_USAGE : CLI_OK;
}
