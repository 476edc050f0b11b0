#ifndef CONTROL_HOST_SLOT_H
#define CONTROL_HOST_SLOT_H

#include <stdbool.h>
#include <stdint.h>

/* The numbers that set one tunnel of a host apart from its others: the bits of its packet mark and
 * its routing table. A name has the same ones in every run, so that a later run finds what a killed
 * one left, unless a running tunnel holds them: then the next free ones. Held by an abstract unix
 * socket, which ends with the process and is known in this network namespace alone. */

enum {
    /* The bits of a mark that tell our tunnels' packets: those that are compared and set. Others use
     * lower ones: Kubernetes 0xc000, mwan3 0x3f00, Tailscale 0xff0000, hand-written rules 1 to 255. */
    SLOT_MARK_MASK = 0x7f000000,
};

struct slot {
    uint32_t mark;
    uint32_t table;
    int fd;
};

/* 0 or a negative errno; -EADDRINUSE: all numbers are taken. */
int slot_take(struct slot *slot, const char *interface_name);
void slot_release(struct slot *slot);

/* Whether no running tunnel has this mark. */
bool slot_is_free(uint32_t mark);

#endif
