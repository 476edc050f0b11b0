#ifndef BASE_TEXT_H
#define BASE_TEXT_H

/* Text of files that people edit. */

/* The text behind a UTF-8 byte order mark, or the text itself. */
char *text_skip_mark(char *text);

/* Cuts spaces, tabs and line ends off the end; returns the text behind those at its beginning. */
char *text_trim(char *text);

#endif
