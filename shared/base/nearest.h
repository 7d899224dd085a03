/* What somebody may have meant: the nearest of the words that exist. */
#pragma once

/* Looks at one candidate for a word that is none. *nearest becomes it where it is nearer than what was before (*least edits
 * away; begin with UINT32_MAX and NULL), and near enough: one edit, and one more for each three letters. */
void hr_nearest(const char *word, const char *candidate, const char **nearest, unsigned *least);
