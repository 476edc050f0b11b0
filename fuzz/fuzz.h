#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Shared by the harnesses. A harness is one .c file with LLVMFuzzerTestOneInput, which drives a
 * module by the input's bytes alone and requires what the module's header promises. It is built
 * with libFuzzer (preset "fuzz") to search, and with replay.c by any compiler, so that ctest runs
 * the inputs in corpus/NAME.tar.xz. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that is never compiled out and that libFuzzer reports as a crash. */
#define require(condition) ((condition) ? (void)0 : fuzz_failed(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_failed(const char *condition, const char *file, int line);

/* The unused bytes. Reads past the end give zeros. */
struct input {
    const uint8_t *at;
    size_t left;
};

bool input_has(const struct input *input);
uint8_t input_byte(struct input *input);

/* Little endian, of `len` bytes up to 8. */
uint64_t input_number(struct input *input, size_t len);

/* Fills `out`, with zeros behind the end. */
void input_fill(struct input *input, void *out, size_t len);

/* Takes up to `max` bytes, after a length byte (two for a larger `max`), into memory of exactly
 * that length, so that a sanitizer sees a read past the end. The caller frees. */
uint8_t *input_blob(struct input *input, size_t max, size_t *len);

/* A string of at most `max` characters without an inner NUL. The caller frees. */
char *input_text(struct input *input, size_t max);

/* Whether the bytes are the same, padding included: for a struct and its copy by memcpy. */
bool fuzz_same(const void *a, const void *b, size_t len);

/* Pseudo-random numbers from a state that the input seeds (SplitMix64). */
uint64_t fuzz_random(uint64_t *state);
void fuzz_random_bytes(uint64_t *state, void *out, size_t len);

#endif
