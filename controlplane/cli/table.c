#include "controlplane/cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *p)
{
    if (!p) {
        fputs("headracectl: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static char *clean(const char *text)
{
    char *copy = must(strdup(text));

    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
    return copy;
}

void cli_table_columns(struct cli_table *table, ...)
{
    const char *name;
    va_list args;

    va_start(args, table);
    while ((name = va_arg(args, const char *)) && table->n_columns < CLI_COLUMNS_MAX) {
        size_t len = strlen(name);
        char *copy = must(strdup(name));

        if (len > 0 && copy[len - 1] == '>') {
            copy[len - 1] = '\0';
            table->right[table->n_columns] = 1;
        }
        table->names[table->n_columns++] = copy;
    }
    va_end(args);
}

void cli_table_row(struct cli_table *table, ...)
{
    const char *cell = "";
    va_list args;

    if (table->n_rows == table->cap_rows) {
        table->cap_rows = table->cap_rows ? table->cap_rows * 2 : 32;
        table->cells =
            must(realloc(table->cells, table->cap_rows * table->n_columns * sizeof(*table->cells)));
    }
    va_start(args, table);
    for (uint32_t i = 0; i < table->n_columns; i++) {
        cell = cell ? va_arg(args, const char *) : NULL;
        table->cells[table->n_rows * table->n_columns + i] = clean(cell ? cell : "");
    }
    va_end(args);
    table->n_rows++;
}

/* Columns that the text takes: UTF-8 continuation bytes take none. */
static size_t width(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void print_line(const struct cli_table *table, char *const *cells, const size_t *widths, FILE *to)
{
    for (uint32_t i = 0; i < table->n_columns; i++) {
        size_t pad = widths[i] - width(cells[i]);

        if (i > 0)
            fputs("  ", to);
        if (table->right[i])
            fprintf(to, "%*s", (int)pad, "");
        fputs(cells[i], to);
        if (!table->right[i] && i + 1 < table->n_columns)
            fprintf(to, "%*s", (int)pad, "");
    }
    fputc('\n', to);
}

void cli_table_print(struct cli_table *table, FILE *to)
{
    size_t widths[CLI_COLUMNS_MAX];

    for (uint32_t i = 0; i < table->n_columns; i++) {
        widths[i] = width(table->names[i]);
        for (uint32_t r = 0; r < table->n_rows; r++) {
            size_t w = width(table->cells[r * table->n_columns + i]);

            if (w > widths[i])
                widths[i] = w;
        }
    }
    print_line(table, table->names, widths, to);
    for (uint32_t r = 0; r < table->n_rows; r++)
        print_line(table, table->cells + r * table->n_columns, widths, to);
    for (uint32_t i = 0; i < table->n_columns; i++)
        free(table->names[i]);
    for (uint32_t i = 0; i < table->n_rows * table->n_columns; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}
