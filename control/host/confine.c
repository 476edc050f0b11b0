#include "control/host/confine.h"

#include "base/log.h"
#include "control/host/confine_calls.h"

#include <cap-ng.h>
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

/* The rights in `keep` that this process holds: the kernel refuses a request for more. */
static uint64_t held_of(uint64_t keep)
{
    uint64_t held = 0;
    for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((keep >> cap & 1) != 0 && capng_have_capability(CAPNG_PERMITTED, cap))
            held |= UINT64_C(1) << cap;
    return held;
}

/* The library does not report each refusal. Without the right to change the bounding set, that set
 * stays as it is, which is harmless under no_new_privs. */
static bool is_done(uint64_t keep, bool bounded)
{
    if (capng_get_caps_process() < 0)
        return false;
    for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((keep >> cap & 1) == 0 && (capng_have_capability(CAPNG_PERMITTED, cap) ||
                                       (bounded && capng_have_capability(CAPNG_BOUNDING_SET, cap))))
            return false;
    return true;
}

static int keep_in_sets(uint64_t keep, bool pass_on)
{
    bool may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    uint64_t held = held_of(keep);
    capng_clear(CAPNG_SELECT_ALL);
    capng_type_t type = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;
    if (pass_on)
        type |= CAPNG_INHERITABLE | CAPNG_AMBIENT;
    for (unsigned cap = 0; cap <= CAP_LAST_CAP; cap++)
        if ((held >> cap & 1) != 0 && capng_update(CAPNG_ADD, type, cap) < 0)
            return -EINVAL;
    /* The bounding set goes first, while it may be changed; ambient rights go last, because they
     * must be inheritable. */
    if (may_bound)
        (void)capng_apply(CAPNG_SELECT_BOUNDS);
    (void)capng_apply(CAPNG_SELECT_CAPS);
    (void)capng_apply(CAPNG_SELECT_AMBIENT);
    return is_done(keep, may_bound) ? 0 : -EPERM;
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
        log_warn("cannot give up all other rights on this host, continuing with them",
                 F_STR("error", strerror(-rc)));
#ifdef HEIMDALL_SANITIZED
    log_info("this build has no system call filter: sanitizers need more calls");
#else
    rc = confine_calls();
    if (rc < 0)
        log_warn("cannot filter system calls on this host, continuing without a filter",
                 F_STR("error", strerror(-rc)));
#endif
}
