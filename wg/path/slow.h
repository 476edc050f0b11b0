#ifndef WG_PATH_SLOW_H
#define WG_PATH_SLOW_H

/* The thread for work that may take long: handshakes, timers, link events, and garbage of the
 * engine. `path` is a struct path. Returns when it is stopping. */
void *slow_main(void *path);

#endif
