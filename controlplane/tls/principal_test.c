/* Known answers. tests/integration/principal compares with Java and Kafka themselves. */
#include "controlplane/tls/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/objects.h>
#include <openssl/x509v3.h>

#include "controlplane/tls/principal_rules.h"
#include "controlplane/tls/test_pki.h"

/* -- subjects ---------------------------------------------------------------------------------------------------- */

struct attribute {
    const char *type; /* as OBJ_txt2obj takes it */
    int string;       /* V_ASN1_* */
    const char *bytes;
    int len;     /* 0: strlen(bytes) */
    bool beside; /* in the set of the one before */
};

static X509_NAME *made_of(const struct attribute *a, int n)
{
    X509_NAME *name = X509_NAME_new();

    for (int i = 0; i < n; i++) {
        ASN1_OBJECT *type = OBJ_txt2obj(a[i].type, 0);
        int len = a[i].len ? a[i].len : (int)strlen(a[i].bytes);

        assert_int_equal(X509_NAME_add_entry_by_OBJ(name, type, a[i].string, (const unsigned char *)a[i].bytes, len, -1,
                                                    a[i].beside ? -1 : 0), 1);
        ASN1_OBJECT_free(type);
    }
    return name;
}

/* As a peer sends it: encoded. */
static X509_NAME *name_of(const struct attribute *a, int n)
{
    X509_NAME *name = made_of(a, n), *read = NULL;
    unsigned char *der = NULL;
    int len = i2d_X509_NAME(name, &der);
    const unsigned char *p = der;

    assert_non_null(d2i_X509_NAME(&read, &p, len));
    OPENSSL_free(der);
    X509_NAME_free(name);
    return read;
}

static void dn_is(const struct attribute *a, int n, const char *expected)
{
    X509_NAME *name = name_of(a, n);
    char text[HR_DN_MAX];

    assert_int_equal(hr_principal_dn(name, text, sizeof(text)), 0);
    assert_string_equal(text, expected);
    /* Exactly as much room as it takes, and one byte less. */
    assert_int_equal(hr_principal_dn(name, text, strlen(expected) + 1), 0);
    assert_int_equal(hr_principal_dn(name, text, strlen(expected)), HR_E_TOO_LARGE);
    X509_NAME_free(name);
}
#define DN(expected, ...)                                                                                    \
    dn_is((const struct attribute[]){__VA_ARGS__}, sizeof((const struct attribute[]){__VA_ARGS__}) / sizeof(struct attribute), \
          expected)
#define UTF8 V_ASN1_UTF8STRING

