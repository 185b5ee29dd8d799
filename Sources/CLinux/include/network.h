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
/* Broadcasts a gratuitous ARP request and reply (RFC 5227 §3), or an unsolicited neighbour advertisement with the
 * override flag (RFC 4861 §7.2.6). ENOTSUP on interfaces without hardware addresses. */
int holdfast_address_announce(const char *interface, int family, const uint8_t *bytes);
/* Flags of an IPv6 address (IFA_F_*), or -1 when it is not there. */
int holdfast_address_flags6(const char *interface, const uint8_t *bytes);
#define HOLDFAST_ADDRESS_DAD_FAILED 0x08
#endif
