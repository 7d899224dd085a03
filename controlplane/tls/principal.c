#include "controlplane/tls/principal.h"

#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/tls/principal_rules.h"

#define OID_MAX 256 /* characters of an object identifier; those in use have 30 */

struct hr_principal {
    enum hr_config_principal_source source;
    struct hr_principal_rules *rules; /* of the subject */
};

/* -- the subject ------------------------------------------------------------------------------------------------ */

/* Text that stops to grow when it is full, and remembers. */
struct text {
    char *at;
    size_t len, cap;
    bool full;
};

static void add(struct text *t, const char *bytes, size_t n)
{
    if (t->full || t->cap - t->len <= n) {
        t->full = true;
        return;
    }
    memcpy(t->at + t->len, bytes, n);
    t->len += n;
}

/* The attributes that have a name in RFC 2253 2.3; all others stand as their object identifier. */
static const char *keyword(const ASN1_OBJECT *type)
{
    static const struct {
        int nid;
        const char *name;
    } known[] = {
        {NID_commonName, "CN"},          {NID_localityName, "L"},      {NID_stateOrProvinceName, "ST"},
        {NID_organizationName, "O"},     {NID_organizationalUnitName, "OU"}, {NID_countryName, "C"},
        {NID_streetAddress, "STREET"},   {NID_domainComponent, "DC"},  {NID_userId, "UID"},
    };
    int nid = OBJ_obj2nid(type);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].nid == nid)
            return known[i].name;
    }
    return NULL;
}

/* As the JDK judges it: a UniversalString is none. */
static bool is_text(const ASN1_STRING *value)
{
    switch (ASN1_STRING_type(value)) {
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_UTF8STRING:
    case V_ASN1_T61STRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_GENERALSTRING:
    case V_ASN1_BMPSTRING:
        return true;
    default:
        return false;
    }
}

/* RFC 2253 2.4: "#" and the encoding in hex. */
static int add_encoded(struct text *t, const ASN1_STRING *value)
{
    unsigned char *der = NULL;
    int n = i2d_ASN1_PRINTABLE(value, &der);

    if (n <= 0)
        return HR_E_INVALID;
    add(t, "#", 1);
    for (int i = 0; i < n; i++) {
        char hex[3];

        snprintf(hex, sizeof(hex), "%02x", der[i]);
        add(t, hex, 2);
    }
    OPENSSL_free(der);
    return 0;
}

static bool is_utf8(const unsigned char *data, int len)
{
    unsigned long c;

    for (int n; len > 0; data += n, len -= n) {
        n = UTF8_getc(data, len, &c);
        if (n <= 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
    }
    return true;
}

/* What Java takes for white space at either end. */
static bool is_white(unsigned char c)
{
    return c == ' ' || c == '\r';
}

/* The bytes are taken for UTF-8 whichever type of string they have, so that a BMPString shows its zeros. */
static int add_text(struct text *t, const ASN1_STRING *value)
{
    const unsigned char *data = ASN1_STRING_get0_data(value);
    int len = ASN1_STRING_length(value), lead = 0, trail = len;

    if (!is_utf8(data, len))
        return HR_E_INVALID;
    while (lead < len && is_white(data[lead]))
        lead++;
    while (trail > 0 && is_white(data[trail - 1]))
        trail--;
    for (int i = 0; i < len; i++) {
        if (data[i] == '\0') {
            add(t, "\\00", 3);
            continue;
        }
        if (strchr(",=+<>#;\"\\", data[i]) || i < lead || i >= trail)
            add(t, "\\", 1);
        add(t, (const char *)&data[i], 1);
    }
    return 0;
}

static int add_attribute(struct text *t, const X509_NAME_ENTRY *entry)
{
    const ASN1_OBJECT *type = X509_NAME_ENTRY_get_object(entry);
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    const char *name = keyword(type);
    char oid[OID_MAX];

    if (name) {
        add(t, name, strlen(name));
    } else {
        int n = OBJ_obj2txt(oid, sizeof(oid), type, 1);

        if (n <= 0 || n >= (int)sizeof(oid))
            return HR_E_INVALID;
        add(t, oid, (size_t)n);
    }
    add(t, "=", 1);
    return name && is_text(value) ? add_text(t, value) : add_encoded(t, value);
}

int hr_principal_dn(const X509_NAME *dn, char *text, size_t cap)
{
    struct text t = {.at = text, .cap = cap};
    int n = X509_NAME_entry_count(dn), err = 0;

    /* The last set of attributes first, and within a set as encoded. */
    for (int last = n - 1, first; last >= 0 && !err; last = first - 1) {
        int set = X509_NAME_ENTRY_set(X509_NAME_get_entry(dn, last));

        for (first = last; first > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(dn, first - 1)) == set;)
            first--;
        if (last < n - 1)
            add(&t, ",", 1);
        for (int i = first; i <= last && !err; i++) {
            if (i > first)
                add(&t, "+", 1);
            err = add_attribute(&t, X509_NAME_get_entry(dn, i));
        }
    }
    if (err || t.full)
        return err ? err : HR_E_TOO_LARGE;
    text[t.len] = '\0';
    return 0;
}

