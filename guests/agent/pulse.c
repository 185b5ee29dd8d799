/* pulse: a service that does nothing but say that it runs. Each word goes as a datagram to the rig, whose clock alone
 * counts: a guest that is paused, or taken back to an earlier state, has a wrong one.
 *
 * usage: pulse HOST PORT [MILLISECONDS]      sends "NODE PID begin NUMBER", then beat, then end */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t ended;
static void on_signal(int number) { (void)number; ended = 1; }

int main(int count, char **words) {
    if (count < 3) {
        fprintf(stderr, "usage: pulse HOST PORT [MILLISECONDS]\n");
        return 2;
    }
    long period = count > 3 ? atol(words[3]) : 20, number = 0;
    struct sockaddr_in rig = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(words[2]))};
    if (inet_pton(AF_INET, words[1], &rig.sin_addr) != 1) {
        fprintf(stderr, "%s is no address\n", words[1]);
        return 2;
    }
    int out = socket(AF_INET, SOCK_DGRAM, 0);
    char node[65] = "", line[160];
    gethostname(node, sizeof node - 1);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1);
    struct timespec pause = {period / 1000, period % 1000 * 1000000};
    for (const char *what = "begin";; what = ended ? "end" : "beat") {
        int length = snprintf(line, sizeof line, "%s %d %s %ld\n", node, (int)getpid(), what, number++);
        /* A network that is down must not end the service: then it is only not heard. */
        (void)!sendto(out, line, (size_t)length, 0, (struct sockaddr *)&rig, sizeof rig);
        if (strcmp(what, "end") == 0) return 0;
        nanosleep(&pause, NULL);
    }
}
