#include "control/host/resolver.h"

#include "base/buffer.h"
#include "base/err.h"
#include "control/host/resolv_conf.h"
#include "control/host/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What was done is one line in STATE_DIR/resolver.state: "file" (the former text is in
 * resolv.conf.saved), "created" (there was no file), "resolved INTERFACE" or "resolvconf
 * INTERFACE". It is on disk before anything changes and goes away after all is put back, so that a
 * crash at any point leaves either nothing changed or a line that says what to undo. */

enum {
    FILE_MAX = 64 * 1024,
    PROGRAMS_MAX = 4, /* of ours on one host */
};

enum method { METHOD_NONE, METHOD_FILE, METHOD_CREATED, METHOD_RESOLVED, METHOD_RESOLVCONF };

static const char *const method_names[] = {"none", "file", "created", "resolved", "resolvconf"};

struct record {
    enum method method;
    char interface[32];
};

static const char saved_name[] = "resolv.conf.saved";
static const char state_name[] = "resolver.state";

struct resolver_paths resolver_paths_default(const char *state_dir)
{
    return (struct resolver_paths){
        .resolv_conf = "/etc/resolv.conf",
        .state_dir = state_dir,
        .resolvectl = "/usr/bin/resolvectl",
        .resolved = "/run/systemd/resolve/io.systemd.Resolve",
        .resolvconf = "/sbin/resolvconf",
    };
}

/* Reads a whole text file into an empty buffer, with a NUL behind it. */
static int read_text(const char *path, struct buffer *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t len = 0;
    do {
        uint8_t *room = buffer_reserve(out, 4096);
        len = room != NULL ? read(fd, room, 4096) : -1;
        if (len > 0)
            buffer_commit(out, (size_t)len);
    } while (len > 0 && buffer_len(out) <= FILE_MAX);
    int rc = len < 0 ? -errno : len > 0 ? -EFBIG : 0;
    close(fd);
    buffer_append(out, "", 1);
    return buffer_failed(out) ? -ENOMEM : rc;
}

