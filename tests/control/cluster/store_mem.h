#ifndef TESTS_CONTROL_CLUSTER_STORE_MEM_H
#define TESTS_CONTROL_CLUSTER_STORE_MEM_H

#include <stdbool.h>

/* A store in memory for tests: same promises, no loop. Callbacks wait until store_mem_run. */

struct store;
struct store_events;

/* Starts empty and parked. Returns 0 or -ENOMEM. */
int store_mem_open(struct store **out, const struct store_events *events);

/* Delivers what is due, one callback a step. False if nothing was. */
bool store_mem_step(struct store *store);
void store_mem_run(struct store *store);

/* The data stays, the connection goes: pending commits end with -EIO, then it is loaded again,
 * parked. */
void store_mem_restart(struct store *store);

#endif
