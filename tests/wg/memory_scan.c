#include "tests/wg/memory_scan.h"

#include "tests/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MASK = 0x5a };

void secret_note(struct secret *secret, const char *name, const uint8_t bytes[SECRET_LEN])
{
    secret->name = name;
    for (size_t i = 0; i < SECRET_LEN; i++)
        secret->masked[i] = bytes[i] ^ MASK;
}

static size_t count_in(const uint8_t *from, const uint8_t *to, const struct secret *secret)
{
    size_t count = 0;
    uint8_t first = secret->masked[0] ^ MASK;
    while (from + SECRET_LEN <= to) {
        const uint8_t *at = memchr(from, first, (size_t)(to - from) - SECRET_LEN + 1);
        if (at == NULL)
            break;
        size_t same = 1;
        while (same < SECRET_LEN && at[same] == (secret->masked[same] ^ MASK))
            same++;
        count += same == SECRET_LEN;
        from = at + 1;
    }
    return count;
}

size_t secret_count(const struct secret *secret)
{
    char line[512];
    size_t count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        char *rest;
        uintptr_t from = strtoull(line, &rest, 16); /* "FROM-TO ACCESS ..." */
        uintptr_t to = strtoull(rest + 1, &rest, 16);
        if (rest[1] != 'r' || strstr(line, "[v") != NULL) /* the kernel's pages: vvar, vsyscall */
            continue;
        count += count_in((const uint8_t *)from, (const uint8_t *)to, secret);
    }
    (void)fclose(maps);
    return count;
}
