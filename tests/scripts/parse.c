/* Reads a script. Every word is checked: a typing error must not become a test that checks less. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scripts/script.h"

static const char *error;

static bool wrong(const char *what)
{
    if (error == NULL)
        error = what;
    return false;
}

static bool number(const char *word, int64_t *ret)
{
    char *end;
    if (word == NULL || *word == 0)
        return wrong("a number is missing");
    *ret = strtoll(word, &end, 0);
    return *end == 0 || wrong("not a number");
}

static bool seconds(const char *word, size_t len, uint64_t *ret_us)
{
    char text[32], *end;
    if (len == 0 || len >= sizeof(text))
        return wrong("not a time");
    memcpy(text, word, len);
    text[len] = 0;
    double s = strtod(text, &end);
    if (*end != 0 || s < 0)
        return wrong("not a time");
    *ret_us = (uint64_t)(s * 1e6 + 0.5);
    return true;
}

/* a:b, or a alone for a:a */
static bool range(const char *word, int64_t *ret_a, int64_t *ret_b)
{
    char text[64], *colon;
    if (word == NULL || strlen(word) >= sizeof(text))
        return wrong("a range is missing");
    strcpy(text, word);
    colon = strchr(text, ':');
    if (colon == NULL) {
        if (!number(text, ret_a))
            return false;
        *ret_b = *ret_a;
        return true;
    }
    *colon = 0;
    return number(text, ret_a) && number(colon + 1, ret_b) && (*ret_b >= *ret_a || wrong("a range that ends before it begins"));
}

static bool flags(const char *word, struct ps_segment *s)
{
    static const char letters[] = "FSRPAUEC";
    if (word == NULL)
        return wrong("flags are missing");
    for (; *word != 0; word++) {
        const char *at = strchr(letters, *word);
        if (at == NULL)
            return wrong("flags are of FSRPAUEC");
        s->flags |= (uint8_t)(1u << (at - letters));
    }
    s->psh_matters = s->flags & PS_PSH;
    return true;
}

static bool sacks(char *list, struct ps_segment *s)
{
    char *save = NULL;
    if (list == NULL)
        return wrong("SACK blocks are missing");
    s->sack = PS_PRESENT;
    for (char *p = strtok_r(list, ",", &save); p != NULL; p = strtok_r(NULL, ",", &save)) {
        if (s->n_sack == PS_SACKS)
            return wrong("too many SACK blocks");
        if (!range(p, &s->sack_start[s->n_sack], &s->sack_end[s->n_sack]))
            return false;
        s->n_sack++;
    }
    return true;
}

static bool segment(char **save, struct ps_segment *s)
{
    int64_t n;
    char *word;

    if (!flags(strtok_r(NULL, " \t", save), s) || !range(strtok_r(NULL, " \t", save), &s->seq, &s->end))
        return false;
    while ((word = strtok_r(NULL, " \t", save)) != NULL) {
#define VALUE() (number(strtok_r(NULL, " \t", save), &n))
        if (strcmp(word, "ack") == 0) {
            if (!VALUE())
                return false;
            s->has_ack = true;
            s->ack = n;
        } else if (strncmp(word, "win", 3) == 0) {
            s->win_op = word[3] == 0 ? '=' : word[3];
            if (strchr("=<>", s->win_op) == NULL || (word[3] != 0 && word[4] != 0) || !VALUE())
                return wrong("win, win> or win< and a number");
            s->win = (uint32_t)n;
        } else if (strcmp(word, "mss") == 0) {
            if (!VALUE())
                return false;
            s->mss = PS_PRESENT;
            s->mss_value = (uint16_t)n;
        } else if (strcmp(word, "wscale") == 0) {
            if (!VALUE())
                return false;
            s->wscale = PS_PRESENT;
            s->wscale_value = (uint8_t)n;
        } else if (strcmp(word, "tsval") == 0) {
            if (!VALUE())
                return false;
            s->has_tsval = true;
            s->tsval = n;
        } else if (strcmp(word, "tsecr") == 0) {
            if (!VALUE())
                return false;
            s->has_tsecr = true;
            s->tsecr = n;
        } else if (strcmp(word, "urg") == 0) {
            if (!VALUE())
                return false;
            s->has_urg = true;
            s->urg = (uint16_t)n;
        } else if (strcmp(word, "isn") == 0) {
            if (!VALUE())
                return false;
            s->has_isn = true;
            s->isn = (uint32_t)n;
        } else if (strcmp(word, "sack") == 0) {
            if (!sacks(strtok_r(NULL, " \t", save), s))
                return false;
        } else if (strcmp(word, "sackok") == 0) {
            s->sackok = PS_PRESENT;
        } else if (strcmp(word, "ts") == 0) {
            s->ts = PS_PRESENT;
        } else if (strcmp(word, "no-mss") == 0) {
            s->mss = PS_ABSENT;
        } else if (strcmp(word, "no-wscale") == 0) {
            s->wscale = PS_ABSENT;
        } else if (strcmp(word, "no-sackok") == 0) {
            s->sackok = PS_ABSENT;
        } else if (strcmp(word, "no-ts") == 0) {
            s->ts = PS_ABSENT;
        } else if (strcmp(word, "no-sack") == 0) {
            s->sack = PS_ABSENT;
        } else if (strcmp(word, "abs") == 0) {
            s->absolute = true;
        } else if (strcmp(word, "junk") == 0) {
            s->junk = true;
        } else {
            return wrong("an unknown word behind a segment");
        }
#undef VALUE
    }
    if (s->end - s->seq > 9000)
        return wrong("a segment is too long");
    return true;
}

