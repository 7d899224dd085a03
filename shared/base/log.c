/* One line is built in a buffer on the stack and leaves with one write(2), so that lines of two processes
 * that share a terminal or a journal never mix. Lines longer than the buffer are cut and say so. */
#include "shared/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES    4096
#define MESSAGE_MAX_BYTES 2048
#define PACE_US           1000000

static struct {
    char program[64];
    enum hr_log_level level; /* read and written with relaxed atomics: a reload may race with a log call */
    enum hr_log_format format;
    bool journal; /* systemd reads our stderr: it adds the time and takes a priority prefix */
} state = {.program = "headrace", .level = HR_LOG_INFO, .format = HR_LOG_TEXT};

static const struct {
    const char *name;
    int syslog; /* RFC 5424 6.2.1 severity */
} levels[HR_LOG_MAX] = {
    [HR_LOG_NONE] = {"none", 6},   [HR_LOG_ERROR] = {"error", 3}, [HR_LOG_WARN] = {"warn", 4},
    [HR_LOG_INFO] = {"info", 6},   [HR_LOG_DEBUG] = {"debug", 7},
};

/* A line under construction. Space for the end of the line is kept free from the start. */
struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void put(struct line *line, const char *bytes, size_t n)
{
    if (n <= sizeof(line->text) - 8 - line->len) {
        memcpy(line->text + line->len, bytes, n);
        line->len += n;
    }
}

static void put_str(struct line *line, const char *s)
{
    put(line, s, strlen(s));
}

void hr_log_init(const char *program, enum hr_log_level level, enum hr_log_format format)
{
    snprintf(state.program, sizeof(state.program), "%s", program);
    state.format = format == HR_LOG_JSON ? HR_LOG_JSON : HR_LOG_TEXT;
    state.journal = getenv("JOURNAL_STREAM") != NULL;
    hr_log_set_level(level);
}

void hr_log_set_level(enum hr_log_level level)
{
    if (level > HR_LOG_NONE && level < HR_LOG_MAX)
        __atomic_store_n(&state.level, level, __ATOMIC_RELAXED);
}

enum hr_log_level hr_log_get_level(void)
{
    return __atomic_load_n(&state.level, __ATOMIC_RELAXED);
}

const char *hr_log_level_name(enum hr_log_level level)
{
    return levels[level > HR_LOG_NONE && level < HR_LOG_MAX ? level : HR_LOG_NONE].name;
}

/* Length of the well-formed UTF-8 sequence at s (RFC 3629 4), 0 if malformed. Overlong forms of two bytes and
 * surrogates are left out; what remains is accepted by every JSON reader. */
static size_t utf8_len(const unsigned char *s, size_t left)
{
    size_t n = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 && s[0] <= 0xef ? 3 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static void put_json_string(struct line *line, const char *s)
{
    size_t left = strlen(s);
    put_str(line, "\"");
    while (left > 0) {
        unsigned char c = (unsigned char)*s;
        size_t n = 1;
        if (c == '"' || c == '\\') {
            char escaped[2] = {'\\', (char)c};
            put(line, escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            char escaped[8];
            snprintf(escaped, sizeof(escaped), "\\u%04x", c);
            put_str(line, escaped);
        } else if (c < 0x80) {
            put(line, s, 1);
        } else if ((n = utf8_len((const unsigned char *)s, left)) > 0) {
            put(line, s, n);
        } else {
            put_str(line, "\\ufffd");
            n = 1;
        }
        s += n;
        left -= n;
    }
    put_str(line, "\"");
}

/* A text line stays one line whatever the message holds. */
static void put_text(struct line *line, const char *s)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            char escaped[8];
            snprintf(escaped, sizeof(escaped), "\\x%02x", (unsigned char)*s);
            put_str(line, escaped);
        } else {
            put(line, s, 1);
        }
    }
}

/* RFC 3339, UTC, milliseconds. */
static void format_time(char *dst, size_t cap)
{
    struct timespec now;
    struct tm tm;
    char seconds[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(dst, cap, "%s.%03uZ", seconds, (unsigned)(now.tv_nsec / 1000000));
}

void hr_log(enum hr_log_level level, const char *fmt, ...)
{
    if (level <= HR_LOG_NONE || level >= HR_LOG_MAX || level > hr_log_get_level())
        return;
    int saved_errno = errno;

    char message[MESSAGE_MAX_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof(message))
        memcpy(message + sizeof(message) - 4, "...", 4);

    char when[64], head[192];
    struct line line = {.len = 0};
    format_time(when, sizeof(when));
    if (state.format == HR_LOG_JSON) {
        put_str(&line, "{\"time\":\"");
        put_str(&line, when);
        put_str(&line, "\",\"level\":\"");
        put_str(&line, hr_log_level_name(level));
        put_str(&line, "\",\"program\":");
        put_json_string(&line, state.program);
        put_str(&line, ",\"message\":");
        put_json_string(&line, message);
        put_str(&line, "}");
    } else if (state.journal) {
        snprintf(head, sizeof(head), "<%d>", levels[level].syslog);
        put_str(&line, head);
        put_text(&line, message);
    } else {
        snprintf(head, sizeof(head), "%s %-5s %s: ", when, hr_log_level_name(level), state.program);
        put_str(&line, head);
        put_text(&line, message);
    }
    line.text[line.len++] = '\n';

    /* A log that cannot be written is no reason to stop: the result is looked at only to retry after a signal. */
    while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
        ;
    errno = saved_errno;
}

void hr_log_escape(char *dst, uint32_t cap, const char *src, uint32_t src_len)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t len = 0;
    if (cap == 0)
        return;
    for (uint32_t i = 0; i < src_len; i++) {
        unsigned char c = (unsigned char)src[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\'' && c != '\\';
        uint32_t need = plain ? 1 : 4;
        if (len + need >= cap)
            break;
        if (plain) {
            dst[len++] = (char)c;
        } else {
            dst[len++] = '\\';
            dst[len++] = 'x';
            dst[len++] = hex[c >> 4];
            dst[len++] = hex[c & 15];
        }
    }
    dst[len] = '\0';
}

bool hr_log_may(struct hr_log_pace *pace, uint64_t now_us, char ret_more[HR_LOG_MORE_MAX])
{
    if (now_us < pace->next_us) {
        pace->unsaid++;
        return false;
    }
    ret_more[0] = '\0';
    if (pace->unsaid)
        snprintf(ret_more, HR_LOG_MORE_MAX, "; %llu more like it before", (unsigned long long)pace->unsaid);
    pace->unsaid = 0;
    pace->next_us = now_us + PACE_US;
    return true;
}
