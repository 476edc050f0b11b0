#include "wg/path/thread.h"

void thread_set_name(pthread_t thread, const char *name)
{
    (void)pthread_setname_np(thread, name);
}