static int write_all(int fd, const void *bytes, size_t len)
{
    ssize_t done = pwrite(fd, bytes, len, 0);
    if (done < 0)
        return -errno;
    if ((size_t)done != len)
        return -ENOSPC;
    return ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

/* In place and with one write: the file may be a bind mount, which cannot be renamed over. */
static int write_in_place(const char *path, const char *text, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text, len);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* A file in the state folder, on disk as a whole or not at all. */
static int save(int dir, const char *name, const char *text, size_t len)
{
    char temporary[64];
    snprintf(temporary, sizeof temporary, "%s.new", name);
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int rc = write_all(fd, text, len);
    if (rc == 0 && fsync(fd) < 0)
        rc = -errno;
    close(fd);
    if (rc == 0 && renameat(dir, temporary, dir, name) < 0)
        rc = -errno;
    if (rc == 0 && fsync(dir) < 0)
        rc = -errno;
    if (rc < 0)
        unlinkat(dir, temporary, 0);
    return rc;
}

static int open_state_dir(const struct resolver_paths *paths)
{
    int dir = open(paths->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -errno : dir;
}

static void state_path(const struct resolver_paths *paths, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", paths->state_dir, name);
}

static int record_save(int dir, const struct record *record)
{
    char line[64];
    int len =
        snprintf(line, sizeof line, "%s %s\n", method_names[record->method], record->interface);
    return save(dir, state_name, line, (size_t)len);
}

static void record_read(const struct resolver_paths *paths, struct record *out)
{
    char path[PATH_MAX];
    char word[16];
    struct buffer text;
    *out = (struct record){.method = METHOD_NONE};
    buffer_init(&text);
    state_path(paths, state_name, path);
    if (read_text(path, &text) == 0 &&
        sscanf((const char *)buffer_data(&text), "%15s %31s", word, out->interface) >= 1)
        for (int i = METHOD_FILE; i <= METHOD_RESOLVCONF; i++)
            if (strcmp(word, method_names[i]) == 0)
                out->method = (enum method)i;
    buffer_fini(&text);
}

static void record_drop(const struct resolver_paths *paths)
{
    char path[PATH_MAX];
    state_path(paths, state_name, path);
    unlink(path);
    state_path(paths, saved_name, path);
    unlink(path);
}

/* The text before us: the file, or the saved copy when the file is ours. */
static int read_former(const struct resolver_paths *paths, struct buffer *out)
{
    char path[PATH_MAX];
    int rc = read_text(paths->resolv_conf, out);
    if (rc < 0 || !resolv_conf_is_ours((const char *)buffer_data(out), paths->state_dir))
        return rc;
    struct buffer saved;
    buffer_init(&saved);
    state_path(paths, saved_name, path);
    if (read_text(path, &saved) == 0) {
        buffer_fini(out);
        *out = saved;
        return 0;
    }
    buffer_fini(&saved);
    return 0;
}

/* The address of systemd-resolved's own stub. */
static bool is_stub(const union endpoint *server)
{
    struct ip_addr addr;
    struct ip_addr stub;
    struct ip_addr proxy;
    endpoint_addr(server, &addr);
    return ip_addr_parse(&stub, "127.0.0.53") && ip_addr_parse(&proxy, "127.0.0.54") &&
           (ip_addr_equal(&addr, &stub) || ip_addr_equal(&addr, &proxy));
}

static bool names_stub(const char *text)
{
    union endpoint servers[RESOLVER_NAMESERVERS];
    size_t count = resolv_conf_nameservers(text, servers, RESOLVER_NAMESERVERS);
    for (size_t i = 0; i < count; i++)
        if (is_stub(&servers[i]))
            return true;
    return false;
}

/* Behind the stub, systemd-resolved lists the servers that it asks itself. */
static void read_behind_stub(const struct resolver_paths *paths, struct buffer *text)
{
    char path[PATH_MAX];
    struct buffer real;
    const char *slash = strrchr(paths->resolved, '/');
    if (slash == NULL || !names_stub((const char *)buffer_data(text)))
        return;
    snprintf(path, sizeof path, "%.*s/resolv.conf", (int)(slash - paths->resolved),
             paths->resolved);
    buffer_init(&real);
    union endpoint server;
    if (read_text(path, &real) == 0 &&
        resolv_conf_nameservers((const char *)buffer_data(&real), &server, 1) == 1) {
        buffer_fini(text);
        *text = real;
        return;
    }
    buffer_fini(&real);
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

static int run_tool(const char *path, char *const argv[], const char *input)
{
    int rc = tool_run(path, argv, input, NULL, 0);
    return rc > 0 ? -EIO : rc;
}

/* argv takes char * but changes nothing. */
#define ARG(text) ((char *)(uintptr_t)(text))

/* The domain is both routed to our servers and searched; without being a default route, the
 * interface gets no other names. Our servers sign nothing and speak plain DNS in the tunnel,
 * whatever the host's other servers do. */
static int apply_resolved(const struct resolver_paths *paths, const struct resolver_setup *setup)
{
    static const char *const settings[][2] = {
        {"domain", NULL}, {"default-route", "false"}, {"dnssec", "no"}, {"dnsovertls", "no"}};
    char addrs[RESOLVER_NAMESERVERS][IP_ADDR_TEXT];
    char *dns[RESOLVER_NAMESERVERS + 4] = {ARG("resolvectl"), ARG("dns"), ARG(setup->interface)};
    for (size_t i = 0; i < setup->nameserver_count && i < RESOLVER_NAMESERVERS; i++)
        dns[3 + i] = ARG(ip_addr_format(&setup->nameservers[i], addrs[i]));
    int rc = run_tool(paths->resolvectl, dns, "");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0] && rc == 0; i++) {
        char *const argv[] = {ARG("resolvectl"), ARG(settings[i][0]), ARG(setup->interface),
                              ARG(settings[i][1] != NULL ? settings[i][1] : setup->domain), NULL};
        rc = run_tool(paths->resolvectl, argv, "");
    }
    return rc;
}

static int revert_resolved(const struct resolver_paths *paths, const char *interface)
{
    char *const argv[] = {ARG("resolvectl"), ARG("revert"), ARG(interface), NULL};
    return paths->resolvectl != NULL ? run_tool(paths->resolvectl, argv, "") : 0;
}

/* Of several records, resolvconf and openresolv take those of tunnels first, by names like tun0; a
 * resolver asks the first server, and takes its word that there is no such name. */
static void record_name(const char *interface, char out[64])
{
    snprintf(out, 64, "tun0.%s.heimdall", interface);
}

static int apply_resolvconf(const struct resolver_paths *paths, const struct resolver_setup *setup)
{
    char text[IP_ADDR_TEXT];
    char name[64];
    struct buffer input;
    buffer_init(&input);
    for (size_t i = 0; i < setup->nameserver_count && i < RESOLVER_NAMESERVERS; i++)
        buffer_printf(&input, "nameserver %s\n", ip_addr_format(&setup->nameservers[i], text));
    buffer_printf(&input, "search %s\n", setup->domain);
    buffer_append(&input, "", 1);
    record_name(setup->interface, name);
    char *const argv[] = {ARG("resolvconf"), ARG("-a"), name, NULL};
    int rc = buffer_failed(&input)
                 ? -ENOMEM
                 : run_tool(paths->resolvconf, argv, (const char *)buffer_data(&input));
    buffer_fini(&input);
    return rc;
}

static int revert_resolvconf(const struct resolver_paths *paths, const char *interface)
{
    char name[64];
    record_name(interface, name);
    char *const argv[] = {ARG("resolvconf"), ARG("-d"), name, NULL};
    return paths->resolvconf != NULL ? run_tool(paths->resolvconf, argv, "") : 0;
}

/* Who keeps the file: its stub or its folder say so. A tool that is installed but does not keep the
 * file would change nothing. */
static enum method choose_method(const struct resolver_paths *paths, const char *text)
{
    char real[PATH_MAX];
    if (realpath(paths->resolv_conf, real) == NULL)
        real[0] = '\0';
    if (paths->resolvectl != NULL && access(paths->resolvectl, X_OK) == 0 &&
        access(paths->resolved, F_OK) == 0 &&
        (names_stub(text) || strstr(real, "/systemd/resolve/") != NULL))
        return METHOD_RESOLVED;
    if (paths->resolvconf != NULL && access(paths->resolvconf, X_OK) == 0 &&
        (strstr(real, "/resolvconf/") != NULL || strstr(text, "by resolvconf") != NULL))
        return METHOD_RESOLVCONF;
    return METHOD_FILE;
}

/* Through the tool that keeps the file; -EIO and the like leave the file to be tried. */
static int apply_tool(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      int dir, enum method method)
{
    struct record record = {.method = method};
    size_t len = strlen(setup->interface);
    if (len >= sizeof record.interface)
        return -EINVAL;
    memcpy(record.interface, setup->interface, len);
    int rc = record_save(dir, &record);
    if (rc < 0)
        return rc;
    bool resolved = method == METHOD_RESOLVED;
    rc = resolved ? apply_resolved(paths, setup) : apply_resolvconf(paths, setup);
    if (rc == 0)
        return 0;
    if (resolved)
        revert_resolved(paths, setup->interface);
    else
        revert_resolvconf(paths, setup->interface);
    record_drop(paths);
    return rc;
}

static int explain(struct err *err, int rc, const struct resolver_paths *paths)
{
    return err_set_errno(err, rc,
                         "cannot write %s, so names of the network resolve only where our DNS "
                         "server is asked directly",
                         paths->resolv_conf);
}

/* `former` ends in a NUL; NULL when there was no file. */
static int apply_file(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      int dir, const struct buffer *former, bool already_ours, struct err *err)
{
    struct record record = {.method = former != NULL ? METHOD_FILE : METHOD_CREATED};
    struct buffer text;
    buffer_init(&text);
    resolv_conf_compose(&text, former != NULL ? (const char *)buffer_data(former) : "",
                        paths->state_dir, setup);
    int rc = buffer_failed(&text) ? -ENOMEM : 0;
    if (rc == 0 && former != NULL && access(paths->resolv_conf, W_OK) < 0)
        rc = explain(err, -errno, paths);
    if (rc < 0)
        goto out;
    if (!already_ours) {
        if (former != NULL)
            rc = save(dir, saved_name, (const char *)buffer_data(former), buffer_len(former) - 1);
        if (rc == 0)
            rc = record_save(dir, &record);
        if (rc < 0) {
            err_set_errno(err, rc, "cannot keep a copy of %s in %s", paths->resolv_conf,
                          paths->state_dir);
            goto out;
        }
    }
    rc = write_in_place(paths->resolv_conf, (const char *)buffer_data(&text), buffer_len(&text));
    if (rc < 0) {
        explain(err, rc, paths);
        if (!already_ours)
            record_drop(paths);
    }
out:
    buffer_fini(&text);
    return rc;
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
    struct buffer now;
    struct buffer former;
    struct record record;
    buffer_init(&now);
    buffer_init(&former);
    if (!setup_is_valid(setup))
        return err_set(err, -EINVAL,
                       "the resolver needs 1 to 3 addresses, a domain and an "
                       "interface");
    int dir = open_state_dir(paths);
    if (dir < 0)
        return err_set_errno(err, dir, "cannot open the folder %s", paths->state_dir);
    record_read(paths, &record);
    int rc = read_text(paths->resolv_conf, &now);
    bool missing = rc == -ENOENT;
    if (rc < 0 && !missing) {
        err_set_errno(err, rc, "cannot read %s", paths->resolv_conf);
        goto out;
    }
    const char *text = missing ? "" : (const char *)buffer_data(&now);
    bool ours = resolv_conf_is_ours(text, paths->state_dir);
    enum method method = ours ? METHOD_FILE : choose_method(paths, text);
    rc = 0;
    if (method != METHOD_FILE && apply_tool(paths, setup, dir, method) == 0)
        goto out;
    if (!missing)
        rc = read_former(paths, &former);
    if (rc < 0) {
        err_set_errno(err, rc, "cannot read %s", paths->resolv_conf);
        goto out;
    }
    bool created = missing || (ours && record.method == METHOD_CREATED);
    rc = apply_file(paths, setup, dir, created ? NULL : &former, ours, err);
out:
    close(dir);
    buffer_fini(&former);
    buffer_fini(&now);
    return rc;
}

bool resolver_is_lost(const struct resolver_paths *paths)
{
    struct record record;
    struct buffer now;
    record_read(paths, &record);
    if (record.method != METHOD_FILE && record.method != METHOD_CREATED)
        return false;
    buffer_init(&now);
    int rc = read_text(paths->resolv_conf, &now);
    bool lost =
        rc == -ENOENT || (rc == 0 && !resolv_conf_has_marker((const char *)buffer_data(&now)));
    buffer_fini(&now);
    return lost;
}

/* Where our text is: in the file, or in what another program of ours that wrote over it keeps as
 * the former one. 1, 0 when nowhere, or a negative errno. */
static int find_ours(const struct resolver_paths *paths, char at[PATH_MAX])
{
    char folder[PATH_MAX - sizeof saved_name];
    snprintf(at, PATH_MAX, "%s", paths->resolv_conf);
    for (int depth = 0; depth < PROGRAMS_MAX; depth++) {
        struct buffer text;
        buffer_init(&text);
        int rc = read_text(at, &text);
        const char *now = (const char *)buffer_data(&text);
        bool ours = rc == 0 && resolv_conf_is_ours(now, paths->state_dir);
        bool others = rc == 0 && !ours && resolv_conf_folder(now, folder, sizeof folder);
        buffer_fini(&text);
        if (ours)
            return 1;
        if (rc < 0 && rc != -ENOENT && depth == 0)
            return rc;
        if (!others)
            return 0;
        snprintf(at, PATH_MAX, "%s/%s", folder, saved_name);
    }
    return 0;
}

static int restore_file(const struct resolver_paths *paths, enum method method)
{
    char at[PATH_MAX];
    char path[PATH_MAX];
    struct buffer saved;
    int rc = find_ours(paths, at);
    if (rc <= 0)
        return rc;
    if (method == METHOD_CREATED && strcmp(at, paths->resolv_conf) == 0)
        return unlink(at) < 0 ? -errno : 0;
    if (method == METHOD_CREATED)
        return write_in_place(at, "", 0);
    buffer_init(&saved);
    state_path(paths, saved_name, path);
    rc = read_text(path, &saved);
    if (rc == 0)
        rc = write_in_place(at, (const char *)buffer_data(&saved), buffer_len(&saved) - 1);
    buffer_fini(&saved);
    return rc;
}

int resolver_restore(const struct resolver_paths *paths, struct err *err)
{
    struct record record;
    int rc = 0;
    record_read(paths, &record);
    switch (record.method) {
    case METHOD_NONE:
        return 0;
    case METHOD_FILE:
    case METHOD_CREATED:
        rc = restore_file(paths, record.method);
        if (rc == 0) /* the other program may have put ours back meanwhile */
            rc = restore_file(paths, record.method);
        break;
    case METHOD_RESOLVED:
        /* fails when the interface is gone, and then there is nothing to put back */
        revert_resolved(paths, record.interface);
        break;
    case METHOD_RESOLVCONF:
        rc = revert_resolvconf(paths, record.interface);
        break;
    }
    if (rc < 0)
        return err_set_errno(err, rc, "cannot put back %s, the former text is in %s/%s",
                             paths->resolv_conf, paths->state_dir, saved_name);
    record_drop(paths);
    return 0;
}
