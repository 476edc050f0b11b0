#ifndef WG_PATH_THREAD_H
#define WG_PATH_THREAD_H

#include <pthread.h>

/* Names a thread, with at most 15 characters, for process listings. */
void thread_set_name(pthread_t thread, const char *name);

#endif
