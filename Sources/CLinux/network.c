#define _GNU_SOURCE
#include "network.h"
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int prefix_of(const struct sockaddr *mask, int family) {
    if (mask == NULL) return 0;
    const uint8_t *bytes = family == AF_INET ? (const uint8_t *)&((const struct sockaddr_in *)mask)->sin_addr
                                             : (const uint8_t *)&((const struct sockaddr_in6 *)mask)->sin6_addr;
    int bits = 0;
    for (int n = 0; n < (family == AF_INET ? 4 : 16); n++) bits += __builtin_popcount(bytes[n]);
    return bits;
}

int holdfast_addresses(struct holdfast_interface_address *entries, int capacity) {
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) return -1;
    int count = 0;
    for (struct ifaddrs *item = list; item != NULL; item = item->ifa_next) {
        if (item->ifa_addr == NULL) continue;
        int family = item->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        if (count < capacity) {
            struct holdfast_interface_address *entry = &entries[count];
            memset(entry, 0, sizeof *entry);
            entry->family = family;
            entry->prefix = prefix_of(item->ifa_netmask, family);
            entry->up = (item->ifa_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
            if (family == AF_INET) memcpy(entry->bytes, &((struct sockaddr_in *)item->ifa_addr)->sin_addr, 4);
            else memcpy(entry->bytes, &((struct sockaddr_in6 *)item->ifa_addr)->sin6_addr, 16);
            strncpy(entry->interface, item->ifa_name, sizeof entry->interface - 1);
        }
        count++;
    }
    freeifaddrs(list);
    return count;
}

static int interface_request(const char *interface, unsigned long what, struct ifreq *request) {
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (control < 0) return errno;
    memset(request, 0, sizeof *request);
    strncpy(request->ifr_name, interface, sizeof request->ifr_name - 1);
    int error = ioctl(control, what, request) == 0 ? 0 : errno;
    close(control);
    return error;
}

int holdfast_interface_up(const char *interface) {
    struct ifreq request;
    if (interface_request(interface, SIOCGIFFLAGS, &request) != 0) return -1;
    return (request.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

struct address_message {
    struct nlmsghdr header;
    struct ifaddrmsg address;
    char attributes[128];
};

static void attribute(struct address_message *message, int type, const void *data, size_t size) {
    struct rtattr *entry = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));
    entry->rta_type = (unsigned short)type;
    entry->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(entry), data, size);
    message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(RTA_LENGTH(size));
}

static int exchange(struct address_message *message) {
    int link = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (link < 0) return errno;
    struct timeval patience = {2, 0};
    setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int error = 0;
    if (sendto(link, message, message->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
        error = errno;
    } else {
        char buffer[4096] __attribute__((aligned(8)));
        ssize_t count = recv(link, buffer, sizeof buffer, 0);
        struct nlmsghdr *answer = (struct nlmsghdr *)buffer;
        if (count < 0) error = errno;
        else if (!NLMSG_OK(answer, (size_t)count) || answer->nlmsg_type != NLMSG_ERROR) error = EPROTO;
        else error = -((struct nlmsgerr *)NLMSG_DATA(answer))->error;
    }
    close(link);
    return error;
}

static int change(int type, int flags, const char *interface, int family, const uint8_t *bytes, int prefix) {
    unsigned index = if_nametoindex(interface);
    if (index == 0) return ENODEV;
    size_t size = family == AF_INET ? 4 : 16;
    struct address_message message;
    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.address);
    message.header.nlmsg_type = (unsigned short)type;
    message.header.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
    message.header.nlmsg_seq = 1;
    message.address.ifa_family = (unsigned char)family;
    message.address.ifa_prefixlen = (unsigned char)prefix;
    message.address.ifa_flags = type == RTM_NEWADDR && family == AF_INET6 ? IFA_F_NODAD : 0;
    message.address.ifa_index = index;
    attribute(&message, IFA_LOCAL, bytes, size);
    attribute(&message, IFA_ADDRESS, bytes, size);
    if (type == RTM_NEWADDR && family == AF_INET && prefix < 31) {
        uint32_t address;
        memcpy(&address, bytes, 4);
        uint32_t broadcast = address | htonl(prefix == 0 ? ~0u : (1u << (32 - prefix)) - 1);
        attribute(&message, IFA_BROADCAST, &broadcast, 4);
    }
    return exchange(&message);
}

