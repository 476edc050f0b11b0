#ifndef CONTROL_STATE_RECORD_TIME_H
#define CONTROL_STATE_RECORD_TIME_H

#include "proto/heimdall.pb-c.h"

#include <stdint.h>

/* Wall-clock times as records and answers carry them. Nanoseconds since the UNIX epoch; 0 means
 * never. */

Google__Protobuf__Timestamp record_time(uint64_t ns);

/* 0 when `time` is NULL, is before 1970 or is no time. */
uint64_t record_time_ns(const Google__Protobuf__Timestamp *time);

#endif
