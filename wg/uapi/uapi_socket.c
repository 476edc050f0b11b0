#include "wg/uapi/uapi_socket.h"

#include "base/bytes.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

/* A client reads or is answered, never both: while an answer is on its way its socket is not read,
 * so that a client that asks without reading holds no more memory than one answer. One timer bounds
 * the time from the first byte of a request to its last, and then the time to take the answer. Time
 * that we need in between does not count, nor does time between two requests: a program may keep
 * its connection. Everything runs on the loop's thread. */

enum {
    READ_CHUNK = 4096,
    BACKLOG = 64,
    FILE_CHECK_MS = 1000,
};

#define DEFAULT_FOLDER "/var/run/wireguard"

struct uapi_socket {
    struct uapi_socket_options options;
    uv_pipe_t listener;
    uv_fs_event_t watcher;
    uv_timer_t checker;  /* in place of the watcher when the host has none left */
    uv_pipe_t refused;   /* accepts a connection when memory is short */
    bool refusing;       /* `refused` is in use */
    bool waiting;        /* another connection came meanwhile */
    struct list clients; /* longest waiting first */
    unsigned client_count;
    unsigned references; /* handles of the server and clients that libuv still holds */
    bool closing;
    bool removed;
    char path[UAPI_PATH_MAX]; /* empty: no file of ours */
    dev_t device;
    ino_t inode;
};

struct client {
    struct uapi_socket *server;
    struct list node;
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    unsigned open_handles;
    bool closing;
    bool discarding; /* a request was too long, and has been answered */
    pid_t process;   /* 0: unknown */
    char *request;
    size_t request_len;
    size_t request_capacity;
    size_t scanned;
    struct buffer answer;
};

static void serve_requests(struct client *client);

static void put_server(struct uapi_socket *socket)
{
    if (--socket->references == 0)
        free(socket);
}

/* ---- clients ---- */

static void free_client(struct client *client)
{
    if (client->request != NULL) {
        bytes_wipe(client->request, client->request_capacity);
        free(client->request);
    }
    buffer_fini(&client->answer);
    put_server(client->server);
    free(client);
}

static void on_client_handle_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    if (--client->open_handles == 0)
        free_client(client);
}

static void close_client(struct client *client)
{
    if (client->closing)
        return;
    client->closing = true;
    list_remove(&client->node);
    client->server->client_count--;
    uv_close((uv_handle_t *)&client->pipe, on_client_handle_closed);
    uv_close((uv_handle_t *)&client->timer, on_client_handle_closed);
}

static void on_client_timeout(uv_timer_t *timer)
{
    close_client(timer->data);
}

static void start_clock(struct client *client)
{
    uv_timer_start(&client->timer, on_client_timeout, UAPI_REQUEST_TIME_MS, 0);
}

/* The client has done something: others have waited longer from here on. */
static void note_activity(struct client *client)
{
    list_remove(&client->node);
    list_append(&client->server->clients, &client->node);
}

/* Grows without leaving a copy of a key behind, which realloc would. */
static bool uapi_make_room(struct client *client)
{
    if (client->request_capacity - client->request_len >= READ_CHUNK)
        return true;
    size_t capacity = 2 * client->request_capacity;
    if (capacity == 0)
        capacity = 2 * (size_t)READ_CHUNK;
    char *larger = malloc(capacity);
    if (larger == NULL)
        return false;
    if (client->request != NULL) {
        memcpy(larger, client->request, client->request_len);
        bytes_wipe(client->request, client->request_capacity);
        free(client->request);
    }
    client->request = larger;
    client->request_capacity = capacity;
    return true;
}

static void on_client_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct client *client = handle->data;
    if (!uapi_make_room(client)) {
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    size_t room = client->request_capacity - client->request_len;
    *buf = uv_buf_init(client->request + client->request_len, (unsigned)room);
}

static void on_client_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    (void)buf;
    struct client *client = stream->data;
    if (count < 0) {
        close_client(client);
    } else if (count > 0 && client->discarding) {
        bytes_wipe(client->request, (size_t)count);
    } else if (count > 0) {
        if (client->request_len == 0)
            start_clock(client);
        client->request_len += (size_t)count;
        serve_requests(client);
    }
}

static void on_client_written(uv_write_t *write, int status)
{
    struct client *client = write->data;
    buffer_fini(&client->answer);
    if (status != 0)
        close_client(client);
    if (client->closing)
        return;
    if (client->discarding || client->request_len > 0)
        start_clock(client);
    else
        uv_timer_stop(&client->timer);
    if (uv_read_start((uv_stream_t *)&client->pipe, on_client_alloc, on_client_read) != 0) {
        close_client(client);
        return;
    }
    if (!client->discarding)
        serve_requests(client);
}

