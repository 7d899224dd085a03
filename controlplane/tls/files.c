#include "controlplane/tls/files.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RSA_BITS_MIN 2048

void hr_tls_why_set(struct hr_tls_why *why, const struct hr_config_file *file, const char *fmt, ...)
{
    va_list args;

    why->file = file;
    va_start(args, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, args);
    va_end(args);
    ERR_clear_error();
}

/* A file may hold a key: its bytes are wiped by whoever frees the BIO with free_file(). */
static BIO *open_file(const struct hr_config_file *file, struct hr_tls_why *why)
{
    char *data = OPENSSL_malloc(HR_TLS_FILE_MAX + 1);
    FILE *f = fopen(file->path, "re");
    BIO *bio = NULL;
    size_t n;

    if (!f) {
        hr_tls_why_set(why, file, "cannot be opened: %s", strerror(errno));
        goto out;
    }
    if (!data) {
        hr_tls_why_set(why, file, "no memory to read it");
        goto out;
    }
    n = fread(data, 1, HR_TLS_FILE_MAX + 1, f);
    if (ferror(f))
        hr_tls_why_set(why, file, "cannot be read: %s", strerror(errno));
    else if (n > HR_TLS_FILE_MAX)
        hr_tls_why_set(why, file, "is larger than %u bytes: no PEM file", HR_TLS_FILE_MAX);
    else if (n == 0)
        hr_tls_why_set(why, file, "is empty");
    else if ((bio = BIO_new(BIO_s_secmem())) == NULL || BIO_write(bio, data, (int)n) != (int)n)
        hr_tls_why_set(why, file, "no memory to read it");
out:
    if (data)
        OPENSSL_clear_free(data, HR_TLS_FILE_MAX + 1);
    if (f)
        fclose(f);
    if (bio && why->text[0]) {
        BIO_free(bio);
        bio = NULL;
    }
    return bio;
}

/* The end of a file is an error of PEM_read_bio; anything else in the queue is one of the file. */
static bool at_end(void)
{
    unsigned long err = ERR_peek_last_error();
    bool end = ERR_GET_LIB(err) == ERR_LIB_PEM && ERR_GET_REASON(err) == PEM_R_NO_START_LINE;

    ERR_clear_error();
    return end;
}

/* All certificates of a file, in order. */
static STACK_OF(X509) *read_certs(const struct hr_config_file *file, struct hr_tls_why *why)
{
    BIO *bio = open_file(file, why);
    STACK_OF(X509) *certs = bio ? sk_X509_new_null() : NULL;
    X509 *cert;

    if (!certs)
        goto out;
    ERR_clear_error();
    while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_push(certs, cert)) {
            X509_free(cert);
            break;
        }
    }
    if (!at_end())
        hr_tls_why_set(why, file, "certificate %d is damaged: it must stand between -----BEGIN CERTIFICATE----- and"
                                  " -----END CERTIFICATE----- as it was issued", sk_X509_num(certs) + 1);
    else if (sk_X509_num(certs) == 0)
        hr_tls_why_set(why, file, "holds no certificate: PEM is expected, \"-----BEGIN CERTIFICATE-----\"");
out:
    BIO_free(bio);
    if (certs && why->text[0]) {
        sk_X509_pop_free(certs, X509_free);
        certs = NULL;
    }
    return certs;
}

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    *(bool *)arg = true;
    (void)buf, (void)size, (void)writing;
    return -1;
}

static EVP_PKEY *read_key(const struct hr_config_file *file, struct hr_tls_why *why)
{
    bool encrypted = false;
    BIO *bio = open_file(file, why);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted) : NULL;

    BIO_free(bio);
    if (bio && !key) {
        if (encrypted)
            hr_tls_why_set(why, file, "is encrypted: give a key without a passphrase, readable by the control plane's"
                                      " user alone (openssl pkey -in OLD -out NEW)");
        else
            hr_tls_why_set(why, file, "holds no private key: PEM is expected, \"-----BEGIN PRIVATE KEY-----\"");
    }
    return key;
}

/* X509_NAME on one line, RFC 2253. */
static void name_text(const X509_NAME *name, char *text, size_t cap)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data;
    long n;

    text[0] = '\0';
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        n = BIO_get_mem_data(bio, &data);
        snprintf(text, cap, "%.*s", (int)n, data);
    }
    BIO_free(bio);
}

static bool check_key(const struct hr_config_certificate *files, const struct hr_tls_cert *cert,
                      struct hr_tls_why *why)
{
    int type = EVP_PKEY_get_base_id(cert->key);
    char subject[128];

