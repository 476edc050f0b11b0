#include "control/config/options.h"

#include "base/addr.h"
#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    HELP_MARGIN = 3, /* two spaces before an option, one behind it */
    HELP_COLUMN = 37,
    HELP_NARROW = 80, /* narrower terminals have the text below its option */
    HELP_INDENT = 8,
};

/* ---- kinds ---- */

static bool parse_flag(void *out, const char *text)
{
    if (strcmp(text, "1") == 0 || strcmp(text, "true") == 0)
        *(bool *)out = true;
    else if (strcmp(text, "0") == 0 || strcmp(text, "false") == 0)
        *(bool *)out = false;
    else
        return false;
    return true;
}

static bool parse_text(void *out, const char *text)
{
    *(const char **)out = text;
    return *text != '\0';
}

static bool list_append_part(struct option_list *list, const char *text, size_t len)
{
    char **values = realloc(list->values, (list->count + 1) * sizeof *values);
    if (values == NULL)
        return false;
    list->values = values;
    list->values[list->count] = strndup(text, len);
    if (list->values[list->count] == NULL)
        return false;
    list->count++;
    return true;
}

/* Commas separate values: an environment variable has no other way. */
static bool parse_list(void *out, const char *text)
{
    for (;;) {
        size_t len = strcspn(text, ",");
        if (len == 0 || !list_append_part(out, text, len))
            return false;
        if (text[len] == '\0')
            return true;
        text += len + 1;
    }
}

static bool parse_port(void *out, const char *text)
{
    uint64_t number;
    if (!parse_number(&number, text, 1, UINT16_MAX))
        return false;
    *(uint16_t *)out = (uint16_t)number;
    return true;
}

static bool parse_duration(void *out, const char *text)
{
    static const struct {
        const char *unit;
        uint64_t ns;
    } units[] = {
        {"ms", NS_PER_MS}, {"s", NS_PER_SEC}, {"m", 60 * NS_PER_SEC}, {"h", 3600 * NS_PER_SEC}};
    char digits[16];
    size_t len = strspn(text, "0123456789");
    if (len == 0 || len >= sizeof digits)
        return false;
    memcpy(digits, text, len);
    digits[len] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        uint64_t number;
        if (strcmp(text + len, units[i].unit) != 0)
            continue;
        if (!parse_number(&number, digits, 1, 1000000) || number * units[i].ns < 100 * NS_PER_MS)
            return false;
        *(uint64_t *)out = number * units[i].ns;
        return true;
    }
    return false;
}

const struct option_kind option_flag = {NULL, "true or false", false, false, parse_flag};
const struct option_kind option_text = {"VALUE", "a value that is not empty", false, false,
                                        parse_text};
const struct option_kind option_filename = {"FILE", "a file's name", false, false, parse_text};
const struct option_kind option_folder = {"DIR", "a folder's name", false, false, parse_text};
const struct option_kind option_path = {"FILE", "a file's name", false, false, parse_text};
const struct option_kind option_list = {"VALUE", "a value that is not empty", true, false,
                                        parse_list};
const struct option_kind option_port = {"PORT", "a port, 1 to 65535", false, false, parse_port};
const struct option_kind option_duration = {"TIME", "a time of at least 100ms, as 500ms, 10s or 2m",
                                            false, false, parse_duration};

void option_list_fini(struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->values[i]);
    free(list->values);
    *list = (struct option_list){0};
}

/* ---- parsing ---- */

static void *field_of(const struct option_set *set, const struct option *row)
{
    return (char *)set->out + row->offset;
}

/* FNV-1a, so that the values of a list run into one. */
static uint64_t digest(uint64_t before, const char *text)
{
    uint64_t hash = before != 0 ? before : UINT64_C(0xcbf29ce484222325);
    do {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    } while (*text++ != '\0');
    return hash;
}

bool options_take(const struct option_set *set, const struct option *row, const char *text)
{
    if (set->sources != NULL) {
        struct option_source *source = &set->sources[row - set->rows];
        source->given = true;
        source->digest = digest(row->kind->repeats ? source->digest : 0, text);
    }
    return row->kind->parse(field_of(set, row), text);
}

/* A value in an error's text. */
static const char *shown(const struct option_kind *kind, const char *value)
{
    return kind->secret ? "..." : value;
}

static bool row_from_environment(const struct option_set *set, size_t place, struct err *err)
{
    const struct option *row = &set->rows[place];
    const char *value = row->env != NULL ? getenv(row->env) : NULL;
    if (set->sources[place].given || value == NULL || *value == '\0')
        return true;
    if (options_take(set, row, value))
        return true;
    err_set(err, -EINVAL, "variable %s (option --%s): \"%.200s\" is not valid: expects %s",
            row->env, row->long_name, shown(row->kind, value), row->kind->expected);
    return false;
}

bool options_from_environment(const struct option_set *set, struct err *err)
{
    for (size_t i = 0; i < set->count; i++)
        if (!row_from_environment(set, i, err))
            return false;
    return true;
}

void options_fall_back(const struct option_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        if (!set->sources[i].given && set->rows[i].fallback != NULL)
            (void)set->rows[i].kind->parse(field_of(set, &set->rows[i]), set->rows[i].fallback);
}

const struct option *options_find(const struct option_set *set, const char *long_name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->rows[i].long_name, long_name) == 0)
            return &set->rows[i];
    return NULL;
}

struct found {
    const struct option_set *set;
    const struct option *row;
};

static bool find_long(const struct option_set *sets, size_t set_count, const char *name, size_t len,
                      struct found *out)
{
    for (size_t s = 0; s < set_count; s++)
        for (size_t i = 0; i < sets[s].count; i++) {
            const struct option *row = &sets[s].rows[i];
            if (strlen(row->long_name) == len && memcmp(row->long_name, name, len) == 0) {
                *out = (struct found){&sets[s], row};
                return true;
            }
        }
    return false;
}

