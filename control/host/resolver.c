#include "control/host/resolver.h"

#include "base/buffer.h"
#include "base/err.h"
#include "control/host/resolver_saved.h"
#include "control/host/text_file.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which they are tried; the last takes every host. */
static const struct resolver_backend *const backends[] = {&resolver_resolved, &resolver_resolvconf,
                                                          &resolver_file};

enum { BACKENDS = sizeof backends / sizeof backends[0] };

struct resolver_paths resolver_paths_default(const char *state_dir)
{
    return (struct resolver_paths){
        .resolv_conf = "/etc/resolv.conf",
        .state_dir = state_dir,
        .resolvectl = "/usr/bin/resolvectl",
        .resolved = "/run/systemd/resolve/io.systemd.Resolve",
        .resolvconf = "/sbin/resolvconf",
        .records = {"/run/resolvconf/interface", "/run/resolvconf/interfaces"},
    };
}

/* The text of resolv.conf before this program, or as saved when the file is ours. */
static int read_former(const struct resolver_paths *paths, struct buffer *out)
{
    int rc = text_file_read(paths->resolv_conf, out);
    if (rc < 0 || !resolv_conf_is_ours((const char *)buffer_data(out), paths->state_dir))
        return rc;
    struct buffer kept;
    buffer_init(&kept);
    if (saved_read_text(paths->state_dir, &kept) == 0) {
        buffer_fini(out);
        *out = kept;
    } else {
        buffer_fini(&kept);
    }
    return 0;
}

/* systemd-resolved lists the servers that it asks itself beside its socket. */
static void read_behind_stub(const struct resolver_paths *paths, struct buffer *text)
{
    char path[PATH_MAX];
    struct buffer real;
    union endpoint server;
    const char *slash = strrchr(paths->resolved, '/');
    if (slash == NULL || !resolv_conf_names_stub((const char *)buffer_data(text)))
        return;
    snprintf(path, sizeof path, "%.*s/resolv.conf", (int)(slash - paths->resolved),
             paths->resolved);
    buffer_init(&real);
    if (text_file_read(path, &real) == 0 &&
        resolv_conf_nameservers((const char *)buffer_data(&real), &server, 1) == 1) {
        buffer_fini(text);
        *text = real;
        return;
    }
    buffer_fini(&real);
}

static int is_record(const struct dirent *entry)
{
    static const char ours[] = ".heimdall";
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' &&
           (len < sizeof ours || strcmp(entry->d_name + len - (sizeof ours - 1), ours) != 0);
}

/* The records of all other programs, in order of their names. */
static void read_records(const char *folder, struct buffer *out)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_record, alphasort);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        struct buffer record;
        buffer_init(&record);
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (text_file_read(path, &record) == 0)
            buffer_printf(out, "%s\n", (const char *)buffer_data(&record));
        buffer_fini(&record);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* With resolvconf, the file may name our stub alone: its records have the other resolvers. */
static void read_behind_resolvconf(const struct resolver_paths *paths, struct buffer *text)
{
    struct saved saved;
    struct buffer records;
    union endpoint server;
    saved_read(paths->state_dir, &saved);
    if (strcmp(saved.backend, resolver_resolvconf.name) != 0)
        return;
    buffer_init(&records);
    for (size_t i = 0; i < 2; i++)
        if (paths->records[i] != NULL)
            read_records(paths->records[i], &records);
    buffer_append(&records, "", 1);
    if (!buffer_failed(&records) &&
        resolv_conf_nameservers((const char *)buffer_data(&records), &server, 1) == 1) {
        buffer_fini(text);
        *text = records;
        return;
    }
    buffer_fini(&records);
}

static bool is_listed(const union endpoint *server, const struct ip_addr *list, size_t count)
{
    struct ip_addr addr;
    endpoint_addr(server, &addr);
    for (size_t i = 0; i < count; i++)
        if (ip_addr_equal(&addr, &list[i]))
            return true;
    return false;
}

int resolver_read(const struct resolver_paths *paths, const struct ip_addr *ours, size_t ours_count,
                  struct resolver_upstreams *out, struct err *err)
{
    struct buffer text;
    union endpoint servers[RESOLVER_NAMESERVERS];
    buffer_init(&text);
    out->count = 0;
    int rc = read_former(paths, &text);
    if (rc == 0) {
        read_behind_resolvconf(paths, &text);
        read_behind_stub(paths, &text);
        size_t count = resolv_conf_nameservers((const char *)buffer_data(&text), servers,
                                               RESOLVER_NAMESERVERS);
        for (size_t i = 0; i < count; i++)
            if (!is_listed(&servers[i], ours, ours_count))
                out->servers[out->count++] = servers[i];
    }
    buffer_fini(&text);
    if (rc < 0 && rc != -ENOENT)
        return err_set_errno(err, rc, "cannot read %s", paths->resolv_conf);
    return 0;
}

static bool setup_is_valid(const struct resolver_setup *setup)
{
    return setup->nameserver_count >= 1 && setup->nameserver_count <= RESOLVER_NAMESERVERS &&
           setup->domain != NULL && setup->domain[0] != '\0' && setup->domain[0] != '-' &&
           setup->domain[strcspn(setup->domain, " \t\r\n")] == '\0' && setup->interface != NULL &&
           setup->interface[0] != '\0' && setup->interface[0] != '-';
}

int resolver_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                   struct err *err)
{
    char real[PATH_MAX];
    struct buffer now;
    if (!setup_is_valid(setup))
        return err_set(err, -EINVAL,
                       "the resolver needs 1 to 3 addresses, a domain and an interface");
    if (realpath(paths->resolv_conf, real) == NULL)
        real[0] = '\0';
    buffer_init(&now);
    int rc = text_file_read(paths->resolv_conf, &now);
    const char *text = rc == 0 ? (const char *)buffer_data(&now) : "";
    bool ours = resolv_conf_is_ours(text, paths->state_dir);
    rc = -ENOENT;
    for (size_t i = ours ? BACKENDS - 1 : 0; i < BACKENDS && rc < 0; i++)
        if (backends[i]->keeps(paths, text, real))
            rc = backends[i]->apply(paths, setup, err);
    buffer_fini(&now);
    return rc;
}

static const struct resolver_backend *backend_of(const struct saved *saved)
{
    for (size_t i = 0; i < BACKENDS; i++)
        if (strcmp(saved->backend, backends[i]->name) == 0)
            return backends[i];
    return NULL;
}

bool resolver_is_lost(const struct resolver_paths *paths)
{
    struct saved saved;
    saved_read(paths->state_dir, &saved);
    const struct resolver_backend *backend = backend_of(&saved);
    return backend != NULL && backend->is_lost != NULL && backend->is_lost(paths);
}

int resolver_restore(const struct resolver_paths *paths, struct err *err)
{
    struct saved saved;
    saved_read(paths->state_dir, &saved);
    const struct resolver_backend *backend = backend_of(&saved);
    int rc = backend != NULL ? backend->restore(paths, saved.detail) : 0;
    if (rc < 0)
        return err_set_errno(err, rc, "cannot put back %s, the former text is in %s/%s",
                             paths->resolv_conf, paths->state_dir, SAVED_TEXT_NAME);
    if (backend != NULL)
        saved_remove(paths->state_dir);
    return 0;
}
