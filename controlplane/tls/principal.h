/* Who a client is by its certificate: the name that access rules are written for, "User:" not included.
 *
 * From the subject: as Java's X500Principal.getName() writes it (RFC 2253, and what that leaves open as the JDK has it),
 * which is what Kafka's brokers start from, then through Kafka's ssl.principal.mapping.rules. Or the certificate's
 * first alternative name of a kind, as it stands there.
 *
 * Two certificates of different names must never become one principal because a name could not be written down. So,
 * other than Java, a subject with bytes that are no UTF-8 is refused instead of shown with U+FFFD; so are alternative
 * names with spaces or anything that is not printable ASCII. */
#pragma once

#include <openssl/x509.h>
#include <stddef.h>

#include "controlplane/tls/files.h"
#include "shared/base/error.h"
#include "shared/config/config.h"
#include "shared/ipc/login.h"

#define HR_DN_MAX 2048 /* bytes of a subject's text, the NUL included; of a principal: HR_PRINCIPAL_MAX */

struct hr_principal;

/* A listener's way to make principals. CONFIG with why: the rules are malformed, or use what is not supported here. */
HR_MUST_CHECK int hr_principal_create(const struct hr_config_listener_tls *tls, struct hr_principal **ret_principal,
                                      struct hr_tls_why *why);
void hr_principal_destroy(struct hr_principal *principal);

/* The certificate's name. NOT_FOUND: it has none of the kind, or no rule applies; INVALID: it has one that is no text;
 * TOO_LARGE: longer than cap, or the rules take too long. Nothing is written but on success. */
HR_MUST_CHECK int hr_principal_of(const struct hr_principal *principal, X509 *cert, char *name, size_t cap);

/* X500Principal.getName() of a name; "" of an empty one. INVALID and TOO_LARGE as above. */
HR_MUST_CHECK int hr_principal_dn(const X509_NAME *dn, char *text, size_t cap);
