/* Files that change under a running store, and what is wrong with them as `config check` says it. */
#include "controlplane/tls/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "controlplane/loop/loop.h"
#include "controlplane/tls/check.h"
#include "controlplane/tls/test_pki.h"
#include "shared/base/clock.h"

/* The clock of certificates is the test's. */
static time_t ahead_s;

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec + ahead_s;
    return now.tv_sec + ahead_s;
}

static struct pki pki;
static uint64_t now_us = 1;
static struct hr_loop *loop;
static struct hr_tls_store *store;
static struct hr_config *config;
static struct hr_config_errors errors;

static uint64_t fake_clock(void)
{
    return now_us;
}

static int setup(void **s)
{
    (void)s;
    pki_open(&pki);
    pki_leaf(&pki, &(struct pki_leaf){.name = "a", .cn = "a", .san = "DNS:k.test,DNS:*.k.test"});
    pki_leaf(&pki, &(struct pki_leaf){.name = "b", .cn = "b", .san = "DNS:k.test", .days_from = -1, .days_to = 5, .rsa = true});
    pki_leaf(&pki, &(struct pki_leaf){.name = "old", .cn = "old", .san = "DNS:*.k.test", .days_from = -9, .days_to = -1});
    assert_int_equal(hr_loop_create(fake_clock, &loop), 0);
    assert_int_equal(hr_tls_store_create(loop, &store), 0);
    config = calloc(1, sizeof(*config));
    snprintf(config->path, sizeof(config->path), "t.cfg");
    config->n_listeners = 2;
    for (int i = 0; i < 2; i++) {
        struct hr_config_listener *l = &config->listeners[i];

        snprintf(l->policy.name, sizeof(l->policy.name), i == 0 ? "plain" : "tls");
        l->policy.mode = HR_LISTENER_KAFKA;
        snprintf(l->policy.adv_host, sizeof(l->policy.adv_host), "b$(nodeId).k.test");
        l->policy.node_id_max = 9;
        l->policy.tls = i == 1;
    }
    config->listeners[1].tls.n_certs = 1;
    config->listeners[1].tls.certs[0] = pki_cert(&pki, "a");
    return 0;
}

static int teardown(void **s)
{
    (void)s;
    hr_tls_store_destroy(store);
    hr_loop_destroy(loop);
    free(config);
    pki_close(&pki);
    return 0;
}

static void copy_file(const char *from, const char *to)
{
    char command[512];

    snprintf(command, sizeof(command), "cp %s/%s %s/%s.new && mv %s/%s.new %s/%s", pki.dir, from, pki.dir, to, pki.dir, to,
             pki.dir, to);
    assert_int_equal(system(command), 0);
}

static char subjects[1024];
static int64_t ends;

static void on_cert(void *arg, const struct hr_tls_cert_info *info)
{
    (void)arg;
    snprintf(subjects + strlen(subjects), sizeof(subjects) - strlen(subjects), "%s/%s/%s/%s;", info->owner, info->use,
             info->subject, info->key);
    ends = info->not_after_s;
}

static const char *list(void)
{
    subjects[0] = '\0';
    hr_tls_store_list(store, on_cert, NULL);
    return subjects;
}

static void pass(unsigned seconds)
{
    now_us += seconds * HR_US_PER_S;
    hr_loop_turn(loop, 0);
}

static void files_change(void **s)
{
    struct hr_tls_server *first;

    (void)s;
    hr_tls_store_configure(store, config);
    assert_null(hr_tls_store_server(store, "plain"));
    assert_null(hr_tls_store_client(store));
    first = hr_tls_store_server(store, "tls");
    assert_non_null(first);
    assert_string_equal(list(), "tls/server/CN=a,O=Headrace tests/EC 256;");
    assert_true(ends > time(NULL) + 300 * 86400L);
    /* Nothing changes: the same context. */
    pass(HR_TLS_LOOK_S);
    hr_tls_store_configure(store, config);
    assert_ptr_equal(hr_tls_store_server(store, "tls"), first);

    /* The certificate alone is replaced: it does not belong to the key, the one before stays. */
    copy_file("a.crt", "a0.crt");
    copy_file("a.key", "a0.key");
    copy_file("b.crt", "a.crt");
    pass(HR_TLS_LOOK_S);
    assert_ptr_equal(hr_tls_store_server(store, "tls"), first);
    assert_non_null(strstr(hr_tls_store_trouble(store, "tls"), "is not the key of the certificate"));
    /* Its key follows: loaded. */
    copy_file("b.key", "a.key");
    pass(HR_TLS_LOOK_S);
    assert_ptr_not_equal(hr_tls_store_server(store, "tls"), first);
    assert_string_equal(hr_tls_store_trouble(store, "tls"), "");
    assert_string_equal(list(), "tls/server/CN=b,O=Headrace tests/RSA 2048;");
    /* Gone altogether. */
    first = hr_tls_store_server(store, "tls");
    assert_int_equal(remove(pki_file(&pki, "a.crt").path), 0);
    pass(HR_TLS_LOOK_S);
    assert_ptr_equal(hr_tls_store_server(store, "tls"), first);
    assert_non_null(strstr(hr_tls_store_trouble(store, "tls"), "cannot be opened"));
    copy_file("a0.crt", "a.crt");
    copy_file("a0.key", "a.key");
    pass(HR_TLS_LOOK_S);
    assert_string_equal(hr_tls_store_trouble(store, "tls"), "");

    /* The cluster's. */
    config->cluster.tls.on = true;
    config->cluster.tls.ca = pki_file(&pki, "ca.crt");
    config->cluster.tls.cert = pki_cert(&pki, "b");
    hr_tls_store_configure(store, config);
    assert_non_null(hr_tls_store_client(store));
    assert_string_equal(list(), "tls/server/CN=a,O=Headrace tests/EC 256;cluster/client/CN=b,O=Headrace tests/RSA 2048;"
                                "cluster/ca/CN=Test CA,O=Headrace tests/;");
    /* Switched off. */
    config->cluster.tls.on = false;
    config->listeners[1].policy.tls = 0;
    hr_tls_store_configure(store, config);
    assert_null(hr_tls_store_client(store));
    assert_null(hr_tls_store_server(store, "tls"));
    assert_string_equal(list(), "");
    config->listeners[1].policy.tls = 1;
}

