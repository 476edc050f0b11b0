#include "base/first_process.h"
#include "base/ifname.h"
#include "base/log.h"
#include "cmd/version.h"
#include "tun/tun.h"
#include "wg/path/path.h"
#include "wg/uapi/uapi_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* heimdall-wg: one WireGuard device, configured by wg(8) over its UAPI socket. The main thread runs
 * a loop for that socket and for signals; the path's own threads carry packets. In daemon mode the
 * program forks before any thread exists, and the parent waits until the child reports that it is
 * ready. */

enum { EXIT_USAGE = 2 };

struct options {
    bool foreground;
    bool keep_output; /* also in the background: the user asked for logs */
    const char *name;
    int tun_fd;  /* WG_TUN_FD, or -1 */
    int uapi_fd; /* WG_UAPI_FD, or -1 */
};

struct program {
    uv_loop_t loop;
    uv_signal_t signals[4];
    uv_async_t closed; /* the interface is gone: sent from a thread of the path */
    struct path *path;
    struct uapi_socket *uapi;
    bool ending;
};

static const char usage[] =
    "usage: heimdall-wg [-f|--foreground] INTERFACE\n"
    "\n"
    "Creates a WireGuard interface that wg(8) configures, and goes to the background.\n"
    "\n"
    "  -f, --foreground  stay in the foreground (also WG_PROCESS_FOREGROUND=1)\n"
    "  -h, --help        show this text\n"
    "  -v, --version     show the version\n"
    "\n"
    "  LOG_LEVEL         silent, error (default), info or verbose (also debug)\n"
    "  WG_TUN_FD         use this descriptor as the interface\n"
    "  WG_UAPI_FD        use this listening socket for wg(8)\n";

/* ---- options ---- */

/* Reads a descriptor's number from the environment; -1 for none, -2 for a malformed one. */
static int descriptor_from(const char *variable)
{
    const char *text = getenv(variable);
    if (text == NULL || text[0] == '\0')
        return -1;
    uint64_t number = 0;
    if (!parse_number(&number, text, 0, INT32_MAX) || fcntl((int)number, F_GETFD) < 0) {
        fprintf(stderr, "heimdall-wg: %s=%s is not an open descriptor\n", variable, text);
        return -2;
    }
    return (int)number;
}

static bool read_environment(struct options *options)
{
    const char *foreground = getenv("WG_PROCESS_FOREGROUND");
    if (foreground != NULL && strcmp(foreground, "1") == 0)
        options->foreground = true;
    options->tun_fd = descriptor_from("WG_TUN_FD");
    options->uapi_fd = descriptor_from("WG_UAPI_FD");
    return options->tun_fd != -2 && options->uapi_fd != -2;
}

/* Sets the log level. Returns whether the user asked for logs. Unknown words mean "error". */
static bool set_log_level(void)
{
    const char *level = getenv("LOG_LEVEL");
    log_set_level(LOG_ERROR);
    if (level == NULL || level[0] == '\0')
        return false;
    if (strcmp(level, "silent") == 0) {
        log_set_fd(-1); /* disables the log */
        return false;
    }
    if (strcmp(level, "verbose") == 0 || strcmp(level, "debug") == 0)
        log_set_level(LOG_DEBUG);
    else if (strcmp(level, "info") == 0)
        log_set_level(LOG_INFO);
    return true;
}

/* Returns -1 to go on, or the exit status. */
static int read_options(struct options *options, int argc, char **argv)
{
    static const struct option longs[] = {
        {"foreground", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "fhv", longs, NULL)) != -1) {
        switch (letter) {
        case 'f':
            options->foreground = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_SUCCESS;
        case 'v':
            printf("heimdall-wg %s\n", version_text);
            return EXIT_SUCCESS;
        default: /* getopt has named the option */
            return EXIT_USAGE;
        }
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "heimdall-wg: expected one INTERFACE, found %d: see heimdall-wg --help\n",
                argc - optind);
        return EXIT_USAGE;
    }
    options->name = argv[optind];
    if (!ifname_is_valid(options->name) || options->name[0] == '.') {
        fprintf(stderr, "heimdall-wg: %s is not an interface name of 1 to %d characters\n",
                options->name, IFNAME_MAX);
        return EXIT_USAGE;
    }
    if (ifname_is_reserved(options->name)) {
        fprintf(stderr, "heimdall-wg: %s is a name that the kernel reserves: choose another one\n",
                options->name);
        return EXIT_USAGE;
    }
    return read_environment(options) ? -1 : EXIT_USAGE;
}

/* ---- the device ---- */

/* Closes all handles of the loop, which then ends. */
static void program_end(struct program *program)
{
    if (program->ending)
        return;
    program->ending = true;
    uapi_socket_close(program->uapi);
    for (size_t i = 0; i < sizeof program->signals / sizeof program->signals[0]; i++)
        uv_close((uv_handle_t *)&program->signals[i], NULL);
    uv_close((uv_handle_t *)&program->closed, NULL);
}

static void program_on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    program_end(handle->data);
}

static void on_interface_closed(void *ctx, const char *reason)
{
    (void)reason; /* the path has logged it */
    struct program *program = ctx;
    uv_async_send(&program->closed);
}

