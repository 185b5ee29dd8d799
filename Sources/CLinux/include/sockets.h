#ifndef HOLDFAST_CLINUX_SOCKETS_H
#define HOLDFAST_CLINUX_SOCKETS_H
/* accept4(2) with SOCK_CLOEXEC, and SOCK_NONBLOCK if asked: -1 with errno on failure. */
int holdfast_accept(int listener, int nonblocking);
#endif
