#include "control/rpc/transport_listener.h"

#include "base/log.h"
#include "control/rpc/transport_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 511,
    SOCKET_MODE = 0600,
    FILES_RESERVED = 384, /* descriptors for Redis, files, the tunnel, DNS and the unix socket */
    UNIX_CONNECTIONS = 64,
};

struct transport_listener {
    union transport_handle io;
    bool is_unix;
    bool closed; /* the handle is gone; the struct waits for its connections */
    bool closing;
    bool full;                   /* logged already */
    char path[ADDRESS_PATH_MAX]; /* of a unix socket, and its file, which others may replace */
    dev_t device;
    ino_t inode;
    struct transport_tls *tls;
    struct transport_limits limits;
    struct transport_owner owner;
    void (*accepted)(void *ctx, struct transport_conn *conn);
    void *ctx;
    unsigned connections;
};

static void free_when_unused(struct transport_listener *listener)
{
    if (!listener->closed || listener->connections > 0)
        return;
    transport_pending_fini(&listener->owner.pending);
    transport_tls_destroy(listener->tls);
    free(listener);
}

static void listener_authenticated(void *ctx, struct transport_conn *conn)
{
    struct transport_listener *listener = ctx;
    if (listener->closing)
        transport_abort(conn, NULL);
    else
        listener->accepted(listener->ctx, conn);
}

static void listener_conn_gone(void *ctx)
{
    struct transport_listener *listener = ctx;
    listener->connections--;
    listener->full = false;
    free_when_unused(listener);
}

static void listener_refused_closed(uv_handle_t *handle)
{
    free(handle);
}

/* Accepts a connection only to close it, so that the backlog does not fill up with clients that
 * wait in vain. */
static void refuse(struct transport_listener *listener)
{
    union transport_handle *handle = calloc(1, sizeof *handle);
    if (!listener->full)
        log_warn("too many control connections, new ones are refused",
                 F_INT("connections", listener->connections));
    listener->full = true;
    if (handle == NULL)
        return;
    if (listener->is_unix)
        uv_pipe_init(listener->io.handle.loop, &handle->pipe, 0);
    else
        uv_tcp_init(listener->io.handle.loop, &handle->tcp);
    uv_accept(&listener->io.stream, &handle->stream);
    uv_close(&handle->handle, listener_refused_closed);
}

static void listener_connection(uv_stream_t *stream, int status)
{
    struct transport_listener *listener = stream->data;
    if (status < 0 || listener->closing)
        return;
    if (listener->connections >= listener->limits.connections &&
        !transport_conn_make_room(&listener->owner)) {
        refuse(listener);
        return;
    }
    const struct transport_options options = {.tls = listener->tls, .limits = &listener->limits};
    listener->connections++;
    if (transport_conn_accept(stream, listener->is_unix, &options, &listener->owner) < 0) {
        listener->connections--;
        refuse(listener);
    }
}

static void listener_closed(uv_handle_t *handle)
{
    struct transport_listener *listener = handle->data;
    listener->closed = true;
    free_when_unused(listener);
}

/* Removes a socket on which nobody listens any more. 0, -EADDRINUSE when somebody does, -EEXIST for
 * a file of another kind. */