static bool find_short(const struct option_set *sets, size_t set_count, char name,
                       struct found *out)
{
    for (size_t s = 0; s < set_count; s++)
        for (size_t i = 0; i < sets[s].count; i++)
            if (sets[s].rows[i].short_name == name) {
                *out = (struct found){&sets[s], &sets[s].rows[i]};
                return true;
            }
    return false;
}

/* One argument taken apart: "--name=value", "-n value", "-nvalue" are all a name and maybe a value.
 */
struct argument {
    const char *name; /* as typed, with dashes, `name_len` characters of it */
    int name_len;
    const char *value; /* NULL: none attached */
};

static bool take_apart(const struct option_set *sets, size_t set_count, const char *text,
                       struct argument *out, struct found *found)
{
    if (text[1] == '-') {
        size_t len = strcspn(text + 2, "=");
        *out = (struct argument){text, (int)len + 2, text[2 + len] == '=' ? text + 3 + len : NULL};
        return find_long(sets, set_count, text + 2, len, found);
    }
    *out = (struct argument){text, 2,
                             text[2] == '='    ? text + 3
                             : text[2] != '\0' ? text + 2
                                               : NULL};
    return find_short(sets, set_count, text[1], found);
}

static enum options_outcome read_option(const struct option_set *sets, size_t set_count, int argc,
                                        char **argv, int *at, struct err *err)
{
    const char *text = argv[(*at)++];
    struct argument arg;
    struct found found;
    if (strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0)
        return OPTIONS_HELP;
    if (strcmp(text, "-v") == 0 || strcmp(text, "--version") == 0)
        return OPTIONS_VERSION;
    if (!take_apart(sets, set_count, text, &arg, &found)) {
        err_set(err, -EINVAL, "unknown option %.*s: --help lists the options",
                arg.name_len < 200 ? arg.name_len : 200, arg.name);
        return OPTIONS_BAD;
    }
    const struct option_kind *kind = found.row->kind;
    const char *value = arg.value != NULL ? arg.value : kind->placeholder == NULL ? "true" : NULL;
    if (value == NULL) {
        if (*at == argc) {
            err_set(err, -EINVAL, "option %.*s needs a value: expects %s", arg.name_len, arg.name,
                    kind->expected);
            return OPTIONS_BAD;
        }
        value = argv[(*at)++];
    }
    if (!options_take(found.set, found.row, value)) {
        err_set(err, -EINVAL, "option %.*s: \"%.200s\" is not valid: expects %s", arg.name_len,
                arg.name, shown(kind, value), kind->expected);
        return OPTIONS_BAD;
    }
    return OPTIONS_OK;
}

enum options_outcome options_parse(const struct option_set *sets, size_t set_count, int argc,
                                   char **argv, int *next, bool stop_at_word, struct err *err)
{
    bool only_words = false;
    int at = *next;
    while (at < argc) {
        char *text = argv[at];
        if (!only_words && strcmp(text, "--") == 0) {
            only_words = true;
            at++;
        } else if (!only_words && text[0] == '-' && text[1] != '\0') {
            enum options_outcome outcome = read_option(sets, set_count, argc, argv, &at, err);
            if (outcome != OPTIONS_OK)
                return outcome;
        } else if (stop_at_word) {
            *next = at;
            return OPTIONS_OK;
        } else {
            /* the places before `at` have been read, so that a word may move there */
            argv[(*next)++] = text;
            at++;
        }
    }
    if (stop_at_word)
        *next = argc;
    return OPTIONS_OK;
}

/* ---- help ---- */

/* Columns of the terminal. 0: not a terminal. */
static size_t width_of(FILE *file)
{
    struct winsize size;
    int fd = fileno(file);
    return fd >= 0 && isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

void options_print_line(FILE *file, size_t at, const char *left, const char *text)
{
    size_t width = width_of(file);
    bool below = width > 0 && width < HELP_NARROW;
    int pad = below ? 0 : (int)at - HELP_MARGIN;
    size_t column = (size_t)fprintf(file, "  %-*s", pad, left);
    if (below) {
        at = HELP_INDENT;
        column = width;
    }
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (width > 0 && column >= at && column + 1 + len > width)
            column = (size_t)fprintf(file, "\n%*s", (int)at - 1, "") - 1;
        column += (size_t)fprintf(file, " %.*s", (int)len, text);
        text += len + strspn(text + len, " ");
    }
    fputc('\n', file);
}

static void print_row(FILE *file, const struct option *row)
{
    char left[64];
    char text[512];
    char dash[5] = "    ";
    const char *placeholder = row->kind->placeholder;
    if (row->short_name != '\0')
        snprintf(dash, sizeof dash, "-%c, ", row->short_name);
    snprintf(left, sizeof left, "%s--%s%s%s", dash, row->long_name, placeholder != NULL ? " " : "",
             placeholder != NULL ? placeholder : "");
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", row->help,
             row->kind->repeats ? " (may be repeated)" : "",
             row->fallback != NULL ? " (default " : "", row->fallback != NULL ? row->fallback : "",
             row->fallback != NULL ? ")" : "", row->env != NULL ? " [" : "",
             row->env != NULL ? row->env : "", row->env != NULL ? "]" : "");
    options_print_line(file, HELP_COLUMN, left, text);
}

void options_print_rows(FILE *file, const struct option_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        print_row(file, &set->rows[i]);
}

void options_print_help(FILE *file, const struct option_set *set)
{
    options_print_rows(file, set);
    options_print_line(file, HELP_COLUMN, "-h, --help", "show this help");
    options_print_line(file, HELP_COLUMN, "-v, --version", "show the version");
}
