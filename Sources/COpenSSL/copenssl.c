#include "COpenSSL.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int socket_write(BIO *bio, const char *data, int length) {
    BIO_clear_retry_flags(bio);
    ssize_t count = send((int)(intptr_t)BIO_get_data(bio), data, (size_t)length, MSG_NOSIGNAL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
    return (int)count;
}

static int socket_read(BIO *bio, char *data, int length) {
    BIO_clear_retry_flags(bio);
    ssize_t count = recv((int)(intptr_t)BIO_get_data(bio), data, (size_t)length, 0);
    if (count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
    return (int)count;
}

static long socket_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH;
}

static pthread_once_t method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *method;

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "holdfast socket");
    if (!method) return;
    BIO_meth_set_write(method, socket_write);
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_ctrl(method, socket_control);
}

BIO *holdfast_socket_bio(int descriptor) {
    pthread_once(&method_once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio) return NULL;
    BIO_set_data(bio, (void *)(intptr_t)descriptor);
    BIO_set_init(bio, 1);
    return bio;
}

static unsigned version_in(const unsigned char *name, unsigned length) {
    static const char prefix[] = "holdfast/";
    const unsigned start = sizeof prefix - 1;
    if (length <= start || length > start + 3 || memcmp(name, prefix, start) != 0) return 0;
    unsigned number = 0;
    for (unsigned i = start; i < length; i++) {
        if (name[i] < '0' || name[i] > '9') return 0;
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

static const char about_certificates[] = "holdfast-certificates/1";

static int is_about_certificates(const unsigned char *name, unsigned length) {
    return length == sizeof about_certificates - 1 && memcmp(name, about_certificates, length) == 0;
}

static int choose_version(SSL *ssl, const unsigned char **chosen, unsigned char *length, const unsigned char *offered,
                          unsigned offered_length, void *highest) {
    (void)ssl;
    unsigned best = 1;
    for (unsigned at = 0; at < offered_length; at += 1 + offered[at]) {
        if (offered[at] > offered_length - at - 1) return SSL_TLSEXT_ERR_NOACK;
        if ((uintptr_t)highest > 1 && is_about_certificates(offered + at + 1, offered[at])) {
            *chosen = offered + at + 1;
            *length = offered[at];
            return SSL_TLSEXT_ERR_OK;
        }
        unsigned version = version_in(offered + at + 1, offered[at]);
        if (version <= best || version > (unsigned)(uintptr_t)highest) continue;
        best = version;
        *chosen = offered + at + 1;
        *length = offered[at];
    }
    return best > 1 ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

int holdfast_speak_up_to(SSL_CTX *context, unsigned highest) {
    char names[1024];
    unsigned length = 0;
    for (unsigned version = highest; version > 1 && length + 16 < sizeof names; version--) {
        int count = snprintf(names + length + 1, 15, "holdfast/%u", version);
        names[length] = (char)count;
        length += 1 + (unsigned)count;
    }
    SSL_CTX_set_alpn_select_cb(context, choose_version, (void *)(uintptr_t)highest);
    return length == 0 || SSL_CTX_set_alpn_protos(context, (const unsigned char *)names, length) == 0;
}

unsigned holdfast_agreed_version(const SSL *ssl) {
    const unsigned char *name = NULL;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl, &name, &length);
    unsigned version = name ? version_in(name, length) : 0;
    return version > 1 ? version : 1;
}

int holdfast_ask_about_certificates(SSL_CTX *context) {
    unsigned char names[sizeof about_certificates];
    names[0] = sizeof about_certificates - 1;
    memcpy(names + 1, about_certificates, sizeof about_certificates - 1);
    return SSL_CTX_set_alpn_protos(context, names, sizeof names) == 0;
}

int holdfast_is_about_certificates(const SSL *ssl) {
    const unsigned char *name = NULL;
    unsigned length = 0;
    SSL_get0_alpn_selected(ssl, &name, &length);
    return name && is_about_certificates(name, length);
}

static int verify_by_fingerprint(X509_STORE_CTX *store, void *fingerprint) {
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
    for (int i = 0; i < sk_X509_num(sent); i++) {
        X509 *candidate = sk_X509_value(sent, i);
        uint8_t digest[EVP_MAX_MD_SIZE];
        unsigned length = 0;
        if (!X509_digest(candidate, EVP_sha256(), digest, &length) || length != 32) continue;
        if (memcmp(digest, fingerprint, 32) != 0 || X509_check_ca(candidate) != 1) continue;
        STACK_OF(X509) *trusted = sk_X509_new_null();
        if (!trusted || !sk_X509_push(trusted, candidate)) {
            sk_X509_free(trusted);
            break;
        }
        X509_STORE_CTX_set0_trusted_stack(store, trusted);
        int verified = X509_verify_cert(store);
        X509_STORE_CTX_set0_trusted_stack(store, NULL);
        sk_X509_free(trusted);
        return verified == 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
    return 0;
}

void holdfast_trust_fingerprint(SSL_CTX *context, const uint8_t *fingerprint) {
    SSL_CTX_set_cert_verify_callback(context, verify_by_fingerprint, (void *)fingerprint);
}

static int copy_string(const ASN1_STRING *string, char *text, int capacity) {
    int length = ASN1_STRING_length(string);
    const unsigned char *bytes = ASN1_STRING_get0_data(string);
    if (length <= 0 || length >= capacity || memchr(bytes, 0, (size_t)length)) return 0;
    memcpy(text, bytes, (size_t)length);
    text[length] = 0;
    return 1;
}

int holdfast_certificate_common_name(X509 *certificate, char *text, int capacity) {
    X509_NAME *name = X509_get_subject_name(certificate);
    int position = name ? X509_NAME_get_index_by_NID(name, NID_commonName, -1) : -1;
    if (position < 0) return 0;
    return copy_string(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, position)), text, capacity);
}

int holdfast_certificate_uri(X509 *certificate, char *text, int capacity) {
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_URI) found = copy_string(name->d.uniformResourceIdentifier, text, capacity);
    }
    GENERAL_NAMES_free(names);
    return found;
}