static struct ps_event *add(struct ps_script *sc, enum ps_verb verb, enum ps_who who, unsigned line)
{
    static struct ps_event spare;
    if (sc->n_events == PS_EVENTS) {
        wrong("too many lines");
        return &spare;
    }
    struct ps_event *e = &sc->event[sc->n_events++];
    memset(e, 0, sizeof(*e));
    e->verb = verb;
    e->who = who;
    e->line = line;
    return e;
}

static void peer_syn(const struct ps_script *sc, struct ps_segment *s)
{
    s->flags = PS_SYN;
    s->has_isn = true;
    s->isn = sc->peer_isn;
    s->win_op = '=';
    s->win = sc->peer_win > 65535 ? 65535 : sc->peer_win;
    s->mss = sc->peer_has_mss ? PS_PRESENT : PS_ABSENT;
    s->mss_value = sc->peer_mss;
    s->wscale = sc->peer_has_wscale ? PS_PRESENT : PS_ABSENT;
    s->wscale_value = sc->peer_wscale;
    s->sackok = sc->peer_has_sack ? PS_PRESENT : PS_ABSENT;
    s->ts = sc->peer_has_ts ? PS_PRESENT : PS_ABSENT;
}

/* open [RTT]: the handshake, from whichever side. */
static void expand_open(struct ps_script *sc, enum ps_who who, unsigned line, uint64_t rtt_us)
{
    struct ps_event *e;
    if (sc->active) {
        add(sc, PS_CONNECT, who, line);
        e = add(sc, PS_OUT, who, line);
        e->seg.flags = PS_SYN;
        e = add(sc, PS_IN, who, line);
        e->lo_us = rtt_us;
        peer_syn(sc, &e->seg);
        e->seg.flags |= PS_ACK;
        e->seg.has_ack = true;
        e->seg.ack = 1;
        e = add(sc, PS_OUT, who, line);
        e->seg = (struct ps_segment){.flags = PS_ACK, .seq = 1, .end = 1, .has_ack = true, .ack = 1};
        add(sc, PS_CONNECTED, who, line);
        return;
    }
    e = add(sc, PS_IN, who, line);
    peer_syn(sc, &e->seg);
    e = add(sc, PS_OUT, who, line);
    e->seg = (struct ps_segment){.flags = PS_SYN | PS_ACK, .has_ack = true, .ack = 1};
    e = add(sc, PS_IN, who, line);
    e->lo_us = rtt_us;
    e->seg = (struct ps_segment){.flags = PS_ACK, .seq = 1, .end = 1, .has_ack = true, .ack = 1,
                                 .win_op = '=', .win = sc->peer_win};
    add(sc, PS_ACCEPTED, who, line);
}

static const struct {
    const char *name;
    enum ps_verb verb;
    char arg; /* n: number, w: word, 0: none */
} simple[] = {
    {"connect", PS_CONNECT, 0},   {"write", PS_WRITE, 'n'},    {"shutdown", PS_SHUTDOWN, 0},
    {"close", PS_CLOSE, 0},       {"abort", PS_ABORT, 0},      {"read", PS_READ, 0},
    {"noread", PS_NOREAD, 0},     {"port", PS_PORT, 'n'},      {"accepted", PS_ACCEPTED, 0},
    {"connected", PS_CONNECTED, 0}, {"got", PS_GOT, 'n'},      {"eof", PS_EOF, 0},
    {"failed", PS_FAILED, 'w'},   {"state", PS_STATE, 'w'},    {"quiet", PS_QUIET, 0},
};

