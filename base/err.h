#ifndef BASE_ERR_H
#define BASE_ERR_H

/* An error for a person: a code for the program and one line of text that says what to do. The text
 * is added once, where the context is known. Functions below that return only 0 or a negative
 * errno. */
struct err {
    int code; /* negative errno */
    char text[512];
};

/* Fills `err` (which may be NULL) and returns `code`, so that a caller can write `return
 * err_set(...)`. Control characters in values become '?'. */
int err_set(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, with ": <strerror(code)>" behind the text. */
int err_set_errno(struct err *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
