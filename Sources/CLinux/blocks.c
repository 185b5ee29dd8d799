#define _GNU_SOURCE
#include "blocks.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

int holdfast_zero_range(int fd, int trim, int64_t offset, int64_t length) {
    int mode = FALLOC_FL_KEEP_SIZE | (trim ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    return fallocate(fd, mode, offset, length);
}

int64_t holdfast_write_durably(int fd, const void *bytes, size_t count, int64_t offset) {
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    ssize_t done = pwritev2(fd, &part, 1, offset, RWF_DSYNC);
    if (done >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return done;
    done = pwrite(fd, bytes, count, offset);
    return done < 0 || fdatasync(fd) == 0 ? done : -1;
}
