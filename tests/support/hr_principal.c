/* What tests/integration/principal compares with Java and Kafka: made here, one case per line, all in hex.
 *
 *   hr-principal dn SEED N     "DER of a certificate" TAB "text of its subject", or TAB "-" where it is refused
 *   hr-principal rules SEED N  "rules" TAB "text" TAB "principal", or TAB "-" where no rule applies, or "!" where the
 *                              rules are refused */
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/tls/principal.h"
#include "controlplane/tls/principal_rules.h"

static uint64_t rng;

static uint32_t below(uint32_t n)
{
    uint64_t z = (rng += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (uint32_t)((z ^ (z >> 31)) >> 16) % n;
}

/* At most one reference to no group in each replacement of rules: SslPrincipalMapper stumbles over a second. */
#define PICK(list) list[below(sizeof(list) / sizeof(list[0]))]

static void hex(const void *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x", ((const unsigned char *)data)[i]);
}

/* -- subjects ---------------------------------------------------------------------------------------------------- */

static const char *const types[] = {
    "CN", "CN", "CN", "O", "OU", "C", "L", "ST", "street", "DC", "UID", "emailAddress", "serialNumber", "title", "GN", "SN",
    "dnQualifier", "generationQualifier", "initials", "pseudonym", "postalCode", "1.2.3.4", "2.999.1",
    "1.3.6.1.4.1.99999.123456789.1", "2.5.4.97",
};

static const char *const utf8[] = {"a", "B", "7", " ", "  ", ",", "=", "+", "<", ">", "#", ";", "\"", "\\", "/", "'", "\r",
                                   "\n", "\t", "\x01", "\x7f", "\xc3\xa9", "\xc3\x9f", "\xce\xa9", "\xe2\x82\xac",
                                   "\xe6\x9d\xb1", "\xf0\x9f\x90\xb8", "\xc2\xa0", "\xe2\x80\xa8", "test", "O=x"};
static const char *const ascii[] = {"a", "B", "7", " ", ",", "=", "+", "#", "\\", "\"", "/", "@", "*", "example.com", "."};

static size_t text_of(const char *const *pieces, size_t n_pieces, unsigned char *out, size_t cap)
{
    size_t len = 0, n = 1 + below(12);

    for (size_t i = 0; i < n; i++) {
        const char *piece = pieces[below((uint32_t)n_pieces)];

        if (len + strlen(piece) > cap)
            break;
        memcpy(out + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return len;
}

/* Bytes for a string of a type; some fit the type's name and are no UTF-8 at all. */
static int value(unsigned char *out, size_t cap, size_t *ret_len)
{
    static const char latin1[] = "M\xfcller \xe4\xf6\xe9";
    static const int others[] = {V_ASN1_T61STRING, V_ASN1_IA5STRING, V_ASN1_PRINTABLESTRING, V_ASN1_NUMERICSTRING};
    size_t n = sizeof(utf8) / sizeof(utf8[0]);

    switch (below(8)) {
    case 0:
        *ret_len = text_of(ascii, sizeof(ascii) / sizeof(ascii[0]), out, cap);
        return PICK(others);
    case 1: { /* two bytes a character, some of them beyond ASCII */
        static const unsigned short chars[] = {'a', 'b', ' ', ',', 0x0100, 0x4e2d, 0x00fc, 0x20ac, '='};
        size_t len = 1 + below(8);

        for (size_t i = 0; i < len; i++) {
            unsigned c = below(4) ? chars[below(4)] : PICK(chars);
            out[2 * i] = (unsigned char)(c >> 8);
            out[2 * i + 1] = (unsigned char)c;
        }
        *ret_len = 2 * len;
        return V_ASN1_BMPSTRING;
    }
    case 2: { /* four */
        size_t len = 1 + below(4);

        for (size_t i = 0; i < len; i++)
            memcpy(out + 4 * i, (const unsigned char[]){0, 0, 0, (unsigned char)('a' + below(26))}, 4);
        *ret_len = 4 * len;
        return V_ASN1_UNIVERSALSTRING;
    }
    case 3:
        *ret_len = below(sizeof(latin1) - 1) + 1;
        memcpy(out, latin1, *ret_len);
        return V_ASN1_T61STRING;
    case 4:
        *ret_len = text_of(utf8, n, out, cap);
        out[below((uint32_t)*ret_len)] = '\0';
        return below(2) ? V_ASN1_T61STRING : V_ASN1_IA5STRING;
    default:
        *ret_len = text_of(utf8, n, out, cap);
        return V_ASN1_UTF8STRING;
    }
}

static X509 *certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    uint32_t n = below(20) ? 1 + below(6) : 0;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1 + below(1000000));
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    for (uint32_t i = 0; i < n; i++) {
        unsigned char bytes[256];
        size_t len;
        int type = value(bytes, 100, &len);
        ASN1_OBJECT *of = OBJ_txt2obj(PICK(types), 0);

        if (!of || X509_NAME_add_entry_by_OBJ(name, of, type, bytes, (int)len, -1, i > 0 && below(4) == 0 ? -1 : 0) != 1)
            abort();
        ASN1_OBJECT_free(of);
    }
    X509_NAME *issuer = X509_NAME_new();
    X509_NAME_add_entry_by_txt(issuer, "CN", MBSTRING_ASC, (const unsigned char *)"issuer", -1, -1, 0);
    X509_set_issuer_name(cert, issuer);
    X509_NAME_free(issuer);
    return X509_sign(cert, key, EVP_sha256()) > 0 ? cert : (X509_free(cert), NULL);
}

static void subjects(uint32_t n)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    static char text[4 * HR_DN_MAX];

    for (uint32_t i = 0; i < n;) {
        X509 *cert = certificate(key), *read;
        unsigned char *der = NULL;
        const unsigned char *p;
        int len = cert ? i2d_X509(cert, &der) : 0;

        p = der;
        read = len > 0 ? d2i_X509(NULL, &p, len) : NULL;
        if (read) {
            hex(der, (size_t)len);
            putchar('\t');
            if (hr_principal_dn(X509_get_subject_name(read), text, sizeof(text)) == 0)
                hex(text, strlen(text));
            else
                putchar('-');
            putchar('\n');
            i++;
        }
        X509_free(read);
        X509_free(cert);
        OPENSSL_free(der);
    }
    EVP_PKEY_free(key);
}

