#include "base/log.h"

#include "base/clock.h"
#include "base/log_sink.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No value continues behind VALUES_END, so that its quote and the line's end still fit. */
enum { LINE_MAX_LEN = 2048, VALUES_END = LINE_MAX_LEN - 64 };

static _Atomic int min_level = LOG_INFO;
static _Atomic int line_format = LOG_TEXT;

/* A line that is being built. What does not fit is cut. */
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
    log_sink_set_fd(fd);
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

/* The code point at `text` and in *len its bytes; U+FFFD for one byte that begins none. */
static uint32_t decode(const unsigned char *text, size_t *len)
{
    static const struct {
        unsigned char mask, mark;
        uint32_t least;
    } kinds[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t more = 1; more <= 3; more++) {
        if ((text[0] & kinds[more - 1].mask) != kinds[more - 1].mark)
            continue;
        uint32_t code = text[0] & (unsigned char)~kinds[more - 1].mask;
        size_t i = 1;
        for (; i <= more && (text[i] & 0xc0) == 0x80; i++)
            code = code << 6 | (text[i] & 0x3f);
        if (i <= more || code < kinds[more - 1].least || code > 0x10ffff ||
            (code >= 0xd800 && code < 0xe000))
            break;
        *len = more + 1;
        return code;
    }
    *len = 1;
    return 0xfffd;
}

static void put_escape(struct line *line, uint32_t code)
{
    char escape[16];
    if (code < 0x10000)
        snprintf(escape, sizeof escape, "\\u%04x", code);
    else
        snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10),
                 0xdc00 + (code & 0x3ff));
    put_text(line, escape);
}

/* Escapes by JSON's rules, in text lines too, and everything outside ASCII: a value that somebody
 * else chose changes no terminal and breaks no parser. Stops at VALUES_END. */
static void put_escaped(struct line *line, const char *text)
{
    for (size_t len = 1; *text != '\0' && line->len < VALUES_END; text += len) {
        unsigned char c = (unsigned char)*text;
        len = 1;
        if (c == '"' || c == '\\') {
            put_char(line, '\\');
            put_char(line, (char)c);
        } else if (c < 0x20 || c == 0x7f) {
            put_escape(line, c);
        } else if (c >= 0x80) {
            uint32_t code = decode((const unsigned char *)text, &len);
            put_escape(line, code);
        } else {
            put_char(line, (char)c);
        }
    }
}

static void put_quoted(struct line *line, const char *text)
{
    put_char(line, '"');
    put_escaped(line, text);
    put_char(line, '"');
}

static bool is_plain(const char *text)
{
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text <= ' ' || *text > '~' || *text == '"' || *text == '\\' || *text == '=')
            return false;
    return true;
}

/* The message of a text line. It may quote what somebody else wrote. */
static void put_message(struct line *line, const char *text)
{
    for (; *text != '\0' && line->len < VALUES_END; text++) {
        if (*text < ' ' || *text > '~')
            put_char(line, '?');
        else
            put_char(line, *text);
    }
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
        put_escaped(line, string);
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

static void build(struct line *line, enum log_level level, const char *message,
                  const struct log_field *fields)
{
    static const char *const upper[] = {"DEBU", "INFO", "WARN", "ERRO"};
    static const char *const lower[] = {"debug", "info", "warn", "error"};
    bool json = atomic_load(&line_format) == LOG_JSON;
    line->len = 0;
    put_text(line, json ? "{\"time\":\"" : "");
    put_time(line);
    put_text(line, json ? "\",\"level\":\"" : " ");
    put_text(line, json ? lower[level] : upper[level]);
    put_text(line, json ? "\",\"msg\":" : " ");
    if (json)
        put_quoted(line, message);
    else
        put_message(line, message);
    for (; fields->key != NULL && line->len < VALUES_END; fields++) {
        put_char(line, json ? ',' : ' ');
        if (json)
            put_quoted(line, fields->key);
        else
            put_text(line, fields->key);
        put_char(line, json ? ':' : '=');
        put_value(line, fields, json);
    }
    if (json)
        put_char(line, '}');
    line->text[line->len++] = '\n';
}

/* See log_sink.h. */
static size_t note_dropped(char *out, size_t size, uint64_t dropped)
{
    const struct log_field fields[] = {F_INT("lines", dropped), {.key = NULL}};
    struct line line;
    build(&line, LOG_WARN, "log lines dropped", fields);
    size_t len = line.len < size ? line.len : size;
    memcpy(out, line.text, len);
    return len;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    struct line line;
    if (!log_enabled(level))
        return;
    build(&line, level, message, fields);
    log_sink_put(line.text, line.len, note_dropped);
}

void log_last_words(const char *program, const char *text)
{
    struct line line = {.len = 0};
    put_text(&line, program);
    put_text(&line, ": ");
    put_text(&line, text);
    line.text[line.len++] = '\n';
    log_sink_put(line.text, line.len, note_dropped);
}

int log_start(void)
{
    static bool registered;
    int rc = log_sink_start();
    if (rc == 0 && !registered)
        registered = atexit(log_stop) == 0;
    return rc;
}

void log_stop(void)
{
    log_sink_stop();
}

uint64_t log_dropped(void)
{
    return log_sink_dropped();
}

bool log_limit_passes(struct log_limit *limit, uint64_t now_ns, unsigned *left_out)
{
    *left_out = 0;
    if (limit->window_ns == 0 || now_ns - limit->window_ns >= LOG_LIMIT_WINDOW_NS) {
        *left_out = limit->left_out;
        *limit = (struct log_limit){.window_ns = now_ns};
    }
    if (limit->lines < LOG_LIMIT_LINES) {
        limit->lines++;
        return true;
    }
    limit->left_out++;
    return false;
}

const char *log_short_id(char out[9], const char *id)
{
    snprintf(out, 9, "%.8s", id);
    return out;
}
