#define _GNU_SOURCE
#include "blocks.h"
#include <fcntl.h>

int holdfast_zero_range(int fd, int trim, int64_t offset, int64_t length) {
    int mode = FALLOC_FL_KEEP_SIZE | (trim ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    return fallocate(fd, mode, offset, length);
}
