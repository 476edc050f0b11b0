#include "fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

bool input_has(const struct input *input)
{
    return input->left > 0;
}

uint8_t input_byte(struct input *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

uint64_t input_number(struct input *input, size_t len)
{
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++)
        number |= (uint64_t)input_byte(input) << (8 * i);
    return number;
}

void input_fill(struct input *input, void *out, size_t len)
{
    size_t take = len < input->left ? len : input->left;
    memset(out, 0, len);
    if (take > 0)
        memcpy(out, input->at, take);
    input->at += take;
    input->left -= take;
}

static void *allocate(size_t len)
{
    void *memory = malloc(len > 0 ? len : 1);
    require(memory != NULL);
    return memory;
}

uint8_t *input_blob(struct input *input, size_t max, size_t *len)
{
    size_t want = (size_t)input_number(input, max > UINT8_MAX ? 2 : 1);
    *len = want < input->left ? want : input->left;
    if (*len > max)
        *len = max;
    uint8_t *blob = allocate(*len);
    input_fill(input, blob, *len);
    return blob;
}

char *input_text(struct input *input, size_t max)
{
    size_t len;
    uint8_t *blob = input_blob(input, max, &len);
    char *text = allocate(len + 1);
    size_t end = strnlen((const char *)blob, len);
    memcpy(text, blob, end);
    text[end] = '\0';
    free(blob);
    return text;
}

bool fuzz_same(const void *a, const void *b, size_t len)
{
    return memcmp(a, b, len) == 0;
}

uint64_t fuzz_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void fuzz_random_bytes(uint64_t *state, void *out, size_t len)
{
    uint8_t *bytes = out;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)fuzz_random(state);
}
