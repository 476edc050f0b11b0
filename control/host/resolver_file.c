#include "base/buffer.h"
#include "base/err.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver_backend.h"
#include "control/host/resolver_saved.h"
#include "control/host/text_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Several programs of this project may write over each other's text on one host. Each keeps the
 * text before its own, so that they form a chain from the file to the host's own text; whichever
 * ends takes its link out. */

enum { PROGRAMS_MAX = 4 };

static const char former_detail[] = "former";   /* the text before is saved */
static const char created_detail[] = "created"; /* there was no file */
static const char link_detail[] = "link";       /* a link to nothing, whose text is saved */

static bool file_keeps(const struct resolver_paths *paths, const char *text, const char *real)
{
    (void)paths;
    (void)text;
    (void)real;
    return true;
}

static int explain(struct err *err, int rc, const struct resolver_paths *paths)
{
    return err_set_errno(err, rc,
                         "cannot write %s, so names of the network resolve only where our DNS "
                         "server is asked directly",
                         paths->resolv_conf);
}

/* What was there before the file is written for the first time. */
struct before {
    const char *detail;
    struct buffer text; /* of the file, or of the link; ends in a NUL */
};

static int save(const struct resolver_paths *paths, const struct before *before, struct err *err)
{
    int rc = 0;
    if (before->detail != created_detail)
        rc = saved_write_text(paths->state_dir, (const char *)buffer_data(&before->text),
                              buffer_len(&before->text) - 1);
    if (rc == 0)
        rc = saved_write(paths->state_dir, resolver_file.name, before->detail);
    if (rc < 0)
        return err_set_errno(err, rc, "cannot keep a copy of %s in %s", paths->resolv_conf,
                             paths->state_dir);
    return 0;
}

static void compose(struct buffer *out, const struct resolver_paths *paths,
                    const struct resolver_setup *setup, const char *former)
{
    struct resolver_setup whole = *setup;
    char name[HOST_NAME_MAX + 1];
    if (gethostname(name, sizeof name) == 0 && strchr(name, '.') != NULL)
        whole.host_domain = strchr(name, '.') + 1;
    resolv_conf_compose(out, former, paths->state_dir, &whole);
}

/* Puts a new file, or a link to `target` when that is not NULL, in the place of a link. */
static int replace_link(const char *path, const char *target, const char *text, size_t len)
{
    char beside[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s.heimdall", path);
    if (n < 0 || (size_t)n >= sizeof beside)
        return -ENAMETOOLONG;
    if (unlink(beside) < 0 && errno != ENOENT)
        return -errno;
    int rc = target == NULL                ? text_file_write(beside, text, len)
             : symlink(target, beside) < 0 ? -errno
                                           : 0;
    if (rc == 0 && rename(beside, path) < 0)
        rc = -errno;
    if (rc < 0)
        (void)unlink(beside);
    return rc;
}

/* The service that a dangling link belongs to may start later: its file is not created for it,
 * unless nothing else is possible. */
static int write_file(const struct resolver_paths *paths, const struct before *before, bool fresh,
                      const struct buffer *text)
{
    const char *bytes = (const char *)buffer_data(text);
    if (fresh && before->detail == link_detail)
        return replace_link(paths->resolv_conf, NULL, bytes, buffer_len(text));
    return text_file_write(paths->resolv_conf, bytes, buffer_len(text));
}

/* `fresh`: the file is not ours yet. */
static int write_ours(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      const struct before *before, bool fresh, struct err *err)
{
    struct buffer text;
    buffer_init(&text);
    compose(&text, paths, setup,
            before->detail == former_detail ? (const char *)buffer_data(&before->text) : "");
    int rc = buffer_failed(&text) ? err_set_errno(err, -ENOMEM, "%s", paths->resolv_conf) : 0;
    if (rc == 0 && before->detail == former_detail && access(paths->resolv_conf, W_OK) < 0)
        rc = explain(err, -errno, paths);
    if (rc == 0 && fresh)
        rc = save(paths, before, err);
    if (rc < 0)
        goto out;
    rc = write_file(paths, before, fresh, &text);
    if (rc < 0) {
        explain(err, rc, paths);
        if (fresh)
            saved_remove(paths->state_dir);
    }
out:
    buffer_fini(&text);
    return rc;
}

/* The file's text, or what there is instead of a file. */
static int look_before(const struct resolver_paths *paths, struct before *before)
{
    char target[PATH_MAX];
    int rc = text_file_read(paths->resolv_conf, &before->text);
    before->detail = former_detail;
    if (rc != -ENOENT)
        return rc;
    ssize_t len = readlink(paths->resolv_conf, target, sizeof target - 1);
    before->detail = len > 0 ? link_detail : created_detail;
    buffer_clear(&before->text);
    if (len > 0)
        buffer_append(&before->text, target, (size_t)len);
    buffer_append(&before->text, "", 1);
    return buffer_failed(&before->text) ? -ENOMEM : 0;
}

/* The file is ours already: what there was before is what was saved then. */
static void look_saved(const struct resolver_paths *paths, struct before *before)
{
    struct saved saved;
    struct buffer kept;
    saved_read(paths->state_dir, &saved);
    if (strcmp(saved.detail, created_detail) == 0 || strcmp(saved.detail, link_detail) == 0) {
        before->detail = created_detail; /* written as if there had been nothing */
        return;
    }
    buffer_init(&kept);
    if (saved_read_text(paths->state_dir, &kept) == 0) {
        buffer_fini(&before->text);
        before->text = kept;
    } else {
        buffer_fini(&kept);
    }
}

static int file_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      struct err *err)
{
    struct before before;
    buffer_init(&before.text);
    int rc = look_before(paths, &before);
    if (rc < 0) {
        err_set_errno(err, rc, "cannot read %s", paths->resolv_conf);
        goto out;
    }
    bool ours = before.detail == former_detail &&
                resolv_conf_is_ours((const char *)buffer_data(&before.text), paths->state_dir);
    if (ours)
        look_saved(paths, &before);
    rc = write_ours(paths, setup, &before, !ours, err);
    if (rc < 0 && before.detail == link_detail && rc != -ENOMEM) {
        before.detail = created_detail; /* the link's folder cannot be changed: behind it, then */
        rc = write_ours(paths, setup, &before, true, err);
    }
out:
    buffer_fini(&before.text);
    return rc;
}