static bool event(struct ps_script *sc, char *line, unsigned number_of)
{
    char *save = NULL, *word = strtok_r(line, " \t", &save);
    uint64_t lo = 0, hi = 0;
    bool timed = false;
    enum ps_who who = PS_BOTH;
    int64_t n;

    if (strcmp(word, "us") == 0 || strcmp(word, "kernel") == 0) {
        who = word[0] == 'u' ? PS_US : PS_KERNEL;
        if (sc->why[0] == 0)
            return wrong("a line for one side alone in a script that says \"kernel: same\"");
        word = strtok_r(NULL, " \t", &save);
    }
    if (word != NULL && word[0] == '+') {
        const char *dots = strstr(word, "..");
        if (!seconds(word + 1, dots ? (size_t)(dots - word - 1) : strlen(word + 1), &lo))
            return false;
        hi = lo;
        if (dots != NULL && (!seconds(dots + 2, strlen(dots + 2), &hi) || hi < lo))
            return wrong("not a range of time");
        timed = true;
        word = strtok_r(NULL, " \t", &save);
    }
    if (word == NULL)
        return wrong("a verb is missing");
    if (strcmp(word, "open") == 0) {
        char *rtt = strtok_r(NULL, " \t", &save);
        uint64_t us = 10000;
        if (timed)
            return wrong("open takes no time in front");
        if (rtt != NULL && !seconds(rtt, strlen(rtt), &us))
            return false;
        expand_open(sc, who, number_of, us);
        return error == NULL;
    }
    struct ps_event *e = add(sc, PS_QUIET, who, number_of);
    e->lo_us = lo;
    e->hi_us = hi;
    if (strcmp(word, "in") == 0) {
        e->verb = PS_IN;
        return segment(&save, &e->seg);
    }
    if (strcmp(word, "out") == 0 || strcmp(word, "maybe") == 0) {
        e->verb = word[0] == 'o' ? PS_OUT : PS_MAYBE;
        return segment(&save, &e->seg);
    }
    if (strcmp(word, "icmp") == 0) { /* icmp KIND SEQ [MTU] */
        char *kind = strtok_r(NULL, " \t", &save), *mtu;
        e->verb = PS_ICMP;
        if (kind == NULL || strlen(kind) >= sizeof(e->word))
            return wrong("icmp KIND SEQ [MTU]");
        strcpy(e->word, kind);
        if (!number(strtok_r(NULL, " \t", &save), &e->at))
            return false;
        mtu = strtok_r(NULL, " \t", &save);
        if (mtu != NULL && !number(mtu, &n))
            return false;
        e->n = mtu == NULL ? 0 : (uint32_t)n;
        return true;
    }
    for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
        if (strcmp(word, simple[i].name) != 0)
            continue;
        e->verb = simple[i].verb;
        char *arg = strtok_r(NULL, " \t", &save);
        if ((arg != NULL) != (simple[i].arg != 0) || strtok_r(NULL, " \t", &save) != NULL)
            return wrong("too many or too few words");
        if (simple[i].arg == 'n') {
            if (!number(arg, &n))
                return false;
            e->n = (uint32_t)n;
        } else if (simple[i].arg == 'w') {
            if (strlen(arg) >= sizeof(e->word))
                return wrong("a word is too long");
            strcpy(e->word, arg);
        }
        return e->verb != PS_QUIET || timed || wrong("quiet needs a time");
    }
    return wrong("an unknown verb");
}

/* peer: mss N | no-mss | wscale N | ... ; test: mss N | window N | active | keepalive IDLE INTERVAL PROBES */
static bool settings(struct ps_script *sc, char *text, bool peer)
{
    char *save = NULL;
    int64_t n = 0;

    for (char *w = strtok_r(text, " \t", &save); w != NULL; w = strtok_r(NULL, " \t", &save)) {
#define IS(name) (strcmp(w, name) == 0)
#define NUM() (number(strtok_r(NULL, " \t", &save), &n))
        if (peer && IS("no-mss")) {
            sc->peer_has_mss = false;
        } else if (peer && IS("no-wscale")) {
            sc->peer_has_wscale = false;
        } else if (peer && IS("no-sack")) {
            sc->peer_has_sack = false;
        } else if (peer && IS("no-ts")) {
            sc->peer_has_ts = false;
        } else if (!peer && IS("active")) {
            sc->active = true;
        } else if (!NUM()) {
            return false;
        } else if (peer && IS("mss")) {
            sc->peer_mss = (uint16_t)n;
        } else if (peer && IS("wscale")) {
            sc->peer_wscale = (uint8_t)n;
        } else if (peer && IS("win")) {
            sc->peer_win = (uint32_t)n;
        } else if (peer && IS("isn")) {
            sc->peer_isn = (uint32_t)n;
        } else if (!peer && IS("mss")) {
            sc->mss = (uint16_t)n;
        } else if (!peer && IS("window")) {
            sc->window = (uint32_t)n;
        } else if (!peer && IS("keepalive")) {
            sc->ka_idle_s = (uint32_t)n;
            if (!NUM())
                return false;
            sc->ka_interval_s = (uint32_t)n;
            if (!NUM())
                return false;
            sc->ka_probes = (uint32_t)n;
        } else {
            return wrong("an unknown setting");
        }
#undef IS
#undef NUM
    }
    return true;
}

