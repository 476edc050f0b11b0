#include "base/first_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIGNALED = 128 };

/* Reaps what has ended. Exits when the program is among it. */
static void reap(pid_t program)
{
    int status;
    pid_t pid;
    int result = -1;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == program)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : SIGNALED + WTERMSIG(status);
    if (result >= 0)
        _exit(result);
}

static _Noreturn void watch(pid_t program, const sigset_t *all)
{
    int number;
    for (;;) {
        if (sigwait(all, &number) != 0)
            continue;
        if (number == SIGCHLD)
            reap(program);
        else
            (void)kill(program, number);
    }
}

void first_process_split(void)
{
    sigset_t all;
    sigset_t before;
    if (getpid() != 1)
        return;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before); /* none is lost between here and sigwait */
    pid_t program = fork();
    if (program > 0)
        watch(program, &all);
    if (program < 0)
        fprintf(stderr, "cannot make a process beside process 1: %s\n", strerror(errno));
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
}
