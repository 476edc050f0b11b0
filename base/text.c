#include "base/text.h"

#include <string.h>

static const char blanks[] = " \t\r\n";

char *text_skip_mark(char *text)
{
    static const char mark[] = "\xef\xbb\xbf";
    return strncmp(text, mark, strlen(mark)) == 0 ? text + strlen(mark) : text;
}

char *text_trim(char *text)
{
    text += strspn(text, blanks);
    size_t len = strlen(text);
    while (len > 0 && strchr(blanks, text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    return text;
}
