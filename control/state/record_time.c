#include "control/state/record_time.h"

#include "base/clock.h"

#include <stddef.h>

Google__Protobuf__Timestamp record_time(uint64_t ns)
{
    Google__Protobuf__Timestamp out = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    out.seconds = (int64_t)(ns / NS_PER_SEC);
    out.nanos = (int32_t)(ns % NS_PER_SEC);
    return out;
}

uint64_t record_time_ns(const Google__Protobuf__Timestamp *time)
{
    if (time == NULL || time->seconds < 0 || time->nanos < 0 ||
        (uint64_t)time->seconds > UINT64_MAX / NS_PER_SEC - 1)
        return 0;
    return (uint64_t)time->seconds * NS_PER_SEC + (uint64_t)time->nanos;
}
