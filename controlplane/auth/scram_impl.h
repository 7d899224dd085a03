/* Private to scram*.c. */
#pragma once

#include <string.h>

#include "controlplane/auth/scram.h"

#define HR_SCRAM_OWN_NONCE 25

struct hr_span {
    const char *at;
    size_t len;
};

static inline struct hr_span hr_span_of(const char *text)
{
    return (struct hr_span){text, strlen(text)};
}

/* The attributes of a message, "x=value,y=value", from left to right. */
struct hr_scram_cursor {
    const char *at;
    size_t left;
};

/* The attribute that comes next, if it is key. False also for a comma at the message's end. */
bool hr_scram_take(struct hr_scram_cursor *cursor, char key, struct hr_span *ret_value);
bool hr_scram_nonce_ok(struct hr_span nonce);
HR_MUST_CHECK int hr_scram_new_nonce(char ret_nonce[HR_SCRAM_OWN_NONCE]);
HR_MUST_CHECK int hr_scram_append(char *text, size_t cap, struct hr_span more);
/* ClientKey and ServerKey. */
HR_MUST_CHECK int hr_scram_keys(enum hr_digest hash, const char *password, size_t password_len, const uint8_t *salt,
                                uint32_t salt_len, uint32_t iterations, uint8_t ret_client_key[HR_DIGEST_MAX],
                                uint8_t ret_server_key[HR_DIGEST_MAX]);