int holdfast_address_add(const char *interface, int family, const uint8_t *bytes, int prefix) {
    return change(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, interface, family, bytes, prefix);
}

int holdfast_address_remove(const char *interface, int family, const uint8_t *bytes, int prefix) {
    return change(RTM_DELADDR, 0, interface, family, bytes, prefix);
}

static int announce4(const char *interface, const uint8_t *mac, const uint8_t *bytes) {
    int link = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_ARP));
    if (link < 0) return errno;
    struct sockaddr_ll everyone = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = (int)if_nametoindex(interface),
        .sll_halen = ETH_ALEN};
    memset(everyone.sll_addr, 0xff, ETH_ALEN);
    struct {
        struct arphdr header;
        uint8_t sender_mac[6], sender[4], target_mac[6], target[4];
    } __attribute__((packed)) packet;
    memset(&packet, 0, sizeof packet);
    packet.header.ar_hrd = htons(ARPHRD_ETHER);
    packet.header.ar_pro = htons(ETH_P_IP);
    packet.header.ar_hln = ETH_ALEN;
    packet.header.ar_pln = 4;
    memcpy(packet.sender_mac, mac, 6);
    memcpy(packet.sender, bytes, 4);
    memcpy(packet.target, bytes, 4);
    int error = 0;
    for (int operation = ARPOP_REQUEST; operation <= ARPOP_REPLY; operation++) {
        packet.header.ar_op = htons((unsigned short)operation);
        if (operation == ARPOP_REPLY) memset(packet.target_mac, 0xff, 6);
        if (sendto(link, &packet, sizeof packet, 0, (struct sockaddr *)&everyone, sizeof everyone) < 0) error = errno;
    }
    close(link);
    return error;
}

static int announce6(const char *interface, const uint8_t *mac, const uint8_t *bytes) {
    int link = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
    if (link < 0) return errno;
    int hops = 255;
    int index = (int)if_nametoindex(interface);
    struct sockaddr_in6 source = {.sin6_family = AF_INET6, .sin6_scope_id = (uint32_t)index};
    memcpy(&source.sin6_addr, bytes, 16);
    struct sockaddr_in6 everyone = {.sin6_family = AF_INET6, .sin6_scope_id = (uint32_t)index};
    inet_pton(AF_INET6, "ff02::1", &everyone.sin6_addr);
    struct {
        struct nd_neighbor_advert advert;
        uint8_t option[8];
    } __attribute__((packed)) packet;
    memset(&packet, 0, sizeof packet);
    packet.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
    packet.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
    memcpy(&packet.advert.nd_na_target, bytes, 16);
    packet.option[0] = ND_OPT_TARGET_LINKADDR;
    packet.option[1] = 1;
    memcpy(packet.option + 2, mac, 6);
    int error = 0;
    if (setsockopt(link, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops) != 0
        || setsockopt(link, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index) != 0
        || bind(link, (struct sockaddr *)&source, sizeof source) != 0
        || sendto(link, &packet, sizeof packet, 0, (struct sockaddr *)&everyone, sizeof everyone) < 0)
        error = errno;
    close(link);
    return error;
}

int holdfast_address_announce(const char *interface, int family, const uint8_t *bytes) {
    struct ifreq request;
    int error = interface_request(interface, SIOCGIFHWADDR, &request);
    if (error != 0) return error;
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return ENOTSUP;
    const uint8_t *mac = (const uint8_t *)request.ifr_hwaddr.sa_data;
    return family == AF_INET ? announce4(interface, mac, bytes) : announce6(interface, mac, bytes);
}

int holdfast_address_flags6(const char *interface, const uint8_t *bytes) {
    FILE *table = fopen("/proc/thread-self/net/if_inet6", "re");
    if (table == NULL) return -1;
    char wanted[33], address[33], name[32];
    for (int n = 0; n < 16; n++) snprintf(wanted + 2 * n, 3, "%02x", bytes[n]);
    unsigned index, prefix, scope, flags;
    int found = -1;
    while (fscanf(table, "%32s %x %x %x %x %31s", address, &index, &prefix, &scope, &flags, name) == 6)
        if (strcmp(address, wanted) == 0 && strcmp(name, interface) == 0) found = (int)flags;
    fclose(table);
    return found;
}
