#include "control/rpc/name_lookup.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* What the thread works on. The side that leaves last frees it. */
struct question {
    pthread_mutex_t lock; /* of all below */
    uv_async_t *answered; /* NULL: abandoned */
    bool done;
    char host[256];
    int family;
    int status;
    struct addrinfo *found;
};

struct name_lookup {
    uv_async_t answered;
    struct question *question; /* NULL: cancelled or done */
    void (*done)(void *ctx, int status, const struct addrinfo *found);
    void *ctx;
};

static void question_free(struct question *question)
{
    if (question->found != NULL)
        freeaddrinfo(question->found);
    pthread_mutex_destroy(&question->lock);
    free(question);
}

static void *ask(void *ctx)
{
    struct question *question = ctx;
    const struct addrinfo hints = {
        .ai_family = question->family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(question->host, NULL, &hints, &found);
    pthread_mutex_lock(&question->lock);
    bool abandoned = question->answered == NULL;
    question->status = status;
    question->found = status == 0 ? found : NULL;
    question->done = true;
    if (!abandoned)
        uv_async_send(question->answered);
    pthread_mutex_unlock(&question->lock);
    if (abandoned)
        question_free(question);
    return NULL;
}

static void lookup_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void lookup_answered(uv_async_t *async)
{
    struct name_lookup *lookup = async->data;
    struct question *question = lookup->question;
    if (question == NULL)
        return;
    pthread_mutex_lock(&question->lock); /* the thread has left once this is locked and done */
    bool done = question->done;
    pthread_mutex_unlock(&question->lock);
    if (!done)
        return;
    lookup->question = NULL;
    uv_close((uv_handle_t *)async, lookup_closed);
    lookup->done(lookup->ctx, question->status, question->found);
    question_free(question);
}

/* Signals are for the thread of the loop. */
static int start_thread(struct question *question)
{
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, former;
    sigfillset(&all);
    int rv = -pthread_attr_init(&attr);
    if (rv < 0)
        return rv;
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &former);
    rv = -pthread_create(&thread, &attr, ask, question);
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    pthread_attr_destroy(&attr);
    return rv;
}

int name_lookup_start(struct name_lookup **out, uv_loop_t *loop, const char *host, int family,
                      void (*done)(void *ctx, int status, const struct addrinfo *found), void *ctx)
{
    struct name_lookup *lookup = calloc(1, sizeof *lookup);
    struct question *question = calloc(1, sizeof *question);
    if (lookup == NULL || question == NULL) {
        free(lookup);
        free(question);
        return -ENOMEM;
    }
    pthread_mutex_init(&question->lock, NULL);
    snprintf(question->host, sizeof question->host, "%s", host);
    question->family = family;
    question->answered = &lookup->answered;
    lookup->question = question;
    lookup->done = done;
    lookup->ctx = ctx;
    int rv = uv_async_init(loop, &lookup->answered, lookup_answered);
    if (rv < 0) {
        question_free(question);
        free(lookup);
        return rv;
    }
    lookup->answered.data = lookup;
    rv = start_thread(question);
    if (rv < 0) {
        question_free(question);
        lookup->question = NULL;
        uv_close((uv_handle_t *)&lookup->answered, lookup_closed);
        return rv;
    }
    *out = lookup;
    return 0;
}

void name_lookup_cancel(struct name_lookup *lookup)
{
    if (lookup == NULL)
        return;
    struct question *question = lookup->question;
    lookup->question = NULL;
    pthread_mutex_lock(&question->lock);
    bool done = question->done;
    question->answered = NULL;
    pthread_mutex_unlock(&question->lock);
    if (done)
        question_free(question);
    uv_close((uv_handle_t *)&lookup->answered, lookup_closed);
}
