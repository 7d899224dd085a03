/* Files of certificates and keys that are wrong, each with what to do about it. */
#include "controlplane/tls/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "controlplane/tls/test_peer.h"

static void wrong(struct hr_config_certificate files, const char *in_file, const char *text)
{
    struct hr_tls_cert cert;
    struct hr_tls_why why;

    assert_int_equal(hr_tls_cert_load(&files, &cert, &why), HR_E_CONFIG);
    assert_non_null(why.file);
    if (!strstr(why.file->path, in_file) || !strstr(why.text, text))
        fail_msg("%s: %s", why.file->path, why.text);
}

static void files_that_are_wrong(void **s)
{
    struct hr_config_certificate ok = pki_cert(&pki, "ec"), files = ok;
    struct hr_tls_cert cert;
    struct hr_tls_why why;

    (void)s;
    files.key = pki_cert(&pki, "rsa").key;
    wrong(files, "rsa.key", "is not the key of the certificate in");
    files = ok;
    files.chain = pki_file(&pki, "absent.crt");
    wrong(files, "absent.crt", "cannot be opened");
    pki_write(&pki, "empty.crt", "");
    files.chain = pki_file(&pki, "empty.crt");
    wrong(files, "empty.crt", "is empty");
    pki_write(&pki, "text.crt", "hello\n");
    files.chain = pki_file(&pki, "text.crt");
    wrong(files, "text.crt", "holds no certificate");
    pki_write(&pki, "damaged.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.chain = pki_file(&pki, "damaged.crt");
    wrong(files, "damaged.crt", "is damaged");
    files = ok;
    files.key = ok.chain;
    wrong(files, "ec.crt", "holds no private key");
    pki_leaf(&pki, &(struct pki_leaf){.name = "weak", .cn = "weak", .rsa = true, .rsa_bits = 1024});
    wrong(pki_cert(&pki, "weak"), "weak.key", "1024 bits");

    assert_int_equal(hr_tls_cert_load(&ok, &cert, &why), 0);
    assert_true(hr_tls_cert_matches(&cert, "b1.kafka.test"));
    assert_false(hr_tls_cert_matches(&cert, "b1.other.test"));
    hr_tls_cert_free(&cert);
    ok = pki_cert(&pki, "expired");
    assert_int_equal(hr_tls_cert_load(&ok, &cert, &why), 0);
    assert_int_equal(hr_tls_cert_check_dates(&cert, time(NULL), &why), HR_E_CONFIG);
    assert_non_null(strstr(why.text, "has expired on"));
    hr_tls_cert_free(&cert);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}
