#include "controlplane/tls/test_pki.h"

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY 86400L

/* What must not fail, also where assert() is compiled away. */
#define MUST(ok)                                                                                             \
    do {                                                                                                     \
        if (!(ok)) {                                                                                         \
            fprintf(stderr, "test_pki.c:%d: %s\n", __LINE__, #ok);                                           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static long serial = 1000;

static void extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(ext && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static X509 *make(EVP_PKEY *key, const char *cn, const struct pki_ca *ca, long from, long to)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);

    MUST(cert && X509_set_version(cert, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), from);
    X509_gmtime_adj(X509_getm_notAfter(cert), to);
    MUST(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Headrace tests", -1, -1, 0) == 1);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1);
    MUST(X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca->cert) : name) == 1);
    MUST(X509_set_pubkey(cert, key) == 1);
    return cert;
}

static void save(const struct pki *pki, const char *name, X509 *cert, EVP_PKEY *key)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.crt", pki->dir, name);
    MUST((f = fopen(path, "w")) != NULL && PEM_write_X509(f, cert) == 1);
    fclose(f);
    snprintf(path, sizeof(path), "%s/%s.key", pki->dir, name);
    MUST((f = fopen(path, "w")) != NULL && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
}

static void make_ca(const struct pki *pki, struct pki_ca *ca, const char *file, const char *cn)
{
    ca->key = EVP_EC_gen("P-256");
    MUST(ca->key);
    ca->cert = make(ca->key, cn, NULL, -DAY, 3650 * DAY);
    extension(ca->cert, ca->cert, NID_basic_constraints, "critical,CA:TRUE");
    extension(ca->cert, ca->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    MUST(X509_sign(ca->cert, ca->key, EVP_sha256()) > 0);
    save(pki, file, ca->cert, ca->key);
}

void pki_open(struct pki *pki)
{
    snprintf(pki->dir, sizeof(pki->dir), "/tmp/hr-pki-XXXXXX");
    MUST(mkdtemp(pki->dir));
    make_ca(pki, &pki->ca, "ca", "Test CA");
    make_ca(pki, &pki->other_ca, "other-ca", "Another CA");
}

void pki_close(struct pki *pki)
{
    char command[128];

    EVP_PKEY_free(pki->ca.key);
    X509_free(pki->ca.cert);
    EVP_PKEY_free(pki->other_ca.key);
    X509_free(pki->other_ca.cert);
    snprintf(command, sizeof(command), "rm -rf '%s'", pki->dir);
    MUST(system(command) == 0);
}

void pki_leaf(struct pki *pki, const struct pki_leaf *leaf)
{
    const struct pki_ca *ca = leaf->ca ? leaf->ca : &pki->ca;
    bool dated = leaf->days_from || leaf->days_to;
    EVP_PKEY *key = leaf->rsa ? EVP_RSA_gen(leaf->rsa_bits ? (unsigned)leaf->rsa_bits : 2048u) : EVP_EC_gen("P-256");
    X509 *cert;

    MUST(key);
    cert = make(key, leaf->cn, ca, dated ? leaf->days_from * DAY : -DAY, dated ? leaf->days_to * DAY : 365 * DAY);
    extension(cert, ca->cert, NID_basic_constraints, "CA:FALSE");
    if (leaf->san)
        extension(cert, ca->cert, NID_subject_alt_name, leaf->san);
    MUST(X509_sign(cert, ca->key, EVP_sha256()) > 0);
    save(pki, leaf->name, cert, key);
    EVP_PKEY_free(key);
    X509_free(cert);
}

X509 *pki_x509(const struct pki *pki, const char *name)
{
    FILE *f = fopen(pki_cert(pki, name).chain.path, "r");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    MUST(cert);
    fclose(f);
    return cert;
}

void pki_crl(struct pki *pki, const char *name, const char *revoked)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *next = X509_gmtime_adj(NULL, 30 * DAY);
    char path[256];
    FILE *f;

    MUST(crl && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1);
    MUST(X509_CRL_set_issuer_name(crl, X509_get_subject_name(pki->ca.cert)) == 1);
    X509_CRL_set1_lastUpdate(crl, now);
    X509_CRL_set1_nextUpdate(crl, next);
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();
        X509 *cert = pki_x509(pki, revoked);

        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(cert));
        X509_free(cert);
        X509_REVOKED_set_revocationDate(entry, now);
        MUST(X509_CRL_add0_revoked(crl, entry) == 1);
    }
    MUST(X509_CRL_sign(crl, pki->ca.key, EVP_sha256()) > 0);
    snprintf(path, sizeof(path), "%s/%s.crl", pki->dir, name);
    MUST((f = fopen(path, "w")) != NULL && PEM_write_X509_CRL(f, crl) == 1);
    fclose(f);
    X509_CRL_free(crl);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
}

struct hr_config_file pki_file(const struct pki *pki, const char *name)
{
    struct hr_config_file file = {.line = 1};

    snprintf(file.path, sizeof(file.path), "%s/%s", pki->dir, name);
    return file;
}

struct hr_config_certificate pki_cert(const struct pki *pki, const char *name)
{
    char crt[64], key[64];

    snprintf(crt, sizeof(crt), "%s.crt", name);
    snprintf(key, sizeof(key), "%s.key", name);
    return (struct hr_config_certificate){pki_file(pki, crt), pki_file(pki, key)};
}

void pki_write(const struct pki *pki, const char *name, const char *text)
{
    struct hr_config_file file = pki_file(pki, name);
    FILE *f = fopen(file.path, "w");

    MUST(f && fputs(text, f) >= 0);
    fclose(f);
}
