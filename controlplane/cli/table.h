/* A table for people: columns as wide as their widest cell, numbers to the right.
 *
 *   struct cli_table table = {0};
 *   cli_table_columns(&table, "NODE>", "HOST", NULL);     a name ending in '>' aligns right
 *   cli_table_row(&table, "3", "b-3.example", NULL);
 *   cli_table_print(&table, stdout);                       prints and frees
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#define CLI_COLUMNS_MAX 28

struct cli_table {
    uint32_t n_columns, n_rows, cap_rows;
    char *names[CLI_COLUMNS_MAX];
    char right[CLI_COLUMNS_MAX];
    char **cells; /* n_rows x n_columns */
};

void cli_table_columns(struct cli_table *table, ...) __attribute__((sentinel));
/* Exactly as many texts as columns; NULL ends the list, so an absent cell is "". */
void cli_table_row(struct cli_table *table, ...) __attribute__((sentinel));
/* Control characters in cells are printed as '?': what comes from the network must not steer a terminal. */
void cli_table_print(struct cli_table *table, FILE *to);
