#include "base/buffer.h"

#include "tests/unit.h"

#include <string.h>

void __real_free(void *bytes);
void __wrap_free(void *bytes);
static size_t watched_len; /* how much of each freed block must be zero; 0: nothing is watched */
static unsigned freed, unwiped;

void __wrap_free(void *bytes)
{
    static const uint8_t zeros[256];
    if (bytes != NULL && watched_len > 0) {
        freed++;
        unwiped += memcmp(bytes, zeros, watched_len) != 0;
    }
    __real_free(bytes);
}

START_TEST(random_appends_and_consumes)
{
    struct buffer buffer;
    buffer_init(&buffer);
    uint8_t next_in = 0;
    uint8_t next_out = 0;
    size_t held = 0;
    srandom(5);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        size_t n = (size_t)random() % sizeof bytes;
        if (random() % 2 == 0) {
            for (size_t i = 0; i < n; i++)
                bytes[i] = next_in++;
            buffer_append(&buffer, bytes, n);
            held += n;
        } else {
            n = n < held ? n : held;
            for (size_t i = 0; i < n; i++)
                ck_assert_uint_eq(buffer_data(&buffer)[i], next_out++);
            buffer_consume(&buffer, n);
            held -= n;
        }
        ck_assert_uint_eq(buffer_len(&buffer), held);
    }
    ck_assert(!buffer_failed(&buffer));
    buffer_fini(&buffer);
}
END_TEST

START_TEST(printing)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_append_string(&buffer, "a=");
    for (int i = 0; i < 200; i++)
        buffer_printf(&buffer, "%d,", i);
    ck_assert_mem_eq(buffer_data(&buffer), "a=0,1,2,", 8);
    ck_assert_mem_eq(buffer_data(&buffer) + buffer_len(&buffer) - 8, "198,199,", 8);
    buffer_clear(&buffer);
    ck_assert_uint_eq(buffer_len(&buffer), 0);
    buffer_fini(&buffer);
}
END_TEST

START_TEST(a_failure_is_remembered)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_append_string(&buffer, "kept");
    ck_assert_ptr_null(buffer_reserve(&buffer, SIZE_MAX / 2));
    buffer_append_string(&buffer, "not added");
    ck_assert(buffer_failed(&buffer));
    ck_assert_uint_eq(buffer_len(&buffer), 4);
    ck_assert_mem_eq(buffer_data(&buffer), "kept", 4);
    buffer_fini(&buffer);
}
END_TEST

START_TEST(reserve_and_commit)
{
    struct buffer buffer;
    buffer_init(&buffer);
    uint8_t *room = buffer_reserve(&buffer, 1000);
    ck_assert_ptr_nonnull(room);
    memset(room, 'x', 1000);
    buffer_commit(&buffer, 10);
    ck_assert_uint_eq(buffer_len(&buffer), 10);
    ck_assert_mem_eq(buffer_data(&buffer), "xxxxxxxxxx", 10);
    buffer_fini(&buffer);
}
END_TEST

/* Neither when they grow nor when they go. */
START_TEST(secrets_leave_no_copy)
{
    struct buffer buffer;
    buffer_init_secret(&buffer);
    buffer_append_string(&buffer, "a key");
    watched_len = 256; /* the smallest block that a buffer takes */
    for (int i = 0; i < 5000; i++)
        buffer_append_string(&buffer, "more");
    watched_len = 0;
    ck_assert_mem_eq(buffer_data(&buffer), "a keymoremore", 13);
    ck_assert_uint_eq(buffer_len(&buffer), 20005);
    ck_assert_uint_gt(freed, 5);
    watched_len = 256;
    buffer_fini(&buffer);
    buffer_append_string(&buffer, "still one of that kind");
    buffer_fini(&buffer);
    watched_len = 0;
    ck_assert_uint_eq(unwiped, 0);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("buffer");
    tcase_add_test(tc, random_appends_and_consumes);
    tcase_add_test(tc, printing);
    tcase_add_test(tc, a_failure_is_remembered);
    tcase_add_test(tc, reserve_and_commit);
    tcase_add_test(tc, secrets_leave_no_copy);
    return unit_run(tc);
}
