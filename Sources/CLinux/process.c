#define _GNU_SOURCE
#include "process.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

static struct rlimit former_limit;
static int limit_was_raised;

void holdfast_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0ul, 0ul, 0ul); }

uint64_t holdfast_descriptor_limit(void) {
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (uint64_t)limit.rlim_cur : UINT64_MAX;
}

void holdfast_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (limit_was_raised || getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    former_limit = limit;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0) limit_was_raised = 1;
}

/* Only system calls from here on: other threads may have held locks of the C library at the moment of the fork. */
static void report(int fd, int stage, int error) {
    int message[2] = {stage, error};
    ssize_t ignored = write(fd, message, sizeof message);
    (void)ignored;
    _exit(127);
}

static void child(const struct holdfast_spawn_request *request, int join, int report_fd) {
    int moved = fcntl(report_fd, F_DUPFD_CLOEXEC, 10);
    if (moved < 0) report(report_fd, HOLDFAST_SPAWN_FILES, errno);
    report_fd = moved;
    int alive[2] = {0, 0};
    if (write(report_fd, alive, sizeof alive) != sizeof alive) _exit(127);
    if (join) {
        int procs = openat(request->cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (procs < 0 || write(procs, "0", 1) != 1) report(report_fd, HOLDFAST_SPAWN_CGROUP, errno);
    }
    int fds[3] = {request->input, request->output, request->error};
    for (int n = 0; n < 3; n++) {
        int from = fds[n] >= 0 ? fds[n] : open("/dev/null", n == 0 ? O_RDONLY : O_WRONLY);
        if (from < 0) report(report_fd, HOLDFAST_SPAWN_FILES, errno);
        fds[n] = fcntl(from, F_DUPFD_CLOEXEC, 10);
        if (fds[n] < 0) report(report_fd, HOLDFAST_SPAWN_FILES, errno);
    }
    for (int n = 0; n < 3; n++)
        if (dup2(fds[n], n) < 0) report(report_fd, HOLDFAST_SPAWN_FILES, errno);
    if (dup3(report_fd, 3, O_CLOEXEC) < 0) report(report_fd, HOLDFAST_SPAWN_FILES, errno);
    report_fd = 3;
    if (syscall(SYS_close_range, 4u, ~0u, 0u) != 0)
        for (int fd = 4; fd < 65536; fd++) close(fd);
    if (limit_was_raised) setrlimit(RLIMIT_NOFILE, &former_limit);
    setsid();
    umask(022);
    struct sched_param ordinary = {0};
    sched_setscheduler(0, SCHED_OTHER, &ordinary);
    int adjust = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (adjust >= 0) {
        ssize_t ignored = write(adjust, "0", 1);
        (void)ignored;
        close(adjust);
    }
    if (request->change_user) {
        if (syscall(SYS_setgroups, request->group_count, request->groups) != 0
            || syscall(SYS_setresgid, request->group, request->group, request->group) != 0
            || syscall(SYS_setresuid, request->user, request->user, request->user) != 0)
            report(report_fd, HOLDFAST_SPAWN_USER, errno);
    }
    if (chdir(request->directory ? request->directory : "/") != 0)
        report(report_fd, HOLDFAST_SPAWN_DIRECTORY, errno);
    struct sigaction standard;
    memset(&standard, 0, sizeof standard);
    standard.sa_handler = SIG_DFL;
    for (int signal = 1; signal < 65; signal++) sigaction(signal, &standard, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(request->path, request->arguments, request->environment);
    report(report_fd, HOLDFAST_SPAWN_EXECUTE, errno);
}

/* A fork without the C library's handlers; into the cgroup in the same step where `atomically` and the kernel can. */
static long fork_into(int cgroup, int atomically, int *pidfd, int *join) {
    struct clone_args arguments;
    memset(&arguments, 0, sizeof arguments);
    arguments.flags = CLONE_PIDFD;
    arguments.pidfd = (uint64_t)(uintptr_t)pidfd;
    arguments.exit_signal = SIGCHLD;
    *join = cgroup >= 0;
    if (cgroup >= 0 && atomically) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup;
        *join = 0;
    }
    long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
    if (pid >= 0 || errno == EAGAIN || errno == ENOMEM) return pid;
    *join = cgroup >= 0;
    *pidfd = -1;
    return syscall(SYS_clone, (unsigned long)SIGCHLD, 0, 0, 0, 0);
}

static ssize_t take(int fd, int message[2]) {
    ssize_t count;
    do count = read(fd, message, 2 * sizeof(int));
    while (count < 0 && errno == EINTR);
    return count;
}

/* One attempt. ECHILD when the child was killed before its first instruction. */
static int attempt(const struct holdfast_spawn_request *request, int atomically, pid_t *pid, int *pidfd, int *stage) {
    int pipes[2];
    *pid = -1;
    *pidfd = -1;
    *stage = HOLDFAST_SPAWN_FORK;
    if (pipe2(pipes, O_CLOEXEC) != 0) return errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int join = 0;
    long started = fork_into(request->cgroup, atomically, pidfd, &join);
    int error = started < 0 ? errno : 0;
    if (started == 0) child(request, join, pipes[1]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(pipes[1]);
    if (error == 0) {
        int message[2] = {0, 0};
        if (take(pipes[0], message) != sizeof message) {
            error = ECHILD;
        } else if (take(pipes[0], message) == sizeof message) {
            *stage = message[0];
            error = message[1];
        } else if (*pidfd < 0 && (*pidfd = holdfast_pidfd_open((pid_t)started)) < 0) {
            error = errno;
        }
        if (error != 0) {
            kill((pid_t)started, SIGKILL);
            while (waitpid((pid_t)started, NULL, 0) < 0 && errno == EINTR) {}
        }
    }
    close(pipes[0]);
    if (error != 0 && *pidfd >= 0) close(*pidfd);
    if (error != 0) *pidfd = -1;
    else *pid = (pid_t)started;
    return error;
}

int holdfast_spawn(const struct holdfast_spawn_request *request, pid_t *pid, int *pidfd, int *stage) {
    int error = attempt(request, 1, pid, pidfd, stage);
    /* Linux 6.18 kills what is cloned into a cgroup that was killed before; joining it works there too. */
    if (error == ECHILD && request->cgroup >= 0) error = attempt(request, 0, pid, pidfd, stage);
    return error;
}

int holdfast_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int holdfast_pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0 ? 0 : errno;
}

int holdfast_pidfd_reap(int pidfd, int *ended, int *killed, int *code) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    *ended = 0;
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG) != 0) return errno;
    if (info.si_pid == 0) return 0;
    *ended = 1;
    *killed = info.si_code != CLD_EXITED;
    *code = info.si_status;
    return 0;
}

int holdfast_pipe(int *ends, int nonblocking) {
    return pipe2(ends, O_CLOEXEC | (nonblocking ? O_NONBLOCK : 0)) == 0 ? 0 : errno;
}

int holdfast_user_lookup(const char *name, uid_t *user, gid_t *group, gid_t *groups, int capacity, int *count,
                         char *home, int home_capacity) {
    struct passwd entry, *found = NULL;
    char buffer[16384];
    int error = getpwnam_r(name, &entry, buffer, sizeof buffer, &found);
    if (error != 0) return error;
    if (found == NULL) return ENOENT;
    *user = entry.pw_uid;
    *group = entry.pw_gid;
    strncpy(home, entry.pw_dir, (size_t)home_capacity - 1);
    home[home_capacity - 1] = 0;
    *count = capacity;
    return getgrouplist(name, entry.pw_gid, groups, count) < 0 ? E2BIG : 0;
}

int holdfast_peer_credentials(int socket, pid_t *pid, uid_t *user, gid_t *group) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return errno;
    *pid = peer.pid;
    *user = peer.uid;
    *group = peer.gid;
    return 0;
}
