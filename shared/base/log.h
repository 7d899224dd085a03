/* Log lines of the processes' main threads: text for people, or one JSON object a line. Workers never call
 * this; they send events (shared/ipc/messages.h). Strings from the network are escaped. No secret, no
 * payload, ever. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"

enum hr_log_level { HR_LOG_NONE = 0, HR_LOG_ERROR, HR_LOG_WARN, HR_LOG_INFO, HR_LOG_DEBUG, HR_LOG_MAX };
enum hr_log_format { HR_LOG_FORMAT_NONE = 0, HR_LOG_TEXT, HR_LOG_JSON, HR_LOG_FORMAT_MAX };

/* Lines go to stderr; under systemd (JOURNAL_STREAM) text lines carry the priority prefix "<3>". */
void hr_log_init(const char *program, enum hr_log_level level, enum hr_log_format format);
void hr_log_set_level(enum hr_log_level level);
enum hr_log_level hr_log_get_level(void);

/* The level's name, "info". */
const char *hr_log_level_name(enum hr_log_level level);

void hr_log(enum hr_log_level level, const char *fmt, ...) HR_PRINTF(2, 3);
#define hr_log_error(...) hr_log(HR_LOG_ERROR, __VA_ARGS__)
#define hr_log_warn(...) hr_log(HR_LOG_WARN, __VA_ARGS__)
#define hr_log_info(...) hr_log(HR_LOG_INFO, __VA_ARGS__)
#define hr_log_debug(...) hr_log(HR_LOG_DEBUG, __VA_ARGS__)

/* Writes src to dst with quotes, backslashes and all that is not printable ASCII escaped as \xNN; cut where
 * cap ends, always terminated. */
void hr_log_escape(char *dst, uint32_t cap, const char *src, uint32_t src_len);

/* Lines about one thing are a second apart; how many were left out is told with the next one. Zeroed to begin with. */
struct hr_log_pace {
    uint64_t next_us, unsaid;
};
#define HR_LOG_MORE_MAX 48
/* False: not now. Otherwise ret_more is what the line ends with: "", or "; 3 more like it before". */
bool hr_log_may(struct hr_log_pace *pace, uint64_t now_us, char ret_more[HR_LOG_MORE_MAX]);
