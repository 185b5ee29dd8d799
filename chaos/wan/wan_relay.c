/* wan_relay: carries packets between two TUN or TAP devices as a long line would: late, with jitter, loss, a rate
 * and cuts, all of which change while it runs. For kernels without netem.
 *
 *   wan_relay --left NETNS:DEVICE --right NETNS:DEVICE [--tap] [--control SOCKET] [--set SETTINGS]
 *
 * NETNS is a path (/run/netns/NAME or /proc/PID/ns/net). The devices are made by the relay, brought up, and vanish
 * with it. `ready` on standard output says that both exist. SETTINGS, also accepted as datagrams on SOCKET, are
 * words KEY=OUT[,IN]; OUT is left to right, IN right to left, and one value serves both:
 *
 *   delay=MS  jitter=MS  loss=PERCENT  rate=MBIT(0 none)  queue=KB  cut=none|out|in|both  reorder=0|1  report
 *
 * `report` answers the sender with `DIRECTION forwarded N lost N dropped N bytes N` per direction.
 * Each packet's time is drawn when it arrives: arrival (or the end of its serialization, under a rate) + delay ±
 * jitter, and never earlier than the packet before it, unless reordering is allowed. A rate's queue is bounded in
 * bytes, the line itself in packets; what does not fit is dropped at the tail, as a router does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CAPACITY = 16384, LARGEST = 9216, BATCH = 32, SECOND = 1000000000 };

struct packet {
    uint64_t due, sequence;
    uint32_t length;
    uint8_t *bytes;
};

struct line {
    const char *name;
    int from, to, is_cut, may_reorder;
    double delay, jitter, loss, rate; /* ns, ns, 0...1, bytes per ns */
    double queue_limit;               /* bytes that may wait for the rate */
    uint64_t wire_free, last_due, sequence;
    struct packet *heap;
    uint32_t count;
    uint8_t **spare;
    uint32_t spare_count;
    uint64_t forwarded, lost, dropped, bytes;
};

static struct line lines[2];
static uint64_t random_state;
static volatile sig_atomic_t ended;

