/* `headracectl users`: changes the file of verifiers itself, without the control plane, which notices within a second.
 * A password comes from the terminal, twice and unseen, or is the first line of stdin; never an argument, where others
 * on the machine would see it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "controlplane/auth/users.h"
#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

struct password {
    char text[HR_SCRAM_PASSWORD_MAX + 2]; /* with newline and NUL */
    size_t len;
};

/* One line from fd; false at its end or when it is too long. Byte by byte: what stands behind it is not ours. */
static bool read_line(int fd, struct password *ret)
{
    ret->len = 0;
    for (;;) {
        ssize_t n = read(fd, ret->text + ret->len, 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0 || ret->text[ret->len] == '\n')
            break;
        if (++ret->len > HR_SCRAM_PASSWORD_MAX)
            return false;
    }
    return ret->len > 0;
}

/* From the terminal, without echo. */
static bool ask(const char *prompt, struct password *ret)
{
    struct termios was, quiet;
    bool ok;

    fputs(prompt, stderr);
    if (tcgetattr(STDIN_FILENO, &was) != 0)
        return false;
    quiet = was;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) != 0)
        return false;
    ok = read_line(STDIN_FILENO, ret);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &was);
    fputc('\n', stderr);
    return ok;
}

static bool get_password(struct password *ret)
{
    struct password again = {0};
    bool ok, same;

    if (!isatty(STDIN_FILENO)) {
        ok = read_line(STDIN_FILENO, ret);
        if (!ok)
            fputs("headracectl: stdin's first line must be the password, of 1 to 1024 bytes\n", stderr);
        return ok;
    }
    ok = ask("Password: ", ret) && ask("Again: ", &again);
    same = ok && again.len == ret->len && memcmp(again.text, ret->text, ret->len) == 0;
    hr_wipe(&again, sizeof(again));
    if (!ok)
        fputs("headracectl: a password has 1 to 1024 bytes\n", stderr);
    else if (!same)
        fputs("headracectl: the two differ\n", stderr);
    return same;
}

static int list(const struct cli *cli, const struct hr_users *users)
{
    struct cli_table table = {0};
    json_t *result = json_array();
    enum hr_digest hash;
    uint32_t iterations;
    char text[16];

    for (uint32_t i = 0; i < hr_users_count(users); i++) {
        const char *name = hr_users_at(users, i, &hash, &iterations);

        json_array_append_new(result, json_pack("{s:s, s:s, s:i}", "user", name, "mechanism", hr_scram_name(hash),
                                                "iterations", (int)iterations));
    }
    if (!cli_print_json(cli, result)) {
        cli_table_columns(&table, "USER", "MECHANISM", "ITERATIONS>", NULL);
        for (uint32_t i = 0; i < hr_users_count(users); i++) {
            const char *name = hr_users_at(users, i, &hash, &iterations);

            snprintf(text, sizeof(text), "%u", iterations);
            cli_table_row(&table, name, hr_scram_name(hash), text, NULL);
        }
        cli_table_print(&table, cli->out);
    }
    json_decref(result);
    return CLI_OK;
}

/* add and passwd differ in whether the user must be there. */
static int set(struct hr_users *users, const char *name, bool add, uint32_t iterations)
{
    struct hr_scram_verifier v;
    struct password password = {0};
    bool known = hr_users_lookup(users, name, HR_SHA256, &v) || hr_users_lookup(users, name, HR_SHA512, &v);
    int err;

    hr_wipe(&v, sizeof(v));
    if (!hr_users_name_ok(name)) {
        fputs("headracectl: a name has 1 to 255 bytes, no white space, and does not begin with # or !\n", stderr);
        return CLI_USAGE;
    }
    if (known == add) {
        fprintf(stderr, "headracectl: user %s %s\n", name, add ? "is there already: use passwd" : "is not there: use add");
        return CLI_FAILED;
    }
    if (!get_password(&password)) {
        hr_wipe(&password, sizeof(password));
        return CLI_USAGE;
    }
    err = hr_users_set(users, name, password.text, password.len, iterations);
    hr_wipe(&password, sizeof(password));
    if (err)
        fprintf(stderr, "headracectl: %s\n", hr_strerror(err));
    return err ? CLI_FAILED : CLI_OK;
}

static int change(const struct cli *cli, const char *action, struct hr_users *users)
{
    const char *name = cli->args[1];

    if (strcmp(action, "remove") != 0)
        return set(users, name, strcmp(action, "add") == 0,
                   cli->iterations ? (uint32_t)cli->iterations : HR_SCRAM_ITERATIONS_MIN);
    if (hr_users_remove(users, name) == 0)
        return CLI_OK;
    fprintf(stderr, "headracectl: user %s is not there\n", name);
    return CLI_FAILED;
}

/* Those who use the name now. */
static int end_connections(const struct cli *cli)
{
    json_t *result;
    int ret = cli_ask(cli, json_pack("{s:s, s:s}", "cmd", "kill_principal", "principal", cli->args[1]), &result);

    if (ret != CLI_OK)
        return ret;
    if (!cli_print_json(cli, result))
        fprintf(cli->out, "%d connections ended\n", (int)cli_int(result, "ended"));
    json_decref(result);
    return CLI_OK;
}

int cli_users(const struct cli *cli)
{
    const char *action = cli->args[0], *path = cli->file ? cli->file : CLI_DEFAULT_USERS;
    bool wants_name = strcmp(action, "list") != 0, add = strcmp(action, "add") == 0;
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users = NULL;
    int lock = -1, err, ret = CLI_FAILED;

    if ((wants_name && !add && strcmp(action, "remove") != 0 && strcmp(action, "passwd") != 0) ||
        cli->n_args != (wants_name ? 2 : 1) || (cli->kill && strcmp(action, "remove") != 0) ||
        (cli->iterations && (cli->iterations < HR_SCRAM_ITERATIONS_MIN || cli->iterations > HR_SCRAM_ITERATIONS_MAX)))
        return cli_usage(cli);
    if (wants_name && (lock = hr_users_lock(path, why)) < 0)
        goto out;
    err = hr_users_load(path, &users, why);
    if (err == HR_E_NOT_FOUND && add)
        err = hr_users_create(&users);
    if (err)
        goto out;
    why[0] = '\0';
    if (!wants_name) {
        ret = list(cli, users);
        goto out;
    }
    ret = change(cli, action, users);
    if (ret == CLI_OK && hr_users_save(path, users, why) != 0)
        ret = CLI_FAILED;
    if (ret == CLI_OK && cli->kill)
        ret = end_connections(cli);
out:
    if (why[0])
        fprintf(stderr, "headracectl: %s\n", why);
    hr_users_free(users);
    if (lock >= 0)
        close(lock);
    return ret;
}
