#ifndef WG_PATH_WAKE_H
#define WG_PATH_WAKE_H

/* A descriptor by which one thread ends another's poll(2). Several signals count as one. */
struct wake {
    int fd;
};

/* Returns 0 or a negative errno. */
int wake_init(struct wake *wake);
void wake_fini(struct wake *wake);

/* Any thread may call it. Readable until cleared. */
void wake_signal(const struct wake *wake);
void wake_clear(const struct wake *wake);

#endif
