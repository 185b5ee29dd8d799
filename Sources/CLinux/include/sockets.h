#ifndef HOLDFAST_CLINUX_SOCKETS_H
#define HOLDFAST_CLINUX_SOCKETS_H
#include <stdint.h>
/* accept4(2) with SOCK_CLOEXEC, and SOCK_NONBLOCK if asked: -1 with errno on failure. */
int holdfast_accept(int listener, int nonblocking);
/* Bytes a second that the other end lately confirmed while data was under way (tcp(7), TCP_INFO); 0 if unknown. Too low
 * after little was sent, never too high. */
uint64_t holdfast_delivery_rate(int socket);
#endif
