#ifndef BASE_METRICS_TEXT_H
#define BASE_METRICS_TEXT_H

#include "base/buffer.h"

#include <stdint.h>

/* Prometheus' text format, version 0.0.4: a family's HELP and TYPE, then its samples. Names and
 * label names are literals of ours; texts are escaped. */

enum metrics_type { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

struct metrics_text {
    struct buffer *out;
    const char *family;
};

void metrics_family(struct metrics_text *text, const char *name, enum metrics_type type,
                    const char *help);

/* A label is a name and a value; a name of NULL: none. */
struct metrics_label {
    const char *name;
    const char *value;
};

/* A sample of the family that was begun last, with up to two labels. */
void metrics_sample(struct metrics_text *text, struct metrics_label a, struct metrics_label b,
                    double value);

/* A family of one sample without labels. */
void metrics_single(struct metrics_text *text, const char *name, enum metrics_type type,
                    const char *help, double value);

/* A histogram of durations, in fixed steps from 1 ms to 5 s. */
enum { METRICS_STEPS = 12 };

struct metrics_histogram {
    uint64_t steps[METRICS_STEPS]; /* not cumulated */
    uint64_t count;
    uint64_t sum_ns;
};

void metrics_observe(struct metrics_histogram *histogram, uint64_t ns);
void metrics_histogram(struct metrics_text *text, const char *name, const char *help,
                       const struct metrics_histogram *histogram);

/* A counter over objects that come and go: what removed ones had stays counted. */
struct metrics_total {
    uint64_t gone;
    uint64_t last;
};

uint64_t metrics_total(struct metrics_total *total, uint64_t sum);

#endif