static int clear_stale_socket(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strnlen(path, sizeof to.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rv = connect(fd, (struct sockaddr *)&to, sizeof to) < 0 ? -errno : 0;
    close(fd);
    if (rv != -ECONNREFUSED)
        return -EADDRINUSE;
    return unlink(path) < 0 ? -errno : 0;
}

/* Creates the file; libuv's own pipes would later remove any file of that name. */
static int open_unix(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int rv = clear_stale_socket(path);
    if (rv < 0)
        return rv;
    memcpy(at.sun_path, path, strnlen(path, sizeof at.sun_path - 1));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* the file must never be open to others, not even for a moment */
    mode_t former = umask(0777 & ~SOCKET_MODE);
    rv = bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ? -errno : fd;
    umask(former);
    if (rv < 0)
        close(fd);
    return rv;
}

static int bind_unix(struct transport_listener *listener, uv_loop_t *loop, const char *path)
{
    struct stat st;
    uv_pipe_init(loop, &listener->io.pipe, 0);
    listener->io.handle.data = listener;
    int fd = open_unix(path);
    if (fd < 0)
        return fd;
    if (lstat(path, &st) == 0) {
        listener->device = st.st_dev;
        listener->inode = st.st_ino;
        memcpy(listener->path, path, strnlen(path, sizeof listener->path - 1));
    }
    int rv = uv_pipe_open(&listener->io.pipe, fd);
    if (rv < 0)
        close(fd);
    return rv;
}

static void remove_file(const struct transport_listener *listener)
{
    struct stat st;
    if (listener->path[0] != '\0' && lstat(listener->path, &st) == 0 &&
        st.st_dev == listener->device && st.st_ino == listener->inode)
        (void)unlink(listener->path);
}

static int bind_tcp(struct transport_listener *listener, uv_loop_t *loop,
                    const struct address *address, uint32_t fwmark)
{
    uv_tcp_init(loop, &listener->io.tcp);
    listener->io.handle.data = listener;
    int rv = transport_tcp_open(&listener->io.tcp, address->endpoint.sa.sa_family, fwmark);
    return rv < 0 ? rv : uv_tcp_bind(&listener->io.tcp, &address->endpoint.sa, 0);
}

/* Leaves descriptors to the rest of the program, and most places to those that authenticate. */
static void fit_limits(struct transport_limits *limits, bool is_unix)
{
    struct rlimit files;
    if (is_unix && limits->connections > UNIX_CONNECTIONS)
        limits->connections = UNIX_CONNECTIONS;
    if (is_unix || getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    rlim_t room =
        files.rlim_cur > 2 * FILES_RESERVED ? files.rlim_cur - FILES_RESERVED : files.rlim_cur / 2;
    if (limits->connections > room)
        limits->connections = (unsigned)room;
    if (limits->not_begun > limits->connections / 2)
        limits->not_begun = limits->connections / 2;
    if (limits->handshakes > limits->connections / 4)
        limits->handshakes = limits->connections / 4;
}

static int init_owner(struct transport_listener *listener)
{
    const unsigned limits[TRANSPORT_STAGES] = {
        [TRANSPORT_NOT_BEGUN] = listener->limits.not_begun,
        [TRANSPORT_HANDSHAKING] = listener->limits.handshakes,
    };
    uint8_t seed[16];
    int rv = uv_random(NULL, NULL, seed, sizeof seed, 0, NULL);
    listener->owner.authenticated = listener_authenticated;
    listener->owner.gone = listener_conn_gone;
    listener->owner.ctx = listener;
    transport_pending_init(&listener->owner.pending, seed, limits);
    return rv;
}

int transport_listen(struct transport_listener **out, uv_loop_t *loop,
                     const struct transport_options *options,
                     void (*accepted)(void *ctx, struct transport_conn *conn), void *ctx,
                     struct err *err)
{
    char at[ADDRESS_TEXT];
    struct transport_listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    listener->is_unix = options->address->kind == ADDRESS_UNIX;
    listener->tls = transport_tls_ref(options->tls);
    listener->limits = options->limits != NULL ? *options->limits : transport_limits_default;
    fit_limits(&listener->limits, listener->is_unix);
    listener->accepted = accepted;
    listener->ctx = ctx;
    int rv = listener->is_unix ? bind_unix(listener, loop, options->address->path)
                               : bind_tcp(listener, loop, options->address, options->fwmark);
    int random = init_owner(listener);
    if (rv == 0)
        rv = random;
    if (rv == 0)
        rv = uv_listen(&listener->io.stream, BACKLOG, listener_connection);
    if (rv < 0) {
        transport_listener_close(listener);
        return err_set(err, rv, "cannot listen on %s: %s", address_format(options->address, at),
                       uv_strerror(rv));
    }
    *out = listener;
    return 0;
}

void transport_listener_close(struct transport_listener *listener)
{
    if (listener == NULL)
        return;
    listener->closing = true;
    remove_file(listener);
    uv_close(&listener->io.handle, listener_closed);
}

uint16_t transport_listener_port(const struct transport_listener *listener)
{
    union endpoint bound = {0};
    int len = sizeof bound;
    if (listener->is_unix || uv_tcp_getsockname(&listener->io.tcp, &bound.sa, &len) < 0)
        return 0;
    return endpoint_port(&bound);
}
