/* Who Headrace is to the brokers: what the configuration's group broker_auth says, with all that is needed to log in
 * at any moment (the secret, AWS credentials, SCRAM's cached keys). */
#pragma once

#include <stdint.h>

#include "controlplane/auth/login.h"
#include "shared/base/error.h"
#include "shared/config/config.h"

struct hr_http;
struct hr_identity;
struct hr_loop;

/* changed: a login that was not possible may be now. Copies config, whose mechanism is not NONE. */
HR_MUST_CHECK int hr_identity_create(struct hr_loop *loop, struct hr_http *http,
                                     const struct hr_config_broker_auth *config, void (*changed)(void *owner),
                                     void *owner, struct hr_identity **ret_identity);
/* Gives up the caller's reference; NULL is allowed. `changed` is not called any more when the creator's is given up. */
void hr_identity_destroy(struct hr_identity *identity);
/* One reference more, for a login that may outlast the configuration; given up by hr_identity_release(). */
struct hr_identity *hr_identity_ref(struct hr_identity *identity);
void hr_identity_release(struct hr_identity *identity); /* NULL is allowed */

/* A login to the broker of that name, which the caller runs and destroys, at the latest before its reference. AGAIN:
 * credentials are not there yet; other errors: they will not come by themselves. why says more. */
HR_MUST_CHECK int hr_identity_login(struct hr_identity *identity, const char *host, struct hr_login **ret_login,
                                    char why[HR_LOGIN_WHY_MAX]);
/* A broker refused it. */
void hr_identity_refused(struct hr_identity *identity);

struct hr_identity_info {
    enum hr_mechanism mechanism;
    const char *name;   /* user, or role; "" */
    const char *session; /* of the role; "" */
    const char *source; /* "file", "command", or where AWS credentials come from */
    int64_t expires_s;  /* of AWS credentials; 0: never */
    uint64_t logins, refused;
    const char *error; /* why there are no credentials, "" if there are */
};
void hr_identity_get_info(const struct hr_identity *identity, struct hr_identity_info *ret_info);
