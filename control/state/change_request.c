#include "control/state/change_build.h"
#include "control/state/state.h"

#include <string.h>

enum {
    KEPT_LEAST = 10000, /* requests that are kept, whatever their age */
    KEPT_MOST = 100000,
    TRIM = 4, /* old ones that one change removes at most */
};
#define KEPT_NS UINT64_C(3600000000000)

void change_keep_request(struct change *change, const struct state *state, const char *name,
                         uint64_t made_ns)
{
    Pb__MadeRequest record = PB__MADE_REQUEST__INIT;
    size_t count = state_request_count(state);
    record.name = change_text(name);
    record.rev = change->rev + 1;
    record.made_ns = made_ns;
    change_add_message(change, RECORD_HSET, RECORD_KEY_REQUESTS, name, &record.base);
    for (size_t i = 0; i < TRIM && count - i > KEPT_LEAST; i++) {
        const struct state_request *oldest = state_request_at(state, i);
        bool recent = oldest->pb->made_ns + KEPT_NS > made_ns;
        if (recent && count - i <= KEPT_MOST)
            break;
        if (strcmp(oldest->name, name) != 0)
            change_add(change, RECORD_HDEL, RECORD_KEY_REQUESTS, oldest->name, NULL, 0);
    }
}
