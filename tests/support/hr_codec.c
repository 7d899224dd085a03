/* hr-codec: Kafka messages between hex and JSON, for people who debug captures and for tests.
 *
 * One message per call (decode, encode), or one job per line (batch), which is how the Java harness checks
 * many thousands. The codec and its schema table are Headrace's own (shared/kafka); nothing is known here. */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/kafka/json.h"

#define ENCODED_FIRST (64u << 10)
#define ENCODED_MAX   (1u << 30)

enum exit_code { EXIT_OK = 0, EXIT_BAD_MESSAGE = 1, EXIT_BAD_USE = 2 };

static const char help[] =
    "hr-codec: Kafka messages from hex to JSON and back\n"
    "\n"
    "  hr-codec decode --api API --version N --request|--response [--header|--frame] < HEX\n"
    "  hr-codec encode --api API --version N --request|--response [--header|--frame] < JSON\n"
    "  hr-codec list [--json]          every API with its versions\n"
    "  hr-codec batch                  one job per line, see below\n"
    "\n"
    "  -a, --api API      name (Fetch) or key (1)\n"
    "  -v, --version N    version of the request or response\n"
    "  -q, --request      the message is a request\n"
    "  -r, --response     the message is a response\n"
    "  -H, --header       a header stands in front; JSON is then {\"header\": ..., \"body\": ...}\n"
    "  -F, --frame        a 4-byte size and a header stand in front\n"
    "  -h, --help         this text\n"
    "\n"
    "A request with a header names its own API and version: --api and --version may then be left out.\n"
    "Hex may hold white space. Bytes and records are hex strings in JSON; unknown tagged fields stand under\n"
    "\"_tags\"; what an object leaves out takes its default.\n"
    "\n"
    "Batch reads lines and answers each with \"ok RESULT\" or \"error WHY\":\n"
    "  decode KEY VERSION request|response HEX     the message as JSON\n"
    "  encode KEY VERSION request|response JSON    the message as hex\n"
    "  round  KEY VERSION request|response HEX     to JSON text and back to hex\n"
    "  headers KEY VERSION                         header versions of request and response\n"
    "Headers themselves are request-header and response-header, with their own VERSION and any KEY.\n"
    "\n"
    "Exit status: 0 done, 1 the message is malformed, 2 the command line or the job is wrong.\n"
    "\n"
    "Example: echo 00000001000174 | hr-codec decode --api Metadata --version 0 --request\n";

struct text {
    char *chars;
    size_t len;
};

static _Noreturn void die(enum exit_code code, const char *what)
{
    fprintf(stderr, "hr-codec: %s\n", what);
    exit(code);
}

static void *must(void *memory)
{
    if (memory == NULL)
        die(EXIT_BAD_MESSAGE, "out of memory");
    return memory;
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place: the bytes are never longer than their text. False: not hex. */
static bool hex_to_bytes(char *text, size_t len, uint8_t **ret_bytes, uint32_t *ret_len)
{
    uint8_t *out = (uint8_t *)text;
    int high = -1;
    for (size_t i = 0; i < len; i++) {
        if (strchr(" \t\r\n", text[i]) != NULL && text[i] != '\0')
            continue;
        int digit = hex_value((unsigned char)text[i]);
        if (digit < 0)
            return false;
        if (high < 0) {
            high = digit;
        } else {
            *out++ = (uint8_t)(high << 4 | digit);
            high = -1;
        }
    }
    size_t n = (size_t)(out - (uint8_t *)text);
    if (high >= 0 || n > UINT32_MAX)
        return false;
    *ret_bytes = (uint8_t *)text;
    *ret_len = (uint32_t)n;
    return true;
}

static void print_hex(const uint8_t *bytes, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        putchar("0123456789abcdef"[bytes[i] >> 4]);
        putchar("0123456789abcdef"[bytes[i] & 15]);
    }
}

static struct text read_all(FILE *in)
{
    struct text text = {0};
    size_t cap = 0, n;
    do {
        if (cap - text.len < 4096)
            text.chars = must(realloc(text.chars, cap = cap * 2 + 65536));
        n = fread(text.chars + text.len, 1, cap - text.len, in);
        text.len += n;
    } while (n > 0);
    return text;
}

/* Grows until the message fits. The caller frees *ret_bytes. */
static int encode_growing(const struct hr_kmessage *message, int16_t version, const json_t *object,
                          uint8_t **ret_bytes, uint32_t *ret_len, char why[HR_KJSON_WHY_MAX])
{
    for (uint32_t cap = ENCODED_FIRST;; cap *= 2) {
        uint8_t *bytes = must(malloc(cap));
        int err = hr_kjson_encode(message, version, object, bytes, cap, ret_len, why);
        if (err == 0) {
            *ret_bytes = bytes;
            return 0;
        }
        free(bytes);
        if (err != HR_E_TOO_LARGE || cap >= ENCODED_MAX)
            return err;
    }
}

