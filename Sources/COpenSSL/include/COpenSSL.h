/* The part of system OpenSSL that Holdfast uses. Function-like macros do not import into Swift, so each that is
 * needed gets a small inline wrapper here, named holdfast_<macro>. */
#ifndef HOLDFAST_COPENSSL_H
#define HOLDFAST_COPENSSL_H
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#endif
