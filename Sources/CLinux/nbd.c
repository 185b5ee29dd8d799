#define _GNU_SOURCE
#include "nbd.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* Headers before Linux 5.14 do not have it; such kernels pass over it. */
enum { BACKEND_IDENTIFIER = 10 };

/* A request with its attributes. */
struct request {
    struct nlmsghdr header;
    struct genlmsghdr command;
    char attributes[4096];
};

/* An attribute of 32 bits that an answer of some type should bring. */
struct wanted {
    unsigned short message, attribute;
    unsigned value;
    int found;
};

static void begin(struct request *request, unsigned short family, unsigned char command) {
    memset(request, 0, sizeof *request);
    request->header.nlmsg_len = NLMSG_LENGTH(sizeof request->command);
    request->header.nlmsg_type = family;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request->command.cmd = command;
    request->command.version = 1;
}

static void put(struct request *request, unsigned short type, const void *bytes, size_t count) {
    struct nlattr *attribute = (struct nlattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = (unsigned short)(NLA_HDRLEN + count);
    memcpy((char *)attribute + NLA_HDRLEN, bytes, count);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

static void put64(struct request *request, unsigned short type, uint64_t value) { put(request, type, &value, sizeof value); }

/* A list of one socket: an attribute in an item in the list. */
static void put_socket(struct request *request, int descriptor) {
    struct {
        struct nlattr item, descriptor;
        unsigned value;
    } list = {{.nla_len = sizeof list, .nla_type = NLA_F_NESTED | NBD_SOCK_ITEM},
              {.nla_len = NLA_HDRLEN + sizeof(unsigned), .nla_type = NBD_SOCK_FD},
              (unsigned)descriptor};
    put(request, NLA_F_NESTED | NBD_ATTR_SOCKETS, &list, sizeof list);
}

static void look_into(const struct nlmsghdr *header, struct wanted *wanted) {
    const char *end = (const char *)header + header->nlmsg_len;
    const struct nlattr *attribute = (const struct nlattr *)((const char *)NLMSG_DATA(header) + GENL_HDRLEN);
    while ((const char *)attribute + NLA_HDRLEN <= end && attribute->nla_len >= NLA_HDRLEN) {
        size_t count = attribute->nla_len - NLA_HDRLEN;
        if ((attribute->nla_type & NLA_TYPE_MASK) == wanted->attribute && count <= sizeof wanted->value) {
            wanted->value = 0;
            memcpy(&wanted->value, (const char *)attribute + NLA_HDRLEN, count);
            wanted->found = 1;
        }
        attribute = (const struct nlattr *)((const char *)attribute + NLA_ALIGN(attribute->nla_len));
    }
}

/* Sends it and reads up to its acknowledgement. */
static int ask(int descriptor, struct request *request, struct wanted *wanted) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(descriptor, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) return errno;
    for (;;) {
        _Alignas(struct nlmsghdr) char buffer[8192];
        ssize_t count = recv(descriptor, buffer, sizeof buffer, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? ETIMEDOUT : errno;
        for (struct nlmsghdr *header = (struct nlmsghdr *)buffer; NLMSG_OK(header, count); header = NLMSG_NEXT(header, count)) {
            if (header->nlmsg_type == NLMSG_ERROR) return -((struct nlmsgerr *)NLMSG_DATA(header))->error;
            if (wanted != NULL && header->nlmsg_type == wanted->message) look_into(header, wanted);
        }
    }
}

/* A descriptor for requests to the kernel's nbd, and the number of their family; or a negative errno value. */
static int nbd_family(int milliseconds, unsigned short *family) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (descriptor < 0) return -errno;
    struct timeval patience = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct request request;
    struct wanted wanted = {.message = GENL_ID_CTRL, .attribute = CTRL_ATTR_FAMILY_ID};
    begin(&request, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    put(&request, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    int error = ask(descriptor, &request, &wanted);
    if (error == 0 && !wanted.found) error = ENOENT;
    if (error == 0) {
        *family = (unsigned short)wanted.value;
        return descriptor;
    }
    close(descriptor);
    return -error;
}

int holdfast_nbd_present(void) {
    unsigned short family = 0;
    int descriptor = nbd_family(1000, &family);
    if (descriptor >= 0) close(descriptor);
    return descriptor >= 0;
}

int holdfast_nbd_connect(uint64_t bytes, uint64_t flags, const char *backend, unsigned *index, int *end) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    int room = 4 << 20;
    for (int i = 0; i < 2; i++) setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    unsigned short family = 0;
    int descriptor = nbd_family(5000, &family);
    int error = descriptor < 0 ? -descriptor : 0;
    if (error == 0) {
        struct request request;
        struct wanted wanted = {.message = family, .attribute = NBD_ATTR_INDEX};
        begin(&request, family, NBD_CMD_CONNECT);
        put64(&request, NBD_ATTR_SIZE_BYTES, bytes);
        put64(&request, NBD_ATTR_BLOCK_SIZE_BYTES, 512);
        /* No request fails because it takes long, and none waits for another socket once this one is gone. */
        put64(&request, NBD_ATTR_TIMEOUT, 0);
        put64(&request, NBD_ATTR_DEAD_CONN_TIMEOUT, 0);
        put64(&request, NBD_ATTR_SERVER_FLAGS, flags);
        put64(&request, NBD_ATTR_CLIENT_FLAGS, 0);
        put_socket(&request, pair[1]);
        put(&request, BACKEND_IDENTIFIER, backend, strlen(backend) + 1);
        error = ask(descriptor, &request, &wanted);
        if (error == 0 && !wanted.found) error = EPROTO;
        *index = wanted.value;
        close(descriptor);
    }
    close(pair[1]);
    if (error != 0) close(pair[0]);
    *end = error == 0 ? pair[0] : -1;
    return error;
}

int holdfast_nbd_resize(unsigned index, uint64_t bytes, const char *backend) {
    unsigned short family = 0;
    int descriptor = nbd_family(5000, &family);
    if (descriptor < 0) return -descriptor;
    struct request request;
    begin(&request, family, NBD_CMD_RECONFIGURE);
    put(&request, NBD_ATTR_INDEX, &index, sizeof index);
    put64(&request, NBD_ATTR_SIZE_BYTES, bytes);
    put(&request, BACKEND_IDENTIFIER, backend, strlen(backend) + 1);
    int error = ask(descriptor, &request, NULL);
    close(descriptor);
    return error;
}

int holdfast_nbd_disconnect(unsigned index, int milliseconds) {
    unsigned short family = 0;
    int descriptor = nbd_family(milliseconds, &family);
    if (descriptor < 0) return -descriptor;
    struct request request;
    begin(&request, family, NBD_CMD_DISCONNECT);
    put(&request, NBD_ATTR_INDEX, &index, sizeof index);
    int error = ask(descriptor, &request, NULL);
    close(descriptor);
    return error;
}
