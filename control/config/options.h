#ifndef CONTROL_CONFIG_OPTIONS_H
#define CONTROL_CONFIG_OPTIONS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Command-line options and environment variables, described by tables: one row an option. A value
 * is taken from the command line, else from the variable, else from a file (option_file.h), else
 * from the default: call options_parse, options_from_environment, option_file_read and
 * options_fall_back in this order, each fills what has no value yet. */

enum { OPTIONS_MAX = 64 }; /* rows of a set */

/* What a value looks like and how it is stored. `parse` returns false when the text is not one; the
 * text outlives the result. A list (`repeats`) is parsed into again for every further value. */
struct option_kind {
    const char *placeholder; /* in the help: "CIDR"; NULL: a flag, which takes no value */
    const char *expected;    /* in an error: "a port, 1 to 65535" */
    bool repeats;
    bool secret; /* errors do not show the value */
    bool (*parse)(void *out, const char *text);
};

struct option {
    const char *long_name; /* without dashes */
    char short_name;       /* 0: none */
    const char *env;       /* NULL: none */
    const struct option_kind *kind;
    const char *fallback; /* parsed like a value; NULL leaves the zeroed field */
    const char *help;
    size_t offset; /* of the field in the set's `out` */
};

/* What is known of a row besides its value. Zeroed at first. */
struct option_source {
    bool given;      /* the row has a value that is not its default */
    uint64_t digest; /* of the value's text, to see whether another reading gave another value */
};

struct option_set {
    const struct option *rows;
    size_t count;
    void *out;                     /* zeroed */
    struct option_source *sources; /* `count` of them. NULL: command line only */
};

/* A repeated option's values; borrowed from argv or owned copies of parts of a variable. */
struct option_list {
    char **values;
    size_t count;
};

extern const struct option_kind option_path;     /* the file's; as text, but not in the file */
extern const struct option_kind option_flag;     /* bool */
extern const struct option_kind option_text;     /* const char *, not empty */
extern const struct option_kind option_filename; /* as text */
extern const struct option_kind option_folder;   /* as text */
extern const struct option_kind option_list;     /* struct option_list */
extern const struct option_kind option_port;     /* uint16_t, 1..65535 */
extern const struct option_kind option_duration; /* uint64_t nanoseconds, at least 100 ms */

enum options_outcome { OPTIONS_OK, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_BAD };

/* Reads argv from *next on; -h/--help and -v/--version end it. With `stop_at_word` the first word
 * that is no option ends it and *next is its place; else words are moved to the front of the rest
 * of argv, in order, and *next is set behind them (so that words are argv[old next .. *next]). */
enum options_outcome options_parse(const struct option_set *sets, size_t set_count, int argc,
                                   char **argv, int *next, bool stop_at_word, struct err *err);

/* False: `err` names the variable, its option and what is expected. An empty variable is none. */
bool options_from_environment(const struct option_set *set, struct err *err);

void options_fall_back(const struct option_set *set);

/* Parses a value into the row's field. False: it is not one. */
bool options_take(const struct option_set *set, const struct option *row, const char *text);

/* The row of this name, NULL: none. */
const struct option *options_find(const struct option_set *set, const char *long_name);

/* The table of options for a help text, with --help and --version at its end. */
void options_print_help(FILE *file, const struct option_set *set);

/* The rows alone, for a set that is a part of the help. */
void options_print_rows(FILE *file, const struct option_set *set);

/* One line of a help: `left`, and `text` from the column `at` on. On a terminal the text is wrapped
 * to its width. */
void options_print_line(FILE *file, size_t at, const char *left, const char *text);

void option_list_fini(struct option_list *list);

#endif
