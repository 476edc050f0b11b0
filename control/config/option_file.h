#ifndef CONTROL_CONFIG_OPTION_FILE_H
#define CONTROL_CONFIG_OPTION_FILE_H

#include "control/config/options.h"

#include <stdbool.h>
#include <stddef.h>

/* Options in a file: lines "long-name = value", blank lines, and lines that begin with '#'. An option that may be repeated
 * stands on several lines. A byte order mark and carriage returns at the ends of lines are taken as not there. */

enum { OPTION_FILE_MAX = 256 * 1024, OPTION_FILE_LINE_MAX = 4096 };

/* The values of a set borrow from it. Zeroed when there is none. */
struct option_file {
    char *text;
    size_t len;
};

/* Gives the options of the file to those of the set that have no value yet. A file that everybody
 * may read must hold no secret. A missing file is none at all when `optional`. False: `err` names
 * file, line, option and value; option_file_fini in any case. */
bool option_file_read(struct option_file *file, const struct option_set *set, const char *path,
                      bool optional, struct err *err);

/* The same with the file's content, which is changed and has to outlive the set: `len` bytes and a
 * NUL behind them. */
bool option_file_parse(char *text, size_t len, const struct option_set *set, const char *path,
                       bool is_public, struct err *err);

/* Wipes and frees it. */
void option_file_fini(struct option_file *file);

#endif