/* What the store logs when it looks, days before the end of its one certificate. */
static const char *says(double days_before_end, int64_t end_s)
{
    static char text[4096];
    FILE *f = tmpfile();
    int to = dup(STDERR_FILENO);
    size_t n;

    ahead_s = 0;
    ahead_s = (time_t)(end_s - days_before_end * 86400) - time(NULL);
    fflush(stderr);
    assert_true(f && dup2(fileno(f), STDERR_FILENO) >= 0);
    pass(HR_TLS_LOOK_S);
    fflush(stderr);
    assert_true(dup2(to, STDERR_FILENO) >= 0);
    close(to);
    rewind(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    fclose(f);
    return text;
}

/* Told of once a day: from 30 days before the end on, louder from 7 days on, and when it is over. */
static void certificates_run_out(void **s)
{
    int64_t end;

    (void)s;
    hr_tls_store_configure(store, config);
    list();
    end = ends;
    assert_string_equal(says(32, end), "");
    assert_string_equal(says(30.5, end), "");
    assert_non_null(strstr(says(29.4, end), "warn"));
    assert_string_equal(says(29, end), ""); /* on the same day */
    assert_non_null(strstr(says(28.3, end), "a.crt expires in 28 days: renew it\n"));
    assert_non_null(strstr(says(7.2, end), "expires in 7 days: renew it\n"));
    assert_non_null(strstr(says(6.1, end), "error"));
    assert_non_null(strstr(says(5.05, end), "expires in 5 days: renew it now\n"));
    assert_string_equal(says(4.5, end), "");
    assert_non_null(strstr(says(-0.1, end), "a.crt has expired: peers refuse it, renew it\n"));
    /* A new one is looked at at once. */
    copy_file("b.crt", "a.crt");
    copy_file("b.key", "a.key");
    assert_non_null(strstr(says(-0.2, end), "has expired"));
    copy_file("a0.crt", "a.crt");
    copy_file("a0.key", "a.key");
    ahead_s = 0;
    pass(HR_TLS_LOOK_S);
}

static void finds_at(int64_t now_s, const char *text)
{
    errors.n = 0;
    assert_true(hr_tls_check(config, now_s, &errors) > 0);
    for (uint32_t i = 0; i < errors.n; i++) {
        if (strstr(errors.text[i], text))
            return;
    }
    fail_msg("%s, not %s", errors.text[0], text);
}

static void finds(const char *text)
{
    finds_at(time(NULL), text);
}

static void checked(void **s)
{
    struct hr_config_listener *l = &config->listeners[1];

    (void)s;
    errors.n = 0;
    if (hr_tls_check(config, time(NULL), &errors) != 0)
        fail_msg("%s", errors.text[0]);
    l->tls.certs[0].key = pki_cert(&pki, "b").key;
    l->tls.certs[0].key.line = 41;
    finds("b.key: is not the key of the certificate in");
    assert_non_null(strstr(errors.text[0], "t.cfg:41: "));
    l->tls.certs[0] = pki_cert(&pki, "b");
    finds("is for \"b0.k.test\", which clients are told");
    l->tls.certs[0] = pki_cert(&pki, "old");
    finds("has expired on ");
    errors.n = 0;
    assert_int_equal(hr_tls_check(config, 0, &errors), 0); /* no reason to refuse a reload */
    l->policy.by_name = 1;
    snprintf(l->bootstrap_host, sizeof(l->bootstrap_host), "k.test");
    finds("is for \"k.test\", which");
    l->policy.by_name = 0;
    l->tls.certs[0] = pki_cert(&pki, "a");
    l->tls.client_auth = HR_CONFIG_CLIENT_AUTH_REQUIRED;
    l->tls.client_ca = pki_file(&pki, "none.crt");
    finds("none.crt: cannot be opened");
    l->tls.client_ca = pki_file(&pki, "a.key");
    finds("a.key: holds no certificate");
    l->tls.client_ca = pki_file(&pki, "ca.crt");
    l->tls.client_crl = pki_file(&pki, "ca.crt");
    finds("ca.crt: holds no revocation list");
    pki_crl(&pki, "list", NULL);
    l->tls.client_crl = pki_file(&pki, "list.crl");
    errors.n = 0;
    assert_int_equal(hr_tls_check(config, time(NULL), &errors), 0);
    finds_at(time(NULL) + 40 * 365 * 86400L, "ca.crt: every CA in it has expired, the last one on 20");
    finds_at(time(NULL) + 40 * 365 * 86400L, "list.crl: a list in it was to be replaced on 20");
    l->tls.client_auth = HR_CONFIG_CLIENT_AUTH_NONE;
    config->cluster.tls.on = true;
    config->cluster.tls.ca = pki_file(&pki, "none.crt");
    finds("none.crt: cannot be opened");
    config->cluster.tls.on = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_change),
        cmocka_unit_test(certificates_run_out),
        cmocka_unit_test(checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
