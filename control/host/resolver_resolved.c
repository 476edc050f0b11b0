#include "base/err.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver_backend.h"
#include "control/host/resolver_saved.h"
#include "control/host/tool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* argv takes char * but changes nothing. */
#define ARG(text) ((char *)(uintptr_t)(text))

static int run_resolvectl(const struct resolver_paths *paths, char *const argv[])
{
    int rc = tool_run(paths->resolvectl, argv, "", NULL, 0);
    return rc > 0 ? -EIO : rc;
}

static bool resolved_keeps(const struct resolver_paths *paths, const char *text, const char *real)
{
    return paths->resolvectl != NULL && access(paths->resolvectl, X_OK) == 0 &&
           access(paths->resolved, F_OK) == 0 &&
           (resolv_conf_names_stub(text) || strstr(real, "/systemd/resolve/") != NULL);
}

static int resolved_restore(const struct resolver_paths *paths, const char *interface)
{
    char *const argv[] = {ARG("resolvectl"), ARG("revert"), ARG(interface), NULL};
    /* fails when the interface is gone, and its settings with it */
    if (paths->resolvectl != NULL)
        (void)run_resolvectl(paths, argv);
    return 0;
}

/* The domain is both routed to our servers and searched. The interface is no default route, so that
 * it gets no other names. Our servers sign nothing and speak plain DNS in the tunnel, whatever the
 * host's other servers do. */
static int set_interface(const struct resolver_paths *paths, const struct resolver_setup *setup)
{
    static const char *const settings[][2] = {
        {"domain", NULL}, {"default-route", "false"}, {"dnssec", "no"}, {"dnsovertls", "no"}};
    char addrs[RESOLVER_NAMESERVERS][IP_ADDR_TEXT];
    char *dns[RESOLVER_NAMESERVERS + 4] = {ARG("resolvectl"), ARG("dns"), ARG(setup->interface)};
    for (size_t i = 0; i < setup->nameserver_count && i < RESOLVER_NAMESERVERS; i++)
        dns[3 + i] = ARG(ip_addr_format(&setup->nameservers[i], addrs[i]));
    int rc = run_resolvectl(paths, dns);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && rc == 0; i++) {
        char *const argv[] = {ARG("resolvectl"), ARG(settings[i][0]), ARG(setup->interface),
                              ARG(settings[i][1] != NULL ? settings[i][1] : setup->domain), NULL};
        rc = run_resolvectl(paths, argv);
    }
    return rc;
}

static int resolved_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                          struct err *err)
{
    int rc = saved_write(paths->state_dir, resolver_resolved.name, setup->interface);
    if (rc == 0)
        rc = set_interface(paths, setup);
    if (rc == 0)
        return 0;
    (void)resolved_restore(paths, setup->interface);
    saved_remove(paths->state_dir);
    return err_set_errno(err, rc, "cannot set the DNS servers of %s in systemd-resolved",
                         setup->interface);
}

const struct resolver_backend resolver_resolved = {
    .name = "resolved",
    .keeps = resolved_keeps,
    .apply = resolved_apply,
    .restore = resolved_restore,
};
