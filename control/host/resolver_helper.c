/* resolver_helper_apply -> a request packet -> the helper's resolver_apply -> an answer packet. The
 * daemon's end of the socket closes with its last thread, also by SIGKILL and in the middle of a
 * request: the helper ends that request and restores. It holds a lock on the state folder as long as
 * it lives, so that the helper of the next daemon waits for it. */
#include "control/host/resolver_helper.h"

#include "base/err.h"
#include "control/host/helper.h"
#include "control/host/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ANSWER_MS = 40000, /* several tools may each take their 5 s */
    END_MS = 6000,
};

struct request {
    bool restore; /* else apply */
    bool keep_former;
    uint32_t nameserver_count;
    struct ip_addr nameservers[RESOLVER_NAMESERVERS];
    struct ip_addr stub;
    char domain[256];
    char interface[32];
};

struct answer {
    int32_t code;
    char text[512];
};

static struct helper helper = {.fd = -1};

/* ---- the helper's side ---- */

/* The daemon creates the folder before its first request. */
static int lock_state_dir(const char *state_dir)
{
    int fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

static int serve_request(const struct resolver_paths *paths, const struct request *request,
                         struct err *err)
{
    const struct resolver_setup setup = {
        .nameservers = request->nameservers,
        .nameserver_count = request->nameserver_count,
        .domain = request->domain,
        .interface = request->interface,
        .keep_former = request->keep_former,
        .stub = request->stub,
    };
    return request->restore ? resolver_restore(paths, err) : resolver_apply(paths, &setup, err);
}

static void serve(int fd, const void *ctx)
{
    const struct resolver_paths paths = resolver_paths_default(ctx);
    struct request request;
    struct err err;
    int lock = -1;
    ssize_t len;
    (void)umask(022); /* every program reads a resolv.conf that is created */
    while ((len = recv(fd, &request, sizeof request, 0)) > 0 || (len < 0 && errno == EINTR)) {
        struct answer answer = {.code = -EBADMSG};
        if (len < 0)
            continue;
        if (lock < 0)
            lock = lock_state_dir(paths.state_dir);
        request.domain[sizeof request.domain - 1] = '\0';
        request.interface[sizeof request.interface - 1] = '\0';
        err.text[0] = '\0';
        if (len == sizeof request && request.nameserver_count <= RESOLVER_NAMESERVERS)
            answer.code = serve_request(&paths, &request, &err);
        snprintf(answer.text, sizeof answer.text, "%s", err.text);
        (void)send(fd, &answer, sizeof answer, MSG_NOSIGNAL);
    }
    if (lock >= 0)
        (void)resolver_restore(&paths, &err);
}

/* ---- the daemon's side ---- */

int resolver_helper_start(const char *state_dir)
{
    static char folder[PATH_MAX];
    const struct helper_options options = {
        .name = "heimdall-tools",
        .rights = UINT64_C(1) << CAP_NET_ADMIN,
        .passes_on = true,
        .outlives = true,
        .serve = serve,
        .ctx = folder,
    };
    if (strlen(state_dir) >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, state_dir, strlen(state_dir) + 1);
    return helper_start(&helper, &options);
}

const struct helper *resolver_helper(void)
{
    return &helper;
}

void resolver_helper_end(void)
{
    if (helper.pid == 0)
        return;
    (void)shutdown(helper.fd, SHUT_RDWR);
    (void)helper_reap(helper.pid, END_MS);
    close(helper.fd); /* one that hangs in a tool goes on alone */
    helper = (struct helper){.fd = -1};
}

static int ask(const struct request *request, struct err *err)
{
    struct answer answer;
    struct pollfd poll_fd = {.fd = helper.fd, .events = POLLIN};
    if (send(helper.fd, request, sizeof *request, MSG_NOSIGNAL) < 0)
        return err_set_errno(err, -errno, "the helper for the host's resolver is gone");
    int ready = poll(&poll_fd, 1, ANSWER_MS);
    if (ready == 0)
        return err_set(err, -ETIMEDOUT, "the helper for the host's resolver hangs");
    if (recv(helper.fd, &answer, sizeof answer, 0) != sizeof answer)
        return err_set(err, -EPIPE, "the helper for the host's resolver is gone");
    answer.text[sizeof answer.text - 1] = '\0';
    return answer.code < 0 ? err_set(err, answer.code, "%s", answer.text) : answer.code;
}

int resolver_helper_apply(const struct resolver_paths *paths, const struct resolver_setup *setup,
                          struct err *err)
{
    struct request request = {.keep_former = setup->keep_former,
                              .nameserver_count = (uint32_t)setup->nameserver_count,
                              .stub = setup->stub};
    if (helper.pid == 0)
        return resolver_apply(paths, setup, err);
    if (setup->nameserver_count > RESOLVER_NAMESERVERS)
        return err_set(err, -EINVAL, "the resolver needs 1 to 3 addresses");
    if (setup->nameserver_count > 0)
        memcpy(request.nameservers, setup->nameservers,
               setup->nameserver_count * sizeof request.nameservers[0]);
    snprintf(request.domain, sizeof request.domain, "%s", setup->domain);
    snprintf(request.interface, sizeof request.interface, "%s", setup->interface);
    return ask(&request, err);
}

int resolver_helper_restore(const struct resolver_paths *paths, struct err *err)
{
    const struct request request = {.restore = true};
    return helper.pid == 0 ? resolver_restore(paths, err) : ask(&request, err);
}
