#include "controlplane/tls/reasons.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "controlplane/tls/impl.h"

static const char *const names[] = {
    "none",
#define X(name, text) #name,
    HR_TLS_REASONS(X)
#undef X
};
static const char *const texts[] = {
    "none",
#define X(name, text) text,
    HR_TLS_REASONS(X)
#undef X
};

const char *hr_tls_reason_name(unsigned reason)
{
    return reason < HR_TLS_REASON_MAX ? names[reason] : "?";
}

const char *hr_tls_reason_text(unsigned reason)
{
    return reason < HR_TLS_REASON_MAX ? texts[reason] : "?";
}

static enum hr_tls_reason verify_reason(long result)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return HR_TLS_REASON_expired;
    case X509_V_ERR_CERT_REVOKED:
        return HR_TLS_REASON_revoked;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return HR_TLS_REASON_wrong_name;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return HR_TLS_REASON_unknown_ca;
    default:
        return HR_TLS_REASON_bad_certificate;
    }
}

enum hr_tls_reason hr_tls_reason_of(const SSL *ssl, unsigned long err)
{
    int reason = ERR_GET_REASON(err);

    if (err == 0 || ERR_GET_LIB(err) == ERR_LIB_SYS)
        return HR_TLS_REASON_closed;
    if (ERR_GET_LIB(err) != ERR_LIB_SSL)
        return HR_TLS_REASON_bad_message; /* of the library that parses certificates, keys, points */
    if (reason >= SSL_AD_REASON_OFFSET)
        return HR_TLS_REASON_peer_alert;
    switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return verify_reason(SSL_get_verify_result(ssl));
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return HR_TLS_REASON_no_certificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
        return HR_TLS_REASON_protocol_version;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return HR_TLS_REASON_no_shared_cipher;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DECRYPTION_FAILED:
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_BAD_SIGNATURE:
        return HR_TLS_REASON_decrypt_error;
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return HR_TLS_REASON_too_large;
    case ERR_R_MALLOC_FAILURE:
    case ERR_R_INTERNAL_ERROR:
        return HR_TLS_REASON_internal;
    default:
        return HR_TLS_REASON_bad_message;
    }
}
