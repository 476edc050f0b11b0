#ifndef CONTROL_HOST_CONFINE_CALLS_H
#define CONTROL_HOST_CONFINE_CALLS_H

/* Filters the system calls of this thread and of all that come from it, for good. Calls that no
 * daemon of ours makes, and that an intruder would make first (starting programs, tracing, loading
 * code into the kernel), end the process with a line that names the call; all others that are not
 * on the list fail with EPERM. 0 or what the kernel said. */
int confine_calls(void);

#endif