/* --- one message ------------------------------------------------------------------------------------- */

struct options {
    const char *api;
    int version; /* -1: not given */
    bool request, response, header, frame, json;
};

struct target {
    int16_t key, version;
    const struct hr_kmessage *message, *header;
    int16_t header_version;
};

static const struct hr_kapi *find_api(const char *name)
{
    char *end;
    long key = strtol(name, &end, 10);
    if (end != name && *end == '\0')
        return key >= 0 && key <= INT16_MAX ? hr_kapi_find((int16_t)key) : NULL;
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        if (strcasecmp(hr_kapis[i].name, name) == 0)
            return &hr_kapis[i];
    }
    return NULL;
}

static void set_target(struct target *t, const struct hr_kapi *api, long version, bool request)
{
    char what[160];
    t->message = version < 0 || version > INT16_MAX ? NULL
                 : request                          ? hr_krequest_find(api->key, (int16_t)version)
                                                    : hr_kresponse_find(api->key, (int16_t)version);
    if (t->message == NULL) {
        snprintf(what, sizeof(what), "%s has versions %d to %d, not %ld", api->name, api->versions.min,
                 api->versions.max, version);
        die(EXIT_BAD_USE, what);
    }
    t->key = api->key;
    t->version = (int16_t)version;
    t->header = request ? &hr_krequest_header : &hr_kresponse_header;
    t->header_version = request ? hr_krequest_header_version(t->key, t->version)
                                : hr_kresponse_header_version(t->key, t->version);
}

static void target_of_options(struct target *t, const struct options *o)
{
    if (o->api == NULL)
        die(EXIT_BAD_USE, "--api is missing (hr-codec list names them)");
    if (o->version < 0)
        die(EXIT_BAD_USE, "--version is missing");
    const struct hr_kapi *api = find_api(o->api);
    if (api == NULL)
        die(EXIT_BAD_USE, "no such API (hr-codec list names them)");
    set_target(t, api, o->version, o->request);
}

/* A request's header starts with its API key and version. */
static void target_of_bytes(struct target *t, const uint8_t *bytes, uint32_t len)
{
    if (len < 4)
        die(EXIT_BAD_MESSAGE, "too short for a request header");
    int16_t key = (int16_t)(bytes[0] << 8 | bytes[1]), version = (int16_t)(bytes[2] << 8 | bytes[3]);
    const struct hr_kapi *api = hr_kapi_find(key);
    if (api == NULL)
        die(EXIT_BAD_MESSAGE, "the header names an API that is not in the table");
    set_target(t, api, version, true);
}

static json_t *must_decode(const struct hr_kmessage *message, int16_t version, const uint8_t **bytes,
                           uint32_t *len)
{
    char why[HR_KJSON_WHY_MAX];
    json_t *object;
    uint32_t used;
    if (hr_kjson_decode(message, version, *bytes, *len, &object, &used, why) != 0) {
        fprintf(stderr, "hr-codec: %s version %d: %s\n", message->name, version, why);
        exit(EXIT_BAD_MESSAGE);
    }
    *bytes += used;
    *len -= used;
    return object;
}

