#include "control/config/option_file.h"

#include "base/bytes.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file while it is read. */
struct reader {
    const struct option_set *set;
    const char *path;
    bool is_public;
    size_t line;            /* from 1 */
    bool here[OPTIONS_MAX]; /* rows that this file has given a value */
    bool before
        [OPTIONS_MAX]; /* rows that had one already: their lines are checked for the name alone */
    struct err *err;
};

static bool refuse(const struct reader *reader, const char *name, const char *why)
{
    err_set(reader->err, -EINVAL, "%.200s line %zu: option %.64s: %s", reader->path, reader->line,
            name, why);
    return false;
}

/* What users of other formats write around a value. */
static const char *hint(const char *value)
{
    size_t len = strlen(value);
    if (len > 1 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0])
        return " (quotes are part of a value: leave them out)";
    return strstr(value, " #") != NULL ? " (a comment needs a line of its own)" : "";
}

static bool refuse_value(const struct reader *reader, const struct option *row, const char *value)
{
    err_set(reader->err, -EINVAL,
            "%.200s line %zu: option %s: \"%.100s\" is not valid: expects %s%s", reader->path,
            reader->line, row->long_name, row->kind->secret ? "..." : value, row->kind->expected,
            hint(value));
    return false;
}

/* The option that this is the variable of; NULL: none. */
static const struct option *find_variable(const struct option_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->rows[i].env != NULL && strcmp(set->rows[i].env, name) == 0)
            return &set->rows[i];
    return NULL;
}

static bool refuse_name(const struct reader *reader, const char *name)
{
    const struct option *row = find_variable(reader->set, name);
    if (row == NULL)
        return refuse(reader, name, "unknown: --help lists the options");
    err_set(reader->err, -EINVAL, "%.200s line %zu: %s is a variable: a file has the option, %s",
            reader->path, reader->line, name, row->long_name);
    return false;
}

static bool is_ascii(const char *text)
{
    while (*text > ' ' && *text <= '~')
        text++;
    return *text == '\0';
}

static bool take_value(struct reader *reader, const char *name, const char *value)
{
    const struct option *row = options_find(reader->set, name);
    if (row == NULL && !is_ascii(name)) {
        err_set(reader->err, -EINVAL,
                "%.200s line %zu: an option's name with a character outside ASCII, which may be "
                "invisible: type the line again",
                reader->path, reader->line);
        return false;
    }
    if (row == NULL || row->kind == &option_path)
        return refuse_name(reader, name);
    size_t place = (size_t)(row - reader->set->rows);
    if (row->kind->secret && reader->is_public)
        return refuse(reader, name,
                      "a secret in a file that everybody may read: expects mode 0600 or 0640");
    if (reader->here[place] && !row->kind->repeats)
        return refuse(reader, name, "given twice: expects it once");
    reader->here[place] = true;
    if (reader->before[place])
        return true;
    return options_take(reader->set, row, value) || refuse_value(reader, row, value);
}

static bool take_line(struct reader *reader, char *line, size_t len)
{
    if (len > OPTION_FILE_LINE_MAX || strlen(line) != len) {
        err_set(reader->err, -EINVAL, "%.200s line %zu: %s", reader->path, reader->line,
                len > OPTION_FILE_LINE_MAX ? "too long: expects at most 4096 characters"
                                           : "holds a NUL byte: expects text");
        return false;
    }
    line = text_trim(text_skip_mark(line));
    if (*line == '\0' || *line == '#')
        return true;
    char *equals = strchr(line, '=');
    if (equals == NULL || equals == line) {
        /* the line is not shown: it may be a secret without its name */
        err_set(reader->err, -EINVAL, "%.200s line %zu: expects \"option = value\"", reader->path,
                reader->line);
        return false;
    }
    *equals = '\0';
    return take_value(reader, text_trim(line), text_trim(equals + 1));
}

/* Why these bytes cannot be lines of ASCII or UTF-8. NULL: they may be. */
static const char *other_encoding(const char *text, size_t len)
{
    bool wide = len >= 2 && (memcmp(text, "\xff\xfe", 2) == 0 || memcmp(text, "\xfe\xff", 2) == 0);
    if (wide)
        return "is UTF-16: save the file as UTF-8";
    if (memchr(text, '\r', len) != NULL && memchr(text, '\n', len) == NULL)
        return "ends with a carriage return alone: save the file with newlines";
    return NULL;
}

bool option_file_parse(char *text, size_t len, const struct option_set *set, const char *path,
                       bool is_public, struct err *err)
{
    struct reader reader = {.set = set, .path = path, .is_public = is_public, .err = err};
    const char *fault = other_encoding(text, len);
    if (fault != NULL) {
        err_set(err, -EINVAL, "%.200s line 1: %s", path, fault);
        return false;
    }
    for (size_t i = 0; i < set->count; i++)
        reader.before[i] = set->sources[i].given;
    for (char *end = text + len; text < end;) {
        char *newline = memchr(text, '\n', (size_t)(end - text));
        char *stop = newline != NULL ? newline : end;
        *stop = '\0';
        reader.line++;
        if (!take_line(&reader, text, (size_t)(stop - text)))
            return false;
        text = stop + 1;
    }
    return true;
}

/* Reads the whole file. 0 or a negative errno. */
static int load(struct option_file *file, int fd)
{
    file->text = malloc(OPTION_FILE_MAX + 1);
    if (file->text == NULL)
        return -ENOMEM;
    for (;;) {
        ssize_t got = read(fd, file->text + file->len, OPTION_FILE_MAX + 1 - file->len);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got == 0)
            break;
        file->len += got > 0 ? (size_t)got : 0;
        if (file->len > OPTION_FILE_MAX)
            return -EFBIG;
    }
    file->text[file->len] = '\0';
    return 0;
}

bool option_file_read(struct option_file *file, const struct option_set *set, const char *path,
                      bool optional, struct err *err)
{
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int code = fd < 0 ? -errno : 0;
    *file = (struct option_file){0};
    if (optional && (code == -ENOENT || code == -ENOTDIR))
        return true;
    if (code == 0 && fstat(fd, &st) < 0)
        code = -errno;
    if (code == 0)
        code = load(file, fd);
    if (fd >= 0)
        (void)close(fd);
    if (code < 0) {
        err_set_errno(err, code, "option --config: file %.200s cannot be read", path);
        return false;
    }
    return option_file_parse(file->text, file->len, set, path, (st.st_mode & S_IROTH) != 0, err);
}

void option_file_fini(struct option_file *file)
{
    if (file->text != NULL)
        bytes_wipe(file->text, OPTION_FILE_MAX + 1);
    free(file->text);
    *file = (struct option_file){0};
}
