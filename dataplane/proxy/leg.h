/* What a TCP connection's user pointer points to: who owns the connection. */
#pragma once

#include <stdint.h>

struct hr_tcp_conn;

enum hr_leg_kind {
    HR_LEG_NONE = 0,
    HR_LEG_CLIENT,  /* of a session (dataplane/proxy) */
    HR_LEG_BROKER,  /* of a session */
    HR_LEG_BRANCH,  /* of a session: its second broker (dataplane/proxy/branch.c) */
    HR_LEG_CONTROL, /* the control plane's (dataplane/control) */
    HR_LEG_PREFACE, /* whose it is has not been said yet (dataplane/proxy/preface.c) */
    HR_LEG_MAX
};

/* Stands inside what owns it: the kind says where (struct hr_session, struct hr_branch, struct hr_control_conn or
 * struct hr_preface). */
struct hr_leg {
    struct hr_tcp_conn *conn; /* NULL when the leg is gone */
    uint8_t kind;             /* enum hr_leg_kind */
    uint8_t zone;             /* of the peer, a number of the policy's zones; of sessions' legs */
    uint32_t tls;             /* place in the worker's record layer (dataplane/tls), 0: plain text */
};