static void fail(const char *what) {
    fprintf(stderr, "wan_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* SplitMix64, as a fraction in 0..<1. */
static double chance(void) {
    uint64_t z = (random_state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static int earlier(const struct packet *a, const struct packet *b) {
    return a->due != b->due ? a->due < b->due : a->sequence < b->sequence;
}

static void insert(struct line *l, struct packet p) {
    uint32_t i = l->count++;
    for (; i > 0 && earlier(&p, &l->heap[(i - 1) / 2]); i = (i - 1) / 2) l->heap[i] = l->heap[(i - 1) / 2];
    l->heap[i] = p;
}

static struct packet take_first(struct line *l) {
    struct packet first = l->heap[0], moved = l->heap[--l->count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= l->count) break;
        if (child + 1 < l->count && earlier(&l->heap[child + 1], &l->heap[child])) child++;
        if (!earlier(&l->heap[child], &moved)) break;
        l->heap[i] = l->heap[child];
        i = child;
    }
    l->heap[i] = moved;
    return first;
}

static int deliver_due(struct line *l) {
    uint64_t at = now();
    int moved = 0;
    while (l->count > 0 && l->heap[0].due <= at && moved < BATCH) {
        struct packet p = take_first(l);
        if (l->is_cut) {
            l->lost++;
        } else if (write(l->to, p.bytes, p.length) == (ssize_t)p.length) {
            l->forwarded++;
            l->bytes += p.length;
        } else {
            l->dropped++;
        }
        l->spare[l->spare_count++] = p.bytes;
        moved++;
    }
    return moved;
}

static void admit(struct line *l, uint8_t *bytes, uint32_t length) {
    uint64_t at = now(), start = at;
    if (l->is_cut || (l->loss > 0 && chance() < l->loss)) {
        l->lost++;
        l->spare[l->spare_count++] = bytes;
        return;
    }
    if (l->rate > 0) {
        if (l->wire_free < at) l->wire_free = at;
        if ((double)(l->wire_free - at) * l->rate > l->queue_limit) {
            l->dropped++;
            l->spare[l->spare_count++] = bytes;
            return;
        }
        l->wire_free += (uint64_t)((double)length / l->rate);
        start = l->wire_free;
    }
    double wait = l->delay + (l->jitter > 0 ? (2 * chance() - 1) * l->jitter : 0);
    uint64_t due = start + (wait > 0 ? (uint64_t)wait : 0);
    if (!l->may_reorder && due < l->last_due) due = l->last_due;
    l->last_due = due;
    insert(l, (struct packet){due, l->sequence++, length, bytes});
}

static int accept_waiting(struct line *l) {
    static uint8_t overflow[LARGEST];
    int moved = 0;
    for (; moved < BATCH; moved++) {
        int has_room = l->spare_count > 0;
        uint8_t *bytes = has_room ? l->spare[l->spare_count - 1] : overflow;
        ssize_t length = read(l->from, bytes, LARGEST);
        if (length <= 0) break;
        if (!has_room) {
            l->dropped++;
            continue;
        }
        l->spare_count--;
        admit(l, bytes, (uint32_t)length);
    }
    return moved;
}

static int set_pair(const char *text, double scale, double *out, double *in) {
    char *rest;
    double first = strtod(text, &rest);
    if (rest == text || first < 0) return 0;
    double second = first;
    if (*rest == ',') {
        const char *start = rest + 1;
        second = strtod(start, &rest);
        if (rest == start || second < 0) return 0;
    }
    if (*rest != 0) return 0;
    *out = first * scale;
    *in = second * scale;
    return 1;
}

static int set_one(const char *key, const char *value) {
    struct line *o = &lines[0], *i = &lines[1];
    double a, b;
    if (!strcmp(key, "cut")) {
        int both = !strcmp(value, "both");
        if (!both && strcmp(value, "none") && strcmp(value, "out") && strcmp(value, "in")) return 0;
        o->is_cut = both || !strcmp(value, "out");
        i->is_cut = both || !strcmp(value, "in");
        return 1;
    }
    if (!strcmp(key, "reorder")) {
        if (!set_pair(value, 1, &a, &b)) return 0;
        o->may_reorder = a != 0;
        i->may_reorder = b != 0;
        return 1;
    }
    if (!strcmp(key, "delay")) return set_pair(value, 1e6, &o->delay, &i->delay);
    if (!strcmp(key, "jitter")) return set_pair(value, 1e6, &o->jitter, &i->jitter);
    if (!strcmp(key, "loss")) return set_pair(value, 0.01, &o->loss, &i->loss);
    if (!strcmp(key, "rate")) return set_pair(value, 1.25e-4, &o->rate, &i->rate);
    if (!strcmp(key, "queue")) return set_pair(value, 1024, &o->queue_limit, &i->queue_limit);
    return 0;
}

/* Applies words KEY=VALUE; answers false, with a complaint, at the first that means nothing. */
static int apply(char *text, int *wants_report) {
    char *position = NULL;
    for (char *word = strtok_r(text, " \t\r\n", &position); word; word = strtok_r(NULL, " \t\r\n", &position)) {
        char *equals = strchr(word, '=');
        if (!strcmp(word, "report")) {
            *wants_report = 1;
            continue;
        }
        if (equals) *equals = 0;
        if (!equals || !set_one(word, equals + 1)) {
            fprintf(stderr, "wan_relay: cannot use `%s%s%s`; the keys are in the head of wan_relay.c\n", word,
                    equals ? "=" : "", equals ? equals + 1 : "");
            return 0;
        }
    }
    return 1;
}

static int open_device(const char *place, int flags) {
    char path[256], request_name[64];
    const char *colon = strrchr(place, ':');
    if (!colon || colon - place >= (long)sizeof path || strlen(colon + 1) >= IFNAMSIZ) {
        fprintf(stderr, "wan_relay: `%s` is not NETNS:DEVICE\n", place);
        exit(2);
    }
    snprintf(path, sizeof path, "%.*s", (int)(colon - place), place);
    snprintf(request_name, sizeof request_name, "%s", colon + 1);
    int namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0) fail(path);
    if (setns(namespace, CLONE_NEWNET) != 0) fail("setns");
    close(namespace);
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) fail("/dev/net/tun");
    struct ifreq request = {0};
    memcpy(request.ifr_name, request_name, strlen(request_name));
    request.ifr_flags = (short)(flags | IFF_NO_PI);
    if (ioctl(device, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_qlen = 2000;
    if (ioctl(any, SIOCSIFTXQLEN, &request) != 0) fail("SIOCSIFTXQLEN");
    if (ioctl(any, SIOCGIFFLAGS, &request) != 0) fail("SIOCGIFFLAGS");
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(any, SIOCSIFFLAGS, &request) != 0) fail("SIOCSIFFLAGS");
    close(any);
    return device;
}

static int open_control(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path) {
        fprintf(stderr, "wan_relay: the control path is longer than %zu bytes\n", sizeof name.sun_path - 1);
        exit(2);
    }
    strcpy(name.sun_path, path);
    unlink(path);
    int end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (end < 0 || bind(end, (struct sockaddr *)&name, sizeof name) != 0) fail(path);
    return end;
}

static void obey(int control) {
    char text[512], answer[512];
    struct sockaddr_un sender;
    socklen_t size = sizeof sender;
    ssize_t length = recvfrom(control, text, sizeof text - 1, 0, (struct sockaddr *)&sender, &size);
    if (length < 0) return;
    text[length] = 0;
    int wants_report = 0;
    apply(text, &wants_report);
    if (!wants_report || size <= sizeof(sa_family_t)) return;
    int used = 0;
    for (int k = 0; k < 2; k++) {
        struct line *l = &lines[k];
        used += snprintf(answer + used, sizeof answer - (size_t)used, "%s forwarded %llu lost %llu dropped %llu bytes %llu\n",
                         l->name, (unsigned long long)l->forwarded, (unsigned long long)l->lost,
                         (unsigned long long)l->dropped, (unsigned long long)l->bytes);
    }
    sendto(control, answer, (size_t)used, 0, (struct sockaddr *)&sender, size);
}

static void carry(int control) {
    while (!ended) {
        int moved = 0;
        for (int k = 0; k < 2; k++) moved += deliver_due(&lines[k]) + accept_waiting(&lines[k]);
        struct pollfd waits[3] = {{lines[0].from, POLLIN, 0}, {lines[1].from, POLLIN, 0}, {control, POLLIN, 0}};
        uint64_t next = UINT64_MAX;
        for (int k = 0; k < 2; k++)
            if (lines[k].count > 0 && lines[k].heap[0].due < next) next = lines[k].heap[0].due;
        uint64_t at = now(), wait = moved || next <= at ? 0 : next - at;
        if (wait > SECOND) wait = SECOND;
        struct timespec limit = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
        if (ppoll(waits, control < 0 ? 2 : 3, &limit, NULL) < 0 && errno != EINTR) fail("ppoll");
        if (control >= 0 && (waits[2].revents & POLLIN)) obey(control);
    }
}

static void on_signal(int number) {
    (void)number;
    ended = 1;
}

int main(int count, char **words) {
    const char *left = NULL, *right = NULL, *control_path = NULL;
    char settings[512] = "";
    int flags = IFF_TUN;
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? words[i + 1] : NULL;
        if (!strcmp(words[i], "--tap")) flags = IFF_TAP;
        else if (!strcmp(words[i], "--left") && value) left = words[++i];
        else if (!strcmp(words[i], "--right") && value) right = words[++i];
        else if (!strcmp(words[i], "--control") && value) control_path = words[++i];
        else if (!strcmp(words[i], "--set") && value) snprintf(settings, sizeof settings, "%s", words[++i]);
        else left = NULL, right = NULL, i = count;
    }
    if (!left || !right) {
        fprintf(stderr, "usage: wan_relay --left NETNS:DEVICE --right NETNS:DEVICE [--tap] [--control SOCKET] "
                        "[--set SETTINGS]\n");
        return 2;
    }
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    random_state = (uint64_t)wall.tv_nsec ^ ((uint64_t)getpid() << 32);
    for (int k = 0; k < 2; k++) {
        struct line *l = &lines[k];
        l->name = k == 0 ? "out" : "in";
        l->queue_limit = 1024 * 1024;
        l->heap = malloc(sizeof *l->heap * CAPACITY);
        l->spare = malloc(sizeof *l->spare * CAPACITY);
        uint8_t *pool = malloc((size_t)LARGEST * CAPACITY);
        if (!l->heap || !l->spare || !pool) fail("malloc");
        for (int n = 0; n < CAPACITY; n++) l->spare[l->spare_count++] = pool + (size_t)n * LARGEST;
    }
    int ignored = 0;
    if (!apply(settings, &ignored)) return 2;
    int control = control_path ? open_control(control_path) : -1;
    int a = open_device(left, flags), b = open_device(right, flags);
    lines[0].from = lines[1].to = a;
    lines[1].from = lines[0].to = b;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_TIMERSLACK, 1);
    struct sched_param priority = {.sched_priority = 10};
    sched_setscheduler(0, SCHED_RR, &priority);
    printf("ready\n");
    fflush(stdout);
    carry(control);
    if (control_path) unlink(control_path);
    return 0;
}
