#include <math.h>

#include "controlplane/cli/cli.h"

static const char *scaled(char buf[CLI_NUM_MAX], double value, const char *const units[], int n_units)
{
    int unit = 0;

    while (fabs(value) >= 999.5 && unit + 1 < n_units) {
        value /= 1000;
        unit++;
    }
    if (unit == 0 && value == floor(value))
        snprintf(buf, CLI_NUM_MAX, "%.0f%s", value, units[0]);
    else
        snprintf(buf, CLI_NUM_MAX,
                 fabs(value) < 9.995   ? "%.2f%s"
                 : fabs(value) < 99.95 ? "%.1f%s"
                                       : "%.0f%s",
                 value, units[unit]);
    return buf;
}

const char *cli_bytes(char buf[CLI_NUM_MAX], double bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};

    return scaled(buf, bytes, units, 6);
}

const char *cli_count(char buf[CLI_NUM_MAX], double count)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P"};

    return scaled(buf, count, units, 6);
}

const char *cli_seconds(char buf[CLI_NUM_MAX], double seconds)
{
    int64_t s = (int64_t)seconds;

    if (seconds < 10)
        snprintf(buf, CLI_NUM_MAX, "%.1fs", seconds);
    else if (s < 60)
        snprintf(buf, CLI_NUM_MAX, "%ds", (int)s);
    else if (s < 3600)
        snprintf(buf, CLI_NUM_MAX, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(buf, CLI_NUM_MAX, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(buf, CLI_NUM_MAX, "%lldd%02dh", (long long)(s / 86400), (int)(s / 3600 % 24));
    return buf;
}

const char *cli_text(const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));

    return text ? text : "";
}

int64_t cli_int(const json_t *obj, const char *key)
{
    return json_integer_value(json_object_get(obj, key));
}

double cli_real(const json_t *obj, const char *key)
{
    return json_number_value(json_object_get(obj, key));
}

bool cli_bool(const json_t *obj, const char *key)
{
    return json_is_true(json_object_get(obj, key));
}
