#ifndef TUN_TUN_PACKET_H
#define TUN_TUN_PACKET_H

#include <stddef.h>
#include <stdint.h>

enum {
    TUN_DEFAULT_MTU = 1420, /* of a new interface: fits 1500 with the largest outer headers */
    TUN_NAME_LEN = 16,      /* an interface name with its NUL */
    TUN_PACKET_MAX = 65535, /* the longest packet that a device carries */
};

/* The segmentation that a packet still needs. Only a device with offloads switched on returns, and
 * takes, anything but TUN_GSO_NONE. */
enum tun_gso { TUN_GSO_NONE, TUN_GSO_TCP4, TUN_GSO_TCP6, TUN_GSO_UDP };

/* One packet to or from a device, from its IP header on. The caller owns `bytes`. */
struct tun_packet {
    uint8_t *bytes;
    size_t capacity; /* for tun_read: the room in `bytes`; what does not fit is -EMSGSIZE */
    size_t len;
    enum tun_gso gso;
    uint16_t segment_len; /* payload of one segment */
    uint16_t header_len;  /* bytes in front of the payload */
    uint16_t csum_start;  /* checksum still to be made from here on; 0: none */
    uint16_t csum_offset; /* where it goes, behind csum_start */
};

#endif
