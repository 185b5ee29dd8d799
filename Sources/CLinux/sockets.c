#define _GNU_SOURCE
#include "sockets.h"
#include <sys/socket.h>

int holdfast_accept(int listener, int nonblocking) {
    return accept4(listener, 0, 0, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
}
