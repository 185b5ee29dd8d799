/* Zeroing and hole punching (fallocate(2)), which glibc declares only under _GNU_SOURCE. */
#ifndef HOLDFAST_CLINUX_BLOCKS_H
#define HOLDFAST_CLINUX_BLOCKS_H
#include <stddef.h>
#include <stdint.h>
/* Makes a range read as zeroes without changing the file's size; as a hole if trim is not 0. 0, or -1 with errno. */
int holdfast_zero_range(int fd, int trim, int64_t offset, int64_t length);
/* Writes these bytes and makes them, and nothing else, stable. How many were written, or -1 with errno. */
int64_t holdfast_write_durably(int fd, const void *bytes, size_t count, int64_t offset);
#endif
