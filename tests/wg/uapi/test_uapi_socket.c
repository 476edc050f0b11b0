#include "wg/uapi/uapi_socket.h"

#include "tests/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/* The server runs on a loop that the test turns. Clients are plain sockets. */

enum { TURNS = 2000, MANY_PEERS = 10000 };

static uv_loop_t loop;
static char folder[64];
static struct uapi_socket *server;
static unsigned sets, gets, removals;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
static bool no_memory;

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb fire, uint64_t timeout, uint64_t repeat);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fire, uint64_t timeout, uint64_t repeat);
static unsigned haste = 1; /* factor by which the clients' clock is fast */

int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb fire, uint64_t timeout, uint64_t repeat)
{
    return __real_uv_timer_start(timer, fire, timeout / haste, repeat / haste);
}

int __real_uv_fs_event_start(uv_fs_event_t *event, uv_fs_event_cb seen, const char *path,
                             unsigned flags);
int __wrap_uv_fs_event_start(uv_fs_event_t *event, uv_fs_event_cb seen, const char *path,
                             unsigned flags);
static bool no_watchers; /* as where 128 other programs of the user have some */

int __wrap_uv_fs_event_start(uv_fs_event_t *event, uv_fs_event_cb seen, const char *path,
                             unsigned flags)
{
    return no_watchers ? UV_EMFILE : __real_uv_fs_event_start(event, seen, path, flags);
}

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
static bool visible_early; /* at its place before it listened */

int __wrap_listen(int fd, int backlog)
{
    char path[128];
    struct stat st;
    snprintf(path, sizeof path, "%s/wgtest.sock", folder);
    visible_early = visible_early || lstat(path, &st) == 0;
    return __real_listen(fd, backlog);
}

static bool has_many_peers;

static int get(void *ctx, struct uapi_info *out)
{
    (void)ctx;
    gets++;
    *out = (struct uapi_info){.listen_port = 1234};
    if (has_many_peers) { /* which take their time, and more than a socket holds */
        usleep((UAPI_REQUEST_TIME_MS / haste + 100) * 1000);
        out->device.peers = __real_calloc(MANY_PEERS, sizeof *out->device.peers);
        out->device.peer_count = MANY_PEERS;
    }
    return 0;
}

static int set(void *ctx, const struct wg_device_config *config)
{
    (void)ctx;
    sets++;
    return config->has_listen_port && config->listen_port == 99 ? -EADDRINUSE : 0;
}

static void removed(void *ctx)
{
    (void)ctx;
    removals++;
}

static int open_server(bool read_only, struct err *err)
{
    struct uapi_socket_options options = {
        .folder = folder,
        .interface_name = "wgtest",
        .listen_fd = -1,
        .read_only = read_only,
        .get = get,
        .set = set,
        .on_removed = removed,
    };
    return uapi_socket_open(&server, &loop, &options, err);
}

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/heimdall-uapi-%d-XXXXXX", (int)getpid());
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    server = NULL;
    sets = gets = removals = 0;
    visible_early = false;
}

