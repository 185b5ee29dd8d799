/* Addresses of network interfaces, and telling the neighbours that one has moved here. Functions return 0 or an errno
 * value unless they say otherwise. */
#ifndef HOLDFAST_CLINUX_NETWORK_H
#define HOLDFAST_CLINUX_NETWORK_H
#include <stdint.h>

struct holdfast_interface_address {
    int family;           /* AF_INET or AF_INET6 */
    int prefix;           /* length in bits */
    uint8_t bytes[16];    /* network order; the first 4 for IPv4 */
    int up;               /* the interface is up and has a carrier */
    char interface[16];
};

/* Fills at most `capacity` entries and returns how many there are, or -1 with errno. */
int holdfast_addresses(struct holdfast_interface_address *entries, int capacity);
/* 1 when the interface exists, is up and has a carrier; 0 when not; -1 when there is none of this name. */
int holdfast_interface_up(const char *interface);
/* Adds an address (rtnetlink); EEXIST when it is there. IPv6 skips duplicate address detection: the old owner may not
 * answer for it, and waiting a second would cost more than it finds. */
int holdfast_address_add(const char *interface, int family, const uint8_t *bytes, int prefix);
/* Removes an address; EADDRNOTAVAIL when it is not there, ENODEV when the interface is not. */
int holdfast_address_remove(const char *interface, int family, const uint8_t *bytes, int prefix);
/* Adds the route to an interface's own IPv4 subnet that the kernel makes of an address, with that address as its preferred
 * source. EEXIST when there is such a route. */
int holdfast_connected_route_add(const char *interface, const uint8_t subnet[4], int prefix, const uint8_t source[4]);
/* Adds an IPv4 route through a gateway that the interface reaches; a prefix of 0 is the default route. EEXIST when there is
 * such a route of this metric. */
int holdfast_gateway_route_add(
    const char *interface, const uint8_t subnet[4], int prefix, const uint8_t gateway[4], uint32_t metric);
/* Broadcasts a gratuitous ARP request and reply (RFC 5227 §3), or an unsolicited neighbour advertisement with the
 * override flag (RFC 4861 §7.2.6). ENOTSUP on interfaces without hardware addresses. */
int holdfast_address_announce(const char *interface, int family, const uint8_t *bytes);
/* A socket that tells of addresses that come and go in this network namespace; negative errno value without one. */
int holdfast_address_events(void);
/* Waits until something was told, and takes all of it. 0, or an errno value when nothing will be told any more. */
int holdfast_address_events_wait(int descriptor);
/* Asks the link of an interface who else has an address, by an ARP probe (RFC 5227 §2.1.1) or the neighbour solicitation of
 * duplicate address detection (RFC 4862 §5.4.2), and listens for so long. 1 when another machine answered, with its
 * hardware address in `other`; 0 when none did; ENOTSUP on interfaces without hardware addresses, or another errno value,
 * as a negative number. */
int holdfast_address_conflict(const char *interface, int family, const uint8_t *bytes, int milliseconds,
                              uint8_t other[6]);
#endif