static int decode_one(const struct options *o)
{
    struct target t;
    struct text text = read_all(stdin);
    uint8_t *raw;
    uint32_t len;
    if (!hex_to_bytes(text.chars, text.len, &raw, &len))
        die(EXIT_BAD_USE, "the input is not hex");
    const uint8_t *bytes = raw;
    json_t *out = NULL;
    int status = EXIT_BAD_MESSAGE;
    if (o->frame) {
        if (len < 4)
            die(EXIT_BAD_MESSAGE, "too short for a frame");
        uint32_t size =
            (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
        bytes += 4;
        len -= 4;
        if (size != len) {
            fprintf(stderr, "hr-codec: the frame says %u bytes, %u are there\n", size, len);
            goto out;
        }
    }
    if (o->header && o->request && o->api == NULL)
        target_of_bytes(&t, bytes, len);
    else
        target_of_options(&t, o);

    if (o->header) {
        json_t *header = must_decode(t.header, t.header_version, &bytes, &len);
        out = must(json_pack("{s:o, s:o}", "header", header, "body",
                             must_decode(t.message, t.version, &bytes, &len)));
    } else {
        out = must_decode(t.message, t.version, &bytes, &len);
    }
    if (len != 0) {
        fprintf(stderr, "hr-codec: %u bytes are left behind the message\n", len);
        goto out;
    }
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    status = EXIT_OK;
out:
    json_decref(out);
    free(text.chars);
    return status;
}

static void must_encode(const struct hr_kmessage *message, int16_t version, const json_t *object,
                        uint8_t **ret_bytes, uint32_t *ret_len)
{
    char why[HR_KJSON_WHY_MAX];
    if (encode_growing(message, version, object, ret_bytes, ret_len, why) != 0) {
        fprintf(stderr, "hr-codec: %s version %d: %s\n", message->name, version, why);
        exit(EXIT_BAD_MESSAGE);
    }
}

static int encode_one(const struct options *o)
{
    struct target t;
    struct text text = read_all(stdin);
    json_error_t error;
    json_t *in = json_loadb(text.chars, text.len, JSON_ALLOW_NUL, &error);
    if (in == NULL) {
        fprintf(stderr, "hr-codec: line %d: %s\n", error.line, error.text);
        return EXIT_BAD_USE;
    }
    json_t *header = json_object_get(in, "header"), *body = o->header ? json_object_get(in, "body") : in;
    struct options named = *o;
    if (o->header) {
        if (!json_is_object(header) || body == NULL)
            die(EXIT_BAD_USE, "with --header, the input is {\"header\": ..., \"body\": ...}");
        char key[24];
        json_t *value = json_object_get(header, "RequestApiKey");
        if (named.api == NULL && o->request && json_is_integer(value)) {
            snprintf(key, sizeof(key), "%lld", (long long)json_integer_value(value));
            named.api = key;
            named.version = (int)json_integer_value(json_object_get(header, "RequestApiVersion"));
        }
        target_of_options(&t, &named);
    } else {
        target_of_options(&t, o);
    }

    uint8_t *head = NULL, *bytes;
    uint32_t head_len = 0, len;
    if (o->header) {
        if (o->request) {
            json_object_set_new(header, "RequestApiKey", json_integer(t.key));
            json_object_set_new(header, "RequestApiVersion", json_integer(t.version));
        }
        must_encode(t.header, t.header_version, header, &head, &head_len);
    }
    must_encode(t.message, t.version, body, &bytes, &len);
    if (o->frame) {
        uint32_t size = head_len + len;
        print_hex((uint8_t[]){size >> 24, size >> 16 & 255, size >> 8 & 255, size & 255}, 4);
    }
    print_hex(head, head_len);
    print_hex(bytes, len);
    putchar('\n');
    free(head);
    free(bytes);
    free(text.chars);
    json_decref(in);
    return EXIT_OK;
}

/* --- the table --------------------------------------------------------------------------------------- */

static void print_range(struct hr_krange range, const char *tail)
{
    char text[16] = "-";
    if (range.min != HR_KVERSION_NONE)
        snprintf(text, sizeof(text), "%d-%d", range.min, range.max);
    printf("%-8s%s", text, tail);
}

static int list(bool as_json)
{
    if (as_json) {
        json_t *all = json_array();
        for (uint16_t i = 0; i < hr_kapis_n; i++) {
            const struct hr_kapi *api = &hr_kapis[i];
            json_array_append_new(all, json_pack("{s:i, s:s, s:i, s:i, s:i, s:i, s:i}", "key", api->key,
                                                 "name", api->name, "min", api->versions.min, "max",
                                                 api->versions.max, "stable_min", api->latest_stable.min,
                                                 "stable_max", api->latest_stable.max, "flexible",
                                                 api->requests[0]->flexible.min));
        }
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
        return EXIT_OK;
    }
    printf("%-4s %-36s %-8s %-8s %s\n", "key", "api", "versions", "stable", "flexible from");
    for (uint16_t i = 0; i < hr_kapis_n; i++) {
        const struct hr_kapi *api = &hr_kapis[i];
        struct hr_krange flexible = api->requests[0]->flexible;
        printf("%-4d %-36s ", api->key, api->name);
        print_range(api->versions, " ");
        print_range(api->latest_stable, " ");
        if (flexible.min == HR_KVERSION_NONE)
            puts("-");
        else
            printf("%d\n", flexible.min);
    }
    return EXIT_OK;
}

/* --- batch ------------------------------------------------------------------------------------------- */

static bool round_through_text(json_t **object)
{
    char *text = must(json_dumps(*object, JSON_COMPACT));
    json_error_t error;
    json_t *again = json_loads(text, JSON_ALLOW_NUL, &error);
    free(text);
    json_decref(*object);
    *object = again;
    return again != NULL;
}

static void batch_headers(int16_t key, int16_t version)
{
    if (hr_krequest_find(key, version) == NULL)
        puts("error no such API or version");
    else
        printf("ok %d %d\n", hr_krequest_header_version(key, version),
               hr_kresponse_header_version(key, version));
}

static void batch_job(const char *verb, const struct hr_kmessage *message, int16_t version, char *data)
{
    char why[HR_KJSON_WHY_MAX] = "";
    json_t *object = NULL;
    json_error_t error;
    uint8_t *bytes;
    uint32_t len, used;

    if (strcmp(verb, "encode") == 0) {
        object = json_loads(data, JSON_ALLOW_NUL, &error);
        if (object == NULL) {
            printf("error %s\n", error.text);
            return;
        }
    } else if (!hex_to_bytes(data, strlen(data), &bytes, &len)) {
        puts("error the message is not hex");
        return;
    } else if (hr_kjson_decode(message, version, bytes, len, &object, &used, why) != 0) {
        printf("error %s\n", why);
        return;
    } else if (used != len) {
        printf("error %u bytes are left behind the message\n", len - used);
        json_decref(object);
        return;
    }

    if (strcmp(verb, "decode") == 0) {
        fputs("ok ", stdout);
        json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (strcmp(verb, "round") == 0 && !round_through_text(&object)) {
        puts("error our own JSON does not load");
    } else if (encode_growing(message, version, object, &bytes, &len, why) != 0) {
        printf("error %s\n", why);
    } else {
        fputs("ok ", stdout);
        print_hex(bytes, len);
        putchar('\n');
        free(bytes);
    }
    json_decref(object);
}

static const struct hr_kmessage *batch_message(const char *direction, int16_t key, int16_t version)
{
    if (strcmp(direction, "request") == 0)
        return hr_krequest_find(key, version);
    if (strcmp(direction, "response") == 0)
        return hr_kresponse_find(key, version);
    if (strcmp(direction, "request-header") == 0)
        return &hr_krequest_header;
    if (strcmp(direction, "response-header") == 0)
        return &hr_kresponse_header;
    return NULL;
}

static int batch(void)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline(&line, &cap, stdin)) > 0) {
        char verb[16], direction[16];
        short key, version;
        int at = 0;
        line[strcspn(line, "\r\n")] = '\0';
        if (sscanf(line, "headers %hd %hd", &key, &version) == 2) {
            batch_headers(key, version);
        } else if (sscanf(line, "%15s %hd %hd %15s %n", verb, &key, &version, direction, &at) != 4 ||
                   at == 0 ||
                   (strcmp(verb, "decode") != 0 && strcmp(verb, "encode") != 0 &&
                    strcmp(verb, "round") != 0)) {
            puts("error the job is not understood");
        } else {
            const struct hr_kmessage *message = batch_message(direction, key, version);
            if (message == NULL)
                puts("error no such API, version or direction");
            else
                batch_job(verb, message, version, line + at);
        }
        fflush(stdout); /* the other end may wait for this line */
    }
    free(line);
    return EXIT_OK;
}

