#include "base/log.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 2048 };

static _Atomic int min_level = LOG_INFO;
static _Atomic int line_format = LOG_TEXT;
static _Atomic int out_fd = STDERR_FILENO;

/* One line being built; what does not fit is cut, never overrun. */
struct line {
    char text[LINE_MAX_LEN];
    size_t len;
};

void log_set_level(enum log_level level)
{
    atomic_store(&min_level, (int)level);
}

void log_set_format(enum log_format format)
{
    atomic_store(&line_format, (int)format);
}

void log_set_fd(int fd)
{
    atomic_store(&out_fd, fd);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&min_level, memory_order_relaxed);
}

static void put_char(struct line *line, char c)
{
    if (line->len < sizeof line->text - 1) /* the last place is the newline's */
        line->text[line->len++] = c;
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0')
        put_char(line, *text++);
}

/* JSON string rules, which serve quoted text values too. */
static void put_quoted(struct line *line, const char *text)
{
    put_char(line, '"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            put_char(line, '\\');
            put_char(line, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", c);
            put_text(line, escape);
        } else {
            put_char(line, (char)c);
        }
    }
    put_char(line, '"');
}

static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text == '"' || *text == '\\' || *text == '=' || *text == 0x7f)
            return false;
    return true;
}

static void put_value(struct line *line, const struct log_field *field, bool json)
{
    const char *string = field->string != NULL ? field->string : "";
    if (field->kind == LOG_FIELD_INT) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)field->number);
        put_text(line, number);
    } else if (json || !is_plain(string)) {
        put_quoted(line, string);
    } else {
        put_text(line, string);
    }
}

static void put_time(struct line *line)
{
    uint64_t now = clock_realtime_ns();
    time_t sec = (time_t)(now / NS_PER_SEC);
    struct tm tm;
    gmtime_r(&sec, &tm);
    char day[32];
    char text[48];
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text, sizeof text, "%s.%03uZ", day, (unsigned)(now % NS_PER_SEC / NS_PER_MS));
    put_text(line, text);
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    static const char *const upper[] = {"DEBU", "INFO", "WARN", "ERRO"};
    static const char *const lower[] = {"debug", "info", "warn", "error"};
    if (!log_enabled(level))
        return;
    bool json = atomic_load(&line_format) == LOG_JSON;
    struct line line = {.len = 0};
    put_text(&line, json ? "{\"time\":\"" : "");
    put_time(&line);
    put_text(&line, json ? "\",\"level\":\"" : " ");
    put_text(&line, json ? lower[level] : upper[level]);
    put_text(&line, json ? "\",\"msg\":" : " ");
    if (json)
        put_quoted(&line, message);
    else
        put_text(&line, message);
    for (; fields->key != NULL; fields++) {
        put_char(&line, json ? ',' : ' ');
        if (json)
            put_quoted(&line, fields->key);
        else
            put_text(&line, fields->key);
        put_char(&line, json ? ':' : '=');
        put_value(&line, fields, json);
    }
    if (json)
        put_char(&line, '}');
    line.text[line.len++] = '\n';
    ssize_t written = write(atomic_load(&out_fd), line.text, line.len);
    (void)written; /* nowhere to report a log that cannot be written */
}

const char *log_short_id(char out[9], const char *id)
{
    snprintf(out, 9, "%.8s", id);
    return out;
}