static void send_answer(struct client *client)
{
    if (buffer_failed(&client->answer)) {
        close_client(client);
        return;
    }
    uv_read_stop((uv_stream_t *)&client->pipe);
    uv_update_time(client->server->listener.loop); /* a long list may have taken seconds */
    start_clock(client);
    note_activity(client);
    size_t len = buffer_len(&client->answer);
    uv_buf_t buf = uv_buf_init((char *)client->answer.bytes, (unsigned)len);
    client->write.data = client;
    if (uv_write(&client->write, (uv_stream_t *)&client->pipe, &buf, 1, on_client_written) != 0)
        close_client(client);
}

/* ---- requests ---- */

static int answer_get(struct client *client)
{
    const struct uapi_socket_options *options = &client->server->options;
    struct uapi_info info = {0};
    int rc = options->get(options->ctx, &info);
    if (rc == 0) {
        uapi_format_get(&client->answer, &info);
        uapi_info_fini(&info);
    }
    return rc;
}

static int answer_set(struct client *client, size_t len)
{
    const struct uapi_socket_options *options = &client->server->options;
    if (options->read_only)
        return -EPERM;
    struct wg_device_config config;
    int rc = uapi_parse_set(&config, client->request, len);
    if (rc == 0) {
        rc = options->set(options->ctx, &config);
        wg_device_config_fini(&config);
    }
    if (rc == 0)
        uapi_format_errno(&client->answer, 0);
    return rc;
}

static void answer_request(struct client *client, size_t len)
{
    enum uapi_operation operation;
    int rc = uapi_parse_operation(&operation, client->request, len);
    if (rc == 0) {
        switch (operation) {
        case UAPI_GET:
            rc = answer_get(client);
            break;
        case UAPI_SET:
            rc = answer_set(client, len);
            break;
        }
    }
    if (rc != 0)
        uapi_format_errno(&client->answer, rc);
}

/* Answers a request that does not end, and reads what follows only to throw it away: a client that
 * is still sending would not see the answer if we hung up. */
static void refuse_request(struct client *client)
{
    client->discarding = true;
    bytes_wipe(client->request, client->request_capacity);
    free(client->request);
    client->request = NULL;
    client->request_len = client->request_capacity = client->scanned = 0;
    uapi_format_errno(&client->answer, -E2BIG);
    send_answer(client);
}

/* Answers the first complete request, if there is one. The next follows when that answer is out. */
static void serve_requests(struct client *client)
{
    size_t len = uapi_request_len(client->request, client->request_len, client->scanned);
    if (len == 0) {
        client->scanned = client->request_len;
        if (client->request_len > UAPI_REQUEST_MAX)
            refuse_request(client);
        return;
    }
    answer_request(client, len);
    size_t rest = client->request_len - len;
    memmove(client->request, client->request + len, rest);
    bytes_wipe(client->request + rest, len);
    client->request_len = rest;
    client->scanned = 0;
    send_answer(client);
}

/* ---- the server ---- */

static unsigned count_clients(struct uapi_socket *socket, pid_t process)
{
    unsigned count = 0;
    list_for_each (pos, &socket->clients)
        count += container_of(pos, struct client, node)->process == process;
    return count;
}

/* The one that has waited longest among those of the process that holds the most places. */
static struct client *find_victim(struct uapi_socket *socket)
{
    struct client *victim = NULL;
    unsigned most = 0;
    list_for_each (pos, &socket->clients) {
        struct client *client = container_of(pos, struct client, node);
        unsigned count = count_clients(socket, client->process);
        if (count > most) {
            most = count;
            victim = client;
        }
    }
    return victim;
}

static void admit_client(struct uapi_socket *socket, struct client *client)
{
    if (socket->client_count >= UAPI_CLIENTS_MAX)
        close_client(find_victim(socket));
    socket->client_count++;
    list_append(&socket->clients, &client->node);
}

static pid_t process_of(const uv_pipe_t *pipe)
{
#ifdef SO_PEERCRED
    struct ucred who;
    socklen_t len = sizeof who;
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)pipe, &fd) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0)
        return who.pid;
#else
    (void)pipe;
#endif
    return 0;
}

static void take_connection(struct uapi_socket *socket);

static void uapi_on_refused(uv_handle_t *handle)
{
    struct uapi_socket *socket = handle->data;
    socket->refusing = false;
    if (socket->waiting && !socket->closing)
        take_connection(socket);
    put_server(socket);
}

