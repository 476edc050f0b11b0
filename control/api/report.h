#ifndef CONTROL_API_REPORT_H
#define CONTROL_API_REPORT_H

#include "proto/cluster.pb-c.h"

#include <stddef.h>

/* A node's report on itself and the network, for Cluster.Status: records, the tunnel beside them,
 * and problems, each with its remedy. Pure: everything that it looks at is an argument. */

struct report;
struct report_facts;

/* 0 or -ENOMEM. `facts` and what it points at outlive the result. */
int report_create(struct report **out, const struct report_facts *facts);
void report_destroy(struct report *report);

const Pb__StatusResponse *report_response(const struct report *report);

/* Drops peers until the packed response has at most `size` bytes, and adds a problem that says so.
 */
void report_cut(struct report *report, size_t size);

#endif
