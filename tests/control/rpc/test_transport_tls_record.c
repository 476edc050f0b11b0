#include "control/rpc/transport_tls_record.h"

#include "tests/unit.h"

#include <errno.h>
#include <string.h>

/* Two ends over memory; OpenSSL's own records are on the other side in test_transport.c. */

static const struct {
    uint16_t code;
    size_t secret_len;
} suites[] = {{0x1301, 32}, {0x1302, 48}, {0x1303, 32}};

static struct tls_records *a, *b;
static struct buffer wire, back;
static uint8_t data[40000], got[40000], chunk[TLS_RECORD_MAX];

static void make(size_t suite)
{
    uint8_t secrets[2][TLS_SECRET_MAX];
    memset(secrets[0], 1, sizeof secrets[0]);
    memset(secrets[1], 2, sizeof secrets[1]);
    size_t len = suites[suite].secret_len;
    a = tls_records_create(suites[suite].code, secrets[0], secrets[1], len);
    b = tls_records_create(suites[suite].code, secrets[1], secrets[0], len);
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    buffer_init(&wire);
    buffer_init(&back);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
}

static void finish(void)
{
    tls_records_destroy(a);
    tls_records_destroy(b);
    buffer_fini(&wire);
    buffer_fini(&back);
}

/* Carries all of the wire to `b`, a few bytes at a time; returns how the reading ended. */
static int carry(size_t step, size_t *len, uint8_t *alert)
{
    int rv = 0;
    *len = 0;
    while (buffer_len(&wire) > 0 && rv >= 0) {
        size_t part = buffer_len(&wire) < step ? buffer_len(&wire) : step;
        ck_assert_int_eq(tls_records_receive(b, buffer_data(&wire), part), 0);
        buffer_consume(&wire, part);
        while ((rv = tls_records_read(b, chunk, sizeof chunk, &back, alert)) > 0) {
            memcpy(got + *len, chunk, (size_t)rv);
            *len += (size_t)rv;
        }
    }
    return rv;
}

START_TEST(bytes_arrive)
{
    static const size_t lens[] = {1, 5, 16384, 16385, 40000};
    static const size_t steps[] = {1, 3, 1000, 100000};
    uint8_t alert;
    size_t len;
    make((size_t)_i);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++)
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            ck_assert_int_eq(tls_records_write(a, data, lens[i], &wire), 0);
            ck_assert_int_eq(carry(steps[k], &len, &alert), 0);
            ck_assert_uint_eq(len, lens[i]);
            ck_assert_mem_eq(got, data, len);
        }
    tls_records_end(a, &wire);
    ck_assert_int_eq(carry(7, &len, &alert), -EPIPE);
    ck_assert_uint_eq(buffer_len(&back), 0);
    finish();
}
END_TEST

/* Every byte of a record counts: it is refused with an alert, and nothing of it or behind it is
 * read. */
START_TEST(changed_bytes_are_refused)
{
    for (size_t at = 0; at < 5 + 5 + 1 + 16; at++) {
        uint8_t alert = 0;
        size_t len;
        make(at % 3);
        ck_assert_int_eq(tls_records_write(a, data, 5, &wire), 0);
        ((uint8_t *)(uintptr_t)buffer_data(&wire))[at] ^= 1;
        ck_assert_int_eq(tls_records_write(a, data, 300, &wire), 0);
        int rv = carry(1000, &len, &alert);
        ck_assert(rv == -EPROTO || (at == 3 && rv == 0)); /* a longer record: not whole yet */
        ck_assert_uint_eq(len, 0);
        if (rv == -EPROTO) {
            ck_assert_uint_gt(alert, 0);
            ck_assert_uint_eq(buffer_len(&back), 5 + 2 + 1 + 16); /* a sealed alert */
            ck_assert_int_eq(tls_records_write(b, data, 5, &back), -EIO);
        }
        finish();
    }
}
END_TEST

START_TEST(lengths_are_checked)
{
    static const uint8_t headers[][5] = {
        {23, 3, 3, 0x41, 1}, /* longer than a record may be */
        {23, 3, 3, 0, 16},   /* nothing but a tag */
        {22, 3, 3, 0, 40},   /* a handshake in the clear */
        {20, 3, 3, 0, 1},    /* change_cipher_spec, which ends with the handshake */
        {'P', 'R', 'I', ' ', '*'},
    };
    uint8_t alert = 0;
    make(0);
    ck_assert_int_eq(tls_records_receive(b, headers[_i], 5), 0);
    ck_assert_int_eq(tls_records_read(b, chunk, sizeof chunk, &back, &alert), -EPROTO);
    finish();
}
END_TEST

/* A record is for one place in the sequence. */
START_TEST(replayed_record_is_refused)
{
    uint8_t alert, copy[64];
    size_t len;
    make((size_t)_i);
    ck_assert_int_eq(tls_records_write(a, data, 5, &wire), 0);
    size_t record = buffer_len(&wire);
    memcpy(copy, buffer_data(&wire), record);
    ck_assert_int_eq(carry(1000, &len, &alert), 0);
    buffer_append(&wire, copy, record);
    ck_assert_int_eq(carry(1000, &len, &alert), -EPROTO);
    ck_assert_uint_eq(alert, 20);
    finish();
}
END_TEST

/* The other end follows to each new key, and a record under the former one is refused. */
START_TEST(keys_are_renewed)
{
    uint8_t alert, old[64];
    size_t len;
    make((size_t)_i);
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(tls_records_write(a, data, 100, &wire), 0);
        ck_assert_int_eq(tls_records_renew(a, &wire), 0);
        ck_assert_int_eq(tls_records_write(a, data, 100, &wire), 0);
        ck_assert_int_eq(carry(11, &len, &alert), 0);
        ck_assert_uint_eq(len, 200);
    }
    ck_assert_int_eq(tls_records_write(a, data, 5, &wire), 0);
    size_t record = buffer_len(&wire);
    memcpy(old, buffer_data(&wire), record);
    buffer_clear(&wire);
    ck_assert_int_eq(tls_records_renew(b, &back), 0); /* the other direction */
    ck_assert_int_eq(tls_records_receive(a, buffer_data(&back), buffer_len(&back)), 0);
    ck_assert_int_eq(tls_records_read(a, chunk, sizeof chunk, &wire, &alert), 0);
    ck_assert_int_eq(tls_records_receive(a, old, record), 0);
    ck_assert_int_eq(tls_records_read(a, chunk, sizeof chunk, &wire, &alert), -EPROTO);
    finish();
}
END_TEST

START_TEST(unknown_suite)
{
    ck_assert_ptr_null(tls_records_create(0x1304, data, data, 32));
    ck_assert_ptr_null(tls_records_create(0x1301, data, data, 48));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("transport tls record");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, bytes_arrive, 0, (int)ARRAY_LEN(suites));
    tcase_add_test(tc, changed_bytes_are_refused);
    tcase_add_loop_test(tc, lengths_are_checked, 0, 5);
    tcase_add_loop_test(tc, replayed_record_is_refused, 0, (int)ARRAY_LEN(suites));
    tcase_add_test(tc, unknown_suite);
    tcase_add_loop_test(tc, keys_are_renewed, 0, (int)ARRAY_LEN(suites));
    return unit_run(tc);
}
