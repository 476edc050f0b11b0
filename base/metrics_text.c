#include "base/metrics_text.h"

#include "base/clock.h"

#include <stdio.h>

static const uint64_t steps_ms10[METRICS_STEPS] = {10,   25,   50,   100,   250,   500,
                                                   1000, 2500, 5000, 10000, 25000, 50000};

void metrics_family(struct metrics_text *text, const char *name, enum metrics_type type,
                    const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    text->family = name;
    buffer_printf(text->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, types[type]);
}

static void put_label(struct metrics_text *text, const struct metrics_label *label)
{
    buffer_printf(text->out, "%s=\"", label->name);
    for (const char *at = label->value; *at != '\0'; at++) {
        if (*at == '\n')
            buffer_append_string(text->out, "\\n");
        else if (*at == '"' || *at == '\\')
            buffer_printf(text->out, "\\%c", *at);
        else
            buffer_append(text->out, at, 1);
    }
    buffer_append_string(text->out, "\"");
}

static void put_sample(struct metrics_text *text, const char *suffix, const struct metrics_label *a,
                       const struct metrics_label *b, double value)
{
    buffer_printf(text->out, "%s%s", text->family, suffix);
    if (a->name != NULL) {
        buffer_append_string(text->out, "{");
        put_label(text, a);
        if (b->name != NULL) {
            buffer_append_string(text->out, ",");
            put_label(text, b);
        }
        buffer_append_string(text->out, "}");
    }
    buffer_printf(text->out, " %.15g\n", value);
}

void metrics_sample(struct metrics_text *text, struct metrics_label a, struct metrics_label b,
                    double value)
{
    put_sample(text, "", &a, &b, value);
}

void metrics_single(struct metrics_text *text, const char *name, enum metrics_type type,
                    const char *help, double value)
{
    struct metrics_label none = {.name = NULL};
    metrics_family(text, name, type, help);
    metrics_sample(text, none, none, value);
}

void metrics_observe(struct metrics_histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->sum_ns += ns;
    for (size_t i = 0; i < METRICS_STEPS; i++)
        if (ns <= steps_ms10[i] * (NS_PER_MS / 10)) {
            histogram->steps[i]++;
            return;
        }
}

void metrics_histogram(struct metrics_text *text, const char *name, const char *help,
                       const struct metrics_histogram *histogram)
{
    struct metrics_label none = {.name = NULL};
    uint64_t below = 0;
    char bound[24];
    metrics_family(text, name, METRICS_HISTOGRAM, help);
    for (size_t i = 0; i < METRICS_STEPS; i++) {
        below += histogram->steps[i];
        snprintf(bound, sizeof bound, "%g", (double)steps_ms10[i] / 10000);
        put_sample(text, "_bucket", &(struct metrics_label){"le", bound}, &none, (double)below);
    }
    put_sample(text, "_bucket", &(struct metrics_label){"le", "+Inf"}, &none,
               (double)histogram->count);
    put_sample(text, "_sum", &none, &none, (double)histogram->sum_ns / NS_PER_SEC);
    put_sample(text, "_count", &none, &none, (double)histogram->count);
}

uint64_t metrics_total(struct metrics_total *total, uint64_t sum)
{
    if (sum < total->last)
        total->gone += total->last - sum;
    total->last = sum;
    return total->gone + sum;
}
