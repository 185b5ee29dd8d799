/* The lease file: one page, mapped by the daemon (writer), the guard and every volume server (readers), so that the
 * end of the lease reaches them all without a message. Times are nanoseconds of the boot clock.
 *
 *   offset 0   lease end; 0 means no lease. Written last, with release order.
 *   offset 8   incarnation that holds it
 *   offset 16  grace: readers must be dead or closed within this after the end
 *   offset 24  guard heartbeat: the boot clock at the guard's last look; the daemon starts nothing when it is stale
 *   offset 40  since when the guard has been killing what does not die; 0 when nothing is left
 *   offset 32  when the renewal was sent that the lease rests on
 *   offset 48  doubt: the moment at which boot clock and hardware clock were found to have parted; 0 means never. While no
 *              renewal sent after it was answered, the lease counts as none, and is over at the grace after it (rule L20)
 *   offset 56  by how many nanoseconds the hardware clock is ahead of the boot clock, as last agreed; 0 means unknown
 *   offset 64  version of this layout, less one: 0 is version 1. In every version; who does not know it stays away
 */
#ifndef HOLDFAST_CLINUX_LEASE_FILE_H
#define HOLDFAST_CLINUX_LEASE_FILE_H
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOLDFAST_LEASE_VERSION 1
#define HOLDFAST_LEASE_SLOT_VERSION 8
/* Opens (creating it at mode 0600 when missing) and maps the file. NULL with errno on failure; EPROTONOSUPPORT when another
 * release made it in a version that this one does not know: stop what runs here, or reboot, or install that release. */
static inline void *holdfast_lease_map(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return 0;
    if (ftruncate(fd, 4096) != 0) { close(fd); return 0; }
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return 0;
    if (atomic_load((_Atomic uint64_t *)page + HOLDFAST_LEASE_SLOT_VERSION) != HOLDFAST_LEASE_VERSION - 1) {
        munmap(page, 4096);
        errno = EPROTONOSUPPORT;
        return 0;
    }
    return page;
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
#define HOLDFAST_LEASE_SLOT_SENT 4
#define HOLDFAST_LEASE_SLOT_DOUBT 6
#define HOLDFAST_LEASE_SLOT_AHEAD 7
/* Whether the clocks have parted, and no renewal sent since was answered. (Rule L20) */
static inline int holdfast_lease_in_doubt(void *page) {
    uint64_t doubt = holdfast_lease_load(page, HOLDFAST_LEASE_SLOT_DOUBT);
    return doubt != 0 && holdfast_lease_load(page, HOLDFAST_LEASE_SLOT_SENT) <= doubt;
}
/* The end of the lease for whoever answers clients or starts something: none in doubt. (Rules L12, L20) */
static inline uint64_t holdfast_lease_usable_end(void *page) {
    uint64_t end = holdfast_lease_load(page, HOLDFAST_LEASE_SLOT_END);
    return holdfast_lease_in_doubt(page) ? 0 : end;
}
#endif
