#include "cmd/hctl_table.h"

#include "cmd/hctl_text.h"

#include <assert.h>
#include <errno.h>
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    COLUMNS_MAX = 16,
    GAP = 3,
    GAP_TIGHT = 2,
    CUT_MIN = 5, /* the least width of a column, even on a narrower page */
};

struct page page_of(FILE *file)
{
    struct winsize size;
    struct page page = {.mark = strcmp(nl_langinfo(CODESET), "UTF-8") == 0 ? "…" : "..."};
    int fd = fileno(file);
    if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0)
        page.width = size.ws_col;
    return page;
}

void table_init(struct table *table, const char *const *headers, size_t columns, size_t rows)
{
    assert(columns <= COLUMNS_MAX);
    *table = (struct table){.headers = headers, .columns = columns, .rows = rows};
    table->cells = calloc(columns * rows + 1, sizeof *table->cells);
    table->failed = table->cells == NULL;
}

void table_set(struct table *table, size_t row, size_t column, const char *text)
{
    if (table->failed)
        return;
    char *copy = strdup(text != NULL ? text : "");
    table->failed = copy == NULL;
    for (char *c = copy; c != NULL && *c != '\0'; c++)
        *c = text_safe(*c);
    char **cell = &table->cells[row * table->columns + column];
    free(*cell);
    *cell = copy;
}

/* The text of a cell in the header line (0) or in a row. */
static const char *text_at(const struct table *table, size_t line, size_t column)
{
    if (line == 0)
        return table->headers[column];
    const char *text = table->cells[(line - 1) * table->columns + column];
    return text != NULL ? text : "";
}

static size_t line_width(const struct table *table, const size_t *widths, size_t gap)
{
    size_t sum = table->columns > 0 ? gap * (table->columns - 1) : 0;
    for (size_t c = 0; c < table->columns; c++)
        sum += widths[c];
    return sum;
}

/* Narrows the widest columns, one character at a time, until the line fits. */
static void fit(const struct table *table, size_t *widths, size_t gap, size_t width)
{
    size_t limit = 0;
    for (size_t c = 0; c < table->columns; c++)
        limit = widths[c] > limit ? widths[c] : limit;
    while (line_width(table, widths, gap) > width && limit > CUT_MIN) {
        limit--;
        for (size_t c = 0; c < table->columns && line_width(table, widths, gap) > width; c++)
            widths[c] = widths[c] > limit ? limit : widths[c];
    }
}

/* A mark that is not ASCII is the ellipsis, one column wide. */
static void print_cell(FILE *file, const char *text, size_t width, const char *mark)
{
    size_t mark_width = (unsigned char)mark[0] > 0x7f ? 1 : strlen(mark);
    if (strlen(text) <= width)
        fputs(text, file);
    else
        fprintf(file, "%.*s%s", (int)(width - mark_width), text, mark);
}

static void print_line(const struct table *table, size_t line, FILE *file, const size_t *widths,
                       size_t gap, const char *mark)
{
    size_t owed = 0; /* pending spaces, written when something follows */
    for (size_t c = 0; c < table->columns; c++) {
        const char *text = text_at(table, line, c);
        size_t len = strlen(text);
        if (len > 0) {
            fprintf(file, "%*s", (int)owed, "");
            print_cell(file, text, widths[c], mark);
            owed = 0;
        }
        owed += gap + widths[c] - (len < widths[c] ? len : widths[c]);
    }
    fputc('\n', file);
}

int table_print(const struct table *table, FILE *file, const struct page *page)
{
    size_t widths[COLUMNS_MAX] = {0};
    size_t gap = GAP;
    if (table->failed)
        return -ENOMEM;
    for (size_t line = 0; line <= table->rows; line++)
        for (size_t c = 0; c < table->columns; c++) {
            size_t len = strlen(text_at(table, line, c));
            widths[c] = len > widths[c] ? len : widths[c];
        }
    if (page->width > 0 && line_width(table, widths, gap) > page->width) {
        gap = GAP_TIGHT;
        fit(table, widths, gap, page->width);
    }
    for (size_t line = 0; line <= table->rows; line++)
        print_line(table, line, file, widths, gap, page->mark);
    return 0;
}

void table_fini(struct table *table)
{
    for (size_t i = 0; table->cells != NULL && i < table->columns * table->rows; i++)
        free(table->cells[i]);
    free(table->cells);
    table->cells = NULL;
}
