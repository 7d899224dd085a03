/* Who a session's client is, and who Headrace is to its broker: what a worker keeps of the logins that the control plane
 * has done, and tells whoever asks for the list of sessions. A control plane that comes later knows from it whose session
 * that is, and when a new login is due. No secret is in it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HR_PRINCIPAL_MAX     256 /* with the NUL */
#define HR_IDENTITY_NAME_MAX 128

/* All 0: nobody has logged in on either side. Texts have a NUL within their arrays, and nothing behind it. */
struct hr_session_login {
    uint8_t mechanism;        /* of the client: enum hr_mechanism (controlplane/auth/login.h); 0: by none */
    uint8_t broker_mechanism; /* of ours at the broker */
    uint16_t identity;        /* of ours: its place among those of the control plane that made the session */
    uint8_t terminates;       /* 1: no login of the client goes to the broker: they are Headrace's to judge */
    uint8_t reserved[3];
    uint64_t expires_us;        /* the client's login ends (CLOCK_MONOTONIC, as hr_now_us()); 0: never */
    uint64_t broker_due_us;     /* ours at the broker is to be renewed from then on; 0: never */
    uint64_t broker_expires_us; /* and ends then */
    char principal[HR_PRINCIPAL_MAX];         /* without "User:"; "": nobody asked who the client is */
    char identity_name[HR_IDENTITY_NAME_MAX]; /* who we are to the broker; "": nobody in particular */
};
_Static_assert(sizeof(struct hr_session_login) == 32 + HR_PRINCIPAL_MAX + HR_IDENTITY_NAME_MAX, "no hidden padding");

static inline bool hr_session_login_empty(const struct hr_session_login *login)
{
    return login->mechanism == 0 && login->broker_mechanism == 0 && !login->terminates && login->expires_us == 0 &&
           login->broker_expires_us == 0 && login->principal[0] == '\0' && login->identity_name[0] == '\0';
}

/* The reader's check of its private copy. */
static inline bool hr_session_login_ok(const struct hr_session_login *login)
{
    return login->terminates <= 1 && (login->reserved[0] | login->reserved[1] | login->reserved[2]) == 0 &&
           memchr(login->principal, '\0', sizeof(login->principal)) &&
           memchr(login->identity_name, '\0', sizeof(login->identity_name));
}
