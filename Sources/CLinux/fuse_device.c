#define _GNU_SOURCE
#include "fuse_device.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

int holdfast_fuse_mount(const char *directory, int *descriptor) {
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    char options[160];
    snprintf(options, sizeof options, "fd=%d,rootmode=%o,user_id=%u,group_id=%u,allow_other,default_permissions", fd,
             (unsigned)S_IFDIR, (unsigned)geteuid(), (unsigned)getegid());
    if (mount("holdfast", directory, "fuse.holdfast", MS_NOSUID | MS_NODEV, options) != 0) {
        int error = errno;
        close(fd);
        return error;
    }
    *descriptor = fd;
    return 0;
}

int holdfast_lock_touched_memory(void) {
    return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0 ? 0 : errno;
}

int holdfast_never_wait_for_writeback(void) { return prctl(PR_SET_IO_FLUSHER, 1ul, 0ul, 0ul, 0ul) == 0 ? 0 : errno; }
