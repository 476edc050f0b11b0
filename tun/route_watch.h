#ifndef TUN_ROUTE_WATCH_H
#define TUN_ROUTE_WATCH_H

#include <stdbool.h>

/* Reports that a route, rule or address of this network namespace has changed, not which; with
 * `links` also a link, for example its MTU, or whether the kernel forwards packets. */

struct route_watch;

/* 0 or a negative errno. */
int route_watch_open(struct route_watch **out, bool links);
void route_watch_close(struct route_watch *watch);

/* Non-blocking; readable when there is news. */
int route_watch_fd(const struct route_watch *watch);

/* Reads all that is pending. Returns whether there was anything. */
bool route_watch_read(struct route_watch *watch);

#endif