    if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC) {
        hr_tls_why_set(why, &files->key, "is a key of type %s: RSA and ECDSA are possible",
                       EVP_PKEY_get0_type_name(cert->key));
        return false;
    }
    if (type == EVP_PKEY_RSA && EVP_PKEY_get_bits(cert->key) < RSA_BITS_MIN) {
        hr_tls_why_set(why, &files->key, "is an RSA key of %d bits: %d are the least", EVP_PKEY_get_bits(cert->key),
                       RSA_BITS_MIN);
        return false;
    }
    if (X509_check_private_key(cert->leaf, cert->key) != 1) {
        name_text(X509_get_subject_name(cert->leaf), subject, sizeof(subject));
        hr_tls_why_set(why, &files->key, "is not the key of the certificate in %s, which is for \"%s\"",
                       files->chain.path, subject);
        return false;
    }
    return true;
}

static bool check_chain(const struct hr_config_certificate *files, const struct hr_tls_cert *cert,
                        struct hr_tls_why *why)
{
    X509 *below = cert->leaf;

    if (X509_check_ca(cert->leaf) == 1 && sk_X509_num(cert->chain) > 0) {
        hr_tls_why_set(why, &files->chain, "begins with a CA's certificate: the server's own comes first, then the one"
                                           " that issued it, and so on");
        return false;
    }
    for (int i = 0; i < sk_X509_num(cert->chain); i++) {
        X509 *above = sk_X509_value(cert->chain, i);

        if (X509_check_issued(above, below) != X509_V_OK) {
            hr_tls_why_set(why, &files->chain, "certificate %d did not issue certificate %d: the server's own comes"
                                               " first, then the one that issued it, and so on", i + 2, i + 1);
            return false;
        }
        below = above;
    }
    return true;
}

int hr_tls_cert_load(const struct hr_config_certificate *files, struct hr_tls_cert *ret_cert, struct hr_tls_why *why)
{
    struct hr_tls_cert cert = {.files = files};

    *why = (struct hr_tls_why){0};
    cert.chain = read_certs(&files->chain, why);
    if (!cert.chain)
        return HR_E_CONFIG;
    cert.leaf = sk_X509_shift(cert.chain);
    cert.key = read_key(&files->key, why);
    if (!cert.key || !check_key(files, &cert, why) || !check_chain(files, &cert, why)) {
        hr_tls_cert_free(&cert);
        return HR_E_CONFIG;
    }
    *ret_cert = cert;
    return 0;
}

void hr_tls_cert_free(struct hr_tls_cert *cert)
{
    X509_free(cert->leaf);
    sk_X509_pop_free(cert->chain, X509_free);
    EVP_PKEY_free(cert->key);
    *cert = (struct hr_tls_cert){0};
}

bool hr_tls_cert_matches(const struct hr_tls_cert *cert, const char *name)
{
    return X509_check_host(cert->leaf, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

int64_t hr_tls_time(const ASN1_TIME *time)
{
    struct tm tm;

    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

int hr_tls_cert_check_dates(const struct hr_tls_cert *cert, int64_t now_s, struct hr_tls_why *why)
{
    const ASN1_TIME *from = X509_get0_notBefore(cert->leaf), *to = X509_get0_notAfter(cert->leaf);
    time_t from_s = hr_tls_time(from), to_s = hr_tls_time(to);
    char date[32];

    if (now_s >= from_s && now_s <= to_s)
        return 0;
    strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(now_s < from_s ? &from_s : &to_s));
    hr_tls_why_set(why, &cert->files->chain, now_s < from_s ? "is not valid before %s" : "has expired on %s: renew it",
                   date);
    return HR_E_CONFIG;
}

int hr_tls_ca_load(const struct hr_config_file *file, STACK_OF(X509) **ret_certs, struct hr_tls_why *why)
{
    *why = (struct hr_tls_why){0};
    STACK_OF(X509) *certs = read_certs(file, why);

    if (!certs)
        return HR_E_CONFIG;
    *ret_certs = certs;
    return 0;
}

int hr_tls_crl_load(const struct hr_config_file *file, STACK_OF(X509_CRL) **ret_crls, struct hr_tls_why *why)
{
    *why = (struct hr_tls_why){0};
    BIO *bio = open_file(file, why);
    STACK_OF(X509_CRL) *crls = bio ? sk_X509_CRL_new_null() : NULL;
    X509_CRL *crl;

    if (!crls) {
        BIO_free(bio);
        return HR_E_CONFIG;
    }
    ERR_clear_error();
    while ((crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL) {
        if (!sk_X509_CRL_push(crls, crl)) {
            X509_CRL_free(crl);
            break;
        }
    }
    if (!at_end())
        hr_tls_why_set(why, file, "list %d is damaged", sk_X509_CRL_num(crls) + 1);
    else if (sk_X509_CRL_num(crls) == 0)
        hr_tls_why_set(why, file, "holds no revocation list: PEM is expected, \"-----BEGIN X509 CRL-----\"");
    BIO_free(bio);
    if (why->text[0]) {
        sk_X509_CRL_pop_free(crls, X509_CRL_free);
        return HR_E_CONFIG;
    }
    *ret_crls = crls;
    return 0;
}
