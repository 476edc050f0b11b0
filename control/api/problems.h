#ifndef CONTROL_API_PROBLEMS_H
#define CONTROL_API_PROBLEMS_H

#include "proto/cluster.pb-c.h"

#include <stddef.h>

/* Finds what is wrong with a node and its network, and what to do about it. */

struct report_facts;

enum { PROBLEMS_MAX = 32, PROBLEM_TEXT = 640 };

struct problems {
    size_t count;
    Pb__Problem *list[PROBLEMS_MAX];
    Pb__Problem pb[PROBLEMS_MAX];
    char what[PROBLEMS_MAX][PROBLEM_TEXT];
    char remedy[PROBLEMS_MAX][PROBLEM_TEXT];
};

/* Lists the gravest problems first. `out` is filled in place and must not be moved. */
void problems_find(struct problems *out, const struct report_facts *facts);

/* One check at a time, for all below problems_check_count: its name, its problems, and what is so
 * when there are none. */
size_t problems_check_count(void);
void problems_check(struct problems *out, size_t check, const struct report_facts *facts,
                    const char **name, const char **fine);

/* Adds the problem that an answer shows a part of the peers only. */
void problems_add_cut(struct problems *problems, size_t shown, size_t peers);

#endif
