/* heartbeat: a service that does nothing but say when it ran. It appends to a history that the whole laboratory
 * shares, in single writes, one line per event, times in seconds of the boot clock:
 *
 *   NODE PID begin TIME        NODE PID beat TIME        NODE PID end TIME
 *
 * usage: heartbeat HISTORY [MILLISECONDS [headless]]
 *
 * headless: the main thread ends at once and another one goes on, which is legal, and which the kernel shows as a zombie. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static void on_signal(int number) { (void)number; ended = 1; }

static char node[65];
static int history;

static void note(const char *what) {
    struct timespec t;
    char line[160];
    clock_gettime(CLOCK_BOOTTIME, &t);
    int length = snprintf(line, sizeof line, "%s %d %s %lld.%06ld\n", node, (int)getpid(), what, (long long)t.tv_sec,
                          t.tv_nsec / 1000);
    if (write(history, line, (size_t)length) != length) exit(1);
}

static void *beat(void *milliseconds) {
    long period = *(const long *)milliseconds;
    prctl(PR_SET_TIMERSLACK, 1);
    note("begin");
    struct timespec pause = {period / 1000, period % 1000 * 1000000};
    while (!ended) {
        nanosleep(&pause, NULL);
        if (!ended) note("beat");
    }
    note("end");
    exit(0);
}

int main(int count, char **words) {
    if (count < 2) {
        fprintf(stderr, "usage: heartbeat HISTORY [MILLISECONDS [headless]]\n");
        return 2;
    }
    static long period;
    period = count > 2 ? atol(words[2]) : 5;
    gethostname(node, sizeof node - 1);
    history = open(words[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (history < 0) {
        perror(words[1]);
        return 1;
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (count > 3 && strcmp(words[3], "headless") == 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, beat, &period) != 0) return 1;
        pthread_exit(NULL);
    }
    beat(&period);
    return 0;
}
