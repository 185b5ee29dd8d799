#ifndef HOLDFAST_CLZ4_SHIM_H
#define HOLDFAST_CLZ4_SHIM_H
#include <lz4.h>
#endif
