/* Hostile SCRAM and PLAIN messages: the first byte picks the role, the rest is the peer's message. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/plain.h"
#include "controlplane/auth/scram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    (void)arg;
    *ret = (struct hr_scram_verifier){.hash = hash, .iterations = 4096, .salt_len = 4, .salt = {1}};
    return user[0] == 'u';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hr_scram_client client;
    struct hr_scram_server server;
    struct hr_plain plain;
    const char *why = NULL;
    char out[1024];
    size_t n;
    int err;

    if (size < 1)
        return 0;
    switch (*data++ % 5) {
    case 0:
        err = hr_scram_server_first(&server, HR_SHA256, lookup, NULL, "nonce", data, size - 1, out, sizeof(out), &n,
                                    &why);
        break;
    case 1:
        if (hr_scram_server_first(&server, HR_SHA512, lookup, NULL, "nonce", (const uint8_t *)"n,,n=u,r=x", 10, out,
                                  sizeof(out), &n, &why) != 0)
            abort();
        err = hr_scram_server_final(&server, data, size - 1, out, sizeof(out), &n, &why);
        if (err == 0)
            abort(); /* no message proves a password that nobody knows */
        break;
    case 2:
        if (hr_scram_client_first(&client, HR_SHA256, "user", "nonce", out, sizeof(out), &n) != 0)
            abort();
        err = hr_scram_client_final(&client, "pencil", 6, NULL, data, size - 1, out, sizeof(out), &n, &why);
        break;
    case 3:
        client = (struct hr_scram_client){.hash = HR_SHA256, .step = 2, .server_signature = {1, 2}};
        err = hr_scram_client_verify(&client, data, size - 1, &why);
        break;
    default:
        err = hr_plain_parse(data, size - 1, &plain, &why);
        if (err == 0 && (strlen(plain.user) == 0 || plain.password_len == 0))
            abort();
        break;
    }
    if (err == HR_E_INVALID && !why)
        abort();
    return 0;
}
