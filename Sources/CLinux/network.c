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
#include <netinet/ip6.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
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

struct route_message {
    struct nlmsghdr header;
    struct rtmsg route;
    char attributes[128];
};

static void attribute(struct nlmsghdr *message, int type, const void *data, size_t size) {
    struct rtattr *entry = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));
    entry->rta_type = (unsigned short)type;
    entry->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(entry), data, size);
    message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(RTA_LENGTH(size));
}

static int exchange(struct nlmsghdr *message) {
    int link = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (link < 0) return errno;
    struct timeval patience = {2, 0};
    setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    int error = 0;
    if (sendto(link, message, message->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0) {
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
    attribute(&message.header, IFA_LOCAL, bytes, size);
    attribute(&message.header, IFA_ADDRESS, bytes, size);
    if (type == RTM_NEWADDR && family == AF_INET && prefix < 31) {
        uint32_t address;
        memcpy(&address, bytes, 4);
        uint32_t broadcast = address | htonl(prefix == 0 ? ~0u : (1u << (32 - prefix)) - 1);
        attribute(&message.header, IFA_BROADCAST, &broadcast, 4);
    }
    return exchange(&message.header);
}

static void start_route(struct route_message *message, const uint8_t subnet[4], int prefix, unsigned index) {
    memset(message, 0, sizeof *message);
    message->header.nlmsg_len = NLMSG_LENGTH(sizeof message->route);
    message->header.nlmsg_type = RTM_NEWROUTE;
    message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    message->header.nlmsg_seq = 1;
    message->route.rtm_family = AF_INET;
    message->route.rtm_dst_len = (unsigned char)prefix;
    message->route.rtm_table = RT_TABLE_MAIN;
    message->route.rtm_type = RTN_UNICAST;
    if (prefix > 0) attribute(&message->header, RTA_DST, subnet, 4);
    attribute(&message->header, RTA_OIF, &index, sizeof index);
}

int holdfast_connected_route_add(const char *interface, const uint8_t subnet[4], int prefix, const uint8_t source[4]) {
    unsigned index = if_nametoindex(interface);
    if (index == 0) return ENODEV;
    struct route_message message;
    start_route(&message, subnet, prefix, index);
    message.route.rtm_protocol = RTPROT_KERNEL;
    message.route.rtm_scope = RT_SCOPE_LINK;
    attribute(&message.header, RTA_PREFSRC, source, 4);
    return exchange(&message.header);
}

int holdfast_gateway_route_add(
    const char *interface, const uint8_t subnet[4], int prefix, const uint8_t gateway[4], uint32_t metric) {
    unsigned index = if_nametoindex(interface);
    if (index == 0) return ENODEV;
    struct route_message message;
    start_route(&message, subnet, prefix, index);
    message.route.rtm_protocol = RTPROT_BOOT;
    message.route.rtm_scope = RT_SCOPE_UNIVERSE;
    attribute(&message.header, RTA_GATEWAY, gateway, 4);
    if (metric > 0) attribute(&message.header, RTA_PRIORITY, &metric, sizeof metric);
    return exchange(&message.header);
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

/* Whether some interface of this machine has this hardware address: another one on the same link answers too. */
static int is_own(const uint8_t *mac) {
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) return 0;
    int found = 0;
    for (struct ifaddrs *item = list; item != NULL && !found; item = item->ifa_next) {
        if (item->ifa_addr == NULL || item->ifa_addr->sa_family != AF_PACKET) continue;
        const struct sockaddr_ll *entry = (const struct sockaddr_ll *)item->ifa_addr;
        found = entry->sll_halen == ETH_ALEN && memcmp(entry->sll_addr, mac, ETH_ALEN) == 0;
    }
    freeifaddrs(list);
    return found;
}

struct arp_packet {
    struct arphdr header;
    uint8_t sender_mac[6], sender[4], target_mac[6], target[4];
} __attribute__((packed));

static ssize_t probe4(const uint8_t *mac, const uint8_t *bytes, uint8_t *packet, uint8_t *everyone) {
    struct arp_packet probe;
    memset(&probe, 0, sizeof probe);
    probe.header.ar_hrd = htons(ARPHRD_ETHER);
    probe.header.ar_pro = htons(ETH_P_IP);
    probe.header.ar_hln = ETH_ALEN;
    probe.header.ar_pln = 4;
    probe.header.ar_op = htons(ARPOP_REQUEST);
    memcpy(probe.sender_mac, mac, 6);
    memcpy(probe.target, bytes, 4);
    memcpy(packet, &probe, sizeof probe);
    memset(everyone, 0xff, ETH_ALEN);
    return sizeof probe;
}

static int claims4(const uint8_t *packet, ssize_t size, const uint8_t *bytes, uint8_t other[6]) {
    struct arp_packet answer;
    if (size < (ssize_t)sizeof answer) return 0;
    memcpy(&answer, packet, sizeof answer);
    if (answer.header.ar_pro != htons(ETH_P_IP) || answer.header.ar_hln != ETH_ALEN || answer.header.ar_pln != 4
        || memcmp(answer.sender, bytes, 4) != 0)
        return 0;
    memcpy(other, answer.sender_mac, 6);
    return 1;
}

struct solicitation {
    struct ip6_hdr header;
    struct nd_neighbor_solicit body;
} __attribute__((packed));

static ssize_t probe6(const uint8_t *bytes, uint8_t *packet, uint8_t *everyone) {
    struct solicitation probe;
    memset(&probe, 0, sizeof probe);
    probe.header.ip6_flow = htonl(6u << 28);
    probe.header.ip6_plen = htons(sizeof probe.body);
    probe.header.ip6_nxt = IPPROTO_ICMPV6;
    probe.header.ip6_hlim = 255;
    inet_pton(AF_INET6, "ff02::1:ff00:0", &probe.header.ip6_dst);
    memcpy((uint8_t *)&probe.header.ip6_dst + 13, bytes + 13, 3);
    probe.body.nd_ns_type = ND_NEIGHBOR_SOLICIT;
    memcpy(&probe.body.nd_ns_target, bytes, 16);
    uint32_t sum = IPPROTO_ICMPV6 + sizeof probe.body;
    const uint8_t *parts[3] = {(const uint8_t *)&probe.header.ip6_src, (const uint8_t *)&probe.header.ip6_dst,
                               (const uint8_t *)&probe.body};
    size_t sizes[3] = {16, 16, sizeof probe.body};
    for (int part = 0; part < 3; part++)
        for (size_t n = 0; n + 1 < sizes[part]; n += 2) sum += (uint32_t)parts[part][n] << 8 | parts[part][n + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    probe.body.nd_ns_cksum = htons((uint16_t)~sum);
    memcpy(packet, &probe, sizeof probe);
    everyone[0] = everyone[1] = 0x33;
    memcpy(everyone + 2, (const uint8_t *)&probe.header.ip6_dst + 12, 4);
    return sizeof probe;
}

static int claims6(const uint8_t *packet, ssize_t size, const uint8_t *bytes, const struct sockaddr_ll *from,
                   uint8_t other[6]) {
    struct {
        struct ip6_hdr header;
        struct nd_neighbor_advert body;
    } __attribute__((packed)) answer;
    if (size < (ssize_t)sizeof answer) return 0;
    memcpy(&answer, packet, sizeof answer);
    if (answer.header.ip6_nxt != IPPROTO_ICMPV6 || answer.body.nd_na_type != ND_NEIGHBOR_ADVERT
        || memcmp(&answer.body.nd_na_target, bytes, 16) != 0)
        return 0;
    memcpy(other, from->sll_addr, 6);
    return 1;
}

static int64_t now_milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int holdfast_address_conflict(const char *interface, int family, const uint8_t *bytes, int milliseconds,
                              uint8_t other[6]) {
    struct ifreq request;
    int error = interface_request(interface, SIOCGIFHWADDR, &request);
    if (error != 0) return -error;
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) return -ENOTSUP;
    unsigned short protocol = htons(family == AF_INET ? ETH_P_ARP : ETH_P_IPV6);
    struct sockaddr_ll link_address = {
        .sll_family = AF_PACKET, .sll_protocol = protocol, .sll_ifindex = (int)if_nametoindex(interface),
        .sll_halen = ETH_ALEN};
    int link = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, protocol);
    if (link < 0) return -errno;
    int result = 0;
    uint8_t packet[256];
    if (bind(link, (struct sockaddr *)&link_address, sizeof link_address) != 0) result = -errno;
    const uint8_t *mac = (const uint8_t *)request.ifr_hwaddr.sa_data;
    ssize_t size = family == AF_INET ? probe4(mac, bytes, packet, link_address.sll_addr)
                                     : probe6(bytes, packet, link_address.sll_addr);
    if (result == 0
        && sendto(link, packet, (size_t)size, 0, (struct sockaddr *)&link_address, sizeof link_address) < 0)
        result = -errno;
    int64_t until = now_milliseconds() + milliseconds;
    while (result == 0) {
        int64_t left = until - now_milliseconds();
        if (left <= 0) break;
        struct pollfd waiting = {.fd = link, .events = POLLIN};
        if (poll(&waiting, 1, (int)left) <= 0) continue;
        struct sockaddr_ll from;
        socklen_t length = sizeof from;
        size = recvfrom(link, packet, sizeof packet, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
        if (size < 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
        int claims = family == AF_INET ? claims4(packet, size, bytes, other)
                                       : claims6(packet, size, bytes, &from, other);
        if (claims && !is_own(other)) result = 1;
    }
    close(link);
    return result;
}

int holdfast_address_events(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        close(descriptor);
        return -code;
    }
    return descriptor;
}

int holdfast_address_events_wait(int descriptor) {
    struct pollfd request = {.fd = descriptor, .events = POLLIN};
    while (poll(&request, 1, -1) < 0)
        if (errno != EINTR) return errno;
    char buffer[8192];
    for (;;) {
        if (recv(descriptor, buffer, sizeof buffer, MSG_DONTWAIT) >= 0) continue;
        /* So much was told that some of it is lost: whoever waits looks at everything anyway. */
        if (errno == ENOBUFS || errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : errno;
    }
}
