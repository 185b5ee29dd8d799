#ifndef HOLDFAST_CLINUX_CLOCK_H
#define HOLDFAST_CLINUX_CLOCK_H
#include <fcntl.h>
#include <linux/rtc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
/* Nanoseconds of the boot clock, which counts suspend (clock_gettime(2), CLOCK_BOOTTIME). */
static inline uint64_t holdfast_boot_clock_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}
/* Milliseconds of the wall clock since 1970. For people to read; no decision may rest on it. */
static inline uint64_t holdfast_wall_clock_milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000ull + (uint64_t)(t.tv_nsec / 1000000);
}
/* Opens the clock of the machine's hardware: a device such as /dev/rtc0, or a file that holds seconds. -1 without one. */
static inline int holdfast_rtc_open(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }
/* Whole seconds of that clock, read anew each time; -1 when it does not answer. */
static inline int64_t holdfast_rtc_seconds(int fd) {
    struct rtc_time now;
    if (ioctl(fd, RTC_RD_TIME, &now) == 0) {
        struct tm parts = {.tm_sec = now.tm_sec, .tm_min = now.tm_min, .tm_hour = now.tm_hour, .tm_mday = now.tm_mday,
                           .tm_mon = now.tm_mon, .tm_year = now.tm_year};
        return (int64_t)timegm(&parts);
    }
    char text[32];
    ssize_t count = pread(fd, text, sizeof text - 1, 0);
    if (count <= 0) return -1;
    text[count] = 0;
    long long seconds = atoll(text);
    return seconds > 0 ? (int64_t)seconds : -1;
}
#endif
