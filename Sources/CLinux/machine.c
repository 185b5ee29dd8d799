#define _GNU_SOURCE
#include "machine.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/types.h>
#include <linux/magic.h>
#include <linux/watchdog.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Of linux/fs.h, which does not go together with sys/mount.h. */
#ifndef BLKGETDISKSEQ
#define BLKGETDISKSEQ _IOR(0x12, 128, __u64)
#endif
#ifndef BLKGETSIZE64
#define BLKGETSIZE64 _IOR(0x12, 114, size_t)
#endif

#ifndef CGROUP2_SUPER_MAGIC
#define CGROUP2_SUPER_MAGIC 0x63677270
#endif

int holdfast_lock_memory(void) { return mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno; }

int holdfast_run_promptly(int above) {
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
    struct sched_param parameters = {.sched_priority = sched_get_priority_min(SCHED_RR) + above};
    return sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameters) == 0 ? 0 : errno;
}

int holdfast_run_ordinarily(void) {
    struct sched_param parameters = {0};
    return sched_setscheduler(0, SCHED_OTHER, &parameters) == 0 ? 0 : errno;
}

int holdfast_is_cgroup2(const char *path) {
    struct statfs info;
    return statfs(path, &info) == 0 && info.f_type == CGROUP2_SUPER_MAGIC;
}

int holdfast_unmount_lazily(const char *path) { return umount2(path, MNT_DETACH) == 0 ? 0 : errno; }

/* A read-only descriptor of the device just configured on `fd`, or a negative errno value. */
static int loop_hold(int fd, const char *path, uint64_t *sequence) {
    __u64 before = 0, after = 0;
    if (ioctl(fd, BLKGETDISKSEQ, &before) != 0) return -errno;
    int held = open(path, O_RDONLY | O_CLOEXEC);
    if (held < 0) return -errno;
    /* The name may lead elsewhere by now, to a device that is not ours to hold. */
    if (ioctl(held, BLKGETDISKSEQ, &after) != 0 || before != after) {
        close(held);
        return -ESTALE;
    }
    *sequence = before;
    return held;
}

int holdfast_loop_attach(const char *file, int *number, uint64_t *sequence) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) return -errno;
    int backing = open(file, O_RDWR | O_CLOEXEC);
    int result = backing < 0 ? -errno : -EBUSY;
    /* Between the question and the answer somebody else may take the device. */
    for (int attempt = 0; attempt < 64 && (result == -EBUSY || result == -EAGAIN); attempt++) {
        if (attempt > 0) usleep(2000);
        char path[32];
        *number = ioctl(control, LOOP_CTL_GET_FREE);
        snprintf(path, sizeof path, "/dev/loop%d", *number);
        int fd = *number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0) {
            result = -errno;
            continue;
        }
        struct loop_config config = {.fd = (__u32)backing, .info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO};
        strncpy((char *)config.info.lo_file_name, file, LO_NAME_SIZE - 1);
        result = ioctl(fd, LOOP_CONFIGURE, &config) == 0 ? loop_hold(fd, path, sequence) : -errno;
        close(fd);
    }
    if (backing >= 0) close(backing);
    close(control);
    return result;
}

int holdfast_loop_detach(const char *path, uint64_t sequence) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    /* While it is open here no other attachment can take its place. */
    __u64 present = 0;
    int error = ioctl(fd, BLKGETDISKSEQ, &present) == 0 ? 0 : errno;
    if (error == 0 && present != sequence) error = ESTALE;
    if (error == 0 && ioctl(fd, LOOP_CLR_FD, 0) != 0) error = errno;
    close(fd);
    return error;
}

int holdfast_loop_take_up_size(const char *path, uint64_t sequence, const char *file, uint64_t *bytes) {
    /* Kernels before 6.16 take the size that they know of the file, without asking its file system: this one asks. */
    struct stat info;
    if (stat(file, &info) != 0) return errno;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return errno;
    __u64 present = 0;
    int error = ioctl(fd, BLKGETDISKSEQ, &present) == 0 ? 0 : errno;
    if (error == 0 && present != sequence) error = ESTALE;
    if (error == 0 && (ioctl(fd, LOOP_SET_CAPACITY, 0) != 0 || ioctl(fd, BLKGETSIZE64, bytes) != 0)) error = errno;
    close(fd);
    return error;
}

int holdfast_block_device(const char *path, unsigned *major_number, unsigned *minor_number) {
    struct stat info;
    if (stat(path, &info) != 0) return errno;
    if (!S_ISBLK(info.st_mode)) return ENOTBLK;
    *major_number = major(info.st_rdev);
    *minor_number = minor(info.st_rdev);
    return 0;
}

int holdfast_enter_network_namespace(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = setns(fd, CLONE_NEWNET) == 0 ? 0 : errno;
    close(fd);
    return error;
}

int holdfast_termination_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int holdfast_take_signal(int descriptor) {
    struct signalfd_siginfo info;
    return read(descriptor, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

int holdfast_watchdog_timeout(int descriptor, int seconds, int *taken) {
    *taken = seconds;
    return ioctl(descriptor, WDIOC_SETTIMEOUT, taken) == 0 ? 0 : errno;
}

int holdfast_space(const char *path, uint64_t *total, uint64_t *available) {
    struct statfs info;
    if (statfs(path, &info) != 0) return errno;
    *total = (uint64_t)info.f_blocks * (uint64_t)info.f_bsize;
    *available = (uint64_t)info.f_bavail * (uint64_t)info.f_bsize;
    return 0;
}