static void program_on_closed(uv_async_t *async)
{
    program_end(async->data);
}

static void on_socket_removed(void *ctx)
{
    log_info("the UAPI socket was removed");
    program_end(ctx);
}

static int get_info(void *ctx, struct uapi_info *out)
{
    struct program *program = ctx;
    struct path_info info;
    int rc = path_info(program->path, &info);
    if (rc == 0) {
        *out = (struct uapi_info){
            .device = info.device,
            .listen_port = info.listen_port,
            .fwmark = info.fwmark,
        };
    }
    return rc;
}

static int set_config(void *ctx, const struct wg_device_config *config)
{
    struct program *program = ctx;
    struct err err = {0};
    int rc = path_configure(program->path, config, &err);
    if (rc != 0)
        log_error("configuration refused", F_STR("error", err.text));
    return rc;
}

static int open_tun(struct tun **out, const struct options *options, struct err *err)
{
    return options->tun_fd >= 0 ? tun_adopt(out, options->tun_fd, err)
                                : tun_open(out, options->name, err);
}

static int open_path(struct program *program, const struct options *options, const char **name,
                     struct err *err)
{
    struct tun *tun = NULL;
    int rc = open_tun(&tun, options, err);
    if (rc != 0)
        return rc;
    struct path_options path_options = {
        .tun = tun,
        .on_closed = on_interface_closed,
        .ctx = program,
    };
    rc = path_create(&program->path, &path_options, err);
    if (rc != 0) {
        tun_close(tun);
        return rc;
    }
    *name = tun_ifindex(tun) != 0 ? tun_name(tun) : options->name;
    return path_start(program->path, err);
}

static int open_uapi(struct program *program, const struct options *options, const char *name,
                     struct err *err)
{
    struct uapi_socket_options uapi_options = {
        .interface_name = name,
        .listen_fd = options->uapi_fd,
        .ctx = program,
        .get = get_info,
        .set = set_config,
        .on_removed = on_socket_removed,
    };
    return uapi_socket_open(&program->uapi, &program->loop, &uapi_options, err);
}

/* Whether a parent like nohup(1) had SIGHUP ignored. */
static bool ignores_hangup(void)
{
    struct sigaction now;
    return sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static void init_loop(struct program *program)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    uv_loop_init(&program->loop);
    uv_async_init(&program->loop, &program->closed, program_on_closed);
    program->closed.data = program;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uv_signal_init(&program->loop, &program->signals[i]);
        program->signals[i].data = program;
        if (numbers[i] != SIGHUP || !ignores_hangup())
            uv_signal_start(&program->signals[i], program_on_signal, numbers[i]);
    }
}

/* Runs the device until it ends. Calls `ready` once it is up. */
static int program_run(const struct options *options,
                       void (*ready)(const struct options *options, int fd), int ready_fd)
{
    struct program program = {0};
    struct err err = {0};
    const char *name = NULL;
    init_loop(&program);
    (void)log_start();
    int rc = open_path(&program, options, &name, &err);
    if (rc == 0)
        rc = open_uapi(&program, options, name, &err);
    if (rc == 0) {
        log_info("device started", F_STR("interface", name));
        ready(options, ready_fd);
    } else {
        fprintf(stderr, "heimdall-wg: %s\n", err.text);
        program_end(&program);
    }
    uv_run(&program.loop, UV_RUN_DEFAULT);
    path_destroy(program.path);
    uv_loop_close(&program.loop);
    return rc == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- foreground and background ---- */

static void ready_in_foreground(const struct options *options, int fd)
{
    (void)options;
    (void)fd;
}

/* Detaches from the terminal, except for logs that the user asked for, and notifies the parent. */
static void ready_in_background(const struct options *options, int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int last = options->keep_output ? STDIN_FILENO : STDERR_FILENO;
    for (int std = STDIN_FILENO; null >= 0 && std <= last; std++)
        dup2(null, std);
    if (null > STDERR_FILENO)
        close(null);
    if (chdir("/") != 0)
        log_debug("cannot change to the root directory");
    ssize_t written = write(fd, "", 1);
    (void)written; /* the parent may be gone */
    close(fd);
}

/* The parent's part: success when the child reports that it is ready, else the child's own
 * status. */
static int await_child(pid_t child, int fd)
{
    char word;
    ssize_t got;
    do {
        got = read(fd, &word, 1);
    } while (got < 0 && errno == EINTR);
    if (got == 1)
        return EXIT_SUCCESS;
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE;
}

static int run_in_background(const struct options *options)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
        fprintf(stderr, "heimdall-wg: cannot create a pipe: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "heimdall-wg: cannot go to the background: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (child > 0) {
        close(fds[1]);
        return await_child(child, fds[0]);
    }
    close(fds[0]);
    setsid();
    return program_run(options, ready_in_background, fds[1]);
}

int main(int argc, char **argv)
{
    struct options options = {.tun_fd = -1, .uapi_fd = -1};
    int status = read_options(&options, argc, argv);
    if (status >= 0)
        return status;
    signal(SIGPIPE, SIG_IGN);
    options.keep_output = set_log_level();
    if (options.foreground)
        first_process_split();
    return options.foreground ? program_run(&options, ready_in_foreground, -1)
                              : run_in_background(&options);
}
