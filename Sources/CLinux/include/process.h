/* Processes: starting them without running Swift between fork and exec, watching them by pidfd, and asking who is at
 * the other end of a Unix socket. Functions return 0 or an errno value unless they say otherwise. */
#ifndef HOLDFAST_CLINUX_PROCESS_H
#define HOLDFAST_CLINUX_PROCESS_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct holdfast_spawn_request {
    const char *path;          /* what to execute, an absolute path */
    char *const *arguments;    /* NULL at the end */
    char *const *environment;  /* NULL at the end */
    const char *directory;     /* NULL means / */
    int change_user;           /* 0 keeps the caller's user, group and groups */
    uid_t user;
    gid_t group;
    const gid_t *groups;
    size_t group_count;
    int input, output, error;  /* -1 means /dev/null */
    int cgroup;                /* the directory of a cgroup (v2), or -1 */
};

/* Where a spawn failed, for the message. */
#define HOLDFAST_SPAWN_FORK 1
#define HOLDFAST_SPAWN_CGROUP 2
#define HOLDFAST_SPAWN_FILES 3
#define HOLDFAST_SPAWN_USER 4
#define HOLDFAST_SPAWN_DIRECTORY 5
#define HOLDFAST_SPAWN_EXECUTE 6

/* Starts a process in a session of its own, with default signal handling, ordinary scheduling, no inherited
 * descriptor beyond 0, 1 and 2, and no tie to the caller's life. It is in its cgroup before it runs an instruction of
 * its own program. `pidfd` is close-on-exec and belongs to the caller. On failure `stage` says where. */
int holdfast_spawn(const struct holdfast_spawn_request *request, pid_t *pid, int *pidfd, int *stage);

/* A descriptor that becomes readable when the process ends. -1 with errno on failure. */
int holdfast_pidfd_open(pid_t pid);
int holdfast_pidfd_signal(int pidfd, int signal);
/* Takes the end of a child without blocking: `ended` 0 while it runs; then `code` is the exit code, or the signal
 * when `killed` is 1. ECHILD when it is not a child of ours. */
int holdfast_pidfd_reap(int pidfd, int *ended, int *killed, int *code);

/* A pipe whose ends are close-on-exec: the reading end first. */
int holdfast_pipe(int *ends, int nonblocking);

/* The user's ids, home directory and at most `capacity` groups. ENOENT when there is no such user. */
int holdfast_user_lookup(const char *name, uid_t *user, gid_t *group, gid_t *groups, int capacity, int *count,
                         char *home, int home_capacity);

/* Names the calling thread, as `ps -L` shows it: the first 15 bytes. */
void holdfast_name_thread(const char *name);

/* The soft limit of file descriptors of this process; UINT64_MAX when it cannot be told. */
uint64_t holdfast_descriptor_limit(void);
/* Raises the soft limit to the hard one. What is spawned afterwards gets back the limit that was: programs that use
 * select(2) must not be given descriptors beyond 1024 that they did not ask for. */
void holdfast_raise_descriptor_limit(void);

/* Who connected (SO_PEERCRED). */
int holdfast_peer_credentials(int socket, pid_t *pid, uid_t *user, gid_t *group);
#endif
