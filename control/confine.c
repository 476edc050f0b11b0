#include "control/confine.h"

#include "base/log.h"
#include "control/confine_calls.h"

#include <cap-ng.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

/* Of the rights to keep, those that we hold: asking for more would be refused. */
static int keep_in_sets(uint64_t keep, bool pass_on)
{
    uint64_t held = 0;
    for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((keep >> cap & 1) != 0 && capng_have_capability(CAPNG_PERMITTED, cap))
            held |= UINT64_C(1) << cap;
    bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    capng_clear(CAPNG_SELECT_ALL);
    capng_type_t type = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;
    if (pass_on)
        type |= CAPNG_INHERITABLE | CAPNG_AMBIENT;
    for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((held >> cap & 1) != 0 && capng_update(CAPNG_ADD, type, cap) < 0)
            return -EINVAL;
    /* The bounding set first, while we may; ambient rights last, since they must be inheritable. */
    if (may_bound && capng_apply(CAPNG_SELECT_BOUNDS) < 0)
        return -EPERM;
    return capng_apply(CAPNG_SELECT_CAPS) < 0 || capng_apply(CAPNG_SELECT_AMBIENT) < 0 ? -EPERM : 0;
}

int confine_rights(uint64_t keep, bool pass_on)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return capng_get_caps_process() < 0 ? -EPERM : keep_in_sets(keep, pass_on);
}

void confine_self(void)
{
    int rc =
        confine_rights(UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_BIND_SERVICE, false);
    if (rc < 0)
        log_warn("this host does not let us give up rights; going on with all of them",
                 F_STR("error", strerror(-rc)));
    rc = confine_calls();
    if (rc == -ENOTSUP)
        log_info("this build has no system call filter: sanitizers need more calls");
    else if (rc < 0)
        log_warn("this host does not let us filter system calls; going on without",
                 F_STR("error", strerror(-rc)));
}
