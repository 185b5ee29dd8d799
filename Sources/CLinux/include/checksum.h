#ifndef HOLDFAST_CLINUX_CHECKSUM_H
#define HOLDFAST_CLINUX_CHECKSUM_H
#include <stddef.h>
#include <stdint.h>
/* 1 if this processor computes CRC-32C itself (x86-64 SSE4.2, ARMv8 CRC). */
int holdfast_has_crc32c(void);
/* CRC-32C of `count` bytes, continuing `seed`. Only where holdfast_has_crc32c() says so. */
uint32_t holdfast_crc32c(const void *bytes, size_t count, uint32_t seed);
#endif
