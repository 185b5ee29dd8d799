/* The kernel's side of a file system in user space (fuse(4)): its messages are those of linux/fuse.h, and mounting one needs
 * an option text that names a descriptor. Also what a process needs that the kernel waits for when it writes back memory.
 * Functions return 0 or an errno value. */
#ifndef HOLDFAST_CLINUX_FUSE_DEVICE_H
#define HOLDFAST_CLINUX_FUSE_DEVICE_H
#include <linux/fuse.h>
#include <stdint.h>

/* Younger than the headers of some systems; older kernels pass over it. */
#ifndef FOPEN_PARALLEL_DIRECT_WRITES
#define FOPEN_PARALLEL_DIRECT_WRITES (1 << 6)
#endif

/* Mounts a directory as type `fuse.holdfast` and gives the non-blocking descriptor over which the kernel asks. Permissions
 * are the kernel's to check; nothing below the mount is a device or sets a user id. */
int holdfast_fuse_mount(const char *directory, int *descriptor);

/* Keeps every page in memory that this process touches from now on, and those that it has already touched. */
int holdfast_lock_touched_memory(void);
/* Memory that this process asks for is never made free by writing to a disk: the disk may be the one that it serves
 * (prctl(2), PR_SET_IO_FLUSHER). EINVAL before Linux 5.6. */
int holdfast_never_wait_for_writeback(void);
#endif
