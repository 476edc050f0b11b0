#include "base/buffer.h"
#include "base/err.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver_backend.h"
#include "control/host/resolver_saved.h"
#include "control/host/tool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_NAME_LEN = 64 };

static bool resolvconf_keeps(const struct resolver_paths *paths, const char *text, const char *real)
{
    return paths->resolvconf != NULL && access(paths->resolvconf, X_OK) == 0 &&
           (strstr(real, "/resolvconf/") != NULL || strstr(text, "by resolvconf") != NULL);
}

/* resolvconf and openresolv sort records of tunnels first, by names like tun0. A resolver asks the
 * first server, and believes it that a name does not exist. */
static void resolvconf_record_name(const char *interface, char out[RECORD_NAME_LEN])
{
    snprintf(out, RECORD_NAME_LEN, "tun0.%s.heimdall", interface); /* see is_record in resolver.c */
}

static int run_resolvconf(const struct resolver_paths *paths, const char *verb,
                          const char *interface, const char *input)
{
    char program[] = "resolvconf";
    char option[4];
    char name[RECORD_NAME_LEN];
    snprintf(option, sizeof option, "%s", verb);
    resolvconf_record_name(interface, name);
    char *const argv[] = {program, option, name, NULL};
    int rc = tool_run(paths->resolvconf, argv, input, NULL, 0);
    return rc > 0 ? -EIO : rc;
}

static int resolvconf_restore(const struct resolver_paths *paths, const char *interface)
{
    return paths->resolvconf != NULL ? run_resolvconf(paths, "-d", interface, "") : 0;
}

static int add_record(const struct resolver_paths *paths, const struct resolver_setup *setup)
{
    char text[IP_ADDR_TEXT];
    struct buffer input;
    buffer_init(&input);
    bool stub = setup->stub.family != 0;
    if (stub)
        buffer_printf(&input, "nameserver %s\n", ip_addr_format(&setup->stub, text));
    for (size_t i = 0; !stub && i < setup->nameserver_count && i < RESOLVER_NAMESERVERS; i++)
        buffer_printf(&input, "nameserver %s\n", ip_addr_format(&setup->nameservers[i], text));
    buffer_printf(&input, "search %s\n", setup->domain);
    buffer_append(&input, "", 1);
    int rc = buffer_failed(&input)
                 ? -ENOMEM
                 : run_resolvconf(paths, "-a", setup->interface, (const char *)buffer_data(&input));
    buffer_fini(&input);
    return rc;
}

static int resolvconf_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                            struct err *err)
{
    int rc = saved_write(paths->state_dir, resolver_resolvconf.name, setup->interface);
    if (rc == 0)
        rc = add_record(paths, setup);
    if (rc == 0)
        return 0;
    (void)resolvconf_restore(paths, setup->interface);
    saved_remove(paths->state_dir);
    return err_set_errno(err, rc, "cannot add the DNS servers of %s to resolvconf",
                         setup->interface);
}

const struct resolver_backend resolver_resolvconf = {
    .name = "resolvconf",
    .keeps = resolvconf_keeps,
    .apply = resolvconf_apply,
    .restore = resolvconf_restore,
};
