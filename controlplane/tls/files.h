/* Certificates, keys, CA bundles and revocation lists from PEM files.
 *
 * Everything that can be wrong with a file is found here, when it is read, and said in a way that tells what to
 * change; a context that was made from files that loaded does not fail later. */
#pragma once

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/base/error.h"
#include "shared/config/config.h"

#define HR_TLS_FILE_MAX (1u << 20) /* bytes of a PEM file; a system's CA bundle is 220 KB */

/* What is wrong with which file. */
struct hr_tls_why {
    const struct hr_config_file *file; /* NULL: no file's fault */
    char text[320];
};
void hr_tls_why_set(struct hr_tls_why *why, const struct hr_config_file *file, const char *fmt, ...)
    HR_PRINTF(3, 4);

/* A certificate of ours with its key. */
struct hr_tls_cert {
    const struct hr_config_certificate *files; /* not owned */
    X509 *leaf;
    STACK_OF(X509) *chain; /* without the leaf */
    EVP_PKEY *key;
};

/* Reads both files: the leaf first and each next one the issuer of the one before; an RSA key of 2048 bits at
 * least, or an ECDSA key; the key belongs to the leaf. CONFIG with why. */
HR_MUST_CHECK int hr_tls_cert_load(const struct hr_config_certificate *files, struct hr_tls_cert *ret_cert,
                                   struct hr_tls_why *why);
void hr_tls_cert_free(struct hr_tls_cert *cert);
/* Is it for this name (subjectAltName, RFC 9525 6.3; wildcards for one label)? */
bool hr_tls_cert_matches(const struct hr_tls_cert *cert, const char *name);
/* CONFIG with why when it is not valid now (seconds since 1970). */
HR_MUST_CHECK int hr_tls_cert_check_dates(const struct hr_tls_cert *cert, int64_t now_s, struct hr_tls_why *why);

/* Certificates of CAs. CONFIG with why when there is none in it. */
HR_MUST_CHECK int hr_tls_ca_load(const struct hr_config_file *file, STACK_OF(X509) **ret_certs,
                                 struct hr_tls_why *why);
HR_MUST_CHECK int hr_tls_crl_load(const struct hr_config_file *file, STACK_OF(X509_CRL) **ret_crls,
                                  struct hr_tls_why *why);

/* Seconds since 1970; 0 when it cannot be told. */
int64_t hr_tls_time(const ASN1_TIME *time);
