/* The lease file: one page, mapped by the daemon (writer), the guard and every volume server (readers), so that the
 * end of the lease reaches them all without a message. Times are nanoseconds of the boot clock.
 *
 *   offset 0   lease end; 0 means no lease. Written last, with release order.
 *   offset 8   incarnation that holds it
 *   offset 16  grace: readers must be dead or closed within this after the end
 *   offset 24  guard heartbeat: the boot clock at the guard's last look; the daemon starts nothing when it is stale
 *   offset 40  since when the guard has been killing what does not die; 0 when nothing is left
 */
#ifndef HOLDFAST_CLINUX_LEASE_FILE_H
#define HOLDFAST_CLINUX_LEASE_FILE_H
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Opens (creating it at mode 0600 when missing) and maps the file. NULL with errno on failure. */
static inline void *holdfast_lease_map(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return 0;
    if (ftruncate(fd, 4096) != 0) { close(fd); return 0; }
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? 0 : page;
}
static inline uint64_t holdfast_lease_load(void *page, int slot) {
    return atomic_load_explicit((_Atomic uint64_t *)page + slot, memory_order_acquire);
}
static inline void holdfast_lease_store(void *page, int slot, uint64_t value) {
    atomic_store_explicit((_Atomic uint64_t *)page + slot, value, memory_order_release);
}
#define HOLDFAST_LEASE_SLOT_END 0
#define HOLDFAST_LEASE_SLOT_INCARNATION 1
#define HOLDFAST_LEASE_SLOT_GRACE 2
#define HOLDFAST_LEASE_SLOT_GUARD 3
#define HOLDFAST_LEASE_SLOT_UNDEAD 5
#endif
