#include "base/buffer.h"
#include "base/err.h"
#include "control/host/resolv_conf.h"
#include "control/host/resolver_backend.h"
#include "control/host/resolver_saved.h"
#include "control/host/text_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Several programs of this project may write over each other's text on one host. Each keeps the
 * text before its own, so that they form a chain from the file to the host's own text; whichever
 * ends takes its link out. */

enum { PROGRAMS_MAX = 4 };

static const char former_detail[] = "former";   /* the text before is saved */
static const char created_detail[] = "created"; /* there was no file */

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

/* What to save before the file is written for the first time. `former` is NULL when there was no
 * file. */
static int save(const struct resolver_paths *paths, const struct buffer *former, struct err *err)
{
    int rc = 0;
    if (former != NULL)
        rc = saved_write_text(paths->state_dir, (const char *)buffer_data(former),
                              buffer_len(former) - 1);
    if (rc == 0)
        rc = saved_write(paths->state_dir, resolver_file.name,
                         former != NULL ? former_detail : created_detail);
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

/* `former` is NULL when there was no file. `fresh`: the file is not ours yet. */
static int write_ours(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      const struct buffer *former, bool fresh, struct err *err)
{
    struct buffer text;
    buffer_init(&text);
    compose(&text, paths, setup, former != NULL ? (const char *)buffer_data(former) : "");
    int rc = buffer_failed(&text) ? err_set_errno(err, -ENOMEM, "%s", paths->resolv_conf) : 0;
    if (rc == 0 && former != NULL && access(paths->resolv_conf, W_OK) < 0)
        rc = explain(err, -errno, paths);
    if (rc == 0 && fresh)
        rc = save(paths, former, err);
    if (rc < 0)
        goto out;
    rc = text_file_write(paths->resolv_conf, (const char *)buffer_data(&text), buffer_len(&text));
    if (rc < 0) {
        explain(err, rc, paths);
        if (fresh)
            saved_remove(paths->state_dir);
    }
out:
    buffer_fini(&text);
    return rc;
}

static int file_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                      struct err *err)
{
    struct buffer now;
    struct buffer kept;
    struct saved saved;
    buffer_init(&now);
    buffer_init(&kept);
    saved_read(paths->state_dir, &saved);
    int rc = text_file_read(paths->resolv_conf, &now);
    bool missing = rc == -ENOENT;
    if (rc < 0 && !missing) {
        err_set_errno(err, rc, "cannot read %s", paths->resolv_conf);
        goto out;
    }
    bool ours = !missing && resolv_conf_is_ours((const char *)buffer_data(&now), paths->state_dir);
    bool created = missing || (ours && strcmp(saved.detail, created_detail) == 0);
    const struct buffer *former = created ? NULL : &now;
    if (ours && !created && saved_read_text(paths->state_dir, &kept) == 0)
        former = &kept;
    rc = write_ours(paths, setup, former, !ours, err);
out:
    buffer_fini(&kept);
    buffer_fini(&now);
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

static int put_back(const struct resolver_paths *paths, const char *detail)
{
    char at[PATH_MAX];
    struct buffer text;
    int rc = find_ours(paths, at);
    if (rc <= 0)
        return rc;
    if (strcmp(detail, created_detail) == 0) {
        if (strcmp(at, paths->resolv_conf) == 0)
            return unlink(at) < 0 ? -errno : 0;
        return text_file_write(at, "", 0);
    }
    buffer_init(&text);
    rc = saved_read_text(paths->state_dir, &text);
    if (rc == 0)
        rc = text_file_write(at, (const char *)buffer_data(&text), buffer_len(&text) - 1);
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
