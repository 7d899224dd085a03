/* hr-sasl-listen: lets real clients log in at the server's side of SASL (controlplane/auth/sasl_server.h), over a plain
 * socket of the kernel. One line on stdout for each connection: whom it proved, or why not.
 *
 *   hr-sasl-listen USERS        the port is the first line of output
 *
 * What a client sends behind its login is answered by closing, so that its connection attempt ends there. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/auth/sasl_server.h"
#include "controlplane/auth/users.h"
#include "shared/base/clock.h"
#include "shared/base/log.h"
#include "shared/kafka/schema.h"

#define APIS_MAX 128

static void on_resumed(void *owner)
{
    (void)owner;
}

static const char *verdict_text(enum hr_sasl_verdict verdict)
{
    return verdict == HR_SASL_DONE ? "done" : verdict == HR_SASL_FAILED ? "failed" : "closed";
}

static void serve(int fd, const struct hr_sasl_realm *realm)
{
    struct hr_addr source = hr_addr_from_v4(htonl(INADDR_LOOPBACK));
    enum hr_sasl_verdict verdict = HR_SASL_MORE;
    struct hr_sasl_server *server;
    uint8_t in[65536];
    size_t n_in = 0, used, n_out;
    ssize_t n;

    if (hr_sasl_server_create(realm, &source, on_resumed, NULL, &server) != 0)
        return;
    while (verdict == HR_SASL_MORE && n_in < sizeof(in) && (n = read(fd, in + n_in, sizeof(in) - n_in)) > 0) {
        n_in += (size_t)n;
        do {
            const uint8_t *out;

            verdict = hr_sasl_server_feed(server, hr_now_us(), time(NULL), in, n_in, &used);
            memmove(in, in + used, n_in - used);
            n_in -= used;
            if ((out = hr_sasl_server_output(server, &n_out))) {
                if (write(fd, out, n_out) != (ssize_t)n_out)
                    verdict = HR_SASL_CLOSE;
                hr_sasl_server_sent(server);
            }
        } while (verdict == HR_SASL_MORE && used > 0 && n_in > 0);
    }
    if (verdict == HR_SASL_DONE)
        printf("done %s %s\n", hr_mechanism_name(hr_sasl_server_identity(server)->mechanism),
               hr_sasl_server_identity(server)->principal);
    else if (verdict != HR_SASL_MORE)
        printf("%s %s: %s\n", verdict_text(verdict), hr_sasl_server_claimed(server), hr_sasl_server_why(server));
    fflush(stdout);
    hr_sasl_server_destroy(server);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 5};
    struct hr_sasl_api apis[APIS_MAX];
    struct hr_attempts *attempts = calloc(1, sizeof(*attempts));
    struct hr_plain_cache *cache = malloc(sizeof(*cache));
    struct hr_sasl_realm realm = {.mechanisms = 1u << HR_MECH_PLAIN | 1u << HR_MECH_SCRAM_SHA_256 |
                                                1u << HR_MECH_SCRAM_SHA_512,
                                  .lookup = hr_users_lookup, .plain = cache, .attempts = attempts,
                                  .lifetime_ms = 3600000, .apis = apis};
    char why[HR_USERS_WHY_MAX] = "";
    struct hr_users *users;
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    hr_log_init("hr-sasl-listen", HR_LOG_ERROR, HR_LOG_TEXT);
    if (argc != 2 || !attempts || !cache || hr_plain_cache_init(cache) != 0 || hr_users_load(argv[1], &users, why) != 0) {
        fprintf(stderr, "usage: hr-sasl-listen USERS\n%s\n", why);
        return 2;
    }
    attempts->burst = 100;
    attempts->refill_us = 1000;
    realm.lookup_arg = users;
    for (uint16_t i = 0; i < hr_kapis_n && realm.n_apis < APIS_MAX; i++) {
        if (hr_kapis[i].versions.min <= hr_kapis[i].versions.max)
            apis[realm.n_apis++] =
                (struct hr_sasl_api){hr_kapis[i].key, hr_kapis[i].versions.min,
                                     hr_kapis[i].key == 18 && hr_kapis[i].versions.max > 4 ? 4 : hr_kapis[i].versions.max};
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        perror("hr-sasl-listen");
        return 1;
    }
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    for (;;) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

        if (client < 0)
            continue;
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        serve(client, &realm);
        close(client);
    }
}
