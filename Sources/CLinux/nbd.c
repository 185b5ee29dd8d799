#define _GNU_SOURCE
#include "machine.h"
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* A request with one attribute. */
struct request {
    struct nlmsghdr header;
    struct genlmsghdr command;
    char attributes[64];
};

static void begin(struct request *request, unsigned short family, unsigned char command) {
    memset(request, 0, sizeof *request);
    request->header.nlmsg_len = NLMSG_LENGTH(sizeof request->command);
    request->header.nlmsg_type = family;
    request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    request->command.cmd = command;
    request->command.version = 1;
}

static void put(struct request *request, unsigned short type, const void *bytes, unsigned short count) {
    struct nlattr *attribute = (struct nlattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = (unsigned short)(NLA_HDRLEN + count);
    memcpy((char *)attribute + NLA_HDRLEN, bytes, count);
    request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + NLA_ALIGN(attribute->nla_len);
}

/* Sends it and reads up to its acknowledgement. `family` is set from an answer that names one. */
static int ask(int descriptor, struct request *request, unsigned short *family) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(descriptor, request, request->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) return errno;
    for (;;) {
        _Alignas(struct nlmsghdr) char buffer[8192];
        ssize_t count = recv(descriptor, buffer, sizeof buffer, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? ETIMEDOUT : errno;
        for (struct nlmsghdr *header = (struct nlmsghdr *)buffer; NLMSG_OK(header, count); header = NLMSG_NEXT(header, count)) {
            if (header->nlmsg_type == NLMSG_ERROR) return -((struct nlmsgerr *)NLMSG_DATA(header))->error;
            if (family == NULL || header->nlmsg_type != GENL_ID_CTRL) continue;
            char *end = (char *)header + header->nlmsg_len;
            struct nlattr *attribute = (struct nlattr *)((char *)NLMSG_DATA(header) + GENL_HDRLEN);
            while ((char *)attribute + NLA_HDRLEN <= end && attribute->nla_len >= NLA_HDRLEN) {
                if ((attribute->nla_type & NLA_TYPE_MASK) == CTRL_ATTR_FAMILY_ID)
                    memcpy(family, (char *)attribute + NLA_HDRLEN, sizeof *family);
                attribute = (struct nlattr *)((char *)attribute + NLA_ALIGN(attribute->nla_len));
            }
        }
    }
}

int holdfast_nbd_disconnect(unsigned index, int milliseconds) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (descriptor < 0) return errno;
    struct timeval patience = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct request request;
    begin(&request, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    put(&request, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    unsigned short family = 0;
    int error = ask(descriptor, &request, &family);
    if (error == 0 && family == 0) error = ENOENT;
    if (error == 0) {
        begin(&request, family, NBD_CMD_DISCONNECT);
        put(&request, NBD_ATTR_INDEX, &index, sizeof index);
        error = ask(descriptor, &request, NULL);
    }
    close(descriptor);
    return error;
}
