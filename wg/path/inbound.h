#ifndef WG_PATH_INBOUND_H
#define WG_PATH_INBOUND_H

/* The thread that takes datagrams from the network to the interface, and hands handshake messages
 * to the slow thread. `path` is a struct path; ends when it is stopping. */
void *inbound_main(void *path);

#endif
