#ifndef CMD_HCTL_TABLE_H
#define CMD_HCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Tables for people, as wide as the terminal. */

/* What a table is printed on. */
struct page {
    size_t width;     /* columns of the terminal; 0: not one, and nothing is cut */
    const char *mark; /* behind what was cut: "…", or "..." where the terminal has no UTF-8 */
};

/* Reads the terminal's size and the locale that is in force. */
struct page page_of(FILE *file);

/* Cells are copies. A lack of memory while they are set is told by table_print. */
struct table {
    const char *const *headers;
    size_t columns;
    size_t rows;
    char **cells;
    bool failed;
};

void table_init(struct table *table, const char *const *headers, size_t columns, size_t rows);

/* NULL is "". The text is made safe for a terminal. */
void table_set(struct table *table, size_t row, size_t column, const char *text);

/* Columns as wide as their widest cell, three spaces between them, nothing behind the last. Where
 * that is too wide for the page, two spaces, and the widest columns are cut to one width. 0 or
 * -ENOMEM. */
int table_print(const struct table *table, FILE *file, const struct page *page);

void table_fini(struct table *table);

#endif