static void subjects(void **s)
{
    (void)s;
    DN("CN=app,OU=team,O=Example,C=DE", {"C", V_ASN1_PRINTABLESTRING, "DE"}, {"O", UTF8, "Example"}, {"OU", UTF8, "team"},
       {"CN", UTF8, "app"});
    DN("CN=a+UID=b,O=x", {"O", UTF8, "x"}, {"CN", UTF8, "a"}, {"UID", UTF8, "b", .beside = true});
    DN("STREET=1 Main,DC=com,ST=B,L=C", {"L", UTF8, "C"}, {"ST", UTF8, "B"}, {"DC", V_ASN1_IA5STRING, "com"},
       {"street", UTF8, "1 Main"});
    /* What must be escaped, where. */
    DN("CN=\\,\\=\\+\\<\\>\\#\\;\\\"\\\\", {"CN", UTF8, ",=+<>#;\"\\"});
    DN("CN=\\ \\ a  b\\ ", {"CN", UTF8, "  a  b "});
    DN("CN=\\ \\ ", {"CN", UTF8, "  "});
    DN("CN=a\\00b", {"CN", UTF8, "a\0b", 3});
    DN("CN=J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x90\xb8", {"CN", UTF8, "J\xc3\xb6rg \xe2\x82\xac \xf0\x9f\x90\xb8"});
    /* Types without a name of their own, and values that are no text. */
    DN("1.2.840.113549.1.9.1=#1603614062,O=x", {"O", UTF8, "x"}, {"emailAddress", V_ASN1_IA5STRING, "a@b"});
    DN("2.5.4.5=#0c023432", {"serialNumber", UTF8, "42"});
    DN("1.3.6.1.4.1.99999.1=#130178", {"1.3.6.1.4.1.99999.1", V_ASN1_PRINTABLESTRING, "x"});
    DN("CN=#12023132", {"CN", V_ASN1_NUMERICSTRING, "12"});
    /* A BMPString's bytes, one by one. */
    DN("CN=\\00a\\00b", {"CN", V_ASN1_BMPSTRING, "\0a\0b", 4});

    X509_NAME *empty = X509_NAME_new();
    char text[8] = "?";
    assert_int_equal(hr_principal_dn(empty, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    X509_NAME_free(empty);
}

/* Java would show U+FFFD for either, and so make one of two. */
static void subjects_that_are_no_text(void **s)
{
    static const struct attribute bad[] = {
        {"CN", V_ASN1_T61STRING, "M\xfcller"},         {"CN", V_ASN1_T61STRING, "M\xf6ller"},
        {"CN", UTF8, "\xc0\xaf"},                      {"CN", UTF8, "\xed\xa0\x80"},
        {"CN", UTF8, "\xf4\x90\x80\x80"},              {"CN", UTF8, "a\xe2\x82"},
        {"CN", V_ASN1_BMPSTRING, "\0\xfc", 2},
    };
    char text[HR_DN_MAX] = "untouched";

    (void)s;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        X509_NAME *name = made_of(&bad[i], 1); /* OpenSSL itself reads some of them no more */

        assert_int_equal(hr_principal_dn(name, text, sizeof(text)), HR_E_INVALID);
        X509_NAME_free(name);
    }
}

/* -- rules ------------------------------------------------------------------------------------------------------- */

static void maps(const char *rules_text, const char *dn, const char *expected)
{
    struct hr_principal_rules *rules;
    char why[256] = "", name[HR_PRINCIPAL_MAX] = "untouched";
    int err;

    if (hr_principal_rules_create(rules_text, &rules, why, sizeof(why)) != 0)
        fail_msg("%s: %s", rules_text, why);
    err = hr_principal_rules_apply(rules, dn, name, sizeof(name));
    if (expected && err == 0)
        assert_string_equal(name, expected);
    else if (expected || err == 0)
        fail_msg("%s of %s: %s (%s)", rules_text, dn, name, hr_strerror(err));
    else
        assert_string_equal(name, "untouched");
    hr_principal_rules_destroy(rules);
}

static void rules(void **s)
{
    const char *kafka = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,"
                        "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT";

    (void)s;
    /* The examples of Kafka's manual. */
    maps(kafka, "CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "serviceuser");
    maps(kafka, "CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin");
    maps(kafka, "O=x,cn=Duke.1", "duke.1");
    maps(kafka, "O=x", "O=x");
    /* A match is one of all of it; what is replaced is each place that matches. */
    maps("RULE:CN/x/, DEFAULT", "CN=a", "CN=a");
    maps("RULE:CN=(.*?)/<$1>/", "CN=ab", "<>ab");
    maps("RULE:.*/x/", "CN=a", "xx");
    maps("RULE:x*/-/", "xx", "--");
    maps("RULE:(a|b)*/[$1]/", "ab", "[b][]");
    /* References. */
    maps("RULE:^CN=(?<who>[^,]+).*$/${who}-$0/", "CN=a", "a-CN=a");
    maps("RULE:^CN=(.*)$/$1$2\\$1/", "CN=a", "a$2$1");
    maps("RULE:^CN=(.*)$/$12/", "CN=a", "a2");
    maps("RULE:^CN=(a)|(b)$/[$1$2]/", "CN=a", "[a]");
    maps("RULE:^(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$/$11$1/", "abcdefghijk", "ka");
    maps("RULE:^CN=(.*)\\/(.*)$/$2\\/$1/", "CN=a/b", "b/a");
    /* Case. */
    maps("RULE:^CN=(.*)$/$1/U", "CN=j\xc3\xb6rg", "J\xc3\x96RG");
    maps("RULE:^CN=(.*)$/$1/L", "CN=\xc3\x96\xce\xa9", "\xc3\xb6\xcf\x89");
    /* None applies, or nothing is left. */
    maps("RULE:^CN=a$/x/", "CN=b", NULL);
    maps("RULE:^CN=a$//", "CN=a", NULL);
    maps(" , RULE:^CN=(.*)$/$1/ ,, DEFAULT ,", "CN=b", "b");
    /* Bounded, whatever the pattern. */
    maps("RULE:^CN=(a+)+$/$1/, DEFAULT", "CN=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", NULL);
}

static void too_long(void **s)
{
    struct hr_principal_rules *r;
    char why[256], name[8] = "?", dn[300];

    (void)s;
    assert_int_equal(hr_principal_rules_create("DEFAULT", &r, why, sizeof(why)), 0);
    assert_int_equal(hr_principal_rules_apply(r, "CN=1234", name, sizeof(name)), 0);
    assert_int_equal(hr_principal_rules_apply(r, "CN=12345", name, sizeof(name)), HR_E_TOO_LARGE);
    assert_string_equal(name, "CN=1234");
    hr_principal_rules_destroy(r);
    /* More places than are replaced. */
    memset(dn, 'a', sizeof(dn) - 1);
    dn[sizeof(dn) - 1] = '\0';
    assert_int_equal(hr_principal_rules_create("RULE:[a]*?/x/", &r, why, sizeof(why)), 0);
    assert_int_equal(hr_principal_rules_apply(r, dn, name, sizeof(name)), HR_E_TOO_LARGE);
    hr_principal_rules_destroy(r);
}

static void malformed(void **s)
{
    static const struct {
        const char *rules, *why;
    } bad[] = {
        {"", "there is no rule"},
        {" , ", "there is no rule"},
        {"DEFAULTS", "a comma is expected"},
        {"default", "a rule is DEFAULT or RULE:"},
        {"RULE:a/b", "lacks its second or third"},
        {"RULE:a", "lacks its second or third"},
        {"RULE:a/b/LU", "a comma is expected"},
        {"RULE:a/b/ x", "a comma is expected"},
        {"RULE:(a/b/", "missing closing parenthesis"},
        {"RULE:a/$1/", "is no group"},
        {"RULE:(a)/$x/", "is no group"},
        {"RULE:(a)/${b}/", "is no group"},
        {"RULE:[a-z&&[^b]]/x/", "an intersection of classes"},
        {"RULE:[a[b]]/x/", "a class within a class"},
        {"RULE:(*LIMIT_MATCH=9)a/x/", "has another meaning"},
        {"RULE:(?R)/x/", "has another meaning"},
        {"RULE:(?U)a/x/", "has another meaning"},
        {"RULE:a\\Kb/x/", "has another meaning"},
    };
    struct hr_principal_rules *r = NULL;
    char why[256];

    (void)s;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(hr_principal_rules_create(bad[i].rules, &r, why, sizeof(why)), HR_E_CONFIG);
        if (!strstr(why, bad[i].why))
            fail_msg("%s: %s", bad[i].rules, why);
        assert_null(r);
    }
    /* Looks like one of these, and is none. */
    maps("RULE:[]&a]+/x/", "a&]", "x");
    maps("RULE:\\Q(*[[\\E(?i:A)(?=b)b/x/", "(*[[ab", "x");
}

/* -- certificates ------------------------------------------------------------------------------------------------ */

static void of_is(X509 *cert, enum hr_config_principal_source source, const char *rules_text, int err, const char *expected)
{
    struct hr_config_listener_tls tls = {.principal_source = source};
    struct hr_principal *p;
    struct hr_tls_why why;
    char name[HR_PRINCIPAL_MAX] = "untouched";

    snprintf(tls.principal_rules, sizeof(tls.principal_rules), "%s", rules_text);
    assert_int_equal(hr_principal_create(&tls, &p, &why), 0);
    assert_int_equal(hr_principal_of(p, cert, name, sizeof(name)), err);
    assert_string_equal(name, err ? "untouched" : expected);
    hr_principal_destroy(p);
}

static void certificates(void **s)
{
    struct hr_config_listener_tls tls = {.principal_source = HR_CONFIG_PRINCIPAL_DN, .principal_rules = "RULE:("};
    struct hr_principal *p = NULL;
    struct hr_tls_why why = {0};
    struct pki pki;

    (void)s;
    pki_open(&pki);
    pki_leaf(&pki, &(struct pki_leaf){.name = "a", .cn = "alice",
                                      .san = "DNS:one.test,URI:spiffe://test/ns/a,DNS:two.test,email:a@one.test"});
    pki_leaf(&pki, &(struct pki_leaf){.name = "b", .cn = "bob"});
    X509 *cert = pki_x509(&pki, "a"), *bare = pki_x509(&pki, "b");
    of_is(cert, HR_CONFIG_PRINCIPAL_DN, "DEFAULT", 0, "CN=alice,O=Headrace tests");
    of_is(cert, HR_CONFIG_PRINCIPAL_DN, "RULE:^CN=([^,]+),.*$/$1/", 0, "alice");
    of_is(cert, HR_CONFIG_PRINCIPAL_DN, "RULE:^CN=x$/$0/", HR_E_NOT_FOUND, NULL);
    of_is(cert, HR_CONFIG_PRINCIPAL_SAN_DNS, "DEFAULT", 0, "one.test");
    of_is(cert, HR_CONFIG_PRINCIPAL_SAN_URI, "DEFAULT", 0, "spiffe://test/ns/a");
    of_is(cert, HR_CONFIG_PRINCIPAL_SAN_EMAIL, "DEFAULT", 0, "a@one.test");
    of_is(bare, HR_CONFIG_PRINCIPAL_SAN_DNS, "DEFAULT", HR_E_NOT_FOUND, NULL);
    X509_free(cert);
    X509_free(bare);
    /* A name with a zero in it is not the part before. */
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    cert = X509_new();
    assert_int_equal(ASN1_STRING_set(text, "admin.test\0.evil.test", 21), 1);
    GENERAL_NAME_set0_value(one, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, one);
    assert_int_equal(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
    of_is(cert, HR_CONFIG_PRINCIPAL_SAN_DNS, "DEFAULT", HR_E_INVALID, NULL);
    /* Nobody. */
    of_is(cert, HR_CONFIG_PRINCIPAL_DN, "DEFAULT", HR_E_NOT_FOUND, NULL);
    GENERAL_NAMES_free(names);
    X509_free(cert);
    pki_close(&pki);

    assert_int_equal(hr_principal_create(&tls, &p, &why), HR_E_CONFIG);
    assert_non_null(strstr(why.text, "principal_rules: "));
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subjects),  cmocka_unit_test(subjects_that_are_no_text), cmocka_unit_test(rules),
        cmocka_unit_test(too_long),  cmocka_unit_test(malformed),                 cmocka_unit_test(certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
