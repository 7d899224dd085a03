/* hr-relay-edit: what the relay makes of a response, for harnesses that read Kafka frames with Kafka's own
 * classes. Each line is a job; the frame goes through a real relay in pieces of random sizes. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/counters.h"
#include "shared/kafka/wire.h"
#include "tests/support/relay_fixture.h"

static const char help[] =
    "hr-relay-edit: response frames as the relay forwards them\n"
    "\n"
    "Reads lines \"API VERSION NODE HEX\" (API: key; NODE: the node id of the virtual broker, -1 for the "
    "bootstrap\n"
    "listener; HEX: a response frame, its 4-byte size included) and answers each with one line:\n"
    "  ok HEX held=N tail=N hidden=N nodes=N skipped=N hint=N    the frame as the client gets it\n"
    "  error REASON                                              the relay closes the session\n"
    "held: frames rewritten in length; tail, hidden: endpoints rewritten or left out at the old length; "
    "nodes:\n"
    "brokers left out; skipped: optional edits; hint: a partition said NOT_LEADER_OR_FOLLOWER.\n"
    "\n"
    "  --host PATTERN   advertised host, default b$(nodeId).proxy.test\n"
    "  --port N         advertised port of node 0, default 20000\n"
    "  --max-node N     nodes 0..N are reachable, default 9999\n"
    "  --hold-max N     bytes of a held frame, default 1048576\n"
    "  --seed N         of the cuts, default 1\n"
    "\n"
    "Exit status: 0, or 2 when a line or an option is wrong.\n";

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex_bytes(const char *p, struct rf_bytes *b)
{
    for (; p[0] && p[0] != '\n' && p[0] != '\r'; p += 2) {
        int hi = hex_value(p[0]), lo = hi < 0 ? -1 : hex_value(p[1]);
        if (lo < 0)
            return false;
        uint8_t v = (uint8_t)(hi << 4 | lo);
        rf_append(b, &v, 1);
    }
    return true;
}

static void run(struct rf *f, int16_t api, int16_t version, int32_t node, const struct rf_bytes *frame)
{
    struct rf_bytes rq = {0};

    rf_reset(f, node);
    rf_bare_request(&rq, api, version, (int32_t)hr_kget32(frame->p + 4));
    rf_play_requests(f, rq.p, rq.len);
    rf_free(&rq);
    enum hr_drop verdict = f->request.verdict;
    if (verdict == HR_DROP_MAX) {
        rf_play_responses(f, frame->p, frame->len);
        verdict = f->response.verdict;
    }
    if (verdict != HR_DROP_MAX) {
        printf("error %s\n", hr_drop_info[verdict].name);
        return;
    }
    fputs("ok ", stdout);
    for (uint32_t i = 0; i < f->to_client.len; i++)
        printf("%02x", f->to_client.p[i]);
    const uint64_t *c = f->stats.counters;
    printf(" held=%llu tail=%llu hidden=%llu nodes=%llu skipped=%llu hint=%d\n",
           (unsigned long long)c[HR_CTR_kafka_edits_held], (unsigned long long)c[HR_CTR_kafka_edits_tail],
           (unsigned long long)c[HR_CTR_kafka_tails_hidden], (unsigned long long)c[HR_CTR_kafka_nodes_hidden],
           (unsigned long long)c[HR_CTR_kafka_edits_skipped], f->leader_hint);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"host", required_argument, NULL, 'o'},
        {"port", required_argument, NULL, 'p'},
        {"max-node", required_argument, NULL, 'n'},
        {"hold-max", required_argument, NULL, 'm'},
        {"seed", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *host = NULL;
    long port = 20000, max_node = 9999, hold_max = 1 << 20;
    unsigned long long seed = 1;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (opt) {
        case 'o':
            host = optarg;
            break;
        case 'p':
            port = atol(optarg);
            break;
        case 'n':
            max_node = atol(optarg);
            break;
        case 'm':
            hold_max = atol(optarg);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            fputs(help, stderr);
            return 2;
        }
    }
    if (port < 1 || max_node < 0 || port + max_node > 65535 || hold_max < 1024 || hold_max > 64 << 20 ||
        (host && strlen(host) >= HR_POLICY_HOST_MAX)) {
        fputs("hr-relay-edit: an option's value is out of range\n", stderr);
        return 2;
    }

    static struct rf f;
    rf_init(&f, 0, (uint32_t)hold_max);
    if (host)
        snprintf(f.listener->adv_host, sizeof(f.listener->adv_host), "%s", host);
    f.listener->adv_port_base = (int32_t)port;
    f.listener->node_port_base = (int32_t)port;
    f.listener->node_id_max = (int32_t)max_node;
    f.seed = seed;

    char *line = NULL;
    size_t cap = 0;
    struct rf_bytes frame = {0};
    while (getline(&line, &cap, stdin) > 0) {
        int api, version, node, at = 0;
        frame.len = 0;
        if (sscanf(line, "%d %d %d %n", &api, &version, &node, &at) < 3 || at == 0 ||
            !hex_bytes(line + at, &frame) || frame.len < 8) {
            fprintf(stderr, "hr-relay-edit: not a job: %.60s\n", line);
            return 2;
        }
        run(&f, (int16_t)api, (int16_t)version, node, &frame);
        fflush(stdout);
    }
    free(line);
    rf_free(&frame);
    rf_fini(&f);
    return 0;
}