/* -- alternative names ------------------------------------------------------------------------------------------ */

/* RFC 5280 4.2.1.6: all three kinds are an IA5String. */
static int copy_name(const ASN1_IA5STRING *value, char *name, size_t cap)
{
    const unsigned char *data = ASN1_STRING_get0_data(value);
    size_t len = (size_t)ASN1_STRING_length(value);

    if (len == 0)
        return HR_E_INVALID;
    for (size_t i = 0; i < len; i++) {
        if (data[i] <= ' ' || data[i] > '~')
            return HR_E_INVALID;
    }
    if (len >= cap)
        return HR_E_TOO_LARGE;
    memcpy(name, data, len);
    name[len] = '\0';
    return 0;
}

static int alternative_name(X509 *cert, int kind, char *name, size_t cap)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int err = HR_E_NOT_FOUND;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

        if (one->type == kind) {
            err = copy_name(one->d.ia5, name, cap);
            break;
        }
    }
    GENERAL_NAMES_free(names);
    return err;
}

/* -- both ------------------------------------------------------------------------------------------------------- */

int hr_principal_create(const struct hr_config_listener_tls *tls, struct hr_principal **ret_principal,
                        struct hr_tls_why *why)
{
    struct hr_principal *p = calloc(1, sizeof(*p));
    char text[sizeof(why->text) - 64];

    if (!p)
        return HR_E_NOMEM;
    p->source = tls->principal_source;
    if (hr_principal_rules_create(tls->principal_rules[0] ? tls->principal_rules : "DEFAULT", &p->rules, text, sizeof(text)) != 0) {
        hr_tls_why_set(why, NULL, "principal_rules: %s", text);
        hr_principal_destroy(p);
        return HR_E_CONFIG;
    }
    *ret_principal = p;
    return 0;
}

void hr_principal_destroy(struct hr_principal *p)
{
    if (!p)
        return;
    hr_principal_rules_destroy(p->rules);
    free(p);
}

int hr_principal_of(const struct hr_principal *p, X509 *cert, char *name, size_t cap)
{
    char dn[HR_DN_MAX];
    int err;

    switch (p->source) {
    case HR_CONFIG_PRINCIPAL_SAN_DNS:
        return alternative_name(cert, GEN_DNS, name, cap);
    case HR_CONFIG_PRINCIPAL_SAN_URI:
        return alternative_name(cert, GEN_URI, name, cap);
    case HR_CONFIG_PRINCIPAL_SAN_EMAIL:
        return alternative_name(cert, GEN_EMAIL, name, cap);
    case HR_CONFIG_PRINCIPAL_DN:
    case HR_CONFIG_PRINCIPAL_NONE:
    case HR_CONFIG_PRINCIPAL_MAX:
        break;
    }
    err = hr_principal_dn(X509_get_subject_name(cert), dn, sizeof(dn));
    if (err)
        return err;
    return dn[0] ? hr_principal_rules_apply(p->rules, dn, name, cap) : HR_E_NOT_FOUND;
}
