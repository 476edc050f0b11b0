#include "control/host/resolver_saved.h"

#include "base/buffer.h"
#include "control/host/text_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char state_name[] = "resolver.state";

static int replace(const char *state_dir, const char *name, const char *text, size_t len)
{
    int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -errno;
    int rc = text_file_replace(dir, name, text, len);
    close(dir);
    return rc;
}

static void path_of(const char *state_dir, const char *name, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", state_dir, name);
}

int saved_write(const char *state_dir, const char *backend, const char *detail)
{
    char line[sizeof(struct saved) + 2];
    if (strlen(backend) >= sizeof((struct saved *)NULL)->backend ||
        strlen(detail) >= sizeof((struct saved *)NULL)->detail)
        return -EINVAL;
    int len = snprintf(line, sizeof line, "%s %s\n", backend, detail);
    return replace(state_dir, state_name, line, (size_t)len);
}

int saved_write_text(const char *state_dir, const char *text, size_t len)
{
    return replace(state_dir, SAVED_TEXT_NAME, text, len);
}

void saved_read(const char *state_dir, struct saved *out)
{
    char path[PATH_MAX];
    struct buffer text;
    *out = (struct saved){0};
    buffer_init(&text);
    path_of(state_dir, state_name, path);
    if (text_file_read(path, &text) == 0)
        (void)sscanf((const char *)buffer_data(&text), "%15s %31s", out->backend, out->detail);
    buffer_fini(&text);
}

int saved_read_text(const char *state_dir, struct buffer *out)
{
    char path[PATH_MAX];
    path_of(state_dir, SAVED_TEXT_NAME, path);
    return text_file_read(path, out);
}

void saved_remove(const char *state_dir)
{
    char path[PATH_MAX];
    path_of(state_dir, state_name, path);
    unlink(path);
    path_of(state_dir, SAVED_TEXT_NAME, path);
    unlink(path);
}
