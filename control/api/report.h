#ifndef CONTROL_API_REPORT_H
#define CONTROL_API_REPORT_H

#include "proto/cluster.pb-c.h"

#include <stddef.h>

/* A node's report on itself and the network, for Cluster.Status: records, the tunnel beside them,
 * and problems, each with its remedy. Pure: everything that it looks at is an argument. */

struct page;
struct report;
struct report_facts;

/* Takes nodes and peers as far as the page goes, and the problems on the first page alone. A client
 * that does not ask for pages gets one that fits and a problem that says what is missing. 0 or
 * -ENOMEM. `facts` and what it points at outlive the result. */
int report_create(struct report **out, const struct report_facts *facts, struct page *page);
void report_destroy(struct report *report);

const Pb__StatusResponse *report_response(const struct report *report);

#endif
