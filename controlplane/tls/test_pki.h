/* Certificates made on the spot, for tests: a folder of PEM files. */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/config/config.h"

struct pki_ca {
    EVP_PKEY *key;
    X509 *cert;
};

struct pki {
    char dir[64];
    struct pki_ca ca, other_ca;
};

struct pki_leaf {
    const char *name;  /* of the files: NAME.crt, NAME.key */
    const char *cn;
    const char *san;   /* "DNS:a,DNS:b", NULL: none */
    bool rsa;
    int rsa_bits;      /* 0: 2048 */
    int days_from, days_to; /* from now; 0, 0: yesterday to in a year */
    const struct pki_ca *ca; /* NULL: pki.ca */
};

/* dir is made under /tmp; ca.crt and other-ca.crt are in it. */
void pki_open(struct pki *pki);
void pki_close(struct pki *pki); /* removes the folder */
void pki_leaf(struct pki *pki, const struct pki_leaf *leaf);
/* NAME.crl, in which the leaf `revoked` stands; NULL: none. */
void pki_crl(struct pki *pki, const char *name, const char *revoked);
/* A leaf's certificate; the caller frees it. */
X509 *pki_x509(const struct pki *pki, const char *name);
/* dir/NAME */
struct hr_config_file pki_file(const struct pki *pki, const char *name);
/* NAME.crt and NAME.key */
struct hr_config_certificate pki_cert(const struct pki *pki, const char *name);
void pki_write(const struct pki *pki, const char *name, const char *text);
