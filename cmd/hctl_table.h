#ifndef CMD_HCTL_TABLE_H
#define CMD_HCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Tables for people, fitted to the terminal. */

/* The output that a table is printed on. */
struct page {
    size_t width;     /* columns of the terminal; 0: not a terminal, nothing is cut */
    const char *mark; /* ends a cut text: "…", or "..." without UTF-8 */
};

/* Reads the terminal's size and the current locale. */
struct page page_of(FILE *file);

/* Cells are copies. table_print reports when memory was short for one. */
struct table {
    const char *const *headers;
    size_t columns;
    size_t rows;
    char **cells;
    bool failed;
};

void table_init(struct table *table, const char *const *headers, size_t columns, size_t rows);

/* Sets a cell; NULL is "". Bytes that could control a terminal are replaced. */
void table_set(struct table *table, size_t row, size_t column, const char *text);

/* Prints columns as wide as their widest cell, with a gap of three spaces and no trailing spaces.
 * If the table is wider than the page, the gap is two and the widest columns are cut. 0 or -ENOMEM.
 */
int table_print(const struct table *table, FILE *file, const struct page *page);

void table_fini(struct table *table);

#endif