/* libuv reports no further connection until this one is accepted. */
static void refuse_connection(struct uapi_socket *socket)
{
    socket->waiting = socket->refusing;
    if (socket->refusing)
        return;
    uv_pipe_init(socket->listener.loop, &socket->refused, 0);
    socket->refused.data = socket;
    socket->refusing = true;
    socket->references++;
    uv_accept((uv_stream_t *)&socket->listener, (uv_stream_t *)&socket->refused);
    uv_close((uv_handle_t *)&socket->refused, uapi_on_refused);
}

static void take_connection(struct uapi_socket *socket)
{
    uv_stream_t *listener = (uv_stream_t *)&socket->listener;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        refuse_connection(socket);
        return;
    }
    socket->waiting = false;
    client->server = socket;
    client->pipe.data = client;
    client->timer.data = client;
    list_init(&client->node);
    buffer_init_secret(&client->answer);
    uv_pipe_init(listener->loop, &client->pipe, 0);
    uv_timer_init(listener->loop, &client->timer);
    client->open_handles = 2;
    socket->references++;
    admit_client(socket, client);
    if (uv_accept(listener, (uv_stream_t *)&client->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&client->pipe, on_client_alloc, on_client_read) != 0) {
        close_client(client);
        return;
    }
    client->process = process_of(&client->pipe);
}

static void uapi_on_connection(uv_stream_t *listener, int status)
{
    struct uapi_socket *socket = listener->data;
    if (status == 0 && !socket->closing)
        take_connection(socket);
}

static bool file_is_ours(const struct uapi_socket *socket)
{
    struct stat st;
    return socket->path[0] != '\0' && lstat(socket->path, &st) == 0 &&
           st.st_dev == socket->device && st.st_ino == socket->inode;
}

static void check_file(struct uapi_socket *socket)
{
    if (socket->closing || socket->removed || file_is_ours(socket))
        return;
    socket->removed = true;
    if (socket->options.on_removed != NULL)
        socket->options.on_removed(socket->options.ctx);
}

static void on_folder_event(uv_fs_event_t *watcher, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    (void)status;
    check_file(watcher->data);
}

static void on_check_due(uv_timer_t *checker)
{
    check_file(checker->data);
}

static int open_unix(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    int rc = fd_prepare(fd);
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int connect_to(const struct sockaddr_un *addr)
{
    int fd = open_unix();
    if (fd < 0)
        return fd;
    int rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

/* Removes a socket left by a dead process. One that answers, or a file that is no socket, stays. */
static int remove_stale(const struct sockaddr_un *addr, struct err *err)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) != 0)
        return errno == ENOENT ? 0 : err_set_errno(err, -errno, "%s", addr->sun_path);
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(err, -EADDRINUSE, "%s exists and is not a socket: remove it",
                       addr->sun_path);
    }
    if (connect_to(addr) != -ECONNREFUSED) {
        return err_set(err, -EADDRINUSE, "%s is in use: another process runs this interface",
                       addr->sun_path);
    }
    if (unlink(addr->sun_path) != 0 && errno != ENOENT)
        return err_set_errno(err, -errno, "cannot remove the stale socket %s", addr->sun_path);
    return 0;
}

/* Creates the socket beside its place and moves it there once it listens, with its mode: wg(8)
 * deletes a socket that refuses its connection, as one does between bind and listen. */
static int bind_and_listen(int fd, const struct sockaddr_un *addr, struct err *err)
{
    struct sockaddr_un beside = {.sun_family = AF_UNIX};
    int len = snprintf(beside.sun_path, sizeof beside.sun_path, "%s.new", addr->sun_path);
    if (len < 0 || (size_t)len >= sizeof beside.sun_path)
        return err_set(err, -ENAMETOOLONG, "%s.new is too long for a socket", addr->sun_path);
    if (unlink(beside.sun_path) != 0 && errno != ENOENT)
        return err_set_errno(err, -errno, "cannot remove the stale socket %s", beside.sun_path);
    if (bind(fd, (const struct sockaddr *)&beside, sizeof beside) != 0)
        return err_set_errno(err, -errno, "cannot create %s", beside.sun_path);
    if (chmod(beside.sun_path, 0600) == 0 && listen(fd, BACKLOG) == 0 &&
        rename(beside.sun_path, addr->sun_path) == 0)
        return 0;
    int rc = err_set_errno(err, -errno, "cannot listen on %s", addr->sun_path);
    unlink(beside.sun_path);
    return rc;
}

