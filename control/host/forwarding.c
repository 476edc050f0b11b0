#include "control/host/forwarding.h"

#include "base/log.h"
#include "tun/ifconf.h"

#include <string.h>

/* One line is enough: a program that may not switch IPv4 on may not switch IPv6 on either. */
void forwarding_enable(struct forwarding *forwarding, bool ipv6)
{
    int code = 0;
    for (int i = 0; i < (ipv6 ? 2 : 1) && code == 0; i++) {
        bool was = true;
        code = ifconf_forwarding_enable(i == 0 ? 4 : 6, &was);
        forwarding->switched_on[i] = code == 0 && !was;
        forwarding->works[i] = code == 0;
        if (code < 0)
            log_warn("the kernel does not forward packets and cannot be told to: only this host is "
                     "reached through its tunnel",
                     F_INT("ip_version", i == 0 ? 4 : 6), F_STR("error", strerror(-code)));
    }
}

static void note(struct forwarding *forwarding, bool ipv6)
{
    for (int i = 0; i < (ipv6 ? 2 : 1); i++) {
        bool works = ifconf_forwarding_get(i == 0 ? 4 : 6);
        if (forwarding->works[i] && !works)
            log_warn("another program switched the kernel's forwarding off: switching it on again",
                     F_INT("ip_version", i == 0 ? 4 : 6));
        forwarding->works[i] = works;
    }
}

void forwarding_heal(struct forwarding *forwarding, bool ipv6, uint64_t now_ns, uint64_t *wait_ms)
{
    note(forwarding, ipv6);
    if (forwarding->works[0] && (!ipv6 || forwarding->works[1])) {
        repair_rest(&forwarding->repair, now_ns);
        return;
    }
    if (!repair_due(&forwarding->repair, now_ns, wait_ms))
        return;
    if (repair_news(&forwarding->repair))
        log_warn("another program keeps switching the kernel's forwarding off: it is switched on "
                 "again after ever longer pauses");
    for (int i = 0; i < (ipv6 ? 2 : 1); i++) {
        bool was = true;
        forwarding->works[i] = ifconf_forwarding_enable(i == 0 ? 4 : 6, &was) == 0;
        forwarding->switched_on[i] |= forwarding->works[i] && !was;
    }
}

/* A host that did not forward before us does not do so after us. */
void forwarding_restore(struct forwarding *forwarding)
{
    for (int i = 0; i < 2; i++)
        if (forwarding->switched_on[i])
            (void)ifconf_forwarding_disable(i == 0 ? 4 : 6);
    *forwarding = (struct forwarding){.works = {false, false}};
}
