/* A hostile broker's answers to a login: the first byte picks the mechanism, the rest is what the broker sends, fed in
 * two pieces as often as the login has sent something. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct hr_aws_keys keys = {.id = "A", .secret = "S"};
    struct hr_login_with with = {.user = "u", .secret = "p", .secret_len = 1, .client_id = "c", .region = "r",
                                 .host = "h", .correlation_id = 1};
    enum hr_login_verdict verdict = HR_LOGIN_MORE;
    struct hr_login *login;
    size_t n, used;

    if (size < 1)
        return 0;
    with.mechanism = HR_MECH_PLAIN + data[0] % (HR_MECHANISM_MAX - HR_MECH_PLAIN);
    if (with.mechanism == HR_MECH_AWS_MSK_IAM)
        with.keys = &keys;
    if (hr_login_create(&with, &login) != 0)
        abort();
    data++;
    size--;
    while (size > 0 && verdict == HR_LOGIN_MORE) {
        size_t piece = size > 1 ? size / 2 : 1;

        if (hr_login_output(login, &n))
            hr_login_sent(login);
        verdict = hr_login_feed(login, data, piece, &used);
        if (used > piece || (verdict == HR_LOGIN_MORE && used != piece) ||
            ((verdict == HR_LOGIN_REFUSED || verdict == HR_LOGIN_BROKEN) && !hr_login_why(login)[0]))
            abort();
        data += used;
        size -= used;
        if (used == 0)
            break;
    }
    hr_login_destroy(login);
    return 0;
}
