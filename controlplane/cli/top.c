/* Rates from the difference of two samples of the workers' counters, each second. */
#include <inttypes.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/cli/cli.h"
#include "controlplane/cli/table.h"

/* X(json key, counter, per) */
static const struct {
    const char *key, *counter;
} rates[] = {
    {"rx_packets", "rx_packets"},
    {"tx_packets", "tx_packets"},
    {"rx_bytes", "rx_bytes"},
    {"tx_bytes", "tx_bytes"},
    {"requests", "kafka_requests"},
    {"responses", "kafka_responses"},
    {"bytes_up", "relay_bytes_up"},
    {"bytes_down", "relay_bytes_down"},
    {"retransmits", "tcp_retransmit_segs"},
    {"opened", "sessions_opened"},
};
#define N_RATES (sizeof(rates) / sizeof(rates[0]))

static int64_t total_drops(const json_t *worker)
{
    json_t *value;
    const char *name;
    int64_t sum = 0;

    json_object_foreach(json_object_get(worker, "drops"), name, value) sum += json_integer_value(value);
    return sum;
}

/* One worker's rates; a counter that went backwards (the dataplane restarted in between) counts from 0. */
static json_t *worker_rates(const json_t *before, const json_t *now, double seconds)
{
    const json_t *c0 = json_object_get(before, "counters"), *c1 = json_object_get(now, "counters");
    const json_t *g0 = json_object_get(before, "gauges"), *g1 = json_object_get(now, "gauges");
    json_t *obj = json_object();
    double busy = (double)(cli_int(g1, "busy_ns") - cli_int(g0, "busy_ns")) / 1e9 / seconds;
    int64_t drops = total_drops(now) - total_drops(before);

    json_object_set_new(obj, "worker", json_integer(cli_int(now, "worker")));
    json_object_set_new(obj, "busy", json_real(busy < 0 ? 0 : busy > 1 ? 1 : busy));
    json_object_set_new(obj, "sessions", json_integer(cli_int(g1, "sessions")));
    json_object_set_new(obj, "bufs_held", json_integer(cli_int(g1, "bufs_held")));
    for (size_t i = 0; i < N_RATES; i++) {
        int64_t delta = cli_int(c1, rates[i].counter) - cli_int(c0, rates[i].counter);

        if (delta < 0)
            delta = cli_int(c1, rates[i].counter);
        json_object_set_new(obj, rates[i].key, json_real((double)delta / seconds));
    }
    json_object_set_new(obj, "drops", json_real((double)(drops < 0 ? 0 : drops) / seconds));
    return obj;
}

static json_t *frame_rates(const json_t *before, const json_t *now)
{
    double seconds = (double)(cli_int(now, "time_us") - cli_int(before, "time_us")) / 1e6;
    json_t *array = json_array(), *worker;
    size_t i;

    if (seconds <= 0)
        seconds = 1e-6;
    json_array_foreach(json_object_get(now, "workers"), i, worker)
    {
        const json_t *was = json_array_get(json_object_get(before, "workers"), i);

        json_array_append_new(array, worker_rates(was, worker, seconds));
    }
    return json_pack("{s:f, s:o}", "seconds", seconds, "workers", array);
}

static void add_row(struct cli_table *table, const char *name, const json_t *w)
{
    char t[12][CLI_NUM_MAX];

    snprintf(t[0], CLI_NUM_MAX, "%.1f", cli_real(w, "busy") * 100);
    cli_table_row(table, name, t[0], cli_count(t[1], cli_real(w, "sessions")),
                  cli_count(t[2], cli_real(w, "rx_packets")), cli_count(t[3], cli_real(w, "tx_packets")),
                  cli_bytes(t[4], cli_real(w, "rx_bytes")), cli_bytes(t[5], cli_real(w, "tx_bytes")),
                  cli_count(t[6], cli_real(w, "requests")), cli_count(t[7], cli_real(w, "responses")),
                  cli_bytes(t[8], cli_real(w, "bytes_up")), cli_bytes(t[9], cli_real(w, "bytes_down")),
                  cli_count(t[10], cli_real(w, "retransmits")), cli_count(t[11], cli_real(w, "drops")), NULL);
}

static json_t *add_up(const json_t *workers)
{
    json_t *sum = json_object(), *worker, *value;
    const char *key;
    size_t i;

    json_array_foreach(workers, i, worker)
    {
        json_object_foreach(worker, key, value)
            json_object_set_new(sum, key, json_real(cli_real(sum, key) + json_number_value(value)));
    }
    return sum;
}

static void print_frame(const struct cli *cli, const json_t *frame)
{
    struct cli_table table = {0};
    const json_t *workers = json_object_get(frame, "workers");
    json_t *worker, *sum;
    size_t i;

    if (isatty(fileno(cli->out)))
        fputs("\033[H\033[J", cli->out);
    fprintf(cli->out, "per second, over %.1f s\n", cli_real(frame, "seconds"));
    cli_table_columns(&table, "WORKER", "BUSY %>", "SESSIONS>", "RX PKT>", "TX PKT>", "RX>", "TX>",
                      "REQUESTS>", "RESPONSES>", "UP>", "DOWN>", "RETRANS>", "DROPS>", NULL);
    json_array_foreach(workers, i, worker)
    {
        char name[CLI_NUM_MAX];

        snprintf(name, sizeof(name), "%" PRId64, cli_int(worker, "worker"));
        add_row(&table, name, worker);
    }
    if (json_array_size(workers) > 1) {
        sum = add_up(workers);
        add_row(&table, "all", sum);
        json_decref(sum);
    }
    cli_table_print(&table, cli->out);
    fflush(cli->out);
}

int cli_top(const struct cli *cli)
{
    int frames = cli->once ? 1 : cli->count;
    struct timespec pause = {.tv_sec = (time_t)cli->interval_s,
                             .tv_nsec = (long)((cli->interval_s - (double)(time_t)cli->interval_s) * 1e9)};
    json_t *before, *now, *frame;
    int ret = cli_ask_cmd(cli, "counters", &before);

    if (ret != CLI_OK)
        return ret;
    for (int n = 0; frames == 0 || n < frames; n++) {
        nanosleep(&pause, NULL);
        ret = cli_ask_cmd(cli, "counters", &now);
        if (ret != CLI_OK)
            break;
        frame = frame_rates(before, now);
        if (!cli_print_json(cli, frame))
            print_frame(cli, frame);
        json_decref(frame);
        json_decref(before);
        before = now;
    }
    json_decref(before);
    return ret;
}
