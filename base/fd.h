#ifndef BASE_FD_H
#define BASE_FD_H

/* Makes a descriptor non-blocking and closed on exec. Returns 0 or a negative errno. */
int fd_prepare(int fd);

#endif
