/* The kernel's network block device, driven by generic netlink (linux/nbd-netlink.h), which answers in the first network
 * namespace alone. Functions return 0 or an errno value; ENOENT when this kernel has no nbd, or not loaded. */
#ifndef HOLDFAST_CLINUX_NBD_H
#define HOLDFAST_CLINUX_NBD_H
#include <stdint.h>

/* 1 when it answers here: it is loaded, and this is the first network namespace. */
int holdfast_nbd_present(void);

/* Attaches a free device, `index`, to a socket and gives its other end, over which the kernel asks in the transmission phase of
 * the NBD protocol. Sectors have 512 bytes. `flags` are the protocol's transmission flags. `backend` is what
 * /sys/block/nbdN/backend then says (Linux 5.14), and who wants to change the device must know it. */
int holdfast_nbd_connect(uint64_t bytes, uint64_t flags, const char *backend, unsigned *index, int *end);

/* Has a device take up another size, whoever uses it. */
int holdfast_nbd_resize(unsigned index, uint64_t bytes, const char *backend);

/* Cuts a device off as `nbd-client -d` does, whoever uses it: what waits for an answer fails at once (NBD_CMD_DISCONNECT).
 * Waits at most `milliseconds`. */
int holdfast_nbd_disconnect(unsigned index, int milliseconds);
#endif
