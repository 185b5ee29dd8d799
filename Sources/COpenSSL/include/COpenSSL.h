/* The part of system OpenSSL that Holdfast uses. Function-like macros do not import into Swift, so each that is
 * needed gets a small inline wrapper here, named holdfast_<macro>. */
#ifndef HOLDFAST_COPENSSL_H
#define HOLDFAST_COPENSSL_H
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* A BIO over a non-blocking socket that never raises SIGPIPE. It does not close the socket. */
BIO *holdfast_socket_bio(int descriptor);

/* Makes `context` accept exactly the peers whose sent chain contains a certificate authority with this SHA-256
 * fingerprint (32 bytes, which must outlive the context) and is otherwise valid. */
void holdfast_trust_fingerprint(SSL_CTX *context, const uint8_t *fingerprint);

/* Copies the first common name, or the first alternative name of type URI, as a terminated string.
 * 1 if there is one that fits and holds no zero byte, else 0. */
int holdfast_certificate_common_name(X509 *certificate, char *text, int capacity);
int holdfast_certificate_uri(X509 *certificate, char *text, int capacity);

/* Offers, as a client, and takes, as a server, application protocols named holdfast/N for each N from `highest` down to 2; a peer
 * that knows of none is spoken to without. 1 on success. */
int holdfast_speak_up_to(SSL_CTX *context, unsigned highest);
/* The N that both ends know, or 1. */
unsigned holdfast_agreed_version(const SSL *ssl);
/* Offers, as a client, nothing but to talk about certificates; who speaks above 1 takes that. 1 on success. */
int holdfast_ask_about_certificates(SSL_CTX *context);
/* Whether both ends agreed on that: a build that knows nothing of it does not. */
int holdfast_is_about_certificates(const SSL *ssl);

static inline int holdfast_require_tls13(SSL_CTX *context) {
    return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION)
        && SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
}
static inline void holdfast_SSL_CTX_set_mode(SSL_CTX *context, long mode) { SSL_CTX_set_mode(context, mode); }
static inline void holdfast_SSL_CTX_set_read_ahead(SSL_CTX *context) { SSL_CTX_set_read_ahead(context, 1); }
static inline void holdfast_SSL_CTX_no_session_cache(SSL_CTX *context) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}
static inline int holdfast_SSL_CTX_add1_chain_cert(SSL_CTX *context, X509 *certificate) {
    return (int)SSL_CTX_add1_chain_cert(context, certificate);
}
/* The dates of certificates are not looked at: who signed one says enough, and a clock may be wrong. */
static inline void holdfast_ignore_dates(SSL_CTX *context) {
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_NO_CHECK_TIME);
}
static inline void holdfast_ignore_unexpected_eof(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
}
static inline long holdfast_BIO_get_mem_data(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }
static inline EVP_PKEY *holdfast_generate_p256(void) { return EVP_EC_gen("P-256"); }
#endif
