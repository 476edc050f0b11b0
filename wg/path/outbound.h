#ifndef WG_PATH_OUTBOUND_H
#define WG_PATH_OUTBOUND_H

/* The thread that takes packets from the interface to the network. `path` is a struct path whose
 * threads are to run; ends when it is stopping. */
void *outbound_main(void *path);

#endif
