/* Calls about the machine and about this process's place in it. Functions return 0 or an errno value unless they say
 * otherwise. */
#ifndef HOLDFAST_CLINUX_MACHINE_H
#define HOLDFAST_CLINUX_MACHINE_H
#include <stdint.h>

/* Keeps every page of this process in memory, present and future. */
int holdfast_lock_memory(void);
/* The calling thread: real-time round-robin, so much above the lowest priority, not inherited by children, and timers
 * without slack. */
int holdfast_run_promptly(int above);
/* The calling thread: as every other again. */
int holdfast_run_ordinarily(void);
/* 1 when the path lies on a cgroup2 file system. */
int holdfast_is_cgroup2(const char *path);
/* Detaches a mount at once, whoever uses it (umount2, MNT_DETACH). EINVAL when nothing is mounted there. */
int holdfast_unmount_lazily(const char *path);
/* Attaches a free loop device to a file, past the page cache where the file can do that; it detaches itself at its last
 * close (LO_FLAGS_AUTOCLEAR). Returns a read-only descriptor of it that the caller closes, or a negative errno value: ENOTTY
 * before Linux 5.15. `sequence` is the disk sequence number of the attachment, which no other gets until the next boot. */
int holdfast_loop_attach(const char *file, int *number, uint64_t *sequence);
/* Detaches a loop device, at once or, while it is in use, at its last close (LOOP_CLR_FD). ENXIO when nothing is attached,
 * ESTALE when it is another attachment than `sequence`, which is left alone. */
int holdfast_loop_detach(const char *path, uint64_t sequence);
/* Has a loop device take up the present size of its file, and says how large the device is then. ESTALE as above. */
int holdfast_loop_take_up_size(const char *path, uint64_t sequence, const char *file, uint64_t *bytes);
/* Moves the calling thread into a network namespace, `/run/netns/NAME`. */
int holdfast_enter_network_namespace(const char *path);
/* Blocks SIGTERM, SIGINT and SIGHUP in this thread and returns a descriptor that reports them, or -1 with errno. */
int holdfast_termination_signals(void);
/* Takes one reported signal; 0 when there is none. */
int holdfast_take_signal(int descriptor);
/* Watchdog devices: sets the timeout (the device may round it, and says what it took). */
int holdfast_watchdog_timeout(int descriptor, int seconds, int *taken);
/* `MAJOR` and `MINOR` of a block device; ENOTBLK when the path is not one. */
int holdfast_block_device(const char *path, unsigned *major_number, unsigned *minor_number);
/* The total and free bytes of the file system at a path. */
int holdfast_space(const char *path, uint64_t *total, uint64_t *available);
#endif
