#include "cmd/report.h"

#include "cmd/version.h"

#include <stdio.h>
#include <stdlib.h>

int report_options(enum options_outcome outcome, const char *program, const struct err *err)
{
    switch (outcome) {
    case OPTIONS_OK:
    case OPTIONS_HELP:
        return EXIT_SUCCESS;
    case OPTIONS_VERSION:
        printf("%s version %s\n", program, version_text);
        return EXIT_SUCCESS;
    case OPTIONS_BAD:
        fprintf(stderr, "%s: %s\n", program, err->text);
        return EXIT_USAGE;
    }
    return EXIT_USAGE;
}
