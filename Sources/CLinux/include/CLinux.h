/* Linux calls and constants that Swift cannot import: variadic ioctl and fcntl, macros, and process creation,
 * which must not run Swift code between fork and exec. Each group of functions has its own header and C file. */
#ifndef HOLDFAST_CLINUX_H
#define HOLDFAST_CLINUX_H
#include <stdint.h>
#include "blocks.h"
#include "checksum.h"
#include "clock.h"
#include "fuse_device.h"
#include "lease_file.h"
#include "machine.h"
#include "nbd.h"
#include "network.h"
#include "process.h"
#include "sockets.h"
#include "wait.h"
#endif
