#ifndef HOLDFAST_CLINUX_CLOCK_H
#define HOLDFAST_CLINUX_CLOCK_H
#include <stdint.h>
#include <time.h>
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
#endif
