#ifndef WG_PATH_SLOW_H
#define WG_PATH_SLOW_H

/* The thread for all that may take long: handshakes, timers, link events, and the return of what
 * the engine no longer needs. `path` is a struct path; ends when it is stopping. */
void *slow_main(void *path);

#endif
