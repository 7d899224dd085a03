/* A hostile client before its login: bytes in pieces, as often as an answer has been sent. */
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/sasl_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lookup(void *arg, const char *user, enum hr_digest hash, struct hr_scram_verifier *ret)
{
    (void)arg;
    *ret = (struct hr_scram_verifier){.hash = hash, .iterations = 4096, .salt_len = 4, .salt = {1}};
    return user[0] == 'u';
}

static const struct hr_sasl_api apis[] = {{3, 0, 12}, {17, 0, 1}, {18, 0, 4}, {36, 0, 2}};

static void resumed(void *owner)
{
    (void)owner;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct hr_plain_cache cache;
    static struct hr_attempts attempts; /* none: trying passwords is not what is tested */
    static const struct hr_sasl_realm realm = {
        .mechanisms = 1u << HR_MECH_PLAIN | 1u << HR_MECH_SCRAM_SHA_256 | 1u << HR_MECH_SCRAM_SHA_512,
        .lookup = lookup, .plain = &cache, .attempts = &attempts, .apis = apis, .n_apis = 4};
    enum hr_sasl_verdict verdict = HR_SASL_MORE;
    struct hr_addr source = {{1}};
    struct hr_sasl_server *server;
    size_t used, n;

    if (hr_sasl_server_create(&realm, &source, resumed, NULL, &server) != 0)
        abort();
    while (size > 0 && verdict == HR_SASL_MORE) {
        size_t piece = size > 3 ? size / 2 : size;

        verdict = hr_sasl_server_feed(server, 1, 1, data, piece, &used);
        if (used > piece || verdict == HR_SASL_DONE || verdict == HR_SASL_WAIT)
            abort(); /* nobody can prove these keys */
        if ((verdict == HR_SASL_FAILED || verdict == HR_SASL_CLOSE) && !hr_sasl_server_why(server)[0])
            abort();
        if (hr_sasl_server_output(server, &n))
            hr_sasl_server_sent(server);
        else if (used == 0)
            break;
        data += used;
        size -= used;
    }
    hr_sasl_server_destroy(server);
    return 0;
}
