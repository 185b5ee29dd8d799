/* guest_shell: runs what the rig sends over the virtio port `holdfast.shell`, several scripts at a time.
 *
 * From the rig:  "ID LENGTH\n" and so many bytes of a bash script; "ID kill\n" ends that script.
 * To the rig:    "0 hello BOOT-ID\n" when this program starts (again);
 *                "ID out LENGTH\n" and so many bytes of output; "ID end STATUS\n", as a shell counts statuses.
 * A script has ended when nobody holds its output any more: what it leaves behind writes elsewhere.
 *
 * A line of the rig that cannot be read ends this program: systemd starts it anew, and the rig hears another hello. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 16, LONGEST = 1 << 20 };

static struct script { long id; pid_t pid; int output; } scripts[MOST];
static int port;

static void send_all(const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = write(port, bytes, count);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EPIPE || errno == ENODEV)) { usleep(20000); continue; }
        if (sent < 0) { perror("port"); exit(1); }
        bytes += sent;
        count -= (size_t)sent;
    }
}

/* The device of the port with that name; udev's links may not be there yet. */
static int open_port(const char *wanted) {
    DIR *ports = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    while (ports && (entry = readdir(ports))) {
        char path[512], name[128] = "";
        snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        if (fscanf(file, "%127s", name) == 1 && strcmp(name, wanted) == 0) {
            fclose(file);
            snprintf(path, sizeof path, "/dev/%s", entry->d_name);
            closedir(ports);
            return open(path, O_RDWR | O_CLOEXEC);
        }
        fclose(file);
    }
    if (ports) closedir(ports);
    errno = ENOENT;
    return -1;
}

static void say_hello(void) {
    char boot[64] = "unknown", line[128];
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    if (file && fscanf(file, "%63s", boot) != 1) strcpy(boot, "unknown");
    if (file) fclose(file);
    send_all(line, (size_t)snprintf(line, sizeof line, "0 hello %s\n", boot));
}

/* One byte of the rig; while nobody is connected at the other end there is none. */
static char take(void) {
    char byte;
    for (;;) {
        ssize_t got = read(port, &byte, 1);
        if (got == 1) return byte;
        if (got < 0 && errno != EINTR && errno != EAGAIN) { perror("port"); exit(1); }
        usleep(20000);
    }
}

static void begin(struct script *slot, long id, const char *text) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) { perror("pipe"); exit(1); }
    pid_t pid = fork();
    if (pid < 0) { perror("fork"); exit(1); }
    if (pid == 0) {
        setsid();
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execl("/bin/bash", "bash", "-c", text, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *slot = (struct script){id, pid, ends[0]};
}

static void end(struct script *slot) {
    char line[64];
    int status = 0;
    waitpid(slot->pid, &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    send_all(line, (size_t)snprintf(line, sizeof line, "%ld end %d\n", slot->id, code));
    close(slot->output);
    slot->pid = 0;
}

static void obey(void) {
    char line[64], word[8];
    size_t length = 0;
    while (length < sizeof line - 1 && (line[length] = take()) != '\n') length++;
    line[length] = 0;
    long id, size;
    if (sscanf(line, "%ld %ld", &id, &size) == 2 && size >= 0 && size <= LONGEST) {
        char *text = malloc((size_t)size + 1);
        if (!text) exit(1);
        for (long at = 0; at < size; at++) text[at] = take();
        text[size] = 0;
        struct script *slot = scripts;
        while (slot < scripts + MOST && slot->pid) slot++;
        if (slot == scripts + MOST) {
            const char *why = "too many scripts at once\n";
            char answer[128];
            send_all(answer, (size_t)snprintf(answer, sizeof answer, "%ld out %zu\n%s%ld end 125\n", id, strlen(why), why, id));
        } else {
            begin(slot, id, text);
        }
        free(text);
    } else if (sscanf(line, "%ld %7s", &id, word) == 2 && strcmp(word, "kill") == 0) {
        for (struct script *slot = scripts; slot < scripts + MOST; slot++)
            if (slot->pid && slot->id == id) kill(-slot->pid, SIGKILL);
    } else {
        fprintf(stderr, "unknown line from the rig: %s\n", line);
        exit(1);
    }
}

int main(void) {
    static char output[65536];
    signal(SIGPIPE, SIG_IGN);
    port = open_port("holdfast.shell");
    if (port < 0) { perror("holdfast.shell"); return 1; }
    say_hello();
    for (;;) {
        struct pollfd waits[MOST + 1] = {{port, POLLIN, 0}};
        struct script *whose[MOST + 1];
        nfds_t count = 1;
        for (struct script *slot = scripts; slot < scripts + MOST; slot++)
            if (slot->pid) { whose[count] = slot; waits[count++] = (struct pollfd){slot->output, POLLIN, 0}; }
        if (poll(waits, count, -1) < 0 && errno != EINTR) { perror("poll"); return 1; }
        for (nfds_t at = 1; at < count; at++) {
            if (!(waits[at].revents & (POLLIN | POLLHUP))) continue;
            ssize_t got = read(whose[at]->output, output, sizeof output);
            if (got > 0) {
                char line[64];
                send_all(line, (size_t)snprintf(line, sizeof line, "%ld out %zd\n", whose[at]->id, got));
                send_all(output, (size_t)got);
            } else {
                end(whose[at]);
            }
        }
        if (waits[0].revents & POLLIN) obey();
        else if (waits[0].revents & (POLLHUP | POLLERR)) usleep(100000);  /* nobody is connected */
    }
}
