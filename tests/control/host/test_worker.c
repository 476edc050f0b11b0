#include "control/host/worker.h"

#include "tests/control/loop_fixture.h"

static uv_loop_t loop;
static struct worker *worker;

struct step {
    struct worker_job job;
    unsigned number;
    uv_sem_t *gate; /* waited for by `run`; NULL: none */
};

static unsigned order[8];
static unsigned run_count;
static unsigned done_order[8];
static unsigned done_count;
static bool all_done;
static bool again;

static void step_run(struct worker_job *job)
{
    struct step *step = (struct step *)job;
    if (step->gate != NULL)
        uv_sem_wait(step->gate);
    order[run_count++] = step->number;
}

static void step_done(struct worker_job *job)
{
    struct step *step = (struct step *)job;
    done_order[done_count++] = step->number;
    all_done = done_count == 3;
    if (again) {
        again = false;
        worker_submit(worker, job);
    }
}

static struct step make(unsigned number, uv_sem_t *gate)
{
    return (struct step){
        .job = {.run = step_run, .done = step_done}, .number = number, .gate = gate};
}

static void setup(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    ck_assert_int_eq(worker_create(&worker, &loop), 0);
    run_count = done_count = 0;
    all_done = again = false;
}

static void on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
    uv_close((uv_handle_t *)timer, NULL);
}

/* A job that hangs delays those behind it and nothing of the loop. */
START_TEST(works_in_order_beside_the_loop)
{
    uv_sem_t gate;
    uv_timer_t timer;
    bool ticked = false;
    ck_assert_int_eq(uv_sem_init(&gate, 0), 0);
    struct step steps[3] = {make(1, &gate), make(2, NULL), make(3, NULL)};
    for (size_t i = 0; i < 3; i++)
        worker_submit(worker, &steps[i].job);
    uv_timer_init(&loop, &timer);
    timer.data = &ticked;
    uv_timer_start(&timer, on_timer, 20, 0);
    ck_assert(loop_run_until(&loop, &ticked, 10000));
    ck_assert_uint_eq(done_count, 0);
    uv_sem_post(&gate);
    ck_assert(loop_run_until(&loop, &all_done, 10000));
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(order[i], i + 1);
        ck_assert_uint_eq(done_order[i], i + 1);
    }
    worker_close(worker);
    loop_finish(&loop);
    uv_sem_destroy(&gate);
}
END_TEST

/* Closing loses nothing that was asked for, nor what a job asks for when it is done. */
START_TEST(closes_behind_its_jobs)
{
    struct step steps[2] = {make(1, NULL), make(2, NULL)};
    again = true;
    for (size_t i = 0; i < 2; i++)
        worker_submit(worker, &steps[i].job);
    worker_close(worker);
    loop_finish(&loop);
    ck_assert_uint_eq(done_count, 3);
    ck_assert_uint_eq(done_order[2], 1);
}
END_TEST

START_TEST(closes_without_jobs)
{
    worker_close(worker);
    worker_close(NULL);
    loop_finish(&loop);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("worker");
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, works_in_order_beside_the_loop);
    tcase_add_test(tc, closes_behind_its_jobs);
    tcase_add_test(tc, closes_without_jobs);
    return unit_run(tc);
}
