#ifndef CONTROL_CONFINE_CALLS_H
#define CONTROL_CONFINE_CALLS_H

/* Filters this process' system calls, for all threads and for good. Calls that no daemon of ours
 * makes, and that an intruder would make first (starting programs, tracing, loading code into the
 * kernel), end the process with a line that names the call; all others that are not on the list
 * fail with EPERM. 0, -ENOTSUP in a build with sanitizers, or what the kernel said. */
int confine_calls(void);

#endif
