#ifndef WG_PATH_THREAD_H
#define WG_PATH_THREAD_H

#include <pthread.h>

/* Gives a thread a name of at most 15 characters, for those who look at the process. */
void thread_set_name(pthread_t thread, const char *name);

#endif