static bool header(struct ps_script *sc, char *line, bool *ret_is_header)
{
    static const char *const keys[] = {"title:", "shows:", "kernel:", "peer:", "test:"};
    char *value;
    int key = -1;

    for (int i = 0; i < 5; i++) {
        if (strncmp(line, keys[i], strlen(keys[i])) == 0)
            key = i;
    }
    *ret_is_header = key >= 0;
    if (key < 0)
        return true;
    if (sc->n_events > 0)
        return wrong("settings stand above the first event");
    value = line + strlen(keys[key]);
    while (*value == ' ')
        value++;
    if (key == 0) {
        snprintf(sc->title, sizeof(sc->title), "%s", value);
    } else if (key == 1) {
        snprintf(sc->shows, sizeof(sc->shows), "%s", value);
    } else if (key == 2) {
        if (strcmp(value, "same") != 0) {
            if (strncmp(value, "differs: ", 9) != 0 || strlen(value) < 24)
                return wrong("kernel: same, or kernel: differs: WHY");
            snprintf(sc->why, sizeof(sc->why), "%s", value + 9);
        }
    } else {
        return settings(sc, value, key == 3);
    }
    return true;
}

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *text = calloc(1, 65536);
    if (f == NULL || text == NULL || fread(text, 1, 65535, f) == 0) {
        free(text);
        text = NULL;
    }
    if (f != NULL)
        fclose(f);
    return text;
}

int ps_load(const char *path, struct ps_script *sc, const char **ret_error)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    bool kernel_said = false;

    memset(sc, 0, sizeof(*sc));
    error = NULL;
    snprintf(sc->name, sizeof(sc->name), "%.*s", (int)(strlen(base) - 4), base);
    sc->peer_has_mss = sc->peer_has_wscale = sc->peer_has_sack = sc->peer_has_ts = true;
    sc->peer_mss = sc->mss = 1460;
    sc->peer_wscale = 7;
    sc->peer_win = 65535;
    sc->peer_isn = 1000;
    sc->text = read_file(path);
    *ret_error = "cannot be read";
    if (sc->text == NULL)
        return -1;
    unsigned number_of = 1;
    for (const char *p = sc->text; *p != 0; number_of++) {
        size_t len = strcspn(p, "\n");
        char line[512];
        bool is_header;
        snprintf(line, sizeof(line), "%.*s", (int)len, p);
        p += len + (p[len] == '\n');
        char *hash = strchr(line, '#');
        if (hash != NULL)
            *hash = 0;
        for (size_t n = strlen(line); n > 0 && line[n - 1] == ' '; n--)
            line[n - 1] = 0;
        char *start = line + strspn(line, " \t");
        kernel_said |= strncmp(start, "kernel:", 7) == 0;
        if (*start == 0 || (header(sc, start, &is_header) && is_header))
            continue;
        if (error != NULL || !event(sc, start, number_of)) {
            *ret_error = error;
            return (int)number_of;
        }
    }
    *ret_error = "title:, shows: and kernel: must be there, and an event";
    if (sc->title[0] == 0 || sc->shows[0] == 0 || !kernel_said || sc->n_events == 0)
        return (int)number_of;
    bool us = false;
    for (unsigned i = 0; i < sc->n_events; i++)
        us |= sc->event[i].who != PS_BOTH;
    *ret_error = "it says that the kernel differs, and no line does";
    return sc->why[0] != 0 && !us ? (int)number_of : 0;
}

void ps_unload(struct ps_script *sc)
{
    free(sc->text);
    sc->text = NULL;
}

void ps_line(const struct ps_script *sc, unsigned line, char *dst, size_t size)
{
    const char *p = sc->text;
    for (; line > 1 && *p != 0; line--) {
        p += strcspn(p, "\n");
        p += *p == '\n';
    }
    snprintf(dst, size, "%.*s", (int)strcspn(p, "\n"), p);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

unsigned ps_find(const char *folder, char (*ret_paths)[256], unsigned max)
{
    unsigned n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len > 4 && strcmp(e->d_name + len - 4, ".pkt") == 0 && n < max)
            snprintf(ret_paths[n++], 256, "%s/%.200s", folder, e->d_name);
    }
    if (d != NULL)
        closedir(d);
    qsort(ret_paths, n, 256, by_name);
    return n;
}
