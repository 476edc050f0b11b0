#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static size_t set_text(struct err *err, const char *format, va_list args)
{
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    if (n < 0) {
        err->text[0] = '\0';
        return 0;
    }
    /* values may come from other programs: the text must stay one line without terminal controls */
    for (char *c = err->text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    return (size_t)n < sizeof err->text ? (size_t)n : sizeof err->text - 1;
}

int err_set(struct err *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    set_text(err, format, args);
    va_end(args);
    return code;
}

int err_set_errno(struct err *err, int code, const char *format, ...)
{
    if (err == NULL)
        return code;
    va_list args;
    va_start(args, format);
    err->code = code;
    size_t n = set_text(err, format, args);
    va_end(args);
    snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(code < 0 ? -code : code));
    return code;
}
