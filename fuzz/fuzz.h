#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the harnesses share. A harness is one .c file with LLVMFuzzerTestOneInput, which drives a
 * module by bytes and requires what the module's header promises; everything that happens is
 * decided by the bytes. It is built twice: with libFuzzer (preset "fuzz") to search, and with
 * replay.c by any compiler, so that ctest runs the inputs in corpus/NAME.tar.xz. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An assertion that is never compiled out and that libFuzzer takes for a crash. */
#define require(condition) ((condition) ? (void)0 : fuzz_failed(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_failed(const char *condition, const char *file, int line);

/* The bytes still to be used. Behind the end, everything reads as zero. */
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

/* Takes at most `max` bytes, as many as a length byte (or two for a larger max) says, into fresh
 * memory of exactly that length, so that a read past the end is seen. The caller frees. */
uint8_t *input_blob(struct input *input, size_t max, size_t *len);

/* A string of its own, at most `max` characters; never holds a NUL inside. The caller frees. */
char *input_text(struct input *input, size_t max);

/* The same bytes, padding included: for a struct and its copy by memcpy. */
bool fuzz_same(const void *a, const void *b, size_t len);

/* Numbers that look random, from a state that the input began (SplitMix64). */
uint64_t fuzz_random(uint64_t *state);
void fuzz_random_bytes(uint64_t *state, void *out, size_t len);

#endif
