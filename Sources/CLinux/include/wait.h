/* Waiting for a change with a time limit that no clock adjustment moves. */
#ifndef HOLDFAST_CLINUX_WAIT_H
#define HOLDFAST_CLINUX_WAIT_H
#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds of the monotonic clock, for `holdfast_condition_wait`. */
static inline uint64_t holdfast_monotonic_nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* A mutex whose holder runs with the priority of whoever waits for it. */
static inline void holdfast_mutex_init(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (pthread_mutex_init(mutex, &attributes) != 0) pthread_mutex_init(mutex, 0);
    pthread_mutexattr_destroy(&attributes);
}

/* A condition whose waits end by the monotonic clock. */
static inline void holdfast_condition_init(pthread_cond_t *condition) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Waits until an instant of the monotonic clock: 0, or ETIMEDOUT. */
static inline int holdfast_condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t deadline) {
    struct timespec t = {(time_t)(deadline / 1000000000ull), (long)(deadline % 1000000000ull)};
    return pthread_cond_timedwait(condition, mutex, &t);
}
#endif