/* --- command line ------------------------------------------------------------------------------------ */

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"api", required_argument, NULL, 'a'},
        {"version", required_argument, NULL, 'v'},
        {"request", no_argument, NULL, 'q'},
        {"response", no_argument, NULL, 'r'},
        {"header", no_argument, NULL, 'H'},
        {"frame", no_argument, NULL, 'F'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options o = {.version = -1};
    char *end;
    int c;
    while ((c = getopt_long(argc, argv, "a:v:qrHFjh", longs, NULL)) != -1) {
        switch (c) {
        case 'a':
            o.api = optarg;
            break;
        case 'v':
            o.version = (int)strtol(optarg, &end, 10);
            if (*end != '\0' || end == optarg || o.version < 0)
                die(EXIT_BAD_USE, "--version wants a number");
            break;
        case 'q':
            o.request = true;
            break;
        case 'r':
            o.response = true;
            break;
        case 'F':
            o.frame = o.header = true;
            break;
        case 'H':
            o.header = true;
            break;
        case 'j':
            o.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_OK;
        default:
            return EXIT_BAD_USE;
        }
    }
    const char *verb = optind == argc - 1 ? argv[optind] : "";
    if (strcmp(verb, "list") == 0)
        return list(o.json);
    if (strcmp(verb, "batch") == 0)
        return batch();
    if (strcmp(verb, "decode") != 0 && strcmp(verb, "encode") != 0)
        die(EXIT_BAD_USE, "wants one of decode, encode, list, batch (see --help)");
    if (o.request == o.response)
        die(EXIT_BAD_USE, "wants one of --request and --response");
    return strcmp(verb, "decode") == 0 ? decode_one(&o) : encode_one(&o);
}
