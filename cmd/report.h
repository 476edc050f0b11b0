#ifndef CMD_REPORT_H
#define CMD_REPORT_H

#include "base/err.h"
#include "control/config/options.h"

enum { EXIT_USAGE = 2 };

/* Ends the reading of a command line: prints the version to standard output or the error to standard error. Help is the
 * caller's. Returns the exit status, 0 or EXIT_USAGE. */
int report_options(enum options_outcome outcome, const char *program, const struct err *err);

#endif