static bool file_is_lost(const struct resolver_paths *paths)
{
    struct buffer now;
    buffer_init(&now);
    int rc = text_file_read(paths->resolv_conf, &now);
    bool lost =
        rc == -ENOENT || (rc == 0 && !resolv_conf_has_marker((const char *)buffer_data(&now)));
    buffer_fini(&now);
    return lost;
}

/* Where our text is: in the file, or in what a later program of this project keeps as the text
 * before its own. 1, 0 when nowhere, or a negative errno. */
static int find_ours(const struct resolver_paths *paths, char at[PATH_MAX])
{
    char folder[PATH_MAX - sizeof SAVED_TEXT_NAME];
    snprintf(at, PATH_MAX, "%s", paths->resolv_conf);
    for (int depth = 0; depth < PROGRAMS_MAX; depth++) {
        struct buffer text;
        buffer_init(&text);
        int rc = text_file_read(at, &text);
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
        snprintf(at, PATH_MAX, "%s/%s", folder, SAVED_TEXT_NAME);
    }
    return 0;
}

/* A file that was created, perhaps behind a link. */
static int remove_created(const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL)
        return errno == ENOENT ? 0 : -errno;
    return unlink(real) < 0 ? -errno : 0;
}

static int put_back(const struct resolver_paths *paths, const char *detail)
{
    char at[PATH_MAX];
    struct buffer text;
    int rc = find_ours(paths, at);
    if (rc <= 0)
        return rc;
    bool on_top = strcmp(at, paths->resolv_conf) == 0;
    bool was_link = strcmp(detail, link_detail) == 0;
    if (on_top && strcmp(detail, created_detail) == 0)
        return remove_created(at);
    if (strcmp(detail, created_detail) == 0 || (was_link && !on_top))
        return text_file_write(at, "", 0);
    buffer_init(&text);
    rc = saved_read_text(paths->state_dir, &text);
    const char *bytes = (const char *)buffer_data(&text);
    if (rc == 0)
        rc = was_link ? replace_link(at, bytes, NULL, 0)
                      : text_file_write(at, bytes, buffer_len(&text) - 1);
    buffer_fini(&text);
    return rc;
}

static int file_restore(const struct resolver_paths *paths, const char *detail)
{
    int rc = put_back(paths, detail);
    if (rc == 0) /* a later program that ended meanwhile may have put our text back */
        rc = put_back(paths, detail);
    return rc;
}

const struct resolver_backend resolver_file = {
    .name = "file",
    .keeps = file_keeps,
    .apply = file_apply,
    .restore = file_restore,
    .is_lost = file_is_lost,
};