/* -- rules ------------------------------------------------------------------------------------------------------- */

static void one_rule(char *out, size_t cap)
{
    static const char *const patterns[] = {
        "^CN=(.*?),OU=(.*?),O=(.*?)$", "^.*CN=([a-zA-Z0-9. ]*).*$", "CN=(.*?)", ".*", "x*", "^CN=([^,]+),.*$", "(CN|OU)=(a|b)*.*",
        "(.)*", "^(?i:cn)=(?<who>[\\w]+)(?:,(.*))?$", "(?s)^(.+)O=(.*)$", "^CN=(.*?)\\/(.*)$", "[^=]*=(\\p{L}+).*",
        "^(?=CN)(.+?),(.+?),(.+)$", "((((((((((CN))))))))))=(.*)", "\\QCN=\\E.+", "a|CN=.*|.*x", "^C.{1,3}N?.*+$",
    };
    static const char *const replacements[] = {"$1", "$1@$2", "$0", "x", "", "[$1]", "$1-$2", "$12", "$9", "\\$1", "${who}",
                                               "<\\/>", "$11", "$10x", "$1 $0"};
    static const char *const cases[] = {"", "", "L", "U"};

    if (below(5) == 0)
        snprintf(out, cap, "DEFAULT");
    else
        snprintf(out, cap, "RULE:%s/%s/%s", PICK(patterns), PICK(replacements), PICK(cases));
}

static void rules(uint32_t n)
{
    static const char *const separators[] = {",", ", ", " , ", ",\n  "};
    static const char *const values[] = {"a", "b", "aab", "Alice", "j\xc3\xb6rg", "\xc3\x89MILE", "x", "xx", "a b", "a/b", "",
                                         "\xe2\x82\xac", "1.2", "$1", "\\,"};
    static const char *const names[] = {"CN", "OU", "O", "cn", "DC"};

    for (uint32_t i = 0; i < n; i++) {
        char text[1024] = "", dn[512] = "", name[HR_PRINCIPAL_MAX], why[256];
        struct hr_principal_rules *compiled;
        uint32_t count = 1 + below(3);

        for (uint32_t r = 0; r < count; r++) {
            size_t len = strlen(text);

            snprintf(text + len, sizeof(text) - len, "%s", r ? PICK(separators) : "");
            len = strlen(text);
            one_rule(text + len, sizeof(text) - len);
        }
        count = 1 + below(4);
        for (uint32_t a = 0; a < count; a++) {
            size_t len = strlen(dn);

            snprintf(dn + len, sizeof(dn) - len, "%s%s=%s", a ? "," : "", PICK(names), PICK(values));
        }
        hex(text, strlen(text));
        putchar('\t');
        hex(dn, strlen(dn));
        putchar('\t');
        if (hr_principal_rules_create(text, &compiled, why, sizeof(why)) != 0) {
            putchar('!');
        } else {
            if (hr_principal_rules_apply(compiled, dn, name, sizeof(name)) == 0)
                hex(name, strlen(name));
            else
                putchar('-');
            hr_principal_rules_destroy(compiled);
        }
        putchar('\n');
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || (strcmp(argv[1], "dn") != 0 && strcmp(argv[1], "rules") != 0)) {
        fputs("usage: hr-principal dn|rules SEED N\n", stderr);
        return 2;
    }
    rng = strtoull(argv[2], NULL, 10);
    if (strcmp(argv[1], "dn") == 0)
        subjects((uint32_t)strtoul(argv[3], NULL, 10));
    else
        rules((uint32_t)strtoul(argv[3], NULL, 10));
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