/* Opens the listening socket at its place, whose address is *addr. */
static int listen_at(struct sockaddr_un *addr, const char *folder, const char *name,
                     struct err *err)
{
    int len = snprintf(addr->sun_path, sizeof addr->sun_path, "%s/%s.sock", folder, name);
    if (len < 0 || (size_t)len >= sizeof addr->sun_path)
        return err_set(err, -ENAMETOOLONG, "%s/%s.sock is too long for a socket", folder, name);
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, -errno, "cannot create the folder %s", folder);
    int rc = remove_stale(addr, err);
    if (rc != 0)
        return rc;
    int fd = open_unix();
    if (fd < 0)
        return err_set_errno(err, fd, "cannot create a unix socket");
    rc = bind_and_listen(fd, addr, err);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    return fd;
}

/* Takes over a socket that was passed in, which may have a file. */
static int adopt(struct sockaddr_un *addr, int fd)
{
    socklen_t len = sizeof *addr;
    if (getsockname(fd, (struct sockaddr *)addr, &len) != 0 || addr->sun_family != AF_UNIX)
        addr->sun_path[0] = '\0';
    return fd;
}

/* Notes which file the listening socket has, so that its removal is seen. */
static void learn_file(struct uapi_socket *socket, const struct sockaddr_un *addr)
{
    struct stat st;
    if (addr->sun_path[0] != '/' || lstat(addr->sun_path, &st) != 0)
        return;
    socket->device = st.st_dev;
    socket->inode = st.st_ino;
    snprintf(socket->path, sizeof socket->path, "%.*s", (int)(sizeof socket->path - 1),
             addr->sun_path);
}

static int watch_folder(struct uapi_socket *socket)
{
    if (socket->path[0] == '\0')
        return 0;
    char folder[UAPI_PATH_MAX];
    memcpy(folder, socket->path, sizeof folder);
    char *slash = strrchr(folder, '/');
    slash[slash == folder ? 1 : 0] = '\0';
    int rc = uv_fs_event_start(&socket->watcher, on_folder_event, folder, 0);
    /* Linux gives each user 128 watchers and some 10,000 folders to watch; devices may be more. */
    if (rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_ENOSPC)
        rc = uv_timer_start(&socket->checker, on_check_due, FILE_CHECK_MS, FILE_CHECK_MS);
    return rc;
}

static int start_server(struct uapi_socket *socket, int *fd, struct err *err)
{
    int rc = uv_pipe_open(&socket->listener, *fd);
    if (rc != 0)
        return err_set(err, rc, "cannot serve the UAPI socket: %s", uv_strerror(rc));
    *fd = -1;
    rc = uv_listen((uv_stream_t *)&socket->listener, BACKLOG, uapi_on_connection);
    if (rc == 0)
        rc = watch_folder(socket);
    if (rc != 0)
        return err_set(err, rc, "cannot serve %s: %s", socket->path, uv_strerror(rc));
    return 0;
}

int uapi_socket_open(struct uapi_socket **out, struct uv_loop_s *loop,
                     const struct uapi_socket_options *options, struct err *err)
{
    struct uapi_socket *socket = calloc(1, sizeof *socket);
    if (socket == NULL)
        return err_set_errno(err, -ENOMEM, "cannot serve the UAPI socket");
    const char *folder = options->folder != NULL ? options->folder : DEFAULT_FOLDER;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = options->listen_fd >= 0 ? adopt(&addr, options->listen_fd)
                                     : listen_at(&addr, folder, options->interface_name, err);
    if (fd < 0) {
        free(socket);
        return fd;
    }
    socket->options = *options;
    socket->options.folder = NULL;
    socket->options.interface_name = NULL;
    list_init(&socket->clients);
    learn_file(socket, &addr);
    uv_pipe_init(loop, &socket->listener, 0);
    uv_fs_event_init(loop, &socket->watcher);
    uv_timer_init(loop, &socket->checker);
    socket->listener.data = socket;
    socket->watcher.data = socket;
    socket->checker.data = socket;
    socket->references = 3;
    int rc = start_server(socket, &fd, err);
    if (rc != 0) {
        uapi_socket_close(socket);
        if (fd >= 0 && fd != options->listen_fd)
            close(fd);
        return rc;
    }
    *out = socket;
    return 0;
}

const char *uapi_socket_path(const struct uapi_socket *socket)
{
    return socket->path;
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    put_server(handle->data);
}

void uapi_socket_close(struct uapi_socket *socket)
{
    if (socket == NULL)
        return;
    assert(!socket->closing);
    socket->closing = true;
    if (file_is_ours(socket))
        unlink(socket->path);
    while (!list_empty(&socket->clients))
        close_client(list_first(&socket->clients, struct client, node));
    uv_close((uv_handle_t *)&socket->listener, on_server_handle_closed);
    uv_close((uv_handle_t *)&socket->watcher, on_server_handle_closed);
    uv_close((uv_handle_t *)&socket->checker, on_server_handle_closed);
}