static void teardown(void)
{
    uapi_socket_close(server);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    char path[128];
    snprintf(path, sizeof path, "%s/wgtest.sock", folder);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static struct sockaddr_un address(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    snprintf(addr.sun_path, sizeof addr.sun_path, "%s/wgtest.sock", folder);
    return addr;
}

static int connect_client(void)
{
    struct sockaddr_un addr = address();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* Reads until an answer is complete, the server hangs up ("closed") or nothing more comes. */
static const char *await_answer(int fd)
{
    static char answer[4096];
    size_t len = 0;
    for (int i = 0; i < TURNS; i++) {
        turn();
        ssize_t got = read(fd, answer + len, sizeof answer - 1 - len);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return "closed";
        len += got > 0 ? (size_t)got : 0;
        answer[len] = '\0';
        if (len >= 2 && strcmp(answer + len - 2, "\n\n") == 0)
            return answer;
    }
    return "nothing";
}

static const char *ask(const char *request)
{
    int fd = connect_client();
    ck_assert_int_eq(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    const char *answer = await_answer(fd);
    close(fd);
    return answer;
}

static const struct {
    const char *request;
    const char *answer;
    bool read_only;
    unsigned sets;
} dialogues[] = {
    {"get=1\n\n", "listen_port=1234\nerrno=0\n\n", false, 0},
    {"get=1\n\n", "listen_port=1234\nerrno=0\n\n", true, 0},
    {"set=1\nlisten_port=1\n\n", "errno=0\n\n", false, 1},
    {"set=1\nlisten_port=1\n\n", "errno=-1\n\n", true, 0},
    {"set=1\nlisten_port=99\n\n", "errno=-98\n\n", false, 1},
    {"set=1\nnonsense=1\n\n", "errno=-22\n\n", false, 0},
    {"hello\n\n", "errno=-71\n\n", false, 0},
};

START_TEST(dialogue)
{
    ck_assert_int_eq(open_server(dialogues[_i].read_only, NULL), 0);
    ck_assert_str_eq(ask(dialogues[_i].request), dialogues[_i].answer);
    ck_assert_uint_eq(sets, dialogues[_i].sets);
}
END_TEST

START_TEST(file_is_private_and_goes_away)
{
    ck_assert_int_eq(open_server(false, NULL), 0);
    struct stat st;
    ck_assert_int_eq(stat(uapi_socket_path(server), &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    uapi_socket_close(server);
    server = NULL;
    ck_assert_int_eq(access(address().sun_path, F_OK), -1);
}
END_TEST

START_TEST(two_requests_on_one_connection_byte_by_byte)
{
    static const char request[] = "set=1\nfwmark=1\n\nget=1\n\n";
    ck_assert_int_eq(open_server(false, NULL), 0);
    int fd = connect_client();
    for (size_t i = 0; i < 16; i++) {
        ck_assert_int_eq(write(fd, request + i, 1), 1);
        ck_assert_uint_eq(sets, 0);
        turn();
    }
    ck_assert_str_eq(await_answer(fd), "errno=0\n\n");
    ck_assert_int_eq(write(fd, request + 16, 7), 7);
    ck_assert_str_eq(await_answer(fd), "listen_port=1234\nerrno=0\n\n");
    close(fd);
}
END_TEST

START_TEST(silent_clients_hold_nobody_up)
{
    enum { SILENT = 100 };
    int fds[SILENT];
    ck_assert_int_eq(open_server(false, NULL), 0);
    for (size_t i = 0; i < SILENT; i++) {
        fds[i] = connect_client();
        ck_assert_int_eq(write(fds[i], "set=1\n", 6), 6);
        turn();
    }
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
    ck_assert_str_eq(await_answer(fds[0]), "closed"); /* the oldest had to go */
    for (size_t i = 0; i < SILENT; i++)
        close(fds[i]);
    ck_assert_uint_eq(sets, 0);
}
END_TEST

/* The answer comes while the client is still sending, and some time later the end. */
START_TEST(oversized_request_is_answered)
{
    static char chunk[65536];
    const char *answer = "nothing";
    memset(chunk, 'a', sizeof chunk);
    haste = 2; /* a sanitizer needs a second to send it all */
    ck_assert_int_eq(open_server(false, NULL), 0);
    int fd = connect_client();
    size_t sent = 0;
    while (sent < UAPI_REQUEST_MAX + sizeof chunk) {
        ssize_t put = send(fd, chunk, sizeof chunk, MSG_NOSIGNAL);
        ck_assert(put >= 0 || errno == EAGAIN);
        sent += put > 0 ? (size_t)put : 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    answer = await_answer(fd);
    ck_assert_str_eq(answer, "errno=-7\n\n");
    ck_assert_int_eq(send(fd, chunk, 100, MSG_NOSIGNAL), 100);
    do
        answer = await_answer(fd);
    while (strcmp(answer, "nothing") == 0); /* Check's own limit ends the test */
    ck_assert_str_eq(answer, "closed");
    close(fd);
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
}
END_TEST

/* Between two requests, and before the first, there is no hurry. */
START_TEST(idle_client_is_kept)
{
    haste = 100;
    ck_assert_int_eq(open_server(false, NULL), 0);
    int fd = connect_client();
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 2 * UAPI_REQUEST_TIME_MS / 100; j++)
            turn();
        ck_assert_int_eq(write(fd, "get=1\n\n", 7), 7);
        ck_assert_str_eq(await_answer(fd), "listen_port=1234\nerrno=0\n\n");
    }
    close(fd);
}
END_TEST

/* A program that takes all places loses them to others, and others keep theirs. */
START_TEST(places_are_shared_between_processes)
{
    enum { GREEDY = 100 };
    int ready[2], fds[GREEDY];
    ck_assert_int_eq(open_server(false, NULL), 0);
    int modest = connect_client(); /* the one that has waited longest */
    ck_assert_int_eq(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (size_t i = 0; i < GREEDY; i++) {
            struct sockaddr_un addr = address();
            fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
            if (connect(fds[i], (struct sockaddr *)&addr, sizeof addr) != 0)
                _exit(1);
        }
        if (write(ready[1], "", 1) == 1)
            pause();
        _exit(0);
    }
    char done;
    close(ready[1]);
    int flags = fcntl(ready[0], F_GETFL);
    ck_assert_int_eq(fcntl(ready[0], F_SETFL, flags | O_NONBLOCK), 0);
    for (int i = 0; i < TURNS && read(ready[0], &done, 1) != 1; i++)
        turn();
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
    ck_assert_int_eq(write(modest, "get=1\n\n", 7), 7);
    ck_assert_str_eq(await_answer(modest), "listen_port=1234\nerrno=0\n\n");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(modest);
    close(ready[0]);
}
END_TEST

START_TEST(slow_client_is_cut_off_in_time)
{
    haste = 10;
    ck_assert_int_eq(open_server(false, NULL), 0);
    int fd = connect_client();
    turn();
    bool closed = false;
    for (int i = 0; i < UAPI_REQUEST_TIME_MS / 50 + 40 && !closed; i++) {
        closed = send(fd, "s", 1, MSG_NOSIGNAL) < 0;
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(50 * 1000 / haste);
    }
    close(fd);
    ck_assert(closed);
}
END_TEST

/* Our own time is not the client's. */
START_TEST(slow_answer_arrives_whole)
{
    char chunk[65536];
    size_t peers = 0;
    ck_assert_int_eq(open_server(false, NULL), 0);
    haste = 4;
    has_many_peers = true;
    int fd = connect_client();
    ck_assert_int_eq(write(fd, "get=1\n\n", 7), 7);
    for (int i = 0; i < TURNS && peers < MANY_PEERS; i++) {
        turn();
        ssize_t got = read(fd, chunk, sizeof chunk);
        for (ssize_t j = 0; j < got; j++)
            peers += chunk[j] == 'u'; /* as in public_key, and nowhere else */
    }
    ck_assert_uint_eq(peers, MANY_PEERS);
    close(fd);
}
END_TEST

/* wg(8) deletes a socket that refuses its connection. */
START_TEST(nobody_is_refused_at_the_start)
{
    struct sockaddr_un addr = address();
    char beside[sizeof addr.sun_path + 4];
    struct stat st;
    snprintf(beside, sizeof beside, "%s.new", addr.sun_path);
    FILE *left = fopen(beside, "w"); /* by a run that was killed */
    ck_assert_ptr_nonnull(left);
    fclose(left);
    ck_assert_int_eq(open_server(false, NULL), 0);
    ck_assert(!visible_early);
    ck_assert_int_eq(lstat(beside, &st), -1);
    ck_assert_str_eq(uapi_socket_path(server), addr.sun_path);
}
END_TEST

/* With the host's watchers, and without. */
START_TEST(removal_is_reported_once)
{
    haste = 100;
    no_watchers = _i == 1;
    ck_assert_int_eq(open_server(false, NULL), 0);
    for (int i = 0; i < 5; i++)
        turn();
    ck_assert_uint_eq(removals, 0);
    ck_assert_int_eq(unlink(uapi_socket_path(server)), 0);
    for (int i = 0; i < 50; i++)
        turn();
    ck_assert_uint_eq(removals, 1);
}
END_TEST

/* Leaves a listening socket, closed or not, at the server's path. */
static int occupy(void)
{
    struct sockaddr_un addr = address();
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

START_TEST(stale_socket_is_replaced)
{
    close(occupy());
    ck_assert_int_eq(open_server(false, NULL), 0);
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
}
END_TEST

START_TEST(live_socket_is_left_alone)
{
    int fd = occupy();
    struct err err;
    ck_assert_int_eq(open_server(false, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, "in use"));
    ck_assert_int_eq(access(address().sun_path, F_OK), 0);
    close(fd);
}
END_TEST

START_TEST(handed_in_socket_is_served)
{
    struct uapi_socket_options options = {
        .interface_name = "other",
        .listen_fd = occupy(),
        .get = get,
        .set = set,
        .on_removed = removed,
    };
    ck_assert_int_eq(uapi_socket_open(&server, &loop, &options, NULL), 0);
    ck_assert_str_eq(uapi_socket_path(server), address().sun_path);
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
}
END_TEST

/* Clients that connect while memory is short are turned away, and the next are served. */
START_TEST(short_of_memory_turns_clients_away)
{
    ck_assert_int_eq(open_server(false, NULL), 0);
    int fds[5];
    no_memory = true;
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        fds[i] = connect_client();
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        ck_assert_str_eq(await_answer(fds[i]), "closed");
        close(fds[i]);
    }
    no_memory = false;
    ck_assert_str_eq(ask("get=1\n\n"), "listen_port=1234\nerrno=0\n\n");
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("uapi_socket");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, dialogue, 0, ARRAY_LEN(dialogues));
    tcase_add_test(tc, file_is_private_and_goes_away);
    tcase_add_test(tc, two_requests_on_one_connection_byte_by_byte);
    tcase_add_test(tc, silent_clients_hold_nobody_up);
    tcase_add_test(tc, oversized_request_is_answered);
    tcase_add_test(tc, idle_client_is_kept);
    tcase_add_test(tc, places_are_shared_between_processes);
    tcase_add_test(tc, slow_client_is_cut_off_in_time);
    tcase_add_test(tc, slow_answer_arrives_whole);
    tcase_add_test(tc, nobody_is_refused_at_the_start);
    tcase_add_loop_test(tc, removal_is_reported_once, 0, 2);
    tcase_add_test(tc, stale_socket_is_replaced);
    tcase_add_test(tc, live_socket_is_left_alone);
    tcase_add_test(tc, handed_in_socket_is_served);
    tcase_add_test(tc, short_of_memory_turns_clients_away);
    return unit_run(tc);
}
